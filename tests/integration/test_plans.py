"""Plans: what is withheld is shown with the command that approves it, and is applied by that, once, as it was shown.

The operator looks at the platform once a minute by itself, and so in no test: what it has not been asked to look at, it
does not know. A look that is asked for, or an approval, needs a new list each.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from harness import operators
from harness.api import WORKLOADS, Json
from harness.drifting import approve, drift, handled, look, sent, told, until_drift, until_plan
from harness.operators import Operator
from harness.team import APPROVE_PLAN, ON_DRIFT, Team
from harness.waiting import equals, eventually

pytestmark = pytest.mark.usefixtures("operator")

NAME = "support-bot"
HELD = ("Fail", "DryRun", "Warn", "Ignore")
NO_PLAN = "0123456789abcdef0123456789abcdef"


@pytest.fixture(scope="module")
def operator_options() -> tuple[str, ...]:
    """It lists by itself only when all is over, and takes no list for one that lags: people edit right after writes."""
    return (*operators.USUAL, "--list-interval=60s", "--uncertain-create-timeout=0")


def _serve(team: Team, name: str = NAME, policy: str = "DryRun", **spec: Any) -> int:
    """A Workload, served, under a policy; the last request to the platform until then."""
    team.declare(name, **spec)
    team.until_ready(name)
    team.annotate(name, {ON_DRIFT: policy})
    eventually(lambda: drift(team, name).get("policy"), equals(policy))
    return team.platform.last()


def _drift_by_hand(team: Team, name: str = NAME) -> str:
    """Somebody edits the workload in the dashboard, and it is looked at; the plan's id."""
    before = str(drift(team, name).get("planId", ""))
    team.platform.edit(team.name, name, model_name="by-hand")
    look(team, name)
    return until_plan(team, name, before)


# -- what is shown -----------------------------------------------------------------------------------------------


def test_kubectl_shows_the_plan_and_the_command(team: Team) -> None:
    """The id in `get -o wide`; in `describe` both values and a command, which applies it as it stands."""
    since = _serve(team, command="vllm serve llama-3")
    team.platform.edit(team.name, NAME, **{"config.command": "vllm serve by-hand"})
    look(team, NAME)
    plan = until_plan(team, NAME)
    header, row = team.kubectl("get", "ikw", NAME, "-o", "wide").stdout.splitlines()
    assert row[header.index("PLAN") :].strip() == plan
    assert row[header.index("DRIFTED") :].startswith("command ")
    described = team.kubectl("describe", "ikw", NAME).stdout
    for line in (f"Plan Id: {plan}", "Declared: vllm serve llama-3", "Live: vllm serve by-hand", "Field: command"):
        assert line in re.sub(r":\s+", ": ", described)
    command = re.search(
        r"kubectl (annotate ikw/\S+ -n \S+ --overwrite \S+=[0-9a-f]{32}\b)", " ".join(described.split())
    )
    assert command is not None
    team.kubectl(*command[1].split())
    until_drift(team, NAME, None)
    assert sent(team, since) == [{"config": {"command": "vllm serve llama-3"}}]


# -- once --------------------------------------------------------------------------------------------------------


def test_an_approved_plan_is_applied_once(team: Team) -> None:
    """Under each policy that withholds: one PATCH, the status says so, and the policy goes on as before."""
    for policy in HELD:
        name = policy.lower()
        since = _serve(team, name, policy)
        plan = _drift_by_hand(team, name)
        approve(team, name, plan)
        status = team.until_ready(name)["status"]
        assert (handled(team, name), status["plansApplied"]) == ({"planId": plan, "result": "Applied"}, 1)
        assert status["drift"] == {"policy": policy, "summary": "none"}
        look(team, name)
        assert sent(team, since) == [{"model_name": "llama-3"}]
        assert team.live(name)["model_name"] == "llama-3"
        _until_noted(team, name, f"plan {plan}, approved")


def test_a_spec_change_is_approved(team: Team) -> None:
    """An edit that is withheld is a plan as well, under each policy."""
    for policy in HELD:
        name = policy.lower()
        since = _serve(team, name, policy)
        team.edit(name, model="llama-4", description="For customers")
        approve(team, name, until_plan(team, name))
        team.until_ready(name)
        assert sent(team, since) == [{"model_name": "llama-4", "description": "For customers"}]


def test_a_creation_is_approved(team: Team) -> None:
    """What DryRun does not create it creates on approval, once."""
    team.declare(NAME, {ON_DRIFT: "DryRun"})
    team.until(NAME, "False PlanPending")
    plan = until_plan(team, NAME)
    assert f"{APPROVE_PLAN}={plan}" in team.conditions(NAME)["Ready"]["message"]
    assert team.slugs() == []
    assert team.workload(NAME)["metadata"].get("finalizers", []) == []
    assert team.config_map(f"{NAME}-endpoint") is None
    approve(team, NAME, plan)
    team.until_ready(NAME)
    look(team, NAME)
    assert team.platform_writes() == [f"create {NAME}"]
    assert team.status(NAME)["plansApplied"] == 1


