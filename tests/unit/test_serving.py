"""Readiness streams: followed while they tell something, bounded in number, and never left open."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable
from itertools import pairwise

import pytest

from inferencekey_operator.api.keys import Key
from inferencekey_operator.api.status import Readiness
from inferencekey_operator.cache.readiness import TURN, Serving
from inferencekey_operator.errors import PlatformFailure, Reason
from inferencekey_operator.inferencekey.connection import STREAMS
from inferencekey_operator.inferencekey.readiness import Phase
from unit.virtual_time import virtual

A, B = Key("team-a", "a"), Key("team-a", "b")
SCHEDULING, BOOTSTRAPPING, READY = Phase("scheduling"), Phase("bootstrapping"), Phase("ready")
REJECTED = PlatformFailure(Reason.TOKEN_REJECTED, "Unknown token.", status=401)
DOWN = PlatformFailure(Reason.PLATFORM_UNREACHABLE, "The platform does not answer.", status=503)


def now() -> float:
    """Seconds of virtual time."""
    return asyncio.get_running_loop().time()


async def settle() -> None:
    """Let everything happen that can happen without time going on."""
    for _ in range(30):
        await asyncio.sleep(0)


class Platform:
    """Readiness streams by key: each begins with the present phase, as the platform's do."""

    def __init__(self) -> None:
        self.present: dict[Key, Phase] = {}
        self.refusal: BaseException | None = None
        self.opened: defaultdict[Key, list[float]] = defaultdict(list)
        self.open: defaultdict[Key, int] = defaultdict(int)
        self._listeners: defaultdict[Key, set[asyncio.Queue[Phase | None]]] = defaultdict(set)

    def stream(self, key: Key) -> Callable[[], AsyncGenerator[Phase, None]]:
        """How one is opened."""

        async def phases() -> AsyncGenerator[Phase, None]:
            self.opened[key].append(now())
            if self.refusal is not None:
                raise self.refusal
            said: asyncio.Queue[Phase | None] = asyncio.Queue()
            self._listeners[key].add(said)
            self.open[key] += 1
            try:
                if key in self.present:
                    yield self.present[key]
                while (phase := await said.get()) is not None:
                    yield phase
            finally:
                self._listeners[key].discard(said)
                self.open[key] -= 1

        return phases

    def say(self, key: Key, phase: Phase) -> None:
        """A phase comes about."""
        self.present[key] = phase
        for listener in self._listeners[key]:
            listener.put_nowait(phase)

    def drop(self, key: Key) -> None:
        """The streams of a key end, in the middle of it."""
        for listener in self._listeners[key]:
            listener.put_nowait(None)

    @property
    def streams(self) -> int:
        """How many connections there are."""
        return sum(self.open.values())


class Listener:
    """What was told, and a Serving that tells it."""

    def __init__(self, interval: float = 0.0) -> None:
        self.platform = Platform()
        self.told: list[tuple[Key, bool]] = []
        self.serving = Serving(lambda key, new: self.told.append((key, new)), interval)

    def follow(self, *keys: Key, at_most: float | None = None) -> None:
        """Until a terminal phase."""
        for key in keys:
            self.serving.follow(key, self.platform.stream(key), at_most=at_most)

    def look_later(self, *keys: Key) -> None:
        """Once per interval."""
        for key in keys:
            self.serving.look_later(key, self.platform.stream(key))


@virtual
async def test_a_workload_is_followed_until_it_is_ready() -> None:
    """Each phase is told as a new one, each step as more of the same; then the stream is closed."""
    listener = Listener()
    listener.platform.present[A] = SCHEDULING
    listener.follow(A)
    await settle()
    assert (listener.told, listener.serving.phase(A)) == ([(A, True)], Readiness(phase="scheduling"))

    for phase in (Phase("bootstrapping", step="pull"), Phase("bootstrapping", step="load", message="1 of 2"), READY):
        listener.platform.say(A, phase)
        await settle()

    assert listener.told == [(A, True), (A, True), (A, False), (A, True)]
    assert listener.serving.phase(A) == Readiness(phase="ready")
    assert (listener.platform.streams, listener.serving.open_streams) == (0, 0)


