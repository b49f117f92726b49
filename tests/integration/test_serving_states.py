"""Readiness as the platform tells it: followed until it is over, shown step by step, looked at again when it serves.

The platform holds each new workload where it begins, and the tests move it on by hand.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from harness import operators
from harness.api import Json
from harness.audit import Audit
from harness.crowd import Crowd
from harness.simulator import behaving
from harness.team import ON_DRIFT, Team
from harness.waiting import eventually
from inferencekey_operator.controller.controller import STEP_PAUSE
from inferencekey_simulator.admin import Admin

NAME = "support-bot"
INTERVAL = 0.25
SLOW_LOOK = 3.0
"""Seconds between two looks at what serves."""
STREAMS = 48
"""How many streams may be open at once, over all Workloads."""
NOTICED = 5.0
"""Seconds within which the platform notices who hung up: it counts a stream as open until then."""
WAITS = (1.0, 2.0, 4.0)
"""Seconds before a stream that told nothing is opened again, as the SDK has them."""
WAYS: dict[str, dict[str, Any]] = {
    "ended": {"action": "drop", "after_events": 0},
    "cut": {"action": "cut_before"},
    "told-and-ended": {"action": "drop", "after_events": 1},
    "503": {"action": "respond", "status": 503},
    "500": {"action": "respond", "status": 500},
    "404": {"action": "respond", "status": 404, "body": {"error": "not_found"}},
    "type": {"action": "respond", "status": 200, "body": {"phase": "ready"}},
}
"""How a stream breaks off."""
WINDOW: dict[str, Any] = {
    "executionPolicy": "scheduled",
    "executionPolicyConfig": {"window": "Mon-Fri 08:00-20:00 Europe/Madrid"},
}

pytestmark = pytest.mark.usefixtures("dropped", "resting")  # what takes its time begins with the first test


def _autoscaling(least: int) -> dict[str, Any]:
    pool = {"gpu_pool": ["NVIDIA A100-SXM4-80GB"], "max_hourly_cost_usd": 5.0}
    config = {"min_workers": least, "max_workers": 3, "max_hourly_cost_usd": 5.0}
    return {
        "executionPolicy": "autoscaling",
        "executionPolicyConfig": {**config, "workers": {"source": "cloud", "cloud_pool": pool}},
    }


@pytest.fixture(scope="module")
def operator_options() -> tuple[str, ...]:
    """What serves is looked at again after seconds, not minutes."""
    return (*operators.USUAL, f"--readiness-interval={SLOW_LOOK}s")


@pytest.fixture(scope="module", autouse=True)
def by_hand(platform: Admin) -> Iterator[None]:
    """Nothing goes on by itself on the platform, and who hangs up is noticed soon."""
    with behaving(platform, readiness={"hold_at": "scheduling", "keep_alive": 0.2}):
        yield


@pytest.fixture
def alone(crowd: Crowd) -> Team:
    """A team of the test's own."""
    return crowd.team()


def _streams(team: Team, since: int = 0) -> list[Json]:
    return team.calls("readiness", since=since)


def _open(team: Team) -> int:
    """How many streams about the team's workloads are open now."""
    return sum(stream["seconds"] is None for stream in _streams(team))


def _until_phase(team: Team, name: str, phase: str, within: float = 20.0) -> Json:
    def readiness() -> Json:
        found: Json = team.status(name).get("readiness", {})
        return found

    return eventually(readiness, lambda seen: seen.get("phase") == phase, within=within)


def _serving(team: Team, name: str = NAME) -> str:
    serving = team.conditions(name)["Serving"]
    return f"{serving['status']} {serving['reason']}"


def test_each_phase_is_shown(alone: Team) -> None:
    """Phase, step and message in the status, over one stream, which is closed when it serves."""
    alone.declare(NAME)
    _until_phase(alone, NAME, "scheduling")
    for phase, step in (("provisioning", None), ("bootstrapping", "load_weights")):
        alone.platform.phase(alone.name, NAME, phase, f"{phase}, as the platform puts it", step)
        readiness = _until_phase(alone, NAME, phase)
        assert (readiness.get("step"), readiness["message"]) == (step, f"{phase}, as the platform puts it")
        assert alone.verdict(NAME) == "False Progressing"
        assert "Reconciling" in alone.conditions(NAME)
        assert _serving(alone) == f"False {phase.capitalize()}"
        assert phase.capitalize() in alone.conditions(NAME)["Ready"]["message"]
        assert (step or "") in alone.conditions(NAME)["Ready"]["message"]
        assert [stream["seconds"] for stream in _streams(alone)] == [None]
    alone.platform.phase(alone.name, NAME, "ready")
    alone.until_ready(NAME)
    assert _serving(alone) == "True Ready"
    assert "Reconciling" not in alone.conditions(NAME)
    eventually(lambda: _open(alone), (0).__eq__)


