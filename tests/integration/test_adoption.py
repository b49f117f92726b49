"""A slug that is on the platform already: taken over, or held as a plan until somebody approves that."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from harness.drifting import approve, drift, look, sent, told, until_drift, until_plan, until_told, version
from harness.team import ON_DRIFT, Team
from harness.waiting import eventually

pytestmark = pytest.mark.usefixtures("operator")

FINALIZER = "inferencekey.com/workload"


@dataclass(frozen=True)
class Case:
    """What was declared about a workload that somebody else made, and what comes of it."""

    adoption: str
    identical: bool
    verdict: str = "True Ready"
    policy: str = "Reconcile"
    drifted: str | None = None

    @property
    def name(self) -> str:
        """The Workload's name, and the slug."""
        return f"{self.adoption}-{'same' if self.identical else 'other'}-{self.policy}".lower()

    @property
    def adopted(self) -> bool:
        """Whether it is taken over without being asked about."""
        return self.verdict != "False AdoptionPending"

    @property
    def repaired(self) -> bool:
        """Whether it is brought into line."""
        return self.adopted and not self.identical and self.policy == "Reconcile"


PENDING = "False AdoptionPending"
CASES = [
    Case("Always", identical=True),
    Case("Always", identical=False),
    Case("IfIdentical", identical=True),
    Case("IfIdentical", identical=False, verdict=PENDING, drifted="SpecChange"),
    Case("Never", identical=True, verdict=PENDING),
    Case("Never", identical=False, verdict=PENDING, drifted="SpecChange"),
    Case("Always", identical=False, policy="Fail", verdict="False DriftDetected", drifted="SpecChange"),
    Case("Always", identical=False, policy="DryRun", verdict="False PlanPending", drifted="SpecChange"),
    Case("Always", identical=False, policy="Warn", verdict="False PlanPending", drifted="SpecChange"),
    Case("Always", identical=False, policy="Ignore", verdict="True DriftTolerated", drifted="SpecChange"),
    Case("Always", identical=True, policy="DryRun"),
    Case("IfIdentical", identical=True, policy="DryRun"),
]


def _find(team: Team, name: str, *, identical: bool, **spec: object) -> str:
    """Somebody made the workload, and a Workload of that slug is declared; the id on the platform."""
    model = "llama-3" if identical else "theirs"
    found = team.platform.add(team.name, name, name=name, backend="vllm", model_name=model, description="theirs")
    team.platform.phase(team.name, name, "ready")
    annotations = {ON_DRIFT: str(spec.pop("policy", "Reconcile"))}
    team.declare(name, annotations, **spec)
    return str(found["id"])


def test_every_adoption_policy(team: Team) -> None:
    """Three policies, identical or not, and what the drift policy makes of one that was taken over and differs."""
    ids = {}
    for case in CASES:
        ids[case.name] = _find(
            team,
            case.name,
            identical=case.identical,
            adoptionPolicy=case.adoption,
            policy=case.policy,
            deletionPolicy="Delete",
        )
    for case in CASES:
        team.until(case.name, case.verdict)
    team.pass_intervals(1)
    before = {case.name: version(team, case.name) for case in CASES}
    team.pass_intervals(2)
    assert {case.name: version(team, case.name) for case in CASES} == before
    for case in CASES:
        _check(team, case, ids[case.name])
    assert team.platform_writes() == ["update always-other-reconcile"]
    assert sent(team) == [{"model_name": "llama-3"}]


def _check(team: Team, case: Case, identity: str) -> None:
    workload = team.workload(case.name)
    status, conditions = workload["status"], team.conditions(case.name)
    assert team.verdict(case.name) == case.verdict
    assert status["drift"].get("class") == case.drifted, case
    assert ("planId" in status["drift"]) == (case.drifted is not None or not case.adopted), case
    assert "Reconciling" not in conditions
    assert ("Stalled" in conditions) == (case.policy == "Fail")
    assert (status.get("adopted"), status.get("workloadId")) == ((True, identity) if case.adopted else (None, None))
    assert (FINALIZER in workload["metadata"].get("finalizers", [])) == case.adopted, case
    assert (team.config_map(f"{case.name}-endpoint") is not None) == case.adopted, case
    ours = case.identical or case.repaired
    assert team.live(case.name)["model_name"] == ("llama-3" if ours else "theirs")
    assert team.live(case.name)["description"] == "theirs"


