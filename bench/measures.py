"""What is shown of a round, and what it should be: one value per line of the table, in its order.

Each measure is a function of what was counted; the goals stand beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from bench.numbers import Creation, Deletion, Edit, Rest, Restart, Round, Storm

JITTER = 0.9
"""An interval is shortened by a tenth at most, so that projects do not go in step."""
USUAL_INTERVAL = 30.0
MEBIBYTE = 2**20
_NEARLY = 1e-9
"""What comes of dividing."""


@dataclass(frozen=True)
class Goal:
    """A bound for the operator."""

    sign: Literal["≤", "≥"]
    bound: float
    always: bool = False
    """To be kept in every round; else by the median of them."""

    def holds(self, value: float) -> bool:
        """Whether a value is within it."""
        return value <= self.bound + _NEARLY if self.sign == "≤" else value >= self.bound - _NEARLY


@dataclass(frozen=True)
class Seen:
    """One round of one contestant, and those of the others in it."""

    round: Round
    beside: Mapping[str, Round]
    interval: float


@dataclass(frozen=True)
class Measure:
    """One line."""

    section: str
    title: str
    digits: int
    of: Callable[[Seen], float | None]
    goal: Callable[[int, float], Goal | None] | None = None
    """For a size and an interval."""


def _at_most(bound: float, *, always: bool = False) -> Callable[[int, float], Goal]:
    return lambda _size, _interval: Goal("≤", bound, always)


_NONE = _at_most(0, always=True)
_CREATED, _REST, _TAKEN_OVER = "Created at once", "At rest", "Taken over by a new process"
_CHANGED, _DELETED, _NEW = "Changed", "Deleted at once", "A single new one"


def _creation(of: Callable[[Creation, int], float]) -> Callable[[Seen], float | None]:
    return lambda seen: of(seen.round.creation, seen.round.size) if seen.round.creation else None


def _reconciled(of: Callable[[Creation, int], float]) -> Callable[[Seen], float | None]:
    """For those who know the platform: the bare client does not."""

    def value(seen: Seen) -> float | None:
        made = seen.round.creation
        return of(made, seen.round.size) if made and made.span.calls.get("create") else None

    return value


def _rest(of: Callable[[Rest, int], float]) -> Callable[[Seen], float | None]:
    return lambda seen: of(seen.round.rest, seen.round.size) if seen.round.rest else None


def _restart(of: Callable[[Restart], float]) -> Callable[[Seen], float | None]:
    return lambda seen: of(seen.round.restart) if seen.round.restart else None


def _edit(of: Callable[[Edit, int], float]) -> Callable[[Seen], float | None]:
    return lambda seen: of(seen.round.edit, seen.round.size) if seen.round.edit else None


def _storm(of: Callable[[Storm, int], float]) -> Callable[[Seen], float | None]:
    return lambda seen: of(seen.round.storm, seen.round.size) if seen.round.storm else None


def _deletion(of: Callable[[Deletion], float]) -> Callable[[Seen], float | None]:
    return lambda seen: of(seen.round.deletion) if seen.round.deletion else None


def _share_of(limit: str) -> Callable[[Seen], float | None]:
    """How much of the limit's speed, for the same number of Workloads in the same round."""

    def share(seen: Seen) -> float | None:
        made, best = seen.round.creation, seen.beside.get(limit)
        return best.creation.seconds / made.seconds if made and best and best.creation else None

    return share


def _events(made: Creation) -> int:
    return sum(count for what, count in made.span.writes.items() if what.endswith(" events"))


def _unforeseen(made: Creation, size: int) -> float:
    """Writes beside the finalizer, the record, the ConfigMap, the status and one per phase that it was seen in."""
    return max(0.0, made.span.total_writes - _events(made) - 4 * size - made.phases) / size


def _compared(seen: Seen) -> float | None:
    made, gone = seen.round.creation, seen.round.deletion
    return gone.seconds / made.seconds if made and gone else None


def _lists_per_interval(seen: Seen) -> float | None:
    """By the distance between them where there are several: how many fall into three intervals is partly chance."""
    idle = seen.round.rest
    if idle is None:
        return None
    lists = idle.span.calls.get("list", 0)
    return (lists - 1) * seen.interval / idle.list_seconds if idle.list_seconds else lists / idle.intervals


def _memory_goal(size: int, _interval: float) -> Goal | None:
    return Goal("≤", 110) if size <= 1000 else Goal("≤", 300) if size <= 10_000 else None


def _idle_cpu_goal(size: int, interval: float) -> Goal | None:
    """Some of it is there without any Workload, so that few of them say nothing about a thousand."""
    return Goal("≤", 0.3) if interval >= USUAL_INTERVAL and size >= 1000 else None


