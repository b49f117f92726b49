"""The simulator over HTTP: forms of refusals, the record of requests, readiness streams and the admin API."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
import pytest_asyncio

from inferencekey_simulator.admin import Admin, AdminError
from inferencekey_simulator.app import background, serving
from inferencekey_simulator.platform import Platform
from unit.simulated import client_of

PROJECT = "acme"
WORKLOADS = f"/api/projects/{PROJECT}/workloads"
BODY = {"name": "Bot", "slug": "bot", "backend": "vllm", "model_name": "llama-3"}
EVENTS = f"{WORKLOADS}/bot/readiness-events"


@pytest.fixture
def platform() -> Platform:
    """The platform under test."""
    return Platform()


@pytest.fixture
def token(platform: Platform) -> str:
    """A token that may write."""
    return platform.mint(PROJECT)


@pytest_asyncio.fixture
async def client(platform: Platform, token: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client that carries the token."""
    async with client_of(platform, token, **{"User-Agent": "test/1"}) as client:
        yield client


def events(stream: str) -> list[dict[str, Any]]:
    """Return the data of the events in a stream."""
    return [json.loads(line[6:]) for line in stream.splitlines() if line.startswith("data: ")]


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds, and fail when it does not within five seconds."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 (what is waited for has no event of its own)
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("string", {"error": "project_scope_mismatch"}),
        (
            "object",
            {
                "error": {
                    "code": "project_scope_mismatch",
                    "message": "the token belongs to another project than 'other'",
                }
            },
        ),
        ("text", "project_scope_mismatch: the token belongs to another project than 'other'"),
    ],
)
async def test_forms_of_a_refusal(client: httpx.AsyncClient, platform: Platform, form: str, expected: object) -> None:
    """A refusal travels in the form that is set."""
    platform.configure({"error_form": form})
    refused = await client.get("/api/projects/other/workloads")
    assert refused.status_code == 403
    assert (refused.text if form == "text" else refused.json()) == expected


@pytest.mark.parametrize("content", [b"{", b"[]", b""])
async def test_a_body_that_is_no_object(client: httpx.AsyncClient, content: bytes) -> None:
    """400, whatever was sent instead."""
    assert (await client.post(WORKLOADS, content=content)).status_code == 400


async def test_unknown_paths_and_methods(client: httpx.AsyncClient) -> None:
    """There is no read of a single workload, and a wrong method says so."""
    assert (await client.get(f"{WORKLOADS}/bot")).status_code == 404
    refused = await client.put(WORKLOADS, json=BODY)
    assert (refused.status_code, refused.json()["error"]["code"]) == (405, "method_not_allowed")


async def test_names_are_percent_decoded(client: httpx.AsyncClient, platform: Platform) -> None:
    """A project whose slug needs escaping is found under it."""
    headers = {"Authorization": f"Bearer {platform.mint('a/b c')}"}
    answer = await client.post("/api/projects/a%2Fb%20c/workloads", json=BODY, headers=headers)
    assert answer.json()["project_slug"] == "a/b c"


async def test_the_record(client: httpx.AsyncClient, platform: Platform, token: str) -> None:
    """Every request is kept with what it was about, writes with their body, and no secret of the token."""
    created = await client.post(WORKLOADS, json=BODY)
    identifier = created.json()["id"]
    await client.patch(f"/api/workloads/{identifier}", json={"name": "New"})
    await client.get(WORKLOADS)
    await client.delete(f"/api/workloads/{identifier}")
    entries = [entry.shown() for entry in platform.journal.since(0)]
    assert [entry["seq"] for entry in entries] == [1, 2, 3, 4]
    assert [(entry["operation"], entry["slug"], entry["status"]) for entry in entries] == [
        ("create", "bot", 201),
        ("update", "bot", 200),
        ("list", None, 200),
        ("delete", "bot", 204),
    ]
    assert [entry["body"] for entry in entries] == [BODY, {"name": "New"}, None, None]
    assert {entry["credential"] for entry in entries} == {f"{token[:15]}…"}
    assert {(entry["project"], entry["user_agent"]) for entry in entries} == {(PROJECT, "test/1")}
    assert entries[0]["bytes_out"] == len(created.content)
    assert token[16:] not in json.dumps(entries)


