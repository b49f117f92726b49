"""What counts as drift, field by field, and what is seen and told of it while it lasts, on the whole operator."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from secrets import token_hex
from typing import Any

import pytest

from harness.drifting import drift, look, sent, told, until_drift, until_told, version
from harness.operators import Operator
from harness.simulator import behaving
from harness.team import ON_DRIFT, Team
from harness.waiting import equals, eventually
from inferencekey_simulator.admin import Admin

pytestmark = pytest.mark.usefixtures("operator")

NAME = "support-bot"
DRY_RUN = {ON_DRIFT: "DryRun"}
CLOUD = {
    "min_workers": 0,
    "max_workers": 2,
    "max_hourly_cost_usd": 5.0,
    "workers": {"source": "cloud", "cloud_pool": {"gpu_pool": ["NVIDIA A100-SXM4-80GB"]}},
}


def _serve(team: Team, annotations: dict[str, str] | None = None, **spec: Any) -> int:
    """The Workload, served as declared, and its policy in force; the last request to the platform until then."""
    team.declare(NAME, **spec)
    team.until_ready(NAME)
    until_told(team, NAME, "Normal Created", "Normal Ready")
    if annotations:
        team.annotate(NAME, dict(annotations))
        eventually(lambda: drift(team, NAME).get("policy"), equals(annotations[ON_DRIFT]))
    return team.platform.last()


def _stays(team: Team, *, settled: bool = True) -> None:
    """Over further intervals and a look that was asked for: the Workload, which serves, stands as it stood."""
    look(team, NAME)
    eventually(lambda: team.status(NAME)["readiness"].get("phase"), equals("ready"))
    before = version(team, NAME)
    team.pass_intervals(2)
    assert version(team, NAME) == before
    assert ("class" not in drift(team, NAME)) == settled


# -- what is shown -----------------------------------------------------------------------------------------------


def test_each_field_is_shown_with_both_values(team: Team) -> None:
    """Path, declared and live value, class, policy, since when, and the Drifted condition with the same reason."""
    _serve(team, DRY_RUN, command="vllm serve llama-3", executionPolicy="fixed", executionPolicyConfig={"replicas": 2})
    before = datetime.now(UTC) - timedelta(seconds=1)
    changes = {"model_name": "llama-4", "config.command": "vllm serve llama-4", "execution_policy_config.replicas": 7}
    team.platform.edit(team.name, NAME, **changes)
    seen = until_drift(team, NAME, "OutOfBand")
    assert seen["fields"] == [
        {"field": "model", "declared": "llama-3", "live": "llama-4"},
        {"field": "command", "declared": "vllm serve llama-3", "live": "vllm serve llama-4"},
        {"field": "executionPolicyConfig.replicas", "declared": "2", "live": "7"},
    ]
    assert (seen["summary"], seen["policy"]) == ("model, command, executionPolicyConfig.replicas", "DryRun")
    assert before <= datetime.fromisoformat(seen["since"]) <= datetime.now(UTC)
    drifted = team.conditions(NAME)["Drifted"]
    assert (drifted["status"], drifted["reason"]) == ("True", "OutOfBand")
    assert "Changed on the platform: model, command, executionPolicyConfig.replicas." in drifted["message"]
    assert "llama-4" not in drifted["message"]


def test_a_field_that_the_platform_lost_is_shown(team: Team) -> None:
    """It has no live value."""
    _serve(team, DRY_RUN, description="For customers")
    team.platform.edit(team.name, NAME, description=None)
    assert until_drift(team, NAME, "OutOfBand")["fields"] == [{"field": "description", "declared": "For customers"}]


def test_since_stands_while_the_drift_does(team: Team) -> None:
    """It does not move when the drift grows, nor at a restart, and a drift that comes back began when it came back."""
    _serve(team, DRY_RUN, description="For customers")
    team.platform.edit(team.name, NAME, model_name="by-hand")
    since = until_drift(team, NAME, "OutOfBand")["since"]
    team.pass_intervals(2)
    team.platform.edit(team.name, NAME, description="by hand")
    eventually(lambda: drift(team, NAME)["summary"], equals("model, description"))
    assert drift(team, NAME)["since"] == since
    team.platform.edit(team.name, NAME, model_name="llama-3", description="For customers")
    assert until_drift(team, NAME, None) == {"policy": "DryRun", "summary": "none"}
    team.platform.edit(team.name, NAME, model_name="by-hand")
    again = until_drift(team, NAME, "OutOfBand")["since"]
    assert datetime.fromisoformat(again) > datetime.fromisoformat(since)


def test_values_are_bounded_and_hold_no_token(team: Team) -> None:
    """Long ones are cut, many are counted, and what looks like a token is shown nowhere, wherever it stands."""
    secret = f"ik_sdk_{token_hex(4)}_{token_hex(32)}"
    declared = {f"key_{number:02}": number for number in range(40)}
    _serve(team, DRY_RUN, config=declared, description="For customers", command="vllm serve")
    changes = {"description": "é" * 10_000, "config.command": f"serve --key {secret}"}
    team.platform.edit(team.name, NAME, **changes, **{f"config.{key}": 100 for key in declared})
    seen = until_drift(team, NAME, "OutOfBand")
    shown = {field["field"]: field for field in seen["fields"]}
    assert len(shown) + seen["omitted"] == 42
    assert seen["omitted"] >= 10
    assert shown["description"]["live"].startswith("é" * 200)
    assert len(shown["description"]["live"]) <= 256
    assert shown["command"]["live"].startswith("serve --key ik_sdk_")
    eventually(lambda: [event for event in team.events(NAME) if event.reason == "DriftDetected"])
    text = json.dumps(team.workload(NAME)) + str(team.events(NAME))
    assert secret.rsplit("_", 1)[1][:8] not in text


def test_who_moved_is_told_apart(team: Team) -> None:
    """The spec alone, the platform alone, and both: of one field, and of one each."""
    _serve(team, DRY_RUN, description="For customers")
    team.edit(NAME, model="llama-4")
    assert until_drift(team, NAME, "SpecChange")["summary"] == "model"
    team.platform.edit(team.name, NAME, model_name="by-hand")
    assert until_drift(team, NAME, "Both")["fields"] == [{"field": "model", "declared": "llama-4", "live": "by-hand"}]
    team.edit(NAME, model="llama-3")
    assert until_drift(team, NAME, "OutOfBand")["summary"] == "model"
    team.edit(NAME, description="For all")
    assert until_drift(team, NAME, "Both")["summary"] == "model, description"


# -- what is told ------------------------------------------------------------------------------------------------


def test_events_tell_what_moves(team: Team) -> None:
    """One when a drift appears, one when it changes, one when it ends; none for a look at what stands; no values."""
    _serve(team, DRY_RUN, description="For customers")
    before = told(team, NAME)
    team.platform.edit(team.name, NAME, model_name="by-hand")
    until_told(team, NAME, "Warning DriftDetected", before=before)
    _stays(team, settled=False)
    team.platform.edit(team.name, NAME, description="by hand")
    until_told(team, NAME, *["Warning DriftDetected"] * 2, before=before)
    _stays(team, settled=False)
    team.platform.edit(team.name, NAME, description="by another hand")
    until_told(team, NAME, *["Warning DriftDetected"] * 3, before=before)
    team.platform.edit(team.name, NAME, model_name="llama-3", description="For customers")
    until_told(team, NAME, *["Warning DriftDetected"] * 3, "Normal Ready", before=before)
    _stays(team)
    until_told(team, NAME, *["Warning DriftDetected"] * 3, "Normal Ready", before=before)
    notes = " ".join(event.note for event in team.events(NAME))
    assert "hand" not in notes
    assert "model, description" in notes


def test_a_restart_tells_nothing_again(team: Team, operator: Operator) -> None:
    """What was told before the operator ended is not told when it is back."""
    _serve(team, DRY_RUN)
    team.platform.edit(team.name, NAME, model_name="by-hand")
    until_drift(team, NAME, "OutOfBand")
    eventually(lambda: told(team, NAME)["Warning DriftDetected"])
    before, stands = told(team, NAME), version(team, NAME)
    assert operator.stop() == 0
    operator.start()
    team.pass_intervals(2)
    assert (told(team, NAME), version(team, NAME)) == (before, stands)


# -- three-way ---------------------------------------------------------------------------------------------------


def test_what_was_changed_is_set_back(team: Team) -> None:
    """By one PATCH of just that, and an Event says so."""
    team.declare(NAME, command="vllm serve llama-3")
    team.until_ready(NAME)
    since = team.platform.last()
    team.platform.edit(team.name, NAME, model_name="another", description="by hand")
    eventually(lambda: team.live(NAME)["model_name"], equals("llama-3"))
    assert [call["body"] for call in team.calls("update", since=since)] == [{"model_name": "llama-3"}]
    assert team.live(NAME)["description"] == "by hand"
    found = eventually(lambda: [event for event in team.events(NAME) if event.reason == "DriftRepaired"])
    assert "model changed on the platform" in found[0].note
    assert "another" not in found[0].note
    team.until_ready(NAME)


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


def test_a_field_declared_no_longer_goes_back_to_the_platform(team: Team) -> None:
    """It is not taken off the platform, and whatever becomes of it there is no drift; declared again, it is."""
    since = _serve(team, description="For customers", command="vllm serve", config={"dtype": "half"})
    team.edit(NAME, description=None, command=None, config=None)
    team.until_ready(NAME)
    assert team.live(NAME)["description"] == "For customers"
    team.platform.edit(team.name, NAME, description="by hand", config={"command": "by hand", "dtype": "by hand"})
    _stays(team)
    assert sent(team, since) == []
    team.edit(NAME, description="For customers")
    team.until_ready(NAME)
    assert sent(team, since) == [{"description": "For customers"}]


def test_the_same_value_in_another_spelling_is_no_drift(team: Team) -> None:
    """Integer and equal float, another order of keys, null and absent, in either direction: nothing is sent or told."""
    config = {"a": 1, "b": {"x": [1, {"p": 1, "q": None}], "y": 2.0}, "gone": None}
    since = _serve(team, config=config, executionPolicy="fixed", executionPolicyConfig={"replicas": 1})
    before = told(team, NAME)
    team.platform.edit(
        team.name,
        NAME,
        config={"b": {"y": 2, "z": None, "x": [1.0, {"p": 1.0}]}, "a": 1.0},
        execution_policy_config={"replicas": 1.0, "other": None},
    )
    _stays(team)
    team.edit(NAME, config={"a": 1.0, "b": {"x": [1.0, {"q": None, "p": 1}]}})
    team.until_ready(NAME)
    _stays(team)
    assert sent(team, since) == []
    assert told(team, NAME, before) == {}


def test_what_differs_in_type_is_drift(team: Team) -> None:
    """`1` is not `true` and not `"1"`, an array is compared as a whole, in order."""
    _serve(team, DRY_RUN, config={"flag": True, "number": 1, "list": [1, 2]})
    team.platform.edit(team.name, NAME, config={"flag": 1, "number": "1", "list": [2, 1]})
    fields = until_drift(team, NAME, "OutOfBand")["fields"]
    assert {field["field"] for field in fields} == {"config.flag", "config.number", "config.list"}


# -- a platform that has its own way -----------------------------------------------------------------------------


def test_a_normalised_value_makes_no_loop(team: Team, platform: Admin, operator: Operator) -> None:
    """What the platform makes of a write is settled, told once, and tried again only when one side moves."""
    rules = [
        {"field": "description", "operation": "lower"},
        {"field": "execution_policy_config.replicas", "operation": "clamp", "maximum": 2},
    ]
    with behaving(platform, normalise=rules):
        team.declare(NAME, description="For ALL", executionPolicy="fixed", executionPolicyConfig={"replicas": 5})
        team.until_ready(NAME)
        until_told(team, NAME, "Normal Created", "Normal DriftTolerated", "Normal Ready")
        assert "description, executionPolicyConfig.replicas" in _note(team, "DriftTolerated")
        _stays(team)
        assert operator.stop() == 0
        operator.start()
        _stays(team)
        assert team.platform_writes() == [f"create {NAME}"]
        since = team.platform.last()
        team.edit(NAME, description="For SOME")
        team.until_ready(NAME)
        assert sent(team, since) == [{"description": "For SOME"}]
        _stays(team)
        team.platform.edit(team.name, NAME, execution_policy_config={"replicas": 1})
        eventually(lambda: team.live(NAME)["execution_policy_config"]["replicas"], equals(2))
        _stays(team)
        assert sent(team, since) == [{"description": "For SOME"}, {"execution_policy_config": {"replicas": 5}}]
        assert team.live(NAME)["description"] == "for some"
    assert told(team, NAME)["Normal DriftTolerated"] == 3


def test_a_write_that_changes_nothing_is_not_repeated(team: Team, platform: Admin) -> None:
    """The platform answers with what it had: that is settled, too."""
    _serve(team)
    with behaving(platform, normalise=[{"field": "model_name", "operation": "set", "value": "llama-3"}]):
        since = team.platform.last()
        team.edit(NAME, model="llama-4")
        team.until_ready(NAME)
        _stays(team)
        assert sent(team, since) == [{"model_name": "llama-4"}]
        assert "model" in _note(team, "DriftTolerated")


def test_what_the_platform_adds_is_no_drift_and_is_kept(team: Team, platform: Admin) -> None:
    """Keys beside the declared ones, at any depth; a PATCH sends the live object with the declared laid over it."""
    with behaving(platform, extra_config={"gpu_layers": 33}, extra_policy_config={"region": "eu"}):
        pool = {"min_workers": 1, "workers": {"source": "private", "private_worker_ids": ["wrk_1"]}}
        _serve(team, command="vllm serve", executionPolicy="autoscaling", executionPolicyConfig=pool)
        added = {"config.cache": {"size": 1}, "execution_policy_config.workers.zone": "a"}
        team.platform.edit(team.name, NAME, **added)
        _stays(team)
        since = team.platform.last()
        team.edit(NAME, command="vllm serve --fast", executionPolicyConfig={"min_workers": 2})
        team.until_ready(NAME)
        workers = {"source": "private", "private_worker_ids": ["wrk_1"], "zone": "a"}
        assert sent(team, since) == [
            {
                "config": {"command": "vllm serve --fast", "gpu_layers": 33, "cache": {"size": 1}},
                "execution_policy_config": {"min_workers": 2, "workers": workers, "region": "eu"},
            }
        ]


def test_a_new_policy_takes_its_config_along(team: Team) -> None:
    """Kind and config go in one PATCH, the config as declared, without what belonged to the kind before."""
    since = _serve(team, executionPolicy="fixed", executionPolicyConfig={"replicas": 2})
    team.edit(NAME, executionPolicy="autoscaling", executionPolicyConfig={**CLOUD, "replicas": None})
    team.until_ready(NAME)
    assert sent(team, since) == [{"execution_policy": "autoscaling", "execution_policy_config": CLOUD}]
    team.platform.edit(team.name, NAME, execution_policy="fixed")
    eventually(lambda: team.live(NAME)["execution_policy"], equals("autoscaling"))
    _stays(team)
    assert sent(team, since)[1:] == [{"execution_policy": "autoscaling", "execution_policy_config": CLOUD}]


def test_a_task_type_is_reported_and_never_patched(team: Team) -> None:
    """Ready is False until the declaration follows; other fields are repaired beside it, without it."""
    team.platform.add(team.name, NAME, backend="vllm", model_name="by-hand", task_type="embedding")
    team.declare(NAME, taskType="text2text")
    team.until(NAME, "False TaskTypeMismatch")
    assert team.live(NAME)["model_name"] == "llama-3"
    assert "taskType" not in _note(team, "Updated")
    eventually(lambda: team.status(NAME)["readiness"].get("phase"), equals("ready"))
    _stays(team, settled=False)
    conditions = team.conditions(NAME)
    assert (conditions["Drifted"]["status"], conditions["Drifted"]["reason"]) == ("True", "SpecChange")
    assert conditions["Ready"]["message"].endswith("""-p '{"spec":{"taskType":"embedding"}}'""")
    assert drift(team, NAME)["fields"] == [{"field": "taskType", "declared": "text2text", "live": "embedding"}]
    team.platform.edit(team.name, NAME, model_name="by-hand")
    eventually(lambda: team.live(NAME)["model_name"], equals("llama-3"))
    assert [set(body) for body in sent(team)] == [{"model_name"}, {"model_name"}]
    assert told(team, NAME)["Warning TaskTypeMismatch"] == 1
    team.edit(NAME, taskType="embedding")
    team.until_ready(NAME)


def test_an_undeclared_task_type_is_the_platforms(team: Team) -> None:
    """Whatever it is there is no drift."""
    team.platform.add(team.name, NAME, name=NAME, backend="vllm", model_name="llama-3", task_type="embedding")
    team.declare(NAME)
    team.until_ready(NAME)
    _stays(team)
    assert team.platform_writes() == []


def _note(team: Team, reason: str) -> str:
    """The last note with this reason."""
    return eventually(lambda: [event.note for event in team.events(NAME) if event.reason == reason])[-1]
