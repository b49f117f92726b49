"""Charts of cost against the number of Workloads, as SVG.

Decides how a chart looks. Both axes are logarithmic, so that what grows in proportion is a straight line, and what
grows with the square a steeper one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 480, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 120, 40, 44
_COLORS = ("#0b6e4f", "#c1440e", "#3d5a98", "#7a6a00")
_FONT = "font-family='system-ui, sans-serif' font-size='11'"

Point = tuple[float, float]


@dataclass(frozen=True)
class Chart:
    """Lines by name."""

    title: str
    lines: Mapping[str, Sequence[Point]]

    def svg(self) -> str:
        """The whole file."""
        drawn = {name: [(x, y) for x, y in points if x > 0 and y > 0] for name, points in self.lines.items()}
        drawn = {name: points for name, points in drawn.items() if points}
        every = [point for points in drawn.values() for point in points]
        across = _Axis.over([x for x, _ in every], _LEFT, WIDTH - _RIGHT)
        up = _Axis.over([y for _, y in every], HEIGHT - _BOTTOM, _TOP)
        parts = [*_frame(self.title, across, up)]
        for color, (name, points) in zip(_COLORS, drawn.items(), strict=False):
            parts += _line(name, color, [(across.at(x), up.at(y)) for x, y in points])
        head = f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' width='{WIDTH}'>"
        return "\n".join([head, *parts, "</svg>", ""])


@dataclass(frozen=True)
class _Axis:
    """From whole powers of ten to whole powers of ten."""

    low: int
    high: int
    begin: float
    end: float

    @classmethod
    def over(cls, values: Sequence[float], begin: float, end: float) -> _Axis:
        logs = [math.log10(value) for value in values] or [0.0]
        low = math.floor(min(logs))
        return cls(low, max(low + 1, math.ceil(max(logs))), begin, end)

    def at(self, value: float) -> float:
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return self.begin + share * (self.end - self.begin)

    def ticks(self) -> Iterator[tuple[float, str]]:
        for power in range(self.low, self.high + 1):
            yield self.at(10.0**power), f"{10.0**power:,.{max(0, -power)}f}"


def _frame(title: str, across: _Axis, up: _Axis) -> Iterator[str]:
    yield f"<rect width='{WIDTH}' height='{HEIGHT}' fill='white'/>"
    yield f"<text x='{_LEFT}' y='20' {_FONT} font-weight='600'>{escape(title)}</text>"
    for x, label in across.ticks():
        yield f"<line x1='{x:.1f}' y1='{_TOP}' x2='{x:.1f}' y2='{HEIGHT - _BOTTOM}' stroke='#ddd'/>"
        yield f"<text x='{x:.1f}' y='{HEIGHT - _BOTTOM + 16}' {_FONT} text-anchor='middle'>{label}</text>"
    for y, label in up.ticks():
        yield f"<line x1='{_LEFT}' y1='{y:.1f}' x2='{WIDTH - _RIGHT}' y2='{y:.1f}' stroke='#ddd'/>"
        yield f"<text x='{_LEFT - 6}' y='{y + 4:.1f}' {_FONT} text-anchor='end'>{label}</text>"
    middle = (_LEFT + WIDTH - _RIGHT) / 2
    yield f"<text x='{middle}' y='{HEIGHT - 8}' {_FONT} text-anchor='middle'>Workloads</text>"


def _line(name: str, color: str, points: Sequence[Point]) -> Iterator[str]:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    yield f"<polyline points='{path}' fill='none' stroke='{color}' stroke-width='2'/>"
    for x, y in points:
        yield f"<circle cx='{x:.1f}' cy='{y:.1f}' r='3' fill='{color}'/>"
    x, y = points[-1]
    yield f"<text x='{x + 8:.1f}' y='{y + 4:.1f}' {_FONT} fill='{color}'>{escape(name)}</text>"
