"""ensure(): observe, plan, apply, report. Read this first.

Every trigger puts a key into the queue, and the same coroutine runs for it on the object as it stands now. Nothing is
decided from what changed, only from what is. At most one call changes the platform, and the status is written only if
it differs from what stands. Knows neither kopf nor httpx.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from inferencekey_operator import conditions, endpoint
from inferencekey_operator.announcements import announce, kept
from inferencekey_operator.claims import Claims
from inferencekey_operator.conditions import Report, condition
from inferencekey_operator.credentials import (
    Allowed,
    credential,
    identity,
    refuse_secrets,
    with_remedy,
)
from inferencekey_operator.drift import applied_records, declaration_moved, declared_document, kept_by_platform
from inferencekey_operator.errors import Actor, ConfigurationError, OperatorError, PlatformFailure, Reason
from inferencekey_operator.events import Recorder
from inferencekey_operator.inferencekey.roster import Roster, Rosters
from inferencekey_operator.inferencekey.wire import LiveWorkload
from inferencekey_operator.plan import (
    Adopt,
    Create,
    Identity,
    Plan,
    Situation,
    Update,
    decide,
    pending_approval,
)
from inferencekey_operator.publication import Publication
from inferencekey_operator.reporter import Reporter
from inferencekey_operator.serving import Serving
from inferencekey_operator.settings import Settings
from inferencekey_operator.status import DriftClass, EndpointStatus, HandledApproval, Readiness
from inferencekey_operator.store import Memory, Store
from inferencekey_operator.watches import Secrets
from inferencekey_operator.workload import ON_DRIFT, RECONCILE_REQUESTED_AT, OnDrift, Workload
from inferencekey_operator.workqueue import Key

log = logging.getLogger(__name__)

CONFIRM_AFTER = 2.0
"""Seconds between the list that first lacked a workload and the one that confirms it."""
OLDER_THAN_US = timedelta(minutes=1)
"""A row this much older than its Workload was not made for it."""
CONTEST_WINDOW = 600.0
CONTEST_REPAIRS = 3
MASS_LEAST = 5
_PASSING = frozenset(reason for reason in Reason if reason.actor is Actor.PLATFORM) - {Reason.PROGRESSING}


@dataclass(slots=True)
class Term:
    """The time in which this process acts."""

    began: float = float("inf")
    """In the loop's time. What another process began before may still be under way."""
    creates_from: float = float("inf")
    """When nothing that a former leader sent can still arrive."""


@dataclass(frozen=True, slots=True)
class World:
    """Everything that a reconciliation reads and writes, wired once at the start."""

    settings: Settings
    store: Store
    reporter: Reporter
    secrets: Secrets
    namespace_policies: Callable[[str], str | None]
    rosters: Rosters
    claims: Claims
    publication: Publication
    serving: Serving
    recorder: Recorder
    term: Term

    @property
    def allowed(self) -> Allowed:
        """Which Secrets and platforms may be used."""
        return Allowed(self.settings.base_url, self.settings.secret_name, self.settings.allow_base_url)


@dataclass(frozen=True, slots=True)
class Observed:
    """What one look at the platform gave."""

    identity: Identity
    roster: Roster
    policy: OnDrift
    declared: dict[str, Any]
    live: LiveWorkload | None
    known: bool


