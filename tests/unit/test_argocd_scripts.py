"""The scripts for Argo CD: they run by its rules, and say of every verdict of the operator what people should see."""

from __future__ import annotations

import re
from copy import deepcopy
from typing import Any

import pytest
import yaml

from argocd import customization, lua, testdata
from argocd.lua import ScriptError
from inferencekey_operator.api.status import DriftClass
from inferencekey_operator.api.workload import APPROVE_PLAN
from unit import kstatus, test_kstatus, verdicts

Json = dict[str, Any]

HEALTH = customization.HEALTH.read_text()
DISCOVERY = customization.DISCOVERY.read_text()
ALL = {name: verdicts.document(workload) for name, workload in verdicts.every_verdict()}
FILES = testdata.files()

PLANS = {
    *(f"DryRun {drift_class}" for drift_class in DriftClass if drift_class is not DriftClass.OUT_OF_BAND),
    *(f"Warn {drift_class}" for drift_class in (DriftClass.SPEC_CHANGE, DriftClass.BOTH)),
    "adoption Never",
    "adoption IfIdentical",
    "stale approval",
    "mass missing",
}
"""The verdicts that wait for an approval, and for nothing else."""


def read(path: str, below: str = "") -> Any:
    """A file beside the scripts."""
    return yaml.safe_load((customization.WORKLOAD / below / path).read_text())


def patched(before: Json, after: Json) -> Json:
    """What a merge patch changes, leaf by leaf."""
    changes: Json = {}
    for key in {*before, *after}:
        old, new = before.get(key), after.get(key)
        if isinstance(new, dict) and isinstance(old, dict | None):
            changes |= {f"{key}.{inner}": value for inner, value in patched(old or {}, new).items()}
        elif old != new:
            changes[key] = new
    return changes


# -- what Argo CD's own repository would test --------------------------------------------------------------------------


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(customization.ROOT)))
def test_the_files_are_what_the_operator_writes(path: Any) -> None:
    """Test data and the ConfigMap are made by the code as it is; where this fails: make generate."""
    assert path.read_text() == FILES[path]


def test_no_file_of_another_time_is_left() -> None:
    """Each object of the test data is made here, and each is used."""
    made = set(FILES) - {customization.CONFIG_MAP, testdata.HEALTH_TEST}
    assert {*testdata.HEALTH_DATA.iterdir(), *testdata.ACTIONS_DATA.iterdir()} == made
    tried = {case["inputPath"] for case in read("health_test.yaml")["tests"]}
    assert tried == {f"testdata/{path.name}" for path in testdata.HEALTH_DATA.iterdir()}
    cases = read("action_test.yaml", "actions")
    acted_on = {case.get(key) for case in cases["actionTests"] for key in ("inputPath", "expectedOutputPath")}
    discovered = {case["inputPath"] for case in cases["discoveryTests"]}
    assert (acted_on | discovered) - {None} == {f"testdata/{path.name}" for path in testdata.ACTIONS_DATA.iterdir()}


@pytest.mark.parametrize("case", read("health_test.yaml")["tests"], ids=lambda case: case["inputPath"])
def test_health(case: Json) -> None:
    """Status and message as expected."""
    assert lua.health(HEALTH, read(case["inputPath"])) == case["healthStatus"]


@pytest.mark.parametrize("case", read("action_test.yaml", "actions")["discoveryTests"], ids=lambda c: c["inputPath"])
def test_actions_that_are_offered(case: Json) -> None:
    """Each action, with what the button says."""
    expected = {action["name"]: {"disabled": False, **action} for action in case["result"]}
    assert lua.actions(DISCOVERY, read(case["inputPath"], "actions")) == expected


