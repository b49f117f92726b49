"""When this process works: while it holds the Lease, and not a moment longer.

A leader that cannot renew stops its work, and becomes a candidate again; what it saw stays in memory, so that taking
over is quick and writes nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import socket
import uuid
from pathlib import Path

from inferencekey_operator.cluster import MANAGER, Cluster
from inferencekey_operator.controller import Controller
from inferencekey_operator.leader import Leader, LeadershipLostError
from inferencekey_operator.settings import Settings

log = logging.getLogger(__name__)

MARGIN = 0.5
_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class Leadership:
    """The candidacies of one process, one after the other."""

    def __init__(self, cluster: Cluster, controller: Controller, settings: Settings) -> None:
        self._cluster, self._controller, self._settings = cluster, controller, settings
        self._candidate: Leader | None = None
        self._leader: Leader | None = None
        self._candidacies: asyncio.Task[None] | None = None

    def check(self) -> None:
        """Raises LeadershipLostError unless this process may act now."""
        if self._leader is None:
            raise LeadershipLostError("this process does not lead")
        self._leader.check()

    @property
    def leads(self) -> bool:
        """Whether this process may act now."""
        try:
            self.check()
        except LeadershipLostError:
            return False
        return True

    @property
    def ended(self) -> bool:
        """Whether there will be no further candidacy, though nobody ended them."""
        return self._candidacies is not None and self._candidacies.done()

    @property
    def lease_silence(self) -> float:
        """Seconds since the API server last told something about the Lease."""
        return 0.0 if self._candidate is None else self._candidate.clock() - self._candidate.answered_at

    def start(self) -> None:
        """From now on, lead whenever that is possible."""
        self._candidacies = asyncio.create_task(self._run(), name="leadership")

    async def _run(self) -> None:
        leader = self._candidate = self._new_candidate()
        while True:
            taken = await leader.acquire()
            self._leader = leader
            self._controller.begin(settled_in=self._settings.client_timeout if taken else 0.0)
            try:
                await leader.hold()
            except LeadershipLostError as error:
                log.warning("not leading any more: %s", error)
                self._leader = None
                await self._controller.queue.stop()

    async def end(self) -> None:
        """Finish what is in work, under the Lease; then give it up."""
        await self._controller.queue.stop()
        if self._candidacies is not None:
            self._candidacies.cancel()
            await asyncio.gather(self._candidacies, return_exceptions=True)
        if self._candidate is not None:
            await self._candidate.release()

    def _new_candidate(self) -> Leader:
        """A write to the platform must end before the Lease of a leader that stopped renewing can run out."""
        duration = self._settings.lease_duration
        deadline = duration - self._settings.client_timeout - MARGIN
        return Leader(
            self._cluster,
            self._settings.lease_namespace or _pod_namespace(),
            name=lease_name(self._settings.namespace),
            identity=f"{socket.gethostname()}_{os.getpid()}_{uuid.uuid4().hex[:8]}",
            duration=duration,
            renew_deadline=min(10.0, deadline),
            retry=min(2.0, deadline / 4),
        )


def lease_name(namespaces: tuple[str, ...]) -> str:
    """One Lease per scope: operators of different namespaces do not wait for each other."""
    if not namespaces:
        return MANAGER
    scope = hashlib.sha256(",".join(sorted(namespaces)).encode()).hexdigest()[:8]
    return f"{MANAGER}-{scope}"


def _pod_namespace() -> str:
    return _NAMESPACE_FILE.read_text().strip() if _NAMESPACE_FILE.is_file() else "default"
