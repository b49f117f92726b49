"""N Workloads of one team in the care of one contestant: what the scenarios work on.

Knows how a fleet is named and waited for; nothing of what happens to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from bench.contestant import Contestant
from bench.meter import Meter
from bench.options import Options
from bench.stage import Stage
from bench.writer import Key
from harness.team import Team

LEAST_SECONDS = 120.0
SECONDS_EACH = 0.5
"""What is waited for, at most: a bound for what does not come at all, not a goal."""

_Seen = TypeVar("_Seen")


@dataclass(frozen=True)
class Fleet:
    """Workloads that may be there already, or not yet."""

    stage: Stage
    contestant: Contestant
    team: Team
    options: Options
    names: tuple[str, ...]

    @property
    def keys(self) -> list[Key]:
        """Namespace and name of each."""
        return [(self.team.name, name) for name in self.names]

    @property
    def size(self) -> int:
        """How many there are."""
        return len(self.names)

    @property
    def interval(self) -> float:
        """Seconds between two looks at the platform."""
        return self.options.interval

    def meter(self) -> Meter:
        """Begins to measure."""
        return Meter(self.stage, self.contestant)

    def named(self, prefix: str, count: int) -> Fleet:
        """Further Workloads of the same team."""
        return self.of(self.team, prefix, count)

    def of(self, team: Team, prefix: str, count: int) -> Fleet:
        """Workloads of another team, in the care of the same contestant."""
        names = tuple(f"{prefix}-{number:05}" for number in range(count))
        return Fleet(self.stage, self.contestant, team, self.options, names)

    def create(self, pace: float = 0.0) -> dict[Key, float]:
        """Apply all at once, or one after the other; when each was asked for."""
        return asyncio.run(self.stage.writer.create(self.keys, pace))

    def until_answered(self, generation: int = 1) -> None:
        """Until every status tells of this generation."""
        sights, keys = self.stage.sights, self.keys
        self.until("statuses written", lambda: sights.answered(keys, generation), self.size)

    def until_gone(self) -> None:
        """Until none is in Kubernetes any more."""
        sights, keys = self.stage.sights, self.keys
        self.until("Workloads left", lambda: sights.count(keys), 0)

    def until(self, text: str, look: Callable[[], int], wanted: int, poll: float = 0.05) -> None:
        """Until this number is reached: from below, or down to 0."""
        reached = (lambda seen: seen >= wanted) if wanted else (lambda seen: seen == 0)
        goal = f"{text}, of {self.size}" if wanted else text

        def checked() -> int:
            self.contestant.check()
            return look()

        bound = LEAST_SECONDS + 4 * self.interval + SECONDS_EACH * self.size
        self.stage.until(goal, checked, reached, within=bound, poll=poll)

    def settle(self) -> None:
        """Until some time has passed without a write; what never rests is given that time once."""
        audit = self.stage.audit(self.contestant.user)

        def written_lately() -> int:
            place = audit.mark()
            self.stage.pause(self.options.quiet, "settles")
            return len(audit.writes(place))

        if self.contestant.rests:
            self.until("writes a moment ago", written_lately, 0)
        else:
            written_lately()
