"""What to do, decided without doing it: the drift policies, the safeguards, adoption, and plans that are approved."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inferencekey_operator.api.workload import HandledApproval, OnDrift, Workload
from inferencekey_operator.errors import Actor, Reason
from inferencekey_operator.inferencekey.wire import LiveWorkload
from inferencekey_operator.plan import conditions
from inferencekey_operator.plan.drift import compare, declared_document
from inferencekey_operator.plan.events import announce
from inferencekey_operator.plan.plan import (
    Adopt,
    Create,
    Identity,
    Plan,
    Update,
    create_body,
    decide,
    overlay,
    pending_approval,
    update_body,
)
from unit.builders import (
    LATER,
    PLATFORM,
    a_live,
    a_situation,
    a_workload,
    agreed,
    annotated,
    at_rest,
    carried_out,
    planned,
    redeclared,
    report_of,
)

RECONCILE, FAIL, DRY_RUN, WARN, IGNORE = OnDrift
HOLDING = (FAIL, DRY_RUN, WARN, IGNORE)


def situation_of(drift_class: str) -> tuple[Workload, LiveWorkload | None]:
    """A Workload that was at rest, or is new, and what the platform has when this class of drift came about."""
    before = at_rest(a_workload())
    changed = a_live(model_name="llama-3-70b")
    return {
        "NotCreated": (a_workload(), None),
        "OutOfBand": (before, changed),
        "SpecChange": (redeclared(before, model="llama-4"), a_live()),
        "Both": (redeclared(before, model="llama-4"), changed),
        "Missing": (before, None),
    }[drift_class]


class Cell(NamedTuple):
    """One cell of the policy table, as people see it."""

    does: str
    ready: str
    reason: Reason
    going_on: str
    event: str
    why: str


R = Reason
CREATED = Cell("create", "True", R.READY, "", "Normal", "what was never there is created: nothing is in danger")
TABLE: dict[str, dict[OnDrift, Cell]] = {
    "NotCreated": {
        RECONCILE: CREATED,
        FAIL: CREATED,
        DRY_RUN: Cell("", "False", R.PLAN_PENDING, "", "Normal", "DryRun never changes the platform"),
        WARN: CREATED,
        IGNORE: CREATED,
    },
    "OutOfBand": {
        RECONCILE: Cell("update", "True", R.READY, "", "Normal", "the declaration wins: repaired, and said so"),
        FAIL: Cell("", "False", R.DRIFT_DETECTED, "Stalled", "Warning", "a person must look"),
        DRY_RUN: Cell("", "True", R.READY, "", "Warning", "it serves, and the drift is shown with its plan"),
        WARN: Cell("", "True", R.READY, "", "Warning", "it serves, with a warning"),
        IGNORE: Cell("", "True", R.READY, "", "", "the platform may differ, and nobody wants to hear of it"),
    },
    "SpecChange": {
        RECONCILE: Cell("update", "True", R.READY, "", "Normal", "what is declared is applied"),
        FAIL: Cell("", "False", R.DRIFT_DETECTED, "Stalled", "Warning", "any difference fails"),
        DRY_RUN: Cell("", "False", R.PLAN_PENDING, "", "Normal", "the declaration is not applied: never Ready"),
        WARN: Cell("", "False", R.PLAN_PENDING, "", "Warning", "the declaration is not applied: never Ready"),
        IGNORE: Cell("", "True", R.DRIFT_TOLERATED, "", "", "only Ignore is Ready without the declaration applied"),
    },
    "Both": {
        RECONCILE: Cell("update", "True", R.READY, "", "Normal", "the declaration wins"),
        FAIL: Cell("", "False", R.DRIFT_DETECTED, "Stalled", "Warning", "any difference fails"),
        DRY_RUN: Cell("", "False", R.PLAN_PENDING, "", "Normal", "part of it is a declaration not applied"),
        WARN: Cell("", "False", R.PLAN_PENDING, "", "Warning", "part of it is a declaration not applied"),
        IGNORE: Cell("", "True", R.DRIFT_TOLERATED, "", "", "tolerated as a whole"),
    },
    "Missing": {
        RECONCILE: Cell("re-create", "True", R.READY, "", "Normal", "it is made again"),
        FAIL: Cell("", "False", R.WORKLOAD_MISSING, "Stalled", "Warning", "never Ready for what is gone"),
        DRY_RUN: Cell("", "False", R.PLAN_PENDING, "", "Warning", "a plan to create it again is offered"),
        WARN: Cell("", "False", R.WORKLOAD_MISSING, "Stalled", "Warning", "never Ready for what is gone"),
        IGNORE: Cell("", "False", R.WORKLOAD_MISSING, "Stalled", "", "not even Ignore is Ready for what is gone"),
    },
}


def seen(workload: Workload, plan: Plan, live: LiveWorkload | None, policy: OnDrift) -> Cell:
    """What people see of a plan once it was carried out, or held."""
    live = carried_out(plan, workload, live)
    report = report_of(workload, plan, live, policy, now=LATER)
    status = conditions.status(workload, report, LATER)
    found = {condition.type: condition for condition in status.conditions}
    told = announce(workload, report, plan, policy, live)
    loudest = "Warning" if any(event.warning for event in told) else "Normal" if told else ""
    return Cell(
        does=call_of(plan),
        ready=found["Ready"].status,
        reason=Reason(found["Ready"].reason),
        going_on=" ".join(kind for kind in ("Reconciling", "Stalled") if kind in found),
        event=loudest,
        why="",
    )


def call_of(plan: Plan) -> str:
    """The call that a plan makes, in the words of the table."""
    match plan.step if plan.perform else None:
        case Create(again=again):
            return "re-create" if again else "create"
        case Update():
            return "update"
        case Adopt():
            return "adopt"
        case _:
            return ""


@pytest.mark.parametrize("policy", OnDrift)
@pytest.mark.parametrize("drift_class", TABLE)
def test_the_policy_table(drift_class: str, policy: OnDrift) -> None:
    """Five classes, five policies: what is done, and what Ready, Stalled and the Event say."""
    expected = TABLE[drift_class][policy]
    workload, live = situation_of(drift_class)

    plan = planned(workload, live, policy)

    assert plan.drift_class == drift_class
    assert seen(workload, plan, live, policy) == expected._replace(why=""), expected.why


@pytest.mark.parametrize("policy", OnDrift)
@pytest.mark.parametrize("drift_class", TABLE)
def test_each_write_that_is_withheld_is_a_plan_with_an_id(drift_class: str, policy: OnDrift) -> None:
    """Under every policy, whatever Ready says: the id is there, and so is what would be sent."""
    workload, live = situation_of(drift_class)

    plan = planned(workload, live, policy)

    assert plan.held is (TABLE[drift_class][policy].does == "")
    assert plan.step is not None
    assert plan.plan_id is not None
    assert len(plan.plan_id) == 32
    assert set(plan.plan_id) <= set("0123456789abcdef")


@pytest.mark.parametrize("policy", OnDrift)
def test_nothing_to_do_is_no_plan(policy: OnDrift) -> None:
    """What is as declared is left alone, without an id that could be approved."""
    plan = planned(at_rest(a_workload()), a_live(), policy)

    assert (plan.step, plan.plan_id, plan.drift_class, plan.differences, plan.ready) == (None, None, None, (), True)


@pytest.mark.parametrize("policy", HOLDING)
@pytest.mark.parametrize("drift_class", TABLE)
def test_no_policy_but_reconcile_writes_beyond_creation(drift_class: str, policy: OnDrift) -> None:
    """Fail, DryRun, Warn and Ignore change nothing that is there, and bring back nothing that is gone."""
    workload, live = situation_of(drift_class)

    does = call_of(planned(workload, live, policy))

    assert does == ("create" if drift_class == "NotCreated" and policy is not DRY_RUN else "")


# -- adoption ------------------------------------------------------------------------------------------------------

IDENTICAL, DIFFERENT = a_live(), a_live(model_name="llama-3-70b")
HELD = Cell("", "False", R.ADOPTION_PENDING, "", "Normal", "")
ADOPTED = Cell("adopt", "True", R.READY, "", "Normal", "")
ADOPTION = [
    ("Always", IDENTICAL, RECONCILE, ADOPTED, "what ensure() does"),
    ("Always", IDENTICAL, FAIL, ADOPTED, "nothing differs: nothing fails"),
    ("Always", IDENTICAL, DRY_RUN, ADOPTED, "adopting sends nothing to the platform"),
    ("Always", IDENTICAL, WARN, ADOPTED, "nothing differs"),
    ("Always", IDENTICAL, IGNORE, ADOPTED, "nothing differs"),
    ("Always", DIFFERENT, RECONCILE, TABLE["SpecChange"][RECONCILE], "brought into line"),
    ("Always", DIFFERENT, FAIL, TABLE["SpecChange"][FAIL], "found with differences, nothing applied: SpecChange"),
    ("Always", DIFFERENT, DRY_RUN, TABLE["SpecChange"][DRY_RUN], "compared first"),
    ("Always", DIFFERENT, WARN, TABLE["SpecChange"][WARN], "compared first"),
    ("Always", DIFFERENT, IGNORE, TABLE["SpecChange"][IGNORE], "taken as it is: Ready"),
    *(("IfIdentical", IDENTICAL, policy, ADOPTED, "it is identical") for policy in OnDrift),
    *(
        ("IfIdentical", DIFFERENT, policy, HELD, "it is not: a person decides, whatever the policy")
        for policy in OnDrift
    ),
    *(("Never", IDENTICAL, policy, HELD, "a person decides, even where nothing differs") for policy in OnDrift),
    *(("Never", DIFFERENT, policy, HELD, "a person decides") for policy in OnDrift),
]


@pytest.mark.parametrize(("adoption", "live", "policy", "expected", "why"), ADOPTION)
def test_adoption(adoption: str, live: LiveWorkload, policy: OnDrift, expected: Cell, why: str) -> None:
    """A slug that is there already is adopted, compared or held, as adoptionPolicy and then the drift policy say."""
    workload = a_workload({"adoption_policy": adoption})

    plan = planned(workload, live, policy)

    found = seen(workload, plan, live, policy)
    assert found._replace(event="") == expected._replace(why="", event=""), why
    assert policy is IGNORE or found.event == expected.event
    assert plan.held is (expected.does == "")
    assert plan.plan_id is not None


@pytest.mark.parametrize(("live", "step"), [(IDENTICAL, Adopt), (DIFFERENT, Update)])
def test_a_held_adoption_can_be_approved(live: LiveWorkload, step: type) -> None:
    """It is a plan as any other: the id in the status adopts, and what differs is applied with it."""
    workload = a_workload({"adoption_policy": "Never"})
    offered = planned(workload, live).plan_id or ""

    plan = planned(annotated(workload, approve_plan=offered), live)

    assert (plan.perform, plan.approved) == (True, True)
    assert isinstance(plan.step, step)


def test_what_we_made_is_never_taken_for_found() -> None:
    """adoptionPolicy does not speak of a row that is known, recorded or not."""
    workload = a_workload({"adoption_policy": "Never"})

    assert planned(workload, IDENTICAL, known=True).step is None
    assert call_of(planned(workload, DIFFERENT, known=True)) == "update"


def test_a_recorded_workload_under_another_id_is_found_again() -> None:
    """The slug belongs to another row now: what was last applied says nothing of that one."""
    workload = at_rest(a_workload())

    plan = planned(workload, a_live(id="wl_2", model_name="llama-3-70b"), WARN)

    assert plan.drift_class == "SpecChange"
    assert plan.reason is Reason.PLAN_PENDING


# -- the safeguards ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", OnDrift)
def test_a_fleet_that_vanished_is_not_made_again(policy: OnDrift) -> None:
    """Under Reconcile that is MassMissing, which waits for somebody; the other policies hold it as they do anyway."""
    workload, live = situation_of("Missing")

    plan = planned(workload, live, policy, mass_missing=True)

    expected = Reason.MASS_MISSING if policy is RECONCILE else TABLE["Missing"][policy].reason
    assert (plan.perform, plan.held, plan.ready, plan.reason) == (False, True, False, expected)
    assert Reason.MASS_MISSING.actor is Actor.APPROVER


def test_one_of_a_vanished_fleet_can_be_approved() -> None:
    """ "…until the rows return, or plans are approved": each by its own id."""
    workload, _ = situation_of("Missing")
    offered = planned(workload, None, mass_missing=True).plan_id or ""

    plan = planned(annotated(workload, approve_plan=offered), None, mass_missing=True)

    assert call_of(plan) == "re-create"


def test_the_mass_brake_is_about_what_is_gone() -> None:
    """A row that is there is compared as ever."""
    workload, live = situation_of("OutOfBand")

    assert call_of(planned(workload, live, mass_missing=True)) == "update"


def test_a_contested_repair_is_not_repeated() -> None:
    """Somebody else wants it otherwise: Ready False, Stalled, and a plan that a person may force."""
    workload, live = situation_of("OutOfBand")

    plan = planned(workload, live, contested=True)

    expected = Cell("", "False", R.CONTESTED, "Stalled", "Warning", "")
    assert seen(workload, plan, live, RECONCILE) == expected
    forced = planned(annotated(workload, approve_plan=plan.plan_id or ""), live, contested=True)
    assert call_of(forced) == "update"


@pytest.mark.parametrize(
    ("drift_class", "does"),
    [("SpecChange", "update"), ("Both", "update"), ("Missing", "re-create"), ("NotCreated", "create")],
)
def test_what_a_person_declares_is_not_contested(drift_class: str, does: str) -> None:
    """The brake is about repairs: an edit of the spec is applied, and so is what a repair would ride along with."""
    workload, live = situation_of(drift_class)

    plan = planned(workload, live, contested=True)

    assert call_of(plan) == does
    assert plan == planned(workload, live)


def test_an_edit_ends_a_contest_and_the_next_change_of_the_platforms_is_contested_again() -> None:
    """Contested, then edited and applied; what somebody undoes after that is out of band once more."""
    before, theirs = situation_of("OutOfBand")
    assert planned(before, theirs, contested=True).reason is Reason.CONTESTED

    edited = redeclared(before, model="llama-4")
    assert call_of(planned(edited, theirs, contested=True)) == "update"

    applied = agreed(edited, a_live(model_name="llama-4"))
    assert planned(applied, theirs, contested=True).reason is Reason.CONTESTED


@pytest.mark.parametrize("policy", HOLDING)
def test_what_is_not_repaired_cannot_be_contested(policy: OnDrift) -> None:
    """The brake takes nothing from a policy that holds."""
    workload, live = situation_of("OutOfBand")

    assert planned(workload, live, policy, contested=True) == planned(workload, live, policy)


# -- the task type -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", OnDrift)
def test_a_task_type_that_differs_is_reported_and_never_patched(policy: OnDrift) -> None:
    """The platform cannot change it: no step, no plan, and a Workload that cannot be Ready."""
    workload = at_rest(a_workload({"task_type": "text2text"}))

    plan = planned(workload, a_live(task_type="embedding"), policy)

    assert (plan.step, plan.plan_id, plan.task_type_differs) == (None, None, True)
    assert [difference.leaf.field for difference in plan.differences] == ["taskType"]
    found = seen(workload, plan, a_live(task_type="embedding"), policy)
    assert (found.ready, found.reason, found.going_on) == ("False", Reason.TASK_TYPE_MISMATCH, "Stalled")


def test_the_rest_is_repaired_all_the_same() -> None:
    """Beside a task type that differs, a model that drifted is patched, without the task type."""
    workload = at_rest(a_workload({"task_type": "text2text"}))

    plan = planned(workload, a_live(task_type="embedding", model_name="other"))

    assert plan.step == Update("wl_1", {"model_name": "llama-3"})
    assert plan.perform
    assert seen(workload, plan, a_live(task_type="embedding"), RECONCILE).reason is Reason.TASK_TYPE_MISMATCH


@pytest.mark.parametrize(
    ("declared", "live"), [(None, "embedding"), ("text2text", None), ("forecast", "forecast"), (None, None)]
)
def test_a_task_type_that_one_side_leaves_open_does_not_differ(declared: str | None, live: str | None) -> None:
    """Unset is undeclared in a comparison; and a platform that says nothing contradicts nothing."""
    workload = at_rest(a_workload({"task_type": declared}))

    assert planned(workload, a_live(task_type=live)).differences == ()


@pytest.mark.parametrize(("adoption", "adopted"), [("Always", "adopt"), ("IfIdentical", ""), ("Never", "")])
def test_a_task_type_that_differs_is_not_identical(adoption: str, adopted: str) -> None:
    """IfIdentical means all of it."""
    workload = a_workload({"task_type": "text2text", "adoption_policy": adoption})

    assert call_of(planned(workload, a_live(task_type="embedding"))) == adopted


# -- plans and their approval --------------------------------------------------------------------------------------


def held_plan(policy: OnDrift = WARN, **changes: Any) -> tuple[Workload, LiveWorkload, str]:
    """A Workload with a drift that `policy` holds, what the platform has, and the id that its status shows."""
    workload, live = situation_of("OutOfBand")
    workload, live = replace(workload, **changes), replace(live or a_live())
    return workload, live, planned(workload, live, policy).plan_id or ""


def consumed(workload: Workload, plan: Plan) -> Workload:
    """`workload` after its status recorded what came of the approval that `plan` used up."""
    if plan.approval is None:
        return workload
    result = "Applied" if plan.approved else "PlanStale"
    handled = HandledApproval(plan_id=plan.approval, result=result)
    applied = workload.status.plans_applied + plan.approved
    return replace(workload, status=replace(workload.status, last_handled_approval=handled, plans_applied=applied))


@pytest.mark.parametrize("policy", HOLDING)
@pytest.mark.parametrize("drift_class", TABLE)
def test_the_exact_id_applies_exactly_that(drift_class: str, policy: OnDrift) -> None:
    """Whatever is held under whatever policy: its id, as shown, performs the step that was shown."""
    workload, live = situation_of(drift_class)
    held = planned(workload, live, policy)

    plan = planned(annotated(workload, approve_plan=held.plan_id or ""), live, policy)

    assert (plan.perform, plan.approved, plan.stale) == (True, True, False)
    assert (plan.step, plan.plan_id, plan.differences) == (held.step, held.plan_id, held.differences)


def test_an_approval_applies_once() -> None:
    """The annotation stays; the drift that comes again has another id, and is held."""
    workload, live, offered = held_plan()
    approved = annotated(workload, approve_plan=offered)
    after = consumed(approved, planned(approved, live, WARN))

    again = planned(after, live, WARN)

    assert again.held
    assert pending_approval(after) is None
    assert again.plan_id != offered


def test_a_recurring_drift_can_be_approved_again() -> None:
    """By its new id, however often it comes."""
    workload, live, offered = held_plan()
    ids = {offered}
    for _ in range(5):
        workload = annotated(workload, approve_plan=offered)
        plan = planned(workload, live, WARN)
        assert plan.approved
        workload = consumed(workload, plan)
        offered = planned(workload, live, WARN).plan_id or ""
        assert offered not in ids
        ids.add(offered)


STALE: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("the platform moved once more", {}, {"model_name": "llama-3-8b"}),
    ("the platform moved elsewhere, too", {}, {"backend": "sglang"}),
    ("the row was replaced by another one", {"status": "wl_2"}, {"id": "wl_2"}),
    ("the spec was edited since", {"generation": 2}, {}),
    ("the object was restored from a backup, or made anew", {"uid": "another"}, {}),
    ("another plan was applied since", {"plans_applied": 1}, {}),
]


@pytest.mark.parametrize(("why", "changes", "row"), STALE)
def test_an_approval_of_anything_else_is_stale(why: str, changes: dict[str, Any], row: dict[str, Any]) -> None:
    """Nothing is applied, and the new id stands beside the refusal."""
    workload, live, offered = held_plan()
    counted = replace(workload.status, plans_applied=changes.get("plans_applied", 0))
    status = replace(counted, workload_id=changes.get("status", "wl_1"))
    moved = {key: value for key, value in changes.items() if key in ("generation", "uid")}
    workload = annotated(replace(workload, status=status, **moved), approve_plan=offered)

    plan = planned(workload, replace(live, **row), WARN)

    assert (plan.perform, plan.approved, plan.stale, plan.approval) == (False, False, True, offered), why
    assert plan.plan_id != offered


def test_an_approval_for_another_place_is_stale() -> None:
    """The identity is part of a plan: the same words about another project approve nothing there."""
    workload, live, offered = held_plan()
    situation = a_situation(annotated(workload, approve_plan=offered), live, WARN)

    plan = decide(replace(situation, identity=Identity(PLATFORM, "staging", "support-bot")))

    assert plan.stale


def test_the_id_that_is_shown_beside_a_refusal_is_the_one_that_applies() -> None:
    """After PlanStale the new id is approved in its turn, although the refused one was recorded in between."""
    workload, live, _ = held_plan()
    workload = annotated(workload, approve_plan="0123456789abcdef0123456789abcdef")
    refused = planned(workload, live, WARN)
    workload = consumed(workload, refused)
    assert planned(workload, live, WARN).plan_id == refused.plan_id

    plan = planned(annotated(workload, approve_plan=refused.plan_id or ""), live, WARN)

    assert plan.approved


def test_a_refused_id_never_blocks_a_plan() -> None:
    """The platform moves away and back between the look and the approval: what is shown then can be approved."""
    workload, live, offered = held_plan()
    workload = annotated(workload, approve_plan=offered)
    elsewhere = replace(live, model_name="elsewhere")
    workload = consumed(workload, planned(workload, elsewhere, WARN))

    back = planned(workload, live, WARN)
    plan = planned(annotated(workload, approve_plan=back.plan_id or ""), live, WARN)

    assert back.plan_id != offered
    assert plan.approved


def test_a_refusal_stands_as_long_as_the_annotation_does() -> None:
    """The next look, at which nothing happened, comes to the same verdict."""
    workload, live, _ = held_plan()
    workload = annotated(workload, approve_plan="0123456789abcdef0123456789abcdef")
    first = planned(workload, live, WARN)

    second = planned(consumed(workload, first), live, WARN)

    assert (first.approval, second.approval) == ("0123456789abcdef0123456789abcdef", None)
    assert replace(second, approval=first.approval) == first


def test_an_approval_that_was_lost_on_the_way_is_tried_again() -> None:
    """A call that failed consumed nothing: the same id applies at the next look."""
    workload, live, offered = held_plan()
    workload = annotated(workload, approve_plan=offered)

    assert planned(workload, live, WARN).approved
    assert planned(workload, live, WARN).approved


def test_an_approval_of_what_the_policy_does_anyway_is_used_up() -> None:
    """Approved and set to Reconcile in one edit: it is carried out, once, as approved."""
    workload, live, offered = held_plan()

    plan = planned(annotated(workload, approve_plan=offered), live, RECONCILE)

    assert (plan.perform, plan.approved, plan.stale) == (True, True, False)


def test_a_wrong_approval_does_not_stop_what_the_policy_does() -> None:
    """Reconcile repairs all the same; the approval is used up and refused."""
    workload, live, _ = held_plan()

    plan = planned(annotated(workload, approve_plan="0123456789abcdef0123456789abcdef"), live, RECONCILE)

    assert (plan.perform, plan.approved, plan.stale) == (True, False, True)


def test_an_approval_while_nothing_differs_is_used_up() -> None:
    """It cannot lie in wait for a drift of tomorrow."""
    workload = annotated(at_rest(a_workload()), approve_plan="0123456789abcdef0123456789abcdef")

    plan = planned(workload, a_live(), WARN)
    later = planned(consumed(workload, plan), a_live(model_name="other"), WARN)

    assert (plan.approval, plan.approved, plan.perform) == ("0123456789abcdef0123456789abcdef", False, False)
    assert (later.approved, later.approval) == (False, None)


@pytest.mark.parametrize(
    ("annotation", "handled", "pending"),
    [
        (None, None, None),
        ("", None, None),
        ("aa", None, "aa"),
        ("aa", "aa", None),
        ("bb", "aa", "bb"),
        (None, "aa", None),
    ],
)
def test_what_is_pending(annotation: str | None, handled: str | None, pending: str | None) -> None:
    """An approval that was not consumed yet; an empty annotation approves nothing."""
    workload = a_workload()
    if annotation is not None:
        workload = annotated(workload, approve_plan=annotation)
    if handled:
        done = HandledApproval(plan_id=handled, result="Applied")
        workload = replace(workload, status=replace(workload.status, last_handled_approval=done))

    assert pending_approval(workload) == pending


@given(st.permutations(["a", "b", "c"]), st.sampled_from([1, 1.0]), st.sampled_from([7, 7.0]))
@settings(deadline=None)
def test_an_id_does_not_depend_on_spelling(order: list[str], declared: float, live: float) -> None:
    """Neither the order of keys, on either side, nor integers written as floats make another plan."""

    def plan(keys: list[str], one: float, seven: float) -> Plan:
        config = {key: {"x": one, "y": [one]} for key in keys}
        workload = a_workload({"config": config, "execution_policy_config": dict.fromkeys(keys, one)})
        row = a_live(config={key: {"y": [seven], "x": seven} for key in reversed(keys)})
        return planned(replace(workload, status=replace(agreed(workload).status, last_applied=())), row, WARN)

    one, other = plan(order, declared, live), plan(["a", "b", "c"], 1, 7)

    assert one.plan_id == other.plan_id
    assert [difference.leaf.field for difference in one.differences] == [
        difference.leaf.field for difference in other.differences
    ]


def test_the_id_of_a_creation_is_that_of_what_would_be_sent() -> None:
    """Another spec of the same generation (a test cluster restored) is another plan."""
    one = planned(a_workload({"command": "a"}), None, DRY_RUN)
    other = planned(a_workload({"command": "b"}), None, DRY_RUN)

    assert one.plan_id != other.plan_id


# -- what is sent --------------------------------------------------------------------------------------------------


def test_a_creation_sends_the_declaration_and_always_a_task_type() -> None:
    """text2text where none is declared; optional fields only where they are."""
    assert create_body(declared_document(a_workload())) == {
        "name": "support-bot",
        "slug": "support-bot",
        "task_type": "text2text",
        "backend": "vllm",
        "model_name": "llama-3",
    }
    assert create_body(declared_document(a_workload({"task_type": "embedding"})))["task_type"] == "embedding"


AUTOSCALING = {"min_workers": 0, "max_workers": 5, "max_hourly_cost_usd": 5.0}
BODIES: list[tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ("only what drifted", {"description": "d"}, {"description": "x"}, {"description": "d"}),
    (
        "a config is the live one overlaid with the declared",
        {"command": "run", "config": {"a": {"b": 1}}},
        {"config": {"command": "old", "a": {"b": 0, "c": 2}, "own": True}},
        {"config": {"command": "run", "a": {"b": 1, "c": 2}, "own": True}},
    ),
    (
        "an array in it goes whole",
        {"config": {"args": [1]}},
        {"config": {"args": [1, 2], "own": True}},
        {"config": {"args": [1], "own": True}},
    ),
    (
        "an object takes the place of what is none",
        {"config": {"a": {"b": 1}}},
        {"config": {"a": "text"}},
        {"config": {"a": {"b": 1}}},
    ),
    ("null declares nothing", {"config": {"a": 1, "b": None}}, {"config": {"b": 5}}, {"config": {"a": 1, "b": 5}}),
    (
        "the policy's config is overlaid while its kind stays",
        {"execution_policy": "fixed", "execution_policy_config": {"replicas": 2}},
        {"execution_policy_config": {"replicas": 1, "own": True}},
        {"execution_policy_config": {"replicas": 2, "own": True}},
    ),
    (
        "another kind takes its config along, as declared: the old one's keys are not for it",
        {"execution_policy": "autoscaling", "execution_policy_config": AUTOSCALING},
        {"execution_policy_config": {"replicas": 1}},
        {"execution_policy": "autoscaling", "execution_policy_config": AUTOSCALING},
    ),
    (
        "also where that config does not differ",
        {"execution_policy": "autoscaling", "execution_policy_config": AUTOSCALING},
        {"execution_policy_config": {**AUTOSCALING, "replicas": 1}},
        {"execution_policy": "autoscaling", "execution_policy_config": AUTOSCALING},
    ),
    (
        "a kind without a declared config goes alone",
        {"execution_policy": "scheduled"},
        {"execution_policy_config": {"replicas": 1}},
        {"execution_policy": "scheduled"},
    ),
]


@pytest.mark.parametrize(("why", "spec", "row", "body"), BODIES)
def test_an_update_sends(why: str, spec: dict[str, Any], row: dict[str, Any], body: dict[str, Any]) -> None:
    """One PATCH with the fields that differ, and nothing else."""
    declared, live = declared_document(a_workload(spec)), a_live(**row)

    assert update_body(declared, live, compare(declared, live, ()).differences) == body, why


def test_what_is_settled_is_not_sent() -> None:
    """A value that the platform normalised is no part of the repair of another field."""
    workload = a_workload({"description": "d"})
    workload = agreed(workload, a_live(description="D!"))

    plan = planned(workload, a_live(description="D!", model_name="other"))

    assert plan.step == Update("wl_1", {"model_name": "llama-3"})


def test_nothing_is_sent_into_the_live_row() -> None:
    """An overlay is a new object: rows are shared by all that look."""
    live = a_live(config={"a": {"b": 0}})
    declared = declared_document(a_workload({"config": {"a": {"b": 1}}}))

    update_body(declared, live, compare(declared, live, ()).differences)

    assert live.config == {"a": {"b": 0}}


OBJECTS = st.recursive(
    st.none() | st.integers(0, 3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
CONFIGS = st.dictionaries(st.sampled_from("abc"), OBJECTS, max_size=3)


@given(CONFIGS, CONFIGS)
@settings(deadline=None)
def test_a_platform_that_takes_a_patch_as_it_is_has_no_drift_left(above: Any, below: Any) -> None:
    """Whatever was there: one PATCH is enough, and loses none of the platform's own keys."""
    sent = overlay(below, above)
    differences = compare({"config": above}, a_live(config=sent), ()).differences

    assert differences == ()
    assert set(below) <= set(sent)


def test_the_situation_decides_and_nothing_else() -> None:
    """The same situation comes to the same plan, id included."""
    workload, live = situation_of("Both")

    assert planned(workload, live, WARN) == planned(workload, live, WARN)
