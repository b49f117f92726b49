"""The readiness stream: server-sent events to phases, over one connection or as many as it takes.

Decides when a stream counts as dropped and how long to wait before it is opened again. What a phase means for
a Workload is not known here, nor is Kubernetes.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any

import httpx

from inferencekey_operator.errors import Actor, PlatformFailure, Reason
from inferencekey_operator.inferencekey import wire
from inferencekey_operator.inferencekey.calls import EVENTS, Call, answered, expect_type, unpacked
from inferencekey_operator.inferencekey.client import checked_base_url
from inferencekey_operator.inferencekey.connection_pool import ConnectionPool
from inferencekey_operator.inferencekey.echoes import Echoes
from inferencekey_operator.redaction import excerpt

TERMINAL = frozenset({"ready", "error"})
"""After these phases the stream ends."""
WAITS = (1.0, 2.0, 4.0, 5.0)
"""Seconds before a dropped stream is opened again; the last one stays."""
FIRST_WORD = 10.0
"""Seconds in which a stream is answered, and as many in which it then tells the present phase, as the platform
promises; comments alone do not count."""
SILENCE = 60.0
"""Seconds without a byte, keep-alives included, after which a stream counts as dropped."""
LINE_LIMIT = 64 * 1024
"""Bytes of one line, and characters of one event."""
TEXT_LIMIT = 256
"""Characters of a message."""

_TO_CONNECT = 10.0
_FAREWELL = 0.25
"""Seconds that a stream which has told all is given to end: read to its end, its connection serves the next one."""
_LINE_END = re.compile(rb"\r\n|\r|\n")
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Phase:
    """How far the platform is with a workload.

    `phase` is `scheduling`, `provisioning`, `bootstrapping`, `ready` or `error`, or a word that is newer than
    this code and counts as progress. `message` and `step` are fit to be shown.
    """

    phase: str
    step: str | None = None
    message: str | None = None
    elapsed_ms: int = 0

    @property
    def terminal(self) -> bool:
        """Whether the platform is done, one way or the other."""
        return self.phase in TERMINAL


class EventParser:
    """Reads server-sent events out of bytes that come in any pieces. Only `data` matters to us."""

    def __init__(self) -> None:
        self._line = bytearray()
        self._data: list[str] = []
        self._size = 0
        self._after_cr = False
        self._first = True

    def feed(self, chunk: bytes) -> list[str]:
        """Take the next bytes; return the data of each event that they complete.

        Raises:
            ValueError: a line or an event is larger than `LINE_LIMIT`.
        """
        if not chunk:
            return []
        if self._after_cr and chunk.startswith(b"\n"):
            chunk = chunk[1:]
        self._after_cr = chunk.endswith(b"\r")
        *ended, rest = _LINE_END.split(chunk)
        events = [event for piece in ended if (event := self._end_line(piece)) is not None]
        self._extend(rest)
        return events

    def _extend(self, piece: bytes) -> None:
        self._line += piece
        if len(self._line) > LINE_LIMIT:
            raise ValueError("a line of the event stream is too long")

    def _end_line(self, piece: bytes) -> str | None:
        self._extend(piece)
        line = bytes(self._line)
        self._line.clear()
        if self._first:
            line, self._first = line.removeprefix(_BOM), False
        if not line:
            return self._end_event()
        name, _, value = line.partition(b":")
        if name == b"data":
            self._keep(value.removeprefix(b" ").decode("utf-8", "replace"))
        return None

    def _keep(self, text: str) -> None:
        self._size += len(text) + 1
        if self._size > LINE_LIMIT:
            raise ValueError("an event of the event stream is too long")
        self._data.append(text)

    def _end_event(self) -> str | None:
        event = "\n".join(self._data) if self._data else None
        self._data.clear()
        self._size = 0
        return event


def parse_phase(data: str, echoes: Echoes | None = None) -> Phase | None:
    """Read an event's data, without the `echoes` in it; None where it names no phase."""
    try:
        event = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(event, dict):
        return None
    phase, step, message = (
        _shown(echoes.blank(said) if echoes and isinstance(said := event.get(key), str) else event.get(key), limit)
        for key, limit in (("phase", 64), ("step", 64), ("message", TEXT_LIMIT))
    )
    if not phase:
        return None
    elapsed = event.get("elapsed_ms")
    return Phase(
        phase=phase,
        step=step,
        message=message,
        elapsed_ms=int(elapsed) if isinstance(elapsed, int | float) and 0 <= elapsed < 2**53 else 0,
    )


