"""Stands before the API server, for the operator alone, and is as unkind as a test says.

What is not to be spoilt passes through as it is, credentials included, watches line by line. Knows HTTP and the shape
of a watch; nothing of what the operator is for.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import aiohttp
from aiohttp import web

_Result = TypeVar("_Result")

_OF_A_HOP = frozenset({"connection", "content-length", "host", "keep-alive", "te", "trailer", "transfer-encoding"})


@dataclass(frozen=True)
class On:
    """Which requests are meant: the method, the whole path, and something in the body, as regular expressions."""

    method: str
    path: str
    body: str = ""
    watch: bool = False

    def matches(self, asked: Asked) -> bool:
        """Whether that request is meant."""
        alike = self.method == asked.method and self.watch == asked.watch
        return alike and bool(re.fullmatch(self.path, asked.path)) and bool(re.search(self.body, asked.body))


@dataclass(frozen=True)
class Asked:
    """One request as it arrived; `spoilt` by what, and "" where it passed; `further` is a list's page but the first."""

    at: float
    method: str
    path: str
    body: str
    watch: bool
    further: bool = False
    spoilt: str = ""


@dataclass(frozen=True)
class Spoil:
    """What becomes of a request instead: after `wait` it passes or not, and is cut, or answered after `late`."""

    name: str
    status: int = 0
    retry_after: str = ""
    wait: float = 0.0
    late: float = 0.0
    passes: bool = False
    cut: bool = False
    line: bytes = b""
    """The first and last line of a watch."""


def answered(status: int, retry_after: str = "") -> Spoil:
    """Refused with this status, and with the wish to be left alone for a while."""
    return Spoil(f"{status}", status=status, retry_after=retry_after)


CUT_BEFORE = Spoil("cut before", cut=True)
"""The request never arrives."""
CUT_AFTER = Spoil("cut after", passes=True, cut=True)
"""The request is carried out, and its answer is lost."""
GARBLED = Spoil("garbled", status=200, line=b"<html>it works</html>\n")
"""Somebody else answers."""


PASSED = Spoil("passed", passes=True)
"""It fares as it would; for the one between two that do not."""


def slow(seconds: float) -> Spoil:
    """It arrives late."""
    return Spoil("slow", wait=seconds, passes=True)


def answered_late(seconds: float) -> Spoil:
    """It is carried out at once, and the answer takes its time."""
    return Spoil("answered late", late=seconds, passes=True)


def error_event(code: int) -> bytes:
    """The line of a watch that says that it cannot go on."""
    return json.dumps({"type": "ERROR", "object": _status(code)}).encode() + b"\n"


@dataclass
class _Rule:
    on: On
    spoil: Spoil
    left: int | None


@dataclass(eq=False)
class _Stream:
    asked: Asked
    lines: asyncio.Queue[bytes | None]


