"""Reading a Workload: what is kept of the API server's object, and what its words mean."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferencekey_operator.api.validation import CANONICAL_SLUG
from inferencekey_operator.api.workload import (
    APPROVE_PLAN,
    FINALIZER,
    ON_DRIFT,
    OnDrift,
    TaskType,
    TokenSecretRef,
    Workload,
    WorkloadSpec,
    WorkloadStatus,
    canonical_slug,
)

TOKEN = "ik_sdk_a1b2c3d4_" + 64 * "e"


def body(*, metadata: dict[str, Any] | None = None, **parts: Any) -> dict[str, Any]:
    """A Workload in the API server's JSON form."""
    return {
        "apiVersion": "inferencekey.com/v1alpha1",
        "kind": "Workload",
        "metadata": {
            "namespace": "team-a",
            "name": "support-bot",
            "uid": "6f1c1d6a-0000-0000-0000-444455556666",
            "resourceVersion": "123",
            "generation": 2,
            "creationTimestamp": "2026-03-02T10:41:32Z",
            **(metadata or {}),
        },
        "spec": {"model": "llama-3", "backend": "vllm"},
        **parts,
    }


def with_spec(**spec: Any) -> Workload:
    """A Workload that declares this beside model and backend."""
    return Workload.parse(body(spec={"model": "llama-3", "backend": "vllm", **spec}))


def test_the_least_that_the_server_hands_out_is_enough() -> None:
    """A Workload without finalizers, annotations and status is read, and what is not declared is None."""
    workload = Workload.parse(body())

    assert (workload.namespace, workload.name, workload.resource_version) == ("team-a", "support-bot", "123")
    assert workload.creation_timestamp == datetime(2026, 3, 2, 10, 41, 32, tzinfo=UTC)
    assert workload.finalizers == ()
    assert workload.annotations == {}
    assert workload.spec == WorkloadSpec(model="llama-3", backend="vllm")
    assert workload.spec.task_type is None
    assert workload.status == WorkloadStatus()
    assert not workload.deleting
    assert not workload.has_finalizer


def test_the_operators_own_settings_have_defaults() -> None:
    """Where the schema's defaults are missing, as on an object from a file, the same ones are filled in."""
    spec = Workload.parse(body()).spec

    assert spec.token_secret_ref == TokenSecretRef(name="inferencekey", key="INFERENCEKEY_SDK_TOKEN")
    assert spec.adoption_policy == "Always"
    assert spec.deletion_policy is None
    assert spec.suspend is False
    assert spec.endpoint.config_map_name is None


def test_every_field_of_the_spec_is_read_by_its_camel_case_name() -> None:
    """Nothing that a user declares is lost, and the two configs stay in the platform's own spelling."""
    policy = {"min_workers": 0, "workers": {"source": "cloud", "cloudTax": {"new_key": [1, None]}}}
    spec = with_spec(
        name="Support",
        slug="support",
        project="prod",
        description="d",
        command="run",
        vllmVersion="0.11.0",
        config={"unknownKey": {"deep": [1.5, True]}},
        taskType="embedding",
        executionPolicy="autoscaling",
        executionPolicyConfig=policy,
        workerId="wrk_1",
        gpuResourceId="gpu_1",
        tokenSecretRef={"name": "other", "key": "TOKEN"},
        deletionPolicy="Orphan",
        adoptionPolicy="Never",
        suspend=True,
        endpoint={"configMapName": "where"},
    ).spec

    assert (spec.name, spec.slug, spec.project, spec.description) == ("Support", "support", "prod", "d")
    assert (spec.command, spec.vllm_version, spec.task_type) == ("run", "0.11.0", TaskType.EMBEDDING)
    assert spec.config == {"unknownKey": {"deep": [1.5, True]}}
    assert spec.execution_policy == "autoscaling"
    assert spec.execution_policy_config == policy
    assert (spec.worker_id, spec.gpu_resource_id) == ("wrk_1", "gpu_1")
    assert spec.token_secret_ref == TokenSecretRef(name="other", key="TOKEN")
    assert (spec.deletion_policy, spec.adoption_policy, spec.suspend) == ("Orphan", "Never", True)
    assert spec.endpoint.config_map_name == "where"


def test_what_another_release_stored_is_read() -> None:
    """Fields that this release does not know are passed over; an unknown modality is passed on."""
    workload = with_spec(taskType="text2smell", futureField={"a": 1})

    assert workload.spec.task_type == "text2smell"


def test_a_policy_that_this_release_does_not_know_is_never_taken_for_the_default() -> None:
    """Reading `deletionPolicy: Retain` as "not set" could delete what should stay, so it is an error."""
    with pytest.raises(ValueError, match="deletionPolicy"):
        with_spec(deletionPolicy="Retain")


