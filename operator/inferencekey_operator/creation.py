"""Sending a POST, which the platform does not make idempotent: a second one is a billable twin.

The finalizer is written first: it is the record that a creation was begun, whatever happens to the answer. A creation
in doubt is not repeated before whatever was sent can have been carried out.
"""

from __future__ import annotations

import asyncio

from inferencekey_operator.conditions import Report
from inferencekey_operator.errors import ConfigurationError, PlatformFailure, Reason
from inferencekey_operator.inferencekey.roster import Roster
from inferencekey_operator.inferencekey.wire import LiveWorkload
from inferencekey_operator.observe import Observed, refuse_rivals
from inferencekey_operator.plan import Create, Identity
from inferencekey_operator.status import Readiness
from inferencekey_operator.workload import Workload
from inferencekey_operator.world import AskedAgainError, World

_FAILED = frozenset({500, 503})
"""What the platform says itself when it gave up. Of a gateway's 502 or 504 it may know nothing, and go on."""


def wait_for_the_uncertain(world: World, workload: Workload) -> float:
    """Raises AskedAgainError while a creation that was begun before may still be carried out.

    Returns since when that is over, in the loop's time: the list that a creation rests on begins later.
    """
    memory, settings, term = world.store.memory(workload.key), world.settings, world.terms.of(workload.namespace)
    until, uncertain, unanswered = term.creates_from, memory.uncertain_since, memory.unanswered
    may_be_made = workload.has_finalizer and workload.status.workload_id is None
    if may_be_made and (uncertain is None or uncertain < term.began):
        # Another process may have begun one; what we remember is of a former term.
        uncertain, unanswered = term.began, unanswered or uncertain is not None
    if uncertain is not None:
        settles_in = settings.create_settle if unanswered else 0.0
        until = max(until, uncertain + max(settles_in, settings.client_timeout))
    left = until - asyncio.get_running_loop().time()
    if left > 0:
        raise AskedAgainError(left)
    return until


def refuse_the_outdated(world: World, workload: Workload) -> None:
    """While we waited for the platform the declaration may have moved, or be suspended, or be on its way out."""
    if not world.store.current(workload):
        raise AskedAgainError(0.0)


async def create(world: World, workload: Workload, observed: Observed, step: Create) -> tuple[Workload, LiveWorkload]:
    """Record the intent, send, and make sure that what came of it is what was wanted."""
    slug, roster = observed.identity.slug, observed.roster
    workload = await _come_first(world, workload, await _record_the_intent(world, workload), observed.identity)
    refuse_the_outdated(world, workload)
    answer = await _post(world, workload, observed, step)
    world.serving.forget(workload.key)
    if answer.slug != slug:
        world.store.memory(workload.key).twin = answer.id
        await remove_twin(world, workload, roster)
        raise PlatformFailure(Reason.PLATFORM_ERROR, "The slug was taken meanwhile; the twin was deleted again.")
    return workload, answer


async def _come_first(world: World, before: Workload, workload: Workload, who: Identity) -> Workload:
    """Where other replicas create too, only the one goes on that began first; the other takes its record back."""
    if world.precedence is None:
        return workload
    try:
        if not await world.precedence.knows_all_before(workload):
            raise AskedAgainError(1.0)
        refuse_rivals(world, workload, who)
    except (AskedAgainError, ConfigurationError):
        if not before.has_finalizer:
            await world.reporter.remove_finalizer(workload)
        raise
    return workload


async def remove_twin(world: World, workload: Workload, roster: Roster) -> None:
    """What a POST made under another slug goes again, however often that has to be tried."""
    memory = world.store.memory(workload.key)
    if memory.twin is not None:
        await roster.delete(memory.twin)
        memory.twin = None


async def _record_the_intent(world: World, workload: Workload) -> Workload:
    """Finalizer and no id say: made here, or perhaps. So the id of what is gone goes before another is made."""
    if not workload.has_finalizer:
        workload = await world.reporter.add_finalizer(workload)
    if workload.status.workload_id is None:
        return workload
    forgotten = {"workload_id": None, "adopted": None}
    report = Report(Reason.PROGRESSING, "Created again on the platform", readiness=Readiness(), changes=forgotten)
    return await world.reporter.report(workload, report)


async def _post(world: World, workload: Workload, observed: Observed, step: Create) -> LiveWorkload:
    memory, loop = world.store.memory(workload.key), asyncio.get_running_loop()
    memory.uncertain_since, memory.unanswered = loop.time(), True
    try:
        answer = await observed.roster.create(step.body)
    except PlatformFailure as error:
        memory.uncertain_since = loop.time() if error.uncertain else None
        memory.unanswered = error.status not in _FAILED
        raise
    memory.uncertain_since, memory.made = None, answer.id
    return answer
