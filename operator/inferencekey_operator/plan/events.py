"""Which Events a reconcile deserves: what appeared, changed or ended, and never one per reconcile.

Pure: the former Workload, the report and the plan go in, and words come out. Notes name fields, never values.
"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import NamedTuple

from inferencekey_operator.api.status import DriftClass
from inferencekey_operator.api.workload import OnDrift, Workload
from inferencekey_operator.errors import Actor, Reason
from inferencekey_operator.inferencekey.wire import LiveWorkload
from inferencekey_operator.plan.conditions import Report, by_side, condition, summary
from inferencekey_operator.plan.plan import Create, Plan, Update


class Done(StrEnum):
    """What the operator did on the platform: the reasons of Events that are no reason of a condition."""

    CREATED = "Created"
    UPDATED = "Updated"
    ADOPTED = "Adopted"
    DRIFT_REPAIRED = "DriftRepaired"
    DELETED = "Deleted"


class EventMessage(NamedTuple):
    """An Event before it is written."""

    reason: Reason | Done
    note: str
    warning: bool = False


_MOVED = {
    DriftClass.OUT_OF_BAND: "changed on the platform",
    DriftClass.SPEC_CHANGE: "declared and not applied",
}


def announce(
    workload: Workload,
    report: Report,
    plan: Plan | None,
    policy: OnDrift | None,
    live: LiveWorkload | None,
    *,
    made: str | None = None,
) -> list[EventMessage]:
    """What `report` has to tell that the status did not say before. Of what was `made` it was told when it was."""
    told: list[EventMessage] = []
    if plan is not None:
        told += _carried_out(plan, live)
        told += _recovered(workload, report, plan, live) if live is None or live.id != made else []
        told += _held(workload, report, plan, policy)
        told += _approval(plan)
    told += _readiness(workload, report, plan)
    return told


def doubtful(live: LiveWorkload) -> EventMessage:
    """A row may have been made by a creation whose answer was lost, or by someone else."""
    note = (
        f"{live.id} may have been made by a creation of this Workload whose answer was lost, or by someone else. It "
        "counts as found, and stays on the platform when this Workload is deleted, unless spec.deletionPolicy is Delete"
    )
    return EventMessage(Reason.DUPLICATE_WORKLOAD, note, warning=True)


def _carried_out(plan: Plan, live: LiveWorkload | None) -> list[EventMessage]:
    if not plan.perform:
        return []
    by = f"plan {plan.plan_id}, approved" if plan.approved else "by policy"
    match plan.step:
        case Create(again=again):
            word = "Created again" if again else "Created"
            return [EventMessage(Done.CREATED, f"{word} on the platform as {live.id if live else '?'} ({by})")]
        case Update():
            fields = (
                summary(replace(plan, differences=plan.differences[:-1])) if plan.task_type_differs else summary(plan)
            )
            if plan.drift_class is not DriftClass.OUT_OF_BAND:
                return [EventMessage(Done.UPDATED, f"Updated on the platform: {fields} ({by})")]
            return [EventMessage(Done.DRIFT_REPAIRED, f"{fields} changed on the platform, and repaired ({by})")]
        case _:
            return [EventMessage(Done.ADOPTED, f"Adopted {live.id if live else '?'} from the platform")]


def _recovered(workload: Workload, report: Report, plan: Plan, live: LiveWorkload | None) -> list[EventMessage]:
    """A creation whose answer was lost, by us or by the process before us: now recorded as made here."""
    recorded = workload.status.workload_id is None and report.changes.get("adopted") is False
    if plan.perform or live is None or not recorded or workload.status.creation is None:
        return []
    return [EventMessage(Done.CREATED, f"Created on the platform as {live.id} (the answer was lost)")]


def _held(workload: Workload, report: Report, plan: Plan, policy: OnDrift | None) -> list[EventMessage]:
    """A drift that appeared, changed or ended; nothing under Ignore."""
    before = workload.status.drift
    now = report.drift
    if now is None or (policy is OnDrift.IGNORE and plan.reason is not Reason.ADOPTION_PENDING):
        return []
    if before.plan_id and before.drift_class and not now.plan_id and not plan.perform:
        return [EventMessage(Reason.READY, f"The drift ended: {before.summary}")]
    same = (before.drift_class, before.plan_id, before.policy) == (now.drift_class, now.plan_id, now.policy)
    if not plan.held or same or plan.reason is None:
        return []
    if plan.drift_class is DriftClass.BOTH:
        what = by_side(plan).rstrip(".")
    else:
        what = f"{summary(plan)} {_MOVED[plan.drift_class]}" if plan.drift_class in _MOVED else summary(plan)
    reason = Reason.DRIFT_DETECTED if plan.reason is Reason.READY else plan.reason
    return [EventMessage(reason, f"{what}; plan {plan.plan_id} held by {policy}", plan.warn)]


def _approval(plan: Plan) -> list[EventMessage]:
    if plan.approval is None or plan.approved:
        return []
    now = f"the pending plan is {plan.plan_id}" if plan.held else "no plan is pending"
    return [EventMessage(Reason.PLAN_STALE, f"The approved plan is not the pending one; {now}", warning=True)]


def kept(fields: tuple[str, ...]) -> list[EventMessage]:
    """Told once, when a write is answered or listed: the platform has values of its own for these, which is settled."""
    if not fields:
        return []
    return [EventMessage(Reason.DRIFT_TOLERATED, f"The platform keeps its own value for {', '.join(fields[:8])}")]


def _readiness(workload: Workload, report: Report, plan: Plan | None) -> list[EventMessage]:
    """Ready at last, or stopped by something that a plan does not speak of."""
    before = condition(workload.status, "Ready")
    if before is not None and (before.status == "True") == report.ready and before.reason == report.reason:
        return []
    if report.ready:
        became = before is None or before.status != "True"
        return [EventMessage(Reason.READY, report.message)] if became else []
    spoken = plan is not None and plan.held
    quiet = report.reason in (Reason.PROGRESSING, Reason.DELETING, Reason.SUSPENDED)
    if spoken or quiet:
        return []
    note = report.message
    if report.reason is Reason.TASK_TYPE_MISMATCH:
        note = "taskType differs on the platform, and cannot be changed there"
    return [EventMessage(report.reason, note, report.reason.actor is not Actor.NOBODY)]
