"""A bounded number of places that groups share: a free one goes to the group that waits and has the fewest.

So a group whose members keep their places for long does not keep the others waiting. Within a group, those that came
first are first. It must not know what a place is for.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque


class Places:
    """`most` places in all. Whoever acquired one releases it, with the same group."""

    def __init__(self, most: int) -> None:
        self._free = most
        self._held: Counter[str] = Counter()
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @property
    def wanted(self) -> bool:
        """Whether somebody waits for a place."""
        return bool(self._waiting)

    async def acquire(self, group: str) -> None:
        """Wait for a place."""
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(group, deque()).append(place)
        self._give()
        try:
            await place
        except asyncio.CancelledError:
            if not place.cancelled():  # it was given in this very moment
                self.release(group)
            else:
                self._forget(group, place)
            raise

    def release(self, group: str) -> None:
        """Let the next one have it."""
        self._held[group] -= 1
        if not self._held[group]:
            del self._held[group]
        self._free += 1
        self._give()

    def _give(self) -> None:
        while self._free and self._waiting:
            group = min(self._waiting, key=self._held.__getitem__)
            place = self._waiting[group][0]
            self._forget(group, place)
            if group in self._waiting:
                self._waiting.move_to_end(group)
            if not place.cancelled():
                self._free -= 1
                self._held[group] += 1
                place.set_result(None)

    def _forget(self, group: str, place: asyncio.Future[None]) -> None:
        waiting = self._waiting.get(group)
        if waiting is not None and place in waiting:
            waiting.remove(place)
        if not waiting:
            self._waiting.pop(group, None)
