"""Carries out what a plan says: one POST, one PATCH, or nothing; each recorded before it is sent where it has to be.

Decides once more, under the slug's lock, before a creation. Must not know how what was done is reported.
"""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from inferencekey_operator.api.status import DriftClass, Readiness
from inferencekey_operator.api.workload import Workload
from inferencekey_operator.errors import PlatformFailure
from inferencekey_operator.inferencekey.wire import LiveWorkload
from inferencekey_operator.plan import conditions
from inferencekey_operator.plan.credentials import pins
from inferencekey_operator.plan.ownership import Origin
from inferencekey_operator.plan.plan import Plan, PlanInput
from inferencekey_operator.reconcile.conflicts import weigh
from inferencekey_operator.reconcile.context import Context, RequeueAfter, deciding
from inferencekey_operator.reconcile.creation import create, refuse_the_outdated, wait_for_the_uncertain
from inferencekey_operator.reconcile.decide import Decider
from inferencekey_operator.reconcile.observe import Observed, find, refuse_rivals
from inferencekey_operator.reconcile.safeguards import Safeguards, recheck_absence


@dataclass(frozen=True, slots=True)
class Applied:
    """What was decided from what, and what stands on the platform now."""

    plan_input: PlanInput
    observed: Observed
    plan: Plan
    live: LiveWorkload | None
    """As the platform answered, or as it was observed where nothing was sent."""


class Applier:
    """Sends what is to be sent."""

    def __init__(self, context: Context, safeguards: Safeguards, decider: Decider) -> None:
        self._context, self._safeguards, self._decider = context, safeguards, decider

    def exclusively(self, observed: Observed, plan: Plan) -> AbstractAsyncContextManager[Any]:
        """A creation or an adoption holds the lock of its slug until the status has the id; nothing else needs one."""
        begins = plan.creation or (plan.perform and not observed.known)
        return observed.project.creation(observed.identity.slug) if begins else nullcontext()

    async def apply(self, plan_input: PlanInput, observed: Observed, plan: Plan) -> Applied:
        """Create, update, or leave as it is. Raises as `ensure` does."""
        if plan.creation:
            return await self._create(plan_input.workload, observed)
        if plan.perform and not observed.known:  # another Workload may have adopted it while this one waited
            refuse_rivals(self._context, plan_input.workload, observed.identity)
        workload = await self._record_before_the_update(plan_input.workload, observed, plan)
        live = await self._update(workload, observed, plan)
        return Applied(replace(plan_input, workload=workload), observed, plan, live)

    async def _create(self, workload: Workload, before: Observed) -> Applied:
        """Under the slug's lock: look once more, decide once more, send."""
        context, project = self._context, before.project
        settled_at = wait_for_the_uncertain(context, workload)
        slug_written_at = project.written_at(before.identity.slug)
        seen = context.store.memory(workload.key).seen
        await project.look(max(seen, project.uncertain_since, settled_at, slug_written_at))
        refuse_rivals(context, workload, before.identity)
        live, whose = find(context, workload, before.identity, project)
        observed = replace(before, live=live, origin=whose)
        plan_input, plan = self._decider.decide(workload, observed)
        if plan.creation is None:
            raise RequeueAfter(0.0)
        workload, answer = await create(context, workload, observed, plan.creation)
        return Applied(replace(plan_input, workload=workload), observed, plan, answer)

    async def _update(self, workload: Workload, observed: Observed, plan: Plan) -> LiveWorkload | None:
        memory = self._context.store.memory(workload.key)
        update = plan.update
        if update is None:
            memory.conflict = None
            return observed.live
        try:
            with deciding(partial(refuse_the_outdated, self._context, workload, observed.policy)):
                answer = await observed.project.update(update.workload_id, update.body)
        except PlatformFailure as error:
            if error.uncertain:
                self._context.serving.written(workload.key)
            if error.not_found:
                recheck_absence(memory, observed.project)
            raise weigh(self._context, workload, error) from None
        self._context.serving.written(workload.key)
        memory.denied_since, memory.written_at = None, asyncio.get_running_loop().time()
        memory.conflict = None
        if plan.drift_class is DriftClass.OUT_OF_BAND:
            self._safeguards.repaired(workload)
        return answer

    async def _record_before_the_update(self, workload: Workload, observed: Observed, plan: Plan) -> Workload:
        """What must outlive this process: whose a row is, and that nobody knows whether it serves after the update.

        The record of a creation decides whose it is, and after the update the row resembles another one.
        """
        update = plan.update
        if update is None:
            return workload
        if workload.status.workload_id and plan.drift_class is DriftClass.OUT_OF_BAND:
            return await self._unready(workload, observed, plan)
        if workload.status.workload_id or observed.origin is Origin.FOUND:
            return workload
        workload = await self._context.reporter.record(
            workload, workload_id=update.workload_id, adopted=not observed.known, **pins(observed.identity)
        )
        if observed.known:
            raise RequeueAfter(0.0)
        return workload

    async def _unready(self, workload: Workload, observed: Observed, plan: Plan) -> Workload:
        """Before a repair: of any other update, the hashes of what was applied tell that it was carried out."""
        report = conditions.verdict(workload, plan, observed.live, Readiness())
        return await self._context.reporter.report(workload, replace(report, readiness=Readiness()))
