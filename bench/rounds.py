"""One round: each contestant in turn, on one stage, through the same scenarios in the same order.

Decides who does what in which order, and what happens when a contestant does not come to an end. Measures nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from bench.contestant import Contestant
from bench.fleet import Fleet
from bench.numbers import Round, Teams
from bench.operator import Ours
from bench.options import Options
from bench.rivals import Limit, Plain, Same
from bench.sample import Sample, take
from bench.scenarios.creation import creation
from bench.scenarios.deletion import deletion
from bench.scenarios.drift import seen, storm
from bench.scenarios.edit import edit
from bench.scenarios.newcomers import beside_busy, beside_idle
from bench.scenarios.rest import rest
from bench.scenarios.restart import restart
from bench.scenarios.teams import teams
from bench.stage import Stage
from demo.children import ChildEndedError
from harness.team import Team

WARM = 50

_LATER: tuple[tuple[str, Callable[[Fleet], object]], ...] = (
    ("rest", rest),
    ("restart", restart),
    ("beside_idle", beside_idle),
    ("drift", seen),
    ("edit", edit),
    ("storm", storm),
    ("beside_busy", beside_busy),
    ("deletion", deletion),
)


class Contest:
    """The contestants of one round with fleets of one size."""

    def __init__(self, stage: Stage, options: Options, size: int, number: int) -> None:
        self._stage, self._options, self._size, self._number = stage, options, size, number
        self._sample: Sample | None = None

    def rounds(self) -> Iterator[Round]:
        """The operator's first: the bare client writes what it has written."""
        peers = [name for name in self._options.peers if self._size <= self._options.peers_up_to or name != Plain.name]
        for name in (Ours.name, *peers):
            yield self._round(name)  # told before all is cleared away: that may fail, too
            self._stage.clear(self._size, tidy=self._options.tidy)

    def teams(self) -> Iterator[Teams]:
        """For the operator alone: plain handlers know one team."""
        if self._options.teams:
            self._stage.title = f"round {self._number}, N = {self._size}: many teams"
            contestant = Ours(self._stage, self._options.interval)
            with _ended(contestant):
                yield teams(self._stage, contestant, self._options, self._size, self._number)

    def _round(self, name: str) -> Round:
        team = self._stage.team(f"bench-{name}-{self._number}")
        contestant = self._contestant(name, team)
        fleet = Fleet(self._stage, contestant, team, self._options, ()).named("bot", self._size)
        found: dict[str, Any] = {}
        gave_up = None
        with _ended(contestant):
            contestant.start()
            try:
                self._warm_up(fleet)
                self._go_through(fleet, found)
            except (AssertionError, ChildEndedError, KeyError, httpx.HTTPError) as error:
                if self._sample is None:  # ours has created nothing to the end: there is nothing to compare with
                    raise
                gave_up = f"{self._stage.title}: {error}"[:500]
                self._stage.progress.say(f"given up: {gave_up}")
        return Round(name, self._size, self._number, gave_up=gave_up, **found)

    def _go_through(self, fleet: Fleet, found: dict[str, Any]) -> None:
        self._entitle(fleet, "creation")
        made = found["creation"] = creation(fleet)
        if isinstance(fleet.contestant, Ours):
            self._sample = take(fleet.team, fleet.names[0], fleet.size, made.span)
        for field, scenario in _LATER if fleet.contestant.reconciles else ():
            if self._sees(fleet.contestant, field):
                self._entitle(fleet, field)
                found[field] = scenario(fleet)

    def _sees(self, contestant: Contestant, field: str) -> bool:
        return isinstance(contestant, Ours) or not self._options.peers_briefly or field in ("rest", "deletion")

    def _warm_up(self, fleet: Fleet) -> None:
        """Caches, connections and compiled rules are there before anything is measured."""
        self._entitle(fleet, "warm-up")
        warm = fleet.named("warm", min(WARM, fleet.size))
        warm.create()
        warm.until_answered()
        warm.settle()
        if fleet.contestant.reconciles:
            deletion(warm)

    def _contestant(self, name: str, team: Team) -> Contestant:
        stage, interval = self._stage, self._options.interval
        if name == Ours.name:
            return Ours(stage, interval)
        if name == Plain.name:
            return Plain(stage, team, interval)
        if self._sample is None:
            raise RuntimeError("the bare client writes what the operator wrote before")
        return {Limit.name: Limit, Same.name: Same}[name](stage, self._sample)

    def _entitle(self, fleet: Fleet, scenario: str) -> None:
        self._stage.title = f"round {self._number}, N = {self._size}: {fleet.contestant.name}, {scenario}"


@contextmanager
def _ended(contestant: Contestant) -> Iterator[None]:
    """It is stopped in any case, and closed where nothing went wrong."""
    try:
        yield
    except BaseException:
        contestant.stop()
        raise
    contestant.close()
