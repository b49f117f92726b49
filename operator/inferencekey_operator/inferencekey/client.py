"""The control plane over HTTP: list, create, update, delete, each as one request that is never repeated.

Decides how a call travels (connections, limits of time and size) and whether a call that was lost may have
been carried out. Whether, when and how often to call is the caller's. Must not know Kubernetes; keeps no
token, and shows none in an error: whatever an answer that is no success echoes of it is blanked before it is read.
"""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum
from functools import lru_cache
from http.cookiejar import CookieJar
from importlib.metadata import version
from typing import Any

import httpx

from inferencekey_operator.errors import ConfigurationError, PlatformFailure, Reason
from inferencekey_operator.inferencekey import wire
from inferencekey_operator.inferencekey.answers import WRITES, Operation
from inferencekey_operator.inferencekey.echoes import Echoes
from inferencekey_operator.inferencekey.egress import Egress, Transport
from inferencekey_operator.inferencekey.lines import Lines
from inferencekey_operator.inferencekey.measured import measured
from inferencekey_operator.inferencekey.packed import Gunzip
from inferencekey_operator.redaction import excerpt, public_id

CONNECTIONS = 16
KEEP_ALIVE = 4.0
"""Seconds. Servers close idle connections after 5 or more; a create that meets such a close is lost."""
LIST_LIMIT = 64 * 1024 * 1024
"""Bytes of a list, unpacked: ten thousand workloads of 6 KiB each."""
ANSWER_LIMIT = 4 * 1024 * 1024
"""Bytes of the answer to a write."""
REFUSAL_LIMIT = 64 * 1024
"""Bytes that are read of a body that only explains a status."""
LONGEST_PATH = 8 * 1024
"""Characters. Servers refuse what is longer, and httpx does so with an error of another kind."""
EVENTS = "text/event-stream"

Trace = Callable[[str, Mapping[str, Any]], Awaitable[None]]
_HEADERS_GO_OUT = "http11.send_request_headers.started"
_BODY_GOES_OUT = "http11.send_request_body.started"

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


def open_http(timeout: float = 10.0, *, egress: Egress | None = None, connections: int = CONNECTIONS) -> Lines:
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

    return Lines(open_line, most=connections, patience=timeout / 2, keep=KEEP_ALIVE)


class Deleted(Enum):
    """What a DELETE came to."""

    CONFIRMED = "confirmed"
    """204: the workload is gone."""
    ACCEPTED = "accepted"
    """Another success, as 202: the platform deletes it later, or never."""
    UNKNOWN = "unknown"
    """404: the platform knows no such workload. Something in between may have said so, so a list has to agree: that is
    why a 404 of any form counts here, and a deletion ends."""


@dataclass(frozen=True, slots=True)
class ListAnswer:
    """The body of a list as it was sent, and the platform's time (`Date`); None without a readable one."""

    body: bytes
    date: datetime | None = None


