"""Sending a POST, which the platform does not make idempotent: a second one is a billable duplicate.

The record comes first: our finalizer, then the pinned identity and the platform's time in the status, then the POST,
right after the record in the same place of the platform's queue. So what is sent was still declared a moment before,
and whoever comes after a crash knows what was sent and where. A creation in doubt is not repeated before whatever was
sent can have been carried out, and shown by a list.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from inferencekey_operator.api.status import Creation, Readiness
from inferencekey_operator.api.workload import RECONCILE_REQUESTED_AT, OnDrift, Workload
from inferencekey_operator.cache.workloads import Taken, pending_creation
from inferencekey_operator.errors import Actor, ConfigurationError, PlatformFailure, Reason
from inferencekey_operator.inferencekey.wire import LiveWorkload
from inferencekey_operator.plan.conditions import Report
from inferencekey_operator.plan.credentials import pinned_identity, pins
from inferencekey_operator.plan.ownership import Origin, sent_hash
from inferencekey_operator.plan.plan import Create
from inferencekey_operator.reconcile.conflicts import is_conflict, weigh
from inferencekey_operator.reconcile.context import Context, RequeueAfter, deciding
from inferencekey_operator.reconcile.duplicates import remove_duplicate
from inferencekey_operator.reconcile.observe import Observed, drift_policy, refuse_rivals
from inferencekey_operator.reconcile.safeguards import refuse_the_unlisted
from inferencekey_operator.redaction import excerpt

_FAILED = frozenset({500, 503})
"""What the platform says itself when it gave up. Of a gateway's 502 or 504 it may know nothing, and go on."""
MOST_TAKEN = 2
"""How often the platform may answer with the same other slug, before a person has to look at it."""


def wait_for_the_uncertain(context: Context, workload: Workload) -> float:
    """Raises RequeueAfter while a creation that was begun before may still be carried out.

    Returns since when that is over, in the loop's time: the list that a creation rests on begins later.
    """
    memory, settings, term = context.store.memory(workload.key), context.settings, context.terms.of(workload.namespace)
    until = max(term.creates_from, context.claims.settles_at(workload.key))
    uncertain, unanswered = memory.uncertain_since, memory.unanswered
    if on_record(context, workload) and (uncertain is None or uncertain < term.began):
        # Another process may have begun one; what we remember is of a former term.
        uncertain = max(term.began, memory.record_seen or term.began)
        unanswered = True
    if uncertain is not None:
        settles_in = settings.uncertain_create_timeout if unanswered else 0.0
        until = max(until, uncertain + max(settles_in, settings.client_timeout))
    left = until - asyncio.get_running_loop().time()
    if left > 0:
        raise RequeueAfter(left)
    return until


async def restore_the_record(context: Context, workload: Workload) -> Workload:
    """Write the record again that hands removed from the status, while what it is of may still be carried out."""
    memory, status = context.store.memory(workload.key), workload.status
    if memory.uncertain_since is None or memory.sent is None or status.creation is not None or status.workload_id:
        return workload
    who, creation = memory.sent
    uncertain = memory.uncertain_since
    workload = await context.reporter.record(workload, creation=creation, adopted=None, **pins(who))
    memory.posted, memory.uncertain_since = True, uncertain
    return workload


def on_record(context: Context, workload: Workload) -> bool:
    """Whether a creation is on record whose outcome is not known, and which may have made a workload."""
    pending = pending_creation(workload, context.store.memory(workload.key))
    return pending is not None and workload.status.workload_id is None


def refuse_the_outdated(context: Context, workload: Workload, policy: OnDrift) -> None:
    """While we waited for the platform the declaration may have moved, or be suspended, or be on its way out."""
    if not context.store.current(workload):
        raise RequeueAfter(0.0)
    try:
        now = drift_policy(context, workload)
    except ConfigurationError:
        raise RequeueAfter(0.0) from None
    if now is not policy:
        raise RequeueAfter(0.0)


async def create(
    context: Context, workload: Workload, observed: Observed, step: Create
) -> tuple[Workload, LiveWorkload]:
    """Record the intent, send, and make sure that what came of it is what was wanted."""
    slug, project = observed.identity.slug, observed.project
    # Of the Workload as it was decided on: the answer to a write of ours may already show a later edit.
    still_wanted = partial(refuse_the_outdated, context, workload, observed.policy)
    await _refuse_the_taken(context, workload, observed)
    reused = project.written_at(slug) > float("-inf")  # lists may not show yet what was made of the slug before
    if step.again or reused or workload.status.creation is not None or slug in project.cache.deleted:
        await refuse_the_unlisted(project, slug)
    if not workload.has_finalizer:
        decided, workload = workload, await context.reporter.add_finalizer(workload)
        if workload.status != decided.status:
            raise RequeueAfter(0.0)  # another operator wrote between the decision and this write
    workload, answer = await _post(context, workload, observed, step, still_wanted)
    if answer.slug != slug:
        await _disown(context, workload, observed, answer)
    return workload, answer


