"""Connections to one platform, one request on each at a time.

httpx's pool looks at each of its connections whenever a request begins or ends, and asks the system about those that
idle: with some dozens of them that is a fifth of all that a busy operator does. Here each connection is a client of its
own, and whoever calls takes the one that was used last. Knows nothing of what is sent.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Self

import httpx


class ConnectionPool:
    """At most so many connections; they are opened when they are needed, and closed when they are not for a while.

    Args:
        open_line: makes the client of one connection.
        most: how many there are at once.
        patience: seconds that a request waits for one.
        keep: seconds after which a connection that nobody used is closed, when the next request ends.
    """

    def __init__(self, open_line: Callable[[], httpx.AsyncClient], *, most: int, patience: float, keep: float) -> None:
        self._open_line, self._patience, self._keep = open_line, patience, keep
        self._places = asyncio.Semaphore(most)
        self._free: deque[tuple[float, httpx.AsyncClient]] = deque()
        """Those that rest, and since when, in the loop's time: used last comes last."""
        self._closed = False

    @asynccontextmanager
    async def line(self) -> AsyncIterator[httpx.AsyncClient]:
        """One connection, for one request; whoever is cancelled in it leaves none for others.

        Raises:
            httpx.PoolTimeout: all were in use for too long.
        """
        await self._place()
        try:
            http = self._free.pop()[1] if self._free else self._open_line()
            try:
                yield http
            except asyncio.CancelledError:  # perhaps in the midst of giving the connection back
                await http.aclose()
                raise
            except BaseException:  # an error, or whoever reads a stream has heard enough
                await self._rest(http)
                raise
            await self._rest(http)
        finally:
            self._places.release()

    async def aclose(self) -> None:
        """Close those that rest now, and each other one when its request ends."""
        self._closed = True
        while self._free:
            await self._free.popleft()[1].aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def _place(self) -> None:
        if not self._places.locked():
            await self._places.acquire()
            return
        try:
            async with asyncio.timeout(self._patience):
                await self._places.acquire()
        except TimeoutError:
            raise httpx.PoolTimeout("all connections are in use") from None

    async def _rest(self, http: httpx.AsyncClient) -> None:
        """To be used again; those that rested for too long are closed instead."""
        if self._closed:
            await http.aclose()
            return
        now = asyncio.get_running_loop().time()
        self._free.append((now, http))
        while self._free and self._free[0][0] + self._keep < now:  # others take and give back meanwhile
            await self._free.popleft()[1].aclose()
