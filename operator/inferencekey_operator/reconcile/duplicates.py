"""A second workload that a creation made since the slug was taken: recorded, deleted, and never forgotten.

Where the answer of the creation arrived, the id is in the status before the deletion is sent, unless Kubernetes does
not take the write, and stays there until the platform has confirmed it. Where the answer was lost, nobody knows for
sure whose such a workload is: it is announced.
"""

from __future__ import annotations

import asyncio
import logging
import re

from inferencekey_operator.api.status import Creation
from inferencekey_operator.api.workload import Workload
from inferencekey_operator.cache.workloads import pending_creation
from inferencekey_operator.errors import PlatformFailure, Reason
from inferencekey_operator.inferencekey.client import Deleted
from inferencekey_operator.inferencekey.project import Project
from inferencekey_operator.kube.errors import ClusterError
from inferencekey_operator.plan.credentials import pins
from inferencekey_operator.plan.ownership import may_be_younger, resembles, surely_younger
from inferencekey_operator.plan.plan import Identity
from inferencekey_operator.reconcile.context import Context, RequeueAfter
from inferencekey_operator.reconcile.safeguards import lists_count_from, recheck_absence

log = logging.getLogger(__name__)

ANNOUNCED_FOR = 3.0
"""For how many times `--uncertain-create-timeout` lists are searched for what a creation made whose answer was lost. If
the platform lags more than that, an Event comes late, and nothing else happens."""


def duplicate_of(context: Context, workload: Workload) -> str | None:
    """The id of a duplicate that has to be deleted, None where there is none."""
    return context.store.memory(workload.key).duplicate or workload.status.duplicate_workload_id


async def remove_duplicate(context: Context, workload: Workload, project: Project) -> Workload:
    """Delete the duplicate, if there is one; returns once the platform confirmed it, and raises while it did not."""
    duplicate, memory = duplicate_of(context, workload), context.store.memory(workload.key)
    if duplicate is None:
        return workload
    if workload.status.duplicate_workload_id != duplicate:
        # What was recorded is answered: whatever has the slug was not made by that creation.
        try:
            workload = await context.reporter.record(workload, duplicate_workload_id=duplicate, creation=None)
        except ClusterError as error:  # what cannot be recorded is deleted all the sooner
            log.warning("%s: the duplicate %s could not be recorded: %s", workload.key, duplicate, error)
    await delete_for_sure(context, workload, project, duplicate)
    note = (
        f"Deleted {duplicate}, a duplicate that the platform had created under another slug, because the slug was taken"
    )
    context.recorder.workload(workload, Reason.DUPLICATE_WORKLOAD, note)
    memory.duplicate = None
    made_nothing = memory.bare and workload.status.workload_id is None
    unpinned = pins(None) if made_nothing else {}
    return await context.reporter.record(workload, duplicate_workload_id=None, creation=None, **unpinned)


async def delete_for_sure(context: Context, workload: Workload, project: Project, workload_id: str) -> Deleted:
    """Send a DELETE by id; returns once the platform confirmed it, or lists confirm that the workload is gone.

    Raises PlatformFailure or RequeueAfter while that is not certain. Where the platform accepts a deletion without
    confirming it, it has `--uncertain-create-timeout` to carry it out, before it is asked again.
    """
    memory, now = context.store.memory(workload.key), asyncio.get_running_loop().time()
    accepted = memory.deletion_accepted
    if (
        accepted is not None
        and accepted[0] == workload_id
        and now < accepted[1] + context.settings.uncertain_create_timeout
    ):
        outcome = Deleted.ACCEPTED
    else:
        outcome = await project.delete(workload_id)
        if outcome is Deleted.ACCEPTED:
            memory.deletion_accepted = workload_id, now
    if outcome is not Deleted.CONFIRMED:
        _refuse_the_listed(context, workload, project, workload_id, outcome)
    memory.deletion_accepted = memory.denied_since = memory.recheck_from = None
    return outcome


def _refuse_the_listed(
    context: Context, workload: Workload, project: Project, workload_id: str, outcome: Deleted
) -> None:
    """Raise unless a list that counts lacks the workload."""
    memory, now = context.store.memory(workload.key), asyncio.get_running_loop().time()
    counts_from, interval = lists_count_from(context, workload), context.settings.list_interval
    listed = project.cache.by_id(workload_id) is not None
    if listed and outcome is Deleted.ACCEPTED:
        memory.recheck_from = now
        raise PlatformFailure(
            Reason.PLATFORM_ERROR,
            f"The platform accepted the deletion of {workload_id}, and still lists it. The operator checks again, and "
            "repeats the deletion.",
            retry_after=interval,
        )
    if now < counts_from:
        memory.recheck_from = counts_from
        raise RequeueAfter(counts_from - now + 0.01)
    if project.answers_unreadably:
        raise PlatformFailure(
            Reason.PLATFORM_ERROR,
            "The platform did not confirm the deletion, and its list cannot be read. The operator retries "
            "automatically.",
        )
    if listed:
        recheck_absence(memory, project)
    if project.began < counts_from:
        memory.recheck_from = counts_from
        raise RequeueAfter(0.01)


def announce_duplicates(
    context: Context, workload: Workload, who: Identity, project: Project, record: Creation
) -> None:
    """Tell, once, of workloads that a creation whose answer was lost may have made under another slug.

    The platform numbers a slug that is taken. Someone may also have renamed what was made, at once.
    """
    memory = context.store.memory(workload.key)
    numbered = re.compile(rf"{re.escape(who.slug)}-[0-9]+")
    for row in project.cache.workloads:
        if row.slug == who.slug or not (numbered.fullmatch(row.slug) or surely_younger(record, row)):
            continue
        known = row.id in memory.announced or row.id == duplicate_of(context, workload)
        declared = context.claims.claimed(who.platform_url, who.project, row.slug)
        if known or declared or not (resembles(record, row) and may_be_younger(record, row)):
            continue
        memory.announced |= {row.id}
        context.recorder.workload(
            workload,
            Reason.DUPLICATE_WORKLOAD,
            f"{row.id} ({row.slug}) is what a creation declared whose answer was lost. It may be a duplicate that is "
            "billed, and the operator does not delete what it cannot prove to be its own. Check it in the dashboard.",
            warning=True,
        )


async def announce_while_possible(context: Context, workload: Workload, who: Identity, project: Project) -> Workload:
    """While lists may still show what came of a creation whose answer was lost; then its record goes."""
    status = workload.status
    memory, now = context.store.memory(workload.key), asyncio.get_running_loop().time()
    pending = pending_creation(workload, memory)
    if pending is not None and (status.workload_id is None or memory.lost is None):
        lasts = ANNOUNCED_FOR * context.settings.uncertain_create_timeout + context.settings.list_interval
        memory.lost = pending, now + lasts
    if memory.lost is None:
        return workload
    record, until = memory.lost
    announce_duplicates(context, workload, who, project, record)
    if now <= until:
        return workload
    memory.lost = None
    return await context.reporter.record(workload, creation=None) if status.workload_id is not None else workload