def test_a_drift_that_comes_back_needs_another_approval(team: Team) -> None:
    """The same values on both sides are another plan each time; the annotation that stands approves none of them."""
    since = _serve(team)
    plans = []
    for _ in range(3):
        plan = _drift_by_hand(team)
        plans.append(plan)
        look(team, NAME)
        assert drift(team, NAME)["planId"] == plan
        assert team.live(NAME)["model_name"] == "by-hand"
        approve(team, NAME, plan)
        until_drift(team, NAME, None)
        assert team.live(NAME)["model_name"] == "llama-3"
    assert len(set(plans)) == 3
    assert sent(team, since) == [{"model_name": "llama-3"}] * 3
    assert team.status(NAME)["plansApplied"] == 3


def test_an_approval_goes_when_what_was_approved_ends_by_itself(team: Team) -> None:
    """A plan whose drift ended meanwhile is no approval of the next one, though that looks the same."""
    since = _serve(team)
    plan = _drift_by_hand(team)
    team.platform.edit(team.name, NAME, model_name="llama-3")
    approve(team, NAME, plan)
    until_drift(team, NAME, None)
    assert handled(team, NAME) == {"planId": plan, "result": "PlanStale"}
    assert _drift_by_hand(team) != plan
    look(team, NAME)
    assert sent(team, since) == []


# -- from a fresh list -------------------------------------------------------------------------------------------


def test_what_changed_since_it_was_read_is_not_approved(team: Team) -> None:
    """The list is new: PlanStale, nothing is sent, and the plan that counts now is shown and can be approved."""
    since = _serve(team)
    plan = _drift_by_hand(team)
    team.platform.edit(team.name, NAME, model_name="by-another-hand")
    assert drift(team, NAME)["planId"] == plan
    before = told(team, NAME)
    approve(team, NAME, plan)
    assert handled(team, NAME) == {"planId": plan, "result": "PlanStale"}
    new = until_plan(team, NAME, plan)
    assert drift(team, NAME)["fields"] == [{"field": "model", "declared": "llama-3", "live": "by-another-hand"}]
    assert "not the pending one" in team.conditions(NAME)["Drifted"]["message"]
    assert f"{APPROVE_PLAN}={new}" in team.conditions(NAME)["Drifted"]["message"]
    _until_noted(team, NAME, f"the pending plan is {new}")
    assert told(team, NAME, before)["Warning PlanStale"] == 1
    assert sent(team, since) == []
    approve(team, NAME, new)
    until_drift(team, NAME, None)
    assert sent(team, since) == [{"model_name": "llama-3"}]


def test_a_plan_that_comes_true_again_can_be_approved(team: Team) -> None:
    """One that was stale and is what would be sent again is offered under an id that is good."""
    since = _serve(team)
    plan = _drift_by_hand(team)
    team.platform.edit(team.name, NAME, model_name="by-another-hand")
    approve(team, NAME, plan)
    again = _drift_by_hand(team)
    assert again != plan
    approve(team, NAME, again)
    until_drift(team, NAME, None)
    assert sent(team, since) == [{"model_name": "llama-3"}]


@pytest.mark.parametrize("policy", ["DryRun", "Fail"])
def test_an_id_of_no_plan_is_refused(team: Team, policy: str) -> None:
    """PlanStale beside the id that counts, told once, and the verdict stands as it is while nothing moves."""
    since = _serve(team, policy=policy)
    team.edit(NAME, model="llama-4")
    first = until_plan(team, NAME)
    approve(team, NAME, NO_PLAN)
    reason = {"DryRun": "PlanStale", "Fail": "DriftDetected"}[policy]
    team.until(NAME, f"False {reason}")
    ready = team.conditions(NAME)["Ready"]
    assert "not the pending one" in ready["message"]
    assert f"{APPROVE_PLAN}={until_plan(team, NAME, first)}" in ready["message"]
    eventually(lambda: told(team, NAME)["Warning PlanStale"], equals(1))
    look(team, NAME, times=2)
    assert team.conditions(NAME)["Ready"] == ready
    assert told(team, NAME)["Warning PlanStale"] == 1
    assert sent(team, since) == []


