"""One life of the operator: from its start to its end or its death, wired as the real process is.

What `process` does with kopf is done here with a plain watch: Workloads are listed and watched, and a deletion that
happens while no watch is open is not told, as with kopf. Everything inward of `wiring` is the operator's own.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Any

import aiohttp
from kubernetes.aio import client

from chaos.apiserver import ApiServer, understood
from chaos.network import Process
from harness.lines import egress
from inferencekey_operator.api.workload import GROUP, PLURAL, VERSION
from inferencekey_operator.app.wiring import Parts, wire
from inferencekey_operator.controller.controller import Controller
from inferencekey_operator.kube.client import Cluster
from inferencekey_operator.kube.errors import ClusterError
from inferencekey_operator.kube.reading import Body
from inferencekey_operator.kube.reflector import Reflector
from inferencekey_operator.settings import Settings

API_SERVER = "kubernetes"
"""Where the API server listens."""
LEASE_SECONDS = 0.01
"""What half of a request about the Lease takes."""

log = logging.getLogger(__name__)


class MemoryCluster(Cluster):
    """The operator's own client, over the network in memory."""

    def __init__(self, api: ApiServer, process: Process) -> None:
        configuration = client.Configuration()
        configuration.host = "http://kubernetes"
        super().__init__(configuration)
        self._api, self._process = api, process

    def open_session(self, connections: int = 0, *middlewares: aiohttp.ClientMiddlewareType) -> aiohttp.ClientSession:
        """As the real one, without TLS and authentication."""
        connector = aiohttp.UnixConnector(path=API_SERVER, limit=connections)
        return aiohttp.ClientSession(connector=connector, middlewares=middlewares, read_bufsize=2**21)

    async def request(self, method: str, path: str, *, body: Any = None, **options: Any) -> Body:
        """As ever; but the Lease, which is read and written each second, goes without HTTP."""
        if "/leases" not in path:
            return await super().request(method, path, body=body, **options)
        await asyncio.sleep(LEASE_SECONDS)
        if not (self._process.reaches(API_SERVER, asyncio.get_running_loop().time()) and self._process.sends()):
            raise ClusterError(0, "no connection")
        status, answer = self._api.answer(understood(method, path, body))
        if status >= 300:
            raise ClusterError(status, str(answer.get("message")))
        await asyncio.sleep(LEASE_SECONDS)
        return answer


class Watch(Reflector):
    """What `handlers` is told by kopf."""

    def __init__(self, cluster: Cluster, controller: Controller) -> None:
        super().__init__(cluster, f"/apis/{GROUP}/{VERSION}/{PLURAL}")
        self._controller = controller

    async def replaced(self, items: list[Body]) -> None:
        for item in items:
            self._controller.workload_seen(item, urgent=False)

    async def changed(self, item: Body) -> None:
        self._controller.workload_seen(item)

    async def deleted(self, item: Body) -> None:
        self._controller.workload_gone(item)


class Life:
    """A process of the operator; `process.dead` once it was killed."""

    def __init__(self, name: str, settings: Settings, api: ApiServer) -> None:
        self.process = Process(name)
        self._api = api
        self._settings = settings
        self._stop = asyncio.Event()
        self._parts: Parts | None = None
        self.main = self.process.start(self._run())

    @property
    def over(self) -> bool:
        """Whether it ended, one way or the other."""
        return self.process.dead or self.main.done()

    @property
    def leads(self) -> bool:
        """Whether it works."""
        return not self.over and self._parts is not None and self._parts.controller.queue.started

    async def stop(self) -> None:
        """SIGTERM; back once it ended."""
        self._stop.set()
        await asyncio.wait(
            {self.main, asyncio.ensure_future(self.process.killed.wait())}, return_when="FIRST_COMPLETED"
        )
        self.process.kill()

    async def _run(self) -> None:
        cluster = MemoryCluster(self._api, self.process)
        parts = self._parts = wire(self._settings, cluster, egress=egress())
        watch = Watch(cluster, parts.controller)
        beside = [
            asyncio.ensure_future(run()) for run in (parts.context.recorder.run, *(r.run for r in parts.reflectors))
        ]
        for reflector in parts.reflectors:
            await reflector.listed.wait()
        beside.append(asyncio.ensure_future(watch.run()))
        await watch.listed.wait()
        beside.append(
            asyncio.ensure_future(
                parts.controller.resync(
                    lambda: cluster.workloads((), parts.context.store.newest, parts.context.store.version)
                )
            )
        )
        parts.leadership.start()
        ends = [asyncio.ensure_future(self._stop.wait()), asyncio.ensure_future(cluster.went_back.wait())]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.cancel()
        await parts.leadership.end()
        parts.context.serving.close()
        parts.context.projects.close()
        with suppress(TimeoutError):
            await asyncio.wait_for(parts.context.recorder.flush(), 2.0)
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
        with suppress(ClusterError):
            await parts.platforms.close()
        await cluster.close()
