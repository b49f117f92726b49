"""The end of a Workload: never leaks, never hangs.

The finalizer goes only when the platform confirmed the deletion, or the workload is gone, or nothing was ever sent,
or what is there is to stay. With a recorded id, the platform is asked to delete that id whatever its lists show. It
depends on as little as possible: the pinned identity and any token that still works, not a valid spec. Without a token
it lets go after the grace time, loudly.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

from inferencekey_operator.api.keys import Key
from inferencekey_operator.api.workload import Workload, stays
from inferencekey_operator.cache.workloads import Memory, pending_creation
from inferencekey_operator.errors import Actor, OperatorError, PlatformFailure, Reason
from inferencekey_operator.inferencekey.client import Deleted
from inferencekey_operator.inferencekey.project import Project
from inferencekey_operator.inferencekey.wire import LiveWorkload
from inferencekey_operator.kube.errors import ClusterError
from inferencekey_operator.metrics import ORPHANS
from inferencekey_operator.plan import conditions
from inferencekey_operator.plan.credentials import OF_THE_TOKEN, with_remedy
from inferencekey_operator.plan.events import Done
from inferencekey_operator.plan.ownership import Origin
from inferencekey_operator.plan.plan import Identity
from inferencekey_operator.reconcile.access import reach
from inferencekey_operator.reconcile.context import Context, RequeueAfter, deciding
from inferencekey_operator.reconcile.creation import on_record, restore_the_record, taken_back
from inferencekey_operator.reconcile.duplicates import (
    announce_duplicates,
    delete_for_sure,
    duplicate_of,
    remove_duplicate,
)
from inferencekey_operator.reconcile.observe import made_by, refuse_the_nameless
from inferencekey_operator.reconcile.safeguards import Safeguards, confirm_absence, ready_reason, refuse_the_unlisted

_MOVED_FOR_GOOD = frozenset({301, 308})
"""Redirects that are permanent: where a token does not follow, waiting helps no deletion."""


def was_abandoned(workload: Workload, memory: Memory) -> bool:
    """Whether the object went though it had our finalizer and we did not release it, and something is left to do."""
    unguarded = workload.status.workload_id is not None and not workload.deleting
    if memory.release_sent or not (memory.guarded or unguarded):
        return False
    if memory.duplicate or workload.status.duplicate_workload_id:
        return True
    recorded = workload.status.workload_id is not None or memory.made is not None
    return (recorded or pending_creation(workload, memory) is not None) and not stays(workload)


class Deletion:
    """Carries out deletions, suspended or not."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._safeguards = Safeguards(context)

    async def carry_out(self, workload: Workload) -> None:
        """Returns once our finalizer is gone; raises as `Reconciler.ensure` does while it is not."""
        context, key = self._context, workload.key
        if not (workload.has_finalizer or workload.vanished) or context.store.memory(key).released:
            return
        if not workload.vanished:
            context.installations.refuse_the_contested(workload, asyncio.get_running_loop().time())
        workload = await restore_the_record(context, workload)
        if duplicate_of(context, workload) is None:
            if stays(workload) and not on_record(context, workload):
                await self._let_go(workload, "It stays on the platform, as declared")
                return
            if self._nothing_was_sent(workload):
                await self._release_the_unmade(workload)
                return
        try:
            await self._delete(workload)
        except OperatorError as error:
            if isinstance(error, PlatformFailure) and error.reason not in OF_THE_TOKEN:
                raise
            await self._out_of_reach(workload, error)

    async def report_failure(self, workload: Workload, error: OperatorError) -> None:
        """Say why a deletion is not over yet."""
        await self._report(workload, error, f"The deletion goes on: {with_remedy(workload, error).message}")

    async def _report(self, workload: Workload, error: OperatorError, message: str) -> None:
        actor = error.reason.actor
        reason = error.reason if actor is Actor.PLATFORM or error.reason is Reason.MASS_MISSING else Reason.DELETING
        report = conditions.failure(OperatorError(reason, message))
        gone = taken_back(self._context, workload, Reason.PLATFORM_REFUSED)
        await self._context.reporter.report(workload, replace(report, changes=gone))

    def _nothing_was_sent(self, workload: Workload) -> bool:
        """Neither an id nor a creation is on record: our finalizer alone proves nothing."""
        memory = self._context.store.memory(workload.key)
        recorded = workload.status.workload_id is not None or memory.made is not None
        return not recorded and pending_creation(workload, memory) is None

    async def _delete(self, workload: Workload) -> None:
        context, key = self._context, workload.key
        try:
            who, project = await reach(context, workload)
        except PlatformFailure as error:
            # There is no such project any more, or no such platform.
            if error.reason is Reason.PLATFORM_REFUSED or error.status in _MOVED_FOR_GOOD:
                raise OperatorError(error.reason, error.message) from None
            raise
        workload = await remove_duplicate(context, workload, project)
        if stays(workload):
            await self._leave_as_declared(workload, who, project)
            return
        if self._nothing_was_sent(workload):
            await self._release_the_unmade(workload)
            return
        if not workload.vanished:
            context.claims.stake(key, who, lambda: project.proven)
        if self._belongs_to_another(workload, who):
            await self._let_go(workload, "Its slug belongs to another Workload")
            return
        recorded = workload.status.workload_id or context.store.memory(key).made
        if recorded is not None and not await self._delete_recorded(workload, who, project, recorded):
            return
        if pending_creation(workload, context.store.memory(key)) is not None:
            await self._delete_unrecorded(workload, who, project, recorded)
        await self._release(workload)

    async def _leave_as_declared(self, workload: Workload, who: Identity, project: Project) -> None:
        """Orphaned, but not before it is known what there is to leave."""
        record = workload.status.creation
        if record is not None and on_record(self._context, workload):
            announce_duplicates(self._context, workload, who, project, record)
            self._wait_until_settled(workload, project)
        row = project.cache.by_slug(who.slug)
        await self._let_go(workload, "It stays on the platform, as declared", what=row.id if row else None)

    def _belongs_to_another(self, workload: Workload, who: Identity) -> bool:
        """One that vanished gives way to whoever declares the same by now: nothing is deleted under their hands."""
        if workload.vanished:
            return self._context.claims.claimed(who.platform_url, who.project, who.slug)
        return self._context.claims.rival(workload.key) is not None

    async def _delete_recorded(self, workload: Workload, who: Identity, project: Project, workload_id: str) -> bool:
        """By id, whatever the lists show, unless one shows it under another slug; False where it is let go.

        Where no list could be read yet, that is waited for until the deletion grace is over: a rename shows in nothing
        else.
        """
        if project.trouble is not None and not project.proven and self._grace_left(workload) > 0:
            raise project.trouble
        row = project.cache.by_id(workload_id)
        if row is not None and (row.slug != who.slug or not project.cache.owns(row)):
            await self._let_go(workload, f"It has another slug or project there by now, {row.slug}", orphan=True)
            return False
        memory = self._context.store.memory(workload.key)
        if memory.deleted != workload_id:
            if row is None and ready_reason(workload) == Reason.IDENTITY_CHANGED:
                confirm_absence(self._context, workload, project)  # it was renamed, and may be listed again
            outcome = await self._send(workload, who, project, workload_id)
            if outcome is not Deleted.UNKNOWN:
                self._tell(workload, f"Deleted {workload_id} from the platform")
            elif self._safeguards.vanished_en_masse(workload, project):
                self._refuse_the_vanished(workload)
                why = "The platform does not know it, nor most others of its project"
                await self._let_go(workload, why, orphan=True)
                return False
            else:
                self._tell(workload, f"{workload_id} was gone from the platform already")
            memory.deleted = workload_id
        return True

    async def _send(self, workload: Workload, who: Identity, project: Project, workload_id: str) -> Deleted:
        """The DELETE, if what was declared when it was decided still is."""
        context = self._context

        def still_wanted() -> None:
            if not context.store.current(workload) or (workload.vanished and self._belongs_to_another(workload, who)):
                raise RequeueAfter(0.0)

        memory = context.store.memory(workload.key)
        try:
            with deciding(still_wanted):
                outcome = await delete_for_sure(context, workload, project, workload_id)
        except PlatformFailure as error:
            memory.deletion_sent |= error.uncertain
            raise
        # The release may fail, and the next answer is 404 then: what we deleted ourselves did not vanish.
        memory.deletion_sent |= outcome is not Deleted.UNKNOWN
        return outcome

    def _refuse_the_vanished(self, workload: Workload) -> None:
        """Where most of a project is gone at once, 404 and a list are not believed before the grace time is over."""
        if self._grace_left(workload) > 0:
            raise PlatformFailure(
                Reason.MASS_MISSING,
                "Many workloads of this project are missing at once, so the operator does not believe it yet. It "
                "waits for them to return, until --deletion-grace is over",
            )

    async def _delete_unrecorded(
        self, workload: Workload, who: Identity, project: Project, recorded: str | None
    ) -> None:
        """A creation was sent whose outcome is not known: what came of it is deleted, now or when it appears.

        Beside an id that is `recorded` the creation has its answer, and whatever else appears is only announced.
        """
        record = workload.status.creation
        if record is not None:
            announce_duplicates(self._context, workload, who, project, record)
        rows = [(row, made_by(self._context, workload, row)) for row in project.cache.all_of(who.slug)]
        whatever = workload.spec.deletion_policy == "Delete"
        ours = [row for row, whose in rows if recorded is None and (whose is Origin.OURS or whatever)]
        for row in ours:
            await self._send(workload, who, project, row.id)
            self._tell(workload, f"Deleted {row.id} from the platform")
        refuse_the_nameless(who, project)
        # Also after one was deleted: the platform may still carry out what was sent.
        self._wait_until_settled(workload, project)
        if ours:
            raise RequeueAfter(0.01)
        confirm_absence(self._context, workload, project)
        if not rows:
            await refuse_the_unlisted(project, who.slug)
        self._leave([row for row, _ in rows], workload)

    def _wait_until_settled(self, workload: Workload, project: Project) -> None:
        """What was begun in a former term says nothing of what another process began since."""
        memory, now = self._context.store.memory(workload.key), asyncio.get_running_loop().time()
        began = self._context.terms.of(workload.namespace).began
        since = max(began, memory.uncertain_since or began, memory.record_seen or began)
        settles_at = since + self._context.settings.uncertain_create_timeout
        if now < settles_at or project.began < settles_at:
            memory.seen = now
            raise RequeueAfter(min(max(settles_at - now, 0.0) + 0.01, self._context.settings.list_interval))

    def _leave(self, rows: list[LiveWorkload], workload: Workload) -> None:
        """What may be another's stays, and nobody has to find that out by the bill."""
        for row in rows:
            note = (
                f"{row.id} has the slug, and may have been made by a creation whose answer was lost, or by someone "
                "else. It was left on the platform"
            )
            if self._first_said(workload, note, orphan=True):
                self._context.recorder.workload(workload, Reason.ORPHANED, note, warning=True)

    async def _out_of_reach(self, workload: Workload, error: OperatorError) -> None:
        """No token that works: wait for one, but not for ever. Troubles of the platform's are waited out."""
        left = self._grace_left(workload)
        if left > 0:
            await self._report(workload, error, self._waits_for_a_token(workload, error))
            # The next try asks anew: what the platform once said of a token must not decide a deletion.
            self._context.store.memory(workload.key).seen = asyncio.get_running_loop().time()
            raise RequeueAfter(min(left, 10.0))
        await self._abandon(workload, error)

    def _waits_for_a_token(self, workload: Workload, error: OperatorError) -> str:
        """Until when, by the API server's clock; later if this process saw the deletion later."""
        grace = timedelta(seconds=self._context.settings.deletion_grace)
        until = (
            f"until {workload.deletion_timestamp + grace:%Y-%m-%dT%H:%M:%SZ} " if workload.deletion_timestamp else ""
        )
        return (
            f"The deletion goes on, and waits for a usable token {until}or longer. Then this Workload is released, and "
            f"what it created stays on the platform and is billed. {with_remedy(workload, error).message}"
        )

    def _grace_left(self, workload: Workload) -> float:
        """Seconds, from when this process first saw the deletion: its clock is only compared with itself."""
        now = asyncio.get_running_loop().time()
        since = self._context.store.memory(workload.key).deleting_since or now
        return self._context.settings.deletion_grace - (now - since)

    async def _abandon(self, workload: Workload, error: OperatorError) -> None:
        status = workload.status
        duplicate = (
            f", duplicate {duplicate_of(self._context, workload)}" if duplicate_of(self._context, workload) else ""
        )
        note = (
            f"Workload {workload.namespace}/{workload.name} was released without a token ({error.reason}). What it "
            f"created may still run and be billed: id {status.workload_id or 'unknown'}, "
            f"slug {status.workload_slug or workload.effective_slug}, project {status.project_slug or 'unknown'}"
            f"{duplicate}. Delete it in the dashboard."
        )
        if self._first_said(workload, note, orphan=True):
            self._context.recorder.namespace(workload.namespace, Reason.ORPHANED, note)
            left = status.workload_id or status.workload_slug or workload.effective_slug
            here = (
                f"Released without a token ({error.reason}): {left} may still run on the platform, and is billed then"
            )
            self._context.recorder.workload(workload, Reason.ORPHANED, here, warning=True, falls_back=False)
        await self._release(workload)

    async def _release_the_unmade(self, workload: Workload) -> None:
        """Nothing is known to have been sent; a row that has the slug all the same is not silently left behind.

        A status that was wiped knows nothing either: so it is looked for, as far as that can be done now.
        """
        what = None
        try:
            who, project = await reach(self._context, workload)
            if self._context.claims.rival(workload.key) is None:
                row = project.cache.by_slug(who.slug)
                if row is not None:
                    what = row.id
                elif await project.exists(who.slug):
                    what = who.slug
        except OperatorError as error:
            if isinstance(error, PlatformFailure) and error.reason.actor is Actor.PLATFORM:
                raise
            await self._let_go(workload, f"Its status names no workload, and nothing could be listed ({error.reason})")
            return
        if what is not None:
            await self._let_go(workload, "Its status does not say that this Workload made it", what=what)
            return
        await self._release(workload)

    def _tell(self, workload: Workload, note: str) -> None:
        self._context.recorder.workload(workload, Done.DELETED, note)

    def _first_said(self, workload: Workload, note: str, *, orphan: bool) -> bool:
        """What is left is told before the release, whose answer may be lost, and once, however often that is tried."""
        memory = self._context.store.memory(workload.key)
        if note in memory.farewells:
            return False
        memory.farewells |= {note}
        if orphan:
            ORPHANS.inc()
        return True

    async def _let_go(self, workload: Workload, why: str, *, what: str | None = None, orphan: bool = False) -> None:
        note = f"{what or workload.status.workload_id or workload.effective_slug} was not deleted from the platform"
        if self._first_said(workload, note, orphan=orphan):
            self._context.recorder.workload(workload, Reason.ORPHANED, f"{note}: {why}")
        await self._release(workload)

    async def _release(self, workload: Workload) -> None:
        memory = self._context.store.memory(workload.key)
        memory.released = memory.release_sent = True  # before the write: the end of the object may be told before it
        try:
            await self._context.reporter.remove_finalizer(workload)
        except BaseException as error:  # also where the Lease was lost: the next term of this process has to try again
            if not (isinstance(error, ClusterError) and error.gone):
                memory.released = False
                raise
        if workload.vanished:
            self._context.projects.leave(workload.key)
            self._context.secrets.release(Key(workload.namespace, workload.name))