class AskedAgainError(Exception):
    """Not decided yet: the key comes back in `seconds`; nothing was written."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class Reconciler:
    """Runs the one story for a key."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._mass: WeakKeyDictionary[Roster, tuple[float, bool]] = WeakKeyDictionary()
        self._mass_told: WeakSet[Roster] = WeakSet()

    async def ensure(self, workload: Workload) -> None:
        """Make the platform match `workload`, as its policy allows, and report.

        Raises OperatorError for what stops it, ClusterError where Kubernetes does, AskedAgainError where it is too
        early to tell.
        """
        world, key = self._world, _key(workload)
        if workload.spec.suspend:
            world.serving.rest(key)
            world.rosters.leave(key)
            moved = declaration_moved(declared_document(workload), workload.status.last_applied)
            await world.reporter.report(workload, conditions.suspended(workload, moved=moved))
            return
        observed = await self._observe(workload)
        plan = self._plan(workload, observed)
        if plan.perform and isinstance(plan.step, Create):
            async with observed.roster.creation(observed.identity.slug):
                await self._create(workload, observed)
            return
        await self._conclude(workload, observed, plan, await self._apply(workload, observed, plan))

    # -- observe -----------------------------------------------------------------------------------------------

    async def _observe(self, workload: Workload) -> Observed:
        world = self._world
        policy = self.policy(workload)
        declared = declared_document(workload)
        refuse_secrets(declared)
        ref = workload.spec.token_secret_ref
        found = credential(workload, world.secrets.get(workload.namespace, ref.name), world.allowed)
        who = identity(workload, found)
        key = _key(workload)
        roster = world.rosters.use(key, found.base_url, found.project, found.token)
        memory = world.store.memory(key)
        await roster.look(_fresh_since(workload, memory, roster))
        world.secrets.keep(workload.namespace, ref.name, ref.key)
        world.claims.stake(workload, who, proven=True)
        self._refuse_rivals(workload, who)
        live, known = self._find(workload, who, roster)
        return Observed(who, roster, policy, declared, live, known)

    def policy(self, workload: Workload) -> OnDrift:
        """The annotation of the Workload, else of its Namespace, else the operator's default."""
        own = workload.annotations.get(ON_DRIFT)
        text = own if own is not None else self._world.namespace_policies(workload.namespace)
        if text is None:
            return self._world.settings.on_drift
        found = OnDrift.parse(text)
        if found is None:
            where = f"ikw/{workload.name} -n {workload.namespace}" if own is not None else f"ns/{workload.namespace}"
            raise ConfigurationError(
                Reason.INVALID_POLICY,
                f"The annotation {ON_DRIFT} is none of {', '.join(OnDrift)}. Nothing is touched. Set one: kubectl "
                f"annotate {where} --overwrite {ON_DRIFT}=Reconcile",
            )
        return found

    def _refuse_rivals(self, workload: Workload, who: Identity) -> None:
        rival = self._world.claims.rival(_key(workload))
        if rival is not None:
            raise ConfigurationError(
                Reason.SLUG_CONFLICT,
                f"Slug {who.slug} of project {who.project} belongs to Workload {rival.key}. This one touches nothing, "
                "and takes over when that one goes. Declare another slug in a new Workload, or delete one of the two.",
            )

    def _find(self, workload: Workload, who: Identity, roster: Roster) -> tuple[LiveWorkload | None, bool]:
        """The row, and whether it is known to be this Workload's."""
        recorded = workload.status.workload_id
        row = roster.by_id(recorded) if recorded else None
        if row is not None and row.slug == who.slug:
            return row, True
        row = roster.by_slug(who.slug)
        return row, row is not None and recorded is None and made_here(workload, row)

    # -- plan --------------------------------------------------------------------------------------------------

    def _plan(self, workload: Workload, observed: Observed) -> Plan:
        world = self._world
        memory = world.store.memory(_key(workload))
        missing = False
        if observed.live is not None:
            memory.missing_since = None
        elif workload.status.workload_id is not None:
            missing = self._confirm_missing(memory, observed.roster)
            world.serving.forget(_key(workload))
        now = asyncio.get_running_loop().time()
        situation = Situation(
            workload=workload,
            identity=observed.identity,
            declared=observed.declared,
            live=observed.live,
            policy=observed.policy,
            known=observed.known,
            missing=missing,
            mass_missing=missing and self._vanished_en_masse(workload, observed.roster),
            contested=_contested(workload, memory, now),
        )
        return decide(situation)

    def _confirm_missing(self, memory: Memory, roster: Roster) -> bool:
        if memory.missing_since is None:
            memory.missing_since = roster.began
        wait = memory.missing_since + CONFIRM_AFTER - roster.began
        if wait > 0:
            raise AskedAgainError(wait)
        return True

    def _vanished_en_masse(self, workload: Workload, roster: Roster) -> bool:
        """Whether so many of the project went at once that the list is believed less than the status."""
        if _look_requested(workload):
            return False
        ready = condition(workload.status, "Ready")
        if ready is not None and ready.reason == Reason.MASS_MISSING:
            return True
        began, answer = self._mass.get(roster, (0.0, False))
        if began != roster.began:
            answer = self._count_missing(roster)
            if not answer:
                self._mass_told.discard(roster)
            self._mass[roster] = (roster.began, answer)
        return answer

    def _count_missing(self, roster: Roster) -> bool:
        known = missing = 0
        for workload in self._world.store:
            status = workload.status
            if status.workload_id and (status.platform_url, status.project_slug) == (
                roster.base_url,
                roster.project,
            ):
                known += 1
                missing += roster.by_id(status.workload_id) is None
        return missing >= MASS_LEAST and missing * 2 > known

    # -- apply -------------------------------------------------------------------------------------------------

    async def _create(self, workload: Workload, before: Observed) -> None:
        """Under the slug's lock: look once more, decide once more, record the intent, send."""
        world, roster = self._world, before.roster
        memory = world.store.memory(_key(workload))
        await roster.look(max(memory.seen, roster.uncertain_since))
        self._wait_for_the_uncertain(workload, memory)
        live, known = self._find(workload, before.identity, roster)
        observed = replace(before, live=live, known=known)
        plan = self._plan(workload, observed)
        if not (plan.perform and isinstance(plan.step, Create)):
            raise AskedAgainError(0.0)
        if observed.identity.slug in roster.unreadable:
            raise PlatformFailure(Reason.PLATFORM_ERROR, "The platform lists this slug in a row that cannot be read.")
        if not workload.has_finalizer:
            workload = await world.reporter.add_finalizer(workload)
        answer = await self._post(workload, observed, plan.step.body)
        await self._conclude(workload, observed, plan, answer)

    def _wait_for_the_uncertain(self, workload: Workload, memory: Memory) -> None:
        """A creation that was begun before may still be carried out: not repeated before its time is over."""
        term, until = self._world.term, self._world.term.creates_from
        begun = workload.has_finalizer and workload.status.workload_id is None
        uncertain = memory.uncertain_since or (term.began if begun else None)
        if uncertain is not None:
            until = max(until, uncertain + self._world.settings.client_timeout)
        left = until - asyncio.get_running_loop().time()
        if left > 0:
            raise AskedAgainError(left)

    async def _post(self, workload: Workload, observed: Observed, body: dict[str, Any]) -> LiveWorkload:
        memory = self._world.store.memory(_key(workload))
        self._refuse_the_outdated(workload)
        memory.uncertain_since = asyncio.get_running_loop().time()
        try:
            answer = await observed.roster.create(body)
        except PlatformFailure as error:
            memory.uncertain_since = asyncio.get_running_loop().time() if error.uncertain else None
            raise
        memory.uncertain_since = None
        self._world.serving.forget(_key(workload))
        if answer.slug == observed.identity.slug:
            return answer
        await observed.roster.delete(answer.id)
        raise PlatformFailure(Reason.PLATFORM_ERROR, "The slug was taken meanwhile; the twin was deleted again.")

    async def _apply(self, workload: Workload, observed: Observed, plan: Plan) -> LiveWorkload | None:
        if not (plan.perform and isinstance(plan.step, Update)):
            return observed.live
        self._refuse_the_outdated(workload)
        if plan.drift_class is DriftClass.OUT_OF_BAND:
            repairs = self._world.store.memory(_key(workload)).repairs
            repairs.append(asyncio.get_running_loop().time())
        try:
            return await observed.roster.update(plan.step.workload_id, plan.step.body)
        except PlatformFailure as error:
            if error.status == 404:
                raise AskedAgainError(0.0) from error
            raise

    def _refuse_the_outdated(self, workload: Workload) -> None:
        """While we waited for the platform the declaration may have moved, or be suspended, or be on its way out."""
        if not self._world.store.current(workload):
            raise AskedAgainError(0.0)

    # -- report ------------------------------------------------------------------------------------------------

    async def _conclude(self, workload: Workload, observed: Observed, plan: Plan, live: LiveWorkload | None) -> None:
        """Publish the endpoint, write the status, and see to it that readiness is followed."""
        key = _key(workload)
        ours = live is not None and plan.reason is not Reason.ADOPTION_PENDING
        readiness = self._readiness(workload, plan) if ours else Readiness()
        report = conditions.verdict(workload, plan, live, readiness)
        if ours and live is not None:
            report = await self._publish(workload, observed, live, report)
        report = replace(
            report,
            readiness=readiness,
            drift=conditions.drift_status(plan, observed.policy, workload.status.drift, _now()),
            drift_message=conditions.describe(workload, plan) if plan.held else "",
            changes=self._changes(workload, observed, plan, live if ours else None),
        )
        told = announce(workload, report, plan, observed.policy, live)
        if plan.perform and live is not None:
            told += kept(kept_by_platform(observed.declared, live))
        if plan.reason is Reason.MASS_MISSING and not self._first_of_the_mass(observed.roster):
            told = []
        workload = await self._world.reporter.report(workload, report, told)
        if ours and live is not None:
            await self._guard(workload)
            self._follow(key, observed, live, readiness, changed=plan.perform)
        if report.reason is Reason.CONFIG_MAP_CONFLICT:
            raise AskedAgainError(self._world.settings.interval)

    def _first_of_the_mass(self, roster: Roster) -> bool:
        """One Event tells of a fleet that vanished, not one for each Workload."""
        first = roster not in self._mass_told
        self._mass_told.add(roster)
        return first

    def _readiness(self, workload: Workload, plan: Plan) -> Readiness:
        """The last that the platform told; nothing yet of what was just made or changed."""
        if plan.perform and isinstance(plan.step, Create):
            return Readiness()
        return self._world.serving.phase(_key(workload)) or workload.status.readiness

    async def _publish(self, workload: Workload, observed: Observed, live: LiveWorkload, report: Report) -> Report:
        try:
            await self._world.publication.publish(workload, observed.identity, live)
        except ConfigurationError as error:
            return conditions.failure(error)
        return report

    def _changes(self, workload: Workload, observed: Observed, plan: Plan, live: LiveWorkload | None) -> dict[str, Any]:
        changes: dict[str, Any] = {}
        requested = workload.annotations.get(RECONCILE_REQUESTED_AT)
        if requested:
            changes["last_handled_reconcile_at"] = requested
        if plan.approval is not None:
            result = "Applied" if plan.approved else str(Reason.PLAN_STALE)
            changes["last_handled_approval"] = HandledApproval(plan_id=plan.approval, result=result)
        if plan.approved:
            changes["plans_applied"] = workload.status.plans_applied + 1
        if live is not None:
            changes |= self._record(workload, observed, plan, live)
        return changes

    def _record(self, workload: Workload, observed: Observed, plan: Plan, live: LiveWorkload) -> dict[str, Any]:
        """What makes the row this Workload's: its id, its identity, what was agreed on."""
        who = observed.identity
        created = plan.perform and isinstance(plan.step, Create)
        adopted = (
            workload.status.adopted
            if observed.known and workload.status.workload_id
            else not (created or observed.known)
        )
        if plan.perform and not isinstance(plan.step, Adopt):
            applied = applied_records(observed.declared, live)
        elif plan.comparison is not None:
            applied = plan.comparison.settled
        else:
            applied = workload.status.last_applied
        return {
            "workload_id": live.id,
            "adopted": bool(adopted),
            "platform_url": who.platform_url,
            "project_slug": who.project,
            "workload_slug": who.slug,
            "last_applied": applied,
            "endpoint": EndpointStatus(url=endpoint.url(who), config_map_name=endpoint.config_map_name(workload)),
        }

    async def _guard(self, workload: Workload) -> None:
        """What is to be deleted one day has the finalizer; what was found gets it after the status says so."""
        policy, adopted = workload.spec.deletion_policy, workload.status.adopted
        deleted_with_us = policy == "Delete" or (policy is None and not adopted)
        if deleted_with_us and not workload.has_finalizer:
            await self._world.reporter.add_finalizer(workload)

    def _follow(self, key: Key, observed: Observed, live: LiveWorkload, readiness: Readiness, *, changed: bool) -> None:
        roster, slug, serving = observed.roster, observed.identity.slug, self._world.serving

        def open_stream() -> Any:
            return roster.phases(slug)

        if conditions.may_idle(live):
            if changed or readiness.phase is None:
                serving.look(key, open_stream)
            else:
                serving.look_later(key, open_stream)
        elif changed or readiness.phase not in ("ready", "error"):
            serving.follow(key, open_stream)
        else:
            serving.look_later(key, open_stream)

    async def report_failure(self, workload: Workload, error: OperatorError) -> None:
        """Say what stopped a Workload: not of one that is as it was, while the platform is in trouble as a whole."""
        roster = self._world.rosters.of(_key(workload))
        outage = roster is not None and roster.trouble is not None and error.reason.actor is Actor.PLATFORM
        if roster is not None and outage:
            self._announce_outage(workload, roster, error)
            if _settled(workload):
                return
        report = conditions.failure(with_remedy(workload, error))
        told = [] if outage else announce(workload, report, None, None, None)
        await self._world.reporter.report(workload, report, told)

    def _announce_outage(self, workload: Workload, roster: Roster, error: OperatorError) -> None:
        """One Event per credential, about the Secret that holds it."""
        if not roster.announced:
            roster.announced = True
            secret = workload.spec.token_secret_ref.name
            self._world.recorder.secret(workload.namespace, secret, error.reason, error.message)


