"""The soak's verdict: what grows is told from what goes up and down; and its curves can be drawn."""

from __future__ import annotations

from random import Random
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from bench.soak.curve import line, sparkline, svg
from bench.soak.trend import Point, trend

HOUR = [number * 5.0 for number in range(720)]
RNG = Random("soak")
NOISE = [RNG.gauss(0.0, 1.5) for _ in HOUR]


def series(*terms: list[float]) -> list[Point]:
    """The sum of some, over an hour."""
    return [(at, 90.0 + sum(parts)) for at, *parts in zip(HOUR, *terms, strict=True)]


def leak(by: float) -> list[float]:
    """So much more at the end."""
    return [by * at / HOUR[-1] for at in HOUR]


def test_noise_is_flat() -> None:
    """It goes up and down by more than is allowed."""
    assert not trend(series(NOISE), 4.0).grows


def test_a_slow_leak_in_noise_grows() -> None:
    """Ten MiB in an hour, of which seven are after the warm-up."""
    found = trend(series(NOISE, leak(10.0)), 4.0)
    assert found.grows
    assert 6.0 < found.rise < 8.0


def test_a_leak_of_next_to_nothing_is_flat() -> None:
    """It is steady, and within what is allowed: a longer soak asks for less of it."""
    found = trend(series(leak(3.0)), 4.0)
    assert found.steadiness > 3
    assert not found.grows


def test_what_fills_at_the_beginning_is_flat() -> None:
    """Caches: up within the warm-up, and level from then on."""
    filled = [min(30.0, at / 20) for at in HOUR]
    assert not trend(series(NOISE, filled), 4.0).grows


def test_a_saw_is_flat() -> None:
    """An allocator gives back now and then."""
    assert not trend(series([at % 300 / 15 for at in HOUR]), 4.0).grows


def test_some_wild_values_change_nothing() -> None:
    """A tenth of the last readings is doubled."""
    wild = [90.0 * (at > 3000 and number % 10 == 0) for number, at in enumerate(HOUR)]
    assert not trend(series(NOISE, wild), 4.0).grows


def test_one_descriptor_in_a_while_grows() -> None:
    """Whole numbers, which tie all the time."""
    assert trend([(at, float(27 + int(at // 240))) for at in HOUR], 6.0).grows


@given(st.lists(st.floats(0, 1e6), max_size=20))
def test_any_short_series_has_a_verdict(values: list[float]) -> None:
    """Also an empty one."""
    assert trend([(float(at), value) for at, value in enumerate(values)], 1e6).grows is False


def test_a_curve_is_a_line_of_text() -> None:
    """From low to high, no longer than asked for."""
    assert sparkline([1.0, 2.0, 3.0]) == "▁▅█"
    assert len(sparkline(list(range(1000)), 60)) <= 60
    assert "90.0 to     95.0, now     95.0 MiB" in line("resident", "MiB", [(0.0, 90.0), (5.0, 95.0)])


def test_curves_are_a_picture() -> None:
    """One line each, in one file that can be read."""
    text = svg({"resident MiB": series(NOISE), "threads": [(0.0, 1.0), (5.0, 1.0)]})
    drawn = ElementTree.fromstring(text)  # noqa: S314 - our own
    assert len([each for each in drawn.iter() if each.tag.endswith("polyline")]) == 2
