"""Ready is True only by what the platform answered after the last write: each way in which it was not has a scene."""

from __future__ import annotations

import asyncio

import pytest

from chaos.apiserver import Trouble
from chaos.history import Life
from chaos.kubernetes import WORKLOADS, Body, Name
from chaos.scenes import declare, fault, kill, message, notes, patches, played, posts, ready, until
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


# -- the endpoint's ConfigMap ----------------------------------------------------------------------------------

ENDPOINT = Name("configmaps", "team-a", "alpha-endpoint")
ELSEWHERE = {"OPENAI_BASE_URL": "http://elsewhere.example/v1"}


def published(world: World) -> Body:
    """The endpoint's ConfigMap; empty where there is none."""
    return world.objects.get(ENDPOINT) or {}


def stands(world: World, life: Life) -> bool:
    """Whether it is the Workload's own, and says where that is reached."""
    found = published(world)
    owners = [each["uid"] for each in found["metadata"].get("ownerReferences", ())] if found else []
    return owners == [life.uid] and found["data"]["OPENAI_BASE_URL"].endswith("/endpoint/prod/alpha/v1")


def refuse_config_maps(world: World, times: int, status: int = 403) -> None:
    """An admission policy or a quota, for so many writes."""
    world.api.troubles.append(Trouble("status", "configmaps", writes=True, status=status, times=times))


@pytest.mark.parametrize("when", ["it is made", "it is restored"])
def test_a_refused_endpoint_is_not_ready(when: str) -> None:
    """Serving without an endpoint is of no use: the refusal is in the message, told once, and tried again seldom."""

    async def scene(world: World) -> None:
        if when == "it is restored":
            workload = await serving(world)
            refuse_config_maps(world, 5)
            world.objects.delete(ENDPOINT)
        else:
            refuse_config_maps(world, 5)
            workload = declare(world)
        await until(world, lambda: ready(workload) == "ConfigMapRefused")
        assert "the API server is in trouble" in message(workload)
        await until(world, lambda: ready(workload) == "Ready", within=300.0)
        assert stands(world, workload)
        assert len(notes(world, "ConfigMapRefused")) == 1

    played(scene)


def test_an_endpoint_that_could_not_be_written_is_not_ready() -> None:
    """Of passing trouble nothing is told, but Ready waits for the ConfigMap, too."""

    async def scene(world: World) -> None:
        refuse_config_maps(world, 9, status=500)
        workload = declare(world)
        await until(world, lambda: workload.body["status"].get("readiness") == {"phase": "ready", "message": "Serving"})
        assert (ready(workload), published(world)) == ("Progressing", {})
        await until(world, lambda: ready(workload) == "Ready", within=900.0)
        assert stands(world, workload)
        assert notes(world, "ConfigMapRefused") == []

    played(scene)


@pytest.mark.parametrize("how", ["forged by hand", "stale after an edit"])
def test_an_immutable_endpoint_is_made_anew(how: str) -> None:
    """It cannot be set right, and applications send their keys where it says."""

    async def scene(world: World) -> None:
        workload = await serving(world)
        changes = {"immutable": True} if how == "stale after an edit" else {"immutable": True, "data": ELSEWHERE}
        former = published(world)["metadata"]["uid"]
        world.objects.patch(ENDPOINT, changes)
        if how == "stale after an edit":
            world.patch(workload, {"spec": {"model": "qwen-3"}})
        await until(world, lambda: published(world) and published(world)["metadata"]["uid"] != former)
        assert stands(world, workload)
        assert "immutable" not in published(world)
        await until(world, lambda: ready(workload) == "Ready" and published(world)["data"]["OPENAI_MODEL"] != "edited")

    played(scene)


def test_an_immutable_endpoint_that_somebody_holds_is_not_ready() -> None:
    """A finalizer keeps what is forged: the Workload says so, and the endpoint is right once it is gone."""

    async def scene(world: World) -> None:
        workload = await serving(world)
        world.objects.patch(
            ENDPOINT, {"immutable": True, "data": ELSEWHERE, "metadata": {"finalizers": ["example.com/hold"]}}
        )
        await until(world, lambda: ready(workload) == "ConfigMapRefused")
        assert "finalizer" in message(workload)
        await asyncio.sleep(120.0)
        assert ready(workload) == "ConfigMapRefused"
        world.objects.patch(ENDPOINT, {"metadata": {"finalizers": None}})
        await until(world, lambda: ready(workload) == "Ready" and stands(world, workload), within=300.0)

    played(scene)


@pytest.mark.parametrize("immutable", [False, True])
@pytest.mark.parametrize("how", ["the Workload is applied again", "hands free it"])
def test_an_orphaned_endpoint_is_taken_back(how: str, immutable: bool) -> None:
    """It carries our label, nobody owns it, and it names this very workload: no conflict that a person must end."""

    async def scene(world: World) -> None:
        workload = await serving(world)
        if how == "the Workload is applied again":
            world.objects.delete(world.name(workload))
            world.objects.patch(ENDPOINT, {"immutable": immutable or None, "metadata": {"ownerReferences": None}})
            await until(world, lambda: workload.gone_at is not None)
            workload = declare(world)
        else:
            stale = {"immutable": immutable or None, "data": ELSEWHERE}
            world.objects.patch(ENDPOINT, {**stale, "metadata": {"ownerReferences": None}})
        await until(world, lambda: ready(workload) == "Ready" and stands(world, workload))
        assert notes(world, "ConfigMapConflict") == []

    played(scene)


def test_somebody_elses_config_map_is_never_taken() -> None:
    """Our label alone names nobody: another Workload's data, or another owner, stays what it is."""

    async def scene(world: World) -> None:
        labels = {"app.kubernetes.io/managed-by": "inferencekey-operator"}
        data = {"INFERENCEKEY_PROJECT": "prod", "INFERENCEKEY_WORKLOAD": "beta"}
        theirs = world.objects.create(ENDPOINT, {"metadata": {"labels": labels}, "data": data})
        workload = declare(world)
        await until(world, lambda: ready(workload) == "ConfigMapConflict")
        assert published(world) == theirs
        world.objects.delete(ENDPOINT)
        await until(world, lambda: ready(workload) == "Ready", within=300.0)

    played(scene)
