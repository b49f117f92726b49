"""/metrics, /startupz, /healthz and /readyz, over plain HTTP, where an address was given.

Each probe answers with one line per check, 503 where one of them fails. Decides nothing: `health` does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest

from inferencekey_operator.app.gauges import Gauges
from inferencekey_operator.app.health import Health, Verdict


class Probes:
    """The small web server of one operator process."""

    def __init__(self, gauges: Gauges, health: Health) -> None:
        self._health = health
        self._standing = CollectorRegistry()
        self._standing.register(gauges)

    async def start(self, address: str) -> web.AppRunner:
        """Serve at `[HOST]:PORT`; the caller cleans the runner up. Raises OSError where that cannot be."""
        host, _, port = address.rpartition(":")
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/startupz", _probe(self._health.started))
        app.router.add_get("/healthz", _probe(self._health.alive))
        app.router.add_get("/readyz", _probe(self._health.ready))
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, host.strip("[]") or None, int(port)).start()
        return runner

    async def _metrics(self, _: web.Request) -> web.Response:
        body = generate_latest(self._standing) + generate_latest(REGISTRY)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})


def _probe(check: Callable[[], Verdict]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_: web.Request) -> web.Response:
        verdict = check()
        lines = (f"[-] {name}: {wrong}\n" if wrong else f"[+] {name}\n" for name, wrong in verdict.items())
        return web.Response(text="".join(lines), status=503 if any(verdict.values()) else 200)

    return answer
