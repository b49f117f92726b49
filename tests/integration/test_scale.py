"""Hundreds of Workloads of one project: the cost of looking at them does not grow with their number.

The tests share one fleet, in the order in which they stand here; the last one deletes it.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import httpx
import pytest

from harness.api import EVENTS, WORKLOADS, Api
from harness.audit import Audit
from harness.operators import Operator
from harness.scrape import Scrape, free_port
from harness.team import Team
from harness.waiting import equals, eventually
from inferencekey_simulator.admin import Admin
from integration.manifests import manifest

SIZE = 300
INTERVAL = 2.0
AT_ONCE = 16
BOUND = 300.0
"""Seconds; a quarter of a minute to half of one is usual, on two cores that do nothing else."""
PROJECT = "fleet"
NAMES = [f"bot-{number:04}" for number in range(SIZE)]

pytestmark = pytest.mark.usefixtures("operator")


@dataclass(frozen=True)
class Fleet:
    """Workloads that are ready, with all Events told."""

    team: Team
    seconds: float
    """Until they were ready."""


@pytest.fixture(scope="module")
def shown() -> Scrape:
    """Where the operator tells how often it looked."""
    return Scrape(free_port())


@pytest.fixture(scope="module")
def operator_options(shown: Scrape) -> tuple[str, ...]:
    """As in life, but for an interval that can be waited for; readiness of what serves is not asked for again."""
    return (f"--list-interval={INTERVAL}s", "--readiness-interval=0", shown.option)


@pytest.fixture(scope="module")
def fleet(api: Api, platform: Admin, module_operator: Operator) -> Iterator[Fleet]:
    """All applied at once."""
    module_operator.see_to_it()
    api.create("/api/v1/namespaces", {"metadata": {"name": PROJECT}})
    team = Team(PROJECT, lambda *_, **__: pytest.fail("not by kubectl"), api, platform)
    team.secret()
    began = time.monotonic()
    asyncio.run(_create_all(api))
    eventually(lambda: _verdicts(team), equals({"True Ready": SIZE}), within=BOUND, poll=1.0)
    seconds = time.monotonic() - began
    eventually(lambda: _events_told(api), equals(2 * SIZE), within=BOUND, poll=1.0)
    yield Fleet(team, seconds)
    api.delete(f"/api/v1/namespaces/{PROJECT}")


def test_each_is_made_once(fleet: Fleet) -> None:
    """As many creations, no twin, and few lists: those who wait at the same moment share one."""
    calls = fleet.team.platform.counters(PROJECT)
    assert fleet.team.slugs() == NAMES
    assert (calls["create"], calls["update"], calls["delete"]) == (SIZE, 0, 0)
    assert calls["list"] <= 10 + 5 * fleet.seconds / INTERVAL


@pytest.mark.usefixtures("fleet")
def test_kubernetes_is_written_to_as_little_as_for_one(audit: Audit) -> None:
    """Three writes and two Events for each, and a status for each of the four phases that it was seen in."""
    writes = Counter(f"{write.verb} {write.resource}" for write in audit.writes(0, PROJECT) if write.code < 300)
    assert writes["patch workloads"] == SIZE
    assert writes["create configmaps"] == SIZE
    assert writes["create events"] == 2 * SIZE
    assert SIZE <= writes["patch workloads/status"] <= 6 * SIZE
    assert set(writes) == {"patch workloads", "create configmaps", "create events", "patch workloads/status"}


def test_at_rest_there_is_one_list_an_interval(fleet: Fleet, audit: Audit) -> None:
    """Five lists take five intervals, nothing else is asked of the platform, and nothing is written."""
    team = fleet.team
    before, since = audit.mark(), team.platform.last()
    eventually(lambda: len(team.calls("list", since=since)), equals(6), within=120 * INTERVAL)
    calls = team.calls(since=since)
    assert {call["operation"] for call in calls} == {"list"}
    gaps = [later["monotonic"] - earlier["monotonic"] for earlier, later in pairwise(calls)]
    assert sum(gaps) > 0.8 * INTERVAL * len(gaps), gaps
    assert audit.writes(before) == []


def test_nothing_is_written_at_a_restart(fleet: Fleet, audit: Audit, operator: Operator, shown: Scrape) -> None:
    """All are looked at, out of a handful of lists, and nothing comes of it."""
    team = fleet.team
    before, since = audit.mark(), team.platform.last()
    assert operator.stop() == 0
    operator.start()
    eventually(shown.looks, lambda looks: looks >= SIZE, within=120)
    team.pass_intervals(2)
    assert audit.writes(before) == []
    assert team.platform_writes(since) == []
    _expect_few_lists(team, since)


def _expect_few_lists(team: Team, since: int) -> None:
    """One per interval, however long it took, and some when a process begins."""
    at = [call["monotonic"] for call in team.calls("list", since=since)]
    assert len(at) <= (at[-1] - at[0]) / (0.9 * INTERVAL) + 5


def test_nothing_is_written_when_a_standby_takes_over(fleet: Fleet, audit: Audit, operator: Operator) -> None:
    """It knows them all when its turn comes, looks at each, and nothing comes of it."""
    team, shown = fleet.team, Scrape(free_port())
    standby = operator.twin("standby", shown.option)
    before, since = audit.mark(), team.platform.last()
    standby.stand_by()
    assert operator.stop() == 0
    eventually(shown.looks, lambda looks: looks >= SIZE, within=120)
    team.pass_intervals(2)
    assert audit.writes(before) == []
    assert team.platform_writes(since) == []
    _expect_few_lists(team, since)
    standby.close()


def test_one_that_drifts_is_found_among_them(fleet: Fleet) -> None:
    """Within an interval or two, and no other is touched."""
    team = fleet.team
    since = team.platform.last()
    team.platform.edit(PROJECT, NAMES[SIZE // 2], model_name="another")
    eventually(lambda: team.live(NAMES[SIZE // 2])["model_name"], equals("llama-3"))
    team.pass_intervals(2)
    assert team.platform_writes(since) == [f"update {NAMES[SIZE // 2]}"]


def test_all_are_deleted(fleet: Fleet, api: Api) -> None:
    """At once: each by one call, and nothing is left on either side."""
    team = fleet.team
    since = team.platform.last()
    api.delete(f"{WORKLOADS}/namespaces/{PROJECT}/workloads")
    eventually(lambda: len(_all(team)), equals(0), within=BOUND, poll=1.0)
    assert team.slugs() == []
    assert Counter(team.platform_writes(since)) == Counter(f"delete {name}" for name in NAMES)


async def _create_all(api: Api) -> None:
    """A few writers with a connection each."""
    left = iter(NAMES)

    async def write(http: httpx.AsyncClient) -> None:
        for name in left:
            answer = await http.post(f"{WORKLOADS}/namespaces/{PROJECT}/workloads", json=manifest(name))
            assert answer.status_code == 201, answer.text

    async with api.concurrently() as http, asyncio.TaskGroup() as writers:
        for _ in range(AT_ONCE):
            writers.create_task(write(http))


def _all(team: Team) -> list[dict[str, object]]:
    return team.api.workloads(PROJECT)


def _verdicts(team: Team) -> Counter[str]:
    return Counter(_verdict(workload) for workload in team.api.workloads(PROJECT))


def _verdict(workload: dict[str, dict[str, list[dict[str, str]]]]) -> str:
    ready = [each for each in workload["status"].get("conditions", []) if each["type"] == "Ready"]
    return f"{ready[0]['status']} {ready[0]['reason']}" if ready else "new"


def _events_told(api: Api) -> int:
    return len(api.items(f"{EVENTS}/namespaces/{PROJECT}/events"))