def made_here(workload: Workload, row: LiveWorkload) -> bool:
    """Whether our finalizer says that a row without a recorded id was made for this Workload."""
    if not workload.has_finalizer:
        return False
    return row.created_at is None or row.created_at >= workload.creation_timestamp - OLDER_THAN_US


def _key(workload: Workload) -> Key:
    return Key(workload.namespace, workload.name)


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def _look_requested(workload: Workload) -> bool:
    requested = workload.annotations.get(RECONCILE_REQUESTED_AT)
    return bool(requested) and requested != workload.status.last_handled_reconcile_at


def _settled(workload: Workload) -> bool:
    """Whether what is declared was looked at, and what came of it was no passing trouble."""
    if workload.status.observed_generation != workload.generation or workload.deleting:
        return False
    ready = condition(workload.status, "Ready")
    return ready is not None and workload.status.workload_id is not None and ready.reason not in _PASSING


def _fresh_since(workload: Workload, memory: Memory, roster: Roster) -> float:
    """How new a list must be to decide from: any will do for what is settled."""
    if memory.missing_since is not None:
        return memory.missing_since + CONFIRM_AFTER
    waits = pending_approval(workload) is not None or _look_requested(workload)
    if _settled(workload) and not waits:
        return float("-inf")
    return max(memory.seen, roster.uncertain_since)


def _contested(workload: Workload, memory: Memory, now: float) -> bool:
    if _look_requested(workload):
        memory.repairs.clear()
        return False
    ready = condition(workload.status, "Ready")
    if (
        ready is not None
        and ready.reason == Reason.CONTESTED
        and workload.status.observed_generation == workload.generation
    ):
        return True
    return sum(now - at < CONTEST_WINDOW for at in memory.repairs) >= CONTEST_REPAIRS
