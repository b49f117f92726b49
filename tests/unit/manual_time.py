"""A clock for tests that set the time themselves."""

from __future__ import annotations

from inferencekey_simulator.clock import Clock


class Time:
    """A time that only moves when a test moves it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def clock(self) -> Clock:
        """Return a clock that shows this time."""
        return Clock(monotonic=lambda: self.now, wall=lambda: self.now)
