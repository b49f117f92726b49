"""What comes in floods, and what is echoed: each has a scene, in which what it costs is counted."""

from __future__ import annotations

import asyncio
import json

import pytest

from chaos.scenes import declare, fault, played, ready, until
from chaos.world import World
from hostile.echoed import ENCODINGS, reads
from inferencekey_operator.workload import ON_DRIFT

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
