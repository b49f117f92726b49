"""Events: what appeared, changed or ended, once, by field and never by value."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inferencekey_operator.api.workload import OnDrift, Readiness, Workload
from inferencekey_operator.errors import OperatorError, Reason
from inferencekey_operator.inferencekey.wire import LiveWorkload
from inferencekey_operator.plan import conditions
from inferencekey_operator.plan.conditions import failure
from inferencekey_operator.plan.events import Done, EventMessage, announce, kept
from unit.builders import (
    NOW,
    SERVING,
    a_live,
    a_workload,
    annotated,
    at_rest,
    carried_out,
    looked_at,
    planned,
    redeclared,
    report_of,
)

RECONCILE, FAIL, DRY_RUN, WARN, IGNORE = OnDrift
CHANGED = a_live(model_name="llama-3-70b", description="theirs")
DECLARED = {"description": "ours"}


def told(
    workload: Workload,
    live: LiveWorkload | None,
    policy: OnDrift = RECONCILE,
    *,
    readiness: Readiness = SERVING,
    **safeguards: Any,
) -> list[EventMessage]:
    """What a look at `live` is worth telling."""
    plan = planned(workload, live, policy, **safeguards)
    after = carried_out(plan, workload, live)
    return announce(workload, report_of(workload, plan, after, policy, readiness=readiness), plan, policy, after)


def notes(events: list[EventMessage]) -> list[tuple[str, str, str]]:
    """Events as kubectl prints them: type, reason, note."""
    return [("Warning" if event.warning else "Normal", event.reason, event.note) for event in events]


def plan_id(workload: Workload, live: LiveWorkload | None, policy: OnDrift, **safeguards: Any) -> str:
    """The id of the plan that is held."""
    return planned(workload, live, policy, **safeguards).plan_id or ""


REST = at_rest(a_workload(DECLARED))
EDITED = redeclared(REST, model="llama-4")
HELD = [
    (a_workload(), None, DRY_RUN, "Normal", "PlanPending", "not created"),
    (REST, CHANGED, WARN, "Warning", "DriftDetected", "model, description changed on the platform"),
    (REST, CHANGED, DRY_RUN, "Warning", "DriftDetected", "model, description changed on the platform"),
    (REST, CHANGED, FAIL, "Warning", "DriftDetected", "model, description changed on the platform"),
    (EDITED, a_live(description="ours"), WARN, "Warning", "PlanPending", "model declared and not applied"),
    (EDITED, a_live(description="ours"), DRY_RUN, "Normal", "PlanPending", "model declared and not applied"),
    (
        EDITED,
        CHANGED,
        WARN,
        "Warning",
        "PlanPending",
        "Changed on the platform: description. Changed on both sides: model",
    ),
    (REST, None, WARN, "Warning", "WorkloadMissing", "missing"),
    (REST, None, DRY_RUN, "Warning", "PlanPending", "missing"),
]


@pytest.mark.parametrize(("workload", "live", "policy", "kind", "reason", "what"), HELD)
def test_a_drift_that_is_held(  # noqa: PLR0917 - one row of a table
    workload: Workload, live: LiveWorkload | None, policy: OnDrift, kind: str, reason: str, what: str
) -> None:
    """What differs, the plan that waits, and the policy that holds it."""
    offered = plan_id(workload, live, policy)

    assert notes(told(workload, live, policy)) == [(kind, reason, f"{what}; plan {offered} held by {policy}")]


@pytest.mark.parametrize(("workload", "live", "policy"), [row[:3] for row in HELD])
def test_never_one_per_look(workload: Workload, live: LiveWorkload | None, policy: OnDrift) -> None:
    """The next look at the same drift has nothing to tell."""
    assert told(looked_at(workload, live, policy), live, policy) == []


@pytest.mark.parametrize(
    ("workload", "live"), [(REST, CHANGED), (EDITED, a_live(description="ours")), (EDITED, CHANGED), (REST, None)]
)
def test_nothing_of_drift_under_ignore(workload: Workload, live: LiveWorkload | None) -> None:
    """Whoever ignores drift does not want to hear of it: not when it comes, nor when it goes."""
    assert told(workload, live, IGNORE) == []
    ended = told(looked_at(workload, live, IGNORE), a_live(model_name=workload.spec.model, description="ours"), IGNORE)
    assert [event for event in ended if event.reason is not Reason.READY or "drift" in event.note] == []


def test_a_drift_that_ends_by_itself() -> None:
    """Somebody set it back, on the platform or in the spec."""
    drifted = looked_at(REST, CHANGED, WARN)

    assert notes(told(drifted, a_live(description="ours"), WARN)) == [
        ("Normal", "Ready", "The drift ended: model, description")
    ]


@pytest.mark.parametrize(
    ("live", "what"),
    [
        (replace(CHANGED, description="ours"), "model changed on the platform"),
        (replace(CHANGED, model_name="yet another"), "model, description changed on the platform"),
        (replace(CHANGED, backend="sglang"), "backend, model, description changed on the platform"),
        (None, "missing"),
    ],
)
def test_a_drift_that_changes(live: LiveWorkload | None, what: str) -> None:
    """Other fields, other values, another class: another plan, and the Event of before names one that is dead."""
    drifted = looked_at(REST, CHANGED, WARN)

    (event,) = told(drifted, live, WARN)

    assert event.warning
    assert event.note == f"{what}; plan {plan_id(drifted, live, WARN)} held by Warn"


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (IGNORE, WARN, [("Warning", "DriftDetected")]),
        (WARN, FAIL, [("Warning", "DriftDetected")]),
        (DRY_RUN, WARN, [("Warning", "DriftDetected")]),
        (WARN, IGNORE, []),
        (WARN, RECONCILE, [("Normal", "DriftRepaired")]),
    ],
)
def test_a_policy_that_changes_over_a_standing_drift(
    before: OnDrift, now: OnDrift, expected: list[tuple[str, str]]
) -> None:
    """Each cell of the policy table has its Event, whatever policy stood there before."""
    drifted = looked_at(REST, CHANGED, before)

    assert [event[:2] for event in notes(told(drifted, CHANGED, now))] == expected


@pytest.mark.parametrize(
    ("workload", "live", "reason", "beginning"),
    [
        (a_workload(), None, "Created", "Created on the platform as wl_1 "),
        (REST, None, "Created", "Created again on the platform as wl_1 "),
        (REST, CHANGED, "DriftRepaired", "model, description changed on the platform, and repaired"),
        (a_workload(), a_live(), "Adopted", "Adopted wl_1 from the platform"),
    ],
)
def test_what_was_carried_out(workload: Workload, live: LiveWorkload | None, reason: str, beginning: str) -> None:
    """One Event per write, with its cause."""
    (event,) = notes(told(workload, live, readiness=Readiness()))

    assert event[:2] == ("Normal", reason)
    assert event[2].startswith(beginning)
    assert "(by policy)" in event[2] or "Adopted" in event[2]


def test_an_edit_that_was_applied_names_its_fields() -> None:
    """By what was declared."""
    (event,) = told(EDITED, a_live(description="ours"))

    assert (event.reason, event.warning) == (Done.UPDATED, False)
    assert "model" in event.note
    assert "description" not in event.note
    assert "(by policy)" in event.note


def test_an_approved_plan_is_told_with_its_id() -> None:
    """Who reads the Events can tell a person's decision from the policy's."""
    offered = plan_id(REST, CHANGED, WARN)

    events = told(annotated(REST, approve_plan=offered), CHANGED, WARN)

    assert [f"(plan {offered}, approved)" in event.note for event in events] == [True]


@pytest.mark.parametrize(
    ("live", "policy", "end"),
    [
        (CHANGED, WARN, "the pending plan is {plan}"),
        (CHANGED, IGNORE, "the pending plan is {plan}"),
        (a_live(description="ours"), WARN, "no plan is pending"),
        (CHANGED, RECONCILE, "no plan is pending"),
    ],
)
def test_an_approval_that_is_refused(live: LiveWorkload, policy: OnDrift, end: str) -> None:
    """PlanStale, a Warning, with the id that applies; under Ignore too, for somebody asked."""
    workload = annotated(REST, approve_plan="0123456789abcdef0123456789abcdef")
    now = plan_id(workload, live, policy)

    refused = [event for event in notes(told(workload, live, policy)) if event[1] == "PlanStale"]

    note = f"The approved plan is not the pending one; {end.format(plan=now)}"
    assert refused == [("Warning", "PlanStale", note)]
    again = told(
        looked_at(workload, live, policy), carried_out(planned(workload, live, policy), workload, live), policy
    )
    assert [event for event in again if event.reason is Reason.PLAN_STALE] == []


def test_ready_at_last() -> None:
    """Told once, when it becomes so."""
    starting = at_rest(a_workload(DECLARED), readiness=Readiness(phase="scheduling"))
    serving = a_live(description="ours")

    assert notes(told(starting, serving)) == [("Normal", "Ready", "Serving")]
    assert told(looked_at(starting, serving), serving) == []


def test_progress_is_no_event() -> None:
    """A phase more is in the status; Events are for what somebody might act on."""
    serving = a_live(description="ours")
    for phase in ("scheduling", "provisioning", "bootstrapping"):
        assert told(REST, serving, readiness=Readiness(phase=phase)) == []


def test_an_error_of_serving_is_told_once() -> None:
    """With the platform's message."""
    serving, broken = a_live(description="ours"), Readiness(phase="error", message="no GPU")

    assert notes(told(REST, serving, readiness=broken)) == [
        ("Warning", "PlatformError", "The platform could not serve it: no GPU")
    ]
    assert told(looked_at(REST, serving, readiness=broken), serving, readiness=broken) == []


