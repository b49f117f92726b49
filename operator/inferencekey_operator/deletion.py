"""The end of a Workload: never leaks, never hangs.

The finalizer goes only when the platform confirmed the deletion, or the workload is gone, or nothing was ever made,
or what is there is to stay. It depends on as little as possible: the pinned identity and any token that still works,
not a valid spec. Without a token it lets go after the grace time, loudly.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

from inferencekey_operator import conditions
from inferencekey_operator.brakes import confirmed
from inferencekey_operator.cluster import ClusterError
from inferencekey_operator.creation import remove_twin
from inferencekey_operator.credentials import OF_THE_TOKEN, credential, identity, pinned_identity, with_remedy
from inferencekey_operator.errors import Actor, OperatorError, PlatformFailure, Reason
from inferencekey_operator.inferencekey.roster import Roster
from inferencekey_operator.inferencekey.wire import LiveWorkload
from inferencekey_operator.metrics import ORPHANS
from inferencekey_operator.observe import CONFIRM_AFTER, deny, made_here, refuse_the_nameless
from inferencekey_operator.plan import Identity
from inferencekey_operator.store import Memory
from inferencekey_operator.workload import Workload
from inferencekey_operator.world import AskedAgainError, World


class Deletion:
    """Carries out deletions, suspended or not."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def carry_out(self, workload: Workload) -> None:
        """Returns once our finalizer is gone; raises as `Reconciler.ensure` does while it is not."""
        world, key = self._world, workload.key
        if not workload.has_finalizer or world.store.memory(key).released:
            return
        if self._stays(workload):
            await self._let_go(workload, "It stays on the platform, as declared")
            return
        try:
            who, roster = await self._look(workload)
        except OperatorError as error:
            await self._out_of_reach(workload, error)
            return
        await remove_twin(world, workload, roster)
        world.claims.stake(key, who, lambda: roster.proven)
        if world.claims.rival(key) is not None:
            await self._let_go(workload, "Its slug belongs to another Workload")
            return
        row = self._find(workload, who, roster)
        if row is None:
            refuse_the_nameless(who, roster)
            self._wait_until_certain(workload, roster)
            await self._release_the_absent(workload, roster)
            return
        try:
            confirmed = await roster.delete(row.id)
        except PlatformFailure as error:
            if error.reason not in OF_THE_TOKEN:
                raise
            await self._out_of_reach(workload, error)
            return
        if not confirmed:
            deny(world.store.memory(key), roster)
        world.recorder.workload(workload, Reason.DELETING, f"Deleted {row.id} from the platform")
        await self._release(workload)

    async def report_failure(self, workload: Workload, error: OperatorError) -> None:
        """Say why a deletion is not over yet."""
        message = f"The deletion goes on: {with_remedy(workload, error).message}"
        actor = error.reason.actor
        reason = error.reason if actor is Actor.PLATFORM else Reason.DELETING
        report = conditions.failure(OperatorError(reason, message))
        await self._world.reporter.report(workload, report)

    def _stays(self, workload: Workload) -> bool:
        policy = workload.spec.deletion_policy
        return policy == "Orphan" or (policy is None and workload.status.adopted is True)

    async def _look(self, workload: Workload) -> tuple[Identity, Roster]:
        """A fresh list of the pinned project, with the Secret's token or the last one that was good there."""
        refused: OperatorError | None = None
        for secret in self._secrets(workload):
            try:
                return await self._look_with(workload, secret)
            except OperatorError as error:
                if error.reason.actor is Actor.PLATFORM and isinstance(error, PlatformFailure):
                    raise
                refused = refused or error
        raise refused or OperatorError(Reason.SECRET_NOT_FOUND, "There is no token")

    def _secrets(self, workload: Workload) -> list[Mapping[str, str] | None]:
        """What stands in the Secret and, where another one was good for the project, that one."""
        ref, secrets = workload.spec.token_secret_ref, self._world.secrets
        project = workload.status.project_slug or workload.spec.project
        standing = secrets.get(workload.namespace, ref.name)
        kept = secrets.last_good(workload.namespace, ref.name, ref.key, project) if project else None
        return [standing] if kept is None or kept == standing else [standing, kept]

    async def _look_with(self, workload: Workload, secret: Mapping[str, str] | None) -> tuple[Identity, Roster]:
        world, key = self._world, workload.key
        pinned = _pinned_project(workload)
        found = credential(pinned, secret, world.allowed)
        who = pinned_identity(workload) or Identity(found.base_url, found.project, workload.effective_slug)
        if who.platform_url != found.base_url:
            identity(pinned, found)  # raises: a token must not go to a platform that it was not meant for
        roster = world.rosters.use(key, who.platform_url, who.project, found.token)
        memory = world.store.memory(key)
        after = max(memory.seen, memory.denied_since or memory.seen)
        if memory.missing_since is not None:
            after = memory.missing_since + CONFIRM_AFTER
        await roster.look(max(after, roster.uncertain_since))
        return who, roster

    async def _out_of_reach(self, workload: Workload, error: OperatorError) -> None:
        """No token that works: wait for one, but not for ever. Troubles of the platform's are waited out."""
        if isinstance(error, PlatformFailure) and error.reason.actor is not Actor.PERSON:
            raise error
        began = workload.deletion_timestamp or datetime.now(UTC)
        left = self._world.settings.deletion_grace - (datetime.now(UTC) - began).total_seconds()
        if left > 0:
            await self.report_failure(workload, error)
            # The next try asks anew: what the platform once said of a token must not decide a deletion.
            self._world.store.memory(workload.key).seen = asyncio.get_running_loop().time()
            raise AskedAgainError(min(left, 10.0))
        await self._abandon(workload, error)

    async def _abandon(self, workload: Workload, error: OperatorError) -> None:
        status = workload.status
        note = (
            f"Workload {workload.namespace}/{workload.name} was let go without a token ({error.reason}). What it made "
            f"may still run and be billed: id {status.workload_id or 'unknown'}, "
            f"slug {status.workload_slug or workload.effective_slug}, project {status.project_slug or 'unknown'}. "
            "Delete it in the dashboard."
        )
        await self._release(workload)
        ORPHANS.inc()
        self._world.recorder.namespace(workload.namespace, Reason.ORPHANED, note)

    def _find(self, workload: Workload, who: Identity, roster: Roster) -> LiveWorkload | None:
        """The row with the recorded id and our slug or, where no id was recorded, the one that we made."""
        if workload.status.workload_id is not None:
            row = roster.by_id(workload.status.workload_id)
            return row if row is not None and row.slug == who.slug else None
        row = roster.by_slug(who.slug)
        return row if row is not None and made_here(workload, row) else None

    async def _release_the_absent(self, workload: Workload, roster: Roster) -> None:
        """There is nothing to delete; what has our id under another slug is not silently left behind."""
        recorded = workload.status.workload_id
        renamed = roster.by_id(recorded) if recorded else None
        if renamed is None:
            await self._release(workload)
            return
        await self._let_go(workload, f"It has another slug there by now, {renamed.slug}")
        ORPHANS.inc()

    def _wait_until_certain(self, workload: Workload, roster: Roster) -> None:
        """Absence is believed after a second list and, where a creation may be under way, after it has settled."""
        memory = self._world.store.memory(workload.key)
        if workload.status.workload_id is None:
            left = self._settles_at(workload, memory) - asyncio.get_running_loop().time()
            if left > 0:
                memory.seen = asyncio.get_running_loop().time()
                raise AskedAgainError(min(left + 0.01, self._world.settings.interval))
        confirmed(memory, roster)

    def _settles_at(self, workload: Workload, memory: Memory) -> float:
        """What was begun in a former term says nothing of what another process began since."""
        began = self._world.terms.of(workload.namespace).began
        return max(began, memory.uncertain_since or began) + self._world.settings.create_settle

    async def _let_go(self, workload: Workload, why: str) -> None:
        what = workload.status.workload_id or workload.effective_slug
        await self._release(workload)
        self._world.recorder.workload(workload, Reason.ORPHANED, f"{what} was not deleted from the platform: {why}")

    async def _release(self, workload: Workload) -> None:
        try:
            await self._world.reporter.remove_finalizer(workload)
        except ClusterError as error:
            if not error.gone:
                raise
        if self._world.store.get(workload.key) is not None:
            self._world.store.memory(workload.key).released = True


def _pinned_project(workload: Workload) -> Workload:
    """The Workload with the project that was used first: the Secret may name another one by now."""
    project = workload.status.project_slug
    return replace(workload, spec=replace(workload.spec, project=project)) if project else workload