async def _post(
    context: Context, workload: Workload, observed: Observed, step: Create, still_wanted: Callable[[], None]
) -> tuple[Workload, LiveWorkload]:
    memory, loop = context.store.memory(workload.key), asyncio.get_running_loop()
    prepared, former = False, memory.uncertain_since
    before_this = pending_creation(workload, memory)

    async def prepare() -> None:
        nonlocal workload, prepared
        still_wanted()
        before = workload.status.creation
        workload = await _record(context, workload, observed, again=step.again)
        written_here = memory.void or not _same_record(before, workload.status.creation)
        workload = await _yield_to_earlier(context, workload, observed, written_here=written_here)
        prepared = memory.posted = True
        memory.unsent = None
        memory.sent = (observed.identity, workload.status.creation) if workload.status.creation else None
        memory.void = False
        memory.uncertain_since, memory.unanswered = loop.time(), True
        context.serving.written(workload.key)

    try:
        with deciding(still_wanted):
            answer = await observed.project.create(step.body, prepare)
    except (RequeueAfter, PlatformFailure) as error:
        if prepared and isinstance(error, PlatformFailure) and error.uncertain:
            memory.uncertain_since, memory.unanswered = loop.time(), error.status not in _FAILED
        elif prepared:
            _nothing_came_of_it(context, workload, former)
            if isinstance(error, PlatformFailure) and is_conflict(error) and before_this is not None:
                # What has the slug may be what the creation before this one made, whose answer was lost.
                memory.uncertain_since, memory.posted, memory.void = former, former is not None, False
        if isinstance(error, PlatformFailure):
            raise weigh(context, workload, error) from None
        raise
    memory.uncertain_since, memory.made, memory.written_at, memory.conflict = None, answer.id, loop.time(), None
    return workload, answer


def _nothing_came_of_it(context: Context, workload: Workload, former: float | None) -> None:
    """The creation was refused, or was not sent: what is on record made nothing.

    Unless a `former` one, which the platform said it failed to carry out, may still be.
    """
    memory, now = context.store.memory(workload.key), asyncio.get_running_loop().time()
    may_come = former is not None and now < former + context.settings.uncertain_create_timeout
    memory.uncertain_since, memory.posted, memory.void = former if may_come else None, may_come, not may_come


def taken_back(context: Context, workload: Workload, reason: Reason) -> dict[str, Any]:
    """The fields of a status that are removed after a definite refusal: the record, and what was pinned for it.

    Trouble that passes is not worth the writes: the creation is sent again soon, under the same record.
    """
    memory = context.store.memory(workload.key)
    if not memory.void or workload.status.creation is None or reason.actor is Actor.PLATFORM:
        return {}
    return {"creation": None, **(pins(None) if memory.bare else {})}


async def _yield_to_earlier(
    context: Context, workload: Workload, observed: Observed, *, written_here: bool
) -> Workload:
    """Where other replicas create too, only the one goes on that began first; the other takes its record back.

    Unless another process wrote it, which may have sent the creation.
    """
    if context.precedence is None:
        return workload
    memory = context.store.memory(workload.key)
    try:
        if not await context.precedence.knows_all_before(workload):
            raise RequeueAfter(1.0)
        refuse_rivals(context, workload, observed.identity)
    except (RequeueAfter, ConfigurationError):
        if written_here and not memory.posted:
            memory.void = True
            gone = taken_back(context, workload, Reason.SLUG_CONFLICT)
            workload = await context.reporter.record(workload, **gone)
            if memory.bare:
                await context.reporter.remove_finalizer(workload)
        raise
    return workload


