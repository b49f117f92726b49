"""The SDK's ensure() and delete() against the simulator: what it sends, and what becomes of the workload."""

from __future__ import annotations

from typing import Any

import pytest
from inferencekey import EndpointRef, ManagementClient, OnDrift
from inferencekey.errors import ApiError, ValidationError

from conformance.declarations import PROJECT, asked, spec
from inferencekey_simulator.admin import Admin
from inferencekey_simulator.rules import canonical_slug

AUTOSCALING = {
    "min_workers": 0,
    "max_workers": 5,
    "max_hourly_cost_usd": 5.0,
    "workers": {
        "source": "cloud",
        "cloud_pool": {
            "gpu_pool": ["NVIDIA A100-SXM4-80GB"],
            "max_hourly_cost_usd": 5.0,
            "max_instances": 5,
            "allowed_cuda_versions": ["13.0"],
        },
    },
}


def fields(admin: Admin, slug: str = "support-bot") -> dict[str, Any]:
    """Return the wire fields of a workload that must be there."""
    found = admin.workload(PROJECT, slug)
    assert found is not None
    return dict(found["fields"])


def test_ensure_creates_what_is_missing(sdk: ManagementClient, admin: Admin) -> None:
    """A workload that is missing is created, with the least that must be sent."""
    requests = asked(admin, lambda: sdk.ensure(spec()))
    body = {
        "name": "Support bot",
        "slug": "support-bot",
        "task_type": "text2text",
        "backend": "vllm",
        "model_name": "llama-3",
    }
    assert requests == [("list", None), ("create", body)]
    assert fields(admin)["execution_policy"] == "fixed"
    assert fields(admin)["execution_policy_config"] == {"replicas": 1}


def test_ensure_sends_everything_declared(sdk: ManagementClient, admin: Admin) -> None:
    """Every declared field travels under its wire name; command and version go into config."""
    declared = spec(
        description="Answers customers",
        command="vllm serve llama-3",
        vllm_version="0.9.1",
        task_type="embedding",
        execution_policy="autoscaling",
        execution_policy_config=AUTOSCALING,
        worker_id="wrk_1",
        gpu_resource_id="gpu_1",
    )
    _, (_, body) = asked(admin, lambda: sdk.ensure(declared))
    assert body == {
        "name": "Support bot",
        "slug": "support-bot",
        "task_type": "embedding",
        "backend": "vllm",
        "model_name": "llama-3",
        "description": "Answers customers",
        "config": {"command": "vllm serve llama-3", "vllm_version": "0.9.1"},
        "execution_policy": "autoscaling",
        "execution_policy_config": AUTOSCALING,
        "worker_id": "wrk_1",
        "gpu_resource_id": "gpu_1",
    }
    assert {name: fields(admin)[name] for name in body} == body


def test_ensure_gives_the_reference_of_the_answer(sdk: ManagementClient) -> None:
    """The reference names the project and the slug that the platform answered."""
    assert sdk.ensure(spec()) == EndpointRef(PROJECT, "support-bot")


def test_a_second_ensure_changes_nothing(sdk: ManagementClient, admin: Admin) -> None:
    """The same declaration again costs a list and nothing else."""
    sdk.ensure(spec(command="vllm serve llama-3"))
    assert asked(admin, lambda: sdk.ensure(spec(command="vllm serve llama-3"))) == [("list", None)]
    assert len(admin.workloads(PROJECT)) == 1


@pytest.mark.parametrize(
    ("declared", "change"),
    [
        ({"name": "Another"}, {"name": "Another"}),
        ({"backend": "sglang"}, {"backend": "sglang"}),
        ({"model": "llama-4"}, {"model_name": "llama-4"}),
        ({"description": "New"}, {"description": "New"}),
        ({"command": "vllm serve"}, {"config": {"command": "vllm serve"}}),
        (
            {"command": "vllm serve", "vllm_version": "0.9.1"},
            {"config": {"command": "vllm serve", "vllm_version": "0.9.1"}},
        ),
        ({"worker_id": "wrk_1"}, {"worker_id": "wrk_1"}),
        ({"gpu_resource_id": "gpu_1"}, {"gpu_resource_id": "gpu_1"}),
        ({"execution_policy_config": {"replicas": 2}}, {"execution_policy_config": {"replicas": 2}}),
    ],
)
def test_reconcile_sends_only_what_drifted(
    sdk: ManagementClient, admin: Admin, declared: dict[str, Any], change: dict[str, Any]
) -> None:
    """One field that differs is one field in the PATCH, and afterwards there is no drift."""
    sdk.ensure(spec())
    assert asked(admin, lambda: sdk.ensure(spec(**declared))) == [("list", None), ("update", change)]
    assert {name: fields(admin)[name] for name in change} == change
    assert asked(admin, lambda: sdk.ensure(spec(**declared))) == [("list", None)]


