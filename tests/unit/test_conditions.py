"""From what a look found to the whole status: kstatus, words with commands, and silence while nothing happens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inferencekey_operator.api.workload import (
    Condition,
    DriftClass,
    EndpointStatus,
    OnDrift,
    Readiness,
    Workload,
    WorkloadStatus,
)
from inferencekey_operator.errors import Actor, ConfigurationError, OperatorError, PlatformFailure, Reason
from inferencekey_operator.inferencekey.wire import LiveWorkload
from inferencekey_operator.plan import conditions
from inferencekey_operator.plan.conditions import Report, condition, failure, may_idle, suspended
from inferencekey_operator.plan.drift import applied_records, declared_document
from unit.builders import (
    LATER,
    NOW,
    SECRET_HALF,
    TOKEN,
    a_live,
    a_workload,
    agreed,
    annotated,
    answered,
    at_rest,
    carried_out,
    looked_at,
    planned,
    redeclared,
    report_of,
)
from unit.invariants import broken_rules, check_status

RECONCILE, FAIL, DRY_RUN, WARN, IGNORE = OnDrift
DRIFTED = a_live(model_name="llama-3-70b", config={"command": "theirs"})
DECLARES_A_COMMAND = {"command": "ours"}


def words(workload: Workload) -> dict[str, tuple[str, str]]:
    """Each condition's status and reason."""
    return {found.type: (found.status, found.reason) for found in workload.status.conditions}


def message(workload: Workload, kind: str) -> str:
    """What a condition says."""
    found = condition(workload.status, kind)
    assert found is not None
    return found.message


def reported(workload: Workload, report: Report, now: Any = NOW) -> Workload:
    """`workload` with the status that `report` comes to."""
    return replace(workload, status=conditions.status(workload, report, now))


def refused(reason: Reason = Reason.SECRET_NOT_FOUND) -> Report:
    """A look that an error ended."""
    return failure(OperatorError(reason, f"{reason}, and what to do"))


# -- kstatus -------------------------------------------------------------------------------------------------------


def test_a_workload_at_rest() -> None:
    """Ready, in sync, serving, and not a word more."""
    workload = at_rest(a_workload())

    assert words(workload) == {
        "Ready": ("True", "Ready"),
        "Drifted": ("False", "InSync"),
        "Serving": ("True", "Ready"),
    }
    assert workload.status.drift.policy == "Reconcile"
    assert workload.status.drift.drift_class is None
    check_status(workload.status.to_wire())


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason.actor is not Actor.NOBODY])
def test_who_acts_next_decides_between_reconciling_and_stalled(reason: Reason) -> None:
    """What heals by itself is Reconciling, what a person must mend Stalled, a decision that is offered neither."""
    workload = reported(at_rest(a_workload()), refused(reason))

    going_on = {kind: found for kind, found in words(workload).items() if kind in ("Reconciling", "Stalled")}
    wanted = {Actor.PLATFORM: "Reconciling", Actor.PERSON: "Stalled"}.get(reason.actor)
    assert words(workload)["Ready"] == ("False", reason)
    assert going_on == ({wanted: ("True", reason)} if wanted else {})
    assert {message(workload, kind) for kind in ["Ready", *going_on]} == {f"{reason}, and what to do"}
    check_status(workload.status.to_wire())


@pytest.mark.parametrize(
    ("readiness", "ready", "serving", "why"),
    [
        (Readiness(), ("False", "Progressing"), ("Unknown", "Unknown"), "the platform told nothing yet"),
        (Readiness(phase="scheduling"), ("False", "Progressing"), ("False", "Scheduling"), "it looks for a place"),
        (Readiness(phase="provisioning"), ("False", "Progressing"), ("False", "Provisioning"), "it gets a machine"),
        (Readiness(phase="bootstrapping"), ("False", "Progressing"), ("False", "Bootstrapping"), "it loads"),
        (Readiness(phase="ready"), ("True", "Ready"), ("True", "Ready"), "it serves"),
        (Readiness(phase="error", message="no GPU"), ("False", "PlatformError"), ("False", "Error"), "it failed"),
        (Readiness(phase="thawing"), ("False", "Progressing"), ("False", "Progressing"), "a word newer than this code"),
    ],
)
def test_readiness(readiness: Readiness, ready: tuple[str, str], serving: tuple[str, str], why: str) -> None:
    """Ready waits until the platform reports it serving; Serving has the phase as its reason."""
    workload = at_rest(a_workload(), readiness=readiness)

    assert (words(workload)["Ready"], words(workload)["Serving"]) == (ready, serving), why
    assert ("Reconciling" in words(workload)) is (ready[0] == "False")
    check_status(workload.status.to_wire())


def test_an_error_phase_says_the_platforms_message() -> None:
    """What the platform has to say is what people need."""
    workload = at_rest(a_workload(), readiness=Readiness(phase="error", message="model not found on the hub"))

    assert "model not found on the hub" in message(workload, "Ready")
    assert "model not found on the hub" in message(workload, "Serving")


