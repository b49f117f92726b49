"""The readiness stream: bytes to events, events to phases, and streams that drop."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import httpx
import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from harness.lines import open_http
from inferencekey_operator.errors import OperatorError, PlatformFailure, Reason
from inferencekey_operator.inferencekey.connection_pool import ConnectionPool
from inferencekey_operator.inferencekey.readiness import (
    LINE_LIMIT,
    EventParser,
    Phase,
    follow,
    parse_phase,
    phases,
)
from inferencekey_simulator.app import serving
from inferencekey_simulator.faults import Fault
from inferencekey_simulator.platform import Platform
from inferencekey_simulator.settings import ReadinessSettings, Settings
from unit.raw_server import Script, raw_server, response, sends, stays_silent

SECRET = "0123456789abcdef" * 4
TOKEN = f"ik_sdk_a1b2c3d4_{SECRET}"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"


@pytest.mark.parametrize(
    ("stream", "events", "why"),
    [
        (b"data: a\n\n", ["a"], "one event"),
        (b"data: a\n\ndata: b\n\n", ["a", "b"], "two"),
        (b"data: a\r\n\r\ndata: b\r\rdata: c\n\n", ["a", "b", "c"], "each kind of line end"),
        (b"data: a\ndata: b\n\n", ["a\nb"], "lines of one event are joined"),
        (b"data:a\n\ndata:  b\n\n", ["a", " b"], "one space after the colon is no data"),
        (b"data\n\ndata:\n\n", ["", ""], "empty data are data"),
        (b"data: a\r\ndata: b\r\n\r\n", ["a\nb"], "CR and LF end one line, not two"),
        (b": keep-alive\n\n:\n\n", [], "comments are no events"),
        (b"data: a\n: between\ndata: b\n\n", ["a\nb"], "a comment parts nothing"),
        (b"event: phase\nid: 1\nretry: 5\ndata: a\nother: x\nword\n\n", ["a"], "other fields do not matter"),
        (b"event: phase\n\n", [], "an event without data is none"),
        (b"\xef\xbb\xbfdata: a\n\n", ["a"], "a byte order mark at the beginning"),
        (b"data: a\n\n\xef\xbb\xbfdata: b\n\n", ["a"], "and only there"),
        ("data: é—𝄞\n\n".encode(), ["é—𝄞"], "UTF-8"),
        (b"data: \xff\xfe\n\n", ["\ufffd\ufffd"], "what is no UTF-8"),
        (b"data: a\n", [], "an event that was not ended never was"),
        (b"data: a: b\n\n", ["a: b"], "the first colon parts"),
        (b"\n\n\n", [], "nothing at all"),
    ],
)
def test_events_by_table(stream: bytes, events: list[str], why: str) -> None:
    """Server-sent events are read as their standard has them, in one piece or byte by byte."""
    assert EventParser().feed(stream) == events, why
    parser = EventParser()
    pieces = [stream[at : at + 1] for at in range(len(stream))]
    assert [event for piece in pieces for event in (*parser.feed(piece), *parser.feed(b""))] == events, why


texts = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=20)


@given(
    st.lists(st.lists(texts, min_size=1, max_size=3), max_size=5),
    st.sampled_from(["\n", "\r", "\r\n"]),
    st.booleans(),
    st.data(),
)
def test_events_survive_any_cutting(events: list[list[str]], end: str, mark: bool, data: st.DataObject) -> None:
    """However the bytes are cut, within characters and line ends too, the same events come out."""
    text = "".join("".join(f": note{end}data: {line}{end}" for line in event) + end for event in events)
    stream = (b"\xef\xbb\xbf" if mark else b"") + text.encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    parser = EventParser()
    found = [
        event
        for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True)
        for event in parser.feed(stream[start:stop])
    ]
    assert found == ["\n".join(event) for event in events]


@pytest.mark.parametrize("stream", [b"data: " + b"x" * LINE_LIMIT, b"data: xxxxxxx\n" * (LINE_LIMIT // 8 + 1)])
def test_an_endless_line_or_event_is_refused(stream: bytes) -> None:
    """What is kept of a stream is bounded, however it is cut."""
    for size in (1024, len(stream)):
        pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
        with pytest.raises(ValueError, match="too long"):
            deque(map(EventParser().feed, pieces), maxlen=0)


def test_only_what_is_kept_is_bounded() -> None:
    """A stream may go on for ever: what was told no longer counts."""
    parser = EventParser()
    piece = b"data: " + b"x" * 1000 + b"\n\n"
    assert sum(len(parser.feed(piece)) for _ in range(LINE_LIMIT // 100)) == LINE_LIMIT // 100


@pytest.mark.parametrize(
    ("event", "phase"),
    [
        (
            {"phase": "bootstrapping", "step": "load_weights", "message": "Loading", "elapsed_ms": 1500},
            Phase("bootstrapping", "load_weights", "Loading", 1500),
        ),
        ({"phase": "ready", "message": "Serving", "elapsed_ms": 3}, Phase("ready", None, "Serving", 3)),
        ({"phase": "warming", "step": None, "new": 1}, Phase("warming")),
        ({"phase": "ready", "message": 7, "step": [], "elapsed_ms": "soon"}, Phase("ready")),
        ({"phase": "ready", "message": "", "elapsed_ms": -1}, Phase("ready")),
        ({"phase": "ready", "elapsed_ms": 12.7}, Phase("ready", elapsed_ms=12)),
        ({"phase": "error", "message": f"bad {TOKEN}"}, Phase("error", None, "bad ik_sdk_a1b2c3d4…")),
        ({"phase": "error", "message": "x" * 300}, Phase("error", None, "x" * 255 + "…")),
        ({"phase": None}, None),
        ({"phase": ""}, None),
        ({"message": "x"}, None),
        (["ready"], None),
        (None, None),
    ],
)
def test_phases_by_table(event: Any, phase: Phase | None) -> None:
    """An event names a phase or is none; its texts are fit to be shown."""
    assert parse_phase(json.dumps(event)) == phase


@given(st.text() | st.just("[" * 100_000) | st.just('{"phase": "ready", "elapsed_ms": NaN}'))
def test_any_data_is_a_phase_or_nothing(data: str) -> None:
    """No event makes the reader fail."""
    assert isinstance(parse_phase(data), Phase | None)


def test_two_phases_are_terminal() -> None:
    """`ready` and `error` end a stream; anything else, words of tomorrow too, is progress."""
    ended = {word: Phase(word).terminal for word in ("ready", "error", "provisioning", "warming")}
    assert ended == {"ready": True, "error": True, "provisioning": False, "warming": False}


class World:
    """A simulated platform with one workload that is being built, and a way to its stream."""

    def __init__(self, platform: Platform, url: str, lines: ConnectionPool) -> None:
        self.platform, self.url, self.lines = platform, url, lines
        self.token = platform.mint("team-a", token=TOKEN)
        self.row = platform.add("team-a", {"name": "Bot", "slug": "bot"})
        self.slept: list[float] = []

    def open(self) -> AsyncGenerator[Phase, None]:
        """Open the workload's stream."""
        return phases(self.lines, self.url, self.token, "team-a", "bot")

    def follow(self, ready_after: int | None = None) -> AsyncGenerator[Phase, None]:
        """Follow the workload, recording the waits instead of waiting; it is ready by itself, or after so many."""
        if ready_after is not None:
            self.platform.set_phase(self.row, "provisioning")

        async def sleep(seconds: float) -> None:
            self.slept.append(seconds)
            if len(self.slept) == ready_after:
                self.platform.set_phase(self.row, "ready")

        return follow(self.open, sleep=sleep)

    def fault(self, action: str, **more: Any) -> None:
        """Let the next streams go wrong."""
        self.platform.faults.add(Fault.model_validate({"action": action, "operation": "readiness", **more}))

    @property
    def opened(self) -> int:
        """How many streams were asked for."""
        return int(self.platform.journal.totals()["operations"]["readiness"])

    async def streams_open(self) -> int:
        """How many streams the platform has open."""
        async with httpx.AsyncClient() as admin:
            return int((await admin.get(f"{self.url}/simulator/counters")).json()["streams_open"])


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    """Serve a platform whose workloads are ready in a fifth of a second."""
    platform = Platform(settings=Settings(readiness=ReadinessSettings.lasting(0.2)))
    async with serving(platform) as url, open_http(20.0) as lines:
        yield World(platform, url, lines)


