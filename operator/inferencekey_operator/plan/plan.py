"""What to do about one Workload, decided without doing it.

Pure: the declaration, the live workload, what was last applied and the policy go in; a `Plan` comes out. The drift
policies live here and nowhere else. A plan either performs its step, or withholds it under an id that a person can
approve, or has nothing to do. Whether the list it was made from is fresh enough to act on is `reconcile`'s business.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from inferencekey_operator.api.status import DriftClass
from inferencekey_operator.api.workload import APPROVE_PLAN, OnDrift, Workload
from inferencekey_operator.errors import Reason
from inferencekey_operator.inferencekey.wire import LiveWorkload
from inferencekey_operator.plan.drift import Comparison, FieldDiff, Leaf, compare, fingerprint

DEFAULT_TASK_TYPE = "text2text"
PLAN_ID_DIGITS = 32
"""Hex digits of a plan id. Someone who can edit but not approve can search offline for two changes that share an id:
64 bits would make that feasible, 128 bits don't."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What makes a workload one and the same: the platform, the project and the slug."""

    platform_url: str
    project: str
    slug: str

    @property
    def url(self) -> str:
        """The endpoint: `{base}/endpoint/{project}/{workload}`."""
        return f"{self.platform_url}/endpoint/{quote(self.project, safe='')}/{quote(self.slug, safe='')}"


@dataclass(frozen=True, slots=True)
class Create:
    """Create the workload; `again` where it was there once and is gone."""

    body: dict[str, Any]
    again: bool = False


@dataclass(frozen=True, slots=True)
class Update:
    """Send `body` as one PATCH to the live workload."""

    workload_id: str
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Adopt:
    """Take over a workload that is there already and agrees: nothing is sent."""

    workload_id: str


Step = Create | Update | Adopt


@dataclass(frozen=True, slots=True)
class PlanInput:
    """Everything that a decision rests on.

    `live` is the row of a list, None where the list has none. `known` says that this Workload has recorded, or
    made, that row; a row that is not known is *found*. `missing` is set once the absence of a known workload is
    confirmed. `mass_missing` and `contested` are the two safeguards. `untouched` says that nobody changed the row since
    we last wrote it.
    """

    workload: Workload
    identity: Identity
    declared: Mapping[str, Any]
    live: LiveWorkload | None
    policy: OnDrift
    known: bool = False
    missing: bool = False
    mass_missing: bool = False
    contested: bool = False
    untouched: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """A decision as a value.

    `step` is what would be sent, None where nothing differs. `perform` says whether it is carried out now.
    `approval` is an approval that this plan consumes, `approved` whether it was the right one; `stale` says that the
    approval which stands is not for this plan. `reason` is why it is withheld, None where it is not. `ready` tells
    whether the policy lets the Workload count as ready all the same, `warn` whether an Event speaks of it.
    """

    drift_class: DriftClass | None
    differences: tuple[FieldDiff, ...]
    comparison: Comparison | None = None
    step: Step | None = None
    perform: bool = False
    approval: str | None = None
    approved: bool = False
    stale: bool = False
    reason: Reason | None = None
    ready: bool = True
    warn: bool = False
    plan_id: str | None = None
    task_type_differs: bool = False

    @property
    def creation(self) -> Create | None:
        """The POST that it sends, if it sends one."""
        return self.step if self.perform and isinstance(self.step, Create) else None

    @property
    def update(self) -> Update | None:
        """The PATCH that it sends, if it sends one."""
        return self.step if self.perform and isinstance(self.step, Update) else None

    @property
    def sent(self) -> frozenset[str]:
        """The wire fields that are sent, if it is carried out."""
        call = self.creation or self.update
        return frozenset(call.body) if call is not None else frozenset()

    @property
    def held(self) -> bool:
        """Whether a step is withheld, and so waits for an approval."""
        return self.step is not None and not self.perform


@dataclass(frozen=True, slots=True)
class _Verdict:
    """One cell of the policy table: apply it, or withhold it and say so in this way."""

    apply: bool = False
    reason: Reason | None = None
    ready: bool = False
    warn: bool = True