async def test_the_counters(client: httpx.AsyncClient, platform: Platform) -> None:
    """Requests are counted by operation, for all and for a project, refused ones too."""
    for _ in range(3):
        await client.get(WORKLOADS)
    await client.get("/api/projects/other/workloads")
    await client.get("/nowhere")
    assert platform.journal.totals()["operations"]["list"] == 4
    assert platform.journal.totals()["operations"]["unknown"] == 1
    assert platform.journal.totals(PROJECT)["operations"]["list"] == 3
    assert platform.journal.totals()["statuses"] == {"200": 3, "403": 1, "404": 1}


async def test_the_record_since(client: httpx.AsyncClient, platform: Platform) -> None:
    """Only what is newer is returned, and nothing when there is nothing newer."""
    assert list(platform.journal.since(0)) == []
    for _ in range(4):
        await client.get(WORKLOADS)
    assert [entry.seq for entry in platform.journal.since(2)] == [3, 4]
    assert list(platform.journal.since(99)) == []


async def test_a_request_under_way_is_in_the_record(client: httpx.AsyncClient, platform: Platform) -> None:
    """It has no status and no duration yet."""
    platform.configure({"latency": 0.3})
    request = asyncio.create_task(client.get(WORKLOADS))
    await eventually(lambda: platform.journal.last == 1)
    entry = next(iter(platform.journal.since(0)))
    assert (entry.status, entry.seconds) == (None, None)
    await request
    assert entry.status == 200


async def test_a_stream_of_readiness(client: httpx.AsyncClient, platform: Platform) -> None:
    """The snapshot first, then what follows, and the end after the terminal one; a busy machine may pass over some."""
    told: list[tuple[str, str | None]] = [
        ("scheduling", None),
        ("provisioning", None),
        ("bootstrapping", "pull_image"),
        ("bootstrapping", "load_weights"),
        ("bootstrapping", "start_server"),
        ("ready", None),
    ]
    seen: set[tuple[str, str | None]] = set()
    platform.configure({"readiness": {"scheduling": 0.05, "provisioning": 0.05, "bootstrapping": 0.15}})
    for number in range(20):
        await client.post(WORKLOADS, json={**BODY, "slug": f"bot-{number}"})
        answer = await client.get(f"{WORKLOADS}/bot-{number}/readiness-events")
        assert answer.headers["Content-Type"] == "text/event-stream"
        phases = [(event["phase"], event.get("step")) for event in events(answer.text)]
        assert phases == [phase for phase in told if phase in phases]
        assert phases[-1] == told[-1]
        assert set(events(answer.text)[0]) == {"phase", "message", "elapsed_ms"}
        assert next(iter(platform.journal.since(2 * number + 1))).bytes_out > len(answer.content)
        seen |= set(phases)
        if seen == set(told):
            return
    pytest.fail(f"never told: {set(told) - seen}")


async def test_a_quiet_stream_is_kept_alive(client: httpx.AsyncClient, platform: Platform) -> None:
    """Comment lines come while nothing happens."""
    platform.configure({"readiness": {"hold_at": "scheduling", "keep_alive": 0.02}})
    await client.post(WORKLOADS, json=BODY)
    comments = 0
    async with client.stream("GET", EVENTS) as stream:
        async for line in stream.aiter_lines():
            comments += line == ": keep-alive"
            if comments == 3:
                break
    assert comments == 3


