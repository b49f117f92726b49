"""One list per project, shared by all its Workloads.

The platform's only read is the whole list of a project, so whoever asks for each workload by itself pays N × N rows.
A `Roster` holds the rows of one project as one credential sees them: single-flight, refreshed once per interval,
corrected with the answers of our own writes. It also is the gate to the platform: while that is down or refuses the
credential, one probe goes out at a time and everybody else is told the same error at once.

Knows nothing of Kubernetes, nor of httpx; time and waiting come from asyncio's loop.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable, Iterable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, TypeVar
from weakref import WeakValueDictionary

from inferencekey_operator.errors import Actor, OperatorError, PlatformFailure, Reason
from inferencekey_operator.inferencekey.client import Deleted, ListAnswer
from inferencekey_operator.inferencekey.echoes import Echoes
from inferencekey_operator.inferencekey.own_writes import OwnWrites
from inferencekey_operator.inferencekey.readiness import Phase
from inferencekey_operator.inferencekey.wire import LiveWorkload, Reader

log = logging.getLogger(__name__)

FIRST_BACKOFF = 1.0
REFUSED_INTERVALS = 4.0
"""How many intervals the longest pause between two tries of a credential lasts that is refused. A new token is another
roster, and is tried at once."""
FORCED = 5.0
"""Seconds between two lists that people ask for: the first is made at once, and the second answers all who ask in
between."""
SPACING = 2.0
"""Lists on demand leave at least this many times a list's own duration between them, so that a burst shares them."""
LONGEST_SPACING = 2.0
WRITES = 8
"""Writes of one project that are under way at once: a slow project must not take all connections."""

_Name = tuple[str, str, bytes]
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
class Pace:
    """How often and how fast the platform is called. Seconds, and calls per second for one credential."""

    interval: float = 30.0
    rate: float = 200.0
    burst: float = 400.0
    lag: float = 40.0
    """How long a list may lag behind a write."""


class Bucket:
    """A token bucket: `take` waits until the rate allows one more call."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate, self._burst = rate, burst
        self._level, self._at = burst, float("-inf")

    async def take(self) -> None:
        """One call's worth; returns when it may go out."""
        now = asyncio.get_running_loop().time()
        self._level = min(self._burst, self._level + (now - self._at) * self._rate)
        self._at = now
        self._level -= 1.0
        if self._level < 0:
            await asyncio.sleep(-self._level / self._rate)


@dataclass(frozen=True, slots=True)
class Shared:
    """What all credentials of one project share: the locks of slugs, and what was written."""

    writes: OwnWrites
    creating: Locks = field(default_factory=WeakValueDictionary)


async def _nothing() -> None:
    """What there is to do before a POST, mostly."""


