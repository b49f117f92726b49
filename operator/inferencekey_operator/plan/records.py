"""What a status remembers after a look: identity, what was agreed on, and what was asked for and handled.

Pure: what stood, what was observed and planned, and what the platform has now go in; fields of the status come out.
"""

from __future__ import annotations

from typing import Any

from inferencekey_operator.api.status import AppliedField, EndpointStatus, HandledApproval
from inferencekey_operator.api.workload import RECONCILE_REQUESTED_AT, Workload
from inferencekey_operator.errors import Reason
from inferencekey_operator.inferencekey.wire import LiveWorkload
from inferencekey_operator.plan import endpoint
from inferencekey_operator.plan.credentials import pins
from inferencekey_operator.plan.drift import applied_records
from inferencekey_operator.plan.plan import Plan, PlanInput

COUNTED = 2**53
"""Where the counter of plans begins anew. Only hands bring it there; beyond 64 bits no status could be written."""


def handled(workload: Workload, plan: Plan) -> dict[str, Any]:
    """What people asked for and got an answer to."""
    fields: dict[str, Any] = {}
    requested = workload.annotations.get(RECONCILE_REQUESTED_AT)
    if requested:
        fields["last_handled_reconcile_at"] = requested
    if plan.approval is not None:
        result = "Applied" if plan.approved else str(Reason.PLAN_STALE)
        fields["last_handled_approval"] = HandledApproval(plan_id=plan.approval, result=result)
    if plan.approved:
        fields["plans_applied"] = (workload.status.plans_applied + 1) % COUNTED
    return fields


def ours(situation: PlanInput, plan: Plan, live: LiveWorkload, *, published: bool = True) -> dict[str, Any]:
    """What makes the row this Workload's: its id, its identity, what was agreed on.

    The ConfigMap of a former name is remembered until the new one is `published`, and the former one gone.
    """
    who = situation.identity
    former = None if published else situation.workload.status.endpoint.config_map_name
    return {
        "workload_id": live.id,
        "adopted": _adopted(situation, plan),
        **pins(who),
        "last_applied": _last_applied(situation, plan, live),
        "endpoint": EndpointStatus(url=who.url, config_map_name=former or endpoint.config_map_name(situation.workload)),
    }


def shows_a_write(workload: Workload, agreed: tuple[AppliedField, ...]) -> bool:
    """Whether a field is agreed on of which the status does not know: a write of ours that nobody recorded may have
    brought that about, so what the status says of readiness may be older.
    """
    return not set(workload.status.last_applied).issuperset(agreed)


def _adopted(situation: PlanInput, plan: Plan) -> bool:
    """Whether the row was found, not made: what is known already stays what it was."""
    status = situation.workload.status
    if situation.known and status.workload_id:
        return bool(status.adopted)
    created = plan.creation is not None
    return not (created or situation.known)


def _last_applied(situation: PlanInput, plan: Plan, live: LiveWorkload) -> tuple[AppliedField, ...]:
    settled = plan.comparison.settled if plan.comparison else ()
    sent = plan.sent
    if not sent:
        return settled
    fresh = applied_records(situation.declared, live, sent)
    known = {record.field: record for record in (*settled, *fresh)}
    in_order = (record.field for record in applied_records(situation.declared, live))
    return tuple(known[field] for field in in_order if field in known)
