"""The five drift policies in front of the same change: Reconcile repairs, the others report and touch nothing."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from harness.team import APPROVE_PLAN, LOOK_NOW, ON_DRIFT, Team
from harness.waiting import equals, eventually

pytestmark = pytest.mark.usefixtures("operator")

NAME = "support-bot"


class Expected(NamedTuple):
    """What a policy makes of a change: the verdict, and whether a Warning tells of it."""

    policy: str
    verdict: str
    warning: bool


ON_THE_PLATFORM = [
    Expected("Fail", "False DriftDetected", warning=True),
    Expected("DryRun", "True Ready", warning=True),
    Expected("Warn", "True Ready", warning=True),
    Expected("Ignore", "True Ready", warning=False),
]
IN_THE_SPEC = [
    Expected("Fail", "False DriftDetected", warning=True),
    Expected("DryRun", "False PlanPending", warning=False),
    Expected("Warn", "False PlanPending", warning=True),
    Expected("Ignore", "True DriftTolerated", warning=False),
]
MISSING = [
    Expected("Fail", "False WorkloadMissing", warning=True),
    Expected("DryRun", "False PlanPending", warning=True),
    Expected("Warn", "False WorkloadMissing", warning=True),
    Expected("Ignore", "False WorkloadMissing", warning=False),
]


def _policy(expected: Expected) -> str:
    return expected.policy


def _served_under(team: Team, policy: str) -> int:
    """A Workload that is ready, created under no policy; the last request to the platform until now."""
    team.declare(NAME)
    team.until_ready(NAME)
    team.annotate(NAME, {ON_DRIFT: policy})
    eventually(lambda: team.status(NAME)["drift"].get("policy"), equals(policy))
    return team.platform.last()


def _warned(team: Team) -> bool:
    return any(told.type == "Warning" for told in team.events(NAME))


def test_reconcile_repairs(team: Team) -> None:
    """What was changed on the platform is set back, by one PATCH of just that, and an Event says so."""
    team.declare(NAME, command="vllm serve llama-3")
    team.until_ready(NAME)
    since = team.platform.last()
    team.platform.edit(team.name, NAME, model_name="another", description="by hand")
    eventually(lambda: team.live(NAME)["model_name"], equals("llama-3"))
    assert [call["body"] for call in team.calls("update", since=since)] == [{"model_name": "llama-3"}]
    assert team.live(NAME)["description"] == "by hand"
    told = eventually(lambda: [told for told in team.events(NAME) if told.reason == "DriftDetected"])
    assert "model changed on the platform" in told[0].note
    assert "another" not in told[0].note
    assert team.verdict(NAME) == "True Ready"


@pytest.mark.parametrize("expected", ON_THE_PLATFORM, ids=_policy)
def test_a_change_on_the_platform_is_reported(team: Team, expected: Expected) -> None:
    """Field by field, with a plan, and left as it is."""
    since = _served_under(team, expected.policy)
    team.platform.edit(team.name, NAME, model_name="another")
    drift = eventually(lambda: team.status(NAME)["drift"], lambda drift: "class" in drift)
    assert (drift["class"], drift["summary"], drift["policy"]) == ("OutOfBand", "model", expected.policy)
    assert drift["fields"] == [{"field": "model", "declared": "llama-3", "live": "another"}]
    assert team.verdict(NAME) == expected.verdict
    drifted = team.conditions(NAME)["Drifted"]
    assert (drifted["status"], drifted["reason"]) == ("True", "OutOfBand")
    assert f"{APPROVE_PLAN}={drift['planId']}" in drifted["message"]
    team.pass_intervals(2)
    assert team.platform_writes(since) == []
    assert _warned(team) == expected.warning


@pytest.mark.parametrize("expected", IN_THE_SPEC, ids=_policy)
def test_a_change_of_the_spec_is_withheld(team: Team, expected: Expected) -> None:
    """It is a plan as well: nothing is sent."""
    since = _served_under(team, expected.policy)
    team.edit(NAME, model="llama-4")
    team.until(NAME, expected.verdict)
    drift = team.status(NAME)["drift"]
    assert drift["class"] == "SpecChange"
    assert drift["fields"] == [{"field": "model", "declared": "llama-4", "live": "llama-3"}]
    team.pass_intervals(2)
    assert team.platform_writes(since) == []
    assert _warned(team) == expected.warning


@pytest.mark.parametrize("expected", MISSING, ids=_policy)
def test_one_that_is_gone_is_not_made_again(team: Team, expected: Expected) -> None:
    """Once a second list confirmed it; what was published stays."""
    since = _served_under(team, expected.policy)
    team.platform.remove(team.name, NAME)
    team.until(NAME, expected.verdict)
    assert team.status(NAME)["drift"]["class"] == "Missing"
    assert team.config_map(f"{NAME}-endpoint") is not None
    assert team.platform_writes(since) == []
    eventually(lambda: _warned(team), equals(expected.warning))


def test_a_change_beside_an_update_is_not_overlooked(team: Team) -> None:
    """Made while our PATCH of another field is under way, it is no spelling of the platform's: it is repaired, too."""
    team.declare(NAME, description="ours")
    team.until_ready(NAME)
    team.platform.fault("delay", operation="update", project=team.name, seconds=1.0)
    team.edit(NAME, model="llama-4")
    eventually(lambda: team.calls("update"))
    team.platform.edit(team.name, NAME, description="by hand")
    eventually(lambda: team.live(NAME)["model_name"], equals("llama-4"))
    eventually(lambda: team.live(NAME)["description"], equals("ours"))
    team.until_ready(NAME)


