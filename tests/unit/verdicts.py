"""Every verdict that the operator can write, as whole objects: what GitOps tools and Helm are shown.

Each is made by the code that makes them in life, on its own way to it. What others make of them is the tests' affair.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from pydantic import TypeAdapter

from inferencekey_operator.api.status import DriftClass
from inferencekey_operator.api.workload import GROUP, KIND, VERSION, OnDrift, Readiness, Workload, WorkloadSpec
from inferencekey_operator.errors import Actor, OperatorError, Reason
from inferencekey_operator.inferencekey.wire import LiveWorkload
from inferencekey_operator.plan import conditions
from inferencekey_operator.plan.conditions import failure, suspended
from unit.builders import (
    LATER,
    a_live,
    a_workload,
    agreed,
    annotated,
    at_rest,
    looked_at,
    redeclared,
)

Json = dict[str, Any]

THEIRS = a_live(model_name="llama-3-70b")
NOT_TOLD = Readiness()
_SPEC = TypeAdapter(WorkloadSpec)

SITUATIONS: dict[DriftClass, tuple[Workload, LiveWorkload | None]] = {
    DriftClass.NOT_CREATED: (a_workload(), None),
    DriftClass.OUT_OF_BAND: (agreed(a_workload()), THEIRS),
    DriftClass.SPEC_CHANGE: (redeclared(agreed(a_workload()), model="llama-4"), a_live()),
    DriftClass.BOTH: (redeclared(agreed(a_workload()), model="llama-4"), THEIRS),
    DriftClass.MISSING: (agreed(a_workload()), None),
}
"""A Workload and what the platform has, for each class."""


def document(workload: Workload) -> Json:
    """The object as the API server hands it out."""
    metadata: Json = {
        "name": workload.name,
        "namespace": workload.namespace,
        "uid": workload.uid,
        "generation": workload.generation,
        "creationTimestamp": f"{workload.creation_timestamp:%Y-%m-%dT%H:%M:%SZ}",
        "annotations": dict(workload.annotations),
        "finalizers": list(workload.finalizers),
    }
    if workload.deletion_timestamp is not None:
        metadata["deletionTimestamp"] = f"{workload.deletion_timestamp:%Y-%m-%dT%H:%M:%SZ}"
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": KIND,
        "metadata": {key: value for key, value in metadata.items() if value},
        "spec": _SPEC.dump_python(workload.spec, mode="json", by_alias=True, exclude_none=True),
        "status": workload.status.to_wire(),
    }


def decided(policy: OnDrift, drift_class: DriftClass) -> Workload:
    """What a policy makes of a class: what it creates does not serve yet, everything else does."""
    workload, live = SITUATIONS[drift_class]
    return looked_at(workload, live, policy, readiness=NOT_TOLD if live is None else Readiness(phase="ready"))


def failed(reason: Reason) -> Workload:
    """One that was well, and then met an error."""
    return refused(at_rest(a_workload()), OperatorError(reason, f"{reason}, and what to do about it"))


def refused(workload: Workload, error: OperatorError) -> Workload:
    """`workload` after a look that an error ended."""
    return replace(workload, status=conditions.status(workload, failure(error), LATER))


def paused(workload: Workload, **spec: Any) -> Workload:
    """`workload` after somebody set `spec.suspend`, and perhaps more, and the operator said so."""
    resting = redeclared(workload, suspend=True, **spec)
    return replace(resting, status=conditions.status(resting, suspended(resting), LATER))


def deleted(workload: Workload) -> Workload:
    """`workload` as it stands the moment somebody has deleted it: the API server counts a generation."""
    return replace(workload, deletion_timestamp=LATER, generation=workload.generation + 1)


def unfinished(workload: Workload) -> Workload:
    """A deletion that the platform holds up."""
    going = deleted(workload)
    return refused(going, OperatorError(Reason.PLATFORM_UNREACHABLE, "The deletion goes on: no answer"))


def approved(workload: Workload, live: LiveWorkload | None) -> Workload:
    """`workload` after the plan that it shows was approved and carried out."""
    told = annotated(workload, approve_plan=workload.status.drift.plan_id or "")
    return looked_at(told, live, OnDrift.DRY_RUN, readiness=Readiness(phase="ready"), now=LATER)


def stale() -> Workload:
    """One whose approval was for another plan."""
    return looked_at(annotated(a_workload(), approve_plan="0" * 16), None, OnDrift.DRY_RUN, readiness=NOT_TOLD)


def adoptable(policy: str) -> Workload:
    """One whose slug was there already, and which may not take it over by itself."""
    return looked_at(a_workload({"adoption_policy": policy}), a_live())


def mismatched() -> Workload:
    """One of another task type than the platform has."""
    return looked_at(redeclared(agreed(a_workload()), task_type="embedding"), a_live())


def vanished() -> Workload:
    """One of a fleet that went at once."""
    return looked_at(agreed(a_workload()), None, mass_missing=True)


def contested() -> Workload:
    """One whose repair somebody undoes."""
    return looked_at(agreed(a_workload()), THEIRS, contested=True)


def at_phase(phase: str | None) -> Workload:
    """One that is as declared, in a phase of its start."""
    return at_rest(
        a_workload(), readiness=Readiness(phase=phase, message="no GPU is free" if phase == "error" else None)
    )


def every_verdict() -> Iterator[tuple[str, Workload]]:
    """All of them, each with a name."""
    for policy in OnDrift:
        for drift_class in DriftClass:
            yield f"{policy} {drift_class}", decided(policy, drift_class)
    for reason in Reason:
        if reason.actor in (Actor.PLATFORM, Actor.PERSON):
            yield f"failed {reason}", failed(reason)
    for phase in (None, "scheduling", "provisioning", "bootstrapping", "ready", "error"):
        yield f"phase {phase}", at_phase(phase)
    for adoption in ("Never", "IfIdentical"):
        differing = looked_at(a_workload({"adoption_policy": adoption}), THEIRS)
        yield f"adoption {adoption}", adoptable(adoption) if adoption == "Never" else differing
    held = decided(OnDrift.DRY_RUN, DriftClass.SPEC_CHANGE)
    rested = at_rest(a_workload())
    yield from {
        "new": a_workload(),
        "edited": redeclared(rested, model="llama-4"),
        "stale approval": stale(),
        "approved": approved(held, a_live()),
        "task type": mismatched(),
        "mass missing": vanished(),
        "contested": contested(),
        "suspended": paused(rested),
        "suspended and edited": paused(rested, model="llama-4"),
        "suspended with a plan": paused(held),
        "a plan, then an error": refused(held, OperatorError(Reason.PLATFORM_UNREACHABLE, "no answer")),
        "a plan, then a refusal": refused(held, OperatorError(Reason.TOKEN_REJECTED, "Renew the token")),
        "deleted": deleted(rested),
        "deleted while stalled": deleted(contested()),
        "deletion held up": unfinished(rested),
    }.items()
