"""The control plane over HTTP: list, create, update, delete, each as one request that is never repeated.

Decides what each call asks for, and what its answer is. Whether, when and how often to call is the caller's; how a
call travels is `calls`'. Must not know Kubernetes; keeps no token, and shows none in an error: whatever an answer that
is no success echoes of it is blanked before it is read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum
from functools import lru_cache
from typing import Any

import httpx

from inferencekey_operator.errors import ConfigurationError, PlatformFailure, Reason
from inferencekey_operator.inferencekey import listing, wire
from inferencekey_operator.inferencekey.calls import (
    BODY_GOES_OUT,
    EVENTS,
    HEADERS_GO_OUT,
    Call,
    answered,
    asking,
    beginning,
    expect_type,
    whole,
)
from inferencekey_operator.inferencekey.connection_pool import ConnectionPool
from inferencekey_operator.inferencekey.echoes import Echoes

LIST_LIMIT = 64 * 1024 * 1024
"""Bytes of a list, unpacked: ten thousand workloads of 6 KiB each."""
ANSWER_LIMIT = 4 * 1024 * 1024
"""Bytes of the answer to a write."""


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
        lines: ConnectionPool,
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
        self._permitted = asking(permit, HEADERS_GO_OUT, BODY_GOES_OUT)
        self._permitted_without_body = asking(permit, HEADERS_GO_OUT)  # once they are out, it was sent

    def __repr__(self) -> str:
        return f"PlatformClient({self.base_url!r})"

    async def list_workloads(self, token: str, project: str) -> ListAnswer:
        """Return the project's list; `listing.Reader` reads its body.

        Raises:
            PlatformFailure: with the reason that the answer, or its absence, stands for.
            ConfigurationError: the token cannot be sent.
        """
        call = Call("list", "GET", wire.workloads_path(project), token, project)
        async with answered(self._lines, self.base_url, call, self._list_deadline) as response:
            expect_type(response, call)
            if "next" in response.links:
                raise listing.one_page_of_several()
            return ListAnswer(await whole(response, call, self._list_limit), _date(response))

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
                body = await beginning(response)
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
            return await whole(response, call, limit)


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


def _date(response: httpx.Response) -> datetime | None:
    """The platform's clock at the moment of the answer; None where no readable time is stated."""
    try:
        moment = parsedate_to_datetime(response.headers["date"])
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def _encoded(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, separators=(",", ":"), allow_nan=False).encode()
