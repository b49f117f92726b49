"""A second workload that a creation made: it is recorded before it is deleted, and deleted until that is certain."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from inferencekey_operator.api.status import Creation
from inferencekey_operator.api.workload import Workload
from inferencekey_operator.errors import OperatorError, PlatformFailure, Reason
from inferencekey_operator.inferencekey.client import Deleted, ListAnswer
from inferencekey_operator.kube.errors import ClusterError
from inferencekey_operator.plan.ownership import sent_hash
from inferencekey_operator.reconcile.access import reach
from inferencekey_operator.reconcile.context import RequeueAfter
from inferencekey_operator.reconcile.duplicates import (
    announce_duplicates,
    delete_for_sure,
    duplicate_of,
    remove_duplicate,
)
from unit.builders import IDENTITY, NOW, a_workload
from unit.place import Place, a_place
from unit.scripted_platform import LOST, now, row
from unit.virtual_time import virtual

DUPLICATE = "wl_support-bot-1"
SETTLE = 40.0
MADE = {"name": "support-bot", "backend": "vllm", "model_name": "llama-3"}
RECORD = Creation(time=NOW, sent=sent_hash(MADE))


async def with_a_duplicate(*, since_the_term: float = 100.0) -> tuple[Place, Workload]:
    """The platform has a second workload, and the status of the Workload has its id."""
    place = await a_place(uncertain_create_timeout=SETTLE)
    place.context.terms.of_shard[0].began = now() - since_the_term
    place.platform.rows["support-bot-1"] = row("support-bot-1", **MADE)
    workload = replace(a_workload(), status=replace(a_workload().status, duplicate_workload_id=DUPLICATE))
    place.stands(workload)
    place.memory(workload).seen = now() - 1.0
    return place, workload


class Attempts:
    """The deletion, tried again as the controller does, until it is certain."""

    def __init__(self, place: Place, workload: Workload) -> None:
        self._place, self._workload = place, workload
        self.refused: list[OperatorError] = []
        self.count = 0

    async def run(self) -> Deleted:
        """What it came to."""
        context = self._place.context
        while True:
            self.count += 1
            assert self.count < 20, "the key comes back too often"
            try:
                _, project = await reach(context, self._workload)
                return await delete_for_sure(context, self._workload, project, DUPLICATE)
            except RequeueAfter as later:
                await asyncio.sleep(later.seconds)
            except PlatformFailure as error:
                self.refused.append(error)
                await asyncio.sleep(max(error.retry_after or 0.0, 1.0))


@virtual
async def test_a_confirmed_deletion_needs_no_list() -> None:
    """204: the workload is gone, whatever the next list shows."""
    place, workload = await with_a_duplicate(since_the_term=0.0)
    attempts = Attempts(place, workload)

    assert await attempts.run() is Deleted.CONFIRMED
    assert (attempts.count, attempts.refused, place.lists) == (1, [], 1)


@pytest.mark.parametrize(
    ("since_the_term", "attempts", "takes"), [(100.0, 1, 0.0), (39.0, 2, 1.0), (10.0, 2, 30.0), (0.0, 2, 40.0)]
)
@virtual
async def test_a_404_needs_a_list_that_backs_it(since_the_term: float, attempts: int, takes: float) -> None:
    """One that began late enough after the term to show what another process made; it is waited for, once."""
    place, workload = await with_a_duplicate(since_the_term=since_the_term)
    del place.platform.rows["support-bot-1"]
    began, tried = now(), Attempts(place, workload)

    assert await tried.run() is Deleted.UNKNOWN
    assert (tried.count, tried.refused) == (attempts, [])
    assert now() - began == pytest.approx(takes, abs=1.5)


@virtual
async def test_a_404_of_a_listed_workload_is_not_believed() -> None:
    """Something in between may have said so: while lists show the workload, that is an error of the platform's."""
    place, workload = await with_a_duplicate()
    place.platform.deletes = deque([Deleted.UNKNOWN] * 3)
    attempts = Attempts(place, workload)

    assert await attempts.run() is Deleted.CONFIRMED
    assert {error.reason for error in attempts.refused} == {Reason.PLATFORM_ERROR}
    assert "support-bot-1" not in place.platform.rows


@virtual
async def test_a_deletion_that_is_carried_out_later() -> None:
    """202, and gone from a later list: the deletion is sent once."""
    place, workload = await with_a_duplicate()
    place.platform.deletes = deque([Deleted.ACCEPTED] * 3)
    attempts = Attempts(place, workload)
    running = asyncio.create_task(attempts.run())
    await asyncio.sleep(20.0)
    assert not running.done()
    del place.platform.rows["support-bot-1"]

    assert await running is Deleted.ACCEPTED
    assert place.did.count("delete") == 1
    assert place.memory(workload).deletion_accepted is None


@virtual
async def test_a_deletion_that_is_never_carried_out_is_repeated() -> None:
    """202 again and again, and the list shows the workload: it is said, and asked for after each time to settle."""
    place, workload = await with_a_duplicate()
    place.platform.deletes = deque([Deleted.ACCEPTED] * 3)
    attempts = Attempts(place, workload)

    assert await attempts.run() is Deleted.CONFIRMED
    assert "still lists it" in attempts.refused[0].message
    deletions = place.platform.times("delete")
    assert len(deletions) == 4
    assert all(later - earlier >= SETTLE for earlier, later in pairwise(deletions))
    assert attempts.count <= 10


