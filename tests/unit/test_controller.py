"""What the controller remembers between two looks: nothing of a Workload or a token that is gone."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, replace
from types import SimpleNamespace
from typing import Any, cast
from weakref import ref

import pytest

from inferencekey_operator.api.keys import Key
from inferencekey_operator.api.workload import FINALIZER, Workload
from inferencekey_operator.cache.workloads import Store
from inferencekey_operator.controller.controller import Controller
from inferencekey_operator.election.leader import LeadershipLostError
from inferencekey_operator.errors import PlatformFailure, Reason
from inferencekey_operator.inferencekey.project import Project
from inferencekey_operator.inferencekey.rate_limits import RateLimits
from inferencekey_operator.reconcile.context import Context
from inferencekey_operator.reconcile.ensure import Reconciler
from unit.builders import PLATFORM, TOKEN, a_live, a_workload, agreed
from unit.place import Place, a_place, body_of
from unit.scripted_platform import ScriptedPlatform, now, row
from unit.virtual_time import virtual

DECLARED = {"backend": "vllm", "model_name": "llama-3"}
DOWN = PlatformFailure(Reason.PLATFORM_UNREACHABLE, "The platform does not answer.", status=503)


def controller_of(**parts: Any) -> Controller:
    """A controller in a world that has these parts, and no others."""
    controller = Controller()
    controller.wire(cast(Context, SimpleNamespace(store=Store(), **parts)))
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
    ignored = SimpleNamespace(forget=lambda _: None, leave=lambda _: None, release=lambda *_: None)
    controller = controller_of(serving=ignored, projects=ignored, claims=ignored, secrets=ignored)
    stays, goes = a_workload(name="stays", uid="u-1"), a_workload(name="goes", uid="u-2")
    elsewhere, late = a_workload(name="e", uid="u-3", namespace="elsewhere"), a_workload(name="late", uid="u-4")
    store = controller.context.store
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
async def test_a_lease_that_was_late_for_a_moment_loses_no_reconcile() -> None:
    """It is renewed and never changed hands, so nothing else would bring the Workload back before the resync."""
    controller, _, workload = await with_a_world()
    began: list[float] = []

    async def ensure(_: Workload) -> None:
        began.append(now())
        if len(began) == 1:
            raise LeadershipLostError("late")

    controller._worker._reconciler = cast(Reconciler, SimpleNamespace(ensure=ensure))
    controller.queue.start()
    controller.queue.add(workload.key)
    await asyncio.sleep(5.0)
    assert len(began) == 2


@virtual
async def test_a_token_that_was_rotated_in_an_outage_is_forgotten() -> None:
    """Its project, with all rows, goes when nobody uses it, though the platform never answered it again."""
    nothing: Any = lambda *_: None  # noqa: E731
    project = Project(ScriptedPlatform(), PLATFORM, "prod", TOKEN, RateLimits(), changed=nothing, recovered=nothing)
    project.down = True
    used = {"project": project}
    controller = controller_of(projects=SimpleNamespace(of=lambda _: used["project"]))
    workload = a_workload()
    controller._worker._return_later(workload.key, workload, DOWN)
    assert project in controller._worker._parked

    gone = ref(project)
    used.clear()
    del project
    gc.collect()
    assert gone() is None


# -- a Workload that goes without having been released --------------------------------------------------------------


async def with_a_world(**status: Any) -> tuple[Controller, Place, Workload]:
    """A controller that leads, and a Workload that was created."""
    controller, place = Controller(), await a_place()
    workload = agreed(a_workload(finalizers=(FINALIZER,), resource_version="2"), workload_id="wl_support-bot", **status)
    place.stands(workload)
    place.context.terms.of_shard[0].began = float("inf")
    controller.wire(replace(place.context, terms=controller.terms))
    return controller, place, workload


def went(controller: Controller, workload: Workload) -> None:
    """The watch tells of its end."""
    controller.workload_gone(body_of(workload))


@virtual
async def test_a_workload_whose_finalizer_was_taken_off() -> None:
    """What it made is deleted without the object, and that is announced; what is left is worked under its own key."""
    controller, place, workload = await with_a_world()
    controller.terms.of_shard[0].began = now()
    went(controller, workload)

    (key,) = place.store.vanished
    assert key.name == f"support-bot/{workload.uid}"
    assert place.store.get(workload.key) is None
    left = place.store.get(key)
    assert left is not None
    assert (left.deleting, place.store.memory(key).deleting_since) == (True, now())

    await controller._work(key)
    (warning,) = place.events.warnings
    assert "Disappeared without being released" in warning
    assert "deletes wl_support-bot" in warning
    assert (place.did, place.store.vanished) == (["delete"], ())


@pytest.mark.parametrize("why", ["standby", "released", "adopted"])
@virtual
async def test_what_is_not_seen_to(why: str) -> None:
    """A standby leaves it to the leader; what was released, or is to stay, is over."""
    controller, place, workload = await with_a_world(adopted=why == "adopted")
    if why != "standby":
        controller.terms.of_shard[0].began = now()
    place.memory(workload).release_sent = why == "released"
    went(controller, workload)

    assert (place.store.vanished, place.events.of_workloads) == ((), [])


@pytest.mark.parametrize("goes_before", [True, False])
@virtual
async def test_what_the_former_leader_released_did_not_disappear(goes_before: bool) -> None:
    """The watch tells of it after the term began; what goes in the term does disappear."""
    controller, place, workload = await with_a_world()
    await controller.catch_up(0, bodies() if goes_before else bodies(workload))
    controller.begin(settled_in=0.0)
    went(controller, workload)

    assert len(place.store.vanished) == (0 if goes_before else 1)
    await controller.queue.stop()


@virtual
async def test_what_goes_while_the_last_look_ends_did_not_disappear() -> None:
    """The Lease is lost, and another one releases: that is told while a call of this one still waits for its answer."""
    controller, place, workload = await with_a_world()
    answered = asyncio.Event()

    async def wait_for_the_platform(_: Key) -> None:
        await answered.wait()

    controller.queue._work = wait_for_the_platform
    controller.begin(settled_in=0.0)
    await asyncio.sleep(0.1)
    leaving = asyncio.create_task(controller.leave(0))
    await asyncio.sleep(0.1)
    went(controller, workload)
    answered.set()
    await leaving

    assert place.store.vanished == ()


@virtual
async def test_a_successor_is_worked_beside_what_is_left() -> None:
    """It has the name and the slug: what is left gives way to it."""
    controller, place, workload = await with_a_world()
    controller.terms.of_shard[0].began = now()
    went(controller, workload)
    controller.workload_seen(body_of(replace(a_workload(), uid="another", resource_version="9")))

    (key,) = place.store.vanished
    await controller._work(key)
    assert (place.did, place.store.vanished) == ([], ())
    assert place.store.get(workload.key) is not None


@virtual
async def test_one_that_vanished_and_came_back_while_no_watch_was_open() -> None:
    """A list shows another object of the name: what the former one made is seen to all the same."""
    controller, place, workload = await with_a_world()
    controller.terms.of_shard[0].began = now()
    successor = a_workload({"slug": "another"}, uid="another", resource_version="9")

    async def everything() -> AsyncIterator[Mapping[str, Any]]:
        yield body_of(successor)

    await controller.workloads_listed(everything())

    (key,) = place.store.vanished
    assert key.name == f"support-bot/{workload.uid}"
    assert place.now_stands(successor).uid == "another"
    await controller._work(key)
    (warning,) = place.events.warnings
    assert "Disappeared without being released" in warning
    assert "deletes wl_support-bot" in warning
    assert (place.did, place.store.vanished) == (["delete"], ())


@virtual
async def test_what_is_announced_of_a_duplicate_that_is_left() -> None:
    """The workload itself was adopted, and stays: only its duplicate is deleted."""
    controller, place, workload = await with_a_world(adopted=True, duplicate_workload_id="wl_2")
    controller.terms.of_shard[0].began = now()
    went(controller, workload)
    (key,) = place.store.vanished
    await controller._work(key)

    (warning,) = place.events.warnings
    assert "deletes wl_2" in warning


# -- two operators -------------------------------------------------------------------------------------------------


@virtual
async def test_another_operators_write_makes_this_one_stand_back() -> None:
    """It writes nothing to the Workload, says so once about the namespace, and comes back when the time is over."""
    controller, place, workload = await with_a_world()
    controller.terms.of_shard[0].began = now()
    theirs = replace(workload.status, operator="elsewhere/another", plans_applied=7)
    controller.workload_seen(body_of(replace(workload, status=theirs, resource_version="3")))

    for _ in range(3):
        await controller._work(workload.key)

    assert (place.did, place.lists) == ([], 0)
    (told,) = place.events.of_namespaces
    assert told[0] is Reason.OPERATOR_CONFLICT
    assert "elsewhere/another" in told[1]


# -- before a row is adopted ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("exists", [True, False])
@virtual
async def test_a_row_is_adopted_if_the_readiness_route_knows_it(exists: bool) -> None:
    """A list may still show what is gone: nothing is adopted while the two disagree."""
    controller, place, _ = await with_a_world()
    workload = a_workload(name="other", uid="u-2", resource_version="5")
    place.stands(workload)
    place.platform.extra = [{**asdict(a_live()), "slug": "other", "created_at": None}]
    if exists:
        place.platform.rows["other"] = row("other", id="wl_1", **DECLARED)
        place.platform.extra = []
    controller.terms.of_shard[0].began = now()

    await controller._work(workload.key)

    (known,) = [each for each in place.store if each.name == "other"]
    assert "exists" in place.did
    assert known.status.workload_id == ("wl_1" if exists else None)
    if not exists:
        assert known.status.conditions[0].reason == Reason.PLATFORM_ERROR