def test_reconcile_repairs_a_change_in_the_dashboard(sdk: ManagementClient, admin: Admin) -> None:
    """What somebody changed by hand is put back."""
    sdk.ensure(spec())
    admin.edit(PROJECT, "support-bot", model_name="something-else")
    sdk.ensure(spec(), on_drift=OnDrift.RECONCILE)
    assert fields(admin)["model_name"] == "llama-3"


def test_a_new_policy_kind_goes_along_with_its_config(sdk: ManagementClient, admin: Admin) -> None:
    """Kind and config travel in one PATCH, which the platform checks together."""
    sdk.ensure(spec())
    declared = spec(execution_policy="autoscaling", execution_policy_config=AUTOSCALING)
    _, update = asked(admin, lambda: sdk.ensure(declared))
    assert update == (
        "update",
        {"execution_policy": "autoscaling", "execution_policy_config": AUTOSCALING},
    )
    assert fields(admin)["execution_policy_config"] == AUTOSCALING


def test_a_new_policy_kind_without_its_config_is_refused(sdk: ManagementClient, admin: Admin) -> None:
    """The new kind alone is checked against the stored config of the old kind."""
    sdk.ensure(spec())
    with pytest.raises(ValidationError, match="max_hourly_cost_usd must be greater than zero"):
        sdk.ensure(spec(execution_policy="autoscaling"))
    assert fields(admin)["execution_policy"] == "fixed"


def test_the_task_type_is_never_compared(sdk: ManagementClient, admin: Admin) -> None:
    """Another task type is no drift for the SDK, and no PATCH is sent."""
    sdk.ensure(spec())
    assert asked(admin, lambda: sdk.ensure(spec(task_type="embedding"))) == [("list", None)]


def test_further_config_keys_are_dropped(sdk: ManagementClient, admin: Admin) -> None:
    """The SDK sends command and version of the declaration itself, and nothing of its `config`."""
    config = {"sglang_version": "0.5", "command": "from config"}
    _, (_, body) = asked(admin, lambda: sdk.ensure(spec(config=config)))
    assert "config" not in body
    _, (_, change) = asked(admin, lambda: sdk.ensure(spec(config=config, command="declared")))
    assert change == {"config": {"command": "declared"}}


def test_a_version_without_a_command_is_never_sent(sdk: ManagementClient, admin: Admin) -> None:
    """The SDK builds `config` only where a command is declared: at creation, and when it compares."""
    sdk.ensure(spec(vllm_version="0.9.1"))
    assert fields(admin)["config"] == {}
    assert asked(admin, lambda: sdk.ensure(spec(vllm_version="0.9.2"))) == [("list", None)]


def test_a_whole_number_and_its_float_differ_for_the_sdk(sdk: ManagementClient, admin: Admin) -> None:
    """1 and 1.0 are drift to the SDK."""
    sdk.ensure(spec())
    declared = spec(execution_policy_config={"replicas": 1.0})
    assert asked(admin, lambda: sdk.ensure(declared))[1:] == [
        ("update", {"execution_policy_config": {"replicas": 1.0}})
    ]


def test_server_side_keys_in_config_are_drift_for_the_sdk(sdk: ManagementClient, admin: Admin) -> None:
    """The SDK compares `config` whole, so a key the server adds makes it patch at every ensure()."""
    admin.settings(extra_config={"auto": True})
    sdk.ensure(spec(command="vllm serve"))
    again = asked(admin, lambda: sdk.ensure(spec(command="vllm serve")))
    assert again == [("list", None), ("update", {"config": {"command": "vllm serve"}})]
    assert fields(admin)["config"] == {"auto": True, "command": "vllm serve"}


def test_normalisation_is_drift_for_the_sdk(sdk: ManagementClient, admin: Admin) -> None:
    """What the server spells its own way looks like drift to a client that compares with the declaration."""
    admin.settings(normalise=[{"field": "name", "operation": "lower"}])
    sdk.ensure(spec())
    assert fields(admin)["name"] == "support bot"
    again = asked(admin, lambda: sdk.ensure(spec()))
    assert again == [("list", None), ("update", {"name": "Support bot"})]


