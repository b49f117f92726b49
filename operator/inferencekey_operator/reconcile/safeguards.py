"""What keeps a reconciler from doing harm fast: absence that must be confirmed, fleets that vanish, repairs undone.

A list that lacks a workload is no proof: the platform lags behind its own writes, and a list may be empty, or cut.
Remembers what no status tells; what it decided is in the status, and so outlives the process.
"""

from __future__ import annotations

import asyncio
from typing import NoReturn
from weakref import WeakKeyDictionary, WeakSet

from inferencekey_operator.api.workload import RECONCILE_REQUESTED_AT, Workload
from inferencekey_operator.cache.workloads import Memory, Store
from inferencekey_operator.errors import PlatformFailure, Reason
from inferencekey_operator.inferencekey.project import Project
from inferencekey_operator.plan.conditions import condition
from inferencekey_operator.reconcile.context import Context, RequeueAfter

CONFIRM_AFTER = 2.0
"""Seconds between the two lists that confirm an absence, at least; else most of an interval."""
CONTEST_WINDOW = 600.0
CONTEST_REPAIRS = 3
MASS_LEAST = 5


class Safeguards:
    """One per process."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._store: Store = context.store
        self._mass: WeakKeyDictionary[Project, tuple[float, bool]] = WeakKeyDictionary()
        self._told: WeakSet[Project] = WeakSet()

    def missing(self, workload: Workload, project: Project, *, present: bool) -> bool:
        """Whether a known workload is gone for sure; raises RequeueAfter while too few lists say so."""
        memory = self._store.memory(workload.key)
        if present or workload.status.workload_id is None:
            memory.absent_since = memory.recheck_from = None
            if present and ready_reason(workload) == Reason.MASS_MISSING:
                self._told.discard(project)
            return False
        confirm_absence(self._context, workload, project)
        return True

    def vanished_en_masse(self, workload: Workload, project: Project) -> bool:
        """Whether so many of the project went at once that the list is believed less than the status."""
        if look_requested(workload):
            return False
        if ready_reason(workload) == Reason.MASS_MISSING:
            return True
        if workload.deleting:
            return self._most_are_gone(project, deleting=True)
        began, answer = self._mass.get(project, (0.0, False))
        if began != project.began:
            answer = self._most_are_gone(project, deleting=False)
            if not answer:
                self._told.discard(project)
            self._mass[project] = (project.began, answer)
        return answer

    def first_of_the_mass(self, project: Project) -> bool:
        """One Event tells of a fleet that vanished, not one for each Workload."""
        first = project not in self._told
        self._told.add(project)
        return first

    def contested(self, workload: Workload) -> bool:
        """Whether somebody undoes what we repair."""
        memory = self._store.memory(workload.key)
        if look_requested(workload):
            memory.repairs = ()
            return False
        if ready_reason(workload) == Reason.CONTESTED and workload.status.observed_generation == workload.generation:
            return True
        now = asyncio.get_running_loop().time()
        return sum(now - at < CONTEST_WINDOW for at in memory.repairs) >= CONTEST_REPAIRS

    def repaired(self, workload: Workload) -> None:
        """We undid a change of the platform's."""
        memory = self._store.memory(workload.key)
        memory.repairs = (*memory.repairs, asyncio.get_running_loop().time())[-CONTEST_REPAIRS:]

    def _most_are_gone(self, project: Project, *, deleting: bool) -> bool:
        """Of those that are to stay or, with `deleting`, of all: what is being deleted may be gone for that reason."""
        known = missing = 0
        for workload in self._store:
            status = workload.status
            if workload.deleting and not deleting:
                continue
            place = (status.platform_url, status.project_slug)
            if status.workload_id and place == (project.base_url, project.slug):
                memory = self._store.memory(workload.key)
                if memory.deletion_sent or memory.deletion_accepted or memory.deleted:
                    continue  # what we deleted ourselves is no riddle
                known += 1
                missing += project.cache.by_id(status.workload_id) is None
        return missing >= MASS_LEAST and missing * 2 > known


def confirm_absence(context: Context, workload: Workload, project: Project) -> None:
    """Return once two lists, an interval apart, lack the workload, both begun long enough after our last write.

    Raises RequeueAfter before that, for the moment from which on a list can tell more.
    """
    memory, now = context.store.memory(workload.key), asyncio.get_running_loop().time()
    needed = lists_count_from(context, workload)
    if memory.absent_since is None and project.began >= needed:
        memory.absent_since = project.began
    if memory.absent_since is not None:
        needed = memory.absent_since + max(CONFIRM_AFTER, 0.9 * context.settings.list_interval)
    if project.began < needed:
        memory.recheck_from = needed
        raise RequeueAfter(max(needed - now, 0.0) + 0.01)  # a timer may fire a moment early


def lists_count_from(context: Context, workload: Workload) -> float:
    """When, in the loop's time, a list must have begun to contradict what we wrote.

    What a former process wrote is not known, so it counts as written when our term began.
    """
    written = context.store.memory(workload.key).written_at
    began = context.terms.of(workload.namespace).began
    last = began if written is None or written < began else written
    return last + context.settings.uncertain_create_timeout


def newest_needed(memory: Memory) -> float:
    """How new a list must be for a decision that rests on what it lacks."""
    now = asyncio.get_running_loop().time()
    due = memory.recheck_from is not None and memory.recheck_from <= now
    rechecked = memory.recheck_from if due and memory.recheck_from is not None else float("-inf")
    return max(memory.seen, memory.denied_since or memory.seen, rechecked)


async def refuse_the_unlisted(project: Project, slug: str) -> None:
    """Raise where the platform's readiness route answers for a slug that no list shows: one of the two is wrong."""
    if await project.exists(slug):
        raise PlatformFailure(
            Reason.PLATFORM_ERROR,
            f"The platform's list does not show {slug}, but its readiness route answers for it. The operator sends "
            "nothing while the two disagree, and retries automatically.",
        )


def recheck_absence(memory: Memory, project: Project) -> NoReturn:
    """The platform says of a listed row that there is none: a newer list tells whether it went, or is denied."""
    if memory.denied_since is not None and project.began > memory.denied_since:
        raise PlatformFailure(
            Reason.PLATFORM_ERROR,
            "The platform lists the workload, and answers that it does not know it. The operator retries "
            "automatically.",
        )
    memory.denied_since = asyncio.get_running_loop().time()
    raise RequeueAfter(0.0)


def look_requested(workload: Workload) -> bool:
    """Whether somebody asked for a look that was not taken yet."""
    requested = workload.annotations.get(RECONCILE_REQUESTED_AT)
    return bool(requested) and requested != workload.status.last_handled_reconcile_at


def ready_reason(workload: Workload) -> str | None:
    """The reason of the condition Ready, as it stands."""
    ready = condition(workload.status, "Ready")
    return ready.reason if ready else None
