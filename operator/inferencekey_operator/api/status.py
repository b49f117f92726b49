"""What the operator reports about a Workload: the status subresource as frozen values.

Decides how a status is spelled on the wire and how one that is already stored is read. It must not know what
any of it means: verdicts are made in `conditions` and `plan`, and written by `cluster`.

A stored status is never trusted to be well-formed: a part that cannot be read counts as absent, so that one
strange value cannot cost the pinned identity beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from enum import StrEnum
from sys import intern
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from inferencekey_operator.api.markers import WIRE, keyed_by


def _in_whole_seconds(moment: datetime) -> datetime:
    """UTC and whole seconds, as Kubernetes stores times: what is written equals what is read back."""
    try:
        return moment.astimezone(UTC).replace(microsecond=0)
    except OverflowError as error:  # the first and the last hours of all time
        raise ValueError("out of range in UTC") from error


Word = Annotated[str, AfterValidator(intern)]
"""A string that many Workloads have in common, such as a reason or a path: one for all of them in memory."""
Timestamp = Annotated[AwareDatetime, AfterValidator(_in_whole_seconds)]
Generation = Annotated[int, Field(json_schema_extra={"format": "int64"})]


class DriftClass(StrEnum):
    """Which side moved, and so which rule of the drift policy applies."""

    NOT_CREATED = "NotCreated"
    SPEC_CHANGE = "SpecChange"
    OUT_OF_BAND = "OutOfBand"
    BOTH = "Both"
    MISSING = "Missing"


@dataclass(frozen=True, slots=True, kw_only=True, config=WIRE)
class Condition:
    """One statement about the Workload, in the form that kubectl wait, Helm, Flux and Argo CD read."""

    type: Annotated[Word, Field(description="Ready, Reconciling, Stalled, Drifted, Serving or Suspended.")]
    status: Annotated[Literal["True", "False", "Unknown"], Field(description="True, False or Unknown.")]
    reason: Annotated[Word, Field(description="One CamelCase word, the same in Events, logs and metrics.")]
    message: Annotated[str, Field(description="What is, and what to do, with the command to type.")]
    last_transition_time: Annotated[Timestamp, Field(description="When `status` last moved.")]
    observed_generation: Annotated[
        Generation, Field(description="The metadata.generation that this statement is about.")
    ] = -1


@dataclass(frozen=True, slots=True, kw_only=True, config=WIRE)
class EndpointStatus:
    """Where applications reach the workload."""

    url: Annotated[
        str | None,
        Field(description="The workload's endpoint; its OpenAI routes are below /v1. Call it with an ik_live_ key."),
    ] = None
    config_map_name: Annotated[
        str | None,
        Field(description="The ConfigMap that carries the endpoint for `envFrom`. It never holds a key."),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True, config=WIRE)
class Readiness:
    """How far the platform is with serving it."""

    phase: Annotated[str | None, Field(description="scheduling, provisioning, bootstrapping, ready or error.")] = None
    step: Annotated[str | None, Field(description="The step within the phase, where there is one.")] = None
    message: Annotated[str | None, Field(description="The platform's own words.")] = None


@dataclass(frozen=True, slots=True, kw_only=True, config=WIRE)
class DriftField:
    """One field whose declared and live values differ."""

    field: Annotated[Word, Field(description="The path below spec, as in executionPolicyConfig.max_workers.")]
    declared: Annotated[
        str | None, Field(description="The value in the spec. Strings as they are, anything else as JSON.")
    ] = None
    live: Annotated[str | None, Field(description="The value on the platform; absent where it has none.")] = None


@dataclass(frozen=True, slots=True, kw_only=True, config=WIRE)
class Drift:
    """How the declaration and the platform differ, and what was decided about it."""

    drift_class: Annotated[
        DriftClass | None,
        Field(
            alias="class",
            description="Which side moved: NotCreated, SpecChange, OutOfBand, Both or Missing. Absent: no drift.",
        ),
    ] = None
    policy: Annotated[
        str | None,
        Field(
            description="The drift policy in force, also while nothing drifts: from the annotation "
            "inferencekey.com/on-drift of the Workload, else of its namespace, else the operator's default."
        ),
    ] = None
    summary: Annotated[
        str | None,
        Field(
            description="The fields that differ, as in `model, command`; of many, the first, and how many more; `none` "
            "without a drift."
        ),
    ] = None
    fields: Annotated[
        tuple[DriftField, ...],
        keyed_by("field", "The fields that differ, at most 32; values are cut at 256 characters."),
    ] = ()
    omitted: Annotated[int, Field(description="How many differing fields are not listed.")] = 0
    since: Annotated[Timestamp | None, Field(description="When the Workload began to differ.")] = None
    plan_id: Annotated[
        str | None,
        Field(
            description="The write that the policy withholds. To have it applied, once: "
            "kubectl annotate ikw/<name> --overwrite inferencekey.com/approve-plan=<planId>"
        ),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True, config=WIRE)
class AppliedField:
    """What was last agreed on for one declared field, as hashes."""

    field: Annotated[Word, Field(description="The path below spec.")]
    declared: Annotated[Word, Field(description="Hash of the value as declared then.")]
    answered: Annotated[Word | None, Field(description="Hash of the value as the platform answered then.")] = None


@dataclass(frozen=True, slots=True, kw_only=True, config=WIRE)
class HandledApproval:
    """The approval that was consumed last: each approves once."""

    plan_id: Annotated[str, Field(description="The id in the annotation inferencekey.com/approve-plan.")]
    result: Annotated[str, Field(description="What came of it.")]


@dataclass(frozen=True, slots=True, kw_only=True, config=WIRE)
class Creation:
    """The record of a creation that was sent, or is about to be: written before the POST, removed once it is over."""

    time: Annotated[
        Timestamp | None,
        Field(
            description="The platform's time, by the Date header of the list that showed the slug absent. "
            "Absent where that list had no Date."
        ),
    ] = None
    sent: Annotated[
        str | None, Field(description="Hash of the name, backend and model that the creation declares.")
    ] = None
    attempts: Annotated[
        int, Field(description="How often it was sent, or was about to be. Each attempt is written before it is sent.")
    ] = 1


@dataclass(frozen=True, slots=True, kw_only=True, config=WIRE)
class WorkloadStatus:
    """What the operator last saw and did. Nothing in here is for people to write."""

    observed_generation: Annotated[
        Generation,
        Field(description="The metadata.generation that the verdict below is about; -1 before the first one."),
    ] = -1
    conditions: Annotated[
        tuple[Condition, ...],
        keyed_by("type", "Ready is always there and sums up; Reconciling and Stalled are present only while True."),
    ] = ()
    workload_id: Annotated[str | None, Field(description="The platform's id of the workload, wl_…")] = None
    platform_url: Annotated[
        str | None,
        Field(alias="platformURL", description="Pinned identity: the platform that was used first."),
    ] = None
    project_slug: Annotated[str | None, Field(description="Pinned identity: the project that was used first.")] = None
    workload_slug: Annotated[str | None, Field(description="Pinned identity: the slug that was used first.")] = None
    creation: Annotated[
        Creation | None,
        Field(
            description="A creation whose outcome is not known yet. It decides which workload is this Workload's own."
        ),
    ] = None
    duplicate_workload_id: Annotated[
        str | None,
        Field(
            description="The id of a second workload that a creation made under another slug, because the slug was "
            "taken. The operator deletes it, and removes the id once the platform has confirmed the deletion."
        ),
    ] = None
    operator: Annotated[
        Word | None,
        Field(description="The operator that last wrote this status, as the namespace and name of its Lease."),
    ] = None
    endpoint: Annotated[EndpointStatus, Field(description="Where applications reach the workload.")] = EndpointStatus()
    readiness: Annotated[Readiness, Field(description="How far the platform is with serving it.")] = Readiness()
    drift: Annotated[
        Drift,
        Field(description="How the declaration and the platform differ, and what was decided about it."),
    ] = Drift()
    adopted: Annotated[
        bool | None,
        Field(description="Whether the workload was found on the platform (true) or made by the operator (false)."),
    ] = None
    plans_applied: Annotated[
        int, Field(description="A counter, so that an approval given once can never approve again.")
    ] = 0
    last_applied: Annotated[
        tuple[AppliedField, ...],
        keyed_by("field", "Per declared field, what was last agreed on, to tell which side moved."),
    ] = ()
    last_handled_approval: Annotated[
        HandledApproval | None, Field(description="The approval that was consumed last.")
    ] = None
    last_handled_reconcile_at: Annotated[
        str | None,
        Field(description="The value of inferencekey.com/reconcile-requested-at that was last acted on."),
    ] = None

    @classmethod
    def parse(cls, raw: object) -> WorkloadStatus:
        """The status as stored. What cannot be read counts as absent; never raises."""
        return cls.read(raw)[0]

    @classmethod
    def read(cls, raw: object) -> tuple[WorkloadStatus, Mapping[str, Any]]:
        """The status as stored, and what of it could not be read, as it stands: the next write has to replace it."""
        if not isinstance(raw, Mapping):
            return cls(), {}
        stored = dict(raw)
        try:
            return _STATUS.validate_python(stored), {}
        except ValidationError:
            readable = _readable(stored)
            return _STATUS.validate_python(readable), {key: stored[key] for key in stored.keys() - readable}

    def to_wire(self) -> dict[str, Any]:
        """JSON of the status subresource: what is unset is left out, `observedGeneration` never is."""
        written: dict[str, Any] = _STATUS.dump_python(self, mode="json", by_alias=True, exclude_defaults=True)
        return {"observedGeneration": self.observed_generation, **written}


_STATUS = TypeAdapter(WorkloadStatus)


def _readable(stored: dict[str, Any]) -> dict[str, Any]:
    """The top-level keys of a stored status that can be read, each tried alone."""
    readable = {}
    for key, value in stored.items():
        with suppress(ValidationError):
            _STATUS.validate_python({key: value})
            readable[key] = value
    return readable