@virtual
async def test_what_was_told_is_not_told_again() -> None:
    """A stream that is opened anew begins with what is known."""
    listener = Listener()
    listener.platform.present[A] = BOOTSTRAPPING
    listener.follow(A)
    await settle()
    listener.platform.drop(A)
    await asyncio.sleep(10)

    assert len(listener.platform.opened[A]) == 2
    assert listener.told == [(A, True)]


@virtual
async def test_an_error_phase_ends_it_too() -> None:
    """With the platform's message."""
    listener = Listener()
    listener.platform.present[A] = Phase("error", message="no GPU")
    listener.follow(A)
    await settle()

    assert listener.serving.phase(A) == Readiness(phase="error", message="no GPU")
    assert listener.serving.open_streams == 0


@virtual
async def test_one_stream_however_often_it_is_asked_for() -> None:
    """Each look at a Workload asks for it."""
    listener = Listener()
    listener.platform.present[A] = SCHEDULING
    for _ in range(5):
        listener.follow(A)
        await settle()

    assert (len(listener.platform.opened[A]), listener.platform.streams) == (1, 1)


@virtual
async def test_what_was_ready_can_be_followed_anew() -> None:
    """A change on the platform may restart it."""
    listener = Listener()
    listener.platform.present[A] = READY
    listener.follow(A)
    await settle()
    listener.platform.present[A] = SCHEDULING
    listener.follow(A)
    await settle()

    assert listener.told == [(A, True), (A, True)]
    assert listener.serving.phase(A) == Readiness(phase="scheduling")


@virtual
async def test_what_may_idle_is_followed_for_a_while() -> None:
    """Nobody knows whether it will ever serve: after that it is looked at slowly, and what it told is kept."""
    listener = Listener(interval=100.0)
    listener.platform.present[A] = SCHEDULING
    listener.follow(A, at_most=60.0)
    await asyncio.sleep(59)
    assert listener.platform.streams == 1

    await asyncio.sleep(2)
    assert (listener.platform.streams, listener.serving.open_streams) == (0, 0)
    assert listener.serving.phase(A) == Readiness(phase="scheduling")
    await asyncio.sleep(1000)

    assert len(listener.platform.opened[A]) == 11


@virtual
async def test_what_may_idle_is_followed_from_when_it_has_a_place() -> None:
    """Where many start at once, the wait for a place does not count."""
    listener = Listener()
    others = [Key("team-b", f"other-{number}") for number in range(STREAMS)]
    listener.platform.present = dict.fromkeys([A, *others], SCHEDULING)
    listener.follow(*others)
    await settle()
    listener.follow(A, at_most=TURN / 2)
    await asyncio.sleep(TURN + 1.0)
    assert len(listener.platform.opened[A]) == 1
    assert listener.serving.phase(A) == Readiness(phase="scheduling")


@virtual
async def test_what_may_idle_and_is_ready_needs_no_while() -> None:
    """The stream ends with it, and slow looks begin."""
    listener = Listener(interval=100.0)
    listener.platform.present[A] = READY
    listener.follow(A, at_most=60.0)
    await settle()
    assert listener.serving.open_streams == 0
    await asyncio.sleep(1000)

    assert len(listener.platform.opened[A]) == 11


# -- slow looks ----------------------------------------------------------------------------------------------------


@virtual
async def test_what_is_ready_is_looked_at_again_slowly() -> None:
    """Once per interval, however often it is asked for."""
    listener = Listener(interval=100.0)
    listener.platform.present[A] = READY
    for _ in range(5):
        listener.look_later(A)
    for _ in range(10):
        await asyncio.sleep(100)
        listener.look_later(A)

    times = listener.platform.opened[A]
    assert len(times) == 10
    assert 0 <= times[0] <= 100
    assert {round(later - earlier, 6) for earlier, later in pairwise(times)} == {100.0}
    assert listener.told == [(A, True)]


@virtual
async def test_a_slow_look_hears_one_phase() -> None:
    """Whatever it is, and lets the connection go."""
    listener = Listener(interval=100.0)
    listener.platform.present[A] = SCHEDULING
    listener.look_later(A)
    await asyncio.sleep(101)

    assert (listener.told, listener.platform.streams, listener.serving.open_streams) == ([(A, True)], 0, 0)


