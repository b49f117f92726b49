"""A write that the platform refuses with 409: something else stands in its way, perhaps for a moment, perhaps for good.

Lists lag, so what stands in the way may not be listed yet. Decides how often such a write is tried again before a
person is asked. Each try begins with a new list; nothing that was refused was carried out.
"""

from __future__ import annotations

import asyncio

from inferencekey_operator.api.workload import RECONCILE_REQUESTED_AT, Workload
from inferencekey_operator.cache.workloads import Conflict
from inferencekey_operator.errors import PlatformFailure, Reason
from inferencekey_operator.reconcile.context import Context

TRIES = 4
"""How often a write is refused at least, and for `--uncertain-create-timeout` at least, before a person is asked."""


def is_conflict(error: PlatformFailure) -> bool:
    """Whether the platform itself said 409."""
    return error.status == 409 and error.reason in (Reason.PLATFORM_REFUSED, Reason.PLATFORM_ERROR)


def weigh(context: Context, workload: Workload, error: PlatformFailure) -> PlatformFailure:
    """`error` as it is or, of a conflict that has not lasted yet, as trouble that passes."""
    if error.reason is not Reason.PLATFORM_REFUSED or not is_conflict(error):
        return error
    memory, now = context.store.memory(workload.key), asyncio.get_running_loop().time()
    before, asked = memory.conflict, workload.annotations.get(RECONCILE_REQUESTED_AT)
    if before is None or (before.generation, before.requested) != (workload.generation, asked):
        before = Conflict(now, workload.generation, asked)
    memory.conflict = conflict = before.again()
    memory.seen = now  # the next try needs a list that began after this answer
    if conflict.times >= TRIES and now - conflict.since >= context.settings.uncertain_create_timeout:
        return error
    return PlatformFailure(
        Reason.PLATFORM_ERROR,
        "The platform answered that the write conflicts with something else (409). The operator reads the list again "
        "and retries after waits that grow. If the conflict lasts, the operator quotes the platform here.",
        status=error.status,
    )
