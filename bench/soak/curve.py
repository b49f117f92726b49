"""Curves over time, as text and as SVG.

Decides how they look. What they are of, and what it means, is said elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from xml.sax.saxutils import escape

from bench.soak.trend import WARM_UP, Point

_BLOCKS = "▁▂▃▄▅▆▇█"
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 720, 150, 64, 24, 30, 30
_FONT = "font-family='system-ui, sans-serif' font-size='11'"


def sparkline(values: Sequence[float], width: int = 60) -> str:
    """From the least to the most, in so many blocks at most; a flat series is a low line."""
    if not values:
        return ""
    size = max(1, -(-len(values) // width))
    shown = [median(values[at : at + size]) for at in range(0, len(values), size)]
    low, high = min(shown), max(shown)
    span = max(high - low, 1e-9)
    return "".join(_BLOCKS[min(len(_BLOCKS) - 1, int((value - low) / span * len(_BLOCKS)))] for value in shown)


def line(name: str, unit: str, points: Sequence[Point], width: int = 60) -> str:
    """One curve as a line of text, with its least, its most and its last."""
    values = [value for _, value in points] or [0.0]
    numbers = f"{min(values):8.1f} to {max(values):8.1f}, now {values[-1]:8.1f} {unit}"
    return f"{name:<12} {numbers:<44} {sparkline(values, width)}"


def svg(curves: Mapping[str, Sequence[Point]]) -> str:
    """One below the other, over the same time; each from 0, so that flat looks flat. The warm-up is grey."""
    height = _HEIGHT * len(curves)
    head = f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {_WIDTH} {height}' width='{_WIDTH}'>"
    parts = [head, f"<rect width='{_WIDTH}' height='{height}' fill='white'/>"]
    for number, (name, points) in enumerate(curves.items()):
        if points:
            parts += _curve(name, points, number * _HEIGHT)
    return "\n".join([*parts, "</svg>", ""])


def _curve(name: str, points: Sequence[Point], top: float) -> Iterator[str]:
    last, most = points[-1][0] or 1.0, max(value for _, value in points) * 1.1 or 1.0
    across, up = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    floor = top + _HEIGHT - _BOTTOM

    def place(point: Point) -> str:
        return f"{_LEFT + point[0] / last * across:.1f},{floor - point[1] / most * up:.1f}"

    yield f"<rect x='{_LEFT}' y='{top + _TOP}' width='{across * WARM_UP:.1f}' height='{up}' fill='#eee'/>"
    yield f"<text x='{_LEFT}' y='{top + 20}' {_FONT} font-weight='600'>{escape(name)}</text>"
    yield f"<line x1='{_LEFT}' y1='{floor}' x2='{_WIDTH - _RIGHT}' y2='{floor}' stroke='#bbb'/>"
    for value in (0.0, most / 1.1):
        y = floor - value / most * up + 4
        yield f"<text x='{_LEFT - 6}' y='{y:.1f}' {_FONT} text-anchor='end'>{value:.4g}</text>"
    yield f"<text x='{_WIDTH - _RIGHT}' y='{floor + 16}' {_FONT} text-anchor='end'>{last / 60:.0f} minutes</text>"
    path = " ".join(place(point) for point in points)
    yield f"<polyline points='{path}' fill='none' stroke='#0b6e4f' stroke-width='1.5'/>"