@dataclass
class Gateway:
    """What is before `upstream`, as tests see it: from any thread."""

    upstream: str
    ca_pem: str
    url: str = ""
    _rules: list[_Rule] = field(default_factory=list)
    _asked: list[Asked] = field(default_factory=list)
    _streams: set[_Stream] = field(default_factory=set)
    _loop: asyncio.AbstractEventLoop = field(init=False)
    _ends: asyncio.Event = field(default_factory=asyncio.Event)

    # -- what tests say ----------------------------------------------------------------------------------------

    def spoil(self, on: On, spoil: Spoil, times: int | None = 1) -> None:
        """The next requests of that kind fare like this; all of them with None."""
        self._rules.append(_Rule(on, spoil, times))

    def be_kind(self) -> None:
        """Nothing is spoilt any more."""
        self._rules.clear()

    def asked(self, on: On | None = None, since: int = 0) -> list[Asked]:
        """What was asked, from a mark on."""
        return [each for each in self._asked[since:] if on is None or on.matches(each)]

    def mark(self) -> int:
        """A place in what was asked."""
        return len(self._asked)

    def end_watches(self, path: str, line: bytes = b"") -> int:
        """End each open watch of such a path after this line, by a cut where it has no end; how many there were."""

        async def tell() -> int:
            told = [stream for stream in self._streams if re.fullmatch(path, stream.asked.path)]
            for stream in told:
                stream.lines.put_nowait(line)
                stream.lines.put_nowait(None)
            return len(told)

        return self._run(tell())

    def watched(self) -> list[str]:
        """The paths of the watches that are open."""
        return sorted(stream.asked.path for stream in tuple(self._streams))

    @contextmanager
    def closed(self) -> Iterator[None]:
        """Every connection is cut and none is taken for as long as the context lasts."""
        self._run(self._close())
        try:
            yield
        finally:
            self._run(self._open())

    # -- the thread --------------------------------------------------------------------------------------------

    def _run(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def serve(self, started: Callable[[], None]) -> None:
        """Until `end`; for the thread that is the gateway's own."""
        self._loop = asyncio.get_running_loop()
        context = ssl.create_default_context(cadata=self.ca_pem)
        connector = aiohttp.TCPConnector(ssl=context, limit=0)
        async with aiohttp.ClientSession(connector=connector, auto_decompress=False, read_bufsize=2**21) as session:
            self._session = session
            self._server = web.Server(self._handle, access_log=None, handler_cancellation=True)
            self._runner = web.ServerRunner(self._server, shutdown_timeout=0.1)
            await self._runner.setup()
            await self._open()
            started()
            await self._ends.wait()
            await self._close()
            await self._runner.cleanup()

    def end(self) -> None:
        """No further request is taken."""
        self._loop.call_soon_threadsafe(self._ends.set)

    async def _open(self) -> None:
        port = int(self.url.rpartition(":")[2]) if self.url else 0
        self._site = web.TCPSite(self._runner, "127.0.0.1", port, reuse_address=True)
        await self._site.start()
        self.url = self._site.name if port else f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def _close(self) -> None:
        await self._site.stop()
        for connection in self._server.connections:
            if connection.transport is not None:
                connection.transport.abort()

    # -- requests ----------------------------------------------------------------------------------------------

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        asked = Asked(
            time.monotonic(),
            request.method,
            request.path,
            body.decode("utf-8", "replace"),
            request.query.get("watch") == "true",
            "continue" in request.query,
        )
        spoil = self._next(asked)
        self._asked.append(asked if spoil is None else _spoilt(asked, spoil))
        if spoil is None:
            return await self._pass(request, asked, body)
        return await self._spoil(request, asked, body, spoil)

    def _next(self, asked: Asked) -> Spoil | None:
        rule = next((rule for rule in self._rules if rule.left != 0 and rule.on.matches(asked)), None)
        if rule is None:
            return None
        if rule.left is not None:
            rule.left -= 1
        return rule.spoil

    async def _spoil(self, request: web.BaseRequest, asked: Asked, body: bytes, spoil: Spoil) -> web.StreamResponse:
        await asyncio.sleep(spoil.wait)
        if spoil.passes and not spoil.cut:
            answer = await self._pass(request, asked, body)
            await asyncio.sleep(spoil.late)
            return answer
        if spoil.passes:
            async with self._forward(request, body) as response:
                await response.read()
        if spoil.cut:
            _abort(request)
        if spoil.line:
            return web.Response(status=spoil.status, body=spoil.line)
        headers = {"Retry-After": spoil.retry_after} if spoil.retry_after else {}
        return web.json_response(_status(spoil.status), status=spoil.status or 500, headers=headers)

    async def _pass(self, request: web.BaseRequest, asked: Asked, body: bytes) -> web.StreamResponse:
        async with self._forward(request, body) as response:
            headers = {name: value for name, value in response.headers.items() if name.lower() not in _OF_A_HOP}
            if not (asked.watch and response.status == 200):
                return web.Response(status=response.status, body=await response.read(), headers=headers)
            answer = web.StreamResponse(headers=headers)
            await answer.prepare(request)
            await self._stream(request, asked, response, answer)
            return answer

    @asynccontextmanager
    async def _forward(self, request: web.BaseRequest, body: bytes) -> AsyncIterator[aiohttp.ClientResponse]:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _OF_A_HOP}
        timeout = aiohttp.ClientTimeout(total=None, connect=10)
        async with self._session.request(
            request.method, self.upstream + request.raw_path, data=body or None, headers=headers, timeout=timeout
        ) as response:
            yield response

    async def _stream(
        self, request: web.BaseRequest, asked: Asked, source: aiohttp.ClientResponse, answer: web.StreamResponse
    ) -> None:
        stream = _Stream(asked, asyncio.Queue())
        self._streams.add(stream)
        reading = asyncio.ensure_future(_read(source, stream.lines))
        try:
            while (line := await stream.lines.get()) is not None:
                await answer.write(line)
                if line and not line.endswith(b"\n"):
                    _abort(request)
                    return
        except ConnectionError:
            pass  # the operator has gone
        finally:
            self._streams.discard(stream)
            reading.cancel()


async def _read(source: aiohttp.ClientResponse, lines: asyncio.Queue[bytes | None]) -> None:
    try:
        async for line in source.content:
            lines.put_nowait(line)
    finally:
        lines.put_nowait(None)


def _abort(request: web.BaseRequest) -> None:
    if request.transport is not None:
        request.transport.abort()


def _spoilt(asked: Asked, spoil: Spoil) -> Asked:
    return replace(asked, spoilt=spoil.name)


def _status(code: int) -> dict[str, Any]:
    reasons = {409: "Conflict", 410: "Expired", 422: "Invalid", 429: "TooManyRequests", 500: "InternalError"}
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "the gateway is unkind",
        "reason": reasons.get(code, "ServiceUnavailable"),
        "code": code,
    }


@contextmanager
def gateway(upstream: str, ca_pem: str) -> Iterator[Gateway]:
    """A gateway, until the context ends."""
    made = Gateway(upstream, ca_pem)
    started = threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(made.serve(started.set)), name="gateway", daemon=True)
    thread.start()
    assert started.wait(10), "the gateway does not start"
    try:
        yield made
    finally:
        made.end()
        thread.join(10)
