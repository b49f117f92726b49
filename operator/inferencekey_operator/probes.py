"""/metrics, /healthz and /readyz, over plain HTTP, where an address was given.

Healthy means that the loop turns; ready means in control: everything was listed, the Lease is held, and keys are
worked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from inferencekey_operator import metrics
from inferencekey_operator.controller import Controller


class Probes:
    """The small web server of one operator process."""

    def __init__(self, controller: Controller, ready: Callable[[], bool]) -> None:
        self._controller, self._ready = controller, ready

    async def start(self, address: str) -> web.AppRunner:
        """Serve at `[HOST]:PORT`; the caller cleans the runner up. Raises OSError where that cannot be."""
        host, _, port = address.rpartition(":")
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, host.strip("[]") or None, int(port)).start()
        return runner

    async def _metrics(self, _: web.Request) -> web.Response:
        world, now = self._controller.world, asyncio.get_running_loop().time()
        metrics.WORKLOADS.set(len(world.store))
        metrics.QUEUED.set(self._controller.queue.depth)
        metrics.STREAMS.set(world.serving.open_streams)
        metrics.LIST_AGE.set(max((now - roster.began for roster in world.rosters if roster.proven), default=0.0))
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        ready = self._ready()
        return web.Response(text="ok\n" if ready else "not in control yet\n", status=200 if ready else 503)
