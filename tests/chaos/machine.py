"""One run: a seed and a list of steps in, what went wrong out.

The same seed and steps give the same run, as long as Python orders its sets alike (PYTHONHASHSEED, which
`make chaos` fixes): jitter, latency and the network's order all come from the seed.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from chaos.clocks import now, virtual_clocks
from chaos.ending import come_to_rest
from chaos.network import HotLoopError, Loop
from chaos.rules import Step, apply, steps
from chaos.world import World, a_world

COUNT = 120
"""Steps of a run."""


@dataclass
class Outcome:
    """What a run came to."""

    seed: int
    steps: list[Step]
    broken: list[str]
    shards: int = 1
    faults: int = 0
    crashes: int = 0
    writes: int = 0
    """To the platform."""
    seconds: float = 0.0
    """Of virtual time."""
    trace: list[str] = field(default_factory=list, repr=False)

    @property
    def kinds(self) -> set[str]:
        """The words of the invariants that were broken."""
        return {each.split(" s: ", 1)[1].split(":")[0] for each in self.broken}


def planned(seed: int, count: int = COUNT) -> list[Step]:
    """The steps of a seed."""
    return steps(random.Random(f"steps {seed}"), count)


def run(seed: int, plan: Sequence[Step] | None = None, shards: int = 1) -> Outcome:
    """Let a plan, the seed's own by default, happen to a world, in which replicas share so many shards."""
    chosen = list(planned(seed) if plan is None else plan)
    outcome = Outcome(seed, chosen, [], shards)
    random.seed(f"jitter {seed}")
    with virtual_clocks(), asyncio.Runner(loop_factory=lambda: Loop(random.Random(f"network {seed}"))) as runner:
        runner.run(_run(outcome))
    return outcome


async def _run(outcome: Outcome) -> None:
    async with a_world(random.Random(f"world {outcome.seed}"), outcome.shards) as world:
        try:
            await _happen(world, outcome.steps)
        except HotLoopError as error:
            world.oracle.wrong(f"hot-loop: {error}")
        outcome.trace = world.trace
        outcome.broken = world.oracle.broken
        outcome.faults, outcome.crashes = world.faults, world.crashes
        outcome.writes, outcome.seconds = world.platform.writes, now()


async def _happen(world: World, plan: Sequence[Step]) -> None:
    await asyncio.sleep(2.0)
    for step in plan:
        world.tell(f"step: {step}")
        apply(world, step)
        await asyncio.sleep(step.pause)
        if world.oracle.broken:
            return
    await come_to_rest(world)
