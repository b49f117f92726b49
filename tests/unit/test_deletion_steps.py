"""The end of a Workload: what is deleted, what is waited for, and what is left, by what its status records."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from inferencekey_operator.api.status import Creation
from inferencekey_operator.api.workload import FINALIZER, Workload
from inferencekey_operator.cache.workloads import Memory
from inferencekey_operator.election.leader import LeadershipLostError
from inferencekey_operator.errors import OperatorError, PlatformFailure, Reason
from inferencekey_operator.inferencekey.client import Deleted
from inferencekey_operator.kube.errors import ClusterError
from inferencekey_operator.plan.events import Done
from inferencekey_operator.plan.ownership import sent_hash
from inferencekey_operator.reconcile.context import RequeueAfter, check_decision
from inferencekey_operator.reconcile.deletion import Deletion, was_abandoned
from unit.builders import IDENTITY, NOW, PLATFORM, a_workload, agreed
from unit.place import Place, a_place
from unit.scripted_platform import DOWN, LOST, now, row
from unit.virtual_time import virtual

SETTLE, INTERVAL = 40.0, 30.0
ID = "wl_support-bot"
MADE = {"name": "support-bot", "backend": "vllm", "model_name": "llama-3"}
RECORD = Creation(time=NOW, sent=sent_hash(MADE))
PINNED = {"platform_url": PLATFORM, "project_slug": "prod", "workload_slug": "support-bot"}


def going(spec: dict[str, Any] | None = None, **status: Any) -> Workload:
    """A Workload that someone has deleted, with our finalizer and this status."""
    workload = a_workload(spec, finalizers=(FINALIZER,), deletion_timestamp=NOW)
    return replace(workload, status=replace(workload.status, **status))


class End:
    """One deletion, tried again as the controller does until it is over."""

    def __init__(self, place: Place, workload: Workload) -> None:
        self.place, self.workload, self.did = place, workload, place.did
        self.platform = place.platform
        self.refused: list[OperatorError] = []
        self.count = 0
        self._deletion = Deletion(place.context)

    @classmethod
    async def of(cls, workload: Workload, *, since_the_term: float = 100.0, **settings: Any) -> End:
        """With a platform that has the workload, in a process that has led for a while."""
        place = await a_place(uncertain_create_timeout=SETTLE, list_interval=INTERVAL, **settings)
        place.platform.rows["support-bot"] = row("support-bot", **MADE, created_at=NOW + timedelta(seconds=3))
        place.context.terms.of_shard[0].began = now() - since_the_term
        if workload.vanished:
            place.store.keep_the_vanished(workload, Memory(now(), guarded=True))
        else:
            place.stands(workload)
        place.memory(workload).record_seen = None
        return cls(place, workload)

    async def comes(self) -> None:
        """Returns once the Workload is released."""
        while True:
            self.count += 1
            assert self.count < 30, (self.did, self.refused)
            workload = self.place.store.get(self.workload.key)
            if workload is None:
                return None
            try:
                return await self._deletion.carry_out(workload)
            except RequeueAfter as later:
                await asyncio.sleep(later.seconds)
            except OperatorError as error:
                self.refused.append(error)
                await asyncio.sleep(max(error.retry_after or 0.0, min(2.0 ** len(self.refused), INTERVAL)))

    @property
    def there(self) -> list[str]:
        """What the platform has."""
        return list(self.platform.rows)

    @property
    def announced(self) -> list[Reason]:
        """The reasons of the Events."""
        return [reason for reason, _ in self.place.events.of_workloads]


RECORDED = {**PINNED, "workload_id": ID, "adopted": False}


@virtual
async def test_a_recorded_workload_is_deleted_by_its_id() -> None:
    """Then the finalizer goes, and nothing more is done."""
    end = await End.of(going(**RECORDED))
    await end.comes()
    await end.comes()
    assert (end.did, end.there, end.announced) == (["delete", "remove finalizer"], [], [Done.DELETED])


@pytest.mark.parametrize(
    ("why", "workload"),
    [
        ("declared to stay", going({"deletion_policy": "Orphan"}, **RECORDED)),
        ("adopted", going(**RECORDED | {"adopted": True})),
    ],
)
@virtual
async def test_what_is_to_stay(why: str, workload: Workload) -> None:
    """It is released without a call."""
    end = await End.of(workload)
    await end.comes()
    assert (end.did, end.there, end.announced) == (["remove finalizer"], ["support-bot"], [Reason.ORPHANED]), why
    assert end.place.lists == 0


@virtual
async def test_what_is_to_stay_is_known_before_it_is_left() -> None:
    """Its creation may still be under way: what comes of it is named before the Workload is released."""
    end = await End.of(going({"deletion_policy": "Orphan"}, creation=RECORD))
    await end.comes()
    assert (end.did, end.there, end.announced) == (["remove finalizer"], ["support-bot"], [Reason.ORPHANED])
    assert ID in end.place.events.of_workloads[0][1]


@virtual
async def test_without_our_finalizer_nothing_is_done() -> None:
    """There is nothing to release."""
    end = await End.of(replace(going(**RECORDED), finalizers=("another",)))
    await end.comes()
    assert (end.did, end.there) == ([], ["support-bot"])


@pytest.mark.parametrize("listed", [False, True])
@virtual
async def test_a_finalizer_proves_nothing(listed: bool) -> None:
    """Anyone who edits Workloads can write it: neither an id nor a creation is on record, so nothing is deleted.

    A workload that has the slug is not left in silence.
    """
    end = await End.of(going())
    if not listed:
        end.platform.rows.clear()
    await end.comes()
    witnesses = [] if listed else ["exists"]
    assert (end.did, end.there) == ([*witnesses, "remove finalizer"], ["support-bot"] if listed else [])
    assert end.announced == ([Reason.ORPHANED] if listed else [])


@virtual
async def test_a_creation_that_was_refused_left_nothing() -> None:
    """This process knows that nothing came of the record."""
    end = await End.of(going(**PINNED, creation=RECORD))
    end.place.memory(end.workload).void = True
    await end.comes()
    assert (end.did, end.there) == (["remove finalizer"], ["support-bot"])


# -- an id on record -----------------------------------------------------------------------------------------------


@virtual
async def test_a_404_needs_a_list_that_backs_it() -> None:
    """The workload was gone already; a process that leads for a short time waits until a list can say so."""
    end = await End.of(going(**RECORDED), since_the_term=10.0)
    began = now()
    end.platform.rows.clear()
    await end.comes()
    assert set(end.did) == {"delete", "remove finalizer"}
    assert now() - began == pytest.approx(30.0, abs=1.0)
    assert end.count == 2


@virtual
async def test_an_accepted_deletion_is_waited_for() -> None:
    """202: the finalizer stays until a list lacks the workload."""
    end = await End.of(going(**RECORDED))
    end.platform.deletes = deque([Deleted.ACCEPTED] * 5)
    coming = asyncio.create_task(end.comes())
    await asyncio.sleep(65.0)
    assert not coming.done()
    end.platform.rows.clear()
    await coming
    assert end.did.count("delete") == 2
    assert end.did[-1] == "remove finalizer"
    assert {error.reason for error in end.refused} == {Reason.PLATFORM_ERROR}


@pytest.mark.parametrize("changes", [{"slug": "other"}, {"project_slug": "staging"}])
@virtual
async def test_a_workload_that_moved_is_left(changes: dict[str, Any]) -> None:
    """Under another slug, or in another project, it is somebody's decision; it is announced, not deleted."""
    end = await End.of(going(**RECORDED))
    end.platform.rows["support-bot"] = replace(end.platform.rows["support-bot"], **changes)
    await end.comes()
    assert end.did == ["remove finalizer"]
    assert end.announced == [Reason.ORPHANED]


