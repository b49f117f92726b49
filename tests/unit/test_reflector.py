"""A watch of ours goes on whatever happens to it, from where it was where that can be, and never hotly.

What the API server says is scripted and time is virtual; the same is done with a real one in the integration tests.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import pytest

from inferencekey_operator.kube.client import Cluster
from inferencekey_operator.kube.errors import ClusterError
from inferencekey_operator.kube.reading import Body
from inferencekey_operator.kube.reflector import LONGEST_PAUSE, Reflector
from unit.raw_cluster import answering
from unit.raw_server import response, sends
from unit.virtual_time import virtual

Spoken = Body | ClusterError


class Scripted(Cluster):
    """Lists are empty; each watch says what is next in the script, and ends. After the script, all end at once."""

    def __init__(self, *watches: list[Spoken]) -> None:
        self._watches = list(watches)
        self.lists: list[float] = []
        self.opened: list[tuple[float, str]] = []

    async def pages(self, path: str, *, accept: str = "", **query: str) -> AsyncIterator[Body]:
        """One page."""
        self.lists.append(asyncio.get_running_loop().time())
        yield {"metadata": {"resourceVersion": "7"}, "items": []}

    async def watch(
        self, path: str, resource_version: str, *, accept: str = "", **query: str
    ) -> AsyncGenerator[Body, None]:
        """What is next."""
        self.opened.append((asyncio.get_running_loop().time(), resource_version))
        for spoken in self._watches.pop(0) if self._watches else []:
            if isinstance(spoken, ClusterError):
                raise spoken
            yield spoken


class Seen(Reflector):
    """Notes what it is told, and stumbles over what it is told to."""

    def __init__(self, cluster: Cluster, stumbles_at: str = "") -> None:
        super().__init__(cluster, "/api/v1/things")
        self.names: list[str] = []
        self._stumbles_at = stumbles_at

    async def changed(self, item: Body) -> None:
        """One more."""
        self.names.append(item["metadata"]["name"])
        if item["metadata"]["name"] == self._stumbles_at:
            raise KeyError("stumbled")


def added(name: str, version: str) -> Body:
    """An event."""
    return {"type": "ADDED", "object": {"metadata": {"name": name, "resourceVersion": version}}}


async def watched(cluster: Scripted, seconds: float, stumbles_at: str = "") -> Seen:
    """What was seen in that time."""
    seen = Seen(cluster, stumbles_at)
    running = asyncio.create_task(seen.run())
    await asyncio.sleep(seconds)
    assert not running.done()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return seen


@virtual
async def test_a_watch_that_ends_is_opened_from_where_it_was() -> None:
    """Without a list."""
    cluster = Scripted([added("one", "8")], [added("two", "9")])
    assert (await watched(cluster, 2.5)).names == ["one", "two"]
    assert [version for _, version in cluster.opened][:3] == ["7", "8", "9"]
    assert len(cluster.lists) == 1


@virtual
async def test_a_watch_that_tells_nothing_is_opened_ever_more_slowly() -> None:
    """Though each of them was accepted."""
    cluster = Scripted()
    await watched(cluster, 600)
    times = [at for at, _ in cluster.opened]
    assert 600 / LONGEST_PAUSE / 1.2 - 1 <= len(times) <= 600 / LONGEST_PAUSE + 6
    assert len(cluster.lists) == 1


@pytest.mark.parametrize("status", [0, 429, 500, 502, 503])
@virtual
async def test_trouble_of_the_servers_says_nothing_against_the_place(status: int) -> None:
    """A list is dear to a server that is in trouble."""
    cluster = Scripted([added("one", "8"), ClusterError(status, "trouble")], [added("two", "9")])
    assert (await watched(cluster, 2.5)).names == ["one", "two"]
    assert cluster.opened[1][1] == "8"
    assert len(cluster.lists) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 504])
@virtual
async def test_a_place_that_is_not_known_any_more_is_left(status: int) -> None:
    """It begins with a list."""
    cluster = Scripted([added("one", "8"), ClusterError(status, "expired")], [added("two", "9")])
    assert (await watched(cluster, 2.5)).names == ["one", "two"]
    assert cluster.opened[1][1] == "7"
    assert len(cluster.lists) == 2


@virtual
async def test_a_place_that_expired_in_an_outage_is_left_at_once() -> None:
    """However long the pauses have become: the server answers again."""
    outage, expired = [[ClusterError(0, "refused")] for _ in range(6)], [ClusterError(410, "too old")]
    cluster = Scripted([added("one", "8")], *outage, expired, [added("two", "7")])
    await watched(cluster, 30)
    assert [version for _, version in cluster.opened][:9] == ["7", *["8"] * 7, "7"]
    assert cluster.opened[7][0] - cluster.opened[6][0] >= LONGEST_PAUSE
    assert cluster.lists[1] - cluster.opened[7][0] <= 1.0


@virtual
async def test_a_server_that_takes_no_place_is_not_asked_without_end() -> None:
    """Not even that of the list that it has just made."""
    cluster = Scripted(*([ClusterError(410, "too old")] for _ in range(1_000)))
    await watched(cluster, 60)
    assert len(cluster.lists) <= 60 / LONGEST_PAUSE + 6


@virtual
async def test_the_servers_wish_is_heeded() -> None:
    """It said how long it wants to be left alone."""
    cluster = Scripted([ClusterError(429, "busy", retry_after=7.0)])
    await watched(cluster, 10)
    assert cluster.opened[1][0] - cluster.opened[0][0] >= 7.0


@virtual
async def test_trouble_is_reported_once_for_as_long_as_it_lasts(caplog: pytest.LogCaptureFixture) -> None:
    """Once it was over, the same trouble is news."""
    gone = [[ClusterError(404, "not found")] for _ in range(5)]
    await watched(Scripted(*gone, [added("one", "8")], *gone), 60)
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(told) == 2, told


@virtual
async def test_a_handler_that_stumbles_ends_no_watch() -> None:
    """What it missed is in the list that follows."""
    cluster = Scripted([added("stone", "8")], [added("two", "9")])
    assert (await watched(cluster, 2.5, stumbles_at="stone")).names == ["stone", "two"]
    assert len(cluster.lists) == 2


# -- the lines of a watch, and answers that are none -------------------------------------------------------------


async def events_of(body: bytes) -> list[Body]:
    """What a watch tells whose stream is this."""
    async with answering(sends(response(body))) as (cluster, _), asyncio.timeout(60):
        return [event async for event in cluster.watch("/api/v1/things", "7")]


@pytest.mark.parametrize(
    "line", [b"<html>", b"[]", b"{}", b'{"type":"ADDED"}', b'{"type":"ADDED","object":{"metadata":{}}}', b"null"]
)
async def test_a_line_that_is_no_event_is_trouble_on_the_way(line: bytes) -> None:
    """And nothing that a handler would stumble over."""
    with pytest.raises(ClusterError) as raised:
        await events_of(line + b"\n")
    assert raised.value.status == 0


@pytest.mark.parametrize(
    ("error", "status", "wish"),
    [
        (b'{"code":410,"message":"too old"}', 410, None),
        (b'{"code":429,"details":{"retryAfterSeconds":3}}', 429, 3),
        (b"{}", 0, None),
        (b'{"code":"many"}', 0, None),
    ],
)
async def test_an_error_in_a_watch_is_the_servers(error: bytes, status: int, wish: float | None) -> None:
    """With its code and its wish, as if it had been the answer."""
    with pytest.raises(ClusterError) as raised:
        await events_of(b'{"type":"ERROR","object":' + error + b"}\n")
    assert (raised.value.status, raised.value.retry_after) == (status, wish)


@pytest.mark.parametrize(
    ("answer", "status", "wish", "passing"),
    [
        (response(b"<html>it works</html>"), 0, None, True),
        (response(b"[]"), 0, None, True),
        (response(b"{}", "Retry-After: 5", status="429 Too Many Requests"), 429, 5.0, True),
        (response(b"<html>", status="503 Service Unavailable"), 503, None, True),
        (response(b'{"message":"no"}', status="422 Unprocessable Entity"), 422, None, False),
    ],
)
async def test_every_answer_is_one_or_an_error_of_ours(
    answer: bytes, status: int, wish: float | None, passing: bool
) -> None:
    """Whatever stands between us and the API server says."""
    async with answering(sends(answer)) as (cluster, _):
        with pytest.raises(ClusterError) as raised:
            await cluster.request("GET", "/api/v1/things")
    error = raised.value
    assert (error.status, error.retry_after, error.passing) == (status, wish, passing)


async def test_a_list_that_is_none_is_trouble_on_the_way() -> None:
    """An object, but no list."""
    async with answering(sends(response(b'{"kind":"Status"}'))) as (cluster, _):
        with pytest.raises(ClusterError, match="the answer to a list is none"):
            _: Any = [page async for page in cluster.pages("/api/v1/things")]


async def test_whatever_goes_wrong_with_credentials_is_trouble_on_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exceptions there are of any kind, and may end no watch."""
    async with answering(sends(response(b"{}"))) as (cluster, _):

        async def fails(*_: Any) -> None:
            raise RuntimeError("no credentials today")

        monkeypatch.setattr(cluster.authentication, "current", fails)
        with pytest.raises(ClusterError, match="no credentials today"):
            await cluster.request("GET", "/api/v1/things")


async def test_a_line_may_be_as_long_as_an_object() -> None:
    """A Secret may have a megabyte: the watch tells of it, and of the one that comes after it."""
    events = [added("small", "1"), added("x" * 2_000_000, "2"), added("after", "3")]
    lines = b"".join(json.dumps(event).encode() + b"\n" for event in events)
    async with answering(sends(response(lines))) as (cluster, _):
        told = [event["object"]["metadata"]["name"][:5] async for event in cluster.watch("/api/v1/things", "0")]
    assert told == ["small", "xxxxx", "after"]