@pytest.mark.parametrize("identical", [True, False], ids=["identical", "different"])
def test_an_adoption_is_approved(team: Team, identical: bool) -> None:
    """The plan says so; approved, it is taken over, once, and brought into line with that very write."""
    identity = _find(team, "support-bot", identical=identical, adoptionPolicy="Never")
    team.until("support-bot", PENDING)
    eventually(lambda: told(team, "support-bot")["Normal AdoptionPending"])
    plan = until_plan(team, "support-bot")
    message = team.conditions("support-bot")["Ready"]["message"]
    assert "exists on the platform, and this Workload did not create it" in message
    assert f"approve-plan={plan}" in message
    approve(team, "support-bot", plan)
    status = team.until_ready("support-bot")["status"]
    assert (status["adopted"], status["workloadId"]) == (True, identity)
    assert status["drift"] == {"policy": "Reconcile", "summary": "none"}
    assert sent(team) == ([] if identical else [{"model_name": "llama-3"}])
    team.platform.edit(team.name, "support-bot", model_name="by-hand")
    eventually(lambda: sent(team)[-1:] == [{"model_name": "llama-3"}] and "class" not in drift(team, "support-bot"))


def test_what_was_not_adopted_is_left(team: Team) -> None:
    """Deleting the Workload is no adoption: nothing is sent, whatever deletionPolicy says."""
    _find(team, "support-bot", identical=True, adoptionPolicy="Never", deletionPolicy="Delete")
    team.until("support-bot", PENDING)
    team.kubectl("delete", "ikw", "support-bot", "--timeout=20s")
    assert team.slugs() == ["support-bot"]
    assert team.platform_writes() == []


def test_it_is_adopted_once_it_is_identical(team: Team) -> None:
    """IfIdentical waits for the platform, or the declaration, to come round."""
    _find(team, "theirs-moves", identical=False, adoptionPolicy="IfIdentical")
    _find(team, "ours-moves", identical=False, adoptionPolicy="IfIdentical")
    for name in ("theirs-moves", "ours-moves"):
        team.until(name, PENDING)
    team.platform.edit(team.name, "theirs-moves", model_name="llama-3")
    team.edit("ours-moves", model="theirs")
    for name in ("theirs-moves", "ours-moves"):
        team.until_ready(name)
        assert team.status(name)["adopted"] is True
    assert team.platform_writes() == []


def test_what_is_created_again_is_ours(team: Team) -> None:
    """What was adopted, went and was created again is no longer one that was found: it goes with the Workload."""
    identity = _find(team, "support-bot", identical=True)
    assert team.until_ready("support-bot")["status"]["adopted"] is True
    assert FINALIZER not in team.workload("support-bot")["metadata"].get("finalizers", [])
    team.platform.remove(team.name, "support-bot")
    team.until_made_anew("support-bot", identity)
    assert team.until_ready("support-bot")["status"]["adopted"] is False
    team.kubectl("delete", "ikw", "support-bot", "--timeout=20s")
    assert team.slugs() == []


def test_a_change_before_the_adoption_is_told(team: Team) -> None:
    """What is pending moves, and so does its plan; what was read before approves nothing."""
    _find(team, "support-bot", identical=True, adoptionPolicy="Never")
    plan = until_plan(team, "support-bot")
    team.platform.edit(team.name, "support-bot", model_name="by-hand")
    until_drift(team, "support-bot", "SpecChange")
    assert until_plan(team, "support-bot", plan) != plan
    until_told(team, "support-bot", *["Normal AdoptionPending"] * 2)
    approve(team, "support-bot", plan)
    look(team, "support-bot")
    assert team.status("support-bot").get("adopted") is None
    assert team.platform_writes() == []
