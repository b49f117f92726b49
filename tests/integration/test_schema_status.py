"""The status at the API server: what the operator writes is kept and shown, and old objects stay writable."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from controlplane.access import Cluster
from controlplane.waiting import wait_until
from inferencekey_operator.api.workload import (
    FINALIZER,
    AppliedField,
    Condition,
    Drift,
    DriftClass,
    DriftField,
    EndpointStatus,
    HandledApproval,
    OnDrift,
    Readiness,
    Workload,
    WorkloadStatus,
)
from inferencekey_operator.crd.schema import crd
from inferencekey_operator.kube.merge_patch import merge_patch
from integration.manifests import Kubectl, manifest, refusal, stored

NOW = datetime(2026, 3, 2, 10, 41, 32, tzinfo=UTC)
SECRET = 64 * "e"
URL = "https://api.inferencekey.com/endpoint/prod/support-bot"


def condition(kind: str, reason: str) -> Condition:
    """A condition that is True."""
    return Condition(
        type=kind,
        status="True",
        reason=reason,
        message="What is.",
        last_transition_time=NOW,
        observed_generation=1,
    )


FULL = WorkloadStatus(
    observed_generation=1,
    conditions=(condition("Ready", "Ready"), condition("Drifted", "OutOfBand")),
    workload_id="wl_1",
    platform_url="https://api.inferencekey.com",
    project_slug="prod",
    workload_slug="support-bot",
    endpoint=EndpointStatus(url=URL, config_map_name="support-bot-endpoint"),
    readiness=Readiness(phase="ready", step="weights", message="serving"),
    drift=Drift(
        drift_class=DriftClass.OUT_OF_BAND,
        policy=OnDrift.DRY_RUN,
        summary="model, command",
        fields=(DriftField(field="model", declared="llama-3", live="llama-3-70b"), DriftField(field="command")),
        omitted=3,
        since=NOW,
        plan_id="7f3a91c2d4e5f6017f3a91c2d4e5f601",
    ),
    adopted=False,
    plans_applied=2,
    last_applied=(AppliedField(field="model", declared="aa", answered="bb"),),
    last_handled_approval=HandledApproval(plan_id="00ff", result="Applied"),
    last_handled_reconcile_at="2026-03-02",
)


def write_status(kubectl: Kubectl, status: WorkloadStatus, name: str = "support-bot") -> None:
    """Writes the status as the operator does: a merge patch against what is stored."""
    patch = merge_patch(stored(kubectl, name).get("status", {}), status.to_wire())
    arguments = ("--subresource=status", "--type=merge", "-p", json.dumps({"status": patch}))
    kubectl("patch", "ikw", name, *arguments)


def test_a_new_object_does_not_look_finished(kubectl: Kubectl) -> None:
    """observedGeneration is -1 from the first moment, so that what waits for a verdict waits."""
    kubectl("apply", "-f", "-", document=manifest())

    assert stored(kubectl)["status"] == {"observedGeneration": -1}


def test_a_status_in_a_manifest_is_not_believed(kubectl: Kubectl) -> None:
    """A restored backup cannot bring a recorded id or an old verdict with it."""
    kubectl("apply", "-f", "-", document={**manifest(), "status": FULL.to_wire()})

    assert stored(kubectl)["status"] == {"observedGeneration": -1}


def test_the_whole_status_is_kept(kubectl: Kubectl) -> None:
    """The schema prunes nothing of what the models can say."""
    kubectl("apply", "-f", "-", document=manifest())

    write_status(kubectl, FULL)

    assert stored(kubectl)["status"] == FULL.to_wire()
    assert Workload.parse(stored(kubectl)).status == FULL


def test_a_patch_takes_out_what_is_no_longer_so(kubectl: Kubectl) -> None:
    """With its nulls the patch leads from a long status to a short one, the default included."""
    kubectl("apply", "-f", "-", document=manifest())
    write_status(kubectl, FULL)
    short = replace(WorkloadStatus(), workload_id="wl_1", drift=Drift(policy="Warn"))

    write_status(kubectl, short)

    assert stored(kubectl)["status"] == short.to_wire()


def columns(text: str) -> dict[str, str]:
    """The one row of a kubectl table by its headings; values stand below their heading's first letter."""
    heading, row = text.splitlines()
    names = heading.split()
    starts = [heading.index(name) for name in names] + [None]
    return {name: row[starts[i] : starts[i + 1]].strip() for i, name in enumerate(names)}


def test_the_table_shows_what_matters(kubectl: Kubectl) -> None:
    """`kubectl get ikw`: the verdict, the drift, the policy, and what it is."""
    kubectl("apply", "-f", "-", document=manifest())
    write_status(kubectl, FULL)

    shown = columns(kubectl("get", "ikw").stdout)

    assert shown.pop("AGE")
    assert shown == {
        "NAME": "support-bot",
        "READY": "True",
        "REASON": "Ready",
        "DRIFTED": "model, command",
        "POLICY": "DryRun",
        "BACKEND": "vllm",
        "MODEL": "llama-3",
    }