async def words(stream: AsyncIterator[Phase]) -> list[str]:
    """Read a stream to its end; the phases, each once."""
    found = [phase.phase async for phase in stream]
    return [word for at, word in enumerate(found) if found[:at][-1:] != [word]]


async def test_a_stream_tells_each_phase_and_ends(world: World) -> None:
    """From the snapshot to `ready`, over one connection."""
    told = []
    async with aclosing(world.open()) as stream:
        for phase in ("scheduling", "provisioning", "bootstrapping", "ready"):
            world.platform.set_phase(world.row, phase)
            told.append((await anext(stream)).phase)
        assert await anext(stream, None) is None
    assert told == ["scheduling", "provisioning", "bootstrapping", "ready"]
    assert world.opened == 1


async def test_a_terminal_snapshot_ends_the_stream(world: World) -> None:
    """What failed before is told at once, with the platform's message."""
    world.platform.set_phase(world.row, "error", f"out of memory, {TOKEN}")
    assert [phase async for phase in world.open()] == [Phase("error", None, "out of memory, ik_sdk_a1b2c3d4…", 0)]


@pytest.mark.parametrize("cut", [False, True])
async def test_a_dropped_stream_ends_without_a_terminal_phase(world: World, cut: bool) -> None:
    """Ended properly or cut, a dropped stream looks the same: it ends early."""
    world.platform.set_phase(world.row, "provisioning")
    async with aclosing(world.open()) as stream:
        assert (await anext(stream)).phase == "provisioning"
        async with httpx.AsyncClient() as admin:
            await admin.post(f"{world.url}/simulator/streams/drop", json={"cut": cut})
        assert [phase async for phase in stream] == []


