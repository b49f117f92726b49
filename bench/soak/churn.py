"""Something always goes on: what teams and the platform do in a soak, one thing after the other.

Decides what, how often, and that nothing of it leaves a Workload in a state from which only a person could get it out.
Knows nothing of who measures.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from random import Random

from bench.stage import Stage
from harness.team import LOOK_NOW, TOKEN_KEY, Team
from inferencekey_simulator.admin import AdminError

PAUSE = 0.25
"""Seconds between two things that happen."""
OUTAGE = 2.0
"""Seconds that the platform is away, now and then."""
UNTOUCHED = 660.0
"""Seconds in which hands change the same workload once at most: an operator takes three repairs for a contest."""
_WEIGHTS = {"edit": 50, "drift": 12, "replace": 14, "look": 8, "phase": 6, "streams": 4, "rotate": 3, "outage": 2}


class Churn:
    """A thread, from `start` to `stop`."""

    def __init__(self, stage: Stage, teams: Sequence[Team], each: int, seed: int) -> None:
        self._stage, self._teams, self._rng = stage, teams, Random(f"churn {seed}")
        self._numbers = itertools.count(1)
        self.names = {team.name: deque(f"model-{next(self._numbers)}" for _ in range(each)) for team in teams}
        self.done: Counter[str] = Counter()
        """How often each thing happened."""
        self._touched: dict[tuple[str, str], float] = {}
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._go_on, name="churn", daemon=True)
        self.error: BaseException | None = None

    def populate(self) -> None:
        """All Workloads, before anything else."""
        for team in self._teams:
            for name in self.names[team.name]:
                team.declare(name)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; raises what went wrong."""
        self._enough.set()
        self._thread.join(30.0)
        self._stage.admin.clear_faults()
        if self.error is not None:
            raise self.error

    def _go_on(self) -> None:
        try:
            while not self._enough.wait(PAUSE):
                what = self._rng.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
                act: Callable[[Team], None] = getattr(self, f"_{what}")
                with suppress(AdminError):  # the row may be on its way out
                    act(self._rng.choice(self._teams))
                    self.done[what] += 1
        except BaseException as error:  # told by `stop`, in the thread that can do something about it
            self.error = error

    def _one(self, team: Team) -> str:
        return self._rng.choice(self.names[team.name])

    def _edit(self, team: Team) -> None:
        number = next(self._numbers)
        changes = {"description": f"the {number}th"}, {"model": f"llama-{number % 7}"}, {"config": {"seed": number}}
        team.edit(self._one(team), **changes[number % len(changes)])

    def _drift(self, team: Team) -> None:
        name, now = self._one(team), time.monotonic()
        if now - self._touched.get((team.name, name), float("-inf")) > UNTOUCHED:
            self._touched[team.name, name] = now
            team.platform.edit(team.name, name, model_name="by-hands")

    def _replace(self, team: Team) -> None:
        """The oldest goes, a new one comes."""
        names = self.names[team.name]
        team.delete(names.popleft())
        names.append(f"model-{next(self._numbers)}")
        team.declare(names[-1])

    def _look(self, team: Team) -> None:
        team.annotate(self._one(team), {LOOK_NOW: f"{time.time():.3f}"})

    def _phase(self, team: Team) -> None:
        """It starts anew, as after an update, and somebody looks."""
        name = self._one(team)
        team.platform.phase(team.name, name, None)
        team.annotate(name, {LOOK_NOW: f"{time.time():.3f}"})

    def _streams(self, team: Team) -> None:
        team.platform.drop_streams(team.name, cut=bool(self._rng.getrandbits(1)))

    def _rotate(self, team: Team) -> None:
        """A new token; the former one goes when nobody needs it any more."""
        former, team.token = team.token, team.platform.mint(team.name)
        team.secret(**{TOKEN_KEY: team.token})
        self._enough.wait(1.0)
        team.platform.revoke(former)

    def _outage(self, team: Team) -> None:
        action = self._rng.choice(("respond", "cut_before", "cut_after"))
        number = team.platform.fault(action, times=None)
        self._enough.wait(OUTAGE)
        team.platform.clear_faults(number)
