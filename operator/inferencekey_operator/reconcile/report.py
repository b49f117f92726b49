"""Says what a reconcile found and did: the endpoint's ConfigMap, the status, Events, and who is followed afterwards.

Decides what is written where something could not be published. Must not know how a plan is carried out.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

from inferencekey_operator.api.status import AppliedField, Readiness
from inferencekey_operator.api.workload import Workload, stays
from inferencekey_operator.errors import Actor, ConfigurationError, OperatorError, PlatformFailure, Reason
from inferencekey_operator.inferencekey.project import Project
from inferencekey_operator.inferencekey.readiness import Phase
from inferencekey_operator.inferencekey.wire import LiveWorkload
from inferencekey_operator.kube.errors import ClusterError
from inferencekey_operator.plan import conditions, records
from inferencekey_operator.plan.conditions import Report
from inferencekey_operator.plan.credentials import with_remedy
from inferencekey_operator.plan.drift import compare, kept_by_platform
from inferencekey_operator.plan.events import EventMessage, announce, doubtful, kept
from inferencekey_operator.plan.ownership import Origin
from inferencekey_operator.reconcile import drift_metrics
from inferencekey_operator.reconcile.apply import Applied
from inferencekey_operator.reconcile.context import Context, RequeueAfter
from inferencekey_operator.reconcile.creation import taken_back
from inferencekey_operator.reconcile.observe import Observed, drift_policy, settled
from inferencekey_operator.reconcile.safeguards import Safeguards, look_requested

BELIEVED_AFTER = 2.0
"""How many intervals the platform refuses a credential or a project before what was settled says so."""
IDLERS_FOLLOWED = 60.0
"""Seconds that the start of a workload is followed which may well stay idle for ever."""

_Refused = OperatorError | ClusterError | None
"""What kept the endpoint's ConfigMap from being written; None where nothing did."""