_APPLY = _Verdict(apply=True)
_PENDING = _Verdict(reason=Reason.PLAN_PENDING)
_REFUSED = _Verdict(reason=Reason.DRIFT_DETECTED)
_GONE = _Verdict(reason=Reason.WORKLOAD_MISSING)
_REPORTED = _Verdict(reason=Reason.DRIFT_DETECTED, ready=True)
_TOLERATED = _Verdict(reason=Reason.DRIFT_TOLERATED, ready=True, warn=False)

_TABLE: dict[OnDrift, dict[DriftClass, _Verdict]] = {
    OnDrift.RECONCILE: {
        DriftClass.NOT_CREATED: _APPLY,
        DriftClass.OUT_OF_BAND: _APPLY,
        DriftClass.SPEC_CHANGE: _APPLY,
        DriftClass.BOTH: _APPLY,
        DriftClass.MISSING: _APPLY,
    },
    OnDrift.FAIL: {
        DriftClass.NOT_CREATED: _APPLY,
        DriftClass.OUT_OF_BAND: _REFUSED,
        DriftClass.SPEC_CHANGE: _REFUSED,
        DriftClass.BOTH: _REFUSED,
        DriftClass.MISSING: _GONE,
    },
    OnDrift.DRY_RUN: {
        DriftClass.NOT_CREATED: replace(_PENDING, warn=False),
        DriftClass.OUT_OF_BAND: _REPORTED,
        DriftClass.SPEC_CHANGE: replace(_PENDING, warn=False),
        DriftClass.BOTH: replace(_PENDING, warn=False),
        DriftClass.MISSING: _PENDING,
    },
    OnDrift.WARN: {
        DriftClass.NOT_CREATED: _APPLY,
        DriftClass.OUT_OF_BAND: _REPORTED,
        DriftClass.SPEC_CHANGE: _PENDING,
        DriftClass.BOTH: _PENDING,
        DriftClass.MISSING: _GONE,
    },
    OnDrift.IGNORE: {
        DriftClass.NOT_CREATED: _APPLY,
        DriftClass.OUT_OF_BAND: replace(_TOLERATED, reason=Reason.READY),
        DriftClass.SPEC_CHANGE: _TOLERATED,
        DriftClass.BOTH: _TOLERATED,
        DriftClass.MISSING: replace(_GONE, warn=False),
    },
}


def decide(situation: PlanInput) -> Plan:
    """The plan for `situation`, with an approval weighed in."""
    plan = replace(_observe(situation), approval=pending_approval(situation.workload))
    if plan.step is None:
        return plan
    verdict = _verdict(situation, plan)
    plan = _weigh_approval(situation, plan)
    if verdict.apply or plan.approved:
        return replace(plan, perform=True)
    return replace(plan, reason=verdict.reason, ready=verdict.ready, warn=verdict.warn)


def pending_approval(workload: Workload) -> str | None:
    """The id of a plan that somebody approved and that was not handled yet."""
    approval = workload.annotations.get(APPROVE_PLAN) or None
    handled = workload.status.last_handled_approval
    return None if handled is not None and handled.plan_id == approval else approval


def plan_id(situation: PlanInput, plan: Plan, handled: str | None) -> str:
    """32 hex digits that identify exactly this change, on this object, at this point of its history.

    `handled` is the approval that was consumed last: none ever means the same thing twice.
    """
    workload, identity = situation.workload, situation.identity
    values = [[d.leaf.field, d.leaf.declared, d.leaf.live] for d in plan.differences]
    return fingerprint(
        [
            workload.uid,
            workload.generation,
            workload.status.plans_applied,
            handled,
            [identity.platform_url, identity.project, identity.slug],
            type(plan.step).__name__,
            plan.step.body if isinstance(plan.step, Create) else values,
            situation.live.id if situation.live else None,
        ],
        PLAN_ID_DIGITS,
    )


def create_body(declared: Mapping[str, Any]) -> dict[str, Any]:
    """What a POST sends: the declaration, with the task type that the platform wants always."""
    return {"task_type": DEFAULT_TASK_TYPE, **declared}


