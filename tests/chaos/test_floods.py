"""What comes in floods, and what is echoed: each has a scene, in which what it costs is counted."""

from __future__ import annotations

import asyncio
import json

import pytest

from chaos.history import Life
from chaos.kubernetes import Name
from chaos.scenes import declare, fault, notes, played, ready, until
from chaos.world import SETTINGS, World
from hostile.echoed import ENCODINGS, reads
from inferencekey_operator.api.workload import ON_DRIFT, RECONCILE_REQUESTED_AT
from inferencekey_operator.controller.damping import AT_ONCE, WAITS
from inferencekey_operator.inferencekey.project import FORCED

# -- echoes of the token ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["bare", "base64", "percent", "two lines", "base64 of bytes"])
def test_an_echo_of_the_token_is_nowhere_in_kubernetes_or_the_log(encoding: str) -> None:
    """An error, a row's name and a model repeat it: status, Events, ConfigMaps and log lines show nothing of it."""
    secrets: list[str] = []

    async def scene(world: World) -> None:
        token = world.good_tokens["team-a"]
        secrets.append(token.rpartition("_")[2])
        echo = ENCODINGS[encoding](token)
        workload = declare(world, metadata={"annotations": {ON_DRIFT: "Warn"}})
        await until(world, lambda: ready(workload) == "Ready")
        (row,) = world.platform.rows()
        world.platform.edit(row, {"name": f"{echo} for all", "model_name": echo})
        await until(world, lambda: "live" in json.dumps(workload.body["status"]["drift"]))
        fault(world, "respond", "update", status=422, body={"error": {"code": "no", "message": f"not for {echo}"}})
        world.annotate(workload, ON_DRIFT, "Reconcile")
        await until(world, lambda: "PlatformRefused" in json.dumps(workload.body["status"]))
        world.platform.edit(row, {"name": "alpha", "model_name": "llama-3"})
        await asyncio.sleep(30.0)

    world = played(scene)
    kinds = ("workloads", "configmaps", "events")
    kept = [body for _, body in next(iter(world.history.lives.values())).versions]
    for text in [*(json.dumps(each) for kind in kinds for each in world.objects.items(kind)), *map(json.dumps, kept)]:
        assert not reads(text, secrets[0]), text
    for line in (line for line in world.trace if "log:" in line):
        assert not reads(line, secrets[0]), line


# -- hands that never rest -------------------------------------------------------------------------------------


def writes(world: World, what: str) -> int:
    """How many writes to such a thing there were."""
    return sum(what in write for write in world.oracle.kubernetes_writes)


def follows(seconds: float) -> int:
    """How often at most something is followed that changes all the time."""
    count, at = AT_ONCE, 0.0
    for wait in WAITS:
        at += wait
        count += at <= seconds
    return count + 1


def test_a_config_map_that_is_edited_without_end_is_restored_ever_more_seldom() -> None:
    """20 edits a second for 15 seconds: a dozen restorations, one Event, and in the end it is as it should be.

    A standby sees the edits, too, and reports none.
    """
    flood = {"data": {"OPENAI_BASE_URL": "https://evil.example.com"}}
    restored: list[int] = []

    async def scene(world: World) -> None:
        workload = declare(world)
        await until(world, lambda: ready(workload) == "Ready")
        world.replicas = 2
        world.start()
        await asyncio.sleep(5.0)
        name = Name("configmaps", "team-a", "alpha-endpoint")
        before = writes(world, "configmaps")
        for number in range(300):
            world.objects.patch(name, {"data": {"OPENAI_BASE_URL": f"https://{number}.example.com"}})
            await asyncio.sleep(0.05)
        world.objects.patch(name, flood)
        restored.append(writes(world, "configmaps") - before)
        await asyncio.sleep(WAITS[-1] + 1.0)
        found = world.objects.get(name)
        assert found is not None
        assert "example.com" not in found["data"]["OPENAI_BASE_URL"]

    world = played(scene)
    assert 0 < restored[0] <= follows(15.0)
    assert len(notes(world, "Contested")) == 1
    assert "ConfigMap alpha-endpoint is changed again and again" in notes(world, "Contested")[0]