def test_step_and_message_of_a_phase_are_shown() -> None:
    """Loading takes minutes: people want to see which part."""
    workload = at_rest(a_workload(), readiness=Readiness(phase="bootstrapping", step="weights", message="3 of 8"))

    assert message(workload, "Ready") == "Bootstrapping on the platform: weights: 3 of 8"


@pytest.mark.parametrize(
    ("policy", "config", "idle", "why"),
    [
        ("scheduled", {}, True, "outside its window nothing runs"),
        ("autoscaling", {"min_workers": 0}, True, "it scales to nothing"),
        ("autoscaling", {"min_workers": 0.0}, True, "however it is written"),
        ("autoscaling", {"min_workers": 1}, False, "one worker stays"),
        ("autoscaling", {}, False, "nothing says that it may"),
        ("autoscaling", {"min_workers": None}, False, "null says nothing"),
        ("fixed", {"min_workers": 0}, False, "always on"),
        (None, {}, False, "the platform does not say"),
    ],
)
def test_what_may_idle(policy: str | None, config: dict[str, Any], idle: bool, why: str) -> None:
    """By the live policy, not by the declared one."""
    live = a_live(execution_policy=policy, execution_policy_config=config)

    assert may_idle(live) is idle, why


@pytest.mark.parametrize("phase", [None, "scheduling", "provisioning", "bootstrapping", "ready"])
def test_what_may_idle_is_ready_at_rest(phase: str | None) -> None:
    """Accepted without an error is enough; Serving says the rest."""
    live = a_live(execution_policy="scheduled")

    workload = at_rest(a_workload(), live, readiness=Readiness(phase=phase))

    assert words(workload)["Ready"] == ("True", "Ready")
    assert words(workload)["Serving"][0] == {None: "Unknown", "ready": "True"}.get(phase, "False")
    check_status(workload.status.to_wire())


def test_what_may_idle_is_not_ready_with_an_error() -> None:
    """An error is one, whatever runs."""
    live = a_live(execution_policy="scheduled")

    assert words(at_rest(a_workload(), live, readiness=Readiness(phase="error")))["Ready"][0] == "False"


def test_serving_is_said_of_what_exists() -> None:
    """Before there is a workload, nobody waits for one to serve."""
    assert "Serving" not in words(reported(a_workload(), refused()))
    assert "Serving" not in words(looked_at(a_workload(), None, DRY_RUN))
    assert "Serving" in words(looked_at(a_workload(), None))


def test_a_tolerated_drift_is_ready_by_its_own_word() -> None:
    """Only Ignore is Ready for a declaration that was not applied, and says so."""
    workload = looked_at(redeclared(at_rest(a_workload()), model="llama-4"), a_live(), IGNORE)

    assert words(workload)["Ready"] == ("True", "DriftTolerated")
    assert words(workload)["Drifted"] == ("True", "SpecChange")
    check_status(workload.status.to_wire())


def test_a_drift_that_is_held_beside_a_serving_workload() -> None:
    """Ready says where to look; Drifted says what and how."""
    workload = looked_at(at_rest(a_workload(DECLARES_A_COMMAND)), DRIFTED, DRY_RUN)

    assert words(workload)["Ready"] == ("True", "Ready")
    assert message(workload, "Ready") == "Serving. A drift is held, see Drifted"
    assert words(workload)["Drifted"] == ("True", "OutOfBand")
    assert message(workload, "Drifted").startswith("Changed on the platform: model, command. ")
    check_status(workload.status.to_wire())


def test_a_drift_that_is_held_does_not_hide_that_nothing_serves() -> None:
    """A policy that lets a drift be Ready speaks of the drift alone."""
    workload = looked_at(at_rest(a_workload()), a_live(model_name="x"), WARN, readiness=Readiness(phase="scheduling"))

    assert words(workload)["Ready"] == ("False", "Progressing")
    assert words(workload)["Drifted"] == ("True", "OutOfBand")


# -- words ---------------------------------------------------------------------------------------------------------


def situations() -> list[tuple[str, Workload, LiveWorkload | None, OnDrift, dict[str, Any]]]:
    """Every kind of plan that can be withheld."""
    rest = at_rest(a_workload(DECLARES_A_COMMAND))
    never = a_workload({"adoption_policy": "Never"})
    return [
        ("not created", a_workload(), None, DRY_RUN, {}),
        ("changed on the platform", rest, DRIFTED, WARN, {}),
        ("changed on the platform, failing", rest, DRIFTED, FAIL, {}),
        ("ignored", rest, DRIFTED, IGNORE, {}),
        (
            "declared and not applied",
            redeclared(rest, model="llama-4"),
            answered(declared_document(rest)),
            WARN,
            {},
        ),
        ("both", redeclared(rest, model="llama-4"), DRIFTED, DRY_RUN, {}),
        ("missing", rest, None, FAIL, {}),
        ("missing en masse", rest, None, RECONCILE, {"mass_missing": True}),
        ("contested", rest, DRIFTED, RECONCILE, {"contested": True}),
        ("found as declared", never, a_live(), RECONCILE, {}),
        ("found with differences", never, DRIFTED, RECONCILE, {}),
    ]