@virtual
async def test_a_look_that_is_under_way_makes_room_for_following() -> None:
    """Who wants all of it gets all of it, and one stream."""
    listener = Listener(interval=100.0)
    listener.look_later(A)
    await asyncio.sleep(101)
    assert listener.platform.streams == 1
    listener.follow(A)
    await settle()
    assert listener.platform.streams == 1

    for phase in (SCHEDULING, READY):
        listener.platform.say(A, phase)
        await settle()

    assert listener.told == [(A, True), (A, True)]


@virtual
@pytest.mark.parametrize("interval", [600.0, 0.0])
async def test_a_look_that_is_asked_for_is_taken_at_once(interval: float) -> None:
    """Beside the slow ones, also where those are switched off; one however often it is asked for."""
    platform = Platform()
    platform.say(A, READY)
    told: list[Key] = []
    serving = Serving(lambda key, _: told.append(key), interval)
    for _ in range(3):
        serving.look_now(A, platform.stream(A))
    await settle()

    assert (len(platform.opened[A]), platform.open[A], told) == (1, 0, [A])

    await asyncio.sleep(interval)
    await settle()
    assert len(platform.opened[A]) == 1 + bool(interval)
    serving.close()


@virtual
async def test_slow_looks_are_spread_over_the_interval() -> None:
    """A thousand Workloads that became ready at one moment do not come back at one."""
    listener = Listener(interval=600.0)
    keys = [Key("team-a", str(number)) for number in range(1000)]
    listener.platform.present = dict.fromkeys(keys, READY)
    listener.look_later(*keys)
    await asyncio.sleep(600)

    times = sorted(at for opened in listener.platform.opened.values() for at in opened)
    per_minute = [sum(60 * minute <= at < 60 * (minute + 1) for at in times) for minute in range(10)]
    assert sum(per_minute) == 1000
    assert all(60 <= count <= 140 for count in per_minute)


@virtual
async def test_an_interval_of_nothing_switches_slow_looks_off() -> None:
    """As --readiness-interval says."""
    listener = Listener(interval=0.0)
    listener.look_later(A)
    await asyncio.sleep(3000)

    assert not listener.platform.opened


@virtual
async def test_what_stops_serving_is_told() -> None:
    """At the latest one interval later."""
    listener = Listener(interval=100.0)
    listener.platform.present[A] = READY
    listener.look_later(A)
    await asyncio.sleep(150)
    listener.told.clear()
    listener.platform.present[A] = SCHEDULING
    await asyncio.sleep(101)

    assert listener.told == [(A, True)]


@virtual
async def test_following_ends_slow_looks() -> None:
    """While a stream is open there is nothing to look for."""
    listener = Listener(interval=100.0)
    listener.platform.present[A] = SCHEDULING
    listener.look_later(A)
    listener.follow(A)
    listener.look_later(A)
    await asyncio.sleep(1000)

    assert len(listener.platform.opened[A]) == 1


# -- bounds --------------------------------------------------------------------------------------------------------

OTHER = Key("team-b", "a")
MANY = [Key("team-a", f"{number:03}") for number in range(STREAMS + 20)]


@virtual
async def test_only_so_many_streams_at_once() -> None:
    """The others wait; whoever is ready makes room."""
    listener = Listener()
    listener.platform.present = dict.fromkeys(MANY, SCHEDULING)
    listener.follow(*MANY)
    await settle()
    assert (listener.platform.streams, listener.serving.open_streams) == (STREAMS, len(MANY))

    for key in MANY[:STREAMS]:
        listener.platform.say(key, READY)
    await settle()

    assert listener.platform.streams == 20
    assert {key for key, _ in listener.told} == set(MANY)


@virtual
async def test_a_stream_that_says_nothing_gives_its_place_to_those_that_wait() -> None:
    """In turns: everybody is heard, though none of them becomes ready."""
    listener = Listener()
    listener.platform.present = dict.fromkeys(MANY, SCHEDULING)
    listener.follow(*MANY)
    await asyncio.sleep(TURN + 1)

    assert {key for key, _ in listener.told} == set(MANY)
    assert listener.platform.streams == STREAMS
    await asyncio.sleep(20 * TURN)
    opened = [len(listener.platform.opened[key]) for key in MANY]
    assert min(opened) >= 2
    assert max(opened) - min(opened) <= 20


