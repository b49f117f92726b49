"""What seeds have found, told as scenes: each was a fault of the operator, and has a name now.

A scene sets the stage by hand, in the same world and before the same judge; how it ends is told by the judge, too.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine

import pytest

from chaos.clocks import now, virtual_clocks
from chaos.ending import come_to_rest
from chaos.history import Life
from chaos.kubernetes import WORKLOADS, Body, Change, Name
from chaos.network import Loop
from chaos.world import SETTINGS, World, a_world
from inferencekey_operator.workload import FINALIZER
from inferencekey_simulator.faults import Fault

Scene = Callable[[World], Coroutine[None, None, None]]


def played(scene: Scene, seed: int = 1) -> World:
    """The world after the scene, come to rest; fails with what the judge found."""

    async def play() -> World:
        async with a_world(random.Random(seed)) as world:
            await asyncio.sleep(2.0)
            await scene(world)
            if not world.oracle.broken:
                await come_to_rest(world)
        assert not world.oracle.broken, "\n".join([*world.trace, *world.oracle.broken])
        return world

    random.seed(seed)
    with virtual_clocks(), asyncio.Runner(loop_factory=lambda: Loop(random.Random(seed))) as runner:
        return runner.run(play())


def declare(world: World, namespace: str = "team-a", metadata: Body | None = None, **spec: object) -> Life:
    """A Workload named alpha."""
    body = {"metadata": metadata or {}, "spec": {"model": "llama-3", "backend": "vllm", **spec}}
    made = world.objects.create(Name(WORKLOADS, namespace, "alpha"), body)
    return world.history.lives[made["metadata"]["uid"]]


def fault(world: World, action: str, operation: str, **how: object) -> None:
    """One call of a kind goes wrong."""
    world.platform.faults.add(Fault.model_validate({"action": action, "operation": operation, **how}))


def slugs(world: World) -> list[str]:
    """What is on the platform."""
    return [row.slug for row in world.platform.rows()]


def test_a_deletion_that_a_proxy_answers_is_not_confirmed() -> None:
    """200 and a page of HTML: the finalizer stays until the platform itself confirms."""

    async def scene(world: World) -> None:
        workload = declare(world)
        await asyncio.sleep(20.0)
        fault(
            world, "respond", "delete", status=200, body="<html>a proxy</html>", headers={"Content-Type": "text/html"}
        )
        world.objects.delete(world.name(workload))
        await asyncio.sleep(20.0)

    assert slugs(played(scene)) == []


@pytest.mark.parametrize("how", ["cut_after", "wrong_content_type"])
def test_what_was_made_again_is_ours_though_the_answer_was_lost(how: str) -> None:
    """A workload that vanished is made again; it is not taken for found, and goes with its Workload."""

    async def scene(world: World) -> None:
        workload = declare(world)
        await asyncio.sleep(20.0)
        world.platform.remove(world.platform.row("prod", "alpha"))
        fault(world, how, "create")
        await asyncio.sleep(60.0)
        status = workload.body["status"]
        assert (status["workloadId"], status["adopted"]) == (world.platform.row("prod", "alpha").id, False)
        world.objects.delete(world.name(workload))

    assert slugs(played(scene)) == []


def test_a_deletion_waits_for_what_is_being_made_again() -> None:
    """The POST that makes it again is carried out after the Workload was deleted, and leaks nothing."""

    async def scene(world: World) -> None:
        workload = declare(world)
        await asyncio.sleep(20.0)
        fault(world, "delay", "create", seconds=18.0)
        world.platform.remove(world.platform.row("prod", "alpha"))
        while not any(entry.fault for entry in world.platform.journal.since(0)):
            assert now() < 120.0
            await asyncio.sleep(0.1)
        world.objects.delete(world.name(workload))

    world = played(scene)
    assert (slugs(world), len(world.oracle.births)) == ([], 2)


def test_a_deletion_believes_no_list_whose_row_cannot_be_read() -> None:
    """A row with our slug and no id is no absence: nothing is let go while the platform cannot say what it has."""

    async def scene(world: World) -> None:
        workload = declare(world)
        await asyncio.sleep(20.0)
        fault(world, "respond", "list", status=200, body=[{"slug": "alpha"}], times=6)
        world.objects.delete(world.name(workload))
        await asyncio.sleep(60.0)

    assert slugs(played(scene)) == []


def test_a_creation_that_was_given_up_may_still_be_carried_out() -> None:
    """Long after the client's timeout: no second one is sent meanwhile."""

    async def scene(world: World) -> None:
        fault(world, "delay", "create", seconds=30.0)
        declare(world)
        await asyncio.sleep(120.0)

    world = played(scene)
    assert (slugs(world), len(world.oracle.births)) == (["alpha"], 1)


@pytest.mark.parametrize("seed", [0, 1, 6])
def test_two_credentials_make_one_workload_for_a_slug(seed: int) -> None:
    """Two namespaces declare one identity at once, each with a token of its own: no twin, not even briefly."""

    async def scene(world: World) -> None:
        declare(world, "team-a")
        declare(world, "team-b")
        await asyncio.sleep(20.0)

    world = played(scene, seed)
    assert [birth.wanted for birth in world.oracle.births.values()] == ["alpha"]


def test_a_twin_goes_though_its_first_deletion_fails() -> None:
    """Somebody takes the slug in the last moment: what we made beside it is deleted, however often that is tried."""

    async def scene(world: World) -> None:
        def take(change: Change) -> None:
            if FINALIZER in (change.body["metadata"].get("finalizers") or ()) and not slugs(world):
                world.platform.add(
                    "prod", {"slug": "alpha", "name": "theirs", "model_name": "llama-3", "backend": "vllm"}
                )

        world.objects.watchers.append(take)
        fault(world, "respond", "delete", status=500, times=2)
        declare(world)
        await asyncio.sleep(20.0)

    world = played(scene)
    assert (slugs(world), len(world.oracle.births)) == (["alpha"], 1)


def test_what_is_held_for_adoption_is_told_once() -> None:
    """A backup with our finalizer comes back beside a row that is older: no Event per look says that we made it."""

    async def scene(world: World) -> None:
        world.platform.add("prod", {"slug": "alpha", "name": "alpha", "model_name": "llama-3", "backend": "vllm"})
        await asyncio.sleep(120.0)
        declare(world, metadata={"finalizers": [FINALIZER]}, adoptionPolicy="Never")
        await asyncio.sleep(20.0)

    world = played(scene)
    assert not [line for line in world.trace if "the answer was lost" in line]


def test_one_refusal_of_a_token_does_not_decide_a_deletion() -> None:
    """401 once: the token is tried again within the grace time, and nothing is orphaned."""

    async def scene(world: World) -> None:
        workload = declare(world)
        await asyncio.sleep(20.0)
        fault(world, "respond", "delete", status=401)
        world.objects.delete(world.name(workload))
        await asyncio.sleep(2 * SETTINGS.deletion_grace)

    world = played(scene)
    assert slugs(world) == []
    assert not [line for line in world.trace if "Orphaned" in line]
