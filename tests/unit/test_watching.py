"""kopf is shown no object: its list only tells it where to watch from, and what there is shows a list of ours.

The API server is scripted, and asked by the session that kopf gets; the same is done with a real one, and with kopf, in
the integration tests.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio import client

from inferencekey_operator.api.keys import Key
from inferencekey_operator.cache.workloads import key_of
from inferencekey_operator.controller.controller import Controller
from inferencekey_operator.controller.kopf_watch import WorkloadWatch
from inferencekey_operator.kube.client import Cluster

API = "/apis/inferencekey.com/v1alpha1"
ALL = f"{API}/workloads"
OURS, THEIRS = Key("ours", "a"), Key("theirs", "b")


@dataclass
class Kubernetes:
    """An API server with two Workloads. Its version moves with each list."""

    version: int = 100
    refuses: int = 0
    """How many whole lists are refused."""
    asked: list[str] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        """A list, or what stands for a watch."""
        if "watch" in request.query:
            return web.Response(text="watched")
        self.version += 1
        nobody = request.query.get("fieldSelector") == "metadata.name=_"
        self.asked.append("nobody" if nobody else "everybody")
        if not nobody and self.refuses:
            self.refuses -= 1
            return web.json_response({"message": "not now"}, status=503)
        keys = [key for key in (OURS, THEIRS) if not nobody and request.path in (ALL, f"{API}{_in(key.namespace)}")]
        items = [{"metadata": {"namespace": key.namespace, "name": key.name}} for key in keys]
        return web.json_response({"metadata": {"resourceVersion": str(self.version)}, "items": items})


def _in(namespace: str) -> str:
    return f"/namespaces/{namespace}/workloads"


@dataclass
class Kopf:
    """What is asked by kopf, and told to the controller."""

    kubernetes: Kubernetes = field(default_factory=Kubernetes)
    told: list[tuple[str | None, list[Key]]] = field(default_factory=list)
    newest: int = 0

    def version(self, body: Mapping[str, Any]) -> int:
        """No object was seen before."""
        return 0

    @property
    def context(self) -> Kopf:
        """In the place of the controller's world."""
        return self

    @property
    def store(self) -> Kopf:
        """In the place of its store, which says what the newest version is that was seen."""
        return self

    async def workloads_listed(self, everything: AsyncIterator[Mapping[str, Any]], namespace: str | None) -> None:
        """In the controller's place."""
        self.told.append((namespace, [key_of(body) async for body in everything]))

    @asynccontextmanager
    async def running(self, *namespaces: str) -> AsyncIterator[WorkloadWatch]:
        """With a session like kopf's."""
        app = web.Application()
        app.router.add_get("/{path:.*}", self.kubernetes.answer)
        async with TestServer(app) as server:
            configuration = client.Configuration()
            configuration.host = self._url = str(server.make_url("")).rstrip("/")
            cluster = Cluster(configuration)
            watch = WorkloadWatch(cast(Controller, self), cluster, namespaces)
            self._session = watch._open_session()
            try:
                yield watch
            finally:
                await self._session.close()
                await cluster.close()

    async def gets(self, path: str, **query: str) -> aiohttp.ClientResponse:
        """The answer, read."""
        answer = await self._session.get(self._url + path, params=query)
        await answer.read()
        return answer


async def test_the_list_that_tells_begins_after_the_place_to_watch_from() -> None:
    """Whatever goes, or comes, while ours is made is told by the watch."""
    kopf = Kopf()
    async with kopf.running() as watch:
        answer = await (await kopf.gets(ALL, limit="500")).json()

        assert answer == {"metadata": {"resourceVersion": "101"}, "items": []}
        assert kopf.kubernetes.asked == ["nobody", "everybody"]
        assert kopf.told == [(None, [OURS, THEIRS])]
        assert watch.listed.is_set()


async def test_each_further_list_is_made_whole() -> None:
    """kopf makes one when the API server knows its place no more: what went meanwhile is in no watch."""
    kopf = Kopf()
    async with kopf.running():
        await kopf.gets(ALL)
        await kopf.gets(ALL)

        assert kopf.told == [(None, [OURS, THEIRS])] * 2


async def test_nothing_is_listed_before_all_namespaces_are() -> None:
    """Each has a list of its own."""
    kopf = Kopf()
    async with kopf.running(OURS.namespace, THEIRS.namespace) as watch:
        await kopf.gets(API + _in(OURS.namespace))
        assert not watch.listed.is_set()
        await kopf.gets(API + _in(THEIRS.namespace))
        assert watch.listed.is_set()

        assert kopf.told == [(OURS.namespace, [OURS]), (THEIRS.namespace, [THEIRS])]


async def test_a_list_that_fails_is_asked_for_again() -> None:
    """By kopf, which takes it for a connection that broke; until then it knows of no place to watch from."""
    kopf = Kopf(Kubernetes(refuses=1))
    async with kopf.running() as watch:
        with pytest.raises(aiohttp.ClientConnectionError):
            await kopf.gets(ALL)
        assert not watch.listed.is_set()

        await kopf.gets(ALL)
        assert watch.listed.is_set()


@pytest.mark.parametrize(("path", "query"), [(ALL, {"watch": "true"}), (API, {})], ids=["watch", "discovery"])
async def test_what_is_no_list_passes(path: str, query: dict[str, str]) -> None:
    """As it is, and nothing is listed for it."""
    kopf = Kopf()
    async with kopf.running():
        await kopf.gets(path, **query)

        assert kopf.told == []


async def test_a_list_of_a_former_time_is_not_believed() -> None:
    """A list that is older than what was seen shows an API server that went back; it tells nothing of Workloads."""
    kopf = Kopf(newest=1_000)
    async with kopf.running() as watch:
        with pytest.raises(aiohttp.ClientConnectionError, match="older than what was seen"):
            await kopf.gets(ALL)

        assert not watch.listed.is_set()
        assert watch._cluster.went_back.is_set()
