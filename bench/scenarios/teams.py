"""Many projects at once, of which some have a slow platform or a bad token: what the others notice of it.

Each Workload's latency is measured twice: in a world where all is well, and beside those in trouble.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from bench.contestant import Contestant
from bench.fleet import LEAST_SECONDS, SECONDS_EACH
from bench.numbers import Quantiles, Teams
from bench.options import Options
from bench.stage import Stage
from bench.writer import Key
from harness.api import Json
from harness.team import Team

_REVOKED = "ik_sdk_{number:08x}_" + 64 * "0"


@dataclass(frozen=True)
class _World:
    well: list[Team]
    slow: list[Team]
    bad: list[Team]
    each: int

    def of(self, teams: list[Team]) -> list[Key]:
        """In turns, so that no team is served before the others by our doing."""
        return [(team.name, f"bot-{number:05}") for number in range(self.each) for team in teams]

    @property
    def all(self) -> list[Team]:
        return [*self.slow, *self.bad, *self.well]


def teams(stage: Stage, contestant: Contestant, options: Options, size: int, number: int) -> Teams:
    """Both worlds, one after the other; nothing of the first is left in the second."""
    projects, troubled = options.projects(size), options.in_trouble(size)
    each = max(1, size // projects)
    found = []
    for trouble in (False, True):
        names = [f"bench-{'bad' if trouble else 'good'}-world-{number}-{team}" for team in range(projects)]
        made = [stage.team(name) for name in names]
        world = _World(made[2 * troubled :], made[:troubled], made[troubled : 2 * troubled], each)
        if trouble:
            _make_trouble(stage, world, options.slow)
        contestant.start()
        found.append(_latency(stage, contestant, world))
        if trouble:
            _end_trouble(stage)
        contestant.stop()
        stage.clear(size, tidy=options.tidy)
    return Teams(size, number, projects, each, troubled, troubled, found[0], found[1])


def _make_trouble(stage: Stage, world: _World, slow: float) -> None:
    stage.admin.settings(project_latency={team.name: slow for team in world.slow})
    for number, team in enumerate(world.bad):
        team.secret(INFERENCEKEY_SDK_TOKEN=_REVOKED.format(number=number))


def _end_trouble(stage: Stage) -> None:
    """What is under way is answered, so that whoever waits for it can stop."""
    stage.admin.settings(project_latency={})
    last = stage.admin.last()

    def open_calls() -> int:
        return sum(call["seconds"] is None for call in stage.admin.requests() if call["seq"] <= last and _ends(call))

    stage.until("calls under way", open_calls, lambda seen: seen == 0, within=LEAST_SECONDS, poll=0.5)


def _ends(call: Json) -> bool:
    """A readiness stream does so in its own time."""
    return bool(call["operation"] != "readiness")


def _latency(stage: Stage, contestant: Contestant, world: _World) -> Quantiles:
    """From request to status, of those that are well."""
    sent = asyncio.run(stage.writer.create(world.of(world.all)))
    keys = world.of(world.well)

    def answered() -> int:
        contestant.check()
        return stage.sights.answered(keys)

    bound = LEAST_SECONDS + SECONDS_EACH * len(sent)
    stage.until(f"statuses written, of {len(keys)}", answered, lambda seen: seen == len(keys), within=bound)
    moments = stage.sights.moments(keys)
    return Quantiles.of([moments[key] - sent[key] for key in keys])
