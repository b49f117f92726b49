"""Small factories: whole values of which a test states only what it is about.

What they make by default agrees: `a_live()` is what the platform has when `a_workload()` is declared and in sync.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from inferencekey_operator.api.workload import OnDrift, Readiness, Workload, WorkloadSpec, WorkloadStatus
from inferencekey_operator.errors import Reason
from inferencekey_operator.inferencekey.wire import LiveWorkload
from inferencekey_operator.plan import conditions, records
from inferencekey_operator.plan.drift import applied_records, declared_document
from inferencekey_operator.plan.plan import Create, Identity, Plan, PlanInput, Update, decide

NOW = datetime(2026, 3, 2, 10, 41, 32, tzinfo=UTC)
SERVING = Readiness(phase="ready")
LATER = NOW + timedelta(minutes=10)
BORN = NOW - timedelta(days=1)

PLATFORM = "https://api.inferencekey.com"
SECRET_HALF = "0123456789abcdef" * 4
TOKEN = f"ik_sdk_a1b2c3d4_{SECRET_HALF}"
IDENTITY = Identity(PLATFORM, "prod", "support-bot")


def a_workload(spec: Mapping[str, Any] | None = None, **metadata: Any) -> Workload:
    """A Workload that declares `spec` (in Python's spelling) beside a model and a backend."""
    whole: dict[str, Any] = {
        "namespace": "team-a",
        "name": "support-bot",
        "uid": "6f1c1d6a-0000-0000-0000-444455556666",
        "resource_version": "100",
        "generation": 1,
        "creation_timestamp": BORN,
        "deletion_timestamp": None,
        "finalizers": (),
        "annotations": {},
        "status": WorkloadStatus(),
    }
    return Workload(spec=WorkloadSpec(**{"model": "llama-3", "backend": "vllm", **(spec or {})}), **(whole | metadata))


def a_live(**fields: Any) -> LiveWorkload:
    """The row of the platform's list that `a_workload()` makes."""
    row: dict[str, Any] = {
        "id": "wl_1",
        "slug": "support-bot",
        "name": "support-bot",
        "backend": "vllm",
        "model_name": "llama-3",
        "task_type": "text2text",
        "execution_policy": "fixed",
        "created_at": NOW,
    }
    return LiveWorkload(**(row | fields))


def answered(declared: Mapping[str, Any], **changed: Any) -> LiveWorkload:
    """The row of a platform that takes a declaration as it is, but for `changed`."""
    return a_live(**{key: value for key, value in declared.items() if value is not None} | changed)


def agreed(workload: Workload, live: LiveWorkload | None = None, **status: Any) -> Workload:
    """`workload` after its declaration was applied and answered with `live`: by default, word for word."""
    declared = declared_document(workload)
    row = live or answered(declared)
    recorded = replace(
        workload.status,
        observed_generation=workload.generation,
        workload_id=row.id,
        platform_url=IDENTITY.platform_url,
        project_slug=IDENTITY.project,
        workload_slug=workload.effective_slug,
        adopted=False,
        last_applied=applied_records(declared, row),
    )
    return replace(workload, status=replace(recorded, **status))


def redeclared(workload: Workload, **spec: Any) -> Workload:
    """`workload` after somebody edited its spec: the API server counts a generation."""
    return replace(workload, spec=replace(workload.spec, **spec), generation=workload.generation + 1)


def annotated(workload: Workload, **annotations: str) -> Workload:
    """`workload` with annotations of our group: `approve_plan="…"` is `inferencekey.com/approve-plan`."""
    ours = {f"inferencekey.com/{name.replace('_', '-')}": value for name, value in annotations.items()}
    return replace(workload, annotations={**workload.annotations, **ours})


def a_situation(
    workload: Workload, live: LiveWorkload | None, policy: OnDrift = OnDrift.RECONCILE, **safeguards: Any
) -> PlanInput:
    """What a look finds: `known` is a row with the recorded id, `missing` the absence of one, unless stated."""
    recorded = workload.status.workload_id
    found: dict[str, Any] = {
        "known": live is not None and recorded == live.id,
        "missing": live is None and recorded is not None,
    }
    return PlanInput(
        workload=workload,
        identity=IDENTITY,
        declared=declared_document(workload),
        live=live,
        policy=policy,
        **(found | safeguards),
    )


def planned(
    workload: Workload, live: LiveWorkload | None, policy: OnDrift = OnDrift.RECONCILE, **safeguards: Any
) -> Plan:
    """The plan for that situation."""
    return decide(a_situation(workload, live, policy, **safeguards))


def at_rest(
    workload: Workload,
    live: LiveWorkload | None = None,
    policy: OnDrift = OnDrift.RECONCILE,
    readiness: Readiness = SERVING,
) -> Workload:
    """`workload` as a look leaves it that found what was agreed on, serving."""
    known = workload if workload.status.workload_id else agreed(workload, live)
    row = live or answered(declared_document(known))
    return looked_at(known, row, policy, readiness=readiness)


def looked_at(
    workload: Workload,
    live: LiveWorkload | None,
    policy: OnDrift = OnDrift.RECONCILE,
    *,
    readiness: Readiness = SERVING,
    now: datetime = NOW,
    **safeguards: Any,
) -> Workload:
    """`workload` as a whole look leaves it: planned, carried out where the plan says so, recorded, reported."""
    situation = a_situation(workload, live, policy, **safeguards)
    plan = decide(situation)
    live = carried_out(plan, workload, live)
    report = report_of(workload, plan, live, policy, readiness=readiness, now=now)
    report = replace(report, changes=what_is_recorded(situation, plan, live))
    return replace(workload, status=conditions.status(workload, report, now))


def carried_out(plan: Plan, workload: Workload, live: LiveWorkload | None) -> LiveWorkload | None:
    """The row after `plan`, on a platform that takes what it is sent as it is."""
    match plan.step if plan.perform else None:
        case Create(body=body):
            return answered(body)
        case Update(body=body) if live is not None:
            return replace(live, **body)
        case _:
            return live


def what_is_recorded(situation: PlanInput, plan: Plan, live: LiveWorkload | None) -> dict[str, Any]:
    """The fields of the status that outlive a look."""
    fields = records.handled(situation.workload, plan)
    if live is None or plan.reason is Reason.ADOPTION_PENDING:
        return fields
    return fields | records.ours(situation, plan, live)


def report_of(
    workload: Workload,
    plan: Plan,
    live: LiveWorkload | None,
    policy: OnDrift = OnDrift.RECONCILE,
    *,
    readiness: Readiness = SERVING,
    now: datetime = NOW,
) -> conditions.Report:
    """What a look reports that came to `plan`."""
    return replace(
        conditions.verdict(workload, plan, live, readiness),
        readiness=readiness,
        drift=conditions.drift_status(plan, policy, workload.status.drift, now),
        drift_message=conditions.describe(workload, plan) if plan.held else "",
    )
