"""What fleets would cost that are larger than any that was measured, by straight lines through what was.

Pure. Every line is a cost that grows with the number of Workloads and nothing else: what does not is no part of it.
Decides neither how it looks nor what breaks first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from bench.figures import OURS, sizes
from bench.measures import MEBIBYTE
from bench.numbers import Result, Round

AHEAD = (10_000, 100_000, 1_000_000)
PER_PROJECT = 100
"""Workloads that share a project: a list of the platform is one per project."""
_GIBIBYTE = 2**30
_SHARED, _WHOLE, _SAME = "an S-th for each", "all of it for each", "the same for all together"
_HOUR = 3600.0


@dataclass(frozen=True)
class Prospect:
    """One line: a cost at each size of `AHEAD`, of one process that cares for all."""

    title: str
    values: tuple[float, ...]
    shards: str
    """What it comes to with S shards."""


def outlook(result: Result) -> list[Prospect]:
    """Of those costs that the result has measured."""
    return [found for line in _LINES if (found := line.prospect(result)) is not None]


@dataclass(frozen=True)
class _Line:
    title: str
    of: Callable[[Round, float], float | None]
    """The cost of one round, and the interval."""
    shards: str

    def prospect(self, result: Result) -> Prospect | None:
        points = [(size, value) for size in sizes(result) if (value := self._at(result, size)) is not None]
        if not points:
            return None
        return Prospect(self.title, tuple(_beyond(points, size) for size in AHEAD), self.shards)

    def _at(self, result: Result, size: int) -> float | None:
        rounds = [each for each in result.rounds if (each.contestant, each.size) == (OURS, size)]
        values = [value for each in rounds if (value := self.of(each, result.conditions.interval)) is not None]
        return median(values) if values else None


def _beyond(points: list[tuple[int, float]], size: int) -> float:
    """On the line through the smallest and the largest that were measured; multiplied, where they tell of no growth."""
    (least, low), (most, high) = points[0], points[-1]
    if high <= low:
        least, low = 0, 0.0
    return high + (high - low) / (most - least) * (size - most)


def _resident(each: Round, _: float) -> float | None:
    return each.rest.span.memory.resident / 1024 if each.rest else None


def _cores(each: Round, _: float) -> float | None:
    return each.rest.span.cpu / each.rest.span.seconds if each.rest else None


def _listed(each: Round, interval: float) -> float | None:
    return each.rest.span.platform_bytes / each.rest.intervals / interval / MEBIBYTE if each.rest else None


def _taken_over(each: Round, _: float) -> float | None:
    return each.restart.seconds / 60 if each.restart else None


def _stored(each: Round, _: float) -> float | None:
    return each.creation.stored / _GIBIBYTE if each.creation and each.creation.stored else None


def _created(each: Round, _: float) -> float | None:
    return each.creation.seconds / _HOUR if each.creation else None


_LINES = (
    _Line("lists of the platform, per second", lambda each, interval: each.size / PER_PROJECT / interval, _SHARED),
    _Line("what they carry, MiB per second", _listed, _SHARED),
    _Line("CPU of the operator at rest, cores", _cores, _SHARED),
    _Line("memory of the operator, GiB", _resident, _WHOLE),
    _Line("a new process has looked at all, minutes", _taken_over, _SHARED),
    _Line("all are created at once, hours", _created, _SAME),
    _Line("stored in Kubernetes, GiB", _stored, _SAME),
)
