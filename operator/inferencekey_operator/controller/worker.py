"""Carries out one reconcile, or one step of a deletion, and decides what becomes of the key afterwards.

An error ends here: it becomes a condition and a later reconcile, never a traceback for a user and never a hot loop.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from weakref import WeakKeyDictionary

from inferencekey_operator import metrics
from inferencekey_operator.api.keys import Key
from inferencekey_operator.api.workload import Workload, stays
from inferencekey_operator.controller.workqueue import WorkQueue
from inferencekey_operator.election.leader import LeadershipLostError
from inferencekey_operator.election.terms import AT_WORK
from inferencekey_operator.errors import Actor, OperatorError, Reason
from inferencekey_operator.inferencekey.project import Project
from inferencekey_operator.kube.errors import ClusterError
from inferencekey_operator.logs import about
from inferencekey_operator.reconcile.context import Context, RequeueAfter
from inferencekey_operator.reconcile.deletion import Deletion
from inferencekey_operator.reconcile.ensure import Reconciler

log = logging.getLogger(__name__)


class Worker:
    """What the queue hands its keys to."""

    def __init__(self, context: Context, queue: WorkQueue) -> None:
        self._context, self._queue = context, queue
        self._reconciler, self._deletion = Reconciler(context), Deletion(context)
        self._seen_at_work: set[Key] = set()
        self._parked: WeakKeyDictionary[Project, set[Key]] = WeakKeyDictionary()
        """Who comes back as soon as the platform answers for a project again, however long the own wait is; for as long
        as that project is used, which ends with its token."""

    def add(self, key: Key, *, urgent: bool) -> None:
        """An event came for `key`: it is queued or, while it is in work, weighed afterwards."""
        if self._queue.working(key):
            self._seen_at_work.add(key)
        else:
            self._queue.add(key, urgent=urgent)

    def recovered(self, project: Project) -> None:
        """The platform answers for a project again: those that it stopped come back."""
        for key in self._parked.pop(project, ()):
            if not self._queue.working(key):
                self._queue.add(key)

    def leave(self, foreign: Callable[[Key], bool]) -> None:
        """What is another replica's by now comes back no more."""
        for project, parked in tuple(self._parked.items()):
            parked.difference_update([key for key in parked if foreign(key)])
            if not parked:
                del self._parked[project]

    async def work(self, key: Key) -> None:
        """Reconcile the Workload that has this key now, and queue the key again where that is needed."""
        workload = self._context.store.get(key)
        if workload is None:
            self._queue.succeeded(key)  # it went while it was looked at: its failures are nobody's any more
            return
        try:
            await self._reconcile(key, workload)
        finally:  # also where the work was given up, as its list was that of a former Workload of this name
            self._heed_what_came_meanwhile(key)

    async def _reconcile(self, key: Key, workload: Workload) -> None:
        AT_WORK.set(key)
        self._context.store.memory(key).left = workload.resource_version
        result = "done"
        try:
            with metrics.RECONCILE_SECONDS.time():
                await self._look(workload)
            self._queue.succeeded(key)
        except RequeueAfter as later:
            result = "requeue"
            self._queue.add_after(key, later.seconds, urgent=True)
        except OperatorError as error:
            result = str(error.reason)
            await self._stopped(workload, error)
        except ClusterError as error:
            result = "kubernetes_error"
            self._refused(key, error)
        except LeadershipLostError:
            result = "leadership_lost"
            self._queue.retry(key)  # the Lease may be renewed a moment later, and then nothing else brings the key back
        metrics.RECONCILES.labels(result).inc()

    def _heed_what_came_meanwhile(self, key: Key) -> None:
        """An event that came during the work is worth a look of its own, unless it is the echo of what we wrote."""
        if key in self._seen_at_work:
            self._seen_at_work.discard(key)
            workload = self._context.store.get(key)
            if workload is not None and workload.resource_version != self._context.store.memory(key).left:
                self._queue.add(key, urgent=True)

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
        workload = self._context.store.get(key)
        if workload is None:
            return
        if not self._context.store.current(looked_at):
            self._queue.add(key, urgent=True)
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
        except RequeueAfter as later:
            self._queue.add_after(key, later.seconds, urgent=True)
            return
        self._return_later(key, workload, error)

    def _report_conflict(self, workload: Workload, error: OperatorError) -> None:
        """Once, and beside the Workloads: a status that is written now would only be answered by the other operator."""
        if self._context.installations.first_report(workload.namespace):
            self._context.recorder.namespace(workload.namespace, error.reason, error.message)

    def _return_later(self, key: Key, workload: Workload, error: OperatorError) -> None:
        project = self._context.projects.of(key)
        if project is not None and project.down:
            self._parked.setdefault(project, set()).add(key)
        if error.reason.actor is Actor.PLATFORM or workload.deleting:
            self._queue.retry(key, at_least=error.retry_after or 0.0)
        else:
            self._queue.add_after(key, self._context.settings.resync_period * random.uniform(0.9, 1.1))  # noqa: S311

    def _refused(self, key: Key, error: ClusterError) -> None:
        """Kubernetes did not take a write. What moved on comes back as an event; the rest is tried again."""
        if error.gone:
            log.debug("%s is gone: %s", key, error, extra=about(key))
            return
        expected = error.conflict or error.terminating
        level = logging.DEBUG if expected else logging.WARNING
        log.log(level, "%s: Kubernetes refused: %s", key, error, extra=about(key))
        self._queue.retry(key, at_least=error.retry_after or 0.0)

    def _tell_the_loss(self, workload: Workload) -> None:
        """Once, when its turn comes."""
        memory = self._context.store.memory(workload.key)
        if memory.loss_told:
            return
        memory.loss_told = True
        metrics.VANISHED.inc()
        duplicate = memory.duplicate or workload.status.duplicate_workload_id
        made = workload.status.workload_id or memory.made
        what = (duplicate if stays(workload) else made) or f"what may have been created as {workload.effective_slug}"
        note = (
            f"Disappeared without being released: it had no finalizer any more, or not yet. The operator deletes {what}"
        )
        self._context.recorder.workload(workload, Reason.DELETING, note, warning=True)
