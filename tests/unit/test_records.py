"""What a status remembers after a look."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from inferencekey_operator.api.status import EndpointStatus, HandledApproval, WorkloadStatus
from inferencekey_operator.api.workload import FINALIZER, EndpointSpec, OnDrift, Workload
from inferencekey_operator.plan.drift import applied_records
from inferencekey_operator.plan.plan import decide
from inferencekey_operator.plan.records import handled, ours
from unit.builders import (
    PLATFORM,
    SECRET_HALF,
    TOKEN,
    a_live,
    a_situation,
    a_workload,
    agreed,
    annotated,
    at_rest,
    carried_out,
    planned,
    redeclared,
)
from unit.invariants import MOST_BYTES

WARN = OnDrift.WARN
DRIFTED = a_live(model_name="theirs")


def recorded(workload: Workload, live: Any, policy: OnDrift = OnDrift.RECONCILE, **safeguards: Any) -> dict[str, Any]:
    """What a whole look at `live` leaves about the row."""
    situation = a_situation(workload, live, policy, **safeguards)
    plan = decide(situation)
    after = carried_out(plan, workload, live)
    assert after is not None
    return ours(situation, plan, after)


def test_a_former_config_map_is_remembered_until_it_went() -> None:
    """Else nobody would ever delete it."""
    status = WorkloadStatus(workload_id="wl_1", endpoint=EndpointStatus(url="u", config_map_name="former"))
    workload = a_workload({"endpoint": EndpointSpec(config_map_name="latter")}, status=status)
    situation = a_situation(workload, a_live())
    plan = decide(situation)
    assert ours(situation, plan, a_live(), published=False)["endpoint"].config_map_name == "former"
    assert ours(situation, plan, a_live(), published=True)["endpoint"].config_map_name == "latter"


def test_the_row_becomes_this_workloads() -> None:
    """Its id, the identity that is pinned from now on, and where it is reached."""
    fields = recorded(a_workload({"endpoint": EndpointSpec(config_map_name="where")}), None)

    assert (fields["workload_id"], fields["adopted"]) == ("wl_1", False)
    assert (fields["platform_url"], fields["project_slug"], fields["workload_slug"]) == (
        PLATFORM,
        "prod",
        "support-bot",
    )
    assert fields["endpoint"].url == f"{PLATFORM}/endpoint/prod/support-bot"
    assert fields["endpoint"].config_map_name == "where"


@pytest.mark.parametrize(
    ("workload", "live", "safeguards", "adopted", "why"),
    [
        (a_workload(), None, {}, False, "it was made here"),
        (a_workload(), a_live(), {}, True, "it was there already"),
        (a_workload(), DRIFTED, {}, True, "also where it had to be brought into line"),
        (a_workload(finalizers=(FINALIZER,)), a_live(), {"known": True}, False, "made here, and the answer was lost"),
        (agreed(a_workload()), a_live(), {}, False, "what was made stays made"),
        (agreed(a_workload(), adopted=True), a_live(), {}, True, "what was found stays found"),
        (agreed(a_workload(), adopted=True), DRIFTED, {}, True, "also after a repair"),
        (agreed(a_workload(), adopted=True), None, {}, False, "what is made again was made here"),
        (agreed(a_workload()), a_live(id="wl_2"), {}, True, "another row under the slug was found"),
    ],
)
def test_what_was_made_and_what_was_found(
    workload: Workload, live: Any, safeguards: dict[str, Any], adopted: bool, why: str
) -> None:
    """What was made is deleted with its Workload one day, what was found is left: it must not be mixed up."""
    assert recorded(workload, live, **safeguards)["adopted"] is adopted, why


def test_a_write_is_remembered_with_its_answer() -> None:
    """What was declared, and what the platform made of it."""
    workload = redeclared(at_rest(a_workload({"description": "d"})), model="llama-4")
    situation = a_situation(workload, a_live(description="d"))
    answer = a_live(model_name="LLAMA-4", description="d")

    fields = ours(situation, decide(situation), answer)

    assert fields["last_applied"] == applied_records(situation.declared, answer)


def test_a_write_does_not_hide_what_it_did_not_send() -> None:
    """What moved on the platform between the list and the answer is still drift at the next look."""
    workload = redeclared(at_rest(a_workload({"description": "d"})), model="llama-4")
    situation = a_situation(workload, a_live(description="d"))
    answer = a_live(model_name="llama-4", description="theirs")

    fields = ours(situation, decide(situation), answer)
    later = replace(workload, status=replace(workload.status, **fields))

    assert planned(later, answer, WARN).drift_class == "OutOfBand"


def test_records_stand_in_one_order() -> None:
    """That of the fields: a write that renews some of them is not followed by another that only sorts."""
    workload = redeclared(at_rest(a_workload({"description": "d", "worker_id": "w"})), model="llama-4", worker_id="v")
    live = a_live(description="d", worker_id="w")

    fields = [record.field for record in recorded(workload, live)["last_applied"]]

    assert fields == ["name", "backend", "model", "description", "workerId"]


def test_what_is_held_is_not_remembered_as_applied() -> None:
    """The record of what differs stays that of then, so that the class is the same tomorrow."""
    workload = at_rest(a_workload())

    held = recorded(redeclared(workload, model="llama-4"), a_live(), WARN)["last_applied"]

    assert held == workload.status.last_applied


def test_what_was_found_is_compared_and_not_applied() -> None:
    """What agrees is agreed on; what differs has no record, and is SpecChange until it is applied."""
    found = recorded(a_workload(), DRIFTED, WARN)["last_applied"]

    assert {record.field for record in found} == {"name", "backend"}


@pytest.mark.parametrize("policy", [WARN, OnDrift.RECONCILE])
def test_an_approval_that_was_carried_out_is_counted(policy: OnDrift) -> None:
    """So that its id can never come again."""
    workload = at_rest(a_workload())
    workload = annotated(workload, approve_plan=planned(workload, DRIFTED, WARN).plan_id or "")

    fields = handled(workload, planned(workload, DRIFTED, policy))

    approval = workload.annotations["inferencekey.com/approve-plan"]
    assert fields == {"last_handled_approval": HandledApproval(plan_id=approval, result="Applied"), "plans_applied": 1}


@pytest.mark.parametrize("counted", [2**63 - 1, 2**53 - 1])
def test_a_counter_that_hands_brought_to_its_end_begins_anew(counted: int) -> None:
    """One more would be a status that the API server refuses, at each look again."""
    workload = at_rest(a_workload())
    workload = replace(workload, status=replace(workload.status, plans_applied=counted))
    workload = annotated(workload, approve_plan=planned(workload, DRIFTED, WARN).plan_id or "")

    fields = handled(workload, planned(workload, DRIFTED, WARN))

    assert 0 <= fields["plans_applied"] < 2**53
    assert fields["plans_applied"] != counted


@pytest.mark.parametrize("live", [DRIFTED, a_live()])
def test_an_approval_of_another_plan_is_used_up(live: Any) -> None:
    """Recorded as refused, and not counted as applied."""
    workload = annotated(at_rest(a_workload()), approve_plan="0123456789abcdef0123456789abcdef")

    assert handled(workload, planned(workload, live, WARN)) == {
        "last_handled_approval": HandledApproval(plan_id="0123456789abcdef0123456789abcdef", result="PlanStale")
    }


def test_without_a_word_nothing_is_recorded() -> None:
    """Neither of approvals nor of requests; a request that was handled is recorded as it is."""
    workload = at_rest(a_workload())
    asked = annotated(workload, reconcile_requested_at="2026-03-02T10:41:32Z")

    assert handled(workload, planned(workload, a_live())) == {}
    assert handled(asked, planned(asked, a_live())) == {"last_handled_reconcile_at": "2026-03-02T10:41:32Z"}


def test_what_people_typed_is_recorded_in_bounds() -> None:
    """An annotation may be long, and may be the wrong thing pasted: the status stays small and shows no token."""
    body = {
        "metadata": {
            "namespace": "a",
            "name": "b",
            "uid": "c",
            "resourceVersion": "1",
            "generation": 1,
            "creationTimestamp": "2026-03-02T10:41:32Z",
            "annotations": {
                "inferencekey.com/reconcile-requested-at": f"{TOKEN} {'x' * 200_000}",
                "inferencekey.com/approve-plan": f"{TOKEN}{'x' * 200_000}",
            },
        },
        "spec": {"model": "llama-3", "backend": "vllm"},
    }
    workload = Workload.parse(body)

    fields = handled(workload, planned(workload, a_live()))

    written = replace(workload.status, **fields).to_wire()
    assert len(str(written)) < MOST_BYTES / 16
    assert SECRET_HALF not in str(written)
    assert handled(replace(workload, status=replace(workload.status, **fields)), planned(workload, a_live())) == fields
