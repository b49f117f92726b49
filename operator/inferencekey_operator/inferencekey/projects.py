"""All projects that this process uses, each with its list renewed once per interval.

Decides for how long a `Project` is kept. Must not know what a list says.
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
from inferencekey_operator.inferencekey.project import Client, Project, Shared
from inferencekey_operator.inferencekey.rate_limits import Bucket, RateLimits

log = logging.getLogger(__name__)

_Name = tuple[str, str, bytes]


class Projects:
    """One `Project` per (base URL, slug, credential), however many Workloads and Secrets hold that credential.

    It is kept for as long as someone uses it; any hashable name tells users apart.
    """

    def __init__(
        self,
        client: Callable[[str], Client],
        limits: RateLimits,
        *,
        changed: Callable[[Project, Iterable[str]], None],
        recovered: Callable[[Project], None],
        troubled: Callable[[Project, OperatorError], None] = lambda project, error: None,
    ) -> None:
        self._client, self._limits = client, limits
        self._changed, self._recovered, self._troubled = changed, recovered, troubled
        self._projects: dict[_Name, Project] = {}
        self._ticks: dict[_Name, asyncio.Task[None]] = {}
        self._users: dict[_Name, set[Hashable]] = {}
        self._used: dict[Hashable, tuple[_Name, ...]] = {}
        """By user: what it uses, the last one it asked for at the end."""
        self._shared: dict[tuple[str, str], Shared] = {}
        self._buckets: WeakValueDictionary[bytes, Bucket] = WeakValueDictionary()

    def use(self, user: Hashable, base_url: str, slug: str, token: str, *, beside: bool = False) -> Project:
        """The project `slug`, as this credential sees it; `user` leaves what it used before.

        With `beside`, `user` also keeps the one that it used last: it tries two credentials in turn.
        """
        name, had = _name(base_url, slug, token), self._used.get(user, ())
        others = tuple(each for each in had if each != name)
        kept = others[-1:] if beside else ()
        self._used[user] = (*kept, name)
        self._users.setdefault(name, set()).add(user)
        for each in others:
            if each not in kept:
                self._leave(user, each)
        project = self._projects.get(name)
        return self._open(name, token) if project is None else project

    def proven(self, base_url: str, slug: str, token: str) -> bool:
        """Whether the platform accepted this credential for this project while somebody used it."""
        project = self._projects.get(_name(base_url, slug, token))
        return project is not None and project.proven

    def leave(self, user: Hashable) -> None:
        """`user` needs no project any more; one that nobody needs makes no further call."""
        for name in self._used.pop(user, ()):
            self._leave(user, name)

    def _leave(self, user: Hashable, name: _Name) -> None:
        self._users[name].discard(user)
        if not self._users[name]:
            del self._users[name]
            self._projects.pop(name).close()
            self._ticks.pop(name).cancel()
            asyncio.get_running_loop().call_later(self._limits.lag, self._forget, name[:2])

    def _forget(self, place: tuple[str, str]) -> None:
        """What the credentials of a project shared, where none is used any more and no list can lack a write."""
        if not any(name[:2] == place for name in self._projects):
            self._shared.pop(place, None)

    def users(self, project: Project) -> tuple[Hashable, ...]:
        """Who uses this project."""
        return tuple(
            user for name, users in self._users.items() if self._projects.get(name) is project for user in users
        )

    def of(self, user: Hashable) -> Project | None:
        """The project that `user` uses, or used last of two."""
        names = self._used.get(user)
        return self._projects.get(names[-1]) if names else None

    def echoes(self, user: Hashable) -> Echoes:
        """What blanks the token that `user` calls with."""
        project = self.of(user)
        return Echoes("") if project is None else project.echoes

    def __iter__(self) -> Iterator[Project]:
        return iter(tuple(self._projects.values()))

    def close(self) -> None:
        """No further list goes out."""
        for user in list(self._used):
            self.leave(user)

    def _open(self, name: _Name, token: str) -> Project:
        base_url, slug, credential = name
        bucket = self._buckets.setdefault(credential, Bucket(self._limits.rate, self._limits.burst))
        project = self._projects[name] = Project(
            self._client(base_url),
            base_url,
            slug,
            token,
            self._limits,
            changed=self._changed,
            recovered=self._recovered,
            troubled=self._troubled,
            shared=self._shared.setdefault((base_url, slug), Shared(OwnWrites(self._limits.lag))),
            bucket=bucket,
        )
        self._ticks[name] = asyncio.create_task(self._tick(project), name=f"interval of {slug}")
        return project

    async def _tick(self, project: Project) -> None:
        while True:
            wait = project.due_in(self._limits.interval * random.uniform(0.9, 1.0))  # noqa: S311 - jitter
            await asyncio.sleep(max(wait, 0.05))
            if wait <= 0:
                await self._refresh(project)

    async def _refresh(self, project: Project) -> None:
        try:
            await project.refresh()
        except Exception:
            log.exception("unexpected error in the list of project %s; retrying in the next interval", project.slug)
            await asyncio.sleep(self._limits.interval)


def _name(base_url: str, slug: str, token: str) -> _Name:
    return (base_url, slug, hashlib.sha256(token.encode()).digest())
