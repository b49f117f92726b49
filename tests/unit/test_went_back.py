"""An API server that shows an older state than before, as after etcd was restored from a snapshot: it is noticed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from inferencekey_operator.kube.errors import ClusterError
from unit.raw_cluster import answering
from unit.raw_server import response, sends

LEASE = "/apis/coordination.k8s.io/v1/namespaces/system/leases/inferencekey-operator"


def at(version: object, **more: Any) -> dict[str, Any]:
    """An object or a list at this resourceVersion."""
    return {"metadata": {"resourceVersion": version, **more}, "items": []}


@pytest.mark.parametrize(
    ("why", "versions", "went_back"),
    [
        ("the same again", [5, 5, 5], False),
        ("it grows", [5, 7, 100], False),
        ("it is smaller", [5, 7, 6], True),
        ("numbers, not texts", [9, 10], False),
        ("much smaller, and growing again", [500, 3, 4], True),
        ("one that is no number says nothing", [5, "x", 5], False),
        ("nor does one that is absent", [5, None, "", 6], False),
    ],
)
async def test_a_version_that_grows_smaller(why: str, versions: list[object], went_back: bool) -> None:
    """Of one object that is read and written by one caller at a time, the version never does in one history."""
    async with answering(sends()) as (cluster, _):
        for version in versions:
            cluster.heed_the_version(LEASE, at(version))
        assert cluster.went_back.is_set() is went_back, why


async def test_each_object_has_a_version_of_its_own() -> None:
    """The Leases of two shards are not compared with each other."""
    async with answering(sends()) as (cluster, _):
        cluster.heed_the_version(LEASE, at(9))
        cluster.heed_the_version(f"{LEASE}-shard-1", at(5))
        assert not cluster.went_back.is_set()


@pytest.mark.parametrize(
    ("listed", "newest", "older"),
    [(100, 0, False), (100, 100, False), (100, 99, False), (99, 100, True), ("opaque", 100, False)],
)
async def test_a_list_that_is_older_than_what_was_seen(listed: object, newest: int, older: bool) -> None:
    """It shows nothing: what it lacks would count as gone, and what it has as it was."""
    async with answering(sends(response(json.dumps(at(str(listed))).encode()))) as (cluster, _):
        if older:
            with pytest.raises(ClusterError, match="older than what was seen before") as caught:
                [body async for body in cluster.workloads((), newest)]
            assert caught.value.passing
        else:
            assert [body async for body in cluster.workloads((), newest)] == []
        assert cluster.went_back.is_set() is older


async def test_no_item_of_an_older_list_is_shown() -> None:
    """The version stands before the items."""
    page = {"metadata": {"resourceVersion": "9"}, "items": [{"metadata": {"name": "a", "namespace": "b"}}]}
    async with answering(sends(response(json.dumps(page).encode()))) as (cluster, _):
        with pytest.raises(ClusterError):
            await anext(aiter(cluster.workloads(("b",), 10)))
