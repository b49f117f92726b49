"""Keys in, looks out: what wakes a Workload, and when a key comes back.

Between the watches, the rosters and the queue on one side and `reconcile` and `deletion` on the other. An error ends
here: it becomes a condition and a later look, never a traceback for a user and never a hot loop.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable, Hashable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from inferencekey_operator import metrics
from inferencekey_operator.cluster import ClusterError
from inferencekey_operator.damping import WAITS, Damper
from inferencekey_operator.deletion import Deletion, was_abandoned
from inferencekey_operator.endpoint import config_map_name
from inferencekey_operator.errors import Actor, OperatorError, Reason
from inferencekey_operator.inferencekey.roster import Roster
from inferencekey_operator.keys import Key
from inferencekey_operator.leader import LeadershipLostError
from inferencekey_operator.logs import about
from inferencekey_operator.observe import settled, stake
from inferencekey_operator.reconcile import Reconciler
from inferencekey_operator.store import Memory, key_of, pending_creation
from inferencekey_operator.workload import ON_DRIFT, Workload, stays
from inferencekey_operator.workqueue import WorkQueue
from inferencekey_operator.world import AskedAgainError, Term, Terms, World

log = logging.getLogger(__name__)

AT_WORK: ContextVar[Key | None] = ContextVar("AT_WORK", default=None)
"""For which Workload something is done: each look is a task, with a context of its own."""

RENEWED = 10.0
"""Seconds after which a leader has renewed its Lease since, or does not lead any more. Where etcd was restored from a
snapshot, that tells, before an object that the snapshot lacks is taken for one that somebody removed."""
STEP_PAUSE = 5.0
"""Seconds between two status writes that only tell a new step of the same phase."""


class Controller:
    """Owns the queue, and is what every trigger calls."""

    def __init__(self, shards: int = 1) -> None:
        self.terms = Terms(shards)
        self.queue = WorkQueue(
            self._work,
            admits=self.terms.ours,
            waited=lambda lane, seconds: metrics.QUEUE_SECONDS.labels(lane).observe(seconds),
        )
        self.round_at = float("-inf")
        """When the full round made its last step, in the loop's time."""
        self._parked: WeakKeyDictionary[Roster, set[Key]] = WeakKeyDictionary()
        """Who comes back as soon as the platform answers for a project again, however long the own wait is; for as long
        as that roster is used, which ends with its token."""
        self._seen_at_work: set[Key] = set()
        self._damper = Damper()
        self._world: World | None = None

    def wire(self, world: World) -> None:
        """Everything is there; nothing is worked before `queue.start()`."""
        self._world = world
        self._reconciler, self._deletion = Reconciler(world), Deletion(world)

    @property
    def world(self) -> World:
        """What it works with."""
        if self._world is None:
            raise RuntimeError("the controller is not wired yet")
        return self._world

    async def catch_up(self, shard: int, everything: AsyncIterator[Mapping[str, Any]]) -> None:
        """Before this process acts for a shard: a Workload that the former leader released did not disappear.

        `everything` is every Workload that there is by now. A watch may tell of the release later than of the Lease.
        """
        before = {workload.uid: workload.key for workload in self._of(shard)}
        async for body in everything:
            before.pop(body["metadata"]["uid"], None)
        for uid, key in before.items():
            self.forget(key, uid)

    def begin(self, shard: int = 0, *, settled_in: float) -> None:
        """This process acts for a shard now; creations wait `settled_in` seconds for what another may have sent."""
        now, term, workloads = asyncio.get_running_loop().time(), self.terms.of_shard[shard], self._of(shard)
        term.began, term.creates_from = now, now + settled_in
        for workload in workloads:
            self.world.store.revisit(workload.key)
            self.world.serving.forget(workload.key)  # as of before what another process may have written
            self.queue.add(workload.key, urgent=not settled(workload))
        for key in self.world.store.vanished:
            self.queue.add(key)
        self.queue.start()
        log.info("in control of %d Workloads%s", len(workloads), f", those of shard {shard}" if self._sharded else "")

    async def leave(self, shard: int) -> None:
        """This process acts for a shard no more: back when nothing of it is in work, and nothing will be."""
        self.terms.of_shard[shard] = Term()  # what the next leader releases did not disappear
        if not self._sharded:
            await self.queue.stop()
            return
        await self.queue.drop(self.terms.foreign)
        for workload in self._of(shard):
            self.world.rosters.leave(workload.key)
            self.world.serving.forget(workload.key)
        for roster, parked in tuple(self._parked.items()):
            parked.difference_update([key for key in parked if self.terms.foreign(key)])
            if not parked:
                del self._parked[roster]

    @property
    def ours(self) -> Iterator[Workload]:
        """The Workloads that this process looks at, or would if it led."""
        return (workload for workload in self.world.store if self.terms.ours(workload.key))

    @property
    def _sharded(self) -> bool:
        return len(self.terms.of_shard) > 1

    def _of(self, shard: int) -> list[Workload]:
        term = self.terms.of_shard[shard]
        return [workload for workload in self.world.store if self.terms.of(workload.namespace) is term]

    # -- triggers ----------------------------------------------------------------------------------------------

    def workload_seen(self, body: Mapping[str, Any], *, urgent: bool = True) -> None:
        """A Workload was listed, created, updated or annotated, or its deletion began."""
        key = key_of(body)
        before, memory = self.world.store.get(key), self.world.store.memory(key)
        if self.world.store.observe(body):
            workload = self.world.store.get(key)
            if before is not None and workload is not None and before.uid != workload.uid:
                self._see_to_the_abandoned(before, memory)  # it went, and no watch told
            self.world.installations.saw(before, workload, asyncio.get_running_loop().time())
            if workload is not None:
                stake(self.world, workload)
            if self.terms.foreign(key):
                self._wake_rivals(key)
            if workload is not None and _only_annotated(before, workload):
                what = f"The annotations of Workload {workload.name} are"
                self._damped(key, partial(self._look_at, key, urgent), what, workload)
            else:
                self._look_at(key, urgent)

    def _look_at(self, key: Key, urgent: bool) -> None:
        if self.queue.working(key):
            self._seen_at_work.add(key)
        else:
            self.queue.add(key, urgent=urgent)

    def _damped(self, thing: Hashable, action: Callable[[], None], what: str, concerned: Workload | None) -> None:
        """`action` now or, where something changes again and again, in its time; that is told once, by one Event about
        one of those who are concerned.
        """

        def report() -> None:
            if concerned is not None and self.terms.held(concerned.key):
                note = (
                    f"{what} changed again and again. The operator follows at growing intervals of up to "
                    f"{WAITS[-1]:.0f} seconds until a minute passes without a change"
                )
                self.world.recorder.workload(concerned, Reason.CONTESTED, note, warning=True)

        self._damper.act(thing, action, report)

    async def workloads_listed(
        self, everything: AsyncIterator[Mapping[str, Any]], namespace: str | None = None
    ) -> None:
        """All Workloads that there are, of that namespace or at all: whoever is known and not among them went.

        Deletions that happened while no watch was open are told by nothing else.
        """
        before = {
            workload.key: workload.uid
            for workload in self.world.store
            if namespace is None or workload.namespace == namespace
        }
        async for body in everything:
            former = before.pop(key := key_of(body), None)
            if former is not None and former != body["metadata"]["uid"]:
                self.forget(key, former, after=RENEWED)  # deleted and declared anew while no watch was open
            self.workload_seen(body, urgent=False)
        for key, uid in before.items():
            self.forget(key, uid, after=RENEWED)

    def workload_gone(self, body: Mapping[str, Any]) -> None:
        """A Workload is no more."""
        self.forget(key_of(body), body["metadata"]["uid"])

    def forget(self, key: Key, uid: str | None = None, *, after: float = 0.0) -> None:
        """Drop everything known of `key`, and let whoever waited for its identity have it.

        What its finalizer held back, if it was not released, is done `after` so many seconds.
        """
        workload, memory = self.world.store.get(key), self.world.store.memory(key)
        if not self.world.store.forget(key, uid):
            return
        self.queue.forget(key)
        self.world.serving.forget(key)
        self.world.rosters.leave(key)
        self.world.claims.release(key, self._settles_at(workload, memory) if workload is not None else None)
        if workload is None or not self._see_to_the_abandoned(workload, memory, after):
            self.world.secrets.release(key)

    def _settles_at(self, workload: Workload, memory: Memory) -> float | None:
        """Of a Workload that went while a creation of it may be under way: when whoever is next may create."""
        recorded = pending_creation(workload, memory) is not None and workload.status.workload_id is None
        if memory.release_sent or not (recorded or memory.uncertain_since is not None):
            return None
        return asyncio.get_running_loop().time() + self.world.settings.create_settle

    def _acts_for(self, key: Key) -> bool:
        return self.terms.of(key.namespace).began < float("inf")

    def _see_to_the_abandoned(self, workload: Workload, memory: Memory, after: float = 0.0) -> bool:
        """Where somebody removed our finalizer, what it held back is done without the object."""
        if not self._acts_for(workload.key) or not was_abandoned(workload, memory):
            return False
        left = replace(workload, vanished=True, deletion_timestamp=workload.deletion_timestamp or datetime.now(UTC))
        memory.deleting_since = memory.deleting_since or asyncio.get_running_loop().time()
        self.world.store.keep_the_vanished(left, memory)
        self.queue.add_after(left.key, after, urgent=True)
        return True

    def _tell_the_loss(self, workload: Workload) -> None:
        """Once, when its turn comes."""
        memory = self.world.store.memory(workload.key)
        if memory.loss_told:
            return
        memory.loss_told = True
        metrics.VANISHED.inc()
        duplicate = memory.duplicate or workload.status.duplicate_workload_id
        made = workload.status.workload_id or memory.made
        what = (duplicate if stays(workload) else made) or f"what may have been created as {workload.effective_slug}"
        note = f"Disappeared without being released: its finalizer was removed. The operator now deletes {what}"
        self.world.recorder.workload(workload, Reason.DELETING, note, warning=True)

    def secret_changed(self, secret: Key) -> None:
        """A Secret came, was rotated or went."""

        def users() -> list[Workload]:
            each = (workload for workload in self.world.store if workload.namespace == secret.namespace)
            return [workload for workload in each if workload.spec.token_secret_ref.name == secret.name]

        self._damped(secret, lambda: self._wake(users()), f"Secret {secret.name} is", next(iter(users()), None))

    def config_map_changed(self, owner: str) -> None:
        """The ConfigMap of the Workload with this uid was edited or deleted."""
        key = self.world.store.key_of_uid(owner)
        workload = self.world.store.get(key) if key is not None else None
        if workload is not None:
            what = f"ConfigMap {config_map_name(workload)} is"
            self._damped(owner, partial(self.queue.add, workload.key, urgent=True), what, workload)

    def namespace_changed(self, namespace: str) -> None:
        """A Namespace states another drift policy."""

        def members() -> list[Workload]:
            return [workload for workload in self.world.store if workload.namespace == namespace]

        what = f"The annotation {ON_DRIFT} of Namespace {namespace} is"
        self._damped(("Namespace", namespace), lambda: self._wake(members()), what, next(iter(members()), None))

    def rows_changed(self, roster: Roster, slugs: Iterable[str]) -> None:
        """A list showed workloads that are new, gone or different."""
        for key in self.world.claims.holders(roster.base_url, roster.project, slugs):
            self.queue.add(key)

    def platform_troubled(self, roster: Roster, error: OperatorError) -> None:
        """The platform does not list any more, or refuses to: one Event, about a Secret that holds the credential, and
        one line in the log, however many Workloads use it.
        """
        users = (self.world.store.get(key) for key in self.world.rosters.users(roster) if isinstance(key, Key))
        first = min((user for user in users if user is not None), key=lambda user: user.key, default=None)
        if first is not None:
            secret = Key(first.namespace, first.spec.token_secret_ref.name)
            fields = about(secret, kind="Secret", reason=error.reason)
            log.warning("the platform does not list project %s: %s", roster.project, error, extra=fields)
            self.world.recorder.secret(*secret, error.reason, error.message)

    def platform_recovered(self, roster: Roster) -> None:
        """The platform answers again: those that it stopped come back."""
        log.info("the platform lists project %s again", roster.project)
        for key in self._parked.pop(roster, ()):
            if not self.queue.working(key):
                self.queue.add(key)

    def readiness_told(self, key: Key, new_phase: bool) -> None:
        """The platform told how far it is with serving a Workload."""
        if new_phase:
            self.queue.add(key, urgent=True)
        else:
            self.queue.add_within(key, STEP_PAUSE)

    async def rounds(self, everything: Callable[[], AsyncIterator[Mapping[str, Any]]]) -> None:
        """Look at every Workload once per full round, whatever was missed; never returns.

        Each round ends with a fresh list of all Workloads: a deletion that no watch told is found there.
        """
        while True:
            self._step()
            keys = [workload.key for workload in self.ours]
            pause = self.world.settings.full_round / max(len(keys), 1)
            if not keys:
                await asyncio.sleep(pause)
            for key in keys:
                await asyncio.sleep(pause)
                self._step()
                if self.world.store.get(key) is not None:
                    self.queue.add(key)
            try:
                await self.workloads_listed(everything())
            except ClusterError as error:
                level = logging.DEBUG if error.gone else logging.WARNING  # the watch says it where the CRD is missing
                log.log(level, "the Workloads could not be listed for the full round: %s", error)

    def _step(self) -> None:
        self.round_at = asyncio.get_running_loop().time()

    def _wake(self, workloads: Iterable[Workload]) -> None:
        for workload in workloads:
            if self.terms.foreign(workload.key):
                stake(self.world, workload)
            self.queue.add(workload.key, urgent=True)

    def _wake_rivals(self, key: Key) -> None:
        """What another replica did for its Workload may be the end of what ours waits for, or the reason to wait."""
        for rival in self.world.claims.rivals(key):
            self.queue.add(rival, urgent=True)

    # -- work --------------------------------------------------------------------------------------------------

    async def _work(self, key: Key) -> None:
        workload = self.world.store.get(key)
        if workload is None:
            self.queue.succeeded(key)  # it went while it was looked at: its failures are nobody's any more
            return
        try:
            await self._reconcile(key, workload)
        finally:  # also where the work was given up, as its list was that of a former Workload of this name
            self._heed_what_came_meanwhile(key)

    async def _reconcile(self, key: Key, workload: Workload) -> None:
        AT_WORK.set(key)
        self.world.store.memory(key).left = workload.resource_version
        result = "done"
        try:
            with metrics.RECONCILE_SECONDS.time():
                await self._look(workload)
            self.queue.succeeded(key)
        except AskedAgainError as later:
            result = "again"
            self.queue.add_after(key, later.seconds, urgent=True)
        except OperatorError as error:
            result = str(error.reason)
            await self._stopped(workload, error)
        except ClusterError as error:
            result = "cluster"
            self._refused(key, error)
        except LeadershipLostError:
            result = "stopped"
        metrics.RECONCILES.labels(result).inc()

    def _heed_what_came_meanwhile(self, key: Key) -> None:
        """An event that came during the work is worth a look of its own, unless it is the echo of what we wrote."""
        if key in self._seen_at_work:
            self._seen_at_work.discard(key)
            workload = self.world.store.get(key)
            if workload is not None and workload.resource_version != self.world.store.memory(key).left:
                self.queue.add(key, urgent=True)

    async def _look(self, workload: Workload) -> None:
        if workload.vanished:
            self._tell_the_loss(workload)
        if workload.deleting:
            await self._deletion.carry_out(workload)
        else:
            await self._reconciler.ensure(workload)

    async def _stopped(self, looked_at: Workload, error: OperatorError) -> None:
        """An error of the platform's or a person's: told in the status, and looked at again in its time.

        Never told of a declaration that came while `looked_at` was looked at: that deserves a look of its own.
        """
        key = looked_at.key
        workload = self.world.store.get(key)
        if workload is None:
            return
        if not self.world.store.current(looked_at):
            self.queue.add(key, urgent=True)
            return
        log.debug("%s: %s", key, error, extra=about(key, slug=workload.effective_slug, reason=error.reason))
        try:
            if error.reason is Reason.OPERATOR_CONFLICT:
                self._report_conflict(workload, error)
            elif workload.deleting:
                await self._deletion.report_failure(workload, error)
            else:
                await self._reconciler.report_failure(workload, error)
        except ClusterError as refused:
            self._refused(key, refused)
            return
        except AskedAgainError as later:
            self.queue.add_after(key, later.seconds, urgent=True)
            return
        self._return_later(key, workload, error)

    def _report_conflict(self, workload: Workload, error: OperatorError) -> None:
        """Once, and beside the Workloads: a status that is written now would only be answered by the other operator."""
        if self.world.installations.first_report(workload.namespace):
            self.world.recorder.namespace(workload.namespace, error.reason, error.message)

    def _return_later(self, key: Key, workload: Workload, error: OperatorError) -> None:
        roster = self.world.rosters.of(key)
        if roster is not None and roster.down:
            self._parked.setdefault(roster, set()).add(key)
        if error.reason.actor is Actor.PLATFORM or workload.deleting:
            self.queue.retry(key, at_least=error.retry_after or 0.0)
        else:
            self.queue.add_after(key, self.world.settings.full_round * random.uniform(0.9, 1.1))  # noqa: S311

    def _refused(self, key: Key, error: ClusterError) -> None:
        """Kubernetes did not take a write. What moved on comes back as an event; the rest is tried again."""
        if error.gone:
            log.debug("%s is gone: %s", key, error, extra=about(key))
            return
        expected = error.conflict or error.terminating
        level = logging.DEBUG if expected else logging.WARNING
        log.log(level, "%s: Kubernetes refused: %s", key, error, extra=about(key))
        self.queue.retry(key, at_least=error.retry_after or 0.0)


def _only_annotated(before: Workload | None, now: Workload) -> bool:
    """Whether nothing but annotations of ours differs: what is declared, and its end, is never waited with."""
    return (
        before is not None
        and before.annotations != now.annotations
        and (before.uid, before.generation, before.deleting) == (now.uid, now.generation, now.deleting)
    )
