"""A Workload that is suspended is left alone, whatever happens to it, and says so; when it goes on, it catches up."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from controlplane.access import Cluster
from harness.api import Api
from harness.drifting import sent, told, until_drift, until_plan, version
from harness.operators import Operator
from harness.team import APPROVE_PLAN, LOOK_NOW, ON_DRIFT, Team
from harness.teams import another_team
from harness.waiting import equals, eventually
from inferencekey_simulator.admin import Admin

pytestmark = pytest.mark.usefixtures("operator")

NAME = "support-bot"
NEIGHBOUR = "neighbour"


@pytest.fixture
def clock(operator: Operator, control_plane: Cluster, api: Api, platform: Admin) -> Iterator[Team]:
    """Another team with a Workload that is looked at again and again."""
    with another_team(control_plane, api, platform) as team:
        team.declare("clock")
        team.until_ready("clock")
        yield team


def _suspend(team: Team, **spec: object) -> None:
    """Suspend the Workload, and wait until it says so."""
    team.edit(NAME, suspend=True, **spec)
    eventually(lambda: "Suspended" in team.conditions(NAME))


def test_nothing_is_touched_until_it_goes_on(team: Team, operator: Operator) -> None:
    """Drift, a request, an approval and a restart: no write to either side, though its project is looked at."""
    for name in (NAME, NEIGHBOUR):
        team.declare(name)
        team.until_ready(name)
    _suspend(team)
    conditions = team.conditions(NAME)
    assert (conditions["Ready"]["status"], conditions["Ready"]["reason"]) == ("True", "Ready")
    assert (conditions["Suspended"]["status"], conditions["Suspended"]["reason"]) == ("True", "Suspended")
    assert '{"spec":{"suspend":false}}' in conditions["Suspended"]["message"]
    team.platform.edit(team.name, NAME, model_name="by-hand")
    team.annotate(NAME, {LOOK_NOW: "now", APPROVE_PLAN: "0123456789abcdef0123456789abcdef", ON_DRIFT: "Fail"})
    since, events = team.platform.last(), told(team, NAME)
    before = version(team, NAME)
    team.pass_intervals(3)
    assert operator.stop() == 0
    operator.start()
    team.pass_intervals(3)
    assert {call["operation"] for call in team.calls(since=since)} == {"list"}
    assert (version(team, NAME), told(team, NAME)) == (before, events)
    team.annotate(NAME, {ON_DRIFT: None})
    team.edit(NAME, suspend=False)
    eventually(lambda: team.live(NAME)["model_name"], equals("llama-3"))
    until_drift(team, NAME, None)
    status = team.until_ready(NAME)["status"]
    assert status["lastHandledReconcileAt"] == "now"
    assert "Suspended" not in team.conditions(NAME)
    assert team.platform_writes(since) == [f"update {NAME}"]


def test_a_project_of_which_all_are_suspended_is_not_called(team: Team, clock: Team, operator: Operator) -> None:
    """Neither its list nor a stream is asked for, before and after a restart."""
    team.declare(NAME)
    team.until_ready(NAME)
    _suspend(team)
    clock.pass_intervals(1)
    since = team.platform.last()
    clock.pass_intervals(3)
    assert operator.stop() == 0
    operator.start()
    clock.pass_intervals(3)
    assert team.calls(since=since) == []
    assert team.verdict(NAME) == "True Ready"


def test_what_is_declared_meanwhile_is_applied_afterwards(team: Team) -> None:
    """Ready is no longer True once the declaration moved, and what it moved to is applied when it goes on."""
    for name in (NAME, NEIGHBOUR):
        team.declare(name)
        team.until_ready(name)
    _suspend(team)
    since = team.platform.last()
    team.edit(NAME, model="llama-4")
    team.until(NAME, "False Suspended")
    assert not {"Stalled", "Reconciling"} & set(team.conditions(NAME))
    team.pass_intervals(2)
    assert team.platform_writes(since) == []
    team.edit(NAME, suspend=False)
    team.until_ready(NAME)
    assert sent(team, since) == [{"model_name": "llama-4"}]


def test_one_that_was_never_created_waits(team: Team, clock: Team) -> None:
    """Declared as suspended nothing is called at all; it is created when it goes on."""
    team.declare(NAME, suspend=True)
    team.until(NAME, "False Suspended")
    clock.pass_intervals(2)
    assert team.calls() == []
    assert team.workload(NAME)["metadata"].get("finalizers", []) == []
    team.edit(NAME, suspend=False)
    team.until_ready(NAME)
    assert team.platform_writes() == [f"create {NAME}"]


def test_what_is_held_stays_held(team: Team, clock: Team) -> None:
    """A plan that was pending is not forgotten, nor applied; it is there again, under the policy, when it goes on."""
    team.declare(NAME)
    team.until_ready(NAME)
    team.annotate(NAME, {ON_DRIFT: "DryRun"})
    team.edit(NAME, model="llama-4")
    plan = until_plan(team, NAME)
    since = team.platform.last()
    _suspend(team)
    team.annotate(NAME, {APPROVE_PLAN: plan})
    team.until(NAME, "False Suspended")
    clock.pass_intervals(2)
    assert team.platform_writes(since) == []
    team.edit(NAME, suspend=False)
    until_drift(team, NAME, "SpecChange")
    team.until(NAME, "False PlanStale")
    assert team.platform_writes(since) == []
