"""A whole look at a Workload, without its calls: what it would send, write and say, and that the next is at rest."""

from __future__ import annotations

import json
from dataclasses import replace

from hostile.material import Document
from hostile.schema import objections
from hostile.shown import fit, hidden
from hostile.valid import SECRET
from inferencekey_operator.api.bounds import beyond_reason
from inferencekey_operator.api.status import Readiness, WorkloadStatus
from inferencekey_operator.api.workload import OnDrift, Workload
from inferencekey_operator.errors import ConfigurationError, OperatorError, Reason
from inferencekey_operator.inferencekey import wire
from inferencekey_operator.inferencekey.listing import Reader
from inferencekey_operator.inferencekey.readiness import parse_phase
from inferencekey_operator.kube.merge_patch import merge_patch
from inferencekey_operator.plan import conditions
from inferencekey_operator.plan.credentials import Allowed, credential, identity, refuse_secrets, with_remedy
from inferencekey_operator.plan.drift import declared_document, kept_by_platform
from inferencekey_operator.plan.endpoint import config_map, data
from inferencekey_operator.plan.events import announce, kept
from inferencekey_operator.plan.plan import Create, Plan, Update
from inferencekey_operator.redaction import excerpt
from unit.builders import (
    IDENTITY,
    NOW,
    PLATFORM,
    a_situation,
    carried_out,
    planned,
    report_of,
    what_is_recorded,
)
from unit.invariants import check_status

ALLOWED = Allowed(PLATFORM, ("inferencekey",))


def look_is_taken(given: tuple[Document, bytes, OnDrift, Document]) -> None:
    """A whole look, and another one after it: what it would send, write and say; and that the second one is at rest."""
    body, listed, policy, told = given
    try:
        workload = Workload.parse(body)
    except ValueError as error:
        hidden(str(error))
        return
    try:
        live, phase = _found(listed), parse_phase(json.dumps(told))
        _refuse(workload)
    except OperatorError as error:
        report = conditions.failure(with_remedy(workload, error))
        announce(workload, report, None, None, None)
        _written(workload, conditions.status(workload, report, NOW))
        return
    readiness = Readiness(phase=phase.phase, step=phase.step, message=phase.message) if phase else Readiness()
    after = _look(workload, live, policy, readiness)
    if after is not None:
        again = _look(after[0], after[1], policy, readiness)
        assert again is None or merge_patch(after[0].status.to_wire(), again[0].status.to_wire()) is None, "no rest"


def _refuse(workload: Workload) -> None:
    declared = declared_document(workload)
    if beyond_reason(declared):
        conditions.suspended(workload)
        raise ConfigurationError(Reason.PLATFORM_REFUSED, "beyond reason")
    refuse_secrets(declared)
    identity(workload, credential(workload, SECRET, ALLOWED))


def _found(listed: bytes) -> wire.LiveWorkload | None:
    rows = Reader().read(listed).workloads
    return next((row for row in rows if row.slug == "support-bot" and not row.unread), None)


def _look(
    workload: Workload, live: wire.LiveWorkload | None, policy: OnDrift, readiness: Readiness
) -> tuple[Workload, wire.LiveWorkload | None] | None:
    situation = a_situation(workload, live, policy)
    plan = planned(workload, live, policy)
    _sendable(plan)
    answer = carried_out(plan, workload, live)
    report = report_of(workload, plan, answer, policy, readiness=readiness, now=NOW)
    report = replace(report, changes=what_is_recorded(situation, plan, answer))
    told = announce(workload, report, plan, policy, answer)
    if plan.perform and answer is not None:
        told += kept(kept_by_platform(situation.declared, answer, plan.sent))
    hidden("".join(excerpt(each.note, 1_024) for each in told))
    if answer is not None:
        keys = data(IDENTITY, answer, workload.spec.task_type)
        hidden(json.dumps(config_map(workload, keys), ensure_ascii=False).encode().decode())
    conditions.suspended(workload)
    return _written(workload, conditions.status(workload, report, NOW)), answer


def _sendable(plan: Plan) -> None:
    if plan.perform and isinstance(plan.step, Create | Update):
        json.dumps(plan.step.body, allow_nan=False).encode()


def _written(workload: Workload, status: WorkloadStatus) -> Workload:
    """What the API server would say to this status, and the Workload that it would hand out then."""
    wire_form = status.to_wire()
    patch = merge_patch({**workload.status.to_wire(), **workload.unreadable}, wire_form)
    json.dumps(patch, ensure_ascii=False, allow_nan=False).encode()
    refused = list(objections(wire_form))
    assert not refused, refused
    for each in wire_form["conditions"]:
        fit(each["message"])
    if workload.status == WorkloadStatus():
        check_status(wire_form)
    back = WorkloadStatus.parse(json.loads(json.dumps(wire_form)))
    assert back == status
    return replace(workload, status=back, unreadable={})
