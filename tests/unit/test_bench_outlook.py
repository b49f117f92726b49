"""What larger fleets would cost, from what was measured of smaller ones."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench import page
from bench.numbers import Creation, Rest, Round
from bench.outlook import AHEAD, outlook
from bench.procfs import Memory
from bench.wording import rounded
from unit.test_bench_figures import QUANTILES, a_result, a_span


def a_resting(size: int, resident: float, cpu: float, number: int = 1) -> Round:
    """A fleet at rest for three intervals."""
    span = a_span(seconds=90.0, cpu=cpu, platform_bytes=3 * size * 500, memory=Memory(resident, resident, resident))
    return Round("operator", size, number, rest=Rest(3, span))


def values(title: str, *rounds: Round) -> tuple[float, ...]:
    """One line of the outlook."""
    return next(each.values for each in outlook(a_result(*rounds)) if each.title == title)


def test_two_sizes_tell_what_each_workload_adds() -> None:
    """What is there without any is not multiplied."""
    found = values("memory of the operator, GiB", a_resting(1000, 70.0, 1.0), a_resting(10_000, 160.0, 1.0))
    assert found == pytest.approx((160 / 1024, 1060 / 1024, 10_060 / 1024))


def test_one_size_is_multiplied() -> None:
    """For want of better: what is there without any makes it too large, never too small."""
    found = values("CPU of the operator at rest, cores", a_resting(1000, 70.0, 0.9))
    assert found == pytest.approx((0.1, 1.0, 10.0))


def test_the_median_of_the_rounds_counts() -> None:
    """One round in which the machine was busy changes nothing."""
    rounds = [a_resting(1000, 70.0, cpu, number) for number, cpu in enumerate((0.9, 9.0, 0.9), 1)]
    assert values("CPU of the operator at rest, cores", *rounds)[0] == pytest.approx(0.1)


def test_a_cost_that_seemed_to_fall_is_multiplied_too() -> None:
    """Chance hid how it grows: too large is better than too small."""
    found = values("memory of the operator, GiB", a_resting(100, 80.0, 1.0), a_resting(1000, 70.0, 1.0))
    assert found == pytest.approx((700 / 1024, 7_000 / 1024, 70_000 / 1024))


def test_what_was_not_measured_is_not_there() -> None:
    """Nor is what only others did."""
    made = Creation(100.0, QUANTILES, a_span(), phases=0, rows=1000, stored=4000 * 1000)
    rounds = [Round("operator", 1000, 1, made), replace(a_resting(1000, 1.0, 1.0), contestant="plain")]
    found = {each.title: each for each in outlook(a_result(*rounds))}
    assert found["stored in Kubernetes, GiB"].values[0] == pytest.approx(4000 * AHEAD[0] / 2**30)
    assert not [title for title in found if "memory" in title or "CPU" in title]


@pytest.mark.parametrize(
    ("value", "words"), [(0.0, "0"), (0.0123, "0.012"), (0.956, "0.96"), (9.06, "9.1"), (91.2, "91"), (1234.0, "1,200")]
)
def test_two_figures_are_shown(value: float, words: str) -> None:
    """More would claim more than a straight line knows."""
    assert rounded(value) == words


def test_the_page_shows_the_results_that_are_checked_in() -> None:
    """docs/scale.md is what `python -m bench docs` makes of the results in docs/cost."""
    assert page.prospects(page.published()) in (page.ROOT / page.OUTLOOK).read_text(encoding="utf-8")
