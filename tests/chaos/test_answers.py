"""Answers that are not the platform's, refusals that last or do not, and what the platform makes of what was sent."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from chaos.clocks import now
from chaos.history import Life
from chaos.platform import IN_FRONT
from chaos.scenes import (
    declare,
    fault,
    message,
    notes,
    patches,
    played,
    posts,
    ready,
    reasons_shown,
    slugs,
    theirs,
    until,
)
from chaos.world import SETTINGS, World
from inferencekey_simulator.faults import Fault

FOREIGN = dict(
    zip(("403 text/html", "404 text/plain", "302 to a maintenance page", "401 of nothing"), IN_FRONT, strict=True)
)


def fault_of(answer: dict[str, Any], operation: str) -> Fault:
    """This answer to all calls of a kind."""
    return Fault.model_validate({"action": "respond", "operation": operation, "times": None, **answer})


def writes_of_statuses(world: World) -> Counter[str]:
    """How often each status was written."""
    return Counter(write.split()[1] for write in world.oracle.kubernetes_writes if write.endswith("/status"))


def lists_since(world: World, since: float) -> list[float]:
    """When lists were answered with success since a moment."""
    entries = world.platform.journal.since(0)
    times = [e.monotonic for e in entries if e.call.operation == "list" and e.status == 200 and e.fault is None]
    return [at for at in times if at >= since]


# -- something in front of the platform ------------------------------------------------------------------------


@pytest.mark.parametrize("answer", FOREIGN.values(), ids=FOREIGN)
def test_a_load_balancer_that_answers_lists_for_three_seconds(answer: dict[str, Any]) -> None:
    """Lists go on within an interval; what is applied meanwhile is never Stalled, and drift is seen."""

    async def scene(world: World) -> None:
        settled = declare(world, name="settled")
        await until(world, lambda: ready(settled) == "Ready")
        await asyncio.sleep(SETTINGS.uncertain_create_timeout)
        armed = world.platform.faults.add(fault_of(answer, "list"))
        began = now()
        applied = declare(world)
        await asyncio.sleep(3.0)
        world.platform.faults.clear(armed)
        world.platform.edit(next(world.platform.rows()), {"model_name": "drifted"})
        await until(world, lambda: ready(applied) == "Ready", within=SETTINGS.list_interval)
        await until(world, lambda: patches(world) == 1, within=2 * SETTINGS.list_interval)
        assert lists_since(world, began)[0] < began + 3.0 + 5.0
        for life in (settled, applied):
            assert not {"TokenRejected", "PlatformRefused"} & set(reasons_shown(life))

    assert notes(played(scene), "PlatformUnreachable")


@pytest.mark.parametrize("operation", ["create", "update", "delete", "readiness"])
def test_a_load_balancer_that_answers_other_calls(operation: str) -> None:
    """They are sent again, nothing is made twice, and nobody is asked to correct anything."""

    async def scene(world: World) -> None:
        for answer in FOREIGN.values():
            fault(world, "respond", operation, **answer)
        workload = declare(world)
        await until(world, lambda: ready(workload) == "Ready", within=400.0)
        world.patch(workload, {"spec": {"model": "llama-4"}})
        await until(world, lambda: patches(world) == 1)
        world.objects.delete(world.name(workload))
        await until(world, lambda: workload.gone_at is not None)
        shown = {"Ready", "Progressing", "PlatformUnreachable", "PlatformError", "Deleting"}
        assert set(reasons_shown(workload)) <= shown

    world = played(scene)
    assert (slugs(world), posts(world)) == ([], 1)


# -- a token that is refused -----------------------------------------------------------------------------------


def revoke(world: World) -> None:
    """Somebody takes the token of team-a back in the dashboard."""
    world.platform.revoke(world.good_tokens.pop("team-a").rpartition("_")[0])


def test_a_token_that_is_revoked_for_good() -> None:
    """One Event about the Secret at once, and each Workload says so at the next resync, in one write."""

    async def scene(world: World) -> None:
        lives = [declare(world, name=f"bot-{number}") for number in range(20)]
        await until(world, lambda: all(ready(life) == "Ready" for life in lives))
        await asyncio.sleep(120.0)
        before = writes_of_statuses(world)
        revoke(world)
        await until(world, lambda: notes(world, "TokenRejected"), within=SETTINGS.list_interval + 1.0)
        (event,) = [each for each in world.objects.items("events") if each["reason"] == "TokenRejected"]
        assert (event["regarding"]["kind"], event["regarding"]["name"]) == ("Secret", "inferencekey")
        assert any("log: the platform does not list project prod: TokenRejected" in line for line in world.trace)
        assert [ready(life) for life in lives] == ["Ready"] * 20
        resync = SETTINGS.resync_period + 2 * SETTINGS.list_interval
        await until(world, lambda: all(ready(life) == "TokenRejected" for life in lives), within=resync)
        assert all("kubectl create secret generic inferencekey" in message(life) for life in lives)
        await asyncio.sleep(5 * SETTINGS.resync_period)
        assert set((writes_of_statuses(world) - before).values()) == {1}
        assert len(notes(world, "TokenRejected")) == 1
        world.give_token("team-a")
        await until(world, lambda: all(ready(life) == "Ready" for life in lives), within=30.0)

    played(scene)


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("restarted", [False, True], ids=["in the middle", "at the start"])
def test_a_refusal_for_a_moment_writes_nothing(status: int, restarted: bool) -> None:
    """Of a project's Workloads none is written, also where the operator has no list at all; one Event tells of it."""

    async def scene(world: World) -> None:
        lives = [declare(world, name=f"bot-{number}") for number in range(20)]
        await until(world, lambda: all(ready(life) == "Ready" for life in lives))
        await asyncio.sleep(120.0)
        before = writes_of_statuses(world)
        armed = world.platform.faults.add(fault_of({"status": status, "body": {"error": "unauthenticated"}}, "list"))
        if restarted:
            for life in world.running():
                life.process.kill()
        await until(world, lambda: notes(world, "TokenRejected"), within=100.0)
        await asyncio.sleep(10.0)
        world.platform.faults.clear(armed)
        mended = now()
        await until(world, lambda: lists_since(world, mended), within=SETTINGS.list_interval + 5.0)
        await asyncio.sleep(2 * SETTINGS.resync_period)
        assert not writes_of_statuses(world) - before
        assert all(set(reasons_shown(life)) <= {"Progressing", "Ready"} for life in lives)

    played(scene)


