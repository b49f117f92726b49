"""Ready is True only by what the platform answered after the last write: each way in which it was not has a scene."""

from __future__ import annotations

import asyncio

import pytest

from chaos.apiserver import Trouble
from chaos.history import Life
from chaos.kubernetes import WORKLOADS
from chaos.scenes import declare, fault, kill, patches, played, posts, ready, until
from chaos.world import World


def ready_of(life: Life, generation: int) -> list[str]:
    """What Ready ever was in a status that is about this generation, one after the other."""
    seen = []
    for _, body in life.versions:
        if body["status"].get("observedGeneration") == generation:
            seen += [each["status"] for each in body["status"]["conditions"] if each["type"] == "Ready"]
    return [state for number, state in enumerate(seen) if seen[number - 1 : number] != [state]]


async def serving(world: World) -> Life:
    """A Workload that serves, long enough for what was written to be settled."""
    workload = declare(world)
    await until(world, lambda: ready(workload) == "Ready")
    await asyncio.sleep(60.0)
    return workload


def test_an_update_that_restarts_it_is_not_ready_before_it_serves() -> None:
    """The readiness of the old model says nothing of the new one."""

    async def scene(world: World) -> None:
        workload = await serving(world)
        world.patch(workload, {"spec": {"model": "qwen-3"}})
        await until(world, lambda: ready(workload) == "Progressing")
        await until(world, lambda: ready(workload) == "Ready")
        assert ready_of(workload, 2) == ["False", "True"]

    played(scene)


def test_a_repair_that_restarts_it_is_not_ready_before_it_serves() -> None:
    """The generation is the same; a condition that says Ready would be about what served before the repair."""

    async def scene(world: World) -> None:
        workload = await serving(world)
        world.platform.edit(world.platform.row("prod", "alpha"), {"model_name": "theirs"})
        await until(world, lambda: patches(world) == 1 and ready(workload) == "Progressing")
        await until(world, lambda: ready(workload) == "Ready")
        assert ready_of(workload, 1) == ["False", "True", "False", "True"]

    played(scene)


@pytest.mark.parametrize("what", ["an edit", "a repair"])
@pytest.mark.parametrize("how", ["the answer is lost", "the operator is killed", "the status is refused"])
def test_what_is_known_of_a_write_outlives_everything(what: str, how: str) -> None:
    """The write was carried out, and nothing says so: Ready is False until the platform said that it serves."""

    async def scene(world: World) -> None:
        workload = await serving(world)
        if how == "the answer is lost":
            fault(world, "cut_after", "update")
        else:
            fault(world, "delay_after", "update", seconds=1.0)
        if what == "an edit":
            world.patch(workload, {"spec": {"model": "qwen-3"}})
        else:
            world.platform.edit(world.platform.row("prod", "alpha"), {"model_name": "theirs"})
        await until(world, lambda: patches(world) == 1)
        if how == "the operator is killed":
            kill(world)
        elif how == "the status is refused":
            world.api.troubles.append(Trouble("status", WORKLOADS, writes=True, status=503, times=3))
        generation, times = (2, 1) if what == "an edit" else (1, 2)
        await until(world, lambda: ready_of(workload, generation) == ["False", "True"] * times, within=300.0)
        assert patches(world) == 1

    played(scene)


def test_what_is_made_again_is_not_ready_before_it_serves() -> None:
    """It vanished, and the answer to the second creation is lost: the readiness of the first one counts no more."""

    async def scene(world: World) -> None:
        workload = await serving(world)
        world.platform.remove(world.platform.row("prod", "alpha"))
        fault(world, "cut_after", "create")
        await until(world, lambda: posts(world) == 2 and ready(workload) == "Ready", within=300.0)
        assert ready_of(workload, 1) == ["False", "True"] * 2

    played(scene)


def test_a_stream_that_is_open_tells_nothing_of_a_later_write() -> None:
    """It was followed when the edit came: its last word was said of the old model."""

    async def scene(world: World) -> None:
        workload = declare(world)
        await until(world, lambda: ready(workload) == "Progressing" and "workloadId" in workload.body["status"])
        fault(world, "delay", "update", seconds=5.0)
        world.patch(workload, {"spec": {"model": "qwen-3"}})
        await until(world, lambda: patches(world) == 1 and ready(workload) == "Ready", within=300.0)
        assert ready_of(workload, 2) == ["False", "True"]

    played(scene)


def test_an_edit_that_sends_nothing_stays_ready() -> None:
    """What concerns Kubernetes alone restarts nothing: Ready moves to the new generation at once."""

    async def scene(world: World) -> None:
        workload = await serving(world)
        world.patch(workload, {"spec": {"deletionPolicy": "Orphan"}})
        await until(world, lambda: workload.body["status"]["observedGeneration"] == 2)
        assert ready_of(workload, 2) == ["True"]

    played(scene)


def test_a_restart_of_the_operator_makes_nothing_unready() -> None:
    """Nothing was written meanwhile, so nothing is written, and nothing is asked before its time."""

    async def scene(world: World) -> None:
        workload = await serving(world)
        before = len(workload.versions)
        kill(world)
        await asyncio.sleep(60.0)
        assert len(workload.versions) == before

    played(scene)
