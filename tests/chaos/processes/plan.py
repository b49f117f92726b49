"""What happens in a round: who does what, and which fault hits whom, out of a seed and a number.

Pure. Decides how hard the faults come, and that none holds a call to the platform up for longer than the operator
waits for a creation whose answer was lost: beyond `--uncertain-create-timeout`, nothing is promised.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple, TypeVar

KILL = "kill"
"""SIGKILL, and started again after a while."""
STOP = "stop"
"""SIGSTOP, and SIGCONT after a while."""
RESET = "reset"
"""Every connection is reset."""
REFUSE = "refuse"
"""Every connection is reset, and none is taken for a while."""
SWALLOW = "swallow"
"""What is sent never arrives and nobody is told, until the connections are reset after a while."""
HOLD = "hold"
"""What is sent arrives after a while."""

EXPIRE = "expire"
"""A client certificate is replaced by one that is over, and after a while by one that is not."""

OPERATORS = ("operator-1", "operator-2")
API_SERVER, ETCD, PLATFORM = "kube-apiserver", "etcd", "platform"
PROCESSES = (*OPERATORS, API_SERVER, ETCD, PLATFORM)
CABLES = ("operator-1~kubernetes", "operator-2~kubernetes", "operators~platform", "kube-apiserver~etcd")
CERTIFICATES = ("operator-1's certificate", "operator-2's certificate")

SPAN = 16.0
"""Seconds in which the faults of a round begin."""
LONGEST = 1.5
"""Seconds that a process or a cable keeps others waiting; a call to the platform may meet one of each."""
BEYOND_THE_LEASE = (6.5, 9.0)
"""Seconds that an operator is stopped, now and then: another one leads when it wakes up."""
EXPIRED = (0.5, 9.0)
"""Seconds until a certificate that is over is replaced."""

NAMESPACES = ("team-a", "team-b", "team-c")
NAMES = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta")


class Fault(NamedTuple):
    """One of them; `seconds` until what was taken is given back."""

    at: float
    target: str
    kind: str
    seconds: float

    def __str__(self) -> str:
        lasting = f" for {self.seconds:.2f} s" if self.seconds else ""
        return f"{self.kind} {self.target}{lasting}"


class Act(NamedTuple):
    """What somebody does; the numbers pick among what is there at that moment."""

    at: float
    what: str
    a: int
    b: int
    c: int

    def __str__(self) -> str:
        return f"{self.what} {self.a} {self.b} {self.c}"


@dataclass(frozen=True)
class Plan:
    """A round."""

    seed: int
    number: int
    faults: tuple[Fault, ...]
    acts: tuple[Act, ...]

    def happenings(self) -> list[Fault | Act]:
        """All of it, in the order of time."""
        return sorted([*self.faults, *self.acts], key=lambda each: each.at)


@dataclass(frozen=True)
class _Habit:
    """How often something is hit, in seconds between the end of one fault and the next, and by what."""

    gap: float
    kinds: dict[str, int]


_HABITS: dict[str, _Habit] = {
    **dict.fromkeys(OPERATORS, _Habit(1.2, {STOP: 6, KILL: 4})),
    API_SERVER: _Habit(1.5, {STOP: 17, KILL: 1}),
    ETCD: _Habit(1.2, {STOP: 7, KILL: 3}),
    PLATFORM: _Habit(1.0, {STOP: 6, KILL: 4}),
    **dict.fromkeys(CERTIFICATES, _Habit(6.0, {EXPIRE: 1})),
    **dict.fromkeys(CABLES, _Habit(0.5, {RESET: 5, REFUSE: 2, SWALLOW: 2, HOLD: 2})),
}

_ACTS = {
    "declare": 9,
    "edit": 8,
    "delete": 5,
    "drift": 4,
    "remove": 2,
    "set_policy": 3,
    "suspend": 1,
    "approve": 3,
    "look": 1,
    "forge": 1,
    "behave": 3,
    "flood": 1,
}

_Name = TypeVar("_Name", bound=str)


def planned(seed: int, number: int, span: float = SPAN) -> Plan:
    """A round of a seed. Some rounds are hard on few, some easy on all: so much goes on between faults, too."""
    rng = Random(f"round {seed} {number}")
    targets = [each for each in (*PROCESSES, *CABLES, *CERTIFICATES) if rng.random() < 0.65] or [rng.choice(OPERATORS)]
    pace = rng.choice((0.25, 0.4, 0.6, 1.5))
    faults = [fault for target in targets for fault in _faults(rng, target, pace, span)]
    return Plan(seed, number, tuple(sorted(faults)), tuple(_acts(rng, span)))


def kinds(faults: Iterable[Fault]) -> Counter[str]:
    """How many there are of each kind, as `kill etcd`; the cables are told together, and the certificates."""
    return Counter(f"{fault.kind} {_plain(fault.target)}" for fault in faults)


def pick(options: Sequence[_Name], number: int) -> _Name:
    """One of them."""
    return options[number % len(options)]


def _faults(rng: Random, target: str, pace: float, span: float) -> Iterator[Fault]:
    """One after the other: what is gone cannot be taken again."""
    habit = _HABITS[target]
    at = rng.expovariate(1 / (habit.gap * pace))
    while at < span:
        kind = _one_of(rng, habit.kinds)
        seconds = 0.0 if kind == RESET else rng.uniform(0.05, LONGEST)
        if target in OPERATORS and kind == STOP and rng.random() < 0.1:
            seconds = rng.uniform(*BEYOND_THE_LEASE)
        if kind == EXPIRE:
            seconds = rng.uniform(*EXPIRED)
        yield Fault(round(at, 3), target, kind, round(seconds, 3))
        at += seconds + 0.1 + rng.expovariate(1 / (habit.gap * pace))


def _acts(rng: Random, span: float) -> Iterator[Act]:
    at = 0.0
    while at < span:
        yield Act(round(at, 3), _one_of(rng, _ACTS), rng.randrange(1000), rng.randrange(1000), rng.randrange(1000))
        at += rng.expovariate(4.0)


def _one_of(rng: Random, weights: dict[str, int]) -> str:
    return rng.choices(list(weights), list(weights.values()))[0]


def _plain(target: str) -> str:
    for plain, targets in (("operator", OPERATORS), ("cable", CABLES), ("certificate", CERTIFICATES)):
        if target in targets:
            return plain
    return target