async def test_a_stream_that_is_left_early_is_closed(world: World) -> None:
    """Whoever stops listening gives the connection back, and the platform notices."""
    world.platform.configure({"readiness": {"keep_alive": 0.05}})
    world.platform.set_phase(world.row, "provisioning")
    async with aclosing(world.open()) as stream:
        await anext(stream)
        assert await world.streams_open() == 1
    async with asyncio.timeout(60):
        while await world.streams_open():  # noqa: ASYNC110 - asked from outside, over HTTP
            await asyncio.sleep(0.02)


def event(phase: str) -> bytes:
    """Return an event as it is sent."""
    return b"data: " + json.dumps({"phase": phase, "message": "", "elapsed_ms": 0}).encode() + b"\n\n"


async def raw_words(script: Script, silence: float = 60.0, timeout: float = 60.0) -> list[str]:
    """Read one stream of a raw server."""
    async with raw_server(script) as server, open_http(timeout) as lines:
        return await words(phases(lines, server.url, TOKEN, "team-a", "bot", silence=silence))


CHUNKED = HEAD[:-2] + b"Transfer-Encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """Return a piece of a body of unknown length."""
    return b"%x\r\n%s\r\n" % (len(data), data)


async def left_at_the_terminal_phase(*pieces: bytes) -> int:
    """Follow two streams of these pieces, each until it told all; how many connections that took."""
    async with raw_server(sends(*pieces, pause=0.05)) as server, open_http(60.0) as lines:
        for _ in range(2):
            async with aclosing(phases(lines, server.url, TOKEN, "team-a", "bot")) as stream:
                assert (await anext(stream)).phase == "ready"
        return server.connections


async def test_a_stream_that_told_all_gives_its_connection_back() -> None:
    """It is read to its end, which follows the terminal phase: the next stream needs no connection of its own."""
    assert await left_at_the_terminal_phase(CHUNKED + chunk(event("ready")), chunk(b"")) == 1


async def test_a_stream_that_does_not_end_is_left() -> None:
    """A platform that keeps the stream open after the terminal phase holds nobody up."""
    async with asyncio.timeout(30):
        assert await left_at_the_terminal_phase(CHUNKED + chunk(event("ready"))) == 2


async def test_keep_alives_keep_a_quiet_stream_open() -> None:
    """Comment lines count as life: a stream with them outlasts the limit of silence."""
    quiet = sends(HEAD + event("provisioning"), *[b": keep-alive\n\n"] * 40, event("ready"), pause=0.1, close=True)
    assert await raw_words(quiet, silence=3.0) == ["provisioning", "ready"]


async def test_a_stream_may_be_quiet_for_longer_than_a_call_may_take() -> None:
    """The limit of silence holds for a stream, and not the pool's limit for an answer."""
    slow = sends(HEAD + event("provisioning"), event("ready"), pause=0.8, close=True)
    assert await raw_words(slow, timeout=0.4) == ["provisioning", "ready"]


