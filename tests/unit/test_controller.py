"""What the controller remembers between two looks: nothing of a Workload or a token that is gone."""

from __future__ import annotations

import asyncio
import gc
from types import SimpleNamespace
from typing import Any, cast
from weakref import ref

from inferencekey_operator.controller import Controller
from inferencekey_operator.errors import PlatformFailure, Reason
from inferencekey_operator.inferencekey.roster import Pace, Roster
from inferencekey_operator.store import Store
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
