"""One project of the platform: one list for all its Workloads, and the calls that change it.

The platform's only read is the whole list of a project, so whoever lists for each Workload pays for N × N rows. A
`Project` makes one list at a time, once per interval and whenever someone needs a newer one, and keeps its rows in
`cache`. While the platform is down or refuses the credential, a circuit breaker lets one probe out at a time, and all
other callers get the same error at once.

Knows nothing of Kubernetes, nor of httpx; time and waiting come from asyncio's loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, TypeVar
from weakref import WeakValueDictionary

from inferencekey_operator.errors import Actor, OperatorError, PlatformFailure, Reason
from inferencekey_operator.inferencekey.circuit_breaker import CircuitBreaker
from inferencekey_operator.inferencekey.client import Deleted, ListAnswer
from inferencekey_operator.inferencekey.echoes import Echoes
from inferencekey_operator.inferencekey.own_writes import OwnWrites
from inferencekey_operator.inferencekey.project_cache import ProjectCache
from inferencekey_operator.inferencekey.rate_limits import Bucket, RateLimits
from inferencekey_operator.inferencekey.readiness import Phase
from inferencekey_operator.inferencekey.wire import LiveWorkload

log = logging.getLogger(__name__)

FORCED = 5.0
"""Seconds between two lists that people ask for: the first is made at once, and the second answers all who ask in
between."""
SPACING = 2.0
"""Lists on demand leave at least this many times a list's own duration between them, so that a burst shares them."""
LONGEST_SPACING = 2.0
WRITES = 8
"""Writes of one project that are under way at once: a slow project must not take all connections."""

Locks = WeakValueDictionary[str, asyncio.Lock]
"""By slug, for as long as somebody holds one or waits for it: slugs come and go for as long as the process lasts."""
_Answer = TypeVar("_Answer", bound=LiveWorkload | Deleted)


class Client(Protocol):
    """The calls of the platform, as `client.PlatformClient` makes them."""

    async def list_workloads(self, token: str, project: str) -> ListAnswer:
        """The project's list."""
        ...

    async def exists(self, token: str, project: str, slug: str) -> bool:
        """Whether the readiness route knows a workload of this slug."""
        ...

    async def create(self, token: str, project: str, body: dict[str, Any]) -> LiveWorkload:
        """POST a workload."""
        ...

    async def update(self, token: str, workload_id: str, body: dict[str, Any]) -> LiveWorkload:
        """PATCH a workload."""
        ...

    async def delete(self, token: str, workload_id: str) -> Deleted:
        """DELETE a workload."""
        ...

    def phases(self, token: str, project: str, slug: str) -> AsyncGenerator[Phase, None]:
        """Open one readiness stream."""
        ...


@dataclass(frozen=True, slots=True)
class Shared:
    """What all credentials of one project share: the locks of slugs, and what was written."""

    writes: OwnWrites
    creating: Locks = field(default_factory=WeakValueDictionary)


async def _nothing() -> None:
    """What there is to do before a POST, mostly."""


