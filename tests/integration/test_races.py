"""SIGKILL at random moments, while Workloads are created, changed and deleted: nothing twice, nothing left behind.

The platform takes a moment for each call, so that many a kill falls between a call and its answer, or between an
answer and the status. The seed is in the name of the test; the moments are random all the same.
"""

from __future__ import annotations

import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from harness import operators
from harness.api import Json
from harness.crowd import Crowd
from harness.operators import Operator
from harness.simulator import behaving
from harness.team import Team
from harness.waiting import eventually
from inferencekey_simulator.admin import Admin

SEEDS = [20260302]
KILLS = 10
NAMES = [f"bot-{number}" for number in range(8)]
LATENCY = 0.1
"""Seconds that each call takes."""
LONGEST_LIFE = 1.2
"""Seconds that an operator lives at most once it leads."""


@pytest.fixture(scope="module")
def operator_options() -> tuple[str, ...]:
    """What is in doubt is soon decided."""
    return (*operators.USUAL, "--list-interval=500ms", "--client-timeout=1s", "--uncertain-create-timeout=1500ms")


@pytest.fixture(scope="module", autouse=True)
def taking_its_time(platform: Admin) -> Iterator[None]:
    """Each call takes a moment."""
    with behaving(platform, latency=LATENCY):
        yield


@dataclass
class People:
    """Who declare, edit and delete, at random; and what they want in the end."""

    team: Team
    dice: random.Random
    wanted: dict[str, str] = field(default_factory=dict)
    """The model that is declared, by name."""

    def act(self) -> None:
        """One thing that somebody does."""
        name = self.dice.choice(NAMES)
        if name not in self.wanted:
            self._create(name)
        elif self.dice.random() < 0.5:
            self.wanted[name] = self._model()
            self.team.edit(name, model=self.wanted[name])
        else:
            del self.wanted[name]
            self.team.delete(name)

    def _create(self, name: str) -> None:
        if self.team.find(name) is not None:
            return  # the last one of this name is still on its way out
        self.wanted[name] = self._model()
        self.team.declare(name, model=self.wanted[name])

    def _model(self) -> str:
        return f"model-{self.dice.randrange(1000)}"


@pytest.mark.parametrize("seed", SEEDS)
def test_killed_at_random_moments(crowd: Crowd, operator: Operator, seed: int) -> None:
    """However often it is killed: one workload for each Workload, as it is declared, and none for those that went."""
    dice = random.Random(seed)
    people = [People(crowd.team(), dice) for _ in range(2)]
    for _ in range(KILLS):
        _live(operator, people, dice)
        operator.kill()
        operator.forget_lease()
        for team in people:
            team.act()
        operator.start()
    for each in people:
        _expect_convergence(crowd, each)
        _expect_nothing_twice(each.team)


def _live(operator: Operator, people: list[People], dice: random.Random) -> None:
    """People act until the moment has come at which this operator ends."""
    assert operator.running
    end = time.monotonic() + dice.uniform(0.0, LONGEST_LIFE)
    while time.monotonic() < end:
        dice.choice(people).act()
        time.sleep(dice.uniform(0.0, 0.2))


def _expect_convergence(crowd: Crowd, people: People) -> None:
    team = people.team

    def seen() -> tuple[dict[str, str], Counter[tuple[str, str]]]:
        verdicts = {name: verdict for (_, name), verdict in crowd.verdicts(team).items()}
        rows = Counter((row["slug"], row["fields"]["model_name"]) for row in team.platform.workloads(team.name))
        return verdicts, rows

    wanted = dict.fromkeys(people.wanted, "True Ready"), Counter(people.wanted.items())
    eventually(seen, wanted.__eq__, within=120, poll=0.3)
    ids = {row["slug"]: row["id"] for row in team.platform.workloads(team.name)}
    assert {item["metadata"]["name"]: item["status"]["workloadId"] for item in _all(team)} == ids
    assert [item["metadata"]["name"] for item in _all(team) if item["status"]["adopted"]] == []


def _all(team: Team) -> list[Json]:
    return team.api.workloads(team.name)


def _expect_nothing_twice(team: Team) -> None:
    """At no time there were two for one slug; and every deletion was of one that somebody had deleted."""
    alive: defaultdict[str, int] = defaultdict(int)
    done = [call for call in team.calls("create", "delete") if call["status"] in (201, 204)]
    for call in sorted(done, key=lambda call: call["monotonic"] + call["seconds"]):
        alive[call["slug"]] += 1 if call["operation"] == "create" else -1
        assert alive[call["slug"]] in (0, 1), [(each["operation"], each["slug"], each["status"]) for each in done]
