"""All rosters of this process: one for each project and credential, for as long as somebody uses it.

Decides when a roster begins and ends, and keeps it fresh once per interval. Must not know what a list says.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
from collections.abc import Callable, Hashable, Iterable, Iterator
from weakref import WeakValueDictionary

from inferencekey_operator.errors import OperatorError
from inferencekey_operator.inferencekey.echoes import Echoes
from inferencekey_operator.inferencekey.own_writes import OwnWrites
from inferencekey_operator.inferencekey.rate_limits import Bucket, RateLimits
from inferencekey_operator.inferencekey.roster import Client, Roster, Shared

log = logging.getLogger(__name__)

_Name = tuple[str, str, bytes]


class Rosters:
    """All rosters of this process, and the interval that keeps them fresh.

    One roster per (base URL, project, credential), however many Workloads and Secrets hold that credential. A roster
    lives as long as somebody uses it: users are told apart by any hashable name.
    """

    def __init__(
        self,
        client: Callable[[str], Client],
        pace: RateLimits,
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


def _name(base_url: str, project: str, token: str) -> _Name:
    return (base_url, project, hashlib.sha256(token.encode()).digest())