@virtual
async def test_trouble_is_waited_out() -> None:
    """Each kind, however often: the finalizer stays."""
    end = await End.of(going(**RECORDED))
    end.platform.fails.extend([DOWN, DOWN, None, LOST, DOWN, None, DOWN])
    await end.comes()
    assert end.there == []
    assert end.did[-1] == "remove finalizer"
    assert all(isinstance(error, PlatformFailure) for error in end.refused)


@virtual
async def test_what_the_deletion_was_decided_for_has_to_stand() -> None:
    """The Workload changed while its deletion waited for the platform: it is decided once more, nothing is sent."""
    end = await End.of(going(**RECORDED))
    real = end.platform.delete

    async def delete(token: str, workload_id: str) -> Deleted:
        check_decision()
        return await real(token, workload_id)

    end.platform.delete = delete  # type: ignore[method-assign]
    stale = end.workload
    later = replace(stale, spec=replace(stale.spec, deletion_policy="Orphan"), generation=2, resource_version="101")
    end.place.stands(later)

    with pytest.raises(RequeueAfter):
        await Deletion(end.place.context)._send(stale, IDENTITY, end.place.project(), ID)
    assert "delete" not in end.did


# -- a creation on record ------------------------------------------------------------------------------------------


@virtual
async def test_what_a_creation_made_whose_answer_was_lost_is_deleted() -> None:
    """The record says that the row of the slug is its own."""
    end = await End.of(going(**PINNED, creation=RECORD))
    await end.comes()
    assert (end.did, end.there) == (["delete", "exists", "remove finalizer"], [])


