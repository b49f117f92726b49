"""The time, as a value that can be handed in.

Decides how the simulator reads time and writes it down. Everything else asks a `Clock`, so a test can move
time by hand; nothing else in the package calls `time` for a rule.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import formatdate


@dataclass(frozen=True)
class Clock:
    """Two readings in seconds: `monotonic` for durations, `wall` (since the epoch) for what is shown."""

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time

    def timestamp(self, skew: float = 0.0) -> str:
        """Return the wall time plus `skew` seconds as RFC 3339 in UTC, with microseconds."""
        moment = datetime.fromtimestamp(self.wall() + skew, UTC)
        return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")

    def http_date(self, skew: float = 0.0) -> str:
        """Return the wall time plus `skew` seconds in the form of the `Date` header."""
        return formatdate(self.wall() + skew, usegmt=True)