class Roster:
    """The rows of one project, as one credential sees them, and the calls that change them.

    `changed` is called with the slugs of rows that a list showed new, gone or different; `troubled` once when lists
    begin to fail, and once when they are refused; `recovered` when the platform answers again. `shared` is what all
    credentials of the project share, `bucket` what all projects of the credential share.
    """

    def __init__(
        self,
        client: Client,
        base_url: str,
        project: str,
        token: str,
        pace: Pace,
        *,
        changed: Callable[[Roster, Iterable[str]], None],
        recovered: Callable[[Roster], None],
        troubled: Callable[[Roster, OperatorError], None] = lambda roster, error: None,
        shared: Shared | None = None,
        bucket: Bucket | None = None,
    ) -> None:
        self.base_url, self.project = base_url, project
        self._client, self._token, self._pace = client, token, pace
        self._changed, self._recovered, self._troubled = changed, recovered, troubled
        self._bucket = Bucket(pace.rate, pace.burst) if bucket is None else bucket
        self._shared = Shared(OwnWrites(pace.lag)) if shared is None else shared
        self._places = asyncio.Semaphore(WRITES)
        self._rows: dict[str, LiveWorkload] = {}
        self._by_slug: dict[str, str] = {}
        self._reader = Reader(lambda: Echoes(token))
        self._digest: bytes | None = None
        self._flight: asyncio.Task[None] | None = None
        self._duration = 0.0
        self._trouble: OperatorError | None = None
        self._troubles = 0
        self._closed_at = self._closed_until = float("-inf")
        self._told: set[Reason] = set()
        """What was told of lists that fail."""
        self.refused_since: float | None = None
        """Since when, in the loop's time, the platform refuses what a person has to mend, the credential perhaps."""
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
        self.unreadable: frozenset[str] = frozenset()
        """Slugs that are taken by rows which could not be read."""
        self.deleted: frozenset[str] = frozenset()
        """Slugs of rows that the platform lists as deleted."""
        self._born = asyncio.get_running_loop().time()

    def __repr__(self) -> str:
        return f"<Roster of {self.project!r}, {len(self._rows)} rows>"

    @property
    def proven(self) -> bool:
        """Whether the platform accepted this credential for this project."""
        return self.began > float("-inf")

    @property
    def slugs(self) -> Iterable[str]:
        """Of all rows."""
        return self._by_slug.keys()

    @property
    def trouble(self) -> OperatorError | None:
        """What the platform last answered instead of a list, while it does."""
        return self._trouble

    @property
    def refusal(self) -> OperatorError | None:
        """What a person has to mend before the platform lists this project again; None while it does."""
        if self._trouble is None or not self.down or self._trouble.reason.actor is not Actor.PERSON:
            return None
        return _again(self._trouble, max(0.0, self._closed_until - asyncio.get_running_loop().time()))

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def echoes(self) -> Echoes:
        """Blanks what a row echoes of the token, before it is shown: rows are kept as they came, to be compared."""
        return Echoes(self._token)

    def by_id(self, workload_id: str) -> LiveWorkload | None:
        """The row with this id."""
        return self._rows.get(workload_id)

    def by_slug(self, slug: str) -> LiveWorkload | None:
        """The row of this project with this slug; of several, the one that was listed last."""
        found = self._by_slug.get(slug)
        return self._rows.get(found) if found else None

    def all_of(self, slug: str) -> tuple[LiveWorkload, ...]:
        """All rows of this project with this slug: there may be two while a list lags."""
        return tuple(row for row in self._rows.values() if row.slug == slug and self.owns(row))

    @property
    def rows(self) -> Iterator[LiveWorkload]:
        """All rows of this project."""
        return (row for row in self._rows.values() if self.owns(row))

    def restated(self, row: LiveWorkload) -> bool:
        """Whether a row differs from the answer to our last write by the platform's own doing."""
        return self._shared.writes.restated(row)

    def owns(self, row: LiveWorkload) -> bool:
        """Whether a row is of this project, as far as the platform says."""
        return row.project_slug is None or row.project_slug.casefold() == self.project.casefold()

    @property
    def answers_unreadably(self) -> bool:
        """Whether lists fail since they are answered, but not as the contract has it: writes may work."""
        error = self._trouble
        return (
            isinstance(error, PlatformFailure)
            and error.reason is Reason.PLATFORM_ERROR
            and (error.status is None or error.status < 300)
        )

    async def look(self, after: float = float("-inf")) -> None:
        """Returns once the newest list began after `after`. Whoever waits at the same moment shares one list.

        Raises what the platform answered instead, at once while the gate is closed.
        """
        await asyncio.sleep(max(0.0, after - asyncio.get_running_loop().time()))
        while self.began <= after:
            pause = self._pause_before_probe(after)
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
        wait = self._forced_at + min(FORCED, self._pace.interval) - now
        if wait <= 0:
            self._forced_at = now
        return max(wait, 0.0)

    def due_in(self, interval: float) -> float:
        """Seconds until the next list of the interval or, in times of trouble, until the next probe."""
        now = asyncio.get_running_loop().time()
        if self._trouble is not None:
            return self._closed_until - now
        return max(self.began, self._born) + interval - now

    async def refresh(self) -> None:
        """One list now, or the one under way; the interval's tick. Errors are kept as `trouble`.

        None while the gate is closed: somebody's probe came just before this one, and failed.
        """
        try:
            self._raise_while_closed()
            await self._join()
        except OperatorError as error:
            log.debug("no list of project %s: %s", self.project, error)

    def close(self) -> None:
        """No further list; one under way is dropped."""
        if self._flight is not None:
            self._flight.cancel()

    async def _join(self) -> None:
        if self._flight is None:
            self._flight = asyncio.create_task(self._list(), name=f"list {self.project}")
            self._flight.add_done_callback(_retrieve)
        await asyncio.shield(self._flight)

    def creation(self, slug: str) -> asyncio.Lock:
        """Held from the look to the POST: creations of one slug never overlap, whatever credentials they have."""
        return self._shared.creating.setdefault(slug, asyncio.Lock())

    async def create(self, body: dict[str, Any], prepare: Callable[[], Awaitable[None]] = _nothing) -> LiveWorkload:
        """POST, right after `prepare` in the same place of the queue. A failure that may have been carried out makes
        the roster uncertain.
        """

        async def prepared() -> LiveWorkload:
            await prepare()
            return await self._client.create(self._token, self.project, body)

        return await self._write(prepared)

    async def update(self, workload_id: str, body: dict[str, Any]) -> LiveWorkload:
        """PATCH. That there is none a list has to confirm: a row that was taken out, and is listed again, is news."""
        return await self._write(lambda: self._client.update(self._token, workload_id, body))

    async def delete(self, workload_id: str) -> Deleted:
        """DELETE; anything but `CONFIRMED` a list has to confirm. It is sent though lists cannot be read."""
        outcome = await self._write(
            lambda: self._client.delete(self._token, workload_id), gated=not self.answers_unreadably
        )
        if outcome is Deleted.CONFIRMED:
            self._correct(workload_id, None)
        return outcome

    async def exists(self, slug: str) -> bool:
        """Whether the readiness route knows this slug, which no list says for sure while lists lag."""
        await self._pass_the_gate()
        await self._bucket.take()
        return await self._client.exists(self._token, self.project, slug)

    async def phases(self, slug: str) -> AsyncGenerator[Phase, None]:
        """One readiness stream of a workload; raises at once while the gate is closed."""
        await self._pass_the_gate()
        async with aclosing(self._client.phases(self._token, self.project, slug)) as stream:
            async for phase in stream:
                yield phase

    async def _pass_the_gate(self) -> None:
        """After a trouble, one list goes ahead of all else."""
        self._raise_while_closed()
        if self._trouble is not None:
            await self.look(self._closed_until)

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
            self._correct(answer.id, answer)
        return answer

    def _failed(self, error: PlatformFailure) -> None:
        if error.uncertain:
            self.uncertain_since = asyncio.get_running_loop().time()
        if error.reason in (Reason.RATE_LIMITED, Reason.TOKEN_REJECTED):
            self._close(error)
        elif error.reason is Reason.PLATFORM_UNREACHABLE:
            self._doubt(error)

    async def _list(self) -> None:
        loop = asyncio.get_running_loop()
        wait = self.began + self._duration * SPACING - loop.time()
        if wait > 0 and self._trouble is None:
            await asyncio.sleep(min(wait, LONGEST_SPACING))
        await self._bucket.take()
        began = loop.time()
        try:
            answer = await self._client.list_workloads(self._token, self.project)
            changed = self._take_over(answer.body, began)
        except OperatorError as error:
            self._close(error)
            self._tell(error)
            raise
        finally:
            self._flight = None
        self._duration = loop.time() - began
        self.began, self.date = began, answer.date
        self.down = False
        self._told.clear()
        self._open(began)
        if changed:
            self._changed(self, changed)

    def _tell(self, error: OperatorError) -> None:
        """Of trouble that passes once, until it is over; of each kind of refusal, too."""
        was_down, self.down = self.down, True
        told = was_down if error.reason.actor is Actor.PLATFORM else error.reason in self._told
        self._told.add(error.reason)
        if not told:
            self._troubled(self, error)

    def _take_over(self, body: bytes, began: float) -> set[str]:
        """Replace the rows by the list's, but for what we wrote too short a time ago; the slugs that moved."""
        digest, pending = hashlib.sha256(body).digest(), self._shared.writes.pending(began)
        if digest == self._digest and not pending:
            return set()
        listing = self._reader.read(body)
        self.unreadable = listing.slugs_without_id
        self.deleted = frozenset(row.slug for row in listing.workloads if row.deleted)
        rows = {row.id: row for row in listing.workloads if not row.deleted}
        self._shared.writes.lay_over(rows, began)
        moved = _moved(self._rows, rows)
        self._rows = rows
        self._by_slug = {row.slug: row.id for row in rows.values() if self.owns(row)}
        self._digest = None if pending else digest
        return moved

    def _correct(self, workload_id: str, row: LiveWorkload | None) -> None:
        self._digest = None
        old = self._rows.pop(workload_id, None)
        self._shared.writes.wrote(workload_id, row, asyncio.get_running_loop().time(), before=old)
        if old is not None and self._by_slug.get(old.slug) == workload_id:
            del self._by_slug[old.slug]
        if row is not None:
            self._rows[workload_id] = row
            self._by_slug.setdefault(row.slug, row.id)

    def _close(self, error: OperatorError) -> None:
        """Nobody calls before the platform's wish, or a growing wait, is over."""
        self._trouble = error
        self._troubles += 1
        refused = error.reason.actor is Actor.PERSON
        longest = self._pace.interval * (REFUSED_INTERVALS if refused else 1.0)
        grown = min(FIRST_BACKOFF * 2.0 ** min(self._troubles - 1, 16), longest)
        wait = max(grown * random.uniform(0.9, 1.0), error.retry_after or 0.0)  # noqa: S311 - jitter
        self._closed_at = asyncio.get_running_loop().time()
        self.refused_since = (self.refused_since or self._closed_at) if refused else None
        self._closed_until = max(self._closed_until, self._closed_at + wait)

    def _doubt(self, error: OperatorError) -> None:
        """One write got no answer, which may be its own fault: a list tells, at once, before anybody writes again."""
        self._trouble = self._trouble or error
        self._closed_at = asyncio.get_running_loop().time()
        self._closed_until = max(self._closed_until, self._closed_at)

    def _open(self, began: float) -> None:
        """The platform answered a list that began at `began`: the trouble is over, unless it came after that."""
        if self._trouble is None or began < self._closed_at:
            return
        self._trouble, self._troubles, self._closed_until, self.refused_since = None, 0, float("-inf"), None
        self._recovered(self)

    def _raise_while_closed(self) -> None:
        left = self._closed_until - asyncio.get_running_loop().time()
        if self._trouble is not None and left > 0:
            raise _again(self._trouble, left)

    def _pause_before_probe(self, after: float) -> float:
        """Seconds until a list may be tried; raises while the gate is closed.

        What a person has to mend may be mended by the time of a later need: then one probe goes out for all that
        came meanwhile, and no sooner than a moment after the last one.
        """
        if self._trouble is None or self._trouble.reason.actor is not Actor.PERSON or after <= self._closed_at:
            self._raise_while_closed()
            return 0.0
        return self._closed_at + FIRST_BACKOFF - asyncio.get_running_loop().time()