def failed(workload: Workload, reason: Reason) -> list[EventMessage]:
    """What a look is worth that an error ended."""
    return announce(workload, failure(OperatorError(reason, "what is, and what to do")), None, None, None)


@pytest.mark.parametrize(
    "reason", [Reason.SECRET_NOT_FOUND, Reason.TOKEN_REJECTED, Reason.IDENTITY_CHANGED, Reason.INVALID_POLICY]
)
def test_what_stops_a_workload_is_told_once(reason: Reason) -> None:
    """A Warning when it begins, and nothing while it lasts."""
    assert notes(failed(REST, reason)) == [("Warning", reason, "what is, and what to do")]
    report = failure(OperatorError(reason, "what is, and what to do"))
    stopped = replace(REST, status=conditions.status(REST, report, NOW))
    assert failed(stopped, reason) == []
    assert failed(stopped, Reason.PLATFORM_REFUSED) != []


def test_a_task_type_that_differs_is_told_without_its_values() -> None:
    """Events name fields, never values."""
    workload = at_rest(a_workload({"task_type": "text2text"}))

    (event,) = told(workload, a_live(task_type="embedding"))

    assert (event.reason, event.warning) == (Reason.TASK_TYPE_MISMATCH, True)
    assert "taskType" in event.note
    assert "embedding" not in event.note
    assert "text2text" not in event.note


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ((), []),
        (
            ("model", "config.x"),
            [("Normal", "DriftTolerated", "The platform keeps its own value for model, config.x")],
        ),
    ],
)
def test_what_the_platform_spells_its_own_way(fields: tuple[str, ...], expected: list[tuple[str, str, str]]) -> None:
    """Settled, and said once: when the write was answered."""
    assert notes(kept(fields)) == expected


