"""ensure(): observe, plan, apply, report. Read this first.

Every trigger puts a key into the queue, and the same coroutine runs for it on the object as it stands now. Nothing is
decided from what changed, only from what is. One call at most changes the workload, after a duplicate was deleted, if
there is one; and the status is written only if it differs from what stands. Knows neither kopf nor httpx.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from inferencekey_operator import conditions, records, tally
from inferencekey_operator.access import reach
from inferencekey_operator.announcements import Announcement, announce, doubtful, kept
from inferencekey_operator.cluster import ClusterError
from inferencekey_operator.conditions import Report
from inferencekey_operator.conflicts import weigh
from inferencekey_operator.creation import (
    create,
    refuse_the_outdated,
    restore_the_record,
    taken_back,
    wait_for_the_uncertain,
)
from inferencekey_operator.credentials import pins, with_remedy
from inferencekey_operator.drift import compare, kept_by_platform
from inferencekey_operator.duplicates import announce_duplicates, duplicate_of, remove_duplicate
from inferencekey_operator.errors import Actor, OperatorError, PlatformFailure, Reason
from inferencekey_operator.inferencekey.readiness import Phase
from inferencekey_operator.inferencekey.roster import Roster
from inferencekey_operator.inferencekey.wire import LiveWorkload
from inferencekey_operator.observe import Observed, find, observe, refuse_rivals, settled
from inferencekey_operator.ownership import Origin
from inferencekey_operator.plan import Create, Plan, Situation, Update, decide
from inferencekey_operator.safeguards import Safeguards, deny, look_requested
from inferencekey_operator.status import AppliedField, DriftClass, Readiness
from inferencekey_operator.store import pending_creation
from inferencekey_operator.workload import Workload, stays
from inferencekey_operator.world import AskedAgainError, World, deciding

ANNOUNCED_FOR = 3.0
"""How many times `--create-settle` lists are searched for what a creation made whose answer was lost: a platform that
lags more than was promised costs nothing but an Event that comes late."""
BELIEVED_AFTER = 2.0
"""How many intervals the platform refuses a credential or a project before what was settled says so."""
IDLERS_FOLLOWED = 60.0
"""Seconds that the start of a workload is followed which may well stay idle for ever."""


class Reconciler:
    """Runs the one story for a Workload."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._safeguards = Safeguards(world)

    async def ensure(self, workload: Workload) -> None:
        """Make the platform match `workload`, as its policy allows, and report.

        Raises OperatorError for what stops it, ClusterError where Kubernetes does, AskedAgainError where it is too
        early to tell.
        """
        self._world.installations.refuse_the_contested(workload, asyncio.get_running_loop().time())
        if duplicate_of(self._world, workload) is not None:
            _, roster = await reach(self._world, workload)
            workload = await remove_duplicate(self._world, workload, roster)
        workload = await self._guard(workload)
        workload = await restore_the_record(self._world, workload)
        if workload.spec.suspend:
            await self._rest(workload)
            return
        observed = await observe(self._world, workload)
        workload = await self._announce_duplicates(workload, observed)
        self._wait_for_evidence(workload, observed)
        situation = self._situation(workload, observed)
        plan = decide(situation)
        await self._refuse_a_lie(observed, plan)
        workload = await self._record_before_the_update(workload, observed, plan)
        if plan.perform and isinstance(plan.step, Create):
            async with observed.roster.creation(observed.identity.slug):
                await self._create(workload, observed)
            return
        live = await self._apply(workload, observed, plan)
        await self._conclude(replace(situation, workload=workload), observed, plan, live)

    async def report_failure(self, workload: Workload, error: OperatorError) -> None:
        """Say what stopped a Workload: not of one that is as it was, while the platform is in trouble as a whole.

        Raises AskedAgainError where a refusal may be a whim: what is settled says so once that has lasted.
        """
        roster = self._world.rosters.of(workload.key)
        passing = isinstance(error, PlatformFailure) and error.reason.actor is Actor.PLATFORM
        outage = passing and roster is not None and roster.down
        if outage and settled(workload):
            return
        if roster is not None and roster.trouble is not None and roster.trouble.reason is error.reason:
            self._wait_for_a_whim_to_pass(workload, roster)
        refusal = roster.refusal if roster is not None else None
        told_of_all = outage or (refusal is not None and refusal.reason is error.reason)
        report = conditions.failure(with_remedy(workload, error))
        await self._report(workload, report, [] if told_of_all else announce(workload, report, None, None, None))

    def _wait_for_a_whim_to_pass(self, workload: Workload, roster: Roster) -> None:
        """A refusal that lasts for a moment is no reason to write the status of each Workload of a project."""
        if roster.refused_since is None or not settled(workload) or look_requested(workload):
            return
        believed_from = roster.refused_since + BELIEVED_AFTER * self._world.settings.interval
        left = believed_from - asyncio.get_running_loop().time()
        if left > 0:
            raise AskedAgainError(left)

    async def _rest(self, workload: Workload) -> None:
        """Suspended: nothing is called, and nothing is written but the condition."""
        self._world.serving.rest(workload.key)
        self._world.rosters.leave(workload.key)
        await self._report(workload, conditions.suspended(workload))

    async def _report(self, workload: Workload, report: Report, told: list[Announcement] | None = None) -> None:
        """Write a status that says why nothing is done, and take back the record of what was refused."""
        gone = taken_back(self._world, workload, report.reason)
        bare = self._world.store.memory(workload.key).bare
        workload = await self._world.reporter.report(workload, replace(report, changes=gone), told or [])
        if gone and bare and workload.has_finalizer:
            await self._world.reporter.remove_finalizer(workload)

    async def _announce_duplicates(self, workload: Workload, observed: Observed) -> Workload:
        """While lists may still show what came of a creation whose answer was lost; then its record goes."""
        world, status = self._world, workload.status
        memory, now = world.store.memory(workload.key), asyncio.get_running_loop().time()
        pending = pending_creation(workload, memory)
        if pending is not None and (status.workload_id is None or memory.lost is None):
            lasts = ANNOUNCED_FOR * world.settings.create_settle + world.settings.interval
            memory.lost = pending, now + lasts
        if memory.lost is None:
            return workload
        record, until = memory.lost
        announce_duplicates(world, workload, observed.identity, observed.roster, record)
        if now <= until:
            return workload
        memory.lost = None
        return await world.reporter.record(workload, creation=None) if status.workload_id is not None else workload

    def _wait_for_evidence(self, workload: Workload, observed: Observed) -> None:
        """While a creation may still be carried out, what it makes tells whose a row in doubt is."""
        if observed.origin is not Origin.DOUBT:
            return
        settled_at = wait_for_the_uncertain(self._world, workload)
        if observed.roster.began <= settled_at:
            self._world.store.memory(workload.key).seen = asyncio.get_running_loop().time()
            raise AskedAgainError(0.01)

    async def _refuse_a_lie(self, observed: Observed, plan: Plan) -> None:
        """Before a row is adopted: a list may still show what is gone, and the readiness route knows better."""
        live = observed.live
        if live is None or observed.known or plan.reason is Reason.ADOPTION_PENDING:
            return
        if not await observed.roster.exists(live.slug):
            raise PlatformFailure(
                Reason.PLATFORM_ERROR,
                f"The platform lists {live.slug}, but its readiness route does not know it. The operator adopts "
                "nothing while the two disagree, and retries automatically.",
            )

    async def _record_before_the_update(self, workload: Workload, observed: Observed, plan: Plan) -> Workload:
        """What must outlive this process: whose a row is, and that nobody knows whether it serves after the update.

        The record of a creation decides whose it is, and after the update the row resembles another one.
        """
        if not (plan.perform and isinstance(plan.step, Update)):
            return workload
        if workload.status.workload_id and plan.drift_class is DriftClass.OUT_OF_BAND:
            return await self._unready(workload, observed, plan)
        if workload.status.workload_id or observed.origin is Origin.FOUND:
            return workload
        workload = await self._world.reporter.record(
            workload, workload_id=plan.step.workload_id, adopted=not observed.known, **pins(observed.identity)
        )
        if observed.known:
            raise AskedAgainError(0.0)
        return workload

    async def _unready(self, workload: Workload, observed: Observed, plan: Plan) -> Workload:
        """Before a repair: of any other update, the hashes of what was applied tell that it was carried out."""
        report = conditions.verdict(workload, plan, observed.live, Readiness())
        return await self._world.reporter.report(workload, replace(report, readiness=Readiness()))

    # -- plan --------------------------------------------------------------------------------------------------

    def _situation(self, workload: Workload, observed: Observed) -> Situation:
        missing = self._safeguards.missing(workload, observed.roster, present=observed.known)
        return Situation(
            workload=workload,
            identity=observed.identity,
            declared=observed.declared,
            live=observed.live,
            policy=observed.policy,
            known=observed.known,
            missing=missing,
            mass_missing=missing and self._safeguards.vanished_en_masse(workload, observed.roster),
            contested=self._safeguards.contested(workload),
            untouched=self._untouched(workload, observed),
        )

    def _untouched(self, workload: Workload, observed: Observed) -> bool:
        """Whether the platform undid our repair by itself. Of the first time it is not believed: a time that tells of
        seconds alone may be that of somebody else's change as well.
        """
        repaired = bool(self._world.store.memory(workload.key).repairs)
        return repaired and observed.live is not None and observed.roster.restated(observed.live)

    # -- apply -------------------------------------------------------------------------------------------------

    async def _create(self, workload: Workload, before: Observed) -> None:
        """Under the slug's lock: look once more, decide once more, send."""
        world, roster = self._world, before.roster
        settled_at = wait_for_the_uncertain(world, workload)
        await roster.look(max(world.store.memory(workload.key).seen, roster.uncertain_since, settled_at))
        refuse_rivals(world, workload, before.identity)
        live, whose = find(world, workload, before.identity, roster)
        observed = replace(before, live=live, origin=whose)
        situation = self._situation(workload, observed)
        plan = decide(situation)
        if not (plan.perform and isinstance(plan.step, Create)):
            raise AskedAgainError(0.0)
        workload, answer = await create(world, workload, observed, plan.step)
        await self._conclude(replace(situation, workload=workload), observed, plan, answer)

    async def _apply(self, workload: Workload, observed: Observed, plan: Plan) -> LiveWorkload | None:
        memory = self._world.store.memory(workload.key)
        if not (plan.perform and isinstance(plan.step, Update)):
            memory.conflict = None
            return observed.live
        try:
            with deciding(partial(refuse_the_outdated, self._world, workload, observed.policy)):
                answer = await observed.roster.update(plan.step.workload_id, plan.step.body)
        except PlatformFailure as error:
            if error.uncertain:
                self._world.serving.written(workload.key)
            if error.not_found:
                deny(memory, observed.roster)
            raise weigh(self._world, workload, error) from None
        self._world.serving.written(workload.key)
        memory.denied_since, memory.written_at = None, asyncio.get_running_loop().time()
        memory.conflict = None
        if plan.drift_class is DriftClass.OUT_OF_BAND:
            self._safeguards.repaired(workload)
        return answer

    # -- report ------------------------------------------------------------------------------------------------

    async def _conclude(self, situation: Situation, observed: Observed, plan: Plan, live: LiveWorkload | None) -> None:
        """Publish the endpoint, write the status, and see to it that readiness is followed."""
        world, workload = self._world, situation.workload
        ours = live if plan.reason is not Reason.ADOPTION_PENDING else None
        refused = await self._publish(workload, observed, ours) if ours else None
        ours_now = records.ours(situation, plan, ours, published=refused is None) if ours else {}
        readiness = self._readiness(workload, ours.id, ours_now["last_applied"]) if ours else Readiness()
        if world.store.memory(workload.key).lost is None and ours:
            ours_now["creation"] = None
        report = replace(
            _unpublished(refused) or conditions.verdict(workload, plan, live, readiness),
            readiness=readiness,
            drift=conditions.drift_status(plan, observed.policy, workload.status.drift, datetime.now(UTC)),
            drift_message=conditions.describe(workload, plan) if plan.held else "",
            changes=taken_back(world, workload, Reason.PLAN_PENDING) | records.handled(workload, plan) | ours_now,
        )
        if plan.comparison is not None and plan.comparison.restated:
            world.store.memory(workload.key).repairs = ()  # nobody undid them
        tally.count_repaired(situation.declared, plan, live)
        before = workload.status.drift
        workload = await world.reporter.report(workload, report, self._told(situation, observed, plan, report, live))
        tally.count_found(before, plan)
        if ours:
            if workload.status.adopted:
                world.store.memory(workload.key).sent = None  # decided: a wiped status does not reopen it
            workload = await self._guard(workload)
            asked = look_requested(situation.workload)
            self._follow(workload, observed, ours, readiness, changed=plan.perform, asked=asked)
        elif live is None:
            world.serving.forget(workload.key)
        if isinstance(refused, ClusterError) or (refused and refused.reason is Reason.CONFIG_MAP_REFUSED):
            raise refused
        if refused is not None:
            raise AskedAgainError(refused.retry_after or world.settings.interval)
        if ours and plan.sent and compare(observed.declared, ours, workload.status.last_applied).differences:
            raise AskedAgainError(0.0)  # somebody changed another field meanwhile
        if (lost := world.store.memory(workload.key).lost) is not None:
            left = lost[1] - asyncio.get_running_loop().time()
            raise AskedAgainError(min(max(left, 0.1), world.settings.interval))  # each list may show a duplicate

    def _told(
        self, situation: Situation, observed: Observed, plan: Plan, report: Report, live: LiveWorkload | None
    ) -> list[Announcement]:
        if plan.reason is Reason.MASS_MISSING and not self._safeguards.first_of_the_mass(observed.roster):
            return []
        made = self._world.store.memory(situation.workload.key).made
        told = announce(situation.workload, report, plan, observed.policy, live, made=made)
        told += self._doubted(situation.workload, observed)
        if plan.perform and live is not None:
            told += kept(kept_by_platform(observed.declared, live, plan.sent))
        if plan.comparison is not None:
            told += kept(plan.comparison.restated)
        return told

    def _doubted(self, workload: Workload, observed: Observed) -> list[Announcement]:
        """Once: a row may be our own, or someone else's."""
        memory, live = self._world.store.memory(workload.key), observed.live
        if observed.origin is not Origin.DOUBT or live is None or live.id in memory.announced:
            return []
        memory.announced |= {live.id}
        return [doubtful(live)]

    def _readiness(self, workload: Workload, workload_id: str, agreed: tuple[AppliedField, ...]) -> Readiness:
        """The last that the platform told since the last write; what a former process was told, if none came since.

        Nothing that was told of another workload, which had the slug before.
        """
        if workload.status.workload_id not in (None, workload_id):
            self._world.serving.written(workload.key)
        told = self._world.serving.phase(workload.key)
        if told is not None:
            return told
        return Readiness() if records.shows_a_write(workload, agreed) else workload.status.readiness

    async def _publish(
        self, workload: Workload, observed: Observed, live: LiveWorkload
    ) -> OperatorError | ClusterError | None:
        """The endpoint's ConfigMap; what stood in its way does not keep the status from being written."""
        if observed.roster.echoes.within(live.model_name):
            live = replace(live, model_name="")  # is then not handed on
        try:
            await self._world.publication.publish(workload, observed.identity, live)
        except (OperatorError, ClusterError) as error:
            return error
        return None

    async def _guard(self, workload: Workload) -> Workload:
        """What is to be deleted one day has the finalizer; what was found gets it after the status says so."""
        if workload.status.workload_id is None or stays(workload) or workload.has_finalizer:
            return workload
        return await self._world.reporter.add_finalizer(workload)

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


def _unpublished(refused: OperatorError | ClusterError | None) -> Report | None:
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
