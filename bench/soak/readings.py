"""What a process holds, every few seconds, and what it all comes to.

Decides how much of each may be had more at the end than after the warm-up. Read from /proc; asks the process nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field

from bench.procfs import cpu_seconds, descriptors, memory, threads
from bench.soak.trend import Point, Trend, trend

ALLOWED: Mapping[str, float] = {"resident": 4.0, "descriptors": 6.0, "threads": 1.0}
"""MiB of memory, and counts: whatever the time, so that more of it asks for more."""


@dataclass(frozen=True)
class Reading:
    """At one moment; seconds since the beginning, MiB, counts, and the share of a core since the one before."""

    at: float
    resident: float
    descriptors: int
    threads: int
    cpu: float


@dataclass
class Readings:
    """Of one process, whose pid does not change."""

    pid: int
    clock: Callable[[], float] = time.monotonic
    all: list[Reading] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._began = self._before = self.clock()
        self._cpu = cpu_seconds(self.pid)

    def take(self) -> Reading:
        """One more."""
        now, cpu = self.clock(), cpu_seconds(self.pid)
        share = (cpu - self._cpu) / max(now - self._before, 1e-3)
        self._before, self._cpu = now, cpu
        held = memory(self.pid).resident
        reading = Reading(now - self._began, held, descriptors(self.pid), threads(self.pid), share)
        self.all.append(reading)
        return reading

    def points(self, name: str) -> list[Point]:
        """One of the series."""
        return [(each.at, float(getattr(each, name))) for each in self.all]

    def trends(self) -> dict[str, Trend]:
        """What counts of each."""
        return {name: trend(self.points(name), allowed) for name, allowed in ALLOWED.items()}

    def shown(self) -> list[dict[str, float]]:
        """For a file."""
        return [{name: round(value, 3) for name, value in asdict(each).items()} for each in self.all]