@virtual
async def test_a_namespace_whose_streams_last_keeps_no_other_waiting() -> None:
    """However many of it wait, the next place is for the one that has none."""
    listener = Listener()
    listener.platform.present = {**dict.fromkeys(MANY, SCHEDULING), OTHER: READY}
    listener.follow(*MANY)
    listener.follow(OTHER)
    await settle()
    assert not listener.platform.opened[OTHER]

    listener.platform.say(MANY[0], READY)
    await settle()
    assert listener.platform.opened[OTHER]
    assert listener.platform.streams == STREAMS


@virtual
async def test_who_goes_while_waiting_takes_no_place() -> None:
    """Whether its turn has come in that very moment, or not yet."""
    listener = Listener()
    listener.platform.present = dict.fromkeys([*MANY, OTHER], SCHEDULING)
    listener.follow(*MANY[:STREAMS], OTHER)
    await settle()
    listener.platform.say(MANY[0], READY)
    listener.serving.forget(OTHER)
    await settle()
    listener.follow(*MANY[1 : STREAMS + 1])
    await settle()
    assert listener.platform.streams == STREAMS


@virtual
async def test_where_nobody_waits_a_stream_stays_open() -> None:
    """A turn is for sharing; alone, one connection lasts as long as it takes."""
    listener = Listener()
    listener.platform.present = dict.fromkeys(MANY, SCHEDULING)
    listener.follow(*MANY[:STREAMS])
    await asyncio.sleep(10 * TURN)

    assert all(len(listener.platform.opened[key]) == 1 for key in MANY[:STREAMS])


# -- trouble -------------------------------------------------------------------------------------------------------


@virtual
async def test_a_stream_that_drops_is_opened_again() -> None:
    """After the SDK's waits, and up to half as much more, so that an outage brings no storm."""
    listener = Listener()
    keys = MANY[:40]
    listener.follow(*keys)
    for number, wait in enumerate((1.0, 2.0, 4.0, 5.0, 5.0), start=1):
        await settle()
        dropped = now()
        for key in keys:
            listener.platform.drop(key)
        await asyncio.sleep(8)
        waits = [listener.platform.opened[key][number] - dropped for key in keys]
        assert wait <= min(waits) <= max(waits) <= 1.5 * wait
        assert len({round(each, 3) for each in waits}) > 20


@virtual
async def test_an_outage_is_waited_out() -> None:
    """Followed on when it is over, without anybody asking."""
    listener = Listener()
    listener.platform.refusal = DOWN
    listener.follow(A)
    await asyncio.sleep(60)
    tries = len(listener.platform.opened[A])
    listener.platform.refusal, listener.platform.present[A] = None, READY
    await asyncio.sleep(8)

    assert 8 <= tries <= 14
    assert listener.told == [(A, True)]


@virtual
@pytest.mark.parametrize("error", [asyncio.CancelledError(), RuntimeError("unforeseen")], ids=repr)
async def test_whatever_ends_a_stream_does_not_end_the_following(error: BaseException) -> None:
    """Nothing else would bring it back before the next resync."""
    listener = Listener()
    listener.platform.present[A] = READY
    listener.platform.refusal = error
    listener.follow(A)
    await settle()
    assert listener.told == []

    listener.platform.refusal = None
    await asyncio.sleep(5.0)
    assert listener.told == [(A, True)]


@virtual
async def test_what_a_person_must_mend_is_tried_slowly() -> None:
    """Nothing is told of it here; once it is mended the Workload is followed on."""
    listener = Listener()
    listener.platform.refusal = REJECTED
    listener.follow(A)
    await asyncio.sleep(1000)
    tries = listener.platform.opened[A]
    assert len(tries) < 30
    assert [later - earlier >= 1.0 for earlier, later in pairwise(tries)] == [True] * (len(tries) - 1)

    listener.platform.refusal, listener.platform.present[A] = None, READY
    await asyncio.sleep(600)

    assert listener.told == [(A, True)]