class Project:
    """The project `slug` of the platform at `base_url`, as one credential sees it.

    `changed` is called with the slugs of rows that a list showed new, gone or different; `troubled` once when lists
    begin to fail, and once when they are refused; `recovered` when the platform answers again. `shared` is what all
    credentials of the project share, `bucket` what all projects of the credential share.
    """

    def __init__(
        self,
        client: Client,
        base_url: str,
        slug: str,
        token: str,
        limits: RateLimits,
        *,
        changed: Callable[[Project, Iterable[str]], None],
        recovered: Callable[[Project], None],
        troubled: Callable[[Project, OperatorError], None] = lambda project, error: None,
        shared: Shared | None = None,
        bucket: Bucket | None = None,
    ) -> None:
        self.base_url, self.slug = base_url, slug
        self._client, self._token, self._limits = client, token, limits
        self._changed, self._recovered, self._troubled = changed, recovered, troubled
        self._bucket = Bucket(limits.rate, limits.burst) if bucket is None else bucket
        self._shared = Shared(OwnWrites(limits.lag)) if shared is None else shared
        self._places = asyncio.Semaphore(WRITES)
        self.cache = ProjectCache(slug, token, self._shared.writes)
        self._flight: asyncio.Task[None] | None = None
        self._duration = 0.0
        self._breaker = CircuitBreaker(limits.interval)
        self._told: set[Reason] = set()
        """What was told of lists that fail."""
        self._forced_at = float("-inf")
        """When a list was last begun because somebody asked for one."""
        self.began = float("-inf")
        """When the newest complete list began, in the loop's time."""
        self.date: datetime | None = None
        """The platform's time of that list."""
        self.uncertain_since = float("-inf")
        """When a write was last lost: what is created after it needs a newer list."""
        self.down = False
        """Whether the last list failed: nobody can look, and all wait for the next one."""
        self._born = asyncio.get_running_loop().time()

    def __repr__(self) -> str:
        return f"<Project of {self.slug!r}, {len(self.cache)} workloads>"

    @property
    def proven(self) -> bool:
        """Whether the platform accepted this credential for this project."""
        return self.began > float("-inf")

    @property
    def trouble(self) -> OperatorError | None:
        """What the platform last answered instead of a list, while it does."""
        return self._breaker.trouble

    @property
    def refused_since(self) -> float | None:
        """Since when, in the loop's time, the platform refuses a call for a reason that a person must fix."""
        return self._breaker.refused_since

    @property
    def refusal(self) -> OperatorError | None:
        """What a person must fix before the platform lists this project again; None while it does."""
        return self._breaker.refusal if self.down else None

    @property
    def answers_unreadably(self) -> bool:
        """Whether lists fail since they are answered, but not as the contract has it: writes may work."""
        return self._breaker.unreadable

    @property
    def echoes(self) -> Echoes:
        """Blanks what a row echoes of the token, before it is shown: rows are kept as they came, to be compared."""
        return Echoes(self._token)

    async def look(self, after: float = float("-inf")) -> None:
        """Returns once the newest list began after `after`. Whoever waits at the same moment shares one list.

        Raises what the platform answered instead, at once while the gate is closed.
        """
        await asyncio.sleep(max(0.0, after - asyncio.get_running_loop().time()))
        while self.began <= after:
            pause = self._breaker.pause_before_probe(after)
            if pause > 0:
                await asyncio.sleep(pause)
            else:
                await self._join()

    def forced(self, after: float) -> float:
        """Somebody asks for a list newer than `after`: 0 where it may go out now, or is there; else the seconds until
        it may. Lists that are asked for so leave FORCED between them, or an interval, whichever is shorter.
        """
        now = asyncio.get_running_loop().time()
        if self.began > after:
            return 0.0
        wait = self._forced_at + min(FORCED, self._limits.interval) - now
        if wait <= 0:
            self._forced_at = now
        return max(wait, 0.0)

    def due_in(self, interval: float) -> float:
        """Seconds until the next list of the interval or, in times of trouble, until the next probe."""
        now = asyncio.get_running_loop().time()
        if self._breaker.trouble is not None:
            return self._breaker.open_until - now
        return max(self.began, self._born) + interval - now

    async def refresh(self) -> None:
        """One list now, or the one under way; the interval's tick. Errors are kept as `trouble`.

        None while the gate is closed: somebody's probe came just before this one, and failed.
        """
        try:
            self._breaker.raise_while_open()
            await self._join()
        except OperatorError as error:
            log.debug("no list of project %s: %s", self.slug, error)

    def close(self) -> None:
        """No further list; one under way is dropped."""
        if self._flight is not None:
            self._flight.cancel()

    async def _join(self) -> None:
        if self._flight is None:
            self._flight = asyncio.create_task(self._list(), name=f"list {self.slug}")
            self._flight.add_done_callback(_retrieve)
        flight = self._flight
        await asyncio.wait({flight})
        if flight.cancelled():  # the project was closed, and this task was not cancelled
            raise PlatformFailure(Reason.PLATFORM_UNREACHABLE, "The list was given up. It is made again if needed.")
        flight.result()

    def written_at(self, slug: str) -> float:
        """When a write to a workload of this slug last ended, with any credential: the lists of others may be older."""
        return self._shared.writes.of_slug(slug)

    def creation(self, slug: str) -> asyncio.Lock:
        """Held from the list to the status: creations and adoptions of a slug never overlap, with any credentials."""
        return self._shared.creating.setdefault(slug, asyncio.Lock())

    async def create(self, body: dict[str, Any], prepare: Callable[[], Awaitable[None]] = _nothing) -> LiveWorkload:
        """POST, right after `prepare` in the same place of the queue. One that was lost makes the project uncertain."""

        async def prepared() -> LiveWorkload:
            await prepare()
            return await self._client.create(self._token, self.slug, body)

        try:
            return await self._write(prepared)
        except PlatformFailure as error:
            if error.uncertain:
                self._shared.writes.lost(body["slug"], asyncio.get_running_loop().time())
            raise

    async def update(self, workload_id: str, body: dict[str, Any]) -> LiveWorkload:
        """PATCH. That there is none a list has to confirm: a row that was taken out, and is listed again, is news."""
        return await self._write(lambda: self._client.update(self._token, workload_id, body))

    async def delete(self, workload_id: str) -> Deleted:
        """DELETE; anything but `CONFIRMED` a list has to confirm. It is sent though lists cannot be read."""
        outcome = await self._write(
            lambda: self._client.delete(self._token, workload_id), gated=not self.answers_unreadably
        )
        if outcome is Deleted.CONFIRMED:
            self.cache.correct(workload_id, None, asyncio.get_running_loop().time())
        return outcome

    async def exists(self, slug: str) -> bool:
        """Whether the readiness route knows this slug, which no list says for sure while lists lag."""
        await self._pass_the_gate()
        await self._bucket.take()
        return await self._client.exists(self._token, self.slug, slug)

    async def phases(self, slug: str) -> AsyncGenerator[Phase, None]:
        """One readiness stream of a workload; raises at once while the gate is closed."""
        await self._pass_the_gate()
        async with aclosing(self._client.phases(self._token, self.slug, slug)) as stream:
            async for phase in stream:
                yield phase

    async def _pass_the_gate(self) -> None:
        """After a trouble, one list goes ahead of all else."""
        self._breaker.raise_while_open()
        if self._breaker.trouble is not None:
            await self.look(self._breaker.open_until)

    async def _write(self, call: Callable[[], Awaitable[_Answer]], *, gated: bool = True) -> _Answer:
        async with self._places:
            if gated:
                await self._pass_the_gate()
            await self._bucket.take()
            try:
                answer = await call()
            except PlatformFailure as error:
                self._failed(error)
                raise
        if isinstance(answer, LiveWorkload):
            self.cache.correct(answer.id, answer, asyncio.get_running_loop().time())
        return answer

    def _failed(self, error: PlatformFailure) -> None:
        if error.uncertain:
            self.uncertain_since = asyncio.get_running_loop().time()
        if error.reason in (Reason.RATE_LIMITED, Reason.TOKEN_REJECTED):
            self._breaker.trip(error)
        elif error.reason is Reason.PLATFORM_UNREACHABLE:
            self._breaker.doubt(error)

    async def _list(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            await self._wait_for_a_turn()
            began = loop.time()
            answer, changed = await self._ask(began)
        finally:
            self._flight = None
        self._duration = loop.time() - began
        self.began, self.date = began, answer.date
        self.down = False
        self._told.clear()
        if self._breaker.reset(began):
            self._recovered(self)
        if changed:
            self._changed(self, changed)

    async def _wait_for_a_turn(self) -> None:
        """Wait for a while after the last list, and raise if the platform asked a write for a pause meanwhile."""
        tripped_at = self._breaker.tripped_at
        wait = self.began + self._duration * SPACING - asyncio.get_running_loop().time()
        if wait > 0 and self._breaker.trouble is None:
            await asyncio.sleep(min(wait, LONGEST_SPACING))
        await self._bucket.take()
        if self._breaker.tripped_at > tripped_at:
            self._breaker.raise_while_open()

    async def _ask(self, began: float) -> tuple[ListAnswer, set[str]]:
        try:
            answer = await self._client.list_workloads(self._token, self.slug)
            return answer, self.cache.replace(answer.body, began)
        except OperatorError as error:
            self._breaker.trip(error)
            self._tell(error)
            raise

    def _tell(self, error: OperatorError) -> None:
        """Of trouble that passes once, until it is over; of each kind of refusal, too."""
        was_down, self.down = self.down, True
        told = was_down if error.reason.actor is Actor.PLATFORM else error.reason in self._told
        self._told.add(error.reason)
        if not told:
            self._troubled(self, error)


def _retrieve(flight: asyncio.Task[None]) -> None:
    """What a list ended with is told to those who wait for it; there may be none any more."""
    if not flight.cancelled():
        flight.exception()