@pytest.mark.parametrize(("policy", "deleted"), [(None, False), ("Delete", True)])
@virtual
async def test_what_may_be_somebody_elses_is_left_and_announced(policy: str | None, deleted: bool) -> None:
    """A little older than the record: a list that lagged may have hidden it. `Delete` says that it goes anyway."""
    end = await End.of(going({"deletion_policy": policy} if policy else None, **PINNED, creation=RECORD))
    made = NOW - timedelta(seconds=20)
    end.platform.rows["support-bot"] = replace(end.platform.rows["support-bot"], created_at=made)
    await end.comes()
    assert end.there == ([] if deleted else ["support-bot"])
    assert bool(end.place.events.warnings) is not deleted


@virtual
async def test_what_may_still_be_made_is_waited_for() -> None:
    """No row yet: it has the time to settle, two lists have to lack it, and the readiness route as well."""
    end = await End.of(going(**PINNED, creation=RECORD), since_the_term=0.0)
    began = now()
    end.platform.rows.clear()
    await end.comes()
    assert end.did == ["exists", "remove finalizer"]
    assert now() - began >= SETTLE + 0.9 * INTERVAL
    assert end.count <= 5


@virtual
async def test_what_is_made_late_is_deleted_when_it_appears() -> None:
    """That is what was waited for."""
    end = await End.of(going(**PINNED, creation=RECORD), since_the_term=0.0)
    made = end.platform.rows.pop("support-bot")
    coming = asyncio.create_task(end.comes())
    await asyncio.sleep(30.0)
    end.platform.rows["support-bot"] = made
    await coming
    assert (end.did, end.there) == (["delete", "exists", "remove finalizer"], [])


@virtual
async def test_what_only_the_readiness_route_knows_is_waited_for() -> None:
    """No list shows it: the Workload is not released while something answers for its slug."""
    end = await End.of(going(**PINNED, creation=RECORD))
    end.platform.hidden = {"support-bot"}
    coming = asyncio.create_task(end.comes())
    await asyncio.sleep(90.0)
    assert "remove finalizer" not in end.did
    end.platform.hidden.clear()
    await coming
    assert end.there == []


# -- a duplicate ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("workload", "left"),
    [
        (going(**RECORDED, duplicate_workload_id="wl_support-bot-1"), []),
        (going(**PINNED, duplicate_workload_id="wl_support-bot-1"), ["support-bot"]),
        (going({"deletion_policy": "Orphan"}, **RECORDED, duplicate_workload_id="wl_support-bot-1"), ["support-bot"]),
    ],
)
@virtual
async def test_a_duplicate_goes_in_any_case(workload: Workload, left: list[str]) -> None:
    """It is nobody's declaration, so no policy keeps it."""
    end = await End.of(workload)
    end.platform.rows["support-bot-1"] = row("support-bot-1")
    await end.comes()
    assert end.there == left
    assert end.did[0] == "delete"
    assert end.did[-1] == "remove finalizer"


# -- a Workload that vanished --------------------------------------------------------------------------------------


def vanished(spec: dict[str, Any] | None = None, **status: Any) -> Workload:
    """What is left of a Workload whose finalizer somebody took off."""
    return replace(going(spec, **status), vanished=True)


@virtual
async def test_what_a_workload_made_that_vanished_is_deleted() -> None:
    """By its id; then nothing is left to see to."""
    end = await End.of(vanished(**RECORDED))
    await end.comes()
    assert (end.did, end.there) == (["delete"], [])
    assert end.place.store.vanished == ()


