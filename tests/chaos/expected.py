"""What `Ready` may say of a Workload once everything came to rest, by policy.

Out of the design's tables, not out of the operator. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inferencekey_operator.api.workload import OnDrift

_PLAN = {"PlanPending", "PlanStale"}
_WITH_DRIFT: dict[OnDrift, set[str]] = {
    OnDrift.RECONCILE: set(),
    OnDrift.FAIL: {"DriftDetected"},
    OnDrift.DRY_RUN: {"Ready", *_PLAN},
    OnDrift.WARN: {"Ready", *_PLAN},
    OnDrift.IGNORE: {"Ready", "DriftTolerated"},
}
_GONE: dict[OnDrift, set[str]] = {
    OnDrift.RECONCILE: set(),
    OnDrift.FAIL: {"WorkloadMissing"},
    OnDrift.DRY_RUN: _PLAN,
    OnDrift.WARN: {"WorkloadMissing"},
    OnDrift.IGNORE: {"WorkloadMissing"},
}
AT_REST = {"Suspended", "Ready", "DriftTolerated"}
"""Of one that is suspended."""


def reasons(policy: OnDrift, body: Mapping[str, Any], row_id: str | None, *, in_sync: bool) -> set[str]:
    """The reasons that are right; none where it should not be as it is. `row_id`: of the row with its slug."""
    spec, status = body["spec"], body["status"]
    if row_id is None:
        recorded = "workloadId" in status
        return _GONE[policy] if recorded else (_PLAN if policy is OnDrift.DRY_RUN else set())
    if status.get("workloadId") == row_id:
        return {"Ready"} if in_sync else _WITH_DRIFT[policy]
    held = spec.get("adoptionPolicy") == "Never" or (spec.get("adoptionPolicy") == "IfIdentical" and not in_sync)
    return {"AdoptionPending"} if held else (set() if in_sync else _found(policy))


def ready_of(body: Mapping[str, Any]) -> Mapping[str, str]:
    """The condition; empty where there is none yet."""
    conditions = body["status"].get("conditions", [])
    return next((each for each in conditions if each["type"] == "Ready"), {})


def _found(policy: OnDrift) -> set[str]:
    """What is said of a row that was found and differs, before anything was applied to it."""
    return _WITH_DRIFT[policy] - {"Ready"} if policy is not OnDrift.IGNORE else {"Ready", "DriftTolerated"}
