"""What is heard of the API server: each byte on a watch counts, and its own absence is not the watch's fault."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import aiohttp
from aiohttp.base_protocol import BaseProtocol

from inferencekey_operator.kube.watch_activity import STREAK, Pulse
from unit.virtual_time import virtual

WORKLOADS = "/apis/inferencekey.com/v1alpha1/workloads"


class Server:
    """An API server that answers when it is told to, on a clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.pulse = Pulse(lambda: self.now)

    def opens_watch(self, path: str = WORKLOADS, status: int = 200, **query: str) -> aiohttp.StreamReader:
        """Answers a watch; what it says there is fed into what is returned."""
        stream = aiohttp.StreamReader(cast(BaseProtocol, SimpleNamespace(_reading_paused=False)), 2**16)
        self._answers(path, {"watch": "true", **query}, status, stream)
        return stream

    def answers(self) -> None:
        """Answers some other request."""
        self._answers("/version", {}, 200, None)

    def passes(self, seconds: float) -> None:
        """The time passes, and the API server answers every now and then."""
        for _ in range(int(seconds // 10)):
            self.now += 10.0
            self.answers()

    def _answers(self, path: str, query: dict[str, str], status: int, stream: Any) -> None:
        response = cast(aiohttp.ClientResponse, SimpleNamespace(status=status, content=stream))
        self.pulse.answered(path, query, response)


@virtual
async def test_a_bookmark_counts() -> None:
    """Whatever comes on a watch is a sign of life."""
    server = Server()
    stream = server.opens_watch()
    server.passes(60)
    assert server.pulse.silences() == {"workloads": 60.0}
    stream.feed_data(b'{"type":"BOOKMARK"}\n')
    assert server.pulse.silences() == {"workloads": 0.0}
    server.passes(60)
    assert server.pulse.silences() == {"workloads": 60.0}


@virtual
async def test_the_quietest_watch_counts() -> None:
    """Of several of one resource, the one that said nothing for longest; one that is opened again is young."""
    server = Server()
    server.opens_watch("/api/v1/secrets", fieldSelector="metadata.name=a")
    server.passes(60)
    server.opens_watch("/api/v1/secrets", fieldSelector="metadata.name=b")
    assert server.pulse.silences() == {"secrets": 60.0}
    server.opens_watch("/api/v1/secrets", fieldSelector="metadata.name=a")
    assert server.pulse.silences() == {"secrets": 0.0}


@virtual
async def test_a_refused_watch_is_none() -> None:
    """An API server that answers a watch with an error says nothing on it."""
    server = Server()
    server.opens_watch(status=410)
    assert server.pulse.silences() == {}


@virtual
async def test_the_absence_of_the_api_server_makes_nobody_deaf() -> None:
    """While it does not answer at all there is nothing to hear; afterwards the watches have their time."""
    server = Server()
    server.opens_watch()
    server.now += 600.0
    assert not server.pulse.answering
    server.answers()
    server.passes(30)
    assert server.pulse.answering
    assert server.pulse.deaf_for() == {"workloads": 30.0}
    assert server.pulse.silences() == {"workloads": 630.0}


@virtual
async def test_a_short_pause_is_no_absence() -> None:
    """What answers every now and then has answered all the time."""
    server = Server()
    server.opens_watch()
    server.now += STREAK - 10.0
    server.passes(300)
    assert server.pulse.deaf_for() == {"workloads": 290.0 + STREAK}
