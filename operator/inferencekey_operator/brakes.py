"""What keeps a reconciler from doing harm fast: absence that must be confirmed, fleets that vanish, repairs undone.

Remembers what no status tells; what it decided is in the status, and so outlives the process.
"""

from __future__ import annotations

import asyncio
from weakref import WeakKeyDictionary, WeakSet

from inferencekey_operator.conditions import condition
from inferencekey_operator.errors import Reason
from inferencekey_operator.inferencekey.roster import Roster
from inferencekey_operator.observe import CONFIRM_AFTER, look_requested
from inferencekey_operator.store import Memory, Store
from inferencekey_operator.workload import Workload
from inferencekey_operator.world import AskedAgainError

CONTEST_WINDOW = 600.0
CONTEST_REPAIRS = 3
MASS_LEAST = 5


class Brakes:
    """One per process."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._mass: WeakKeyDictionary[Roster, tuple[float, bool]] = WeakKeyDictionary()
        self._told: WeakSet[Roster] = WeakSet()

    def missing(self, workload: Workload, roster: Roster, *, present: bool) -> bool:
        """Whether a known workload is gone for sure; raises AskedAgainError while one list alone says so."""
        memory = self._store.memory(workload.key)
        if present or workload.status.workload_id is None:
            memory.missing_since = None
            if present and _ready_reason(workload) == Reason.MASS_MISSING:
                self._told.discard(roster)
            return False
        return confirmed(memory, roster)

    def vanished_en_masse(self, workload: Workload, roster: Roster) -> bool:
        """Whether so many of the project went at once that the list is believed less than the status."""
        if look_requested(workload):
            return False
        if _ready_reason(workload) == Reason.MASS_MISSING:
            return True
        began, answer = self._mass.get(roster, (0.0, False))
        if began != roster.began:
            answer = self._most_are_gone(roster)
            if not answer:
                self._told.discard(roster)
            self._mass[roster] = (roster.began, answer)
        return answer

    def first_of_the_mass(self, roster: Roster) -> bool:
        """One Event tells of a fleet that vanished, not one for each Workload."""
        first = roster not in self._told
        self._told.add(roster)
        return first

    def contested(self, workload: Workload) -> bool:
        """Whether somebody undoes what we repair."""
        memory = self._store.memory(workload.key)
        if look_requested(workload):
            memory.repairs = ()
            return False
        if _ready_reason(workload) == Reason.CONTESTED and workload.status.observed_generation == workload.generation:
            return True
        now = asyncio.get_running_loop().time()
        return sum(now - at < CONTEST_WINDOW for at in memory.repairs) >= CONTEST_REPAIRS

    def repaired(self, workload: Workload) -> None:
        """We undid a change of the platform's."""
        memory = self._store.memory(workload.key)
        memory.repairs = (*memory.repairs, asyncio.get_running_loop().time())[-CONTEST_REPAIRS:]

    def _most_are_gone(self, roster: Roster) -> bool:
        known = missing = 0
        for workload in self._store:
            status = workload.status
            place = (status.platform_url, status.project_slug)
            if status.workload_id and place == (roster.base_url, roster.project):
                known += 1
                missing += roster.by_id(status.workload_id) is None
        return missing >= MASS_LEAST and missing * 2 > known


def confirmed(memory: Memory, roster: Roster) -> bool:
    """True once a second list, begun late enough after the first that lacked it, lacks it too."""
    if memory.missing_since is None:
        memory.missing_since = roster.began
    wait = memory.missing_since + CONFIRM_AFTER - roster.began
    if wait > 0:
        raise AskedAgainError(wait)
    return True


def _ready_reason(workload: Workload) -> str | None:
    ready = condition(workload.status, "Ready")
    return ready.reason if ready else None
