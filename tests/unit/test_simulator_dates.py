"""The platform's clock over HTTP: the Date header, and the times in rows."""

from __future__ import annotations

import time as real_time
from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest
import pytest_asyncio

from inferencekey_simulator.faults import Fault
from inferencekey_simulator.platform import Platform
from unit.manual_time import Time
from unit.simulated import client_of

PROJECT = "acme"
WORKLOADS = f"/api/projects/{PROJECT}/workloads"
BODY = {"name": "Bot", "slug": "bot", "backend": "vllm", "model_name": "llama-3"}
EVENTS = f"{WORKLOADS}/bot/readiness-events"


@pytest.fixture
def time() -> Time:
    """The time of the platform."""
    return Time()


@pytest.fixture
def platform(time: Time) -> Platform:
    """A platform whose workloads are ready at once."""
    platform = Platform(time.clock())
    platform.configure({"readiness": {"scheduling": 0, "provisioning": 0, "bootstrapping": 0}})
    return platform


@pytest_asyncio.fixture
async def client(platform: Platform) -> AsyncIterator[httpx.AsyncClient]:
    """A client with a token that may write."""
    async with client_of(platform, platform.mint(PROJECT)) as client:
        yield client


async def every_call(client: httpx.AsyncClient, platform: Platform) -> list[httpx.Response]:
    """Return an answer of each kind that the control plane gives."""
    created = await client.post(WORKLOADS, json=BODY)
    workload = f"/api/workloads/{created.json()['id']}"
    answers = [created, await client.get(WORKLOADS), await client.get(EVENTS)]
    answers += [await client.patch(workload, json={"name": "New"}), await client.delete(workload)]
    answers += [await client.delete(workload), await client.put(WORKLOADS), await client.get("/api/nowhere")]
    for fault in ({"action": "respond"}, {"action": "enormous", "size": 1}, {"action": "wrong_content_type"}):
        platform.faults.add(Fault.model_validate(fault))
        answers.append(await client.get(WORKLOADS))
    return answers


@pytest.mark.parametrize(
    ("settings", "date"),
    [
        ({}, "Thu, 01 Jan 1970 00:16:40 GMT"),
        ({"clock_skew": 60}, "Thu, 01 Jan 1970 00:17:40 GMT"),
        ({"clock_skew": -1000.5}, "Wed, 31 Dec 1969 23:59:59 GMT"),
        ({"clock_skew": 60, "date_header": "true"}, "Thu, 01 Jan 1970 00:16:40 GMT"),
        ({"clock_skew": 60, "date_header": "none"}, None),
    ],
)
async def test_the_date_of_an_answer(
    client: httpx.AsyncClient, platform: Platform, settings: dict[str, Any], date: str | None
) -> None:
    """Every answer of the control plane has the platform's time, or the true time, or no date at all."""
    platform.configure(settings)
    answers = await every_call(client, platform)
    assert [answer.status_code for answer in answers] == [201, 200, 200, 200, 204, 404, 405, 404, 503, 200, 200]
    dates = [[value.decode() for name, value in each.headers.raw if name.lower() == b"date"] for each in answers]
    assert dates == [[] if date is None else [date]] * len(answers)


@pytest.mark.parametrize("form", ["platform", "none"])
async def test_a_date_that_a_fault_gives(client: httpx.AsyncClient, platform: Platform, form: str) -> None:
    """A canned answer keeps the date it was given."""
    given = "Fri, 01 Jan 2100 00:00:00 GMT"
    platform.configure({"date_header": form})
    platform.faults.add(Fault(action="respond", headers={"date": given}))
    assert (await client.get(WORKLOADS)).headers.get_list("Date") == [given]


@pytest.mark.parametrize("path", ["/simulator/settings", "/endpoint/acme/bot/v1/models"])
async def test_other_routes_have_the_real_date(client: httpx.AsyncClient, platform: Platform, path: str) -> None:
    """The admin API and the data plane keep the server's own date."""
    platform.configure({"date_header": "none", "clock_skew": 1e6})
    date = parsedate_to_datetime((await client.get(path)).headers["Date"])
    assert abs(date.timestamp() - real_time.time()) < 60


async def test_a_clock_that_is_wrong(client: httpx.AsyncClient, platform: Platform, time: Time) -> None:
    """The times in rows are the platform's; the record of requests keeps the true time."""
    platform.configure({"clock_skew": 3600})
    row = (await client.post(WORKLOADS, json=BODY)).json()
    assert row["created_at"] == row["updated_at"] == "1970-01-01T01:16:40.000000Z"
    time.now += 1
    row = (await client.patch(f"/api/workloads/{row['id']}", json={"name": "New"})).json()
    assert row["updated_at"] == "1970-01-01T01:16:41.000000Z"
    time.now += 1
    platform.edit(platform.row(PROJECT, "bot"), {"name": "Newer"})
    assert (await client.get(WORKLOADS)).json()[0]["updated_at"] == "1970-01-01T01:16:42.000000Z"
    assert [entry.at for entry in platform.journal.since(0)] == [1000, 1001, 1002]


@pytest.mark.parametrize(
    ("form", "created"),
    [
        ("utc", "1970-01-01T00:16:40.000000Z"),
        ("naive", "1970-01-01T00:16:40.000000"),
        ("year_1", "0001-01-01T00:00:00Z"),
        ("missing", None),
    ],
)
async def test_how_a_creation_is_dated(
    client: httpx.AsyncClient, platform: Platform, form: str, created: str | None
) -> None:
    """New rows of both the API and the dashboard spell created_at as set; older rows and updated_at do not change."""
    older = platform.add(PROJECT, {"slug": "older"})
    platform.configure({"created_at": form})
    await client.post(WORKLOADS, json=BODY)
    platform.add(PROJECT, {"slug": "by-hand"})
    usual = older.fields["created_at"]
    rows = (await client.get(WORKLOADS)).json()
    assert [row["created_at"] for row in rows] == [usual, created, created]
    assert [row["updated_at"] for row in rows] == [usual] * 3
