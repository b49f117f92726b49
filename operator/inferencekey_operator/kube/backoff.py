"""How long to pause before what broke off is begun anew: longer each time, until something is heard of it again.

Must not know what that is, nor what became of it but that.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field


@dataclass(eq=False)
class Backoff:
    """`begin` before each attempt, `pause` after it. Seconds."""

    shortest: float
    longest: float
    steady: float
    """After so long, an attempt of which nothing was heard was a good one all the same."""
    _heard: bool = field(default=False, init=False)
    _began: float = field(default=0.0, init=False)
    _next: float = field(init=False)

    def __post_init__(self) -> None:
        self._next = self.shortest

    def begin(self) -> None:
        """An attempt begins."""
        self._heard, self._began = False, asyncio.get_running_loop().time()

    def hear(self) -> None:
        """Something came of it."""
        self._heard = True

    async def pause(self, at_least: float = 0.0) -> None:
        """It ended, however it did."""
        if self._heard or asyncio.get_running_loop().time() - self._began > self.steady:
            self._next = self.shortest
        now, self._next = self._next, min(self._next * 2, self.longest)
        await asyncio.sleep(max(at_least, now * random.uniform(1.0, 1.2)))  # noqa: S311 - jitter
