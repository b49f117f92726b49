"""From what was counted to what is shown: every ratio, median and goal is computed here, and nowhere else.

Pure. How figures look is the table's and the page's affair.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from statistics import median

from bench.measures import MEASURES, Goal, Measure, Seen
from bench.numbers import Result, Round, Teams

OURS = "operator"


@dataclass(frozen=True)
class Spread:
    """Of one figure over the rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread | None:
        """None where nothing was measured."""
        known = list(values)
        return cls(median(known), min(known), max(known)) if known else None


@dataclass(frozen=True)
class Figure:
    """One line of the table: one measure at one size, of each contestant that has it."""

    section: str
    title: str
    digits: int
    cells: Mapping[str, Spread]
    goal: str
    met: bool | None
    """Of the operator; None where there is no goal for it."""


def sizes(result: Result) -> list[int]:
    """That something was measured at, in order."""
    return sorted({each.size for each in result.rounds})


def contestants(result: Result) -> list[str]:
    """In the order in which they came."""
    return list(dict.fromkeys(each.contestant for each in result.rounds))


def figures(result: Result, size: int) -> list[Figure]:
    """All that were measured at this size."""
    found = [_figure(result, size, measure) for measure in MEASURES]
    found += [_teams(result, size, title, of) for title, of in _TEAMS]
    found.append(_growth(result, size))
    return [figure for figure in found if figure.cells]


def cell(result: Result, size: int, measure: Measure, contestant: str) -> Spread | None:
    """One figure of one contestant."""
    values = []
    for each in result.rounds:
        if (each.size, each.contestant) == (size, contestant):
            value = measure.of(Seen(each, _beside(result, each), result.conditions.interval))
            values += [value] if value is not None else []
    return Spread.of(values)


def _beside(result: Result, of: Round) -> dict[str, Round]:
    """Who else was in the same round."""
    same = [each for each in result.rounds if (each.size, each.number) == (of.size, of.number)]
    return {each.contestant: each for each in same}


def _figure(result: Result, size: int, measure: Measure) -> Figure:
    found = {name: cell(result, size, measure, name) for name in contestants(result)}
    cells = {name: spread for name, spread in found.items() if spread is not None}
    goal = measure.goal(size, result.conditions.interval) if measure.goal else None
    return Figure(measure.section, measure.title, measure.digits, cells, _text(goal), _met(goal, cells.get(OURS)))


def _text(goal: Goal | None) -> str:
    return f"{goal.sign} {goal.bound:g}" if goal else ""


def _met(goal: Goal | None, ours: Spread | None) -> bool | None:
    """Counts are held in every round; times by the median of them."""
    if goal is None or ours is None:
        return None
    value = (ours.high if goal.sign == "≤" else ours.low) if goal.always else ours.median
    return goal.holds(value)


_TEAMS: tuple[tuple[str, Callable[[Teams], float]], ...] = (
    ("median latency of the others, as a ratio", lambda seen: seen.troubled.p50 / seen.healthy.p50),
    ("p99 latency of the others, as a ratio", lambda seen: seen.troubled.p99 / seen.healthy.p99),
)
_UNAFFECTED = Goal("≤", 1.2)


def _teams(result: Result, size: int, title: str, of: Callable[[Teams], float]) -> Figure:
    found = [seen for seen in result.teams if seen.size == size]
    spread = Spread.of(map(of, found))
    cells = {OURS: spread} if spread else {}
    section = ""
    if found:
        of_all = found[0]
        section = (
            f"{of_all.projects} projects with {of_all.each} Workloads each, "
            f"{of_all.slow} with a slow platform, {of_all.bad} with bad tokens"
        )
    return Figure(section, title, 2, cells, _text(_UNAFFECTED), _met(_UNAFFECTED, spread))


def _growth(result: Result, size: int) -> Figure:
    """Time per Workload, against that of the next smaller fleet: 1 is a straight line."""
    smaller = [each for each in sizes(result) if each < size]
    goal = Goal("≤", 1.1)
    if not smaller:
        return Figure("", "", 2, {}, "", None)
    seconds = partial(_seconds_each, result)
    ratios = {
        name: seconds(size, name) / seconds(smaller[-1], name)
        for name in contestants(result)
        if seconds(size, name) and seconds(smaller[-1], name)
    }
    cells = {name: Spread(ratio, ratio, ratio) for name, ratio in ratios.items()}
    title = f"time per Workload, against that of {smaller[-1]:,}"
    return Figure("Created at once", title, 2, cells, _text(goal), _met(goal, cells.get(OURS)))


def _seconds_each(result: Result, size: int, name: str) -> float:
    """0 where nothing was measured."""
    made = [each.creation for each in result.rounds if (each.size, each.contestant) == (size, name)]
    seconds = [each.seconds for each in made if each is not None]
    return median(seconds) / size if seconds else 0.0