# -- what lists make of what was sent --------------------------------------------------------------------------


def restating(world: World, **rule: Any) -> None:
    """Answers echo what was sent, and lists show it in the platform's own spelling."""
    world.platform.configure({"normalise": [{"field": "description", "lists_only": True, **rule}]})


def edits(world: World, life: Life, model: str = "theirs") -> None:
    """Somebody changes the workload in the dashboard."""
    row = world.platform.inventory.find(life.body["status"]["workloadId"])
    assert row is not None
    world.platform.edit(row, {"model_name": model})


SPELLINGS: dict[str, tuple[dict[str, Any], int]] = {
    "trimmed": ({"operation": "trim"}, 0),
    "in lower case": ({"operation": "lower"}, 1),
    "something else": ({"operation": "set", "value": "a bot"}, 1),
}
"""How lists spell what is declared, and how many repairs that costs."""


@pytest.mark.parametrize(("rule", "repairs"), SPELLINGS.values(), ids=SPELLINGS)
@pytest.mark.parametrize("lag", [0.0, 20.0], ids=["", "lists lag"])
def test_lists_that_spell_what_was_sent_in_another_way(rule: dict[str, Any], repairs: int, lag: float) -> None:
    """YAML's newline at the end, say: it is settled, and somebody else's change of another field is seen as ever."""

    async def scene(world: World) -> None:
        restating(world, **rule)
        world.platform.configure({"list_lag": {"create": lag, "update": lag, "delete": lag}})
        workload = declare(world, description="A Bot\n")
        await until(world, lambda: ready(workload) == "Ready")
        await asyncio.sleep(3 * SETTINGS.resync_period)
        assert patches(world) == repairs
        world.patch(workload, {"spec": {"description": "Another Bot\n"}})
        await asyncio.sleep(3 * SETTINGS.resync_period)
        sent = patches(world)
        assert sent <= 2 * repairs + 1
        edits(world, workload)
        await until(world, lambda: patches(world) == sent + 1)
        await asyncio.sleep(SETTINGS.resync_period)
        assert set(reasons_shown(workload)) <= {"Progressing", "Ready"}
        assert bool(notes(world, "DriftTolerated")) is bool(repairs)
        for life in world.running():
            life.process.kill()
        await asyncio.sleep(2 * SETTINGS.resync_period)
        assert patches(world) == sent + 1
        world.platform.configure({"normalise": ()})
        restating(world, **rule)

    played(scene)


@pytest.mark.parametrize("restated", [False, True], ids=["", "lists restate"])
def test_what_somebody_else_contests_is_contested(restated: bool) -> None:
    """At once after each repair, before any list could show it: the row was changed after us, and says so."""

    async def scene(world: World) -> None:
        if restated:
            restating(world, operation="lower")
        workload = declare(world, description="A Bot")
        await until(world, lambda: ready(workload) == "Ready")
        await asyncio.sleep(2 * SETTINGS.uncertain_create_timeout)
        before = patches(world)
        edits(world, workload)
        for repaired in range(1, 4):
            await until(world, lambda repaired=repaired: patches(world) == before + repaired)  # type: ignore[misc]
            edits(world, workload)
        await until(world, lambda: ready(workload) == "Contested", within=300.0)
        assert "or the platform itself, undid the repair" in message(workload)
        edits(world, workload, "llama-3")

    played(scene)


