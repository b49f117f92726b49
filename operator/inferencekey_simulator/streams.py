"""The readiness streams that are open.

Decides what a stream sends and when it ends: a snapshot first, then every change, comment lines while
nothing happens, and the end after a terminal phase, a drop, or the workload's deletion. Who may open one
was decided before.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from aiohttp import web

from inferencekey_simulator.interference import DROP_AFTER, cut
from inferencekey_simulator.inventory import Row, to_json
from inferencekey_simulator.platform import Platform
from inferencekey_simulator.readiness import TERMINAL


@dataclass(eq=False)
class Stream:
    """One open stream; `wake` is set when there may be something to send, `dropped` when it is to end."""

    row: Row
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    dropped: bool = False
    cut: bool = False

    def drop(self, cut_off: bool) -> None:
        """End the stream without a terminal event: cleanly, or with `cut_off` by aborting the connection."""
        self.dropped, self.cut = True, cut_off
        self.wake.set()


class Streams:
    """All streams that are open now."""

    def __init__(self) -> None:
        self._open: set[Stream] = set()

    def drop(self, project: str | None = None, slug: str | None = None, cut_off: bool = False) -> int:
        """Drop the streams of a workload, of a project, or all; return how many."""
        chosen = [
            stream for stream in self._open if project in (None, stream.row.project) and slug in (None, stream.row.slug)
        ]
        for stream in chosen:
            stream.drop(cut_off)
        return len(chosen)

    def count(self) -> int:
        """Return how many streams are open."""
        return len(self._open)

    async def serve(self, request: web.Request, platform: Platform, row: Row) -> web.StreamResponse:
        """Stream a workload's readiness until it is over."""
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
        stream = Stream(row)
        self._open.add(stream)
        row.watchers.add(stream.wake.set)
        try:
            await response.prepare(request)
            await _send(stream, response, platform, request.get(DROP_AFTER))
            if not stream.cut:
                await response.write_eof()
        except ConnectionError:
            return response
        finally:
            row.watchers.discard(stream.wake.set)
            self._open.discard(stream)
        return cut(request) if stream.cut else response


async def _send(stream: Stream, response: web.StreamResponse, platform: Platform, limit: int | None) -> None:
    opened = platform.clock.monotonic()
    last: tuple[str, str, str | None] | None = None
    sent = 0
    while not (stream.dropped or stream.row.removed or sent == limit):
        stream.wake.clear()
        reading = platform.reading(stream.row)
        current = (reading.phase, reading.message, reading.step)
        if current != last:
            data = to_json(reading.event(platform.clock.monotonic() - opened))
            await response.write(b"data: " + data + b"\n\n")
            last, sent = current, sent + 1
            if reading.phase in TERMINAL:
                return
            continue
        await _wait(stream, response, platform.settings.readiness.keep_alive, reading.changes_in)


async def _wait(stream: Stream, response: web.StreamResponse, keep_alive: float, changes_in: float | None) -> None:
    """Wait for the next change, at most for one keep-alive interval, which ends with a comment line."""
    by_itself = changes_in is not None and changes_in < keep_alive
    try:
        async with asyncio.timeout(changes_in if by_itself else keep_alive):
            await stream.wake.wait()
    except TimeoutError:
        if not by_itself:
            await response.write(b": keep-alive\n\n")
