"""Whose creation was recorded first, as a watch of the Workloads shows it; time is virtual, the events are scripted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, cast

import pytest

from inferencekey_operator.api.keys import Key
from inferencekey_operator.api.status import Creation
from inferencekey_operator.api.workload import FINALIZER, Workload
from inferencekey_operator.cache.creation_order import FORGOTTEN, LOOK, LOOKS, Precedence
from inferencekey_operator.kube.client import Cluster
from inferencekey_operator.kube.reading import Body
from unit.builders import a_workload
from unit.virtual_time import virtual

A, B = Key("team-a", "support-bot"), Key("team-b", "support-bot")


class Place:
    """What the watch of records was told, and what the store holds."""

    def __init__(self, *namespaces: str) -> None:
        self.stored: dict[Key, Workload] = {}
        self.listed: list[Body] = []
        self.lists = 0
        self.precedence = Precedence(cast(Cluster, self), namespaces, self.stored.get)

    async def pages(self, path: str, **_: Any) -> AsyncIterator[Body]:
        """A list as of version 50."""
        self.lists += 1
        yield {"metadata": {"resourceVersion": "50"}, "items": self.listed}

    async def told(self, key: Key, version: int, *, begun: bool = False, watch: int = 0) -> None:
        """An event of one watch."""
        reflector = self.precedence.reflectors[watch]
        await reflector.changed(item(key, version, begun=begun))
        reflector._version = str(version)

    def stores(self, key: Key, version: int) -> Workload:
        """The Workload with its record, as the other watch showed it, or as our own write was answered."""
        workload = a_workload(namespace=key.namespace, uid=f"uid-{key.namespace}", resource_version=str(version))
        self.stored[key] = replace(workload, status=replace(workload.status, creation=Creation()))
        return self.stored[key]


def item(key: Key, version: int, *, begun: bool = True) -> Body:
    """A Workload, but for its spec; `begun`: with the record of a creation."""
    return {
        "metadata": {
            "namespace": key.namespace,
            "name": key.name,
            "uid": f"uid-{key.namespace}",
            "resourceVersion": str(version),
        },
        **({"status": {"creation": {}}} if begun else {}),
    }


@virtual
async def test_the_first_record_comes_first() -> None:
    """Whatever is written to the Workload after; anew where it was taken back."""
    place = Place()
    a, b = place.stores(A, 12), place.stores(B, 11)
    await place.told(A, 8)
    await place.told(B, 11, begun=True)
    await place.told(A, 12, begun=True)
    await place.told(B, 13, begun=True)
    assert (place.precedence.of(b), place.precedence.of(a)) == (11, 12)
    await place.told(B, 14)
    await place.told(B, 15, begun=True)
    assert (place.precedence.of(a), place.precedence.of(b)) == (12, 15)


@virtual
async def test_what_a_list_shows_was_begun_before() -> None:
    """What is known already keeps its place; what went is forgotten."""
    place = Place()
    a, b = place.stores(A, 12), place.stores(B, 30)
    await place.told(A, 12, begun=True)
    await place.precedence.reflectors[0].replaced([item(A, 14), item(B, 30)])
    assert (place.precedence.of(a), place.precedence.of(b)) == (12, 0)
    await place.precedence.reflectors[0].replaced([item(B, 30)])
    assert place.precedence.of(a) == 0


@virtual
async def test_a_creation_waits_for_the_watch() -> None:
    """Until that has shown its own record, and so all that came before; not for ever."""
    place = Place()
    ours = place.stores(A, 12)
    knowing = asyncio.create_task(place.precedence.knows_all_before(ours))
    await asyncio.sleep(1.0)
    assert not knowing.done()
    await place.told(A, 12, begun=True)
    assert await knowing
    later = place.stores(A, 20)
    assert not await place.precedence.knows_all_before(later)
    assert asyncio.get_running_loop().time() >= LOOKS * LOOK


@virtual
async def test_a_creation_waits_for_the_other_watch() -> None:
    """A record of a Workload that is not known in full yet may be a rival's; what comes after ours is not."""
    place = Place()
    ours = place.stores(A, 12)
    await place.told(B, 11, begun=True)
    await place.told(A, 12, begun=True)
    knowing = asyncio.create_task(place.precedence.knows_all_before(ours))
    await asyncio.sleep(1.0)
    assert not knowing.done()
    await place.told(Key("team-c", "other"), 13, begun=True)
    place.stores(B, 11)
    assert await knowing
    assert asyncio.get_running_loop().time() < 1.1


@virtual
async def test_what_is_never_known_in_full_stops_nobody() -> None:
    """A Workload that cannot be read: after some seconds it is not waited for."""
    place = Place()
    ours = place.stores(A, 12)
    await place.told(B, 11, begun=True)
    await place.told(A, 12, begun=True)
    assert await place.precedence.knows_all_before(ours)
    assert asyncio.get_running_loop().time() == pytest.approx(FORGOTTEN, abs=2 * LOOK)


@virtual
async def test_of_other_namespaces_a_list_says_how_far_the_watch_must_be() -> None:
    """With watches of their own: one that is quiet tells nothing by itself. One list is enough for all who ask."""
    place = Place("team-a", "team-b")
    ours = place.stores(A, 12)
    await place.told(A, 12, begun=True)
    place.listed = [item(B, 11)]
    place.stores(B, 11)
    knowing = asyncio.create_task(place.precedence.knows_all_before(ours))
    await asyncio.sleep(1.0)
    assert not knowing.done()
    await place.told(B, 11, begun=True, watch=1)
    assert await knowing
    assert await place.precedence.knows_all_before(ours)
    assert place.lists == 1


@virtual
async def test_a_finalizer_begins_nothing() -> None:
    """Whoever edits Workloads can write one, and so come first."""
    place = Place()
    a, b = place.stores(A, 12), place.stores(B, 13)
    bare = item(A, 12, begun=False)
    await place.precedence.reflectors[0].changed({"metadata": {**bare["metadata"], "finalizers": [FINALIZER]}})
    await place.told(B, 13, begun=True)
    assert (place.precedence.of(a), place.precedence.of(b)) == (0, 13)
