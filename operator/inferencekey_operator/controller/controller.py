"""What triggers a reconcile: events of the watches, rows of the platform that moved, delays, and the full resync.

Decides which keys are queued, and what is forgotten when an object goes. What becomes of a key is `worker`'s.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from inferencekey_operator import metrics
from inferencekey_operator.api.keys import Key
from inferencekey_operator.api.workload import ON_DRIFT, Workload
from inferencekey_operator.cache.workloads import Memory, key_of, pending_creation
from inferencekey_operator.controller.damping import WAITS, Damper
from inferencekey_operator.controller.worker import Worker
from inferencekey_operator.controller.workqueue import WorkQueue
from inferencekey_operator.election.terms import Term, Terms
from inferencekey_operator.errors import OperatorError, Reason
from inferencekey_operator.inferencekey.project import Project
from inferencekey_operator.kube.errors import ClusterError
from inferencekey_operator.logs import about
from inferencekey_operator.plan.endpoint import config_map_name
from inferencekey_operator.reconcile.context import Context
from inferencekey_operator.reconcile.deletion import was_abandoned
from inferencekey_operator.reconcile.observe import settled, stake

log = logging.getLogger(__name__)

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
        self.resync_at = float("-inf")
        """When the resync last made progress, in the loop's time."""
        self._damper = Damper()
        self._context: Context | None = None

    def wire(self, context: Context) -> None:
        """Everything is there; nothing is worked before `queue.start()`."""
        self._context, self._worker = context, Worker(context, self.queue)

    @property
    def context(self) -> Context:
        """What it works with."""
        if self._context is None:
            raise RuntimeError("the controller is not wired yet")
        return self._context

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
            self.context.store.revisit(workload.key)
            self.context.serving.forget(workload.key)  # as of before what another process may have written
            self.queue.add(workload.key, urgent=not settled(workload))
        for key in self.context.store.vanished:
            self.queue.add(key)
        self.queue.start()
        log.info("in control of %d Workloads%s", len(workloads), f", those of shard {shard}" if self._sharded else "")

    async def stop(self) -> None:
        """Nothing is begun any more: back when nothing is in work."""
        await self.queue.stop()

    async def leave(self, shard: int) -> None:
        """This process acts for a shard no more: back when nothing of it is in work, and nothing will be."""
        self.terms.of_shard[shard] = Term()  # what the next leader releases did not disappear
        if not self._sharded:
            await self.queue.stop()
            return
        await self.queue.drop(self.terms.foreign)
        for workload in self._of(shard):
            self.context.projects.leave(workload.key)
            self.context.serving.forget(workload.key)
        self._worker.leave(self.terms.foreign)

    @property
    def ours(self) -> Iterator[Workload]:
        """The Workloads that this process looks at, or would if it led."""
        return (workload for workload in self.context.store if self.terms.ours(workload.key))

    @property
    def _sharded(self) -> bool:
        return len(self.terms.of_shard) > 1

    def _of(self, shard: int) -> list[Workload]:
        term = self.terms.of_shard[shard]
        return [workload for workload in self.context.store if self.terms.of(workload.namespace) is term]

    # -- triggers ----------------------------------------------------------------------------------------------

    def workload_seen(self, body: Mapping[str, Any], *, urgent: bool = True) -> None:
        """A Workload was listed, created, updated or annotated, or its deletion began."""
        key = key_of(body)
        before, memory = self.context.store.get(key), self.context.store.memory(key)
        if self.context.store.observe(body):
            workload = self.context.store.get(key)
            if before is not None and workload is not None and before.uid != workload.uid:
                self._see_to_the_abandoned(before, memory)  # it went, and no watch told
            self.context.installations.saw(before, workload, asyncio.get_running_loop().time())
            if workload is not None:
                stake(self.context, workload)
            if self.terms.foreign(key):
                self._wake_rivals(key)
            if workload is not None and _only_annotated(before, workload):
                what = f"The annotations of Workload {workload.name} are"
                self._damped(key, partial(self._worker.add, key, urgent=urgent), what, workload)
            else:
                self._worker.add(key, urgent=urgent)

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
                self.context.recorder.workload(concerned, Reason.CONTESTED, note, warning=True)

        self._damper.act(thing, action, report)

    async def workloads_listed(
        self, everything: AsyncIterator[Mapping[str, Any]], namespace: str | None = None
    ) -> None:
        """All Workloads that there are, of that namespace or at all: whoever is known and not among them went.

        Deletions that happened while no watch was open are told by nothing else.
        """
        before = {
            workload.key: workload.uid
            for workload in self.context.store
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
        workload, memory = self.context.store.get(key), self.context.store.memory(key)
        if not self.context.store.forget(key, uid):
            return
        self.queue.forget(key)
        self.context.serving.forget(key)
        self.context.projects.leave(key)
        self.context.claims.release(key, self._settles_at(workload, memory) if workload is not None else None)
        if workload is None or not self._see_to_the_abandoned(workload, memory, after):
            self.context.secrets.release(key)

    def _settles_at(self, workload: Workload, memory: Memory) -> float | None:
        """Of a Workload that went while a creation of it may be under way: when whoever is next may create."""
        recorded = pending_creation(workload, memory) is not None and workload.status.workload_id is None
        if memory.release_sent or not (recorded or memory.uncertain_since is not None):
            return None
        return asyncio.get_running_loop().time() + self.context.settings.uncertain_create_timeout

    def _acts_for(self, key: Key) -> bool:
        return self.terms.of(key.namespace).began < float("inf")

    def _see_to_the_abandoned(self, workload: Workload, memory: Memory, after: float = 0.0) -> bool:
        """Where somebody removed our finalizer, what it held back is done without the object."""
        if not self._acts_for(workload.key) or not was_abandoned(workload, memory):
            return False
        left = replace(workload, vanished=True, deletion_timestamp=workload.deletion_timestamp or datetime.now(UTC))
        memory.deleting_since = memory.deleting_since or asyncio.get_running_loop().time()
        self.context.store.keep_the_vanished(left, memory)
        self.queue.add_after(left.key, after, urgent=True)
        return True

    def secret_changed(self, secret: Key) -> None:
        """A Secret came, was rotated or went."""

        def users() -> list[Workload]:
            each = (workload for workload in self.context.store if workload.namespace == secret.namespace)
            return [workload for workload in each if workload.spec.token_secret_ref.name == secret.name]

        self._damped(secret, lambda: self._wake(users()), f"Secret {secret.name} is", next(iter(users()), None))

    def config_map_changed(self, owner: str) -> None:
        """The ConfigMap of the Workload with this uid was edited or deleted."""
        key = self.context.store.key_of_uid(owner)
        workload = self.context.store.get(key) if key is not None else None
        if workload is not None:
            what = f"ConfigMap {config_map_name(workload)} is"
            self._damped(owner, partial(self.queue.add, workload.key, urgent=True), what, workload)

    def namespace_changed(self, namespace: str) -> None:
        """A Namespace states another drift policy."""

        def members() -> list[Workload]:
            return [workload for workload in self.context.store if workload.namespace == namespace]

        what = f"The annotation {ON_DRIFT} of Namespace {namespace} is"
        self._damped(("Namespace", namespace), lambda: self._wake(members()), what, next(iter(members()), None))

    def rows_changed(self, project: Project, slugs: Iterable[str]) -> None:
        """A list showed workloads that are new, gone or different."""
        for key in self.context.claims.holders(project.base_url, project.slug, slugs):
            self.queue.add(key)

    def platform_troubled(self, project: Project, error: OperatorError) -> None:
        """The platform does not list any more, or refuses to: one Event, about a Secret that holds the credential, and
        one line in the log, however many Workloads use it.
        """
        users = (self.context.store.get(key) for key in self.context.projects.users(project) if isinstance(key, Key))
        first = min((user for user in users if user is not None), key=lambda user: user.key, default=None)
        if first is not None:
            secret = Key(first.namespace, first.spec.token_secret_ref.name)
            fields = about(secret, kind="Secret", reason=error.reason)
            log.warning("the platform does not list project %s: %s", project.slug, error, extra=fields)
            self.context.recorder.secret(*secret, error.reason, error.message)

    def platform_recovered(self, project: Project) -> None:
        """The platform answers again: those that it stopped come back."""
        log.info("the platform lists project %s again", project.slug)
        self._worker.recovered(project)

    def readiness_told(self, key: Key, new_phase: bool) -> None:
        """The platform told how far it is with serving a Workload."""
        if new_phase:
            self.queue.add(key, urgent=True)
        else:
            self.queue.add_within(key, STEP_PAUSE)

    async def resync(self, everything: Callable[[], AsyncIterator[Mapping[str, Any]]]) -> None:
        """Reconcile every Workload once per resync period, in case a trigger was missed; never returns.

        Each resync ends with a fresh list of all Workloads, which shows a deletion that no watch reported.
        """
        while True:
            self._step()
            keys = [workload.key for workload in self.ours]
            pause = self.context.settings.resync_period / max(len(keys), 1)
            if not keys:
                await asyncio.sleep(pause)
            for key in keys:
                await asyncio.sleep(pause)
                self._step()
                if self.context.store.get(key) is not None:
                    self.queue.add(key)
            try:
                await self.workloads_listed(everything())
            except ClusterError as error:
                level = logging.DEBUG if error.gone else logging.WARNING  # the watch says it where the CRD is missing
                log.log(level, "the Workloads could not be listed for the resync: %s", error)

    def _step(self) -> None:
        self.resync_at = asyncio.get_running_loop().time()

    def _wake(self, workloads: Iterable[Workload]) -> None:
        for workload in workloads:
            if self.terms.foreign(workload.key):
                stake(self.context, workload)
            self.queue.add(workload.key, urgent=True)

    async def _work(self, key: Key) -> None:
        await self._worker.work(key)

    def _wake_rivals(self, key: Key) -> None:
        """What another replica did for its Workload may be the end of what ours waits for, or the reason to wait."""
        for rival in self.context.claims.rivals(key):
            self.queue.add(rival, urgent=True)


def _only_annotated(before: Workload | None, now: Workload) -> bool:
    """Whether nothing but annotations of ours differs: what is declared, and its end, is never waited with."""
    return (
        before is not None
        and before.annotations != now.annotations
        and (before.uid, before.generation, before.deleting) == (now.uid, now.generation, now.deleting)
    )