# -- another operation is in progress --------------------------------------------------------------------------

BUSY = {"code": "operation_in_progress", "message": "another operation is in progress"}
PASSING: dict[str, dict[str, Any]] = {
    "409": {"status": 409, "body": {"error": "conflict"}},
    "423": {"status": 423, "body": {"error": {"code": "locked", "message": "the workload is locked"}}},
    "425": {"status": 425, "body": {"error": "too_early"}},
    "409 in words": {"status": 409, "body": {"error": BUSY}},
    "422 in words": {"status": 422, "body": {"error": "another operation is in progress, try again later"}},
}


@pytest.mark.parametrize("operation", ["create", "update"])
@pytest.mark.parametrize("answer", PASSING.values(), ids=PASSING)
def test_a_write_that_comes_too_early_is_sent_again(answer: dict[str, Any], operation: str) -> None:
    """Twice refused, and then carried out: nobody is asked to correct anything."""

    async def scene(world: World) -> None:
        fault(world, "respond", operation, times=2, **answer)
        workload = declare(world)
        await until(world, lambda: ready(workload) == "Ready")
        world.patch(workload, {"spec": {"model": "llama-4"}})
        await until(world, lambda: patches(world) == 1, within=20.0)
        await until(world, lambda: ready(workload) == "Ready")
        assert set(reasons_shown(workload)) <= {"Ready", "Progressing", "PlatformError"}

    assert posts(played(scene)) == 1


def test_a_conflict_that_lasts_is_for_a_person() -> None:
    """After waits that grow the platform's words are shown; another declaration begins anew."""

    async def scene(world: World) -> None:
        workload = declare(world)
        await until(world, lambda: ready(workload) == "Ready")
        taken = {"status": 409, "body": {"error": {"code": "worker_taken", "message": "the worker is taken"}}}
        armed = world.platform.faults.add(fault_of(taken, "update"))
        world.patch(workload, {"spec": {"model": "llama-4"}})
        await until(world, lambda: ready(workload) == "PlatformError")
        await asyncio.sleep(SETTINGS.uncertain_create_timeout - 5.0)
        assert ready(workload) == "PlatformError"
        await until(world, lambda: ready(workload) == "PlatformRefused", within=60.0)
        assert 'It said: "the worker is taken"' in message(workload)
        tried = [entry for entry in world.platform.journal.since(0) if entry.call.operation == "update"]
        assert 4 <= len(tried) <= 8
        before = writes_of_statuses(world)
        await asyncio.sleep(3 * SETTINGS.resync_period)
        assert writes_of_statuses(world) == before
        world.platform.faults.clear(armed)
        world.patch(workload, {"spec": {"model": "llama-5"}})
        await until(world, lambda: ready(workload) == "Ready", within=30.0)

    played(scene)


def test_a_creation_that_conflicts_with_what_no_list_shows_yet() -> None:
    """Somebody has the slug, and lists lag: nothing is Stalled, and what is there is taken over once it is listed."""

    async def scene(world: World) -> None:
        world.platform.configure({"list_lag": {"create": 30.0, "update": 0.0, "delete": 0.0}})
        theirs(world)
        world.platform.faults.add(fault_of({"status": 409, "body": {"error": "slug_taken"}}, "create"))
        workload = declare(world)
        await until(world, lambda: ready(workload) == "Ready")
        assert workload.body["status"]["adopted"] is True
        assert set(reasons_shown(workload)) <= {"Ready", "Progressing", "PlatformError"}

    world = played(scene)
    assert (slugs(world), posts(world)) == (["alpha"], 0)


def test_a_creation_whose_conflict_may_be_our_own_workload() -> None:
    """Its answer was lost, no list shows it in time, and the second creation is refused: somebody is told of it."""

    async def scene(world: World) -> None:
        fault(world, "cut_after", "create")
        world.platform.configure({"list_lag": {"create": 55.0, "update": 0.0, "delete": 0.0}})
        workload = declare(world)
        await until(world, lambda: posts(world) == 1)
        for operation, answer in (("create", {"status": 409}), ("readiness", {"status": 404})):
            world.platform.faults.add(fault_of({**answer, "body": {"error": "no"}}, operation))
        await asyncio.sleep(50.0)
        world.platform.faults.clear()
        await until(world, lambda: ready(workload) == "Ready")
        assert set(reasons_shown(workload)) <= {"Ready", "Progressing", "PlatformError", "PlatformUnreachable"}

    world = played(scene)
    assert (slugs(world), posts(world)) == (["alpha"], 1)
    assert [note for note in notes(world, "DuplicateWorkload") if note.startswith("wl_0001 may have been made by a")]