@pytest.mark.parametrize(
    "case", read("action_test.yaml", "actions")["actionTests"], ids=lambda c: f"{c['action']} {c['inputPath']}"
)
def test_actions(case: Json) -> None:
    """What an action makes of a Workload, or why it makes nothing of it."""
    script, before = customization.action(case["action"]).read_text(), read(case["inputPath"], "actions")
    if "expectedErrorMessage" in case:
        with pytest.raises(ScriptError, match=f"^{re.escape(case['expectedErrorMessage'])}$"):
            lua.act(script, before)
        return
    time = re.compile(r"(reconcile-requested-at: ')\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
    after = yaml.safe_load(time.sub(rf"\g<1>{testdata.SOME_TIME}", yaml.safe_dump(lua.act(script, before))))
    assert after == read(case["expectedOutputPath"], "actions")


# -- every verdict -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_health_agrees_with_kstatus(name: str) -> None:
    """Failed is Degraded, Current Healthy, and what is waited for Progressing; unless it waits for a person's word."""
    seen = lua.health(HEALTH, ALL[name])["status"]
    if name.startswith("suspended") or name in PLANS:
        assert seen == "Suspended"
        return
    agrees = {
        kstatus.CURRENT: "Healthy",
        kstatus.FAILED: "Degraded",
        kstatus.IN_PROGRESS: "Progressing",
        kstatus.TERMINATING: "Progressing",
    }
    assert seen == agrees[test_kstatus.EXPECTED[name]]


@pytest.mark.parametrize("name", sorted(PLANS))
def test_a_plan_that_waits_is_told_with_its_id(name: str) -> None:
    """The message has the id, and the command that approves it where Argo CD is not at hand; the button has it too."""
    plan = ALL[name]["status"]["drift"]["planId"]
    told = lua.health(HEALTH, ALL[name])["message"]
    assert told.startswith(f"Plan {plan} waits for approval, here by the action approve-plan. ")
    assert f"{APPROVE_PLAN}={plan}" in told
    offered = lua.actions(DISCOVERY, ALL[name])["approve-plan"]
    assert (offered["disabled"], offered["displayName"]) == (False, f"Approve plan {plan}")


@pytest.mark.parametrize("name", ALL)
def test_a_plan_can_be_approved_whenever_it_is_the_present_one(name: str) -> None:
    """Also of a Workload that is Healthy or Degraded; never an old one, nor one of what rests or is deleted."""
    resource = ALL[name]
    plan = resource["status"].get("drift", {}).get("planId")
    present = plan is not None and resource["status"]["observedGeneration"] == resource["metadata"]["generation"]
    acts = not resource["spec"]["suspend"] and "deletionTimestamp" not in resource["metadata"]
    assert lua.actions(DISCOVERY, resource)["approve-plan"]["disabled"] is not (present and acts)
    script = customization.action("approve-plan").read_text()
    if present:
        assert patched(resource, lua.act(script, resource)) == {f"metadata.annotations.{APPROVE_PLAN}": plan}
    else:
        with pytest.raises(ScriptError):
            lua.act(script, resource)


@pytest.mark.parametrize("name", ["DryRun SpecChange", "suspended", "phase ready"])
@pytest.mark.parametrize("action", ["reconcile", "suspend", "resume"])
def test_an_action_changes_one_thing(action: str, name: str) -> None:
    """Nothing else of the object moves: an empty object stays one, and no number becomes another."""
    resource = deepcopy(ALL[name])
    resource["spec"] |= {"config": {}, "executionPolicyConfig": {"gpu_pool": [], "max_hourly_cost_usd": 1.5}}
    changed = patched(resource, lua.act(customization.action(action).read_text(), resource))
    where = {"reconcile": "metadata.annotations.inferencekey.com/reconcile-requested-at"}.get(action, "spec.suspend")
    assert set(changed) <= {where}
    assert changed or resource["spec"]["suspend"] is (action == "suspend")


def test_an_approval_that_is_under_way_is_not_offered_again() -> None:
    """Until the operator has answered, and shows what the plan is then."""
    resource = deepcopy(ALL["DryRun SpecChange"])
    resource["metadata"]["annotations"] = {APPROVE_PLAN: resource["status"]["drift"]["planId"]}
    assert lua.actions(DISCOVERY, resource)["approve-plan"]["disabled"] is True


@pytest.mark.parametrize("status", [None, {}, {"observedGeneration": -1}, {"observedGeneration": 1, "conditions": []}])
def test_a_workload_that_nobody_looked_at_yet(status: Json | None) -> None:
    """Progressing, so that a wave waits; nothing to approve, and no script that stumbles."""
    resource = {**ALL["new"], "status": status}
    assert lua.health(HEALTH, resource) == {"status": "Progressing", "message": "Waiting for the operator"}
    assert lua.actions(DISCOVERY, resource)["approve-plan"]["disabled"] is True


# -- the rules themselves ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["string", "math", "io", "debug", "coroutine", "python"])
def test_a_script_has_only_what_argo_cd_gives_it(name: str) -> None:
    """A script that would fail in Argo CD fails here: no library but tables, by no way."""
    assert lua.health(f'return {{status = "Healthy", message = type({name})}}', {})["message"] == "nil"
    with pytest.raises(ScriptError, match="not found"):
        lua.health(f'return require("{name}")', {})


@pytest.mark.parametrize("script", ['return {("a"):upper()}', "return os.getenv('HOME')", "return os.exit()"])
def test_what_argo_cd_keeps_from_scripts(script: str) -> None:
    """Neither methods of strings, nor more of `os` than the time."""
    with pytest.raises(ScriptError, match="attempt to"):
        lua.health(script, {})


def test_what_there_is_is_enough_for_the_time() -> None:
    """`os` is there by its name, and by `require`."""
    told = lua.health('return {status = "Healthy", message = require("os").date("!%Y") .. os.date("!%m")}', {})
    assert re.fullmatch(r"\d{6}", told["message"])


def test_the_config_map_holds_the_scripts() -> None:
    """What is patched into Argo CD's ConfigMap are these very scripts, and status is no news for an Application."""
    data = yaml.safe_load(customization.CONFIG_MAP.read_text())["data"]
    kind = "inferencekey.com_Workload"
    assert data[f"resource.customizations.health.{kind}"] == HEALTH
    actions = yaml.safe_load(data[f"resource.customizations.actions.{kind}"])
    assert actions["discovery.lua"] == DISCOVERY
    assert {each["name"]: each["action.lua"] for each in actions["definitions"]} == {
        name: customization.action(name).read_text() for name in lua.actions(DISCOVERY, ALL["new"])
    }
    ignored = yaml.safe_load(data[f"resource.customizations.ignoreResourceUpdates.{kind}"])
    assert ignored == {"jsonPointers": ["/status"]}