def test_many_such_fields_are_not_all_named() -> None:
    """An Event has no room for hundreds."""
    (event,) = kept(tuple(f"config.k{number}" for number in range(500)))

    assert len(event.note) < 256


SECRETS = ["mine-of-declared", "mine-of-live"]
LIVES = st.sampled_from(
    [
        None,
        a_live(description=SECRETS[0]),
        a_live(description=SECRETS[1]),
        a_live(description=SECRETS[1], task_type=SECRETS[1], model_name=SECRETS[1]),
        a_live(config={"a": SECRETS[1]}, execution_policy=SECRETS[1]),
    ]
)


@given(st.lists(st.tuples(LIVES, st.sampled_from(OnDrift)), min_size=1, max_size=5), st.booleans())
@settings(deadline=None)
def test_whatever_happens_notes_hold_no_values(looks: list[tuple[LiveWorkload | None, OnDrift]], typed: bool) -> None:
    """And the second look at the same world tells nothing."""
    spec: dict[str, Any] = {"description": SECRETS[0], "config": {"a": SECRETS[0]}}
    workload = a_workload(spec | ({"task_type": SECRETS[0]} if typed else {}))
    for number, (live, policy) in enumerate(looks):
        events = told(workload, live, policy)
        assert not [event for event in events if any(secret in event.note for secret in SECRETS)]
        now = carried_out(planned(workload, live, policy), workload, live)
        workload = looked_at(workload, live, policy, now=NOW + timedelta(minutes=number))
        assert told(workload, now, policy) == []