def test_a_secret_that_is_rotated_without_end_is_followed_ever_more_seldom() -> None:
    """72 bad tokens in 15 seconds, ten Workloads: a dozen statuses each; the last token, a good one, is used."""
    told: list[int] = []

    async def scene(world: World) -> None:
        workloads = [declare(world, name=f"bot-{number}") for number in range(10)]
        await until(world, lambda: all(ready(each) == "Ready" for each in workloads))
        before = writes(world, "/status")
        for number in range(72):
            world.put_secret("team-a", f"ik_sdk_{number:08x}_{number:064x}")
            await asyncio.sleep(0.2)
        told.append(writes(world, "/status") - before)
        world.give_token("team-a")
        await until(world, lambda: all(ready(each) == "Ready" for each in workloads), within=120.0)

    world = played(scene)
    assert told[0] <= 10 * 2 * follows(15.0)
    assert told[0] * 2 < 72 * 10
    assert [note for note in notes(world, "Contested") if note.startswith("Secret inferencekey is changed again")]
    assert len(notes(world, "Contested")) == 1


@pytest.mark.parametrize("where", ["Workload", "Namespace"])
def test_a_policy_that_is_flipped_without_end_is_followed_ever_more_seldom(where: str) -> None:
    """149 times in 15 seconds, while something drifts: a dozen writes, one Event, and the last policy counts."""
    written: list[int] = []

    async def scene(world: World) -> None:
        workload = declare(world, metadata={"annotations": {ON_DRIFT: "Warn"}} if where == "Workload" else None)
        name = world.name(workload) if where == "Workload" else Name("namespaces", "", "team-a")
        world.objects.patch(name, {"metadata": {"annotations": {ON_DRIFT: "Warn"}}})
        await until(world, lambda: ready(workload) == "Ready")
        (row,) = world.platform.rows()
        world.platform.edit(row, {"model_name": "another"})
        await until(world, lambda: "live" in json.dumps(workload.body["status"]["drift"]))
        await asyncio.sleep(70.0)
        before = writes(world, "workloads")
        for number in range(149):
            world.objects.patch(name, {"metadata": {"annotations": {ON_DRIFT: ("Fail", "DryRun")[number % 2]}}})
            await asyncio.sleep(0.1)
        written.append(writes(world, "workloads") - before)
        world.objects.patch(name, {"metadata": {"annotations": {ON_DRIFT: "Warn"}}})
        await until(world, lambda: workload.body["status"]["drift"].get("policy") == "Warn", within=WAITS[-1] + 5.0)
        world.platform.edit(row, {"model_name": "llama-3"})

    world = played(scene)
    assert 0 < written[0] <= follows(15.0)
    assert len(notes(world, "Contested")) == 1


def test_requests_without_end_share_lists() -> None:
    """16 a second for 15 seconds, of three Workloads in turn: a list in five seconds, and each is answered."""
    lists: list[int] = []

    async def scene(world: World) -> None:
        workloads = [declare(world, name=f"bot-{number}") for number in range(3)]
        await until(world, lambda: all(ready(each) == "Ready" for each in workloads))
        await asyncio.sleep(70.0)
        began = world.platform.journal.last
        world.annotate(workloads[0], RECONCILE_REQUESTED_AT, "first")
        await until(world, lambda: handled(workloads[0]) == "first", within=1.0)
        for number in range(240):
            world.annotate(workloads[number % 3], RECONCILE_REQUESTED_AT, str(number))
            await asyncio.sleep(1 / 16)
        lists.append(sum(entry.call.operation == "list" for entry in world.platform.journal.since(began)))
        await until(
            world, lambda: [handled(each) for each in workloads] == ["237", "238", "239"], within=WAITS[-1] + 10.0
        )

    def handled(life: Life) -> object:
        return life.body["status"].get("lastHandledReconcileAt")

    played(scene)
    assert 3 <= lists[0] <= 2 + 17 / FORCED + 17 / SETTINGS.list_interval