KEEP = "To keep the platform's values, put them in the spec."
HELD = situations()
HELD_NAMES = [row[0] for row in HELD]


@pytest.mark.parametrize(("workload", "live", "policy", "safeguards"), [row[1:] for row in HELD], ids=HELD_NAMES)
def test_a_plan_that_is_held_comes_with_the_command_that_approves_it(
    workload: Workload, live: LiveWorkload | None, policy: OnDrift, safeguards: dict[str, Any]
) -> None:
    """To be typed as it stands, from the condition that people look at."""
    after = looked_at(workload, live, policy, **safeguards)

    plan_id = after.status.drift.plan_id
    command = f"kubectl annotate ikw/support-bot -n team-a --overwrite inferencekey.com/approve-plan={plan_id}"
    not_ready = words(after)["Ready"][0] == "False"
    assert plan_id == planned(workload, live, policy, **safeguards).plan_id
    assert message(after, "Ready" if not_ready else "Drifted").endswith(command)
    assert after.status.drift.since == NOW
    check_status(after.status.to_wire())


def with_config_applied(workload: Workload) -> Workload:
    """`workload` with its config agreed on, where anything was: whatever differs in it, the platform moved."""
    declared = declared_document(workload)
    config = [record for record in applied_records(declared, answered(declared)) if record.field == "config"]
    before = workload.status.last_applied
    status = replace(workload.status, last_applied=(*before, *config) if before else ())
    return replace(workload, status=status)


@pytest.mark.parametrize(("workload", "live", "policy", "safeguards"), [row[1:] for row in HELD], ids=HELD_NAMES)
def test_the_command_survives_the_longest_names(
    workload: Workload, live: LiveWorkload | None, policy: OnDrift, safeguards: dict[str, Any]
) -> None:
    """A message is cut at its end; what people must type is never in the part that goes."""
    config = {f"{number:0120}": "theirs" for number in range(40)}
    named = replace(workload, name=244 * "n", namespace=63 * "s")
    spec = replace(named.spec, config=dict.fromkeys(config, "ours"), slug="support-bot", name="support-bot")
    row = live and replace(live, config=config)

    after = looked_at(with_config_applied(replace(named, spec=spec)), row, policy, **safeguards)

    shown = message(after, "Ready" if words(after)["Ready"][0] == "False" else "Drifted")
    assert shown.endswith(f"approve-plan={after.status.drift.plan_id}")


@pytest.mark.parametrize(
    ("name", "beginning"),
    [
        ("not created", "The workload is not created yet. To create it: kubectl"),
        (
            "declared and not applied",
            f"Declared, and not applied: model. {KEEP} To apply the declaration: kubectl",
        ),
        (
            "both",
            f"Changed on the platform: command. Changed on both sides: model. {KEEP} To apply the declaration: kubectl",
        ),
        ("missing", "The workload is missing on the platform. To create it again: kubectl"),
        (
            "missing en masse",
            "Many workloads of this project are missing at once, so the operator creates none of them again. The",
        ),
        (
            "contested",
            "Someone else, or the platform itself, undid the repair three times in ten minutes, so the operator does",
        ),
        (
            "found as declared",
            "A workload with this slug exists on the platform, and this Workload did not create it. "
            "It is as declared. To adopt it",
        ),
        (
            "found with differences",
            "A workload with this slug exists on the platform, and this Workload did not create it. "
            "Declared, and not applied",
        ),
    ],
)
def test_a_message_says_what_is_and_what_to_do(name: str, beginning: str) -> None:
    """In this order, in whole sentences."""
    _, workload, live, policy, safeguards = HELD[HELD_NAMES.index(name)]

    assert message(looked_at(workload, live, policy, **safeguards), "Ready").startswith(beginning)


def test_a_refused_approval_is_said_beside_the_new_id() -> None:
    """PlanStale, neither Reconciling nor Stalled, and the command with the id that applies."""
    workload = annotated(redeclared(at_rest(a_workload()), model="llama-4"), approve_plan="0123456789abcdef")

    after = looked_at(workload, a_live(), WARN)

    assert words(after)["Ready"] == ("False", "PlanStale")
    assert message(after, "Ready").startswith(
        "The approved plan is not the pending one. Declared, and not applied: model."
    )
    assert after.status.last_handled_approval is not None
    assert after.status.last_handled_approval.result == "PlanStale"
    check_status(after.status.to_wire())


def test_a_refused_approval_does_not_soften_a_failure() -> None:
    """Under Fail it stays DriftDetected and Stalled."""
    workload = annotated(at_rest(a_workload()), approve_plan="0123456789abcdef")

    after = looked_at(workload, a_live(model_name="x"), FAIL)

    assert words(after)["Stalled"] == ("True", "DriftDetected")
    assert message(after, "Ready").startswith(
        "The approved plan is not the pending one. Changed on the platform: model."
    )