async def test_a_silent_stream_counts_as_dropped() -> None:
    """Without a byte for too long, a stream ends, though its connection is still there."""
    assert await raw_words(sends(HEAD + event("provisioning")), silence=0.2) == ["provisioning"]


async def test_an_event_that_cannot_be_read_is_left_out() -> None:
    """Garbage between events spoils none of them."""
    garbled = HEAD + event("scheduling") + b"data: {oops\n\ndata: []\n\n" + event("ready")
    assert await raw_words(sends(garbled, close=True)) == ["scheduling", "ready"]


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (sends(response(b"<html></html>", kind="text/html")), "a web page"),
        (sends(HEAD + b"data: " + b"x" * LINE_LIMIT, close=True), "an endless line"),
        (
            sends(response(b"no gzip at all", "Content-Encoding: gzip", kind="text/event-stream")),
            "what cannot be unpacked",
        ),
    ],
)
async def test_what_is_no_event_stream_is_an_error(script: Script, why: str) -> None:
    """An answer that is no stream of events is an error of the platform, not a dropped stream."""
    with pytest.raises(PlatformFailure) as caught:
        await raw_words(script)
    assert (caught.value.reason, caught.value.uncertain) == (Reason.PLATFORM_ERROR, False), why


async def only_comments(writer: asyncio.StreamWriter) -> None:
    """A stream that is alive and tells nothing."""
    writer.write(HEAD)
    while True:
        writer.write(b": keep-alive\n\n")
        await writer.drain()
        await asyncio.sleep(0.02)


async def test_a_stream_of_comments_counts_as_dropped() -> None:
    """The platform begins with the present phase: what does not is left, long before it would be silent."""
    async with raw_server(only_comments) as server, open_http() as lines:
        async with asyncio.timeout(20):
            assert await words(phases(lines, server.url, TOKEN, "team-a", "bot", first_word=0.2)) == []


async def test_comments_after_a_phase_are_keep_alives() -> None:
    """A start may take hours, and nothing is told meanwhile."""

    async def one_phase_first(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + event("provisioning"))
        for _ in range(25):
            writer.write(b": keep-alive\n\n")
            await writer.drain()
            await asyncio.sleep(0.02)
        writer.write(event("ready"))
        writer.close()

    async with raw_server(one_phase_first) as server, open_http() as lines:
        told = await words(phases(lines, server.url, TOKEN, "team-a", "bot", first_word=0.2))
    assert told == ["provisioning", "ready"]