async def test_a_client_that_has_gone_is_no_failure(
    client: httpx.AsyncClient, platform: Platform, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever asks for a stream and goes before it begins is neither an error nor a stream that stays open."""
    await client.post(WORKLOADS, json=BODY)
    platform.configure({"latency": 0.2})
    with pytest.raises(httpx.ReadTimeout):
        await client.get(EVENTS, timeout=httpx.Timeout(60, read=0.05))
    entry = [*platform.journal.since(0)][-1]
    await eventually(lambda: entry.seconds is not None)
    assert "failed" not in caplog.text


async def test_a_stream_ends_with_its_workload(client: httpx.AsyncClient, platform: Platform) -> None:
    """A deletion ends the stream without a terminal event, and there is no new one."""
    platform.configure({"readiness": {"hold_at": "scheduling"}})
    row = platform.add(PROJECT, BODY)
    async with client.stream("GET", EVENTS) as stream:
        lines = stream.aiter_lines()
        assert "scheduling" in await anext(lines)
        platform.remove(row)
        assert [line async for line in lines if line] == []
    assert (await client.get(EVENTS)).status_code == 404


async def test_a_stream_is_forgotten_when_its_client_goes(client: httpx.AsyncClient, platform: Platform) -> None:
    """Nothing watches the workload any more soon after the client hung up."""
    platform.configure({"readiness": {"hold_at": "scheduling", "keep_alive": 0.02}})
    row = platform.add(PROJECT, BODY)
    async with client.stream("GET", EVENTS) as stream:
        await anext(stream.aiter_lines())
        assert len(row.watchers) == 1
    await eventually(lambda: not row.watchers)


async def test_stopping_does_not_wait_for_streams(platform: Platform, token: str) -> None:
    """An open stream ends when the server stops."""
    platform.configure({"readiness": {"hold_at": "scheduling"}})
    platform.add(PROJECT, BODY)
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(headers=headers) as client:
        async with asyncio.timeout(60), serving(platform) as url:
            request = asyncio.create_task(client.get(f"{url}{EVENTS}"))
            await eventually(lambda: any(row.watchers for row in platform.rows()))
        assert [event["phase"] for event in events((await request).text)] == ["scheduling"]


def test_the_admin_client() -> None:
    """Everything the admin API offers, from outside."""
    with background() as url:
        admin = Admin(url)
        token = admin.mint(PROJECT)
        headers = {"Authorization": f"Bearer {token}"}
        admin.settings(readiness={"hold_at": "scheduling"})
        assert admin.add(PROJECT, "one", model_name="m")["fields"]["name"] == "one"
        assert admin.add_many(PROJECT, [{"slug": f"w{number}"} for number in range(3)]) == 3
        admin.edit(PROJECT, "one", **{"config.command": "x"})
        admin.phase(PROJECT, "one", "ready", message="by hand")
        one = admin.workload(PROJECT, "one")
        assert one is not None
        assert (one["phase"], one["message"], one["fields"]["config"]) == (
            "ready",
            "by hand",
            {"command": "x"},
        )
        admin.remove(PROJECT, "one")
        assert [each["slug"] for each in admin.workloads(PROJECT)] == ["w0", "w1", "w2"]
        assert admin.workload(PROJECT, "one") is None
        number = admin.fault("respond", operation="list", status=418)
        assert httpx.get(f"{url}{WORKLOADS}", headers=headers).status_code == 418
        assert [(each["id"], each["used"]) for each in admin.faults()] == [(number, 1)]
        assert admin.clear_faults() == 1
        assert admin.last() == 1
        assert admin.counters(PROJECT)["list"] == 1
        assert admin.totals()["statuses"] == {"418": 1}
        assert admin.drop_streams() == 0
        assert admin.mint_key(PROJECT, "w0").startswith("ik_live_")
        assert admin.revoke(token) == 1
        assert httpx.get(f"{url}{WORKLOADS}", headers=headers).status_code == 401


def test_admin_errors_say_what_is_wrong() -> None:
    """A target that is not there, a wrong phase, a wrong setting, a missing field."""
    with background() as url:
        admin = Admin(url)
        admin.add(PROJECT, "one")
        with pytest.raises(AdminError, match="no workload 'two'"):
            admin.remove(PROJECT, "two")
        with pytest.raises(AdminError, match="phase must be one of"):
            admin.phase(PROJECT, "one", "sleeping")
        with pytest.raises(AdminError, match="latencyy"):
            admin.settings(latencyy=1)
        with pytest.raises(AdminError, match="action"):
            admin.fault("explode")
        with pytest.raises(AdminError, match="missing: 'slug'"):
            admin.add_many(PROJECT, [{}])


async def test_a_port_that_is_taken(platform: Platform) -> None:
    """Serving on a port that somebody has is an OSError."""
    async with serving(platform) as url:
        with pytest.raises(OSError, match="address already in use"):
            async with serving(Platform(), port=int(url.rpartition(":")[2])):
                pass