def test_a_task_type_that_differs_says_both_and_what_to_do() -> None:
    """It cannot be repaired in place, so a person chooses."""
    workload = at_rest(a_workload({"task_type": "text2text"}), a_live(task_type="embedding"))

    assert words(workload)["Ready"] == ("False", "TaskTypeMismatch")
    assert words(workload)["Drifted"] == ("True", "SpecChange")
    assert message(workload, "Ready").startswith("The platform has task type embedding, the spec declares text2text,")
    command = """kubectl patch ikw/support-bot -n team-a --type merge -p '{"spec":{"taskType":"embedding"}}'"""
    assert message(workload, "Ready").endswith(command)
    assert [shown.field for shown in workload.status.drift.fields] == ["taskType"]
    check_status(workload.status.to_wire())


@pytest.mark.parametrize("known", [True, False])
def test_a_task_type_that_differs_outlives_a_repair_of_the_rest(known: bool) -> None:
    """After a PATCH, or an adoption, Drifted still says what was not mended."""
    workload = a_workload({"task_type": "text2text"})
    workload = at_rest(workload) if known else workload

    after = looked_at(workload, a_live(task_type="embedding", model_name="other" if known else "llama-3"))

    assert words(after)["Ready"] == ("False", "TaskTypeMismatch")
    assert words(after)["Drifted"] == ("True", "SpecChange")
    assert after.status.drift.summary == "taskType"
    assert after.status.drift.plan_id is None
    check_status(after.status.to_wire())


# -- what differs, shown -------------------------------------------------------------------------------------------


def shown(declared: Mapping[str, Any], live: Mapping[str, Any]) -> Workload:
    """A Workload that declares a config, held beside a live one."""
    return looked_at(agreed(a_workload({"config": declared})), a_live(config=dict(live)), WARN)


@pytest.mark.parametrize(
    ("declared", "live", "texts", "why"),
    [
        ("a", "b", ("a", "b"), "strings as they are"),
        (1, 2.5, ("1", "2.5"), "numbers as JSON"),
        (True, None, ("true", None), "what the platform lacks is absent"),
        ([1, "é"], {"b": 1, "a": 2}, ('[1, "é"]', '{"a": 2, "b": 1}'), "the rest as JSON, keys in order"),
        ("x" * 300, "y" * 256, ("x" * 255 + "…", "y" * 256), "cut at 256 characters"),
        (f"--key {TOKEN}", "ik_live_zzz", ("--key ik_sdk_a1b2c3d4…", "ik…"), "a token shows its public half at most"),
        (f"{'x' * 250}{TOKEN}", "", ("x" * 250 + "ik_sd…", ""), "also where the cut goes through one"),
        ("a\nb\t\x1b[0mc", "b", ("a b [0mc", "b"), "on one line, without what a terminal would obey"),
    ],
)
def test_values(declared: Any, live: Any, texts: tuple[str, str | None], why: str) -> None:
    """What people read of a value."""
    (found,) = shown({"x": declared}, {"x": live}).status.drift.fields

    assert (found.field, found.declared, found.live) == ("config.x", *texts), why


def test_no_secret_reaches_a_status_from_any_side() -> None:
    """Neither a key nor a value nor the platform's words carry the secret half anywhere."""
    name = f"k{TOKEN}"
    workload = looked_at(
        agreed(a_workload({"config": {name: TOKEN, "list": [TOKEN], "deep": {name: 1}}, "description": TOKEN})),
        a_live(config={name: "x", "list": [f"{TOKEN}x"]}, description=f"was {TOKEN}"),
        FAIL,
        readiness=Readiness(phase="error", step=TOKEN, message=f"bad {TOKEN}"),
    )
    failed = reported(workload, failure(PlatformFailure(Reason.PLATFORM_REFUSED, f'It said: "{TOKEN}"')))

    for found in (workload, failed):
        texts = [each.message for each in found.status.conditions]
        texts += [str(value) for item in found.status.drift.fields for value in (item.field, item.declared, item.live)]
        texts.append(found.status.drift.summary or "")
        assert not [text for text in texts if SECRET_HALF in text]


def test_at_most_32_fields_are_listed_and_the_rest_is_counted() -> None:
    """A list that is too long helps nobody, but how long it is does."""
    keys = [f"k{number:02}" for number in range(50)]
    drift = shown(dict.fromkeys(keys, 1), dict.fromkeys(keys, 2)).status.drift

    assert [item.field for item in drift.fields] == [f"config.{key}" for key in keys[:32]]
    assert drift.omitted == 18
    assert drift.summary == "config.k00, config.k01, config.k02, config.k03 and 46 more"


def test_a_long_name_stands_alone_in_the_column() -> None:
    """At least one field is named, however long; the condition's message has room for more."""
    deep = {"workers": {"cloud_pool": dict.fromkeys(("max_hourly_cost_usd", "max_instances"), 1)}}
    live = {"workers": {"cloud_pool": dict.fromkeys(("max_hourly_cost_usd", "max_instances"), 2)}}
    found = shown(deep, live)
    assert found.status.drift.summary == "config.workers.cloud_pool.max_hourly_cost_usd and 1 more"
    told = condition(found.status, "Drifted")
    assert told is not None
    assert "max_hourly_cost_usd, config.workers.cloud_pool.max_instances." in told.message