def _again(error: OperatorError, left: float) -> OperatorError:
    """The same error for somebody else, with what is left of the wait."""
    if isinstance(error, PlatformFailure):
        return PlatformFailure(error.reason, error.message, status=error.status, retry_after=left)
    return OperatorError(error.reason, error.message, retry_after=left)


def _name(base_url: str, project: str, token: str) -> _Name:
    return (base_url, project, hashlib.sha256(token.encode()).digest())


def _retrieve(flight: asyncio.Task[None]) -> None:
    """What a list ended with is told to those who wait for it; there may be none any more."""
    if not flight.cancelled():
        flight.exception()


def _moved(old: dict[str, LiveWorkload], new: dict[str, LiveWorkload]) -> set[str]:
    """The slugs of what came, went or changed; a row that was read before is the same object, and not compared."""
    keys = old.keys() - new.keys()
    keys |= {key for key, row in new.items() if (was := old.get(key)) is not row and was != row}
    return {rows[key].slug for rows in (old, new) for key in keys if key in rows}


class Rosters:
    """All rosters of this process, and the interval that keeps them fresh.

    One roster per (base URL, project, credential), however many Workloads and Secrets hold that credential. A roster
    lives as long as somebody uses it: users are told apart by any hashable name.
    """

    def __init__(
        self,
        client: Callable[[str], Client],
        pace: Pace,
        *,
        changed: Callable[[Roster, Iterable[str]], None],
        recovered: Callable[[Roster], None],
        troubled: Callable[[Roster, OperatorError], None] = lambda roster, error: None,
    ) -> None:
        self._client, self._pace = client, pace
        self._changed, self._recovered, self._troubled = changed, recovered, troubled
        self._rosters: dict[_Name, Roster] = {}
        self._ticks: dict[_Name, asyncio.Task[None]] = {}
        self._users: dict[_Name, set[Hashable]] = {}
        self._used: dict[Hashable, tuple[_Name, ...]] = {}
        """By user: what it uses, the last one it asked for at the end."""
        self._shared: dict[tuple[str, str], Shared] = {}
        self._buckets: WeakValueDictionary[bytes, Bucket] = WeakValueDictionary()

    def use(self, user: Hashable, base_url: str, project: str, token: str, *, beside: bool = False) -> Roster:
        """The roster that stands for this credential in this project; what `user` had before is left.

        Whoever tries two credentials in turn keeps the other one `beside`: what each was answered is not forgotten.
        """
        name, had = _name(base_url, project, token), self._used.get(user, ())
        others = tuple(each for each in had if each != name)
        kept = others[-1:] if beside else ()
        self._used[user] = (*kept, name)
        self._users.setdefault(name, set()).add(user)
        for each in others:
            if each not in kept:
                self._leave(user, each)
        roster = self._rosters.get(name)
        return self._open(name, token) if roster is None else roster

    def proven(self, base_url: str, project: str, token: str) -> bool:
        """Whether the platform accepted this credential for this project while somebody used it."""
        roster = self._rosters.get(_name(base_url, project, token))
        return roster is not None and roster.proven

    def leave(self, user: Hashable) -> None:
        """`user` needs no roster any more; one that nobody needs makes no further call."""
        for name in self._used.pop(user, ()):
            self._leave(user, name)

    def _leave(self, user: Hashable, name: _Name) -> None:
        self._users[name].discard(user)
        if not self._users[name]:
            del self._users[name]
            self._rosters.pop(name).close()
            self._ticks.pop(name).cancel()
            asyncio.get_running_loop().call_later(self._pace.lag, self._forget, name[:2])

    def _forget(self, place: tuple[str, str]) -> None:
        """What the credentials of a project shared, where none is used any more and no list can lack a write."""
        if not any(name[:2] == place for name in self._rosters):
            self._shared.pop(place, None)

    def users(self, roster: Roster) -> tuple[Hashable, ...]:
        """Who uses this roster."""
        return tuple(user for name, users in self._users.items() if self._rosters.get(name) is roster for user in users)

    def of(self, user: Hashable) -> Roster | None:
        """The roster that `user` uses, or used last of two."""
        names = self._used.get(user)
        return self._rosters.get(names[-1]) if names else None

    def echoes(self, user: Hashable) -> Echoes:
        """What blanks the token that `user` calls with."""
        roster = self.of(user)
        return Echoes("") if roster is None else roster.echoes

    def __iter__(self) -> Iterator[Roster]:
        return iter(tuple(self._rosters.values()))

    def close(self) -> None:
        """No further list goes out."""
        for user in list(self._used):
            self.leave(user)

    def _open(self, name: _Name, token: str) -> Roster:
        base_url, project, credential = name
        bucket = self._buckets.setdefault(credential, Bucket(self._pace.rate, self._pace.burst))
        roster = self._rosters[name] = Roster(
            self._client(base_url),
            base_url,
            project,
            token,
            self._pace,
            changed=self._changed,
            recovered=self._recovered,
            troubled=self._troubled,
            shared=self._shared.setdefault((base_url, project), Shared(OwnWrites(self._pace.lag))),
            bucket=bucket,
        )
        self._ticks[name] = asyncio.create_task(self._tick(roster), name=f"interval of {project}")
        return roster

    async def _tick(self, roster: Roster) -> None:
        while True:
            wait = roster.due_in(self._pace.interval * random.uniform(0.9, 1.0))  # noqa: S311 - jitter
            await asyncio.sleep(max(wait, 0.05))
            if wait <= 0:
                await self._refresh(roster)

    async def _refresh(self, roster: Roster) -> None:
        try:
            await roster.refresh()
        except Exception:
            log.exception("an unforeseen error in the list of project %s; the interval goes on", roster.project)
            await asyncio.sleep(self._pace.interval)
