"""What a DELETE of the control plane does: delete now, later, never, or softly."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from inferencekey_simulator.admin import Admin
from inferencekey_simulator.app import background
from inferencekey_simulator.clock import Clock
from inferencekey_simulator.platform import Platform
from inferencekey_simulator.refusal import RefusedError
from inferencekey_simulator.settings import Settings
from inferencekey_simulator.state_file import kept_in
from unit.simulated import client_of
from unit.virtual_time import virtual

PROJECT = "acme"
WORKLOADS = f"/api/projects/{PROJECT}/workloads"
BODY = {"name": "Bot", "slug": "bot", "backend": "vllm", "model_name": "llama-3"}
EVENTS = f"{WORKLOADS}/bot/readiness-events"


@pytest.fixture
def platform() -> Platform:
    """The platform under test."""
    return Platform()


@pytest_asyncio.fixture
async def client(platform: Platform) -> AsyncIterator[httpx.AsyncClient]:
    """A client with a token that may write."""
    async with client_of(platform, platform.mint(PROJECT)) as client:
        yield client


@pytest.mark.parametrize(
    ("deletion", "status", "again", "listed"),
    [("now", 204, 404, 0), ("later", 202, 202, 1), ("never", 202, 202, 1), ("soft", 204, 404, 1)],
)
async def test_the_answer_to_a_delete(
    client: httpx.AsyncClient, platform: Platform, *, deletion: str, status: int, again: int, listed: int
) -> None:
    """204 where the workload is gone, 202 where it is not, both without a body."""
    platform.configure({"deletion": deletion, "deletion_seconds": 60})
    workload = f"/api/workloads/{platform.add(PROJECT, BODY).id}"
    first, second = await client.delete(workload), await client.delete(workload)
    assert (first.status_code, first.content, second.status_code) == (status, b"", again)
    assert len((await client.get(WORKLOADS)).json()) == listed
    assert "deleted_at" not in platform.add(PROJECT, {"slug": "other"}).fields


@pytest.mark.parametrize("deletion", ["later", "never", "soft"])
def test_the_dashboard_deletes_at_once(platform: Platform, deletion: str) -> None:
    """The setting is about DELETE of the control plane only."""
    platform.configure({"deletion": deletion})
    platform.remove(platform.add(PROJECT, BODY))
    assert list(platform.inventory.listed()) == []


def virtual_platform(**settings: object) -> tuple[Platform, str]:
    """Return a platform whose time is the running loop's, and a token that may write."""
    clock = Clock(monotonic=asyncio.get_running_loop().time, wall=asyncio.get_running_loop().time)
    platform = Platform(clock, Settings.model_validate(settings))
    return platform, platform.mint(PROJECT)


@virtual
async def test_a_delayed_deletion() -> None:
    """The row keeps its slug and can be changed until the time is over, counted from the first DELETE."""
    platform, token = virtual_platform(deletion="later", deletion_seconds=30)
    row = platform.create(token, PROJECT, BODY)
    platform.delete(token, row.id)
    await asyncio.sleep(29)
    platform.delete(token, row.id)
    platform.update(token, row.id, {"name": "New"})
    assert platform.create(token, PROJECT, BODY).slug == "bot-1"
    await asyncio.sleep(2)
    assert [each.slug for each in platform.rows()] == ["bot-1"]
    await asyncio.sleep(60)
    assert [each.slug for each in platform.rows()] == ["bot-1"]


@virtual
async def test_a_row_that_is_removed_meanwhile() -> None:
    """A delayed deletion leaves the new row of the slug alone when the old one was removed meanwhile."""
    platform, token = virtual_platform(deletion="later")
    row = platform.create(token, PROJECT, BODY)
    platform.delete(token, row.id)
    platform.remove(row)
    successor = platform.create(token, PROJECT, BODY)
    await asyncio.sleep(10)
    assert list(platform.rows()) == [successor]