def test_a_drift_keeps_the_moment_it_was_first_seen() -> None:
    """While it stands, and no longer."""
    workload = looked_at(at_rest(a_workload()), a_live(model_name="x"), WARN)
    later = looked_at(workload, a_live(model_name="x"), WARN, now=LATER)
    over = looked_at(later, a_live(), WARN, now=LATER)
    again = looked_at(over, a_live(model_name="x"), WARN, now=LATER)

    assert (workload.status.drift.since, later.status.drift.since) == (NOW, NOW)
    assert over.status.drift.since is None
    assert again.status.drift.since == LATER


def test_what_was_carried_out_is_no_drift_any_more() -> None:
    """Only the policy that is in force is left."""
    workload = looked_at(at_rest(a_workload()), a_live(model_name="x"), WARN)

    after = looked_at(workload, a_live(model_name="x"), RECONCILE)

    assert after.status.to_wire()["drift"] == {"policy": "Reconcile", "summary": "none"}
    assert words(after)["Drifted"] == ("False", "InSync")


class TestSize:
    """Under 16 KiB, whatever is declared and whatever the platform says."""

    @pytest.mark.parametrize("letter", ["x", "é", "漢"])
    @pytest.mark.parametrize("policy", OnDrift)
    @pytest.mark.parametrize("leaves", [12, 24, 60, 400])
    def test_of_the_worst_that_can_be_declared(self, leaves: int, policy: OnDrift, letter: str) -> None:
        """Names, keys, values and the platform's words at their longest, in letters of one to three bytes."""
        self.check(leaves, policy, letter)

    def test_of_the_worst_in_letters_of_four_bytes(self) -> None:
        """Emoji are letters, too."""
        self.check(24, WARN, "𝄞")

    def check(self, leaves: int, policy: OnDrift, letter: str) -> None:
        """Look at the largest Workload, then let the platform refuse it at length."""
        keys = [f"{number:03}{letter * 25}" for number in range(leaves)]
        spec = {"config": dict.fromkeys(keys, letter * 300), "description": letter * 4096, "task_type": "text2text"}
        row = a_live(id=253 * "i", config=dict.fromkeys(keys, "y"), description=letter * 4000, task_type="embedding")
        readiness = Readiness(phase="error", step=letter * 64, message=letter * 256)
        place = f"https://{253 * 'h'}"
        workload = agreed(
            a_workload(spec, name=244 * "n", namespace=63 * "s"),
            workload_id=row.id,
            platform_url=place,
            project_slug=253 * "p",
            workload_slug=253 * "s",
            endpoint=EndpointStatus(url=f"{place}/endpoint/{253 * 'p'}/{253 * 's'}", config_map_name=253 * "c"),
        )
        refusal = PlatformFailure(Reason.PLATFORM_REFUSED, f'{400 * "w"} It said: "{letter * 256}".')

        after = looked_at(workload, row, policy, readiness=readiness)
        failed = reported(after, failure(refusal))

        check_status(after.status.to_wire())
        check_status(failed.status.to_wire())


# -- silence -------------------------------------------------------------------------------------------------------


def test_last_transition_time_moves_with_the_status_alone() -> None:
    """Another reason, another message, another generation: the same transition."""
    minutes = [NOW + timedelta(minutes=minute) for minute in range(4)]
    failing = reported(a_workload(), refused(Reason.SECRET_NOT_FOUND), minutes[0])
    other = reported(redeclared(failing), refused(Reason.PROJECT_MISMATCH), minutes[1])
    ready = looked_at(other, a_live(), now=minutes[2])
    again = reported(ready, refused(Reason.SECRET_NOT_FOUND), minutes[3])

    times = [
        found.last_transition_time for w in (failing, other, ready, again) if (found := condition(w.status, "Ready"))
    ]
    assert times == [minutes[0], minutes[0], minutes[2], minutes[3]]
    stalled = condition(other.status, "Stalled")
    assert stalled is not None
    assert stalled.last_transition_time == minutes[1]


def test_the_generation_moves_in_the_same_write_as_the_verdict() -> None:
    """observedGeneration is never ahead of what Ready says."""
    workload = redeclared(at_rest(a_workload()), model="llama-4")

    for after in (looked_at(workload, a_live(), WARN), reported(workload, refused())):
        ready = condition(after.status, "Ready")
        assert ready is not None
        assert after.status.observed_generation == ready.observed_generation == 2


def test_a_comparison_keeps_the_generation_that_it_was_about() -> None:
    """A look that compared nothing says nothing new of Drifted: what stands is about the former declaration."""
    workload = reported(redeclared(at_rest(a_workload()), model="llama-4"), refused())

    drifted = condition(workload.status, "Drifted")
    assert drifted is not None
    assert (drifted.status, drifted.reason, drifted.observed_generation) == ("False", "InSync", 1)
    check_status(workload.status.to_wire())


def test_what_was_never_compared_is_unknown_for_the_reason_of_today() -> None:
    """Until there is a comparison, Drifted says why there is none."""
    first = reported(a_workload(), refused(Reason.SECRET_NOT_FOUND))
    second = reported(first, refused(Reason.TOKEN_REJECTED), LATER)

    assert words(first)["Drifted"] == ("Unknown", "SecretNotFound")
    assert words(second)["Drifted"] == ("Unknown", "TokenRejected")