@virtual
async def test_what_vanished_gives_way_to_a_new_declaration() -> None:
    """Somebody declares the same by now, perhaps the same manifest again: nothing is deleted under their hands."""
    end = await End.of(vanished(**RECORDED))
    end.place.context.claims.stake(a_workload().key, IDENTITY, lambda: False)
    await end.comes()
    assert (end.did, end.there) == ([], ["support-bot"])
    assert end.place.store.vanished == ()


@virtual
async def test_a_creation_of_what_vanished_is_waited_for_as_any() -> None:
    """It may still be carried out."""
    end = await End.of(vanished(**PINNED, creation=RECORD), since_the_term=0.0)
    made = end.platform.rows.pop("support-bot")
    coming = asyncio.create_task(end.comes())
    await asyncio.sleep(30.0)
    end.platform.rows["support-bot"] = made
    await coming
    assert (end.did, end.there, end.place.store.vanished) == (["delete", "exists"], [], ())


@pytest.mark.parametrize(
    ("why", "workload", "memory", "abandoned"),
    [
        ("it made a workload", agreed(a_workload()), {}, True),
        ("it is to stay", agreed(a_workload({"deletion_policy": "Orphan"})), {}, False),
        ("it was adopted", agreed(a_workload(), adopted=True), {}, False),
        ("its finalizer was removed before it was deleted", agreed(a_workload()), {"guarded": False}, True),
        ("it never had our finalizer, as far as was seen", going(creation=RECORD), {"guarded": False}, False),
        ("it was released by us", agreed(a_workload()), {"release_sent": True}, False),
        ("nothing was made", a_workload(), {}, False),
        ("made, and not recorded yet", a_workload(), {"made": "wl_1"}, True),
        ("its creation may be under way", going(creation=RECORD), {}, True),
        ("that was refused", going(creation=RECORD), {"void": True}, False),
        ("a duplicate is left", agreed(a_workload(), adopted=True), {"duplicate": "wl_2"}, True),
        ("recorded by a former process", going(duplicate_workload_id="wl_2"), {}, True),
    ],
)
def test_who_was_abandoned(why: str, workload: Workload, memory: dict[str, Any], abandoned: bool) -> None:
    """The object went without our release, and something is left to do."""
    assert was_abandoned(workload, Memory(0.0, **{"guarded": True, **memory})) is abandoned, why


# -- the release ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "over"),
    [
        (ClusterError(404, "no"), True),
        (ClusterError(409, "no"), False),
        (ClusterError(503, "no"), False),
        (LeadershipLostError("no"), False),
        (asyncio.CancelledError(), False),
    ],
    ids=["is gone", "moved on", "not now", "the Lease is lost", "the term ends"],
)
@virtual
async def test_a_release_that_is_refused_is_tried_again(error: BaseException, over: bool) -> None:
    """Unless the object is gone: then that was its end. What was asked for is remembered, whatever was answered."""
    end = await End.of(going(**PINNED))
    end.place.kubernetes.fails = [error]
    if over:
        await end.comes()
    else:
        with pytest.raises(type(error)):
            await end.comes()
    memory = end.place.memory(end.workload)
    assert (memory.released, memory.release_sent) == (over, True)
    await end.comes()
    assert end.did.count("remove finalizer") == (1 if over else 2)


@virtual
async def test_a_team_that_deletes_all_it_has_did_not_lose_it() -> None:
    """Each deletion was confirmed, and the finalizer could not be removed at once: the next 404 is the operator's own.

    Workloads that the operator deleted itself count for no fleet that vanished.
    """
    ends = [await End.of(going(**RECORDED))]
    place = ends[0].place
    place.platform.rows.clear()
    for number in range(7):
        name = f"w{number}"
        status = {**RECORDED, "workload_id": f"wl_{name}", "workload_slug": name}
        workload = replace(going(**status), name=name, uid=name)
        place.platform.rows[name] = row(name)
        place.stands(workload)
        ends.append(End(place, workload))
    del ends[0]
    place.kubernetes.fails = [ClusterError(503, "not now") for _ in ends]
    for end in ends:
        with pytest.raises(ClusterError):
            await end.comes()
    assert place.platform.rows == {}

    for end in ends:
        end.count = 0
        await asyncio.wait_for(end.comes(), 5.0)

    assert [end.refused for end in ends] == [[]] * 7
    assert Reason.ORPHANED not in ends[0].announced