def test_steps_are_written_together(alone: Team, audit: Audit) -> None:
    """Steps of one phase that follow each other quickly are one write, with the last of them."""
    alone.declare(NAME)
    eventually(alone.slugs)
    alone.platform.phase(alone.name, NAME, "bootstrapping", None, "step-0")
    _until_phase(alone, NAME, "bootstrapping")
    alone.until_told(NAME, 1)
    before, began = audit.mark(), time.monotonic()
    for number in range(1, 9):
        alone.platform.phase(alone.name, NAME, "bootstrapping", None, f"step-{number}")
    eventually(lambda: alone.status(NAME)["readiness"].get("step"), "step-8".__eq__)
    writes = [str(write) for write in audit.writes(before, alone.name)]
    assert set(writes) == {f"patch workloads/status {alone.name}/{NAME} 200"}
    assert len(writes) <= 1 + (time.monotonic() - began) // STEP_PAUSE


def test_an_error_says_what_the_platform_says(alone: Team) -> None:
    """Ready, Serving and an Event speak of it; when it serves after all, a later look tells."""
    alone.declare(NAME)
    eventually(alone.slugs)
    alone.platform.phase(alone.name, NAME, "error", "CUDA out of memory on every worker")
    alone.until(NAME, "False PlatformError")
    assert "CUDA out of memory on every worker" in alone.conditions(NAME)["Ready"]["message"]
    assert _serving(alone) == "False Error"
    assert alone.status(NAME)["readiness"]["message"] == "CUDA out of memory on every worker"
    told = eventually(lambda: [event for event in alone.events(NAME) if event.type == "Warning"])
    assert [(event.reason, event.count) for event in told] == [("PlatformError", 1)]
    alone.platform.phase(alone.name, NAME, "ready")
    alone.until_ready(NAME, within=4 * SLOW_LOOK)
    assert alone.platform_writes() == [f"create {NAME}"]


@pytest.fixture(scope="module")
def dropped(crowd: Crowd) -> dict[str, Team]:
    """Teams whose streams break off in different ways, three times each, side by side."""
    teams = {way: crowd.team() for way in WAYS}
    for way, team in teams.items():
        crowd.platform.fault(**WAYS[way], operation="readiness", project=team.name, times=len(WAITS))
        team.declare(NAME)
    return teams


@pytest.mark.parametrize("way", WAYS)
def test_a_stream_that_breaks_off_is_opened_again(dropped: dict[str, Team], way: str) -> None:
    """After the SDK's waits, which grow while nothing is told and begin anew with each event; nothing is missed."""
    team = dropped[way]
    eventually(lambda: len(_streams(team)), lambda count: count == len(WAITS) + 1)
    gaps = [later["monotonic"] - earlier["monotonic"] for earlier, later in pairwise(_streams(team))]
    wanted = (WAITS[0],) * len(WAITS) if way == "told-and-ended" else WAITS
    assert all(gap >= wait for gap, wait in zip(gaps, wanted, strict=True)), gaps
    team.platform.phase(team.name, NAME, "ready")
    team.until_ready(NAME)
    assert team.platform_writes() == [f"create {NAME}"]


def test_nobody_listens_to_what_is_given_up(alone: Team) -> None:
    """The stream ends when the Workload is suspended or deleted, though the platform has more to tell."""
    alone.declare("paused")
    alone.declare("left", deletionPolicy="Orphan")
    for name in ("paused", "left"):
        _until_phase(alone, name, "scheduling")
    assert _open(alone) == 2
    alone.edit("paused", suspend=True)
    alone.delete("left")
    eventually(lambda: _open(alone), (0).__eq__)
    assert alone.slugs() == ["left", "paused"]
    alone.platform.phase(alone.name, "paused", "ready")
    alone.edit("paused", suspend=False)
    alone.until_ready("paused")


def test_what_stops_serving_loses_ready(alone: Team) -> None:
    """A `fixed` one: the list does not tell, the slow look does; from then on it is followed until it is back."""
    alone.declare(NAME, executionPolicy="fixed", executionPolicyConfig={"replicas": 1})
    eventually(alone.slugs)
    alone.platform.phase(alone.name, NAME, "ready")
    alone.until_ready(NAME)
    alone.platform.phase(alone.name, NAME, "provisioning", "the worker was lost")
    alone.until(NAME, "False Progressing")
    assert "the worker was lost" in alone.conditions(NAME)["Ready"]["message"]
    alone.pass_intervals(4)
    since = alone.platform.last()
    alone.pass_intervals(int(2 * SLOW_LOOK / INTERVAL))
    assert (_streams(alone, since), _open(alone)) == ([], 1), "it was not followed"
    alone.platform.phase(alone.name, NAME, "ready")
    alone.until_ready(NAME)
    assert alone.platform_writes() == [f"create {NAME}"]