@virtual
async def test_a_look_that_is_refused_is_over() -> None:
    """The next one comes with the next interval."""
    listener = Listener(interval=100.0)
    listener.platform.refusal = REJECTED
    listener.look_later(A)
    await asyncio.sleep(1000)

    assert (len(listener.platform.opened[A]), listener.serving.open_streams) == (10, 0)


# -- the end -------------------------------------------------------------------------------------------------------


@virtual
async def test_what_is_forgotten_says_nothing_more() -> None:
    """The connection is closed, the phase is unknown, and slow looks end."""
    listener = Listener(interval=100.0)
    listener.platform.present = {A: SCHEDULING, B: READY}
    listener.follow(A)
    listener.look_later(B)
    await settle()
    listener.told.clear()

    listener.serving.forget(A)
    listener.serving.forget(B)
    listener.platform.say(A, READY)
    await asyncio.sleep(1000)

    assert listener.told == []
    assert (listener.serving.phase(A), listener.platform.streams, listener.serving.open_streams) == (None, 0, 0)
    assert not listener.platform.opened[B]


@virtual
async def test_a_phase_that_comes_at_the_moment_of_forgetting_is_not_kept() -> None:
    """It is of a workload that is gone; a successor of the same name must not inherit it."""
    listener = Listener()
    listener.platform.present[A] = SCHEDULING
    listener.follow(A)
    await settle()
    listener.told.clear()

    listener.platform.say(A, READY)
    listener.serving.forget(A)
    await settle()

    assert (listener.told, listener.serving.phase(A)) == ([], None)


@virtual
async def test_what_was_made_again_is_told_anew() -> None:
    """After forgetting, the same phase is news."""
    listener = Listener()
    listener.platform.present[A] = READY
    listener.follow(A)
    await settle()
    listener.serving.forget(A)
    listener.follow(A)
    await settle()

    assert listener.told == [(A, True), (A, True)]


@virtual
async def test_a_rest_keeps_what_was_told() -> None:
    """A suspended Workload has no stream, and the last that is known."""
    listener = Listener(interval=100.0)
    listener.platform.present = {A: SCHEDULING, B: READY}
    listener.follow(A)
    listener.look_later(B)
    await settle()
    listener.serving.rest(A)
    listener.serving.rest(B)
    await asyncio.sleep(1000)

    assert listener.serving.phase(A) == Readiness(phase="scheduling")
    assert (listener.platform.streams, len(listener.platform.opened[B])) == (0, 0)


@pytest.mark.parametrize("waiting", [0, 20])
def test_at_the_end_nothing_stays_open(waiting: int) -> None:
    """Streams, those that wait for a place, and slow looks."""

    @virtual
    async def check() -> None:
        listener = Listener(interval=100.0)
        listener.platform.present = dict.fromkeys(MANY, SCHEDULING)
        listener.follow(*MANY[: STREAMS + waiting])
        listener.look_later(A)
        await settle()

        listener.serving.close()
        await asyncio.sleep(1000)

        assert (listener.platform.streams, listener.serving.open_streams) == (0, 0)
        assert not listener.platform.opened[A]
        listener.follow(B)
        await settle()
        assert listener.platform.streams == 1

    check()


@virtual
async def test_a_platform_that_goes_to_and_fro_is_not_followed_at_its_pace() -> None:
    """Each phase of a start is told at once when it comes first, and then as more of the same; another start is new."""
    listener = Listener()
    listener.follow(A)
    await settle()
    for number in range(20):
        listener.platform.say(A, (SCHEDULING, BOOTSTRAPPING)[number % 2])
        await settle()
    assert [new for _, new in listener.told] == [True, True] + 18 * [False]

    listener.platform.say(A, READY)
    await settle()
    listener.platform.present[A] = SCHEDULING
    listener.follow(A)
    await settle()
    assert [new for _, new in listener.told[20:]] == [True, True]


@virtual
async def test_a_platform_that_makes_up_phases_is_believed_eight() -> None:
    """Then they are steps, which are written once in a while."""
    listener = Listener()
    listener.follow(A)
    await settle()
    for number in range(50):
        listener.platform.say(A, Phase(f"phase-{number}"))
        await settle()
    assert [new for _, new in listener.told] == 8 * [True] + 42 * [False]