def test_a_failure_leaves_what_is_known_of_drift_and_serving() -> None:
    """A token that was revoked does not make the platform's state unknown."""
    before = looked_at(at_rest(a_workload()), a_live(model_name="x"), WARN)

    after = reported(before, refused(Reason.TOKEN_REJECTED), LATER)

    assert after.status.drift == before.status.drift
    assert condition(after.status, "Drifted") == condition(before.status, "Drifted")
    assert words(after)["Serving"] == ("True", "Ready")
    check_status(after.status.to_wire())


READINESSES = st.sampled_from(
    [
        Readiness(),
        Readiness(phase="bootstrapping", step="weights"),
        Readiness(phase="ready"),
        Readiness(phase="error", message="x"),
    ]
)
LIVES = st.sampled_from(
    [
        None,
        a_live(),
        a_live(model_name="llama-3-70b"),
        a_live(task_type="embedding"),
        a_live(task_type="embedding", description="theirs", config={"command": "theirs"}),
        a_live(execution_policy="autoscaling", execution_policy_config={"min_workers": 0}, model_name="x"),
    ]
)
BRAKES = st.sampled_from([{}, {}, {"contested": True}, {"mass_missing": True}])
SPECS = st.fixed_dictionaries(
    {"adoption_policy": st.sampled_from(["Always", "IfIdentical", "Never"])},
    optional={
        "command": st.sampled_from(["ours", "theirs"]),
        "task_type": st.sampled_from(["text2text", "embedding"]),
        "execution_policy": st.just("autoscaling"),
        "execution_policy_config": st.sampled_from([{"min_workers": 0}, {"min_workers": 1.0}]),
    },
)
LOOKS = st.tuples(LIVES, st.sampled_from(OnDrift), READINESSES, BRAKES)
EVENTS = st.one_of(
    LOOKS,
    st.sampled_from(Reason),
    st.sampled_from(["edit", "approve", "approve another", "suspend"]),
)


def after(workload: Workload, event: Any, now: Any) -> Workload:
    """`workload` after one more thing happened to it."""
    if isinstance(event, tuple):
        live, policy, readiness, safeguards = event
        return looked_at(workload, live, policy, readiness=readiness, now=now, **safeguards)
    if isinstance(event, Reason):
        return workload if event.actor is Actor.NOBODY else reported(workload, refused(event), now)
    if event == "edit":
        return redeclared(workload, model=workload.spec.model + "+")
    if event == "suspend":
        return reported(workload, suspended(workload), now)
    approved = workload.status.drift.plan_id if event == "approve" else "0123456789abcdef"
    return annotated(workload, approve_plan=approved or "0123456789abcdef")


@given(SPECS, st.lists(EVENTS, min_size=1, max_size=6), LOOKS)
@settings(deadline=None, max_examples=300)
def test_whatever_happened_the_invariants_hold(spec: dict[str, Any], events: list[Any], look: Any) -> None:
    """No history of looks, failures, edits, approvals and suspensions leads to a status that breaks a rule."""
    workload = a_workload(spec)
    for number, event in enumerate([*events, look]):
        workload = after(workload, event, NOW + timedelta(minutes=number))
        check_status(workload.status.to_wire())


@given(SPECS, st.lists(EVENTS, max_size=5), LOOKS)
@settings(deadline=None, max_examples=300)
def test_while_nothing_happens_nothing_changes(spec: dict[str, Any], events: list[Any], look: Any) -> None:
    """The second look at the same world, ten minutes later, comes to the same status to the letter."""
    workload = a_workload(spec)
    for event in events:
        workload = after(workload, event, NOW)
    live, policy, _, safeguards = look
    plan = planned(workload, live, policy, **safeguards)
    once = after(workload, look, NOW)
    twice = after(once, (carried_out(plan, workload, live), *look[1:]), LATER)

    assert twice.status == once.status


@given(st.sampled_from(Reason), st.booleans())
def test_a_failure_that_stays_says_the_same(reason: Reason, known: bool) -> None:
    """An error that comes again and again is written once."""
    workload = at_rest(a_workload()) if known else a_workload()
    once = reported(workload, refused(reason))

    assert reported(once, refused(reason), LATER).status == once.status


# -- suspend -------------------------------------------------------------------------------------------------------


REST = at_rest(a_workload())
TOLERATED = looked_at(redeclared(REST, model="x"), a_live(), IGNORE)
THEIRS = looked_at(REST, a_live(model_name="theirs"), WARN)