@pytest.mark.parametrize(
    ("answers", "refused", "outcome"),
    [
        ([Deleted.CONFIRMED], 0, Deleted.CONFIRMED),
        ([Deleted.UNKNOWN], 1, Deleted.UNKNOWN),
        ([Deleted.ACCEPTED], 1, Deleted.ACCEPTED),
    ],
)
@virtual
async def test_a_list_that_cannot_be_read_backs_nothing(answers: list[Deleted], refused: int, outcome: Deleted) -> None:
    """The deletion is sent all the same, as it goes by id; anything but its confirmation waits for a readable list."""
    place, workload = await with_a_duplicate()
    whole = place.platform.list_workloads
    broken = True

    async def list_workloads(token: str, project: str) -> ListAnswer:
        answer = await whole(token, project)
        return ListAnswer(b"{" + answer.body) if broken else answer

    place.platform.list_workloads = list_workloads  # type: ignore[method-assign]
    place.platform.deletes = deque(answers * 3 if outcome is not Deleted.CONFIRMED else answers)
    attempts = Attempts(place, workload)
    running = asyncio.create_task(attempts.run())
    await asyncio.sleep(0.5)
    assert running.done() is (outcome is Deleted.CONFIRMED)
    assert place.did.count("delete") == 1
    broken = False
    place.platform.rows.pop("support-bot-1", None)

    assert await running is outcome
    assert len(attempts.refused) == refused


@virtual
async def test_a_deletion_without_an_answer_is_sent_again() -> None:
    """It may have been carried out: the next one tells."""
    place, workload = await with_a_duplicate()
    await place.project().look()
    place.platform.fails.append(LOST)
    attempts = Attempts(place, workload)

    assert await attempts.run() is Deleted.CONFIRMED
    assert [error.uncertain for error in attempts.refused if isinstance(error, PlatformFailure)] == [True]
    assert place.did.count("delete") == 2


# -- the record ----------------------------------------------------------------------------------------------------


@virtual
async def test_a_duplicate_is_recorded_before_it_is_deleted() -> None:
    """Its id is in the status while the deletion may be under way; the creation that made it is over."""
    place = await a_place(uncertain_create_timeout=SETTLE)
    place.platform.rows["support-bot-1"] = row("support-bot-1", **MADE)
    workload = replace(a_workload(), status=replace(a_workload().status, creation=RECORD))
    place.stands(workload)
    place.memory(workload).duplicate = DUPLICATE
    _, project = await reach(place.context, workload)

    workload = await remove_duplicate(place.context, workload, project)

    assert place.did == ["status", "delete", "status"]
    assert [patch.get("duplicateWorkloadId") for patch in place.kubernetes.patches] == [DUPLICATE, None]
    assert place.kubernetes.patches[0]["creation"] is None
    assert duplicate_of(place.context, workload) is None
    assert [reason for reason, _ in place.events.of_workloads] == [Reason.DUPLICATE_WORKLOAD]
    assert await remove_duplicate(place.context, workload, project) == workload
    assert len(place.did) == 3


@virtual
async def test_a_duplicate_whose_record_is_refused_is_deleted_all_the_same() -> None:
    """Kubernetes did not take the write: should the process die, nobody else knows of it."""
    place = await a_place(uncertain_create_timeout=SETTLE)
    workload = place.now_stands(a_workload())
    place.memory(workload).duplicate = DUPLICATE
    place.kubernetes.fails = [ClusterError(503, "not now")]
    _, project = await reach(place.context, workload)

    await remove_duplicate(place.context, workload, project)

    assert place.did == ["status", "delete"]
    assert duplicate_of(place.context, workload) is None


@virtual
async def test_a_duplicate_of_a_former_process_is_deleted() -> None:
    """Nothing is remembered, and the status has its id: no further record is needed."""
    place, workload = await with_a_duplicate()
    _, project = await reach(place.context, workload)

    workload = await remove_duplicate(place.context, workload, project)

    assert place.did == ["delete", "status"]
    assert workload.status.duplicate_workload_id is None


# -- what may be one -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("why", "changes", "announced"),
    [
        ("what was sent, under a number", {}, True),
        ("another model", {"model_name": "other"}, False),
        ("older than the creation", {"created_at": NOW.replace(hour=1)}, False),
        ("of unknown age", {"created_at": None}, True),
        ("of another project", {"project_slug": "staging"}, False),
    ],
)
@virtual
async def test_what_may_be_a_duplicate_is_announced(why: str, changes: dict[str, Any], announced: bool) -> None:
    """Once, as a warning: the answer that had its id was lost. The operator deletes nothing of it."""
    place = await a_place()
    place.platform.rows["support-bot-7"] = row("support-bot-7", **{**MADE, "created_at": NOW, **changes})
    place.platform.rows["support-bot-x"] = row("support-bot-x", **MADE)
    workload, project = place.now_stands(a_workload()), place.project()
    await project.look()

    for _ in range(3):
        announce_duplicates(place.context, workload, IDENTITY, project, RECORD)

    assert len(place.events.warnings) == (1 if announced else 0), why
    assert all("support-bot-7" in note for note in place.events.warnings)
    assert place.did == []


@virtual
async def test_what_another_workload_declares_is_no_duplicate() -> None:
    """A slug with a number may be somebody's own."""
    place = await a_place()
    place.platform.rows["support-bot-7"] = row("support-bot-7", **MADE)
    seven = a_workload(name="seven", uid="uid-of-seven")
    place.stands(seven)
    place.context.claims.stake(seven.key, replace(IDENTITY, slug="support-bot-7"), lambda: False)
    project = place.project()
    await project.look()

    announce_duplicates(place.context, place.now_stands(a_workload()), IDENTITY, project, RECORD)

    assert place.events.warnings == []