@pytest.mark.parametrize("edit", [{"description": "For customers"}, {"deletionPolicy": "Orphan"}], ids=str)
def test_an_edit_makes_the_plan_another(team: Team, edit: Json) -> None:
    """An approval that comes with an edit, of whatever, approves what was read and not what is declared now."""
    since = _serve(team)
    plan = _drift_by_hand(team)
    body = {"metadata": {"annotations": {APPROVE_PLAN: plan}}, "spec": edit}
    team.api.patch(f"{WORKLOADS}/namespaces/{team.name}/workloads/{NAME}", body)
    _until_handled(team, NAME, plan, "PlanStale")
    look(team, NAME)
    assert sent(team, since) == []


def test_an_approval_of_one_is_none_of_another(team: Team) -> None:
    """Two Workloads that differ in nothing but their names have plans of their own."""
    since = _serve(team, "first")
    _serve(team, "second")
    plan, other = _drift_by_hand(team, "first"), _drift_by_hand(team, "second")
    assert plan != other
    approve(team, "second", plan)
    assert handled(team, "second")["result"] == "PlanStale"
    assert team.calls("update", since=since) == []


# -- backups and restarts ----------------------------------------------------------------------------------------


def test_a_restored_backup_approves_nothing(team: Team, operator: Operator) -> None:
    """With its status or without, an object that is created again is another one: what was approved once is not."""
    names = ("with-status", "without-status")
    backups, plans = {}, {}
    for name in names:
        _serve(team, name, deletionPolicy="Orphan")
        plans[name] = _drift_by_hand(team, name)
    assert operator.stop() == 0
    for name in names:
        team.annotate(name, {APPROVE_PLAN: plans[name]})
        backups[name] = team.workload(name)
    operator.start()
    for name in names:
        until_drift(team, name, None)
        team.platform.edit(team.name, name, model_name="by-hand")
        team.delete(name)
        team.until_gone(name)
    since = team.platform.last()
    assert operator.stop() == 0
    for name in names:
        _restore(team, backups[name], status_too=name == "with-status")
    operator.start()
    for name in names:
        _until_handled(team, name, plans[name], "PlanStale")
        look(team, name)
        assert drift(team, name)["planId"] != plans[name]
        assert team.live(name)["model_name"] == "by-hand"
    assert sent(team, since) == []


def test_an_approval_survives_the_operators_absence(team: Team, operator: Operator) -> None:
    """Given while it was down it is applied at its start, once; not if the platform moved meanwhile."""
    since = min(_serve(team), _serve(team, "moved"))
    plan, other = _drift_by_hand(team), _drift_by_hand(team, "moved")
    assert operator.stop() == 0
    team.annotate(NAME, {APPROVE_PLAN: plan})
    team.annotate("moved", {APPROVE_PLAN: other})
    team.platform.edit(team.name, "moved", model_name="by-another-hand")
    operator.start()
    until_drift(team, NAME, None)
    _until_handled(team, NAME, plan, "Applied")
    _until_handled(team, "moved", other, "PlanStale")
    _drift_by_hand(team)
    assert operator.stop() == 0
    operator.start()
    look(team, NAME)
    assert team.live(NAME)["model_name"] == "by-hand"
    assert [call["body"] for call in team.calls("update", since=since)] == [{"model_name": "llama-3"}]


def test_killed_between_the_write_and_its_record(team: Team, operator: Operator) -> None:
    """The platform did what was approved and nobody wrote that down: it is not done again, nor the next time."""
    since = _serve(team)
    plan = _drift_by_hand(team)
    team.platform.fault("delay_after", operation="update", project=team.name, seconds=3.0)
    team.annotate(NAME, {APPROVE_PLAN: plan})
    eventually(lambda: team.live(NAME)["model_name"], equals("llama-3"))
    operator.kill()
    assert handled(team, NAME) == {}
    operator.forget_lease()
    operator.start()
    until_drift(team, NAME, None)
    eventually(lambda: handled(team, NAME).get("planId"), equals(plan))
    again = _drift_by_hand(team)
    assert again != plan
    look(team, NAME)
    assert team.live(NAME)["model_name"] == "by-hand"
    assert sent(team, since) == [{"model_name": "llama-3"}]
    approve(team, NAME, again)
    until_drift(team, NAME, None)


def _until_handled(team: Team, name: str, plan: str, result: str) -> None:
    eventually(lambda: handled(team, name), equals({"planId": plan, "result": result}))


def _until_noted(team: Team, name: str, words: str) -> None:
    """Back once an Event about it has these words."""
    eventually(lambda: any(words in event.note for event in team.events(name)))


def _restore(team: Team, backup: Json, *, status_too: bool) -> None:
    """As a backup tool does: the object without what the server owns and, if asked for, its status after it."""
    kept = {key: value for key, value in backup["metadata"].items() if key in ("name", "annotations", "labels")}
    path = f"{WORKLOADS}/namespaces/{team.name}/workloads"
    team.api.create(path, {**backup, "metadata": kept})
    if status_too:
        team.api.patch(f"{path}/{kept['name']}/status", {"status": backup["status"]})
