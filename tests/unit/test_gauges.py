"""What a scrape shows of what stands: Workloads by words of ours, projects up to a bound, and nothing that went."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from inferencekey_operator.api.status import Condition, Drift
from inferencekey_operator.api.workload import Workload, WorkloadStatus
from inferencekey_operator.app.gauges import MOST_PROJECTS, _capped, state
from inferencekey_operator.errors import OperatorError, Reason
from inferencekey_operator.plan import conditions
from inferencekey_operator.plan.conditions import Report
from unit.builders import LATER, NOW, a_workload, at_rest


def reported(workload: Workload, report: Report) -> Workload:
    """The Workload with the status that a report comes to."""
    return replace(workload, status=conditions.status(workload, report, NOW))


def stopped(reason: Reason) -> Workload:
    """A Workload that an error stopped."""
    return reported(a_workload(), conditions.failure(OperatorError(reason, "told")))


def claimed(**status: Any) -> Workload:
    """A Workload whose status somebody wrote by hand."""
    ready = Condition(type="Ready", status="False", reason="Mine", message="", last_transition_time=NOW)
    return a_workload(status=WorkloadStatus(conditions=(ready,), **status))


@pytest.mark.parametrize(
    ("workload", "labels"),
    [
        (a_workload(), ("New", "none", "none")),
        (at_rest(a_workload()), ("Ready", "Ready", "Reconcile")),
        (replace(at_rest(a_workload()), deletion_timestamp=LATER), ("Deleting", "Ready", "Reconcile")),
        (stopped(Reason.TOKEN_REJECTED), ("Stalled", "TokenRejected", "none")),
        (stopped(Reason.PLATFORM_UNREACHABLE), ("Reconciling", "PlatformUnreachable", "none")),
        (stopped(Reason.PLAN_PENDING), ("Waiting", "PlanPending", "none")),
        (
            reported(at_rest(a_workload()), conditions.suspended(at_rest(a_workload()))),
            ("Suspended", "Ready", "Reconcile"),
        ),
        (claimed(drift=Drift(policy="ik_sdk_whatever")), ("Waiting", "other", "other")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_each_workload_is_in_one_state(workload: Workload, labels: tuple[str, str, str]) -> None:
    """State, reason and policy are words of ours, whatever is in the status."""
    assert state(workload) == labels


def test_only_so_many_projects_have_a_series() -> None:
    """Those that are worst have one of their own, the others share one."""
    shown = _capped({f"p{number}": float(number) for number in range(MOST_PROJECTS + 3)}, sum)
    assert len(shown) == MOST_PROJECTS + 1
    assert (shown[("other",)], ("p2",) in shown, ("p3",) in shown) == (3.0, False, True)


def test_few_projects_all_have_one() -> None:
    """Nothing is shared then."""
    assert _capped({"a": 1.0, "b": 2.0}, max) == {("b",): 2.0, ("a",): 1.0}
