"""How often and how fast the platform is called. Time and waiting come from asyncio's loop."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RateLimits:
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
