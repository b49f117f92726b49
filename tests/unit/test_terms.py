"""What a process of several shards works on, and when a creation that another may have begun is over."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, cast

import pytest

from inferencekey_operator.api.keys import Key
from inferencekey_operator.api.status import Creation
from inferencekey_operator.controller.controller import Controller
from inferencekey_operator.election.leader import LeadershipLostError
from inferencekey_operator.election.leadership import Leadership
from inferencekey_operator.election.shards import shard_of
from inferencekey_operator.election.terms import AT_WORK, Terms
from inferencekey_operator.kube.client import Cluster
from inferencekey_operator.reconcile.context import RequeueAfter
from inferencekey_operator.reconcile.creation import wait_for_the_uncertain
from inferencekey_operator.settings import Settings
from unit.builders import a_workload, at_rest
from unit.elections import no_workloads
from unit.place import Place, body_of
from unit.virtual_time import virtual

SHARDS = 4
KEYS = {shard_of(f"team-{number}", SHARDS): Key(f"team-{number}", "chat") for number in range(40)}


def test_one_shard_is_ours_at_all_times() -> None:
    """A standby hears of everything as a leader does: whether it may act is asked of the Lease."""
    terms = Terms()
    assert all(terms.ours(key) for key in KEYS.values())


def test_of_several_shards_those_are_ours_that_were_begun() -> None:
    """And no other: a term that is over is as one that never was."""
    terms = Terms(SHARDS)
    assert not any(terms.ours(key) for key in KEYS.values())
    terms.of_shard[2].began = 7.0
    assert [shard for shard, key in KEYS.items() if terms.ours(key)] == [2]
    assert [shard for shard, key in KEYS.items() if terms.foreign(key)] == [s for s in KEYS if s != 2]


class Process:
    """A controller over a world in which nothing happens by itself."""

    def __init__(self) -> None:
        self.controller = Controller(SHARDS)
        self.place = Place()
        context = replace(self.place.context, terms=self.controller.terms)
        self.controller.wire(context)
        self.looked_at: list[Key] = []
        for key in KEYS.values():
            context.store.observe(
                body_of(a_workload(namespace=key.namespace, name=key.name, uid=f"uid-{key.namespace}"))
            )
        self.controller.queue._work = self._look

    async def _look(self, key: Key) -> None:
        self.looked_at.append(key)

    async def looks(self) -> list[Key]:
        """What was looked at meanwhile."""
        await asyncio.sleep(0.1)
        seen, self.looked_at = self.looked_at, []
        return seen


@virtual
async def test_a_shard_comes_and_goes() -> None:
    """Its Workloads are looked at when it comes, and not any more once it is gone; the others are not disturbed."""
    process = Process()
    controller = process.controller
    controller.begin(1, settled_in=5.0)
    assert await process.looks() == [KEYS[1]]
    assert controller.terms.of_shard[1].creates_from == 5.0
    controller.begin(3, settled_in=0.0)
    assert await process.looks() == [KEYS[3]]
    assert {workload.key for workload in controller.ours} == {KEYS[1], KEYS[3]}

    await controller.leave(1)
    for key in KEYS.values():
        controller.queue.add(key)
    assert await process.looks() == [KEYS[3]]
    controller.begin(1, settled_in=0.0)
    assert await process.looks() == [KEYS[1]]


@virtual
async def test_what_is_not_settled_goes_first() -> None:
    """Who lost the Lease amid a flood of declarations must not leave those that were in work for its end."""
    process = Process()
    team = KEYS[1].namespace
    for name, rests in (("a-rests", True), ("b-waits", False), ("c-rests", True)):
        workload = a_workload(namespace=team, name=name, uid=f"uid-{name}")
        process.place.store.observe(body_of(at_rest(workload) if rests else workload))
    process.controller.queue._limit = 1
    process.controller.begin(1, settled_in=0.0)
    assert [key.name for key in await process.looks()] == ["chat", "b-waits", "a-rests", "c-rests"]


@virtual
async def test_what_was_half_known_is_seen_anew() -> None:
    """Another replica may have made meanwhile what was missing once."""
    process = Process()
    memory = process.place.store.memory(KEYS[1])
    memory.absent_since = memory.denied_since = 0.0
    await asyncio.sleep(50)
    process.controller.begin(1, settled_in=0.0)
    assert (memory.absent_since, memory.denied_since, memory.seen) == (None, None, 50.0)


@virtual
async def test_a_write_is_asked_for_of_its_own_shard() -> None:
    """Outside of a look at a Workload there is none: lists and streams change nothing, and need no permit."""
    leadership = Leadership(cast(Cluster, None), Controller(SHARDS), Settings(shards=SHARDS), no_workloads)
    leadership._field = leadership._new_candidacies()
    for candidacy in leadership._field:
        candidacy._acting = candidacy.shard == 2
        candidacy.leader._deadline = float("inf")
    allowed = []
    for shard, key in KEYS.items():
        AT_WORK.set(key)
        try:
            leadership.check()
            allowed.append(shard)
        except LeadershipLostError:
            pass
    assert allowed == [2]
    assert leadership.shards_held == 1
    AT_WORK.set(None)
    with pytest.raises(LeadershipLostError, match="only what is done for a Workload"):
        leadership.check()


@pytest.mark.parametrize(
    ("memory", "waits"),
    [
        ({}, 40.0),
        ({"uncertain_since": 50.0}, 40.0),
        ({"uncertain_since": 50.0, "unanswered": False}, 40.0),
        ({"uncertain_since": 110.0}, 50.0),
        ({"uncertain_since": 110.0, "unanswered": False}, 20.0),
    ],
)
@virtual
async def test_what_another_process_may_have_begun(memory: dict[str, Any], waits: float) -> None:
    """A record without an id: what we remember of a former term tells nothing of what was begun since."""
    place = Place(uncertain_create_timeout=40.0, client_timeout=10.0)
    workload = a_workload()
    workload = replace(workload, status=replace(workload.status, creation=Creation()))
    place.stands(workload)
    await asyncio.sleep(100)
    place.context.terms.of_shard[0].began = place.context.terms.of_shard[0].creates_from = 100.0
    for name, value in memory.items():
        setattr(place.store.memory(workload.key), name, value)
    with pytest.raises(RequeueAfter) as later:
        wait_for_the_uncertain(place.context, workload)
    assert later.value.seconds == waits
