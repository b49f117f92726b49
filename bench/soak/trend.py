"""Whether something grows: a verdict on a series of numbers, which go up and down all the time.

Pure. What grows has to do both:

- *steadily*: of all pairs of moments, more are higher later than lower, by more than chance would have it three times
  in two thousand (Mann-Kendall);
- *by something*: the line through them (Theil-Sen: the median of the slopes of all pairs) rises by more than is allowed
  over the whole time. Neither is moved by a few wild values, as a mean or a fitted line would be.

The beginning is left out: caches fill, and an allocator takes what it will need again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import sqrt
from statistics import median

WARM_UP = 0.3
"""The share of the whole time that is left out at its beginning."""
BINS = 40
"""How many medians are compared: more are no wiser, and neighbours are no strangers to each other."""
STEADY = 3.0
"""Standard deviations beyond chance."""

Point = tuple[float, float]
"""Seconds and value."""


@dataclass(frozen=True)
class Trend:
    """Of a series after its warm-up."""

    middle: float
    """Its median."""
    rise: float
    """How much the line through it rises, from the end of the warm-up to the end."""
    steadiness: float
    """By how many standard deviations it goes up more often than down."""
    allowed: float

    @property
    def grows(self) -> bool:
        """The verdict."""
        return self.steadiness > STEADY and self.rise > self.allowed

    def __str__(self) -> str:
        word = "grows" if self.grows else "flat"
        return (
            f"{word}: {self.middle:.1f}, {self.rise:+.2f} in all (allowed {self.allowed:g}), z {self.steadiness:+.1f}"
        )


def trend(points: Sequence[Point], allowed: float) -> Trend:
    """What becomes of a series in which a rise of `allowed` is nothing."""
    settled = after_warm_up(points)
    if len(settled) < 3:
        return Trend(settled[-1][1] if settled else 0.0, 0.0, 0.0, allowed)
    middles = _medians(settled)
    slope = median((y - x) / (t - s) for (s, x), (t, y) in combinations(middles, 2))
    rise = slope * (settled[-1][0] - settled[0][0])
    return Trend(median(value for _, value in settled), rise, _steadiness([value for _, value in middles]), allowed)


def after_warm_up(points: Sequence[Point]) -> list[Point]:
    """What counts."""
    if not points:
        return []
    first, last = points[0][0], points[-1][0]
    return [point for point in points if point[0] >= first + (last - first) * WARM_UP]


def _medians(points: Sequence[Point]) -> list[Point]:
    """Of so many stretches of equal length at most."""
    size = max(1, len(points) // BINS)
    stretches = [points[at : at + size] for at in range(0, len(points) - size + 1, size)]
    return [(median(t for t, _ in each), median(value for _, value in each)) for each in stretches]


def _steadiness(values: Sequence[float]) -> float:
    """Mann and Kendall's Z; ties make it smaller, as they should."""
    count = len(values)
    score = sum((later > earlier) - (later < earlier) for earlier, later in combinations(values, 2))
    ties = {value: values.count(value) for value in values}
    variance = count * (count - 1) * (2 * count + 5) - sum(n * (n - 1) * (2 * n + 5) for n in ties.values())
    if variance <= 0 or score == 0:
        return 0.0
    return (score - (1 if score > 0 else -1)) / sqrt(variance / 18)