@pytest.mark.parametrize("policy", [OnDrift.DRY_RUN, OnDrift.WARN, OnDrift.IGNORE])
def test_policies_that_touch_nothing(sdk: ManagementClient, admin: Admin, policy: OnDrift) -> None:
    """DryRun, Warn and Ignore look, and leave drift as it is."""
    sdk.ensure(spec())
    drifted = spec(model="llama-4")
    assert asked(admin, lambda: sdk.ensure(drifted, on_drift=policy)) == [("list", None)]
    assert fields(admin)["model_name"] == "llama-3"


def test_fail_raises_and_names_the_fields(sdk: ManagementClient, admin: Admin) -> None:
    """Fail raises with the drifted fields in the order of comparison, and touches nothing."""
    sdk.ensure(spec())
    with pytest.raises(ApiError, match="drifted from spec: name, model_name"):
        sdk.ensure(spec(model="llama-4", name="Another"), on_drift=OnDrift.FAIL)
    assert fields(admin)["model_name"] == "llama-3"


@pytest.mark.parametrize("policy", [OnDrift.RECONCILE, OnDrift.FAIL, OnDrift.WARN, OnDrift.IGNORE])
def test_policies_that_create(sdk: ManagementClient, admin: Admin, policy: OnDrift) -> None:
    """Every policy but DryRun creates what is missing."""
    sdk.ensure(spec(), on_drift=policy)
    assert [each["slug"] for each in admin.workloads(PROJECT)] == ["support-bot"]


def test_dry_run_does_not_create(sdk: ManagementClient, admin: Admin) -> None:
    """DryRun answers as if, and creates nothing."""
    assert sdk.ensure(spec(), on_drift=OnDrift.DRY_RUN) == EndpointRef(PROJECT, "support-bot")
    assert admin.workloads(PROJECT) == []


def test_delete_tells_whether_it_was_there(sdk: ManagementClient, admin: Admin) -> None:
    """delete() looks up the id, deletes, and is no error for what is gone."""
    sdk.ensure(spec())
    assert sdk.delete("support-bot") is True
    assert admin.workloads(PROJECT) == []
    assert asked(admin, lambda: sdk.delete("support-bot")) == [("list", None)]
    assert sdk.delete("support-bot") is False


@pytest.mark.parametrize("slug", ["Gemma 4 26B (llama.cpp) on R9700", "a__b..c", "-x-", "Größe 9", "already-canonical"])
def test_the_sdk_and_the_simulator_agree_on_slugs(sdk: ManagementClient, admin: Admin, slug: str) -> None:
    """The slug the SDK sends is the canonical form, and so is the one the simulator files it under."""
    _, (_, body) = asked(admin, lambda: sdk.ensure(spec(slug=slug)))
    assert body["slug"] == canonical_slug(slug)
    assert asked(admin, lambda: sdk.ensure(spec(slug=slug))) == [("list", None)]


@pytest.mark.parametrize("shape", ["array", "object", "null"])
def test_every_shape_of_the_list_is_understood(sdk: ManagementClient, admin: Admin, shape: str) -> None:
    """Empty and not, the list is read in each of its shapes."""
    admin.settings(list_shape=shape)
    sdk.ensure(spec())
    assert asked(admin, lambda: sdk.ensure(spec())) == [("list", None)]


def test_missing_and_unknown_fields_are_understood(sdk: ManagementClient, admin: Admin) -> None:
    """An answer without its empty fields, and with fields of the future, is still a workload."""
    admin.settings(omit_null=True, extra_fields={"from_the_future": {"a": 1}})
    sdk.ensure(spec())
    assert asked(admin, lambda: sdk.ensure(spec())) == [("list", None)]


def test_a_custom_backend_round_trips(sdk: ManagementClient, admin: Admin) -> None:
    """The slug of a backend the tenant published is sent and stored as it is."""
    sdk.ensure(spec(backend="my-own-backend"))
    assert fields(admin)["backend"] == "my-own-backend"


def test_a_create_whose_answer_was_lost_happened(sdk: ManagementClient, admin: Admin) -> None:
    """The SDK does not repeat a create it got no answer to, and finds it at the next ensure()."""
    admin.fault("cut_after", operation="create")
    with pytest.raises(ApiError, match="network error"):
        sdk.ensure(spec())
    assert asked(admin, lambda: sdk.ensure(spec())) == [("list", None)]
    assert len(admin.workloads(PROJECT)) == 1


def test_two_creates_of_one_slug_make_a_twin(sdk: ManagementClient, admin: Admin) -> None:
    """A list that does not show what is there leads to a second, billable workload."""
    sdk.ensure(spec())
    admin.fault("respond", operation="list", status=200, body=[])
    assert sdk.ensure(spec()) == EndpointRef(PROJECT, "support-bot-1")
    assert [each["slug"] for each in admin.workloads(PROJECT)] == ["support-bot", "support-bot-1"]
