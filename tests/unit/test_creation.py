"""Before a POST, where other replicas create too: whose creation was begun first, and what becomes of the other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from inferencekey_operator.creation import create
from inferencekey_operator.errors import ConfigurationError, Reason
from inferencekey_operator.keys import Key
from inferencekey_operator.observe import Observed
from inferencekey_operator.plan import Create
from inferencekey_operator.precedence import Precedence
from inferencekey_operator.reporter import Reporter
from inferencekey_operator.workload import FINALIZER, OnDrift, Workload
from inferencekey_operator.world import AskedAgainError
from unit.builders import IDENTITY, a_live, a_workload
from unit.test_observe import Place, body_of
from unit.virtual_time import virtual

RIVAL = Key("team-b", "support-bot")


class Replica:
    """One that is about to create; `knows` says whether its watch got as far as its finalizer."""

    def __init__(self, *, knows: bool = True, rival_is_first: bool = False) -> None:
        self.did: list[str] = []
        self._knows, self._rival_is_first = knows, rival_is_first
        self._place = Place()
        self.workload = a_workload()
        self._place.stands(self.workload)
        claims = self._place.world.claims
        claims.stake(self.workload.key, IDENTITY, lambda: True)
        self.world = replace(
            self._place.world, precedence=cast(Precedence, self), reporter=cast(Reporter, self), claims=claims
        )

    async def knows_all_before(self, workload: Workload) -> bool:
        """What the watch shows by then."""
        assert workload.has_finalizer
        self.did.append("wait")
        if self._rival_is_first:
            rival = a_workload(namespace="team-b", uid="rival")
            self._place.stands(replace(rival, status=replace(rival.status, workload_id="wl_9")))
            self.world.claims.stake(RIVAL, IDENTITY, lambda: True)
        return self._knows

    async def add_finalizer(self, workload: Workload) -> Workload:
        """In Kubernetes."""
        self.did.append("add finalizer")
        written = replace(workload, finalizers=(FINALIZER,), resource_version="101")
        self._place.store.observe(body_of(written))
        return written

    async def remove_finalizer(self, workload: Workload) -> None:
        """In Kubernetes."""
        assert workload.resource_version == "101"
        self.did.append("remove finalizer")

    async def create(self, body: dict[str, Any]) -> Any:
        """On the platform."""
        self.did.append("POST")
        return a_live()

    async def creates(self) -> None:
        """As `reconcile` does it, under the slug's lock."""
        roster = cast(Any, self)
        observed = Observed(IDENTITY, roster, OnDrift.RECONCILE, {}, None, False)
        await create(self.world, self.workload, observed, Create({}))

    unreadable: frozenset[str] = frozenset()


@virtual
async def test_the_first_one_goes_on() -> None:
    """Its finalizer, the wait, the POST: in this order."""
    replica = Replica()
    await replica.creates()
    assert replica.did == ["add finalizer", "wait", "POST"]


@virtual
async def test_the_second_one_takes_its_record_back() -> None:
    """Nothing was sent, so nothing may have been made."""
    replica = Replica(rival_is_first=True)
    with pytest.raises(ConfigurationError) as stopped:
        await replica.creates()
    assert stopped.value.reason is Reason.SLUG_CONFLICT
    assert replica.did == ["add finalizer", "wait", "remove finalizer"]


@virtual
async def test_one_that_does_not_know_waits() -> None:
    """Its watch is behind: it tries again, and holds up nobody meanwhile."""
    replica = Replica(knows=False)
    with pytest.raises(AskedAgainError):
        await replica.creates()
    assert replica.did == ["add finalizer", "wait", "remove finalizer"]


@virtual
async def test_a_record_of_a_former_look_stays() -> None:
    """Who knows what was sent then: it is no longer ours to take back."""
    replica = Replica(knows=False)
    replica.workload = replace(replica.workload, finalizers=(FINALIZER,))
    with pytest.raises(AskedAgainError):
        await replica.creates()
    assert replica.did == ["wait"]
