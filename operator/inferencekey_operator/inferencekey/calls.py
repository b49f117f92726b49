"""One call of the platform: its connection, its limits of time and size, its answer unpacked; never repeated.

Decides whether a call that was lost may have been carried out. Must not know what is asked of the platform.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from http.cookiejar import CookieJar
from importlib.metadata import version
from typing import Any

import httpx

from inferencekey_operator.errors import ConfigurationError, PlatformFailure, Reason
from inferencekey_operator.inferencekey.answers import WRITES, Operation, failure
from inferencekey_operator.inferencekey.connection_pool import ConnectionPool
from inferencekey_operator.inferencekey.echoes import Echoes
from inferencekey_operator.inferencekey.egress import Egress, Transport
from inferencekey_operator.inferencekey.measured import measured
from inferencekey_operator.inferencekey.packed import Gunzip
from inferencekey_operator.redaction import excerpt, public_id

CONNECTIONS = 16
KEEP_ALIVE = 4.0
"""Seconds. Servers close idle connections after 5 or more; a create that meets such a close is lost."""
REFUSAL_LIMIT = 64 * 1024
"""Bytes that are read of a body that only explains a status."""
LONGEST_PATH = 8 * 1024
"""Characters. Servers refuse what is longer, and httpx does so with an error of another kind."""
EVENTS = "text/event-stream"
Trace = Callable[[str, Mapping[str, Any]], Awaitable[None]]
HEADERS_GO_OUT = "http11.send_request_headers.started"
BODY_GOES_OUT = "http11.send_request_body.started"
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
_HOW_LOST: tuple[tuple[type[Exception], str], ...] = (
    (httpx.PoolTimeout, "all connections are in use"),
    (httpx.ConnectTimeout, "no connection in time"),
    (httpx.ProxyError, "the proxy did not connect"),
    (httpx.TimeoutException, "no answer in time"),
    (TimeoutError, "no answer in time"),
)
_UNPACKED = frozenset({"", "identity"})
_PACKED = frozenset({"gzip", "x-gzip"})
_HEADERS = {
    "User-Agent": f"inferencekey-operator/{version('inferencekey-operator')}",
    "Accept-Encoding": "gzip",
}


class _NoCookies(CookieJar):
    """None is kept, for it would carry what one credential was given into the calls of another; nor is one read."""

    def extract_cookies(self, response: Any, request: Any) -> None:
        """Whatever the answer sets."""


def open_http(timeout: float = 10.0, *, egress: Egress | None = None, connections: int = CONNECTIONS) -> ConnectionPool:
    """Return connections to one platform; the caller closes them.

    Redirects are not followed, and no cookie is kept. Readiness streams hold a connection for minutes, and so want some
    of their own.

    Args:
        timeout: seconds for each read and write; half of it for a place among the connections, and to connect.
        egress: proxies and certificates; those of the environment by default.
        connections: how many there are at most.

    Raises:
        VariableError: the environment names a proxy or certificates that cannot be used.
    """
    way = egress or Egress.read()
    limits = httpx.Limits(max_connections=1, keepalive_expiry=KEEP_ALIVE)

    def open_line() -> httpx.AsyncClient:
        return httpx.AsyncClient(
            transport=Transport(way, limits),
            timeout=httpx.Timeout(timeout, connect=timeout / 2),
            trust_env=False,
            follow_redirects=False,
            cookies=_NoCookies(),
        )

    return ConnectionPool(open_line, most=connections, patience=timeout / 2, keep=KEEP_ALIVE)


@dataclass(frozen=True, slots=True)
class Call:
    """One request before it is sent. `project` is empty where the route does not name it.

    `trace` hears of each step of the request on its way, in httpcore's words.
    """

    operation: Operation
    method: str
    path: str
    token: str = field(repr=False)
    project: str = ""
    content: bytes | None = field(default=None, repr=False)
    accept: str = "application/json"
    trace: Trace | None = field(default=None, repr=False)


@asynccontextmanager
async def answered(
    lines: ConnectionPool,
    base_url: str,
    call: Call,
    deadline: float | None,
    *,
    timeout: httpx.Timeout | None = None,
    head_within: float | None = None,
) -> AsyncIterator[httpx.Response]:
    """Send a call, and give the answer if its status is a success; its body is not read yet.

    The `deadline` holds until the context ends, `head_within` until the status and the headers are there. httpx's
    errors, in the context too, leave it translated.

    Raises:
        PlatformFailure: another status, or no answer.
        ConfigurationError: the token cannot be sent.
    """
    request = _request(base_url, call, timeout)
    with measured(call.operation) as measurement:
        try:
            async with asyncio.timeout(deadline), lines.line() as http:
                async with asyncio.timeout(head_within):
                    response = await _sent(http, request, call)
                measurement.answered(response.status_code, whole=call.accept == EVENTS)
                try:
                    await _expect_success(response, call)
                    yield response
                finally:
                    await response.aclose()
        except (httpx.HTTPError, TimeoutError) as error:
            raise lost(error, base_url, call.operation) from None


def expect_type(response: httpx.Response, call: Call) -> None:
    """Refuse an answer that says it is not what was asked for, but the login page, say, of a proxy."""
    found = response.headers.get("content-type", call.accept).partition(";")[0].strip().lower()
    if found != call.accept:
        shown = excerpt(Echoes(call.token).blank(found), 64)
        raise PlatformFailure(
            Reason.PLATFORM_ERROR,
            f'The answer is of type "{shown}" and not {call.accept}: it is not the platform\'s. '
            "Check that the base URL is the platform's. The operator retries automatically.",
            status=response.status_code,
            uncertain=call.operation in WRITES,
        )


def lost(error: Exception, base_url: str, operation: Operation) -> PlatformFailure:
    """Return what it means that `error` came instead of an answer; nothing of the request is in it."""
    if isinstance(error, httpx.DecodingError):
        reason, what = Reason.PLATFORM_ERROR, "its answer cannot be unpacked"
    else:
        reason, what = Reason.PLATFORM_UNREACHABLE, _how_lost(error)
    return PlatformFailure(
        reason,
        f"The platform at {excerpt(base_url, 128)} does not answer: {what}. The operator retries automatically.",
        uncertain=operation in WRITES and not isinstance(error, _NOT_SENT),
    )


def _how_lost(error: Exception) -> str:
    if type(error) is httpx.ConnectError:
        return f"no connection ({excerpt(str(error), 128)})"
    found = (what for kind, what in _HOW_LOST if isinstance(error, kind))
    return next(found, "the connection was cut")


def _request(base_url: str, call: Call, timeout: httpx.Timeout | None) -> httpx.Request:
    if not (call.token.isascii() and call.token.isprintable() and call.token.strip()):
        raise ConfigurationError(
            Reason.TOKEN_MALFORMED,
            "The token holds characters that no token has, a line break perhaps; nothing was sent. "
            "Put it into the Secret's key again.",
        )
    if len(call.path) > LONGEST_PATH:
        raise ConfigurationError(
            Reason.PROJECT_NOT_SET,
            "The project's slug, or the workload's, is longer than any address may be; nothing was sent. Correct it.",
        )
    headers = {**_HEADERS, "Authorization": f"Bearer {call.token}", "Accept": call.accept}
    if call.content is not None:
        headers["Content-Type"] = "application/json"
    if call.accept == EVENTS:
        headers["Accept-Encoding"] = "identity"  # Whatever packs a stream may hold events back.
    extensions: dict[str, Any] = {} if call.trace is None else {"trace": call.trace}
    if timeout is not None:
        extensions["timeout"] = timeout.as_dict()
    return httpx.Request(
        call.method, base_url + call.path, headers=headers, content=call.content, extensions=extensions
    )


def asking(permit: Callable[[], None], *steps: str) -> Trace:
    """Calls `permit` at each of these steps of a call, which forbids it by raising."""

    async def trace(step: str, _: Mapping[str, Any]) -> None:
        if step in steps:
            permit()

    return trace


async def _sent(http: httpx.AsyncClient, request: httpx.Request, call: Call) -> httpx.Response:
    """The answer's head. httpx reads where a redirect leads though it is not to follow, and not all of what an address
    may hold leaves it as an error of its own.
    """
    try:
        return await http.send(request, stream=True)
    except (httpx.InvalidURL, ValueError):
        raise PlatformFailure(
            Reason.PLATFORM_UNREACHABLE,
            "The base URL redirects to what is no address, and a redirect is never followed: a token must not travel "
            "to another place. The operator retries automatically. If this lasts, set the base URL to where the "
            "platform answers.",
            uncertain=call.operation in WRITES,
        ) from None


async def unpacked(response: httpx.Response) -> AsyncGenerator[bytes, None]:
    """The body in pieces of at most `packed.PIECE` bytes, or as small as they came. httpx would unpack all that came at
    once, and what was packed twice, twice: a kilobyte is a gigabyte then.
    """
    packed = response.headers.get("content-encoding", "").strip().lower()
    if packed not in _UNPACKED | _PACKED:
        raise httpx.DecodingError(f"packed as {excerpt(packed, 64)}", request=response.request)
    gunzip = Gunzip() if packed in _PACKED else None
    try:
        async for chunk in response.aiter_raw():
            for piece in gunzip.unpack(chunk) if gunzip is not None else (chunk,):
                yield piece
    except zlib.error as error:
        raise httpx.DecodingError(str(error), request=response.request) from error


async def _expect_success(response: httpx.Response, call: Call) -> None:
    if response.is_success:
        return
    echoes = Echoes(call.token)
    said = (await beginning(response)).decode("utf-8", "replace")
    raise failure(
        response.status_code,
        {name.lower(): echoes.blank(value) for name, value in response.headers.items()},
        echoes.blank(said).encode(),
        operation=call.operation,
        project=call.project,
        token=public_id(call.token),
    )


async def beginning(response: httpx.Response) -> bytes:
    """Read what there is of a body that only explains a status, and not too much of it."""
    body = bytearray()
    try:
        async with aclosing(unpacked(response)) as chunks:
            async for chunk in chunks:
                body += chunk
                if len(body) >= REFUSAL_LIMIT:
                    break
    except httpx.HTTPError:
        pass  # The status has said it all.
    return bytes(body[:REFUSAL_LIMIT])


async def whole(response: httpx.Response, call: Call, limit: int) -> bytes:
    """The body, unpacked. Raises PlatformFailure where it has more than `limit` bytes."""
    body = bytearray()
    async with aclosing(unpacked(response)) as chunks:
        async for chunk in chunks:
            body += chunk
            if len(body) > limit:
                raise PlatformFailure(
                    Reason.PLATFORM_ERROR,
                    f"The platform's answer is larger than {limit} bytes and was not read. The "
                    "operator retries automatically.",
                    status=response.status_code,
                    uncertain=call.operation in WRITES,
                )
    return bytes(body)