async def phases(
    lines: ConnectionPool,
    base_url: str,
    token: str,
    project: str,
    slug: str,
    *,
    silence: float = SILENCE,
    first_word: float = FIRST_WORD,
) -> AsyncGenerator[Phase, None]:
    """Open one stream and give each phase that it tells; the first is the present one.

    Ends when the stream does, also when that was cut, told no phase in its first `first_word` seconds, or sent nothing
    for `silence` seconds: it was dropped unless the last phase is terminal. Close it (`contextlib.aclosing`) when it is
    left early, for it holds a connection.

    Raises:
        PlatformFailure: the stream could not be opened, was not answered within `first_word` seconds, or is none.
        ConfigurationError: the base URL or the token cannot be used.
    """
    call = Call("readiness", "GET", wire.readiness_path(project, slug), token, project, accept=EVENTS)
    timeout = httpx.Timeout(_TO_CONNECT, read=silence)
    async with answered(
        lines, checked_base_url(base_url), call, None, timeout=timeout, head_within=first_word
    ) as response:
        expect_type(response, call)
        echoes = Echoes(token)
        async with aclosing(_events(response)) as events:
            phase = await _first_phase(events, echoes, first_word)
            while phase is not None:
                try:
                    yield phase
                finally:
                    if phase.terminal:
                        await _read_to_the_end(events)
                phase = await _next_phase(events, echoes)


async def follow(
    open_stream: Callable[[], AsyncGenerator[Phase, None]], *, sleep: Callable[[float], Awaitable[object]]
) -> AsyncGenerator[Phase, None]:
    """Give the phases of a workload until a terminal one, over as many streams as it takes.

    A stream that was dropped, or could not be opened for a reason that passes, is opened again after `WAITS`,
    which begin anew with each event, or later if the platform wishes so.

    Args:
        open_stream: opens one stream, as `phases` does.
        sleep: waits for that many seconds.

    Raises:
        PlatformFailure: a person must act first.
    """
    failed = 0
    while True:
        wish = 0.0
        try:
            async with aclosing(open_stream()) as stream:
                async for phase in stream:
                    failed = 0
                    yield phase
                    if phase.terminal:
                        return
        except PlatformFailure as error:
            if error.reason.actor is Actor.PERSON:
                raise
            wish = error.retry_after or 0.0
        await sleep(max(WAITS[min(failed, len(WAITS) - 1)], wish))
        failed += 1


async def _first_phase(events: AsyncGenerator[str, None], echoes: Echoes, within: float) -> Phase | None:
    try:
        async with asyncio.timeout(within):
            return await _next_phase(events, echoes)
    except TimeoutError:
        return None


async def _next_phase(events: AsyncGenerator[str, None], echoes: Echoes) -> Phase | None:
    async for data in events:
        if phase := parse_phase(data, echoes):
            return phase
    return None


async def _read_to_the_end(events: AsyncGenerator[str, None]) -> None:
    with suppress(TimeoutError, PlatformFailure):
        async with asyncio.timeout(_FAREWELL):
            async for _ in events:
                pass


async def _events(response: httpx.Response) -> AsyncGenerator[str, None]:
    parser = EventParser()
    try:
        async with aclosing(unpacked(response)) as chunks:
            async for chunk in chunks:
                for data in parser.feed(chunk):
                    yield data
    except httpx.TransportError:
        return  # Dropped: there is no resume offset, so how it ended makes no difference.
    except ValueError as error:
        raise PlatformFailure(Reason.PLATFORM_ERROR, f"The readiness stream is broken: {error}.") from None


def _shown(value: Any, limit: int) -> str | None:
    return excerpt(value, limit) or None if isinstance(value, str) else None
