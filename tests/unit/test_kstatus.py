"""What Flux and Helm's `--wait` make of every verdict: waits while something goes on, fails on what nobody heals, ends.

The expectations are written out: they are what users build pipelines on.
"""

from __future__ import annotations

from itertools import product

import pytest

from inferencekey_operator.api.status import DriftClass
from inferencekey_operator.api.workload import OnDrift, Workload
from inferencekey_operator.errors import Reason
from unit import verdicts
from unit.invariants import check_status
from unit.kstatus import CURRENT, FAILED, IN_PROGRESS, TERMINATING, compute

ALL = dict(verdicts.every_verdict())

W, F, C = IN_PROGRESS, FAILED, CURRENT
POLICIES = {  # Reconcile, Fail, DryRun, Warn, Ignore
    DriftClass.NOT_CREATED: (W, W, W, W, W),
    DriftClass.SPEC_CHANGE: (C, F, W, W, C),
    DriftClass.OUT_OF_BAND: (C, F, C, C, C),
    DriftClass.BOTH: (C, F, W, W, C),
    DriftClass.MISSING: (W, F, W, F, F),
}
GOES_ON = (
    Reason.PROGRESSING,
    Reason.SECRET_NOT_FOUND,
    Reason.SECRET_KEY_NOT_FOUND,
    Reason.PLATFORM_UNREACHABLE,
    Reason.PLATFORM_ERROR,
    Reason.RATE_LIMITED,
    Reason.CONFIG_MAP_REFUSED,
    Reason.DUPLICATE_WORKLOAD,
    Reason.OPERATOR_CONFLICT,
    Reason.DELETING,
)
NOBODY_HEALS = (
    Reason.DRIFT_DETECTED,
    Reason.WORKLOAD_MISSING,
    Reason.CONTESTED,
    Reason.TASK_TYPE_MISMATCH,
    Reason.SLUG_CONFLICT,
    Reason.IDENTITY_CHANGED,
    Reason.SECRET_NOT_ALLOWED,
    Reason.SECRET_IN_SPEC,
    Reason.WRONG_CREDENTIAL_TYPE,
    Reason.TOKEN_MALFORMED,
    Reason.TOKEN_REJECTED,
    Reason.PROJECT_MISMATCH,
    Reason.PROJECT_NOT_SET,
    Reason.SCOPE_INSUFFICIENT,
    Reason.BASE_URL_NOT_ALLOWED,
    Reason.INVALID_POLICY,
    Reason.CONFIG_MAP_CONFLICT,
    Reason.PLATFORM_REFUSED,
)
OTHERS = {
    "phase None": IN_PROGRESS,
    "phase scheduling": IN_PROGRESS,
    "phase provisioning": IN_PROGRESS,
    "phase bootstrapping": IN_PROGRESS,
    "phase ready": CURRENT,
    "phase error": IN_PROGRESS,
    "adoption Never": IN_PROGRESS,
    "adoption IfIdentical": IN_PROGRESS,
    "new": IN_PROGRESS,
    "edited": IN_PROGRESS,
    "stale approval": IN_PROGRESS,
    "approved": CURRENT,
    "task type": FAILED,
    "mass missing": IN_PROGRESS,
    "contested": FAILED,
    "suspended": CURRENT,
    "suspended and edited": IN_PROGRESS,
    "suspended with a plan": IN_PROGRESS,
    "a plan, then an error": IN_PROGRESS,
    "a plan, then a refusal": FAILED,
    "deleted": TERMINATING,
    "deleted while stalled": TERMINATING,
    "deletion held up": TERMINATING,
}
EXPECTED = {
    **{f"{p} {c}": row[i] for c, row in POLICIES.items() for i, p in enumerate(OnDrift)},
    **{f"failed {reason}": IN_PROGRESS for reason in GOES_ON},
    **{f"failed {reason}": FAILED for reason in NOBODY_HEALS},
    **OTHERS,
}


def reason_of(workload: Workload) -> str | None:
    """The reason of Ready."""
    return next((each.reason for each in workload.status.conditions if each.type == "Ready"), None)


def test_every_verdict_has_its_expectation() -> None:
    """The tables above leave out no verdict, and no reason but the one that only an Event has."""
    assert set(EXPECTED) == set(ALL)
    assert {reason_of(workload) for workload in ALL.values()} == {None, *Reason} - {Reason.ORPHANED}


@pytest.mark.parametrize("name", EXPECTED)
def test_what_a_tool_that_waits_makes_of_it(name: str) -> None:
    """InProgress is waited for, Failed ends it at once, Current is done; and the status is a sound one."""
    check_status(ALL[name].status.to_wire())
    assert compute(verdicts.document(ALL[name])) == EXPECTED[name]


def test_what_is_gone_or_not_applied_never_counts_as_done() -> None:
    """Whatever the policy, Ignore of a change aside."""
    gone = product(OnDrift, (DriftClass.NOT_CREATED, DriftClass.MISSING))
    withheld = product((OnDrift.FAIL, OnDrift.DRY_RUN, OnDrift.WARN), (DriftClass.SPEC_CHANGE, DriftClass.BOTH))
    for policy, drift_class in (*gone, *withheld):
        assert EXPECTED[f"{policy} {drift_class}"] != CURRENT


def test_a_resource_without_a_status_counts_as_done() -> None:
    """Why the schema gives a new Workload an observedGeneration of -1: without it, nobody would wait."""
    new = verdicts.document(ALL["new"])
    assert new["status"] == {"observedGeneration": -1}
    assert compute({**new, "status": {}}) == CURRENT
