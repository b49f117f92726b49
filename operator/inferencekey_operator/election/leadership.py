"""When this process works: while it holds Leases, one for each shard, and not a moment longer.

A leader that cannot renew stops its work, and becomes a candidate again; what it saw stays in memory, so that taking
over is quick and writes nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from inferencekey_operator.election.candidacy import Candidacies, Candidacy
from inferencekey_operator.election.layout import Layouts
from inferencekey_operator.election.leader import Leader, LeadershipLostError, boot_clock
from inferencekey_operator.election.shards import pace, shard_of
from inferencekey_operator.election.terms import AT_WORK, LeaderCallbacks
from inferencekey_operator.kube.client import MANAGER, Cluster
from inferencekey_operator.kube.reading import Body
from inferencekey_operator.settings import Settings

MARGIN = 0.5
_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class Leadership:
    """The candidacies of one process: one for each shard, each one after the other."""

    def __init__(
        self,
        cluster: Cluster,
        callbacks: LeaderCallbacks,
        settings: Settings,
        list_workloads: Callable[[], AsyncIterator[Body]],
        *,
        least_wait: float = 0.0,
    ) -> None:
        """`least_wait` is how many seconds creations wait, whoever had the Lease before."""
        self._cluster, self._callbacks, self._settings = cluster, callbacks, settings
        self._list_workloads = list_workloads
        self._least_wait = least_wait
        self._field: Candidacies | None = None
        self._run: asyncio.Task[None] | None = None

    def check(self) -> None:
        """Raises LeadershipLostError unless this process may act now, for the Workload that is looked at."""
        shard = 0
        if self._settings.shards > 1:
            key = AT_WORK.get()
            if key is None:
                raise LeadershipLostError("only what is done for a Workload changes the platform")
            shard = shard_of(key.namespace, self._settings.shards)
        if self._field is None:
            raise LeadershipLostError("this process does not lead")
        self._field.candidacies[shard].check()

    @property
    def operator(self) -> str:
        """Which operator this is, whatever its replicas and shards: the namespace and name of its Lease."""
        return f"{self._settings.lease_namespace or _pod_namespace()}/{lease_name(self._settings.namespace)}"

    @property
    def leads(self) -> bool:
        """Whether this process may act now, for any shard."""
        return self.shards_held > 0

    @property
    def shards_held(self) -> int:
        """For how many shards it may act now."""
        return sum(candidacy.leads for candidacy in self._field or ())

    @property
    def ended(self) -> bool:
        """Whether there will be no further candidacy, though nobody ended them."""
        return self._run is not None and self._run.done()

    @property
    def lease_silence(self) -> float:
        """Seconds since the API server last told something about the Lease, about the quietest of several."""
        leaders = [candidacy.leader for candidacy in self._field or ()]
        return max((leader.clock() - leader.answered_at for leader in leaders), default=0.0)

    def start(self) -> None:
        """From now on, lead whenever that is possible."""
        self._field = self._new_candidacies()
        self._run = asyncio.create_task(self._run_all(self._field), name="leadership")

    async def _run_all(self, field: Candidacies) -> None:
        async with asyncio.TaskGroup() as group:
            for candidacy in field:
                group.create_task(candidacy.run(), name=f"candidacy for shard {candidacy.shard}")

    async def end(self) -> None:
        """Finish what is in work, under the Leases; then give them up."""
        if self._field is not None:
            self._field.closing = True
        await self._callbacks.stop()
        if self._run is not None:
            self._run.cancel()
            await asyncio.gather(self._run, return_exceptions=True)
        await asyncio.gather(*(candidacy.leader.release() for candidacy in self._field or ()))

    def _new_candidacies(self) -> Candidacies:
        """A write to the platform must end before the Lease of a leader that stopped renewing can run out."""
        settings, duration = self._settings, self._settings.lease_duration
        renew_deadline = min(10.0, duration - settings.client_timeout - MARGIN)
        layouts = Layouts(settings.shards, duration=duration, fresh_for=renew_deadline, clock=boot_clock)
        field = Candidacies(layouts, self._callbacks, settings.client_timeout, self._list_workloads, self._least_wait)
        identity = f"{socket.gethostname()}_{os.getpid()}_{uuid.uuid4().hex[:8]}"
        for shard in range(settings.shards):
            candidacy = Candidacy(shard, field)
            candidacy.leader = Leader(
                self._cluster,
                settings.lease_namespace or _pod_namespace(),
                name=lease_name(settings.namespace, shard),
                identity=identity,
                duration=duration,
                renew_deadline=renew_deadline,
                retry=min(2.0, (duration - settings.client_timeout - MARGIN) / 4),
                notes=candidacy,
                pace=pace(settings.shards) if shard else 1.0,
            )
            field.candidacies.append(candidacy)
        return field


def lease_name(namespaces: tuple[str, ...], shard: int = 0) -> str:
    """One Lease per scope and shard: operators of different namespaces do not wait for each other."""
    suffix = f"-shard-{shard}" if shard else ""
    if not namespaces:
        return f"{MANAGER}{suffix}"
    scope = hashlib.sha256(",".join(sorted(namespaces)).encode()).hexdigest()[:8]
    return f"{MANAGER}-{scope}{suffix}"


def _pod_namespace() -> str:
    return _NAMESPACE_FILE.read_text().strip() if _NAMESPACE_FILE.is_file() else "default"
