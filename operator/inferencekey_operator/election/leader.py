"""Which of several operators works: the one that holds the Lease.

Decides whether this process may act; knows nothing of what it does then. The platform takes every write that
reaches it, so a former leader must have stopped by itself before another can start:

- A leader acts until `renew_deadline` after the start of its last renewal, on a clock that counts while the
  machine sleeps. It asks `check` before each write; a write lasts less than `duration - renew_deadline`.
- A candidate compares no times of day: a holder is gone when the candidate has seen its Lease unchanged, or
  deleted, for as long as that Lease was said to last.

It takes `get`, `create` and `update` on Leases in that namespace; all but `create` may be bound to the name.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from datetime import UTC, datetime
from urllib.parse import quote

from inferencekey_operator.election.hooks import LeaseHooks, annotated, annotations_of
from inferencekey_operator.kube.client import MANAGER, Cluster, micro_time
from inferencekey_operator.kube.errors import ClusterError
from inferencekey_operator.kube.reading import Body

log = logging.getLogger(__name__)


class LeadershipLostError(Exception):
    """This process must not act any more: it ends, and begins anew as a candidate."""


def boot_clock() -> float:
    """Seconds on a clock that nobody sets; it counts while the machine sleeps, where there is such a one."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@dataclass(eq=False, repr=False)
