"""What the controller remembers between two looks: nothing of a Workload or a token that is gone."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Mapping
from types import SimpleNamespace
from typing import Any, cast
from weakref import ref

from inferencekey_operator.controller import Controller
from inferencekey_operator.errors import PlatformFailure, Reason
from inferencekey_operator.inferencekey.roster import Pace, Roster
from inferencekey_operator.store import Store
from inferencekey_operator.workload import Workload
from inferencekey_operator.world import World
from unit.builders import PLATFORM, TOKEN, a_workload
from unit.scripted_platform import ScriptedPlatform
from unit.virtual_time import virtual

DOWN = PlatformFailure(Reason.PLATFORM_UNREACHABLE, "The platform does not answer.", status=503)


def controller_of(**parts: Any) -> Controller:
    """A controller in a world that has these parts, and no others."""
    controller = Controller()
    controller._world = cast(World, SimpleNamespace(store=Store(), **parts))
    return controller


async def bodies(*workloads: Workload) -> AsyncIterator[Mapping[str, Any]]:
    """In the API's JSON form, as far as it is read of what is known."""
    for each in workloads:
        yield {
            "metadata": {
                "namespace": each.namespace,
                "name": each.name,
                "uid": each.uid,
                "resourceVersion": each.resource_version,
            }
        }


@virtual
async def test_who_is_missed_by_a_list_went() -> None:
    """If the list is of its namespace, and of its time: what came while it was made is in no list yet."""
    ignored = SimpleNamespace(forget=lambda _: None, leave=lambda _: None, release=lambda _: None)
    controller = controller_of(serving=ignored, rosters=ignored, claims=ignored)
    stays, goes = a_workload(name="stays", uid="u-1"), a_workload(name="goes", uid="u-2")
    elsewhere, late = a_workload(name="e", uid="u-3", namespace="elsewhere"), a_workload(name="late", uid="u-4")
    store = controller.world.store
    store._workloads = {each.key: each for each in (stays, goes, elsewhere)}

    async def meanwhile() -> AsyncIterator[Mapping[str, Any]]:
        async for body in bodies(stays):
            yield body
        store._workloads[late.key] = late

    await controller.workloads_listed(meanwhile(), stays.namespace)
    assert set(store._workloads) == {stays.key, elsewhere.key, late.key}
    await controller.workloads_listed(bodies(stays, late))
    assert set(store._workloads) == {stays.key, late.key}
    assert controller.queue.idle


@virtual
async def test_the_failures_of_what_is_gone_are_forgotten() -> None:
    """It went while it was looked at, and failed once more: a successor of its name does not wait for that."""
    controller, key = controller_of(), a_workload().key
    controller.queue.start()
    for _ in range(5):
        controller.queue.retry(key)
    await asyncio.sleep(100)

    assert controller.queue.retry(key) < 2.0


@virtual
async def test_a_token_that_was_rotated_in_an_outage_is_forgotten() -> None:
    """Its roster, with all rows, goes when nobody uses it, though the platform never answered it again."""
    nothing: Any = lambda *_: None  # noqa: E731
    roster = Roster(ScriptedPlatform(), PLATFORM, "prod", TOKEN, Pace(), changed=nothing, recovered=nothing)
    roster.down = True
    used = {"roster": roster}
    controller = controller_of(rosters=SimpleNamespace(of=lambda _: used["roster"]))
    workload = a_workload()
    controller._return_later(workload.key, workload, DOWN)
    assert roster in controller._parked

    gone = ref(roster)
    used.clear()
    del roster
    gc.collect()
    assert gone() is None
