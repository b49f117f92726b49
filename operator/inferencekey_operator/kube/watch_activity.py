"""When the API server was last heard: its answers, and what it says on each watch.

kopf's watch is heard here like our own, bookmarks included, for it goes over a session of ours: of each watch the bytes
that came are counted, by aiohttp, and compared when somebody asks. Decides nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import aiohttp

STREAK = 30.0
"""Seconds without an answer after which the API server counts as having been away."""


@dataclass(slots=True)
class _Watch:
    content: aiohttp.StreamReader
    heard_at: float
    bytes: int = 0


@dataclass(slots=True)
class Pulse:
    """What was heard, and when, on `clock`."""

    clock: Callable[[], float] = time.monotonic
    answered_at: float = float("-inf")
    answering_since: float = float("-inf")
    """Since when it has answered without a long pause."""
    _watches: dict[tuple[str, str], _Watch] = field(default_factory=dict)

    def answered(self, url_path: str, query: Mapping[str, str], response: aiohttp.ClientResponse) -> None:
        """A request was answered; where it opens a watch, that is listened to from now on."""
        now = self.clock()
        if now - self.answered_at > STREAK:
            self.answering_since = now
        self.answered_at = now
        if "watch" in query and response.status < 300:
            self._watches[url_path, query.get("fieldSelector", "")] = _Watch(response.content, now)

    @property
    def answering(self) -> bool:
        """Whether the API server answers these days."""
        return self.clock() - self.answered_at <= STREAK

    def silences(self) -> dict[str, float]:
        """Seconds since each resource's quietest watch last said something."""
        now = self.clock()
        silences: dict[str, float] = {}
        for (path, _), watch in self._watches.items():
            resource = path.rsplit("/", 1)[-1]
            silences[resource] = max(silences.get(resource, 0.0), now - _heard(watch, now))
        return silences

    def deaf_for(self) -> dict[str, float]:
        """The same, but not counting the time in which the API server did not answer at all."""
        answering = self.clock() - self.answering_since
        return {resource: min(silence, answering) for resource, silence in self.silences().items()}


def _heard(watch: _Watch, now: float) -> float:
    came = watch.content.total_raw_bytes
    if came != watch.bytes:
        watch.bytes, watch.heard_at = came, now
    return watch.heard_at
