"""Scenes: a stage that is set by hand in the world of the chaos runs, before the same judge.

Decides how a scene is played and what its actors are called; what happens in one is told by the tests.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Iterator

from chaos.clocks import now, virtual_clocks
from chaos.ending import come_to_rest
from chaos.history import Life
from chaos.kubernetes import WORKLOADS, Body, Name
from chaos.network import Loop
from chaos.world import World, a_world
from inferencekey_simulator.faults import Fault
from inferencekey_simulator.inventory import Row

Scene = Callable[[World], Coroutine[None, None, None]]

PROJECT = "prod"
SLUG = "alpha"
THEIRS = {"slug": SLUG, "name": "theirs", "model_name": "their-model", "backend": "vllm"}


def played(scene: Scene, seed: int = 1, shards: int = 1) -> World:
    """The world after the scene, come to rest; fails with what the judge found."""

    async def play() -> World:
        async with a_world(random.Random(seed), shards) as world:
            await asyncio.sleep(2.0)
            await scene(world)
            if not world.oracle.broken:
                await come_to_rest(world)
        assert not world.oracle.broken, "\n".join([*world.trace, *world.oracle.broken])
        return world

    random.seed(seed)
    with virtual_clocks(), asyncio.Runner(loop_factory=lambda: Loop(random.Random(seed))) as runner:
        return runner.run(play())


def declare(
    world: World, namespace: str = "team-a", metadata: Body | None = None, name: str = SLUG, **spec: object
) -> Life:
    """A Workload, named alpha unless told otherwise."""
    body = {"metadata": metadata or {}, "spec": {"model": "llama-3", "backend": "vllm", **spec}}
    made = world.objects.create(Name(WORKLOADS, namespace, name), body)
    return world.history.lives[made["metadata"]["uid"]]


def fault(world: World, action: str, operation: str, **how: object) -> None:
    """One call of a kind goes wrong."""
    world.platform.faults.add(Fault.model_validate({"action": action, "operation": operation, **how}))


def slugs(world: World) -> list[str]:
    """What is on the platform."""
    return [row.slug for row in world.platform.rows()]


def theirs(world: World, **fields: object) -> Row:
    """Somebody makes a workload in the dashboard, of the scene's slug."""
    return world.platform.add(PROJECT, {**THEIRS, **fields})


def posts(world: World) -> int:
    """How many creations were carried out."""
    return sum(birth.by_operator for birth in world.oracle.births.values())


def patches(world: World) -> int:
    """How many updates were carried out."""
    return sum(write.startswith("PATCH") for write in world.oracle.platform_writes)


def ready(life: Life) -> str | None:
    """The reason of its Ready condition."""
    conditions = life.body["status"].get("conditions", [])
    return next((each["reason"] for each in conditions if each["type"] == "Ready"), None)


def message(life: Life) -> str:
    """The message of its Ready condition."""
    return str(next(each["message"] for each in life.body["status"]["conditions"] if each["type"] == "Ready"))


def notes(world: World, reason: str) -> list[str]:
    """What Events with this reason say."""
    return [event["note"] for event in world.objects.items("events") if event["reason"] == reason]


def reasons_shown(life: Life) -> Iterator[str]:
    """The reasons of Ready that it ever had, one after the other."""
    last = None
    for _, body in life.versions:
        conditions = body["status"].get("conditions", [])
        reason = next((each["reason"] for each in conditions if each["type"] == "Ready"), None)
        if reason is not None and reason != last:
            yield reason
        last = reason


async def until(world: World, holds: Callable[[], object], within: float = 120.0) -> None:
    """Wait, in virtual time, until it holds."""
    deadline = now() + within
    while not holds():
        assert now() < deadline, "\n".join(world.trace[-60:])
        await asyncio.sleep(0.1)


async def asked(world: World, operation: str) -> None:
    """Wait until a call of this kind is under way and was not answered yet."""
    await until(
        world,
        lambda: [e for e in world.platform.journal.since(0) if e.call.operation == operation and e.seconds is None],
    )


def kill(world: World) -> None:
    """SIGKILL for every operator; another one starts some seconds later."""
    for life in world.running():
        life.process.kill()
    world.crashes += 1