@pytest.mark.parametrize(
    ("before", "ready", "why"),
    [
        (REST, ("True", "Ready"), "it keeps its value"),
        (redeclared(REST, model="x"), ("False", "Suspended"), "unless the declaration moved"),
        (redeclared(REST, deletion_policy="Orphan"), ("True", "Ready"), "which such an edit does not do"),
        (a_workload(), ("False", "Suspended"), "what was suspended from the start was never Ready"),
        (looked_at(a_workload(), None, DRY_RUN), ("False", "Suspended"), "a plan is not offered any more"),
        (reported(REST, refused()), ("False", "Suspended"), "it was not Ready"),
        (TOLERATED, ("True", "DriftTolerated"), "with the word that it had"),
        (redeclared(TOLERATED), ("True", "DriftTolerated"), "spec.suspend itself counts a generation"),
        (redeclared(TOLERATED, model="y"), ("False", "Suspended"), "what nobody judged is not tolerated"),
        (redeclared(TOLERATED, description="d"), ("False", "Suspended"), "nor is a field that was added"),
        (redeclared(TOLERATED, model="llama-3"), ("True", "DriftTolerated"), "taken back: what was applied stands"),
        (THEIRS, ("True", "Ready"), "a change of the platform's is no move of the declaration"),
        (redeclared(THEIRS, model="theirs"), ("False", "Suspended"), "agreeing with it is one"),
        (reported(TOLERATED, suspended(TOLERATED)), ("True", "DriftTolerated"), "however often it is looked at"),
        (looked_at(redeclared(REST, model="x"), a_live(), WARN), ("False", "Suspended"), "only Ignore tolerates"),
    ],
)
def test_suspend(before: Workload, ready: tuple[str, str], why: str) -> None:
    """Nothing is written but the condition; neither Reconciling nor Stalled, for nobody is at work."""
    workload = reported(before, suspended(before), LATER)

    assert words(workload)["Ready"] == ready, why
    assert words(workload)["Suspended"] == ("True", "Suspended")
    command = """kubectl patch ikw/support-bot -n team-a --type merge -p '{"spec":{"suspend":false}}'"""
    assert message(workload, "Suspended").endswith(command)
    assert not {"Reconciling", "Stalled"} & words(workload).keys()
    assert workload.status.drift == before.status.drift
    assert reported(workload, suspended(workload), LATER).status == workload.status
    check_status(workload.status.to_wire())


THEN = {"config": {"a": 1}, "execution_policy": "fixed", "execution_policy_config": {"b": {"c": [1]}}}


@pytest.mark.parametrize(
    ("changes", "moved", "why"),
    [
        ({}, False, "nothing changed"),
        ({"model": "llama-4"}, True, "a scalar"),
        ({"config": {"a": 2}}, True, "a leaf of the config"),
        ({"config": {"a": 1.0}}, False, "an equal float"),
        ({"config": {"a": 1, "b": 2}}, True, "a key more"),
        ({"config": {"a": 1, "b": None}}, False, "a null declares nothing"),
        ({"config": None}, False, "a key less goes back to the platform: nothing is left to apply"),
        ({"description": "d"}, True, "a field more"),
        ({"execution_policy_config": {"b": {"c": [1, 1]}}}, True, "an array"),
    ],
)
def test_an_edit_while_suspended_is_told_by_what_was_applied(changes: dict[str, Any], moved: bool, why: str) -> None:
    """Without a look: the platform's side does not matter, a normalised answer included."""
    declared = a_workload(THEN)
    answer = replace(answered(declared_document(declared)), model_name="LLAMA-3")
    workload = redeclared(at_rest(declared, answer), **changes)

    assert suspended(workload).ready is not moved, why


def test_what_is_too_deep_to_be_walked_was_never_applied() -> None:
    """The look that rests walks the declaration as well."""
    endless: dict[str, Any] = {}
    for _ in range(9_980):
        endless = {"a": endless}

    assert not suspended(redeclared(at_rest(a_workload()), config=endless)).ready


@pytest.mark.parametrize(("changes", "moved"), [({}, False), ({"k000": "moved"}, True)])
def test_an_edit_among_many_fields_is_told_as_well(changes: dict[str, Any], moved: bool) -> None:
    """Where one record stands for all keys of an object."""
    many = {f"k{number:03}": number for number in range(257)}
    workload = redeclared(at_rest(a_workload({"config": many})), config={**many, **changes})

    assert suspended(workload).ready is not moved


def test_without_records_everything_has_moved() -> None:
    """A status that lost them says nothing of what the platform has."""
    workload = replace(REST, status=replace(REST.status, last_applied=()))

    assert not suspended(workload).ready


def test_suspended_is_present_only_while_true() -> None:
    """The first look after it takes it away."""
    workload = reported(at_rest(a_workload()), suspended(at_rest(a_workload())))

    assert "Suspended" not in words(looked_at(workload, a_live()))


def test_a_stored_reason_that_nobody_knows_does_not_stop_a_suspension() -> None:
    """A status is never trusted: edited by hand, or written by a later release."""
    rest = at_rest(a_workload())
    odd = tuple(replace(each, reason="Splendid") for each in rest.status.conditions)
    workload = replace(rest, status=replace(rest.status, conditions=odd))

    assert words(reported(workload, suspended(workload)))["Ready"] == ("True", "Ready")


# -- the checker itself --------------------------------------------------------------------------------------------

GOOD = looked_at(at_rest(a_workload(DECLARES_A_COMMAND)), DRIFTED, WARN).status
SOUND = GOOD.to_wire()
LONG = "x" * 257


