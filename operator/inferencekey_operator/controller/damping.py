"""What repeats itself too often is followed ever more slowly, and never missed.

The first few changes of one thing within a minute are acted on at once. Further ones share one action after a wait that
grows, until nothing has changed for a minute. The last change is always acted on after it was made. The one place that
knows these numbers; it must not know what changes, nor what is done about it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from dataclasses import dataclass

AT_ONCE = 5
"""Changes that are acted on as soon as they are seen."""
QUIET = 60.0
"""Seconds without a change after which the next one counts as the first."""
WAITS = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Seconds between two actions after those; the last one stays."""
MOST_KEPT = 1_024
"""Things that are remembered before those that are quiet by now are searched for."""


@dataclass(slots=True)
class _Repeated:
    changed: float
    acted: float
    times: int = 0
    reported: bool = False
    due: asyncio.TimerHandle | None = None


class Damper:
    """Calls actions now, or later: at most one for each thing waits. Times are the loop's."""

    def __init__(self) -> None:
        self._repeated: dict[Hashable, _Repeated] = {}
        self._most = MOST_KEPT
        """At how many the quiet ones are searched for: grows with those that are not, so that few searches are made."""

    def act(self, thing: Hashable, action: Callable[[], None], report: Callable[[], None]) -> None:
        """`thing` has changed: call `action`, now or in its time. `report` is called when waits begin: once, until it
        was quiet.
        """
        now = asyncio.get_running_loop().time()
        found = self._repeated.get(thing)
        if found is None or (found.due is None and now - found.changed >= QUIET):
            self._forget_the_quiet(now)
            found = self._repeated[thing] = _Repeated(now, now)
        found.changed = now
        if found.due is not None:
            return
        wait = self._wait(found, now)
        found.times += 1
        if wait <= 0:
            found.acted = now
            action()
            return
        if not found.reported:
            found.reported = True
            report()
        found.due = asyncio.get_running_loop().call_later(wait, self._act_late, found, action)

    def _wait(self, found: _Repeated, now: float) -> float:
        beyond = found.times - AT_ONCE
        return found.acted + WAITS[min(beyond, len(WAITS) - 1)] - now if beyond >= 0 else 0.0

    def _act_late(self, found: _Repeated, action: Callable[[], None]) -> None:
        found.due, found.acted = None, asyncio.get_running_loop().time()
        action()

    def _forget_the_quiet(self, now: float) -> None:
        if len(self._repeated) < self._most:
            return
        self._repeated = {
            thing: each for thing, each in self._repeated.items() if each.due is not None or now - each.changed < QUIET
        }
        self._most = max(MOST_KEPT, 2 * len(self._repeated))