def test_the_wide_table_shows_where_it_is(kubectl: Kubectl) -> None:
    """`-o wide` adds the platform's identity, the endpoint and the plan that waits."""
    kubectl("apply", "-f", "-", document=manifest())
    write_status(kubectl, FULL)

    shown = columns(kubectl("get", "ikw", "-o", "wide").stdout)

    names = ["NAME", "READY", "REASON", "DRIFTED", "POLICY", "BACKEND", "MODEL", "AGE"]
    wide = {"PROJECT": "prod", "SLUG": "support-bot", "ENDPOINT": URL, "ID": "wl_1", "PLAN": FULL.drift.plan_id}
    assert list(shown) == names + list(wide)
    assert shown.items() >= wide.items()


def test_the_table_of_a_new_object_has_blanks(kubectl: Kubectl) -> None:
    """Before the first verdict there is nothing to show, and no error either."""
    kubectl("apply", "-f", "-", document=manifest())

    shown = columns(kubectl("get", "ikw").stdout)

    assert (shown["READY"], shown["DRIFTED"], shown["MODEL"]) == ("", "", "llama-3")


def test_waiting_for_a_condition_returns(kubectl: Kubectl) -> None:
    """`kubectl wait` understands the conditions."""
    kubectl("apply", "-f", "-", document=manifest())
    write_status(kubectl, FULL)

    kubectl("wait", "--for=condition=Ready", "--timeout=10s", "ikw/support-bot")


OLD = "oldworkloads"


def old_crd(*, loose: bool) -> dict[str, Any]:
    """Our CRD under another name; loose is what an earlier release might have been that had no rule at all."""
    document = crd()
    names = {"kind": "OldWorkload", "listKind": "OldWorkloadList", "plural": OLD, "singular": "oldworkload"}
    document["metadata"]["name"] = f"{OLD}.inferencekey.com"
    document["spec"]["names"] = names
    if loose:
        loosen(document["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"])
    return document


def loosen(schema: dict[str, Any]) -> None:
    """Takes every bound, list of words and rule out of a schema."""
    for keyword in ("x-kubernetes-validations", "maxLength", "maxItems", "minimum", "enum"):
        schema.pop(keyword, None)
    for inner in [*schema.get("properties", {}).values(), *filter(None, [schema.get("items")])]:
        loosen(inner)


@pytest.fixture
def old_resource(control_plane: Cluster) -> Iterator[str]:
    """A resource whose schema is loose as yet."""
    apply_old(control_plane, loose=True)
    wait_until(lambda: control_plane.established(f"{OLD}.inferencekey.com"))
    yield f"{OLD}.inferencekey.com"
    control_plane.kubectl("delete", "crd", f"{OLD}.inferencekey.com", "--wait=false")


def apply_old(control_plane: Cluster, *, loose: bool) -> None:
    """Puts the loose schema, or today's, in place."""
    document = json.dumps(deepcopy(old_crd(loose=loose)))
    control_plane.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=document)


def is_strict(kubectl: Kubectl) -> bool:
    """Whether the API server goes by today's rules yet."""
    probe = manifest(f"probe-{secrets.token_hex(4)}", kind="OldWorkload", model=" ")
    return kubectl("create", "--dry-run=server", "-f", "-", document=probe, check=False).returncode != 0


def test_an_object_that_an_older_schema_let_in_stays_writable(
    kubectl: Kubectl, control_plane: Cluster, old_resource: str
) -> None:
    """Its finalizer, its status and its other fields can be written: only what is wrong cannot be written anew."""
    wrong = {
        "command": f"run --key ik_sdk_a1b2c3d4_{SECRET}",
        "description": "d" * 5000,
        "taskType": "text2smell",
        "endpoint": {"configMapName": "No Name"},
    }
    kubectl("create", "-f", "-", document=manifest(kind="OldWorkload", **wrong))
    apply_old(control_plane, loose=False)
    wait_until(lambda: is_strict(kubectl))

    def patch(body: dict[str, Any], *arguments: str) -> tuple[str, ...]:
        return ("patch", old_resource, "support-bot", "--type=merge", "-p", json.dumps(body), *arguments)

    kubectl(*patch({"metadata": {"finalizers": [FINALIZER]}}))
    kubectl(*patch({"status": {"workloadId": "wl_1"}}, "--subresource=status"))
    edited = kubectl(*patch({"spec": {"model": "llama-4", "executionPolicy": "fixed"}}))
    said = refusal(kubectl, *patch({"spec": {"command": f"walk --key ik_sdk_a1b2c3d4_{SECRET}"}}))
    kubectl(*patch({"metadata": {"finalizers": None}}))

    assert "spec.command: Forbidden: a token must never be in a spec" in said
    assert SECRET[:8] not in said + edited.stderr
    found = stored(kubectl, resource=old_resource)
    assert found["spec"]["model"] == "llama-4"
    assert found["status"]["workloadId"] == "wl_1"
    assert "finalizers" not in found["metadata"]