@virtual
async def test_a_delayed_deletion_that_lags() -> None:
    """The lag of the list counts from the removal, not from the answer to DELETE."""
    platform, token = virtual_platform(deletion="later", deletion_seconds=2, list_lag={"delete": 3})
    platform.delete(token, platform.create(token, PROJECT, BODY).id)
    seen = []
    for _ in range(7):
        seen.append(len(json.loads(platform.list_workloads(token, PROJECT))))
        await asyncio.sleep(1)
    assert seen == [1, 1, 1, 1, 1, 0, 0]


@virtual
async def test_a_soft_deletion_that_lags() -> None:
    """Lists show deleted_at, in the platform's time, when the lag of a deletion is over."""
    platform, token = virtual_platform(deletion="soft", clock_skew=60, list_lag={"delete": 3})
    row = platform.create(token, PROJECT, BODY)
    before = json.loads(platform.list_workloads(token, PROJECT))
    platform.delete(token, row.id)
    assert json.loads(platform.list_workloads(token, PROJECT)) == before
    await asyncio.sleep(3)
    deleted = {"deleted_at": "1970-01-01T00:01:00.000000Z"}
    assert json.loads(platform.list_workloads(token, PROJECT)) == [before[0] | deleted]


async def test_a_soft_deleted_row(client: httpx.AsyncClient, platform: Platform) -> None:
    """Only lists keep it: other calls answer 404, its stream ends, its keys are revoked, and its slug is free."""
    platform.configure({"deletion": "soft", "readiness": {"hold_at": "scheduling"}})
    old = platform.add(PROJECT, BODY)
    key = platform.mint_key(PROJECT, "bot")
    async with client.stream("GET", EVENTS) as stream:
        lines = stream.aiter_lines()
        await anext(lines)
        await client.delete(f"/api/workloads/{old.id}")
        assert [line async for line in lines if line] == []
    assert (await client.get(EVENTS)).status_code == 404
    assert (await client.patch(f"/api/workloads/{old.id}", json={"name": "x"})).status_code == 404
    with pytest.raises(RefusedError):
        platform.serving(key, PROJECT, "bot")
    new = (await client.post(WORKLOADS, json=BODY)).json()
    assert (new["slug"], platform.row(PROJECT, "bot").id) == ("bot", new["id"])
    rows = (await client.get(WORKLOADS)).json()
    assert [(row["id"], "deleted_at" in row) for row in rows] == [(old.id, True), (new["id"], False)]


def test_the_dashboard_and_a_soft_deleted_row() -> None:
    """The admin API does not show it, but can still change and remove it by its id."""
    with background() as url:
        admin = Admin(url)
        headers = {"Authorization": f"Bearer {admin.mint(PROJECT)}"}
        admin.settings(deletion="soft")
        old = admin.add(PROJECT, "bot")["id"]
        httpx.delete(f"{url}/api/workloads/{old}", headers=headers)
        assert admin.workloads(PROJECT) == []
        new = admin.add(PROJECT, "bot")["id"]
        workload = f"{url}/simulator/workloads/{old}"
        assert httpx.patch(workload, json={"name": "by hand"}).json()["slug"] == "bot"
        rows = httpx.get(f"{url}{WORKLOADS}", headers=headers).json()
        assert [(row["id"], row["name"]) for row in rows] == [(old, "by hand"), (new, "bot")]
        assert httpx.delete(workload).status_code == 204
        rows = httpx.get(f"{url}{WORKLOADS}", headers=headers).json()
        assert [row["id"] for row in rows] == [new]


async def test_a_soft_deleted_row_survives_a_restart(tmp_path: Path) -> None:
    """The state file keeps it, and that it is deleted."""
    path = tmp_path / "state"
    async with kept_in(path, platform := Platform(settings=Settings(deletion="soft")), delay=0.0):
        token = platform.mint(PROJECT)
        old = platform.create(token, PROJECT, BODY)
        platform.delete(token, old.id)
        new = platform.create(token, PROJECT, BODY)
        listed = platform.list_workloads(token, PROJECT)
    async with kept_in(path, again := Platform(), delay=0.0):
        assert again.list_workloads(token, PROJECT) == listed
        assert again.row(PROJECT, "bot").id == new.id
        with pytest.raises(RefusedError):
            again.delete(token, old.id)
