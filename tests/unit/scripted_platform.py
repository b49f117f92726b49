"""A platform at the boundary of the project's client: rows, how long each call takes, and what calls fail with.

For questions of time and order alone, on a virtual clock; what travels over HTTP is tested against the simulator.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import asdict
from datetime import datetime
from typing import Any

from inferencekey_operator.errors import PlatformFailure, Reason
from inferencekey_operator.inferencekey.client import Deleted, ListAnswer
from inferencekey_operator.inferencekey.readiness import Phase
from inferencekey_operator.inferencekey.wire import LiveWorkload
from unit.builders import TOKEN

DOWN = PlatformFailure(Reason.PLATFORM_UNREACHABLE, "The platform does not answer.", status=503)
LOST = PlatformFailure(Reason.PLATFORM_UNREACHABLE, "No answer in time.", uncertain=True)
REFUSED = PlatformFailure(Reason.PLATFORM_REFUSED, "Refused.", status=400)
REJECTED = PlatformFailure(Reason.TOKEN_REJECTED, "Unknown token.", status=401)


def limited(seconds: float) -> PlatformFailure:
    """Too many calls: come back in so many seconds."""
    return PlatformFailure(Reason.RATE_LIMITED, "Too often.", status=429, retry_after=seconds)


def row(slug: str, **fields: Any) -> LiveWorkload:
    """A workload of the platform's list."""
    return LiveWorkload(**{"id": f"wl_{slug}", "slug": slug, "name": slug, **fields})


def now() -> float:
    """Seconds of virtual time."""
    return asyncio.get_running_loop().time()


class ScriptedPlatform:
    """Implements the project's `Client` for the one token and project of the builders."""

    def __init__(self, *rows: LiveWorkload) -> None:
        self.rows = {each.slug: each for each in rows}
        self.extra: list[dict[str, Any]] = []
        self.takes = 0.1
        self.date: datetime | None = None
        self.calls: list[tuple[float, str]] = []
        self.did: list[str] = []
        """Every call but lists, in order."""
        self.hidden: set[str] = set()
        """Slugs of rows that are there, and that no list shows."""
        self.makes: dict[str, str] = {}
        """The slug that is made of another one."""
        self.deletes: deque[Deleted] = deque()
        """What the next deletions are answered with; a workload is gone only where one is confirmed."""
        self.fails: deque[Exception | None] = deque()
        self.down: Exception | None = None
        self.under_way = 0
        self.lists_together = 0

    def times(self, operation: str) -> list[float]:
        """When calls of this kind began."""
        return [at for at, name in self.calls if name == operation]

    async def _call(self, operation: str) -> None:
        self.calls.append((now(), operation))
        if operation != "list":
            self.did.append(operation)
        error = self.down or (self.fails.popleft() if self.fails else None)
        await asyncio.sleep(self.takes)
        if error is not None:
            raise error

    async def list_workloads(self, token: str, project: str) -> ListAnswer:
        """What the rows are at the beginning of the call."""
        assert (token, project) == (TOKEN, "prod")
        body = json.dumps([*map(asdict, self._shown()), *self.extra], default=str)
        self.under_way += 1
        self.lists_together = max(self.lists_together, self.under_way)
        try:
            await self._call("list")
        finally:
            self.under_way -= 1
        return ListAnswer(body.encode(), self.date)

    def _shown(self) -> list[LiveWorkload]:
        return [each for slug, each in self.rows.items() if slug not in self.hidden]

    async def exists(self, token: str, project: str, slug: str) -> bool:
        """Whether there is one."""
        await self._call("exists")
        return slug in self.rows

    async def create(self, token: str, project: str, body: dict[str, Any]) -> LiveWorkload:
        """A duplicate where the slug is taken."""
        slug = body["slug"] if body["slug"] not in self.rows else f"{body['slug']}-1"
        slug = self.makes.get(body["slug"], slug)
        await self._call("create")
        self.rows[slug] = row(slug, **{key: value for key, value in body.items() if key != "slug"})
        return self.rows[slug]

    async def update(self, token: str, workload_id: str, body: dict[str, Any]) -> LiveWorkload:
        """The row with the body's fields."""
        await self._call("update")
        slug = workload_id.removeprefix("wl_")
        self.rows[slug] = row(slug, **body)
        return self.rows[slug]

    async def delete(self, token: str, workload_id: str) -> Deleted:
        """Confirmed where there was one, unless the test has other answers."""
        await self._call("delete")
        if self.deletes and (answer := self.deletes.popleft()) is not Deleted.CONFIRMED:
            return answer
        gone = self.rows.pop(workload_id.removeprefix("wl_"), None)
        return Deleted.UNKNOWN if gone is None else Deleted.CONFIRMED

    async def phases(self, token: str, project: str, slug: str) -> AsyncGenerator[Phase, None]:
        """One that is ready."""
        await self._call("phases")
        yield Phase("ready")