def test_reconcile_makes_again_what_is_gone(team: Team) -> None:
    """Once a second list confirmed it."""
    since = _served_under(team, "Reconcile")
    first = team.status(NAME)["workloadId"]
    team.platform.remove(team.name, NAME)
    eventually(lambda: team.slugs() == [NAME])
    team.until_made_anew(NAME, first)
    team.until_ready(NAME)
    assert team.platform_writes(since) == ["create support-bot"]


def test_dry_run_creates_nothing(team: Team) -> None:
    """What would be made is a plan; a Ready of False keeps whoever waits from believing that it is there."""
    team.declare(NAME, {ON_DRIFT: "dry_run"})
    team.until(NAME, "False PlanPending")
    assert team.status(NAME)["drift"]["class"] == "NotCreated"
    team.pass_intervals(2)
    assert team.slugs() == []
    assert team.platform_writes() == []
    assert team.workload(NAME)["metadata"].get("finalizers", []) == []
    assert team.config_map(f"{NAME}-endpoint") is None


def test_an_approval_applies_its_plan_once(team: Team) -> None:
    """The id in the status, typed as its message says, applies that plan; it is used up with that."""
    team.declare(NAME, {ON_DRIFT: "DryRun"})
    plan = team.until(NAME, "False PlanPending")["status"]["drift"]["planId"]
    team.kubectl("annotate", f"ikw/{NAME}", f"{APPROVE_PLAN}={plan}")
    status = team.until_ready(NAME)["status"]
    assert status["lastHandledApproval"] == {"planId": plan, "result": "Applied"}
    assert status["plansApplied"] == 1
    team.platform.edit(team.name, NAME, model_name="another")
    drift = eventually(lambda: team.status(NAME)["drift"], lambda drift: "planId" in drift)
    team.pass_intervals(2)
    assert drift["planId"] != plan
    assert team.platform_writes() == ["create support-bot"]


def test_an_approval_of_another_plan_applies_nothing(team: Team) -> None:
    """What changed since it was read is not approved by it; the id that counts now is told."""
    since = _served_under(team, "DryRun")
    team.platform.edit(team.name, NAME, model_name="another")
    old = eventually(lambda: team.status(NAME)["drift"].get("planId"))
    team.platform.edit(team.name, NAME, model_name="yet-another")
    eventually(lambda: team.status(NAME)["drift"]["fields"][0]["live"], equals("yet-another"))
    team.annotate(NAME, {APPROVE_PLAN: str(old)})
    status = eventually(lambda: team.status(NAME), lambda status: "lastHandledApproval" in status)
    assert status["lastHandledApproval"] == {"planId": old, "result": "PlanStale"}
    new = status["drift"]["planId"]
    eventually(lambda: [told for told in team.events(NAME) if told.reason == "PlanStale" and new in told.note])
    team.pass_intervals(2)
    assert team.status(NAME)["drift"]["planId"] == new
    assert team.platform_writes(since) == []
    team.annotate(NAME, {APPROVE_PLAN: new})
    eventually(lambda: team.live(NAME)["model_name"], equals("llama-3"))
    assert team.platform_writes(since) == ["update support-bot"]


def test_a_namespace_states_it_for_all(team: Team) -> None:
    """Its annotation counts where a Workload states none, from the moment that it is set."""
    _served_under(team, "Warn")
    team.annotate(NAME, {ON_DRIFT: None})
    eventually(lambda: team.status(NAME)["drift"].get("policy"), equals("Reconcile"))
    team.kubectl("annotate", "namespace", team.name, f"{ON_DRIFT}=Ignore")
    eventually(lambda: team.status(NAME)["drift"].get("policy"), equals("Ignore"))


def test_a_policy_that_is_none(team: Team) -> None:
    """Nothing is touched, and the message says which there are."""
    team.declare(NAME, {ON_DRIFT: "Reconsile"})
    team.until(NAME, "False InvalidPolicy")
    assert "Reconcile, Fail, DryRun, Warn, Ignore" in team.conditions(NAME)["Stalled"]["message"]
    assert team.platform_writes() == []
    team.annotate(NAME, {ON_DRIFT: "reconcile"})
    team.until_ready(NAME)


def test_a_look_can_be_asked_for(team: Team) -> None:
    """Any new value of the annotation is one look, and the status says which was the last."""
    team.declare(NAME)
    team.until_ready(NAME)
    since = team.platform.last()
    team.annotate(NAME, {LOOK_NOW: "2026-03-02T10:41:32Z"})
    eventually(lambda: team.status(NAME).get("lastHandledReconcileAt"), equals("2026-03-02T10:41:32Z"))
    assert team.platform_writes(since) == []


def test_suspended_means_untouched(team: Team) -> None:
    """Neither what is declared nor what drifts is looked at; when it goes on, both are."""
    team.declare(NAME)
    team.until_ready(NAME)
    team.edit(NAME, suspend=True)
    eventually(lambda: "Suspended" in team.conditions(NAME))
    assert team.verdict(NAME) == "True Ready"
    since = team.platform.last()
    team.platform.edit(team.name, NAME, model_name="another")
    team.edit(NAME, model="llama-4")
    team.until(NAME, "False Suspended")
    assert team.platform_writes(since) == []
    team.edit(NAME, suspend=False)
    team.until_ready(NAME)
    assert team.live(NAME)["model_name"] == "llama-4"