def with_ready(**changes: Any) -> WorkloadStatus:
    """The sound status with another Ready."""
    first, *others = GOOD.conditions
    return replace(GOOD, conditions=(replace(first, **changes), *others))


def with_more(kind: str, reason: str = "Progressing", status: Any = "True") -> WorkloadStatus:
    """The sound status with one more condition."""
    more = Condition(
        type=kind, status=status, reason=reason, message="x", observed_generation=1, last_transition_time=NOW
    )
    return replace(GOOD, conditions=(*GOOD.conditions, more))


def with_drift(**changes: Any) -> WorkloadStatus:
    """The sound status with another drift."""
    return replace(GOOD, drift=replace(GOOD.drift, **changes))


FIELD = GOOD.drift.fields[0]
BROKEN = {
    "Ready is missing": replace(GOOD, conditions=GOOD.conditions[1:]),
    "Ready twice": replace(GOOD, conditions=(*GOOD.conditions, GOOD.conditions[0])),
    "Ready is unknown": with_ready(status="Unknown"),
    "Ready beside Reconciling": with_more("Reconciling"),
    "Ready beside Stalled": with_more("Stalled"),
    "not Ready, and nobody acts": with_ready(status="False", reason="SecretNotFound"),
    "Suspended is False": with_more("Suspended", status="False"),
    "an unknown condition": with_more("Splendid"),
    "an unknown reason": with_ready(reason="Splendid"),
    "an empty message": with_ready(message=""),
    "a message of two lines": with_ready(message="a\nb"),
    "a message without end": with_ready(message="x" * 1025),
    "a generation of the future": with_ready(observed_generation=2),
    "a generation that never was": with_ready(observed_generation=-1),
    "a verdict that lags behind": replace(GOOD, observed_generation=2),
    "a Serving of another word": with_more("Serving", "Splendid"),
    "Ready for what is missing": with_drift(drift_class=DriftClass.MISSING),
    "Ready for what was not applied": with_drift(drift_class=DriftClass.SPEC_CHANGE),
    "Ready without a workload": replace(GOOD, workload_id=None, adopted=None),
    "no id of the plan": with_drift(plan_id=None),
    "an id of another shape": with_drift(plan_id="x"),
    "the message of another plan": with_drift(plan_id="0123456789abcdef0123456789abcdef"),
    "a drift since never": with_drift(since=None),
    "another class": with_drift(drift_class=DriftClass.BOTH),
    "Drifted is False beside it": replace(GOOD, conditions=at_rest(a_workload()).status.conditions),
    "a policy that is none": with_drift(policy="Splendid"),
    "33 fields": with_drift(fields=tuple(replace(FIELD, field=str(number)) for number in range(33))),
    "a field twice": with_drift(fields=(FIELD, FIELD)),
    "a value without end": with_drift(fields=(replace(FIELD, live=LONG),)),
    "fields omitted beside none": with_drift(fields=(), omitted=1),
    "a token": with_drift(fields=(replace(FIELD, live=TOKEN),)),
    "a token in a message": with_ready(message=f"Bearer {TOKEN}"),
    "too large": replace(GOOD, workload_id="x" * 16384),
    "half an identity": replace(GOOD, project_slug=None),
    "no word of who made it": replace(GOOD, adopted=None),
    "a value for a hash": replace(GOOD, last_applied=(replace(GOOD.last_applied[0], declared="llama"),)),
    "a record twice": replace(GOOD, last_applied=GOOD.last_applied[:1] * 2),
}


@pytest.mark.parametrize("status", BROKEN.values(), ids=BROKEN)
def test_the_checker_sees_what_is_broken(status: WorkloadStatus) -> None:
    """A check that cannot fail checks nothing."""
    assert list(broken_rules(status.to_wire()))
    with pytest.raises(AssertionError):
        check_status(status.to_wire())


@pytest.mark.parametrize(
    "text", ["ik_sdk_a1b2c3d4…", "<your ik_sdk_ token>", "an ik_live_ key", "ik…", "ik_sdk_a1b2c3d4", '"ik_sdk_"']
)
def test_the_checker_lets_the_public_half_pass(text: str) -> None:
    """Messages name kinds of tokens, and tokens by their public identifier."""
    check_status(with_ready(message=text).to_wire())


@pytest.mark.parametrize("change", [{"workloadId": None}, {"drift": {**SOUND["drift"], "planId": None}}])
def test_the_checker_wants_no_nulls(change: dict[str, Any]) -> None:
    """A status that holds a null was patched by somebody else."""
    assert list(broken_rules({**SOUND, **change}))


def test_a_status_that_nobody_wrote_yet_breaks_no_rule() -> None:
    """The schema's default is all there is of a brand-new object."""
    check_status({"observedGeneration": -1})
    check_status({})


def test_an_error_says_its_words() -> None:
    """The reason and the message of an error are those of the condition."""
    error = ConfigurationError(Reason.INVALID_POLICY, "Set another one.")

    assert failure(error) == Report(Reason.INVALID_POLICY, "Set another one.")
    assert report_of(at_rest(a_workload()), planned(at_rest(a_workload()), a_live()), a_live()).ready