async def test_a_stream_asks_for_events() -> None:
    """The request says which kind of answer it wants, and carries the token."""
    async with raw_server(sends(HEAD + event("ready"), close=True)) as server, open_http() as lines:
        assert await words(phases(lines, server.url + "/ik/", TOKEN, "team-a", "a/b")) == ["ready"]
    head = server.requests[0].decode().lower()
    assert head.startswith("get /ik/api/projects/team-a/workloads/a%2fb/readiness-events http/1.1")
    assert "accept: text/event-stream\r\n" in head
    assert "accept-encoding: identity\r\n" in head
    assert f"authorization: bearer {TOKEN}\r\n" in head


@pytest.mark.parametrize(
    ("status", "reason"),
    [(401, Reason.TOKEN_REJECTED), (404, Reason.PLATFORM_REFUSED), (503, Reason.PLATFORM_UNREACHABLE)],
)
async def test_a_stream_that_is_refused_fails_by_its_status(world: World, status: int, reason: Reason) -> None:
    """An answer that is no success is the failure it stands for."""
    world.fault("respond", status=status, body={"error": "no"})
    with pytest.raises(PlatformFailure) as caught:
        await words(world.open())
    assert (caught.value.reason, caught.value.status) == (reason, status)


async def test_a_stream_to_nobody_is_unreachable() -> None:
    """A platform that does not answer is a failure, long before an open stream would count as silent."""
    async with raw_server(stays_silent) as server, open_http() as lines:
        with pytest.raises(PlatformFailure) as caught:
            async with asyncio.timeout(20):
                await words(phases(lines, server.url, TOKEN, "team-a", "bot", first_word=0.2))
    assert caught.value.reason is Reason.PLATFORM_UNREACHABLE


async def test_following_goes_on_over_dropped_streams(world: World) -> None:
    """Drops do not end it; the terminal phase does, and no further stream is opened."""
    world.fault("drop", times=3, after_events=1)
    assert (await words(world.follow(ready_after=3)))[-1] == "ready"
    assert world.opened == 4
    assert world.slept == [1.0, 1.0, 1.0]


async def test_waits_grow_while_no_event_arrives(world: World) -> None:
    """1, 2, 4, then 5 seconds, whichever way the stream fails; an event begins them anew."""
    world.fault("respond", times=2, status=503)
    world.fault("cut_before", times=2)
    world.fault("drop", times=2, after_events=0)
    world.fault("drop", times=1, after_events=1)
    world.fault("respond", times=1, status=500)
    assert (await words(world.follow(ready_after=8)))[-1] == "ready"
    assert world.slept == [1.0, 2.0, 4.0, 5.0, 5.0, 5.0, 1.0, 2.0]


async def test_the_platforms_wish_lengthens_a_wait(world: World) -> None:
    """Retry-After is honoured where it is longer."""
    world.fault("respond", status=429, headers={"Retry-After": "30"})
    world.fault("respond", status=503, headers={"Retry-After": "0"})
    await words(world.follow())
    assert world.slept == [30.0, 2.0]


@pytest.mark.parametrize("status", [400, 401, 403, 404])
async def test_what_a_person_must_mend_ends_the_following(world: World, status: int) -> None:
    """Such a failure is raised at once, without a wait."""
    world.fault("respond", status=status, body={"error": "no"})
    with pytest.raises(OperatorError) as caught:
        await words(world.follow())
    assert SECRET[:12] not in str(caught.value)
    assert (world.opened, world.slept) == (1, [])


async def test_following_that_is_left_early_closes_its_stream(world: World) -> None:
    """The stream below is closed with it."""
    closed: list[str] = []

    async def stream() -> AsyncGenerator[Phase, None]:
        try:
            yield Phase("provisioning")
            yield Phase("ready")
        finally:
            closed.append("closed")

    async def never(_: float) -> None:
        raise AssertionError("nothing was dropped")

    async with aclosing(follow(stream, sleep=never)) as following:
        assert (await anext(following)).phase == "provisioning"
        assert closed == []
    assert closed == ["closed"]
