"""Which fault meets which call, and what each of them looks like from the other end of the wire."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
import pytest_asyncio

from inferencekey_simulator.faults import Call, Fault, Faults
from inferencekey_simulator.platform import Platform
from unit.simulated import client_of

PROJECT = "acme"
WORKLOADS = f"/api/projects/{PROJECT}/workloads"
BODY = {"name": "Bot", "slug": "bot", "backend": "vllm", "model_name": "llama-3"}
CALL = Call("create", "POST", WORKLOADS, PROJECT, "bot", None)


@pytest.fixture
def platform() -> Platform:
    """The platform under test."""
    return Platform()


@pytest_asyncio.fixture
async def client(platform: Platform) -> AsyncIterator[httpx.AsyncClient]:
    """A client with a token that may write."""
    async with client_of(platform, platform.mint(PROJECT)) as client:
        yield client


def arm(platform: Platform, action: str, **how: Any) -> None:
    """Arm a fault."""
    platform.faults.add(Fault.model_validate({"action": action, **how}))


def slugs(platform: Platform) -> list[str]:
    """Return what there is on the platform."""
    return [row.slug for row in platform.rows()]


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds, and fail when it does not within five seconds."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 (what is waited for has no event of its own)
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("matching", "meets"),
    [
        ({}, True),
        ({"operation": "create"}, True),
        ({"operation": "list"}, False),
        ({"method": "POST"}, True),
        ({"method": "GET"}, False),
        ({"project": PROJECT, "slug": "bot"}, True),
        ({"project": "other"}, False),
        ({"slug": "other"}, False),
        ({"path": "/api/*/workloads"}, True),
        ({"path": "/api"}, False),
    ],
)
def test_matching(matching: dict[str, Any], meets: bool) -> None:
    """Everything that is given must fit."""
    assert Fault(action="delay", **matching).meets(CALL) is meets


def test_faults_are_used_up_in_order() -> None:
    """The first that fits is used as often as it says, then the next."""
    faults = Faults()
    faults.add(Fault(action="delay", times=2))
    faults.add(Fault(action="cut_before", operation="list"))
    last = faults.add(Fault(action="cut_after", times=None))
    taken = [faults.take(CALL) for _ in range(4)]
    assert [fault.action for fault in taken if fault] == ["delay", "delay", "cut_after", "cut_after"]
    assert [(each["action"], each["used"]) for each in faults.listed()] == [
        ("delay", 2),
        ("cut_before", 0),
        ("cut_after", 2),
    ]
    assert faults.clear(last) == 1
    assert faults.take(CALL) is None
    assert faults.clear() == 2


async def test_an_answer_as_ordered(client: httpx.AsyncClient, platform: Platform) -> None:
    """Status, headers and body are the fault's; nothing was done; the next call is served."""
    arm(platform, "respond", status=429, headers={"Retry-After": "7"}, body={"error": "rate_limited"})
    refused = await client.post(WORKLOADS, json=BODY)
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "7")
    assert refused.json() == {"error": "rate_limited"}
    assert slugs(platform) == []
    assert (await client.post(WORKLOADS, json=BODY)).status_code == 201


async def test_an_answer_in_plain_text(client: httpx.AsyncClient, platform: Platform) -> None:
    """A string is sent as it is, as text."""
    arm(platform, "respond", status=502, body="<h1>Bad gateway</h1>", headers={"Content-Type": "text/html"})
    refused = await client.get(WORKLOADS)
    assert (refused.status_code, refused.text) == (502, "<h1>Bad gateway</h1>")
    assert refused.headers["Content-Type"] == "text/html; charset=utf-8"


async def test_cut_before(client: httpx.AsyncClient, platform: Platform) -> None:
    """The connection is cut and nothing was done."""
    arm(platform, "cut_before", operation="create")
    with pytest.raises(httpx.TransportError):
        await client.post(WORKLOADS, json=BODY)
    assert slugs(platform) == []


async def test_cut_after(client: httpx.AsyncClient, platform: Platform) -> None:
    """The connection is cut and it was done: the answer is what is lost."""
    arm(platform, "cut_after", operation="create", slug="bot")
    with pytest.raises(httpx.TransportError):
        await client.post(WORKLOADS, json=BODY)
    assert slugs(platform) == ["bot"]
    entry = next(iter(platform.journal.since(0)))
    assert (entry.status, entry.fault) == (None, "cut_after")


async def test_truncate(client: httpx.AsyncClient, platform: Platform) -> None:
    """It was done, and half of the answer arrives under its full length."""
    arm(platform, "truncate")
    with pytest.raises(httpx.RemoteProtocolError, match="without sending complete"):
        await client.post(WORKLOADS, json=BODY)
    assert slugs(platform) == ["bot"]


async def test_wrong_content_type(client: httpx.AsyncClient, platform: Platform) -> None:
    """The answer is right and says that it is HTML."""
    arm(platform, "wrong_content_type")
    answer = await client.get(WORKLOADS)
    assert (answer.headers["Content-Type"], answer.json()) == ("text/html", [])


async def test_enormous(client: httpx.AsyncClient, platform: Platform) -> None:
    """The answer is valid JSON of about the size asked for."""
    arm(platform, "enormous", size=3_000_000)
    answer = await client.get(WORKLOADS)
    assert len(answer.content) == pytest.approx(3_000_000, rel=0.05)
    assert {row["slug"] for row in answer.json()} == {"padding"}


async def test_a_write_that_is_late_happens_though_nobody_waits(client: httpx.AsyncClient, platform: Platform) -> None:
    """A client that gave up does not keep the platform from carrying the write out."""
    arm(platform, "delay", operation="create", seconds=2.0)
    with pytest.raises(httpx.ReadTimeout):
        await client.post(WORKLOADS, json=BODY, timeout=httpx.Timeout(60, read=0.05))
    assert slugs(platform) == []
    await eventually(lambda: slugs(platform) == ["bot"])


async def test_an_answer_that_is_late(client: httpx.AsyncClient, platform: Platform) -> None:
    """With delay_after the write happens long before the answer."""
    arm(platform, "delay_after", operation="create", seconds=300.0)
    with pytest.raises(httpx.ReadTimeout):
        await client.post(WORKLOADS, json=BODY, timeout=httpx.Timeout(60, read=0.2))
    await eventually(lambda: slugs(platform) == ["bot"])


async def test_latency(client: httpx.AsyncClient, platform: Platform) -> None:
    """Every request of the project waits that long before it is handled."""
    platform.configure({"project_latency": {PROJECT: 0.2}})
    await client.get(WORKLOADS)
    entry = next(iter(platform.journal.since(0)))
    assert entry.seconds is not None
    assert entry.seconds >= 0.2


async def test_a_fault_on_a_workload_reached_by_id(client: httpx.AsyncClient, platform: Platform) -> None:
    """A fault about a slug meets the calls that name the workload by its id."""
    identifier = (await client.post(WORKLOADS, json=BODY)).json()["id"]
    arm(platform, "respond", slug="bot", status=500)
    assert (await client.delete(f"/api/workloads/{identifier}")).status_code == 500
    assert (await client.delete(f"/api/workloads/{identifier}")).status_code == 204