def update_body(declared: Mapping[str, Any], live: LiveWorkload, differences: tuple[FieldDiff, ...]) -> dict[str, Any]:
    """What a PATCH sends: the fields that differ; objects as the live ones overlaid with the declared."""
    fields = dict.fromkeys(difference.leaf.path[0] for difference in differences)
    if "execution_policy" in fields and "execution_policy_config" in declared:
        fields["execution_policy_config"] = None
    return {field: _sent(field, declared, live, fields) for field in fields}


def overlay(below: Any, above: Any) -> Any:
    """`above` laid over `below`: objects merge key by key, everything else is replaced, nulls declare nothing."""
    if not isinstance(above, Mapping):
        return above
    merged = dict(below) if isinstance(below, Mapping) else {}
    for key, value in above.items():
        if value is not None:
            merged[key] = overlay(merged.get(key), value)
    return merged


def _observe(situation: PlanInput) -> Plan:
    """What differs, and the step that would end it; no policy yet."""
    declared, live = situation.declared, situation.live
    if live is None:
        drift_class = DriftClass.MISSING if situation.missing else DriftClass.NOT_CREATED
        return Plan(drift_class, (), step=Create(create_body(declared), again=situation.missing))
    applied = situation.workload.status.last_applied if situation.known else ()
    comparison = compare(declared, live, applied, untouched=situation.untouched)
    differs = _task_type_difference(declared, live)
    plan = Plan(
        comparison.drift_class or (DriftClass.SPEC_CHANGE if differs else None),
        comparison.differences + differs,
        comparison=comparison,
        task_type_differs=bool(differs),
    )
    if comparison.differences:
        return replace(plan, step=Update(live.id, update_body(declared, live, comparison.differences)))
    return plan if situation.known else replace(plan, step=Adopt(live.id))


def _task_type_difference(declared: Mapping[str, Any], live: LiveWorkload) -> tuple[FieldDiff, ...]:
    wanted = declared.get("task_type")
    if wanted is None or live.task_type is None or wanted == live.task_type:
        return ()
    return (FieldDiff(Leaf(("taskType",), wanted, live.task_type), DriftClass.SPEC_CHANGE),)


def _verdict(situation: PlanInput, plan: Plan) -> _Verdict:
    """The policy's word, after the safeguards had theirs."""
    if situation.live is not None and not situation.known:
        return _adoption_verdict(situation, plan)
    if situation.mass_missing and situation.live is None and situation.policy is OnDrift.RECONCILE:
        return _Verdict(reason=Reason.MASS_MISSING)
    verdict = _TABLE[situation.policy][plan.drift_class or DriftClass.SPEC_CHANGE]
    contested = situation.contested and plan.drift_class is DriftClass.OUT_OF_BAND
    return _Verdict(reason=Reason.CONTESTED) if verdict.apply and contested else verdict


def _adoption_verdict(situation: PlanInput, plan: Plan) -> _Verdict:
    adoption = situation.workload.spec.adoption_policy
    identical = isinstance(plan.step, Adopt) and not plan.task_type_differs
    if adoption == "Never" or (adoption == "IfIdentical" and not identical):
        return _Verdict(reason=Reason.ADOPTION_PENDING, warn=False)
    return _APPLY if isinstance(plan.step, Adopt) else _TABLE[situation.policy][DriftClass.SPEC_CHANGE]


def _weigh_approval(situation: PlanInput, plan: Plan) -> Plan:
    """The plan with its id; an approval of that very id makes it performed, any other one is used up."""
    handled = situation.workload.status.last_handled_approval
    before = handled.plan_id if handled else None
    offered = plan_id(situation, plan, before)
    if plan.approval is None:
        standing = situation.workload.annotations.get(APPROVE_PLAN)
        stale = handled is not None and handled.plan_id == standing and handled.result == Reason.PLAN_STALE
        return replace(plan, plan_id=offered, stale=stale)
    if plan.approval == offered:
        return replace(plan, plan_id=offered, approved=True)
    return replace(plan, plan_id=plan_id(situation, plan, plan.approval), stale=True)


def _sent(field: str, declared: Mapping[str, Any], live: LiveWorkload, fields: Mapping[str, None]) -> Any:
    if field == "execution_policy_config" and "execution_policy" in fields:
        return declared[field]
    return overlay(getattr(live, field), declared[field])