class PlatformClient:
    """The control plane of one platform. Holds no token, and no state but its connections, `lines`.

    A call ends within its deadline (seconds, the wait for a connection included), so that whoever must have
    stopped writing at a certain moment can. A write that is cancelled may have been carried out.

    `permit` is called each time that bytes of a write are about to go out, and forbids them by raising: between the
    decision to call and the call there may be a wait for a connection, or a process that stood still for minutes.
    """

    def __init__(
        self,
        base_url: str,
        lines: Lines,
        *,
        write_deadline: float = 10.0,
        list_deadline: float = 60.0,
        list_limit: int = LIST_LIMIT,
        permit: Callable[[], None] = lambda: None,
    ) -> None:
        self.base_url = checked_base_url(base_url)
        self._lines = lines
        self._write_deadline, self._list_deadline = write_deadline, list_deadline
        self._list_limit = list_limit
        self._permitted = _asking(permit, _HEADERS_GO_OUT, _BODY_GOES_OUT)
        self._permitted_without_body = _asking(permit, _HEADERS_GO_OUT)  # once they are out, it was sent

    def __repr__(self) -> str:
        return f"PlatformClient({self.base_url!r})"

    async def list_workloads(self, token: str, project: str) -> ListAnswer:
        """Return the project's list; `wire.Reader` reads its body.

        Raises:
            PlatformFailure: with the reason that the answer, or its absence, stands for.
            ConfigurationError: the token cannot be sent.
        """
        call = Call("list", "GET", wire.workloads_path(project), token, project)
        async with answered(self._lines, self.base_url, call, self._list_deadline) as response:
            expect_type(response, call)
            if "next" in response.links:
                raise wire.one_page_of_several()
            return ListAnswer(await _whole(response, call, self._list_limit), _date(response))

    async def exists(self, token: str, project: str, slug: str) -> bool:
        """Whether the readiness route knows a workload of this slug: the only read that is of one workload.

        Raises:
            PlatformFailure: the route answered with another error than the platform's 404, or not at all.
            ConfigurationError: the token cannot be sent.
        """
        call = Call("readiness", "GET", wire.readiness_path(project, slug), token, project, accept=EVENTS)
        try:
            async with answered(self._lines, self.base_url, call, self._write_deadline) as response:
                expect_type(response, call)
                return True
        except PlatformFailure as error:
            if not error.not_found:
                raise
            return False

    async def create(self, token: str, project: str, body: Mapping[str, Any]) -> wire.LiveWorkload:
        """Create a workload and return it: under another slug where the wanted one was taken.

        Raises:
            PlatformFailure: `uncertain` when there may be a workload now.
            ConfigurationError: the token cannot be sent.
        """
        path = wire.workloads_path(project)
        call = Call("create", "POST", path, token, project, _encoded(body), trace=self._permitted)
        return wire.parse_workload(await self._json(call, self._write_deadline, ANSWER_LIMIT), Echoes(token))

    async def update(self, token: str, workload_id: str, body: Mapping[str, Any]) -> wire.LiveWorkload:
        """Change the fields in `body` and return the workload as it is now.

        Raises:
            PlatformFailure: `uncertain` when the change may have been made; status 404 when it is gone.
            ConfigurationError: the token cannot be sent.
        """
        path = wire.workload_path(workload_id)
        call = Call("update", "PATCH", path, token, content=_encoded(body), trace=self._permitted)
        return wire.parse_workload(await self._json(call, self._write_deadline, ANSWER_LIMIT), Echoes(token))

    async def delete(self, token: str, workload_id: str) -> Deleted:
        """Delete a workload; one that is gone already is no error.

        Raises:
            PlatformFailure: `uncertain` when it may have been deleted.
            ConfigurationError: the token cannot be sent.
        """
        call = Call("delete", "DELETE", wire.workload_path(workload_id), token, trace=self._permitted_without_body)
        try:
            async with answered(self._lines, self.base_url, call, self._write_deadline) as response:
                body = await _beginning(response)
                if response.status_code == 204:
                    return Deleted.CONFIRMED
                if body:
                    expect_type(response, call)
                return Deleted.ACCEPTED
        except PlatformFailure as error:
            if error.status != 404:
                raise
            return Deleted.UNKNOWN

    async def _json(self, call: Call, deadline: float, limit: int) -> bytes:
        async with answered(self._lines, self.base_url, call, deadline) as response:
            expect_type(response, call)
            return await _whole(response, call, limit)


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
    lines: Lines,
    base_url: str,
    call: Call,
    deadline: float | None,
    timeout: httpx.Timeout | None = None,
) -> AsyncIterator[httpx.Response]:
    """Send a call, and give the answer if its status is a success; its body is not read yet.

    The `deadline` holds until the context ends. httpx's errors, in the context too, leave it translated.

    Raises:
        PlatformFailure: another status, or no answer.
        ConfigurationError: the token cannot be sent.
    """
    request = _request(base_url, call, timeout)
    with measured(call.operation) as measurement:
        try:
            async with asyncio.timeout(deadline), lines.line() as http:
                response = await _sent(http, request, call)
                measurement.answered(response.status_code, whole=call.accept == EVENTS)
                try:
                    await _expect_success(response, call)
                    yield response
                finally:
                    await response.aclose()
        except (httpx.HTTPError, TimeoutError) as error:
            raise lost(error, base_url, call.operation) from None


@lru_cache(maxsize=256)  # there are few, and each look at readiness asks
def checked_base_url(text: str) -> str:
    """Return a base URL without a slash at its end.

    Raises:
        ConfigurationError: it is no plain http or https URL.
    """
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        url = httpx.URL()
    misled = url.userinfo or url.query or url.fragment or " " in text
    if url.scheme not in ("http", "https") or not url.host or misled:
        raise ConfigurationError(
            Reason.BASE_URL_NOT_ALLOWED,
            "The base URL is not of the form https://host[:port][/path], without a user, a query or a fragment. "
            "Correct INFERENCEKEY_BASE_URL.",
        )
    return text.rstrip("/")


def expect_type(response: httpx.Response, call: Call) -> None:
    """Refuse an answer that says it is not what was asked for, but the login page, say, of a proxy."""
    found = response.headers.get("content-type", call.accept).partition(";")[0].strip().lower()
    if found != call.accept:
        shown = excerpt(Echoes(call.token).blank(found), 64)
        raise PlatformFailure(
            Reason.PLATFORM_ERROR,
            f'The answer is of type "{shown}" and not {call.accept}: it is not the platform\'s. '
            "Check that the base URL is the platform's; retried by itself.",
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
        f"The platform at {excerpt(base_url, 128)} does not answer: {what}. Retried by itself.",
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


def _asking(permit: Callable[[], None], *steps: str) -> Trace:
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
    said = (await _beginning(response)).decode("utf-8", "replace")
    raise wire.failure(
        response.status_code,
        {name.lower(): echoes.blank(value) for name, value in response.headers.items()},
        echoes.blank(said).encode(),
        operation=call.operation,
        project=call.project,
        token=public_id(call.token),
    )


async def _beginning(response: httpx.Response) -> bytes:
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


async def _whole(response: httpx.Response, call: Call, limit: int) -> bytes:
    body = bytearray()
    async with aclosing(unpacked(response)) as chunks:
        async for chunk in chunks:
            body += chunk
            if len(body) > limit:
                raise PlatformFailure(
                    Reason.PLATFORM_ERROR,
                    f"The platform's answer is larger than {limit} bytes and was not read. Retried by itself.",
                    status=response.status_code,
                    uncertain=call.operation in WRITES,
                )
    return bytes(body)


def _date(response: httpx.Response) -> datetime | None:
    """The platform's clock at the moment of the answer; None where no readable time is stated."""
    try:
        moment = parsedate_to_datetime(response.headers["date"])
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def _encoded(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, separators=(",", ":"), allow_nan=False).encode()