def _lists_goal(_size: int, interval: float) -> Goal | None:
    return Goal("≤", round(1 / JITTER + 0.005, 2)) if interval >= USUAL_INTERVAL else None


MEASURES: tuple[Measure, ...] = (
    Measure(_CREATED, "Workloads/s until every status is written", 0, _creation(lambda made, n: n / made.seconds)),
    Measure(
        _CREATED,
        "share of the limit, the same writes",
        2,
        _share_of("same"),
        lambda _size, _interval: Goal("≥", 0.85),
    ),
    Measure(_CREATED, "share of the limit, three writes each", 2, _share_of("limit")),
    Measure(_CREATED, "CPU, ms each", 2, _creation(lambda made, n: 1000 * made.span.cpu / n), _at_most(2.5)),
    Measure(
        _CREATED,
        "CPU of the API server and etcd, ms each",
        2,
        _creation(lambda made, n: 1000 * (made.span.cpu_api_server + made.span.cpu_etcd) / n),
    ),
    Measure(
        _CREATED,
        "Kubernetes writes each, Events apart",
        2,
        _creation(lambda made, n: (made.span.total_writes - _events(made)) / n),
    ),
    Measure(_CREATED, "of these not foreseen", 2, _reconciled(_unforeseen), _NONE),
    Measure(_CREATED, "Events each", 2, _creation(lambda made, n: _events(made) / n)),
    Measure(_CREATED, "lists of the platform", 0, _reconciled(lambda made, _: made.span.calls.get("list", 0))),
    Measure(_CREATED, "MiB from the platform", 1, _reconciled(lambda made, _: made.span.platform_bytes / MEBIBYTE)),
    Measure(_CREATED, "duplicates on the platform", 0, _reconciled(lambda made, n: made.rows - n), _NONE),
    Measure(_CREATED, "resident memory, MiB", 0, _creation(lambda made, _: made.span.memory.resident), _memory_goal),
    Measure(_REST, "lists of the platform per interval", 2, _lists_per_interval, _lists_goal),
    Measure(_REST, "MiB from the platform per interval", 2, _rest(lambda idle, _: _per_interval(idle) / MEBIBYTE)),
    Measure(
        _REST,
        "Kubernetes writes per interval",
        1,
        _rest(lambda idle, _: idle.span.total_writes / idle.intervals),
        _NONE,
    ),
    Measure(
        _REST,
        "CPU per 1,000, % of a core",
        2,
        _rest(lambda idle, n: 100 * idle.span.cpu / idle.span.seconds * 1000 / n),
        _idle_cpu_goal,
    ),
    Measure(_REST, "resident memory, MiB", 0, _rest(lambda idle, _: idle.span.memory.resident), _memory_goal),
    Measure(_TAKEN_OVER, "seconds until each was looked at", 1, _restart(lambda new: new.seconds), _at_most(20)),
    Measure(_TAKEN_OVER, "Kubernetes writes", 0, _restart(lambda new: new.span.total_writes), _NONE),
    Measure(_TAKEN_OVER, "lists of the platform", 0, _restart(lambda new: new.span.calls.get("list", 0))),
    Measure(
        _NEW,
        "beside those at rest: asked for after, p99, s",
        2,
        lambda seen: seen.round.beside_idle.p99 if seen.round.beside_idle else None,
        _at_most(1),
    ),
    Measure(
        _NEW,
        "while others are created: asked for after, p99, s",
        2,
        lambda seen: seen.round.beside_busy.p99 if seen.round.beside_busy else None,
        _at_most(5),
    ),
    Measure(
        _CHANGED,
        "one on the platform: repaired after, p99, s",
        1,
        lambda seen: seen.round.drift.p99 if seen.round.drift else None,
        lambda _size, interval: Goal("≤", interval + 2),
    ),
    Measure(_CHANGED, "all on the platform: repairs each", 2, _storm(lambda s, n: s.span.calls.get("update", 0) / n)),
    Measure(_CHANGED, "the most repairs of one", 0, _storm(lambda s, _: s.most_repairs), _at_most(1, always=True)),
    Measure(_CHANGED, "Workloads/s, all on the platform", 0, _storm(lambda s, n: n / s.seconds)),
    Measure(_CHANGED, "Workloads/s, all in their specs", 0, _edit(lambda edited, n: n / edited.seconds)),
    Measure(_CHANGED, "Kubernetes writes each then", 2, _edit(lambda edited, n: edited.span.total_writes / n)),
    Measure(_DELETED, "time, against that of their creation", 2, _compared, _at_most(1)),
    Measure(_DELETED, "left on the platform", 0, _deletion(lambda gone: gone.left), _NONE),
)


def _per_interval(idle: Rest) -> float:
    return idle.span.platform_bytes / idle.intervals