class Leader:
    """`acquire`, then `hold` until it raises; so again, for as long as one likes; then `release`. Seconds."""

    cluster: Cluster
    namespace: str
    _: KW_ONLY
    name: str = "inferencekey-operator"
    identity: str  # of two processes with the same one, the second waits like any other
    duration: float = 15.0
    renew_deadline: float = 10.0
    retry: float = 2.0
    clock: Callable[[], float] = boot_clock
    notes: LeaseHooks = field(default_factory=LeaseHooks)
    pace: float = 1.0
    """How much longer than usual a candidate pauses between two looks."""
    settled_at: float = field(default=math.inf, init=False)
    """When, on `clock`, nothing that a former leader sent can still be on its way: creates wait for it."""
    took_over: bool = field(default=False, init=False)
    """Whether another one was seen to act since this one did, or since it became a candidate."""
    answered_at: float = field(default=-math.inf, init=False)
    """When, on `clock`, the API server last told something about the Lease; at first, when the candidacy began."""
    _seen: Body = field(default_factory=dict, init=False)
    _expires: float = field(default=-math.inf, init=False)
    _term: Body = field(default_factory=dict, init=False)
    _lease: Body | None = field(default=None, init=False)
    _deadline: float = field(default=-math.inf, init=False)
    _released: bool = field(default=False, init=False)
    _complaints: dict[int, float] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        if not 0 < self.retry < self.renew_deadline < self.duration:
            raise ValueError("a Lease needs 0 < retry < renew_deadline < duration")
        self.answered_at = self.clock()
        self._collection = f"/apis/coordination.k8s.io/v1/namespaces/{quote(self.namespace)}/leases"
        self._path = f"{self._collection}/{quote(self.name)}"

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    async def acquire(self) -> bool:
        """Wait until the Lease is ours; whether it was taken from a holder that had not given it up.

        What we had before, and nobody took since, is ours at once: all that was done under it has ended.
        """
        before, self._released = self._term, False
        waited = False
        while True:
            try:
                if await self._try_to_acquire():
                    break
            except ClusterError as error:
                self._complain(error)
            waited |= bool(self._seen.get("holderIdentity"))
            await asyncio.sleep(self._pause())
        log.info("%s leads, and holds the Lease %s", self.identity, self)
        anew = self._term is not before
        self.took_over = anew and (waited or bool(before))
        return anew and bool(self._seen.get("holderIdentity"))

    async def hold(self) -> None:
        """Renew the Lease; raises LeadershipLostError once that failed for too long, or another has it."""
        started = self.clock()
        while True:
            await asyncio.sleep(min(started + self.retry, self._deadline) - self.clock())
            self.check()
            started = self.clock()
            try:
                async with asyncio.timeout(self._deadline - started):
                    await self._renew()
            except (ClusterError, TimeoutError) as error:
                log.warning("the Lease %s was not renewed: %s", self, self._explain(error))

    def check(self) -> None:
        """Raise LeadershipLostError unless we may act now. Costs nothing: called right before each write."""
        if not self.holds:
            raise LeadershipLostError(f"the Lease {self} was given up, or was not renewed in time")
        self.notes.forbid()

    @property
    def holds(self) -> bool:
        """Whether the Lease is ours for sure."""
        return not self._released and self.clock() < self._deadline

    @property
    def holder(self) -> str:
        """Whose the Lease is, as far as we know; empty where it is nobody's, or was never seen."""
        if self.holds:
            return self.identity
        return str(self._seen.get("holderIdentity") or "") if self.clock() < self._expires else ""

    async def release(self) -> None:
        """Give the Lease up if it is ours, for another to start at once. `hold` and all work must have ended."""
        self._released = True
        holder = "" if self.clock() >= self.settled_at else self.identity  # so that the next one settles, too
        try:
            async with asyncio.timeout(self.renew_deadline / 3):
                while self._term and self._is_ours(lease := await self._read()):
                    if await self._put(lease, {"holderIdentity": holder, "leaseDurationSeconds": 1}):
                        return
        except (ClusterError, TimeoutError) as error:
            log.warning("the Lease %s could not be released, and has to expire: %s", self, self._explain(error))
        self._term, self._deadline = {}, -math.inf

    async def _try_to_acquire(self) -> bool:
        lease = await self._read()
        if not self._is_ours(lease):
            self._observe(lease)
            if self.clock() < self._expires:
                await self._ask(lease)
                return False
            if not self.notes.may_take(annotations_of(lease)):
                return False
            gap = self.duration - self.renew_deadline if self._seen.get("holderIdentity") else 0.0
            self.settled_at = self.clock() + gap
            self._term = {
                "holderIdentity": self.identity,
                "leaseDurationSeconds": math.ceil(self.duration),
                "acquireTime": micro_time(datetime.now(UTC)),
                "leaseTransitions": self._seen.get("leaseTransitions", -1) + 1,
            }
            self.notes.taken(lease)
        elif not self.notes.may_keep():
            return False
        return await self._write(lease)

    async def _ask(self, lease: Body | None) -> None:
        """Leave a note in the Lease of another, which stays as long as it would."""
        note = None if lease is None else self.notes.asked(annotations_of(lease))
        if lease is not None and note is not None:
            await self._request("PUT", self._path, 409, annotated(lease, note))

    def _observe(self, lease: Body | None) -> None:
        """Note when we first saw what the Lease says; a missing one leaves the last holder its time."""
        spec = self._seen if lease is None else lease.get("spec", {})
        if spec == self._seen:
            return
        holder, lasts = spec.get("holderIdentity"), spec.get("leaseDurationSeconds", self.duration)
        if holder and holder != self._seen.get("holderIdentity"):
            log.info("%s waits: the Lease %s is held by %s", self.identity, self, holder)
        self._seen, self._expires = spec, self.clock() + lasts if holder else -math.inf

    def _pause(self) -> float:
        """Half of what renewals wait, so that a handover is short; less if the holder's time ends before."""
        left, pause = self._expires - self.clock(), self.retry / 2 * self.pace
        return left if 0 < left < pause else pause

    async def _renew(self) -> None:
        lease, self._lease = self._lease or await self._read(), None
        if lease is not None and not self._is_ours(lease):
            self._deadline = -math.inf
            raise LeadershipLostError(f"the Lease {self} is not ours any more")
        await self._write(lease)

    async def _write(self, lease: Body | None) -> bool:
        """Take or renew the Lease as it was read, unless it moved on. The deadline counts from the start."""
        started = self.clock()
        self._lease = await self._put(lease, self._term)
        if self._lease is not None:
            self._deadline = started + self.renew_deadline
        return self._lease is not None

    def _is_ours(self, lease: Body | None) -> bool:
        """Told by the time we took it, too: a write whose answer was lost is ours, a namesake's is not."""
        spec = (lease or {}).get("spec", {})
        held = spec.get("holderIdentity"), spec.get("acquireTime")
        return held == (self.identity, self._term.get("acquireTime", ""))

    async def _read(self) -> Body | None:
        began = self.clock()
        lease = await self._request("GET", self._path, 404)
        if lease is None and self._deadline > -math.inf:
            self.cluster.went_back.set()  # we held it: this is a state from before, or of another cluster
        self.notes.seen(lease, began)
        return lease

    async def _put(self, lease: Body | None, changes: Body) -> Body | None:
        """The Lease as it is then, or None where it moved on since it was read."""
        method, path = ("PUT", self._path) if lease else ("POST", self._collection)
        began = self.clock()
        lease = lease or {"metadata": {"namespace": self.namespace, "name": self.name}}
        spec = {**lease.get("spec", {}), **changes, "renewTime": micro_time(datetime.now(UTC))}
        wanted = annotated({**lease, "spec": spec}, self.notes.held(annotations_of(lease)))
        written = await self._request(method, path, 409, wanted)
        if written is not None:
            self.notes.seen(written, began)
        return written

    async def _request(self, method: str, path: str, none_on: int, body: Body | None = None) -> Body | None:
        """None on that status. Whatever else goes wrong, a plugin for credentials too, is a ClusterError."""
        query = {"fieldManager": MANAGER} if body else {}
        try:
            async with asyncio.timeout(self.renew_deadline / 3):
                answer = await self.cluster.request(method, path, body=body, **query)
            self.answered_at = self.clock()
            self.cluster.heed_the_version(self._path, answer)
            return answer
        except ClusterError as error:
            if error.status == none_on:
                self.answered_at = self.clock()
                return None
            raise
        except Exception as error:
            raise ClusterError(0, f"{type(error).__name__}: {error}") from error

    def _complain(self, error: ClusterError) -> None:
        """A warning at first and each minute, for each kind of trouble."""
        now = self.clock()
        if now >= self._complaints.get(error.status, -math.inf) + 60:
            self._complaints[error.status] = now
            log.warning("could not get the Lease %s, retrying: %s", self, self._explain(error))

    def _explain(self, error: Exception) -> str:
        if not isinstance(error, ClusterError) or error.status not in (403, 404):
            return str(error) or type(error).__name__
        wanted = f"namespace {self.namespace} must exist and allow us to get, create and update Leases"
        return f"{error}: {wanted}; --lease-namespace names another one"