class Reports:
    """Writes what a Workload's status says, by whichever end a reconcile had."""

    def __init__(self, context: Context, safeguards: Safeguards) -> None:
        self._context, self._safeguards = context, safeguards

    async def applied(self, applied: Applied) -> None:
        """Publish the endpoint, write the status, follow readiness; raises what has to be tried again."""
        live = applied.live if applied.plan.reason is not Reason.ADOPTION_PENDING else None
        refused = await self._publish(applied, live) if live else None
        report = self._report_of(applied, live, refused)
        workload = await self._write(applied, report)
        if live:
            workload = await self._take_over(workload)
            self._follow(workload, applied, live, report.readiness or Readiness())
        elif applied.live is None:
            self._context.serving.forget(workload.key)
        self._raise_what_is_left(workload, applied, live, refused)

    async def failed(self, workload: Workload, error: OperatorError) -> None:
        """Say what stopped a Workload: not of one that is as it was, while the platform is in trouble as a whole.

        Raises RequeueAfter where a refusal may be a whim: what is settled says so once that has lasted.
        """
        project = self._context.projects.of(workload.key)
        passing = isinstance(error, PlatformFailure) and error.reason.actor is Actor.PLATFORM
        outage = passing and project is not None and project.down
        if outage and settled(workload):
            return
        if project is not None and project.trouble is not None and project.trouble.reason is error.reason:
            self._wait_for_a_whim_to_pass(workload, project)
        refusal = project.refusal if project is not None else None
        told_of_all = outage or (refusal is not None and refusal.reason is error.reason)
        report = conditions.failure(with_remedy(workload, error))
        with suppress(ConfigurationError):
            report = replace(report, policy=drift_policy(self._context, workload))
        await self._report_no_change(
            workload, report, [] if told_of_all else announce(workload, report, None, None, None)
        )

    async def suspended(self, workload: Workload) -> None:
        """Suspended: nothing is called, and nothing is written but the condition."""
        self._context.serving.rest(workload.key)
        self._context.projects.leave(workload.key)
        await self._report_no_change(workload, conditions.suspended(workload))

    async def guard(self, workload: Workload) -> Workload:
        """What is to be deleted one day has the finalizer; what was found gets it after the status says so."""
        if workload.status.workload_id is None or stays(workload) or workload.has_finalizer:
            return workload
        return await self._context.reporter.add_finalizer(workload)

    def _wait_for_a_whim_to_pass(self, workload: Workload, project: Project) -> None:
        """A refusal that lasts for a moment is no reason to write the status of each Workload of a project."""
        if project.refused_since is None or not settled(workload) or look_requested(workload):
            return
        believed_from = project.refused_since + BELIEVED_AFTER * self._context.settings.list_interval
        left = believed_from - asyncio.get_running_loop().time()
        if left > 0:
            raise RequeueAfter(left)

    async def _report_no_change(
        self, workload: Workload, report: Report, told: list[EventMessage] | None = None
    ) -> None:
        """Write a status that says why nothing is done, and take back the record of what was refused."""
        gone = taken_back(self._context, workload, report.reason)
        bare = self._context.store.memory(workload.key).bare
        workload = await self._context.reporter.report(workload, replace(report, changes=gone), told or [])
        if gone and bare and workload.has_finalizer:
            await self._context.reporter.remove_finalizer(workload)

    def _report_of(self, applied: Applied, live: LiveWorkload | None, refused: _Refused) -> Report:
        """The whole status, as a function of what happened."""
        plan_input, plan = applied.plan_input, applied.plan
        workload, memory = plan_input.workload, self._context.store.memory(plan_input.workload.key)
        ours = records.ours(plan_input, plan, live, published=refused is None) if live else {}
        readiness = self._readiness(workload, live.id, ours["last_applied"]) if live else Readiness()
        if live and memory.lost is None:
            ours["creation"] = None
        return replace(
            _unpublished(refused) or conditions.verdict(workload, plan, applied.live, readiness),
            readiness=readiness,
            drift=conditions.drift_status(plan, plan_input.policy, workload.status.drift, datetime.now(UTC)),
            drift_message=conditions.describe(workload, plan) if plan.held else "",
            changes=taken_back(self._context, workload, Reason.PLAN_PENDING) | records.handled(workload, plan) | ours,
        )

    async def _write(self, applied: Applied, report: Report) -> Workload:
        """The status and its Events, and what is counted of drift."""
        workload, plan = applied.plan_input.workload, applied.plan
        if plan.comparison is not None and plan.comparison.restated:
            self._context.store.memory(workload.key).repairs = ()  # nobody undid them
        drift_metrics.count_repaired(applied.plan_input.declared, plan, applied.live)
        written = await self._context.reporter.report(workload, report, self._told(applied, report))
        drift_metrics.count_found(workload.status.drift, plan)
        return written

    async def _take_over(self, workload: Workload) -> Workload:
        if workload.status.adopted:
            self._context.store.memory(workload.key).sent = None  # decided: a wiped status does not reopen it
        return await self.guard(workload)

    def _raise_what_is_left(
        self, workload: Workload, applied: Applied, live: LiveWorkload | None, refused: _Refused
    ) -> None:
        """What has to be tried again, and when."""
        if isinstance(refused, ClusterError) or (refused and refused.reason is Reason.CONFIG_MAP_REFUSED):
            raise refused
        if refused is not None:
            raise RequeueAfter(refused.retry_after or self._context.settings.list_interval)
        declared, agreed = applied.observed.declared, workload.status.last_applied
        if live and applied.plan.sent and compare(declared, live, agreed).differences:
            raise RequeueAfter(0.0)  # somebody changed another field meanwhile
        if (lost := self._context.store.memory(workload.key).lost) is not None:
            left = lost[1] - asyncio.get_running_loop().time()
            raise RequeueAfter(min(max(left, 0.1), self._context.settings.list_interval))  # a list may show a duplicate

    def _told(self, applied: Applied, report: Report) -> list[EventMessage]:
        observed, plan, live = applied.observed, applied.plan, applied.live
        workload = applied.plan_input.workload
        if plan.reason is Reason.MASS_MISSING and not self._safeguards.first_of_the_mass(observed.project):
            return []
        made = self._context.store.memory(workload.key).made
        told = announce(workload, report, plan, observed.policy, live, made=made)
        told += self._doubted(workload, observed)
        if plan.perform and live is not None:
            told += kept(kept_by_platform(observed.declared, live, plan.sent))
        if plan.comparison is not None:
            told += kept(plan.comparison.restated)
        return told

    def _doubted(self, workload: Workload, observed: Observed) -> list[EventMessage]:
        """Once: a row may be our own, or someone else's."""
        memory, live = self._context.store.memory(workload.key), observed.live
        if observed.origin is not Origin.DOUBT or live is None or live.id in memory.announced:
            return []
        memory.announced |= {live.id}
        return [doubtful(live)]

    def _readiness(self, workload: Workload, workload_id: str, agreed: tuple[AppliedField, ...]) -> Readiness:
        """The last that the platform told since the last write; what a former process was told, if none came since.

        Nothing that was told of another workload, which had the slug before.
        """
        if workload.status.workload_id not in (None, workload_id):
            self._context.serving.written(workload.key)
        told = self._context.serving.phase(workload.key)
        if told is not None:
            return told
        return Readiness() if records.shows_a_write(workload, agreed) else workload.status.readiness

    async def _publish(self, applied: Applied, live: LiveWorkload) -> _Refused:
        """The endpoint's ConfigMap; what stood in its way does not keep the status from being written."""
        if applied.observed.project.echoes.within(live.model_name):
            live = replace(live, model_name="")  # is then not handed on
        try:
            await self._context.publication.publish(applied.plan_input.workload, applied.observed.identity, live)
        except (OperatorError, ClusterError) as error:
            return error
        return None

    def _follow(self, workload: Workload, applied: Applied, live: LiveWorkload, readiness: Readiness) -> None:
        """What is to come of readiness: a stream until it serves, a look now, or a look in its time."""
        project, slug, serving = applied.observed.project, applied.observed.identity.slug, self._context.serving

        def open_stream() -> AsyncGenerator[Phase, None]:
            return project.phases(slug)

        told = not applied.plan.perform and readiness.phase is not None
        if told and (conditions.may_idle(live) or readiness.phase in ("ready", "error")):
            asked = look_requested(applied.plan_input.workload)
            (serving.look_now if asked else serving.look_later)(workload.key, open_stream)
        else:
            serving.follow(workload.key, open_stream, at_most=IDLERS_FOLLOWED if conditions.may_idle(live) else None)


def _unpublished(refused: _Refused) -> Report | None:
    """Not ready: a workload that serves is of no use to applications that are told another endpoint, or none.

    None where nothing is amiss, or only somebody else was faster: that is settled at once.
    """
    if isinstance(refused, OperatorError):
        return conditions.failure(refused)
    if refused is None or refused.conflict or refused.gone or refused.terminating:
        return None
    return Report(
        Reason.PROGRESSING, "The endpoint's ConfigMap is not written yet. The operator retries automatically."
    )