def test_an_error_of_the_spec_names_the_field_and_never_the_value() -> None:
    """Whatever stands in an unreadable field may be a token, and errors are logged."""
    with pytest.raises(ValueError, match="adoptionPolicy") as caught:
        with_spec(adoptionPolicy=TOKEN)

    assert TOKEN not in str(caught.value)
    assert TOKEN not in repr(caught.value)


def test_only_our_own_annotations_are_kept() -> None:
    """kubectl's copy of the whole object is not held in memory ten thousand times."""
    annotations = {
        ON_DRIFT: "DryRun",
        APPROVE_PLAN: "7f3a91c2d4e5f6017f3a91c2d4e5f601",
        "kubectl.kubernetes.io/last-applied-configuration": "{}",
        "inferencekey.company/on-drift": "Fail",
    }

    kept = Workload.parse(body(metadata={"annotations": annotations})).annotations

    assert kept == {ON_DRIFT: "DryRun", APPROVE_PLAN: "7f3a91c2d4e5f6017f3a91c2d4e5f601"}


def test_nothing_but_the_fields_is_held_per_object() -> None:
    """Workloads have slots, their parts too: no dictionary each, and no way to the object that was read."""
    workload = Workload.parse(body())

    for value in (workload, workload.spec, workload.status):
        assert not hasattr(value, "__dict__")


def test_words_that_workloads_have_in_common_are_held_once() -> None:
    """Reasons, paths and hashes repeat over ten thousand Workloads: one string serves them all."""
    text = json.dumps(body(status={"lastApplied": [{"field": "command", "declared": "7f3a91c2d4e5f601"}]}))

    (one,), (other,) = (Workload.parse(json.loads(text)).status.last_applied for _ in range(2))

    assert one.field is other.field
    assert one.declared is other.declared


def test_a_deletion_and_the_finalizer_are_seen() -> None:
    """`deleting` and `has_finalizer` say what the metadata says."""
    metadata = {"deletionTimestamp": "2026-03-02T11:00:00Z", "finalizers": ["other/one", FINALIZER]}

    workload = Workload.parse(body(metadata=metadata))

    assert workload.deletion_timestamp == datetime(2026, 3, 2, 11, tzinfo=UTC)
    assert workload.deleting
    assert workload.has_finalizer


def test_name_and_slug_default_to_the_objects_name() -> None:
    """Both are metadata.name until they are declared."""
    assert (with_spec().effective_name, with_spec().effective_slug) == ("support-bot", "support-bot")
    declared = with_spec(name="Support", slug="support")
    assert (declared.effective_name, declared.effective_slug) == ("Support", "support")


def test_the_pinned_slug_does_not_change_what_is_declared() -> None:
    """The effective slug is the declaration's; comparing it with the pinned one is for those who decide."""
    workload = Workload.parse(body(status={"workloadSlug": "pinned"}))

    assert workload.effective_slug == "support-bot"
    assert workload.status.workload_slug == "pinned"


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("Reconcile", OnDrift.RECONCILE),
        ("reconcile", OnDrift.RECONCILE),
        ("DryRun", OnDrift.DRY_RUN),
        ("dry_run", OnDrift.DRY_RUN),
        ("DRY_RUN", OnDrift.DRY_RUN),
        ("dryrun", OnDrift.DRY_RUN),
        ("FAIL", OnDrift.FAIL),
        ("warn", OnDrift.WARN),
        ("Ignore", OnDrift.IGNORE),
        ("", None),
        ("yes", None),
        ("dry run", None),
        ("re_concile", None),
    ],
)
def test_a_drift_policy_is_known_by_kubernetes_spelling_and_the_sdks(text: str, policy: OnDrift | None) -> None:
    """Any case, and `dry_run` with or without its underscore; any other word is no policy at all."""
    assert OnDrift.parse(text) is policy


@pytest.mark.parametrize(
    ("text", "slug"),
    [
        ("Gemma 4 26B (llama.cpp) on R9700", "gemma-4-26b-llama-cpp-on-r9700"),
        ("a__b..c", "a-b-c"),
        ("---", ""),
        ("already-canonical-1", "already-canonical-1"),
        ("Größe", "gr-e"),
    ],
)
def test_slugs_by_example(text: str, slug: str) -> None:
    """Runs of anything but ASCII letters and digits become one dash, none at either end, all lower-case."""
    assert canonical_slug(text) == slug


@given(st.text())
def test_a_slug_is_canonical_or_empty(text: str) -> None:
    """Whatever the text: the slug is one that the CRD accepts, or nothing; and it is its own slug."""
    slug = canonical_slug(text)

    assert slug == "" or re.search(CANONICAL_SLUG, slug)
    assert canonical_slug(slug) == slug
