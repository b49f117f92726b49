"""ensure(): observe, plan, apply, report. Read this first.

Every trigger puts a key into the queue, and the same coroutine runs for it on the object as it stands now. Nothing is
decided from what changed, only from what is. At most one call changes the platform, and the status is written only if
it differs from what stands. Knows neither kopf nor httpx.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import UTC, datetime

from inferencekey_operator import conditions, records, tally
from inferencekey_operator.announcements import Announcement, announce, kept
from inferencekey_operator.brakes import Brakes
from inferencekey_operator.cluster import ClusterError
from inferencekey_operator.conditions import Report
from inferencekey_operator.creation import create, refuse_the_outdated, remove_twin, wait_for_the_uncertain
from inferencekey_operator.credentials import with_remedy
from inferencekey_operator.drift import compare, kept_by_platform
from inferencekey_operator.errors import Actor, OperatorError, PlatformFailure, Reason
from inferencekey_operator.inferencekey.readiness import Phase
from inferencekey_operator.inferencekey.wire import LiveWorkload
from inferencekey_operator.observe import Observed, deny, find, look_requested, observe, refuse_rivals, settled
from inferencekey_operator.plan import Create, Plan, Situation, Update, decide
from inferencekey_operator.status import DriftClass, Readiness
from inferencekey_operator.workload import Workload
from inferencekey_operator.world import AskedAgainError, World

IDLERS_FOLLOWED = 60.0
"""Seconds that the start of a workload is followed which may well stay idle for ever."""


class Reconciler:
    """Runs the one story for a Workload."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._brakes = Brakes(world.store)

    async def ensure(self, workload: Workload) -> None:
        """Make the platform match `workload`, as its policy allows, and report.

        Raises OperatorError for what stops it, ClusterError where Kubernetes does, AskedAgainError where it is too
        early to tell.
        """
        if workload.spec.suspend:
            await self._rest(workload)
            return
        standing = self._world.rosters.of(workload.key)
        if standing is not None:
            await remove_twin(self._world, workload, standing)
        observed = await observe(self._world, workload)
        situation = self._situation(workload, observed)
        plan = decide(situation)
        if plan.perform and isinstance(plan.step, Create):
            async with observed.roster.creation(observed.identity.slug):
                await self._create(workload, observed)
            return
        live = await self._apply(workload, observed, plan)
        await self._conclude(situation, observed, plan, live)

    async def report_failure(self, workload: Workload, error: OperatorError) -> None:
        """Say what stopped a Workload: not of one that is as it was, while the platform is in trouble as a whole."""
        roster = self._world.rosters.of(workload.key)
        passing = isinstance(error, PlatformFailure) and error.reason.actor is Actor.PLATFORM
        outage = passing and roster is not None and roster.down
        if outage and settled(workload):
            return
        report = conditions.failure(with_remedy(workload, error))
        told = [] if outage else announce(workload, report, None, None, None)
        await self._world.reporter.report(workload, report, told)

    async def _rest(self, workload: Workload) -> None:
        """Suspended: nothing is called, and nothing is written but the condition."""
        self._world.serving.rest(workload.key)
        self._world.rosters.leave(workload.key)
        await self._world.reporter.report(workload, conditions.suspended(workload))

    # -- plan --------------------------------------------------------------------------------------------------

    def _situation(self, workload: Workload, observed: Observed) -> Situation:
        missing = self._brakes.missing(workload, observed.roster, present=observed.live is not None)
        return Situation(
            workload=workload,
            identity=observed.identity,
            declared=observed.declared,
            live=observed.live,
            policy=observed.policy,
            known=observed.known,
            missing=missing,
            mass_missing=missing and self._brakes.vanished_en_masse(workload, observed.roster),
            contested=self._brakes.contested(workload),
        )

    # -- apply -------------------------------------------------------------------------------------------------

    async def _create(self, workload: Workload, before: Observed) -> None:
        """Under the slug's lock: look once more, decide once more, send."""
        world, roster = self._world, before.roster
        settled_at = wait_for_the_uncertain(world, workload)
        await roster.look(max(world.store.memory(workload.key).seen, roster.uncertain_since, settled_at))
        refuse_rivals(world, workload, before.identity)
        live, known = find(workload, before.identity, roster)
        observed = replace(before, live=live, known=known)
        situation = self._situation(workload, observed)
        plan = decide(situation)
        if not (plan.perform and isinstance(plan.step, Create)):
            raise AskedAgainError(0.0)
        workload, answer = await create(world, workload, observed, plan.step)
        await self._conclude(replace(situation, workload=workload), observed, plan, answer)

    async def _apply(self, workload: Workload, observed: Observed, plan: Plan) -> LiveWorkload | None:
        if not (plan.perform and isinstance(plan.step, Update)):
            return observed.live
        refuse_the_outdated(self._world, workload)
        memory = self._world.store.memory(workload.key)
        try:
            answer = await observed.roster.update(plan.step.workload_id, plan.step.body)
        except PlatformFailure as error:
            if error.status == 404:
                deny(memory, observed.roster)
            raise
        memory.denied_since = None
        if plan.drift_class is DriftClass.OUT_OF_BAND:
            self._brakes.repaired(workload)
        return answer

    # -- report ------------------------------------------------------------------------------------------------

    async def _conclude(self, situation: Situation, observed: Observed, plan: Plan, live: LiveWorkload | None) -> None:
        """Publish the endpoint, write the status, and see to it that readiness is followed."""
        world, workload = self._world, situation.workload
        ours = live if plan.reason is not Reason.ADOPTION_PENDING else None
        readiness = self._readiness(workload, plan) if ours else Readiness()
        refused = await self._publish(workload, observed, ours) if ours else None
        ours_now = records.ours(situation, plan, ours, published=refused is None) if ours else {}
        report = replace(
            conditions.failure(refused)
            if isinstance(refused, OperatorError)
            else conditions.verdict(workload, plan, live, readiness),
            readiness=readiness,
            drift=conditions.drift_status(plan, observed.policy, workload.status.drift, datetime.now(UTC)),
            drift_message=conditions.describe(workload, plan) if plan.held else "",
            changes=records.handled(workload, plan) | ours_now,
        )
        tally.count_repaired(situation.declared, plan, live)
        before = workload.status.drift
        workload = await world.reporter.report(workload, report, self._told(situation, observed, plan, report, live))
        tally.count_found(before, plan)
        if ours:
            await self._guard(workload)
            asked = look_requested(situation.workload)
            self._follow(workload, observed, ours, readiness, changed=plan.perform, asked=asked)
        elif live is None:
            world.serving.forget(workload.key)
        if isinstance(refused, ClusterError):
            raise refused
        if refused is not None:
            raise AskedAgainError(refused.retry_after or world.settings.interval)
        if ours and plan.sent and compare(observed.declared, ours, workload.status.last_applied).differences:
            raise AskedAgainError(0.0)  # somebody changed another field meanwhile

    def _told(
        self, situation: Situation, observed: Observed, plan: Plan, report: Report, live: LiveWorkload | None
    ) -> list[Announcement]:
        if plan.reason is Reason.MASS_MISSING and not self._brakes.first_of_the_mass(observed.roster):
            return []
        made = self._world.store.memory(situation.workload.key).made
        told = announce(situation.workload, report, plan, observed.policy, live, made=made)
        if plan.perform and live is not None:
            told += kept(kept_by_platform(observed.declared, live, plan.sent))
        return told

    def _readiness(self, workload: Workload, plan: Plan) -> Readiness:
        """The last that the platform told; nothing yet of what was just made."""
        if plan.perform and isinstance(plan.step, Create):
            return Readiness()
        return self._world.serving.phase(workload.key) or workload.status.readiness

    async def _publish(
        self, workload: Workload, observed: Observed, live: LiveWorkload
    ) -> OperatorError | ClusterError | None:
        """The endpoint's ConfigMap; what stood in its way does not keep the status from being written."""
        try:
            await self._world.publication.publish(workload, observed.identity, live)
        except (OperatorError, ClusterError) as error:
            return error
        return None

    async def _guard(self, workload: Workload) -> None:
        """What is to be deleted one day has the finalizer; what was found gets it after the status says so."""
        policy, adopted = workload.spec.deletion_policy, workload.status.adopted
        deleted_with_us = policy == "Delete" or (policy is None and not adopted)
        if deleted_with_us and not workload.has_finalizer:
            await self._world.reporter.add_finalizer(workload)

    def _follow(
        self,
        workload: Workload,
        observed: Observed,
        live: LiveWorkload,
        readiness: Readiness,
        *,
        changed: bool,
        asked: bool,
    ) -> None:
        """What is to come of readiness: a stream until it serves, a look now, or a look in its time."""
        roster, slug, serving = observed.roster, observed.identity.slug, self._world.serving

        def open_stream() -> AsyncGenerator[Phase, None]:
            return roster.phases(slug)

        told = not changed and readiness.phase is not None
        if told and (conditions.may_idle(live) or readiness.phase in ("ready", "error")):
            (serving.look_now if asked else serving.look_later)(workload.key, open_stream)
        else:
            serving.follow(workload.key, open_stream, at_most=IDLERS_FOLLOWED if conditions.may_idle(live) else None)