async def _record(context: Context, workload: Workload, observed: Observed, *, again: bool) -> Workload:
    """Write the record, with the identity that it is of; what is recorded of a workload that is gone goes with it."""
    who, status, memory = observed.identity, workload.status, context.store.memory(workload.key)
    creation = Creation(time=_whole(observed.project.date), sent=sent_hash(observed.declared))
    if status.creation is not None and status.creation.sent == creation.sent and status.workload_id is None:
        if status.creation == memory.unsent:
            return workload
        # Each attempt is a write, so that of two operators that repeat it at one moment only one goes on.
        if _as_old(status.creation, creation, context.settings.uncertain_create_timeout):
            creation = replace(creation, time=status.creation.time)
        creation = replace(creation, attempts=status.creation.attempts + 1)
        workload = await context.reporter.record(workload, creation=creation)
        memory.unsent = creation  # not before: another operator may have written the same, and this write was refused
        return workload
    memory.bare, memory.posted = pinned_identity(workload) is None, False
    changes = {
        "creation": creation,
        **pins(who),
        "workload_id": None,
        "adopted": None,
    }
    message = (
        "The workload is being created again on the platform"
        if again
        else "The workload is being created on the platform"
    )
    report = Report(Reason.PROGRESSING, message, readiness=Readiness(), changes=changes)
    memory.made = None
    workload = await context.reporter.report(workload, report)
    memory.unsent = creation
    return workload


def _same_record(before: Creation | None, now: Creation | None) -> bool:
    """Whether they tell of the same creation and time, by whichever attempt."""
    if before is None or now is None:
        return before is now
    return (before.time, before.sent) == (now.time, now.sent)


def _as_old(recorded: Creation, now: Creation, lag: float) -> bool:
    """Whether the record's time still stands for this moment: of what is sent again soon it stays the first one."""
    if recorded.time is None or now.time is None:
        return recorded.time == now.time
    return 0 <= (now.time - recorded.time).total_seconds() < lag


def _whole(moment: datetime | None) -> datetime | None:
    """As a status keeps it."""
    return None if moment is None else moment.astimezone(UTC).replace(microsecond=0)


async def _refuse_the_taken(context: Context, workload: Workload, observed: Observed) -> None:
    """After one duplicate, send no further creation before it is known who has the slug.

    A row with our slug in a list ends this. So does another declaration, or a person who asks for it.
    """
    memory, slug = context.store.memory(workload.key), observed.identity.slug
    taken = memory.taken
    if taken is None:
        return
    if (taken.generation, taken.requested) != (workload.generation, workload.annotations.get(RECONCILE_REQUESTED_AT)):
        memory.taken = None
        return
    numbered = re.fullmatch(rf"{re.escape(slug)}-[0-9]+", taken.slug) is not None
    if not numbered or taken.times >= MOST_TAKEN:
        raise _takes_another(slug, taken.slug)
    if observed.project.began < taken.at + context.settings.uncertain_create_timeout or await observed.project.exists(
        slug
    ):
        raise _held_unseen(slug, taken.slug)


def _takes_another(slug: str, made: str) -> ConfigurationError:
    return ConfigurationError(
        Reason.PLATFORM_REFUSED,
        f'The platform makes the slug "{excerpt(made, 128)}" of the slug "{slug}". The operator deleted the workload '
        "again, and creates no other. To go on, declare a new Workload whose spec.slug is one that the platform keeps",
    )


def _held_unseen(slug: str, made: str) -> PlatformFailure:
    return PlatformFailure(
        Reason.PLATFORM_ERROR,
        f'The platform made "{made}" of the slug "{slug}", so a workload that the list does not show has the slug. The '
        "operator deleted the duplicate, and creates nothing until a list shows who has it.",
    )


async def _disown(context: Context, workload: Workload, observed: Observed, answer: LiveWorkload) -> None:
    """Someone else has the slug, or the platform spells it in another way: what we made is deleted again; raises."""
    memory, slug = context.store.memory(workload.key), observed.identity.slug
    before = memory.taken
    times = before.times + 1 if before is not None and before.slug == answer.slug else 1
    requested = workload.annotations.get(RECONCILE_REQUESTED_AT)
    memory.taken = Taken(answer.slug, asyncio.get_running_loop().time(), workload.generation, requested, times)
    memory.duplicate, memory.made, memory.posted, memory.void = answer.id, None, False, True
    await remove_duplicate(context, workload, observed.project)
    await _refuse_the_taken(context, workload, observed)
    raise _held_unseen(slug, answer.slug)


def wait_for_evidence(context: Context, workload: Workload, observed: Observed) -> None:
    """While a creation may still be carried out, what it makes tells whose a row in doubt is."""
    if observed.origin is not Origin.DOUBT:
        return
    settled_at = wait_for_the_uncertain(context, workload)
    if observed.project.began <= settled_at:
        context.store.memory(workload.key).seen = asyncio.get_running_loop().time()
        raise RequeueAfter(0.01)
