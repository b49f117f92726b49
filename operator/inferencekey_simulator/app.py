"""The platform as an HTTP application, and ways to serve it.

Decides how the parts are put together and how a server starts and stops. `serving` is for a program that
has an event loop, `background` for one that has not (a synchronous test), and the command line (`__main__`)
for other processes.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager

from aiohttp import web

from inferencekey_simulator.admin_api import add_admin_api
from inferencekey_simulator.control_plane import add_control_plane
from inferencekey_simulator.data_plane import add_data_plane
from inferencekey_simulator.dates import dating
from inferencekey_simulator.gate import gate
from inferencekey_simulator.keys import PLATFORM, STREAMS
from inferencekey_simulator.platform import Platform
from inferencekey_simulator.streams import Streams

LARGEST_BODY = 64 * 1024 * 1024


def create_app(platform: Platform) -> web.Application:
    """Return the application that serves a platform: both planes and the admin API."""
    app = web.Application(middlewares=[gate], client_max_size=LARGEST_BODY)
    app[PLATFORM] = platform
    app[STREAMS] = Streams()
    add_control_plane(app.router)
    add_data_plane(app.router)
    add_admin_api(app.router)
    app.on_response_prepare.append(dating(platform))
    app.on_shutdown.append(_drop_streams)
    return app


@asynccontextmanager
async def serving(platform: Platform, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """Serve a platform while the context lasts, and give its URL. Port 0 picks a free one.

    Raises OSError where the address is taken.
    """
    runner = web.AppRunner(create_app(platform), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield f"http://{_authority(host)}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@contextmanager
def background(platform: Platform | None = None) -> Iterator[str]:
    """Serve a platform from a thread of its own while the context lasts, and give its URL.

    The platform must then only be reached over HTTP.
    """
    url: Future[str] = Future()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()
    thread = threading.Thread(
        target=loop.run_until_complete, args=[_until(stop, platform or Platform(), url)], daemon=True
    )
    thread.start()
    try:
        yield url.result()
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


async def _until(stop: asyncio.Event, platform: Platform, started: Future[str]) -> None:
    try:
        async with serving(platform) as url:
            started.set_result(url)
            await stop.wait()
    except OSError as error:
        started.set_exception(error)


async def _drop_streams(app: web.Application) -> None:
    app[STREAMS].drop()


def _authority(host: str) -> str:
    return f"[{host}]" if ":" in host else host
