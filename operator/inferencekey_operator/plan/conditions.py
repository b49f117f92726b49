"""From what a reconcile found to the whole status of the Workload.

Pure: the old status, a `Report` and the time go in; the wanted status comes out. Conditions follow kstatus, are
written whole, and are stamped here and nowhere else. Nothing in a status changes while nothing happens.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

from inferencekey_operator.api.bounds import beyond_reason
from inferencekey_operator.api.status import (
    Condition,
    Drift,
    DriftClass,
    DriftField,
    Readiness,
    WorkloadStatus,
)
from inferencekey_operator.api.workload import APPROVE_PLAN, OnDrift, TaskType, Workload
from inferencekey_operator.errors import Actor, OperatorError, Reason
from inferencekey_operator.inferencekey.wire import LiveWorkload
from inferencekey_operator.plan.drift import FieldDiff, declared_document, declared_leaves, fingerprint
from inferencekey_operator.plan.plan import Adopt, Create, Plan
from inferencekey_operator.redaction import excerpt, redact, within_bytes

MOST_FIELDS = 32
MOST_FIELD_BYTES = 4_000
MOST_VALUE_CHARACTERS = 256
MOST_SUMMARY_BYTES = 256
MOST_NAMED = 8
COLUMN = 48
"""Characters of the names in a column of `kubectl get`, which is as wide as the longest for all."""
SIDE = 96
"""Characters of the names that one side changed, where both changed something."""
MOST_MESSAGE_BYTES = 1_024
NO_DRIFT = "none"
"""What `kubectl get` shows of a Workload that is as declared; it shows nothing where that is not known."""

_PHASE_WORDS = {
    "scheduling": "Scheduling",
    "provisioning": "Provisioning",
    "bootstrapping": "Bootstrapping",
    "ready": "Ready",
    "error": "Error",
}


@dataclass(frozen=True, slots=True)
class Report:
    """What a reconcile found.

    `drift` is None if nothing was compared: the former drift then stays, under `policy` if that is known. `changes` are
    fields of `WorkloadStatus` by attribute name. `readiness` is what the platform last reported. `missing` says that
    the workload is gone from the platform.
    """

    reason: Reason
    message: str
    ready: bool = False
    drift: Drift | None = None
    drift_message: str = ""
    readiness: Readiness | None = None
    suspended: bool = False
    missing: bool = False
    policy: OnDrift | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)


def status(workload: Workload, report: Report, now: datetime) -> WorkloadStatus:
    """The whole status of `workload` after `report`; equal to the old one where nothing happened."""
    old = workload.status
    drift = report.drift or replace(old.drift, policy=report.policy or old.drift.policy)
    readiness = report.readiness or old.readiness
    wanted = [_ready(report), *_progress(report)]
    kept = _compared(old) if report.drift is None else None
    if kept is None:
        wanted.append(_drifted(report))
    if report.changes.get("workload_id") or old.workload_id:
        wanted.append(_GONE if report.missing else _serving(readiness))
    if report.suspended:
        wanted.append(("Suspended", "True", Reason.SUSPENDED, _suspension(workload)))
    return replace(
        old,
        observed_generation=workload.generation,
        conditions=(*(_stamp(workload, now, each) for each in wanted), *([kept] if kept else [])),
        drift=drift,
        readiness=readiness,
        **report.changes,
    )


def failure(error: OperatorError) -> Report:
    """The report of a reconcile that an error ended."""
    return Report(error.reason, error.message)


def suspended(workload: Workload) -> Report:
    """The report of a suspended Workload: Ready stays True only while the declaration stays."""
    ready = condition(workload.status, "Ready")
    if ready is not None and ready.status == "True" and not _moved(workload):
        known = Reason(ready.reason) if ready.reason in set(Reason) else Reason.READY
        return Report(known, ready.message, ready=True, suspended=True)
    return Report(Reason.SUSPENDED, _suspension(workload), suspended=True)


def _suspension(workload: Workload) -> str:
    made = workload.status.workload_id
    runs = f" {made} keeps running on the platform, and is billed." if made else ""
    resume = workload.command_to_set(suspend=False)
    return f"Suspended: the operator calls and writes nothing.{runs} To resume, run: {resume}"


def _moved(workload: Workload) -> bool:
    """Whether anything is declared that was neither applied nor, as a drift that is tolerated, judged."""
    applied = {record.field: record.declared for record in workload.status.last_applied}
    judged = {shown.field: shown.declared for shown in workload.status.drift.fields}
    declared = declared_document(workload)
    return beyond_reason(declared) or any(
        applied.get(leaf.field) != fingerprint(leaf.declared) and judged.get(leaf.field) != _show(leaf.declared)
        for leaf in declared_leaves(declared)
    )


def verdict(workload: Workload, plan: Plan, live: LiveWorkload | None, readiness: Readiness) -> Report:
    """Ready or not, and why, for a Workload that was compared with the platform."""
    if plan.held and not plan.ready and plan.reason is not None:
        reason = Reason.PLAN_STALE if plan.stale and plan.reason is Reason.PLAN_PENDING else plan.reason
        return Report(reason, describe(workload, plan), missing=plan.drift_class is DriftClass.MISSING)
    if plan.task_type_differs:
        return Report(Reason.TASK_TYPE_MISMATCH, _task_type_message(workload, plan))
    phase = readiness.phase
    if phase == "error":
        told = readiness.message or "no message"
        return Report(Reason.PLATFORM_ERROR, f"The platform could not serve it: {told}")
    if live is None or not (phase == "ready" or may_idle(live)):
        return Report(Reason.PROGRESSING, _progress_message(readiness))
    reason = plan.reason if plan.held and plan.reason is Reason.DRIFT_TOLERATED else Reason.READY
    serving = "Serving" if phase == "ready" else "Accepted. It runs when its execution policy requires it"
    return Report(reason, f"{serving}. A drift is held, see Drifted" if plan.held else serving, ready=True)


def may_idle(live: LiveWorkload) -> bool:
    """Whether the live policy lets the workload have nothing running, and be ready all the same."""
    if live.execution_policy == "scheduled":
        return True
    return live.execution_policy == "autoscaling" and live.execution_policy_config.get("min_workers") == 0


def drift_status(plan: Plan, policy: OnDrift, old: Drift, now: datetime) -> Drift:
    """`status.drift` for a plan: only the policy where nothing differs or what differed was carried out."""
    if plan.perform:
        plan = _left_over(plan)
    if plan.step is None and not plan.differences:
        return Drift(policy=policy, summary=NO_DRIFT)
    fields = _shown(plan.differences)
    return Drift(
        drift_class=plan.drift_class,
        policy=policy,
        summary=_summary(plan, COLUMN),
        fields=fields,
        omitted=len(plan.differences) - len(fields),
        since=old.since or now,
        plan_id=plan.plan_id,
    )


def _left_over(plan: Plan) -> Plan:
    """What a plan that was carried out did not mend: a task type, which the platform cannot change."""
    left = plan.differences[-1:] if plan.task_type_differs else ()
    drift_class = DriftClass.SPEC_CHANGE if left else None
    return replace(plan, step=None, plan_id=None, differences=left, drift_class=drift_class)


def describe(workload: Workload, plan: Plan) -> str:
    """What differs and what to do about it, with the command to type."""
    command = f"kubectl annotate {workload.argument} --overwrite {APPROVE_PLAN}={plan.plan_id}"
    lead = {
        Reason.MASS_MISSING: (
            "Many workloads of this project are missing at once, so the operator creates none of them again. "
        ),
        Reason.CONTESTED: "Someone else, or the platform itself, undid the repair three times in ten minutes, so the "
        "operator does not repeat it. ",
        Reason.ADOPTION_PENDING: (
            "A workload with this slug exists on the platform, and this Workload did not create it. "
        ),
    }.get(plan.reason or Reason.READY, "")
    if plan.stale:
        lead = "The approved plan is not the pending one. " + lead
    keep = " To keep the platform's values, put them in the spec." if plan.differences else ""
    return f"{lead}{_difference(plan)}{keep} {_verb(plan)}: {command}"


def _difference(plan: Plan) -> str:
    match plan.drift_class:
        case DriftClass.NOT_CREATED:
            return "The workload is not created yet."
        case DriftClass.MISSING:
            return "The workload is missing on the platform."
        case DriftClass.OUT_OF_BAND:
            return f"Changed on the platform: {_summary(plan)}."
        case DriftClass.BOTH:
            return by_side(plan)
        case DriftClass.SPEC_CHANGE:
            return f"Declared, and not applied: {_summary(plan)}."
        case None:
            return "It is as declared."


def by_side(plan: Plan) -> str:
    """Which side changed which fields."""
    sides = {
        DriftClass.OUT_OF_BAND: "Changed on the platform",
        DriftClass.SPEC_CHANGE: "Changed in the spec",
        DriftClass.BOTH: "Changed on both sides",
    }
    changed = {
        words: tuple(difference for difference in plan.differences if difference.moved is side)
        for side, words in sides.items()
    }
    return " ".join(
        f"{words}: {_summary(replace(plan, differences=differences), SIDE)}."
        for words, differences in changed.items()
        if differences
    )


def _verb(plan: Plan) -> str:
    match plan.step:
        case Create(again=True):
            return "To create it again"
        case Create():
            return "To create it"
        case Adopt():
            return "To adopt it"
        case _:
            return "To apply the declaration"


def _summary(plan: Plan, room: int = MOST_SUMMARY_BYTES) -> str:
    """As many fields as have room, and at least one; how many more there are."""
    if not plan.differences:
        return {DriftClass.NOT_CREATED: "not created", DriftClass.MISSING: "missing"}.get(
            plan.drift_class or DriftClass.BOTH, "adoption"
        )
    names = list(dict.fromkeys(difference.leaf.field for difference in plan.differences))
    most = MOST_NAMED
    while most > 1 and len(", ".join(names[:most])) > room:
        most -= 1
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return within_bytes(excerpt(", ".join(names[:most]) + more, MOST_SUMMARY_BYTES), MOST_SUMMARY_BYTES)


def summary(plan: Plan) -> str:
    """The fields that differ, for people: `model, command`."""
    return _summary(plan)


def _shown(differences: tuple[FieldDiff, ...]) -> tuple[DriftField, ...]:
    shown: list[DriftField] = []
    room = MOST_FIELD_BYTES
    for difference in differences[:MOST_FIELDS]:
        leaf = difference.leaf
        item = DriftField(
            field=excerpt(leaf.field, MOST_VALUE_CHARACTERS),
            declared=_show(leaf.declared),
            live=_show(leaf.live),
        )
        room -= 48 + sum(len(text.encode()) for text in (item.field, item.declared or "", item.live or ""))
        if room < 0 or any(item.field == other.field for other in shown):
            break
        shown.append(item)
    return tuple(shown)


def _show(value: Any) -> str | None:
    """A value as users read it: strings as they are, else JSON; cut; without anything that looks like a token."""
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
    return excerpt(text, MOST_VALUE_CHARACTERS)


def unechoed(status: WorkloadStatus, blank: Callable[[str], str]) -> WorkloadStatus:
    """`status` with `blank` applied to whatever the platform may have worded."""

    def shown(text: str | None) -> str | None:
        return None if text is None else blank(text)

    drift, readiness = status.drift, status.readiness
    fields = tuple(replace(each, declared=shown(each.declared), live=shown(each.live)) for each in drift.fields)
    return replace(
        status,
        conditions=tuple(replace(each, message=blank(each.message)) for each in status.conditions),
        drift=replace(drift, fields=fields),
        readiness=replace(readiness, step=shown(readiness.step), message=shown(readiness.message)),
    )


def _task_type_message(workload: Workload, plan: Plan) -> str:
    leaf = plan.differences[-1].leaf
    ways = "Declare another Workload under another slug"
    if leaf.live in set(TaskType):
        ways += f", or declare what the platform has: {workload.command_to_set(taskType=leaf.live)}"
    return redact(
        f"The platform has task type {leaf.live}, the spec declares {leaf.declared}, and the platform cannot change "
        f"it. {ways}"
    )


def _progress_message(readiness: Readiness) -> str:
    if readiness.phase is None:
        return "Created on the platform. It does not serve yet"
    detail = ": ".join(part for part in (readiness.step, readiness.message) if part)
    phase = _PHASE_WORDS.get(readiness.phase, readiness.phase)
    return f"{phase} on the platform" + (f": {detail}" if detail else "")


_State = Literal["True", "False", "Unknown"]
_Wanted = tuple[str, _State, str, str]


def _ready(report: Report) -> _Wanted:
    return ("Ready", "True" if report.ready else "False", report.reason, report.message)


def _progress(report: Report) -> list[_Wanted]:
    """`Reconciling` or `Stalled`, never both, neither where somebody may decide at leisure."""
    if report.ready:
        return []
    kind = {Actor.PLATFORM: "Reconciling", Actor.PERSON: "Stalled"}.get(report.reason.actor)
    return [(kind, "True", report.reason, report.message)] if kind else []


def _drifted(report: Report) -> _Wanted:
    if report.drift is None:
        return ("Drifted", "Unknown", report.reason, "Not compared with the platform yet")
    if report.drift.drift_class is None:
        return ("Drifted", "False", "InSync", "The platform has what the spec declares")
    return ("Drifted", "True", report.drift.drift_class, report.drift_message or report.message)


def _compared(old: WorkloadStatus) -> Condition | None:
    """`Drifted` as the last comparison left it, with the generation that it was about."""
    kept = condition(old, "Drifted")
    return kept if kept is not None and kept.status != "Unknown" else None


_GONE: _Wanted = ("Serving", "False", "Missing", "The workload is missing on the platform")


def _serving(readiness: Readiness) -> _Wanted:
    if readiness.phase is None:
        return ("Serving", "Unknown", "Unknown", "The platform has not reported readiness yet")
    reason = _PHASE_WORDS.get(readiness.phase, "Progressing")
    state: _State = "True" if readiness.phase == "ready" else "False"
    return ("Serving", state, reason, _progress_message(readiness) if state == "False" else "Serving")


def condition(of: WorkloadStatus, kind: str) -> Condition | None:
    """The condition of this type, None where there is none."""
    return next((condition for condition in of.conditions if condition.type == kind), None)


def _stamp(workload: Workload, now: datetime, wanted: _Wanted) -> Condition:
    kind, state, reason, message = wanted
    old = condition(workload.status, kind)
    return Condition(
        type=kind,
        status=state,
        reason=str(reason),
        message=within_bytes(excerpt(message, MOST_MESSAGE_BYTES), MOST_MESSAGE_BYTES),
        observed_generation=workload.generation,
        last_transition_time=old.last_transition_time if old and old.status == state else now,
    )
