"""ensure(): observe, plan, apply, report. Read this first.

Every trigger puts a key into the queue, and the same coroutine runs for it on the object as it stands now. Nothing is
decided from what changed, only from what is. Beside the DELETE of a duplicate, at most one call changes the platform;
and the status is written only if it differs from what stands. Knows neither kopf nor httpx.
"""

from __future__ import annotations

import asyncio

from inferencekey_operator.api.workload import Workload
from inferencekey_operator.errors import OperatorError
from inferencekey_operator.reconcile.access import reach
from inferencekey_operator.reconcile.apply import Applier
from inferencekey_operator.reconcile.context import Context
from inferencekey_operator.reconcile.creation import restore_the_record, wait_for_evidence
from inferencekey_operator.reconcile.decide import Decider, refuse_the_unconfirmed
from inferencekey_operator.reconcile.duplicates import announce_while_possible, duplicate_of, remove_duplicate
from inferencekey_operator.reconcile.observe import observe
from inferencekey_operator.reconcile.report import Reports
from inferencekey_operator.reconcile.safeguards import Safeguards


class Reconciler:
    """Runs the one story for a Workload."""

    def __init__(self, context: Context) -> None:
        safeguards = Safeguards(context)
        self._context, self._decider = context, Decider(context, safeguards)
        self._applier, self._reports = Applier(context, safeguards, self._decider), Reports(context, safeguards)

    async def ensure(self, workload: Workload) -> None:
        """Make the platform match `workload`, as its policy allows, and report.

        Raises OperatorError for what stops it, ClusterError where Kubernetes does, RequeueAfter where it is too early
        to tell.
        """
        workload = await self._prepare(workload)
        if workload.spec.suspend:
            await self._reports.suspended(workload)
            return
        observed = await observe(self._context, workload)
        workload = await announce_while_possible(self._context, workload, observed.identity, observed.project)
        wait_for_evidence(self._context, workload, observed)
        plan_input, plan = self._decider.decide(workload, observed)
        await refuse_the_unconfirmed(observed, plan)
        async with self._applier.exclusively(observed, plan):
            applied = await self._applier.apply(plan_input, observed, plan)
            await self._reports.applied(applied)

    async def report_failure(self, workload: Workload, error: OperatorError) -> None:
        """Say what stopped a Workload, as `Reports.failed` does."""
        await self._reports.failed(workload, error)

    async def _prepare(self, workload: Workload) -> Workload:
        """What comes before everything else, and needs no plan."""
        self._context.installations.refuse_the_contested(workload, asyncio.get_running_loop().time())
        if duplicate_of(self._context, workload) is not None:
            _, project = await reach(self._context, workload)
            workload = await remove_duplicate(self._context, workload, project)
        workload = await self._reports.guard(workload)
        return await restore_the_record(self._context, workload)