@pytest.fixture(scope="module")
def resting(crowd: Crowd) -> Team:
    """Workloads that need nothing running, one that does, and one that failed, none of which serves."""
    team = crowd.team()
    team.declare("scheduled", **WINDOW)
    team.declare("idle", **_autoscaling(0))
    team.declare("busy", **_autoscaling(1))
    team.declare("failed", **_autoscaling(0))
    team.declare("tolerated", {ON_DRIFT: "Ignore"}, **_autoscaling(0))
    return team


@pytest.mark.parametrize("name", ["scheduled", "idle"])
def test_what_may_idle_is_ready_at_rest(resting: Team, name: str) -> None:
    """Accepted without an error is enough, `Serving` says the rest."""
    resting.until_ready(name)
    eventually(lambda: _serving(resting, name), "False Scheduling".__eq__)
    assert resting.verdict(name) == "True Ready"
    assert "Reconciling" not in resting.conditions(name)


def test_what_must_run_is_not_ready_at_rest(resting: Team) -> None:
    """With a least number of workers above 0 the platform has to serve."""
    _until_phase(resting, "busy", "scheduling")
    assert resting.verdict("busy") == "False Progressing"


def test_what_may_idle_is_not_ready_when_it_failed(resting: Team) -> None:
    """An error counts, whatever the policy."""
    resting.until_ready("failed")
    resting.platform.phase(resting.name, "failed", "error", "no such image")
    resting.until("failed", "False PlatformError", within=4 * SLOW_LOOK)


def test_the_live_policy_decides_what_may_idle(resting: Team) -> None:
    """Where drift is tolerated, what the platform has counts, and not what is declared."""
    resting.until_ready("tolerated")
    live = resting.live("tolerated")["execution_policy_config"]
    resting.platform.edit(resting.name, "tolerated", execution_policy_config={**live, "min_workers": 1})
    resting.until("tolerated", "False Progressing")
    resting.platform.phase(resting.name, "tolerated", "ready")
    resting.until_ready("tolerated", within=4 * SLOW_LOOK)


def test_only_so_many_streams_are_open(crowd: Crowd, platform: Admin) -> None:
    """More Workloads than that are not ready: none is left out, and no stream stays open when all are ready.

    Cut off all together they come back, each in a time of its own (test_serving.py has the times); and what serves is
    looked at again in no burst either.
    """
    team, since = crowd.team(), platform.last()
    names = [f"bot-{number:02}" for number in range(STREAMS + 12)]
    crowd.declare(*((team.name, name) for name in names))
    eventually(lambda: len(team.slugs()), len(names).__eq__, within=120)
    eventually(lambda: platform.totals()["streams_open"], lambda count: count >= STREAMS)
    team.pass_intervals(3)
    assert _most_at_once(platform.requests(since, operation="readiness")) <= STREAMS
    before = platform.last()
    cut = platform.drop_streams(team.name, cut=True)
    eventually(lambda: len(_streams(team, before)), lambda count: count >= cut)
    for name in names:
        platform.phase(team.name, name, "ready")
    eventually(
        lambda: {crowd.verdicts()[team.name, name] for name in names}, {"True Ready"}.__eq__, within=120, poll=0.3
    )
    assert _most_at_once(platform.requests(since, operation="readiness")) <= STREAMS
    eventually(lambda: _open(team), (0).__eq__)
    _expect_even_looks(team)


def _expect_even_looks(team: Team) -> None:
    """Each of the team's is looked at, and not all at one moment; test_serving.py has how even that is."""
    slugs, since = set(team.slugs()), team.platform.last()
    looks = eventually(lambda: _streams(team, since), lambda seen: {look["slug"] for look in seen} == slugs)
    times = [look["monotonic"] for look in looks]
    assert max(times) - min(times) > SLOW_LOOK / 6


def _most_at_once(streams: list[Json]) -> int:
    """The largest number of streams that were open at one moment, and were not about to be noticed as closed."""
    lives = [(stream["monotonic"], stream["seconds"]) for stream in streams]
    changes = [(began, 1) for began, seconds in lives if seconds is None or seconds > NOTICED]
    changes += [
        (began + seconds - NOTICED, -1) for began, seconds in lives if seconds is not None and seconds > NOTICED
    ]
    most = now = 0
    for _, change in sorted(changes):
        now += change
        most = max(most, now)
    return most
