"""The work queue: each key once, never twice at a time, groups in turn, failures later and later."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inferencekey_operator.api.keys import Key
from inferencekey_operator.controller.workqueue import BACKGROUND_TURN, BEYOND, WorkQueue
from unit.virtual_time import VirtualLoop, virtual

A, B, C = (Key("team-a", name) for name in "abc")


class Workshop:
    """A queue whose work goes on until it is let go, and what was worked in which order."""

    def __init__(self, **bounds: Any) -> None:
        self.queue = WorkQueue(self._work, **bounds)
        self.begun: list[Key] = []
        self.in_work: Counter[Key] = Counter()
        self.most: Counter[Key] = Counter()
        self.together = 0
        self._gates: dict[Key, asyncio.Event] = {}
        self._open = False
        self.during: Callable[[Key], None] = lambda _: None

    async def _work(self, key: Key) -> None:
        self.begun.append(key)
        self.in_work[key] += 1
        self.most[key] = max(self.most[key], self.in_work[key])
        self.together = max(self.together, self.in_work.total())
        try:
            self.during(key)
            if not self._open:
                await self._gates.setdefault(key, asyncio.Event()).wait()
        finally:
            self.in_work[key] -= 1

    async def finish(self, *keys: Key) -> None:
        """Let these go on to their end."""
        for key in keys:
            self._gates.pop(key).set()
        await settle()

    async def finish_all(self) -> None:
        """Nothing waits any more, now and later."""
        self._open = True
        for gate in self._gates.values():
            gate.set()
        await settle()

    @property
    def now(self) -> list[Key]:
        """The keys in work."""
        return sorted(key for key, count in self.in_work.items() if count)


async def settle() -> None:
    """Let everything happen that can happen without time going on."""
    for _ in range(10):
        await asyncio.sleep(0)


async def started(*keys: Key, **bounds: Any) -> Workshop:
    """A workshop that has begun with these keys."""
    workshop = Workshop(**bounds)
    workshop.queue.start()
    for key in keys:
        workshop.queue.add(key)
    await settle()
    return workshop


@virtual
async def test_nothing_is_worked_before_the_start() -> None:
    """Claims must be known before the first call; what was added waits."""
    workshop = Workshop()
    workshop.queue.add(A)
    await settle()
    assert (workshop.begun, workshop.queue.depth, workshop.queue.started) == ([], 1, False)

    workshop.queue.start()
    await settle()

    assert (workshop.begun, workshop.queue.depth, workshop.queue.started) == ([A], 0, True)


@virtual
async def test_a_key_that_is_queued_twice_is_worked_once() -> None:
    """However often it comes before its turn, and in whatever lane."""
    workshop = Workshop()
    for urgent in (False, False, True, False, True):
        workshop.queue.add(A, urgent=urgent)
    assert workshop.queue.depth == 1

    workshop.queue.start()
    await workshop.finish_all()

    assert workshop.begun == [A]
    assert workshop.queue.idle


@virtual
async def test_a_key_that_comes_while_it_is_worked_is_worked_again_after() -> None:
    """Once, however often it came; and never beside itself."""
    workshop = await started(A)
    for urgent in (False, True, False):
        workshop.queue.add(A, urgent=urgent)
    await settle()
    assert (workshop.begun, workshop.queue.working(A)) == ([A], True)

    await workshop.finish(A)
    assert (workshop.begun, workshop.now) == ([A, A], [A])
    assert not workshop.queue.idle
    await workshop.finish(A)

    assert workshop.begun == [A, A]
    assert workshop.queue.idle
    assert not workshop.queue.working(A)


@virtual
async def test_work_that_asks_for_more_work_on_itself() -> None:
    """What a look finds may call for another look."""
    workshop = Workshop()
    rounds = iter(range(3))
    workshop.during = lambda key: workshop.queue.add(key) if next(rounds, None) is not None else None
    workshop.queue.start()
    workshop.queue.add(A)
    await workshop.finish_all()

    assert workshop.begun == [A] * 4
    assert workshop.most[A] == 1


@virtual
async def test_a_key_that_changed_lanes_is_never_worked_beside_itself() -> None:
    """It waits for a round, becomes urgent, is worked, comes again: the place of its round is not its turn."""
    workshop = await started(A, B, limit=1)
    workshop.queue.add(B, urgent=True)
    await workshop.finish(A)
    assert workshop.now == [B]

    workshop.queue.add(B)
    workshop.queue.add(C)
    await settle()
    assert workshop.now == [B]
    await workshop.finish_all()

    assert workshop.most[B] == 1
    assert Counter(workshop.begun) == {A: 1, B: 2, C: 1}
    assert workshop.queue.idle


@virtual
async def test_what_people_wait_for_overtakes_rounds() -> None:
    """In its own lane, in the order of arrival; a key that becomes urgent changes over."""
    workshop = await started(Key(A.namespace, "busy"), limit=1)
    for key, urgent in ((A, False), (B, False), (C, True), (B, True)):
        workshop.queue.add(key, urgent=urgent)

    await workshop.finish_all()

    assert workshop.begun[1:] == [C, B, A]


@virtual
async def test_rounds_have_a_turn_now_and_then() -> None:
    """However much is declared: one turn of so many is theirs, and all the others are not."""
    workshop = await started(Key("x", "busy"), limit=1)
    rounds = [Key("x", f"round-{number}") for number in range(2)]
    declared = [Key("x", f"declared-{number}") for number in range(3 * BACKGROUND_TURN)]
    for key in rounds:
        workshop.queue.add(key)
    for key in declared:
        workshop.queue.add(key, urgent=True)

    await workshop.finish_all()
    while not workshop.queue.idle:
        await settle()

    assert [key for key in workshop.begun if key in declared] == declared
    assert [workshop.begun.index(key) + 1 for key in rounds] == [BACKGROUND_TURN, 2 * BACKGROUND_TURN]


@virtual
async def test_what_is_urgent_stays_urgent() -> None:
    """A round that comes by does not make people wait longer, neither before its turn nor while it is worked."""
    workshop = await started(A, limit=1)
    workshop.queue.add(A, urgent=True)
    workshop.queue.add(A)
    workshop.queue.add(B)
    workshop.queue.add(C, urgent=True)
    workshop.queue.add(C)

    await workshop.finish_all()

    assert workshop.begun[1:] == [C, A, B]


@virtual
async def test_at_most_so_many_at_a_time() -> None:
    """The limit is used, and not exceeded by a group that has some in work."""
    keys = [Key("ns", f"w-{number}") for number in range(20)]
    workshop = await started(*keys, limit=7)
    assert (len(workshop.now), workshop.queue.depth) == (7, 13)

    await workshop.finish_all()

    assert workshop.together == 7
    assert sorted(workshop.begun) == sorted(keys)


@virtual
async def test_a_slow_group_holds_up_nobody() -> None:
    """Hundreds of keys of one namespace, that never come back, take their share and no more."""
    slow = [Key("slow", f"w-{number:03}") for number in range(200)]
    others = [Key(f"team-{number:03}", "w") for number in range(200)]
    workshop = await started(*slow, limit=40, share=8)
    assert len(workshop.now) == 8

    for key in others:
        workshop.queue.add(key)
    for _ in range(20):
        await settle()
        await workshop.finish(*(key for key in workshop.now if key.namespace != "slow"))

    assert {key for key in workshop.begun if key.namespace != "slow"} == set(others)
    assert len([key for key in workshop.begun if key.namespace == "slow"]) == 8
    await workshop.finish_all()


@virtual
async def test_slow_groups_that_fill_the_limit_hold_up_nobody() -> None:
    """Each of the others has one in work nevertheless, and as many as they once the slow ones have given some back."""
    slow = [Key(f"slow-{number % 5}", f"w-{number:03}") for number in range(200)]
    others = [Key("good", f"w-{number:03}") for number in range(30)]
    workshop = await started(*slow, limit=40, share=8)
    assert Counter(key.namespace for key in workshop.now) == {f"slow-{number}": 8 for number in range(5)}

    for key in others:
        workshop.queue.add(key)
    await settle()
    assert [key for key in workshop.now if key.namespace == "good"] == others[:1]

    await workshop.finish(*(key for key in workshop.now if key.namespace != "good"))
    assert Counter(key.namespace for key in workshop.now) == {
        "good": 6,
        **{f"slow-{number}": 6 for number in range(5)},
    }, "equal parts of the limit"

    await workshop.finish_all()
    assert sorted(workshop.begun) == sorted([*slow, *others])


@virtual
async def test_thousands_of_groups_do_not_all_begin_at_once() -> None:
    """One of each, up to some limits' worth."""
    keys = [Key(f"ns-{number:03}", "w") for number in range(100)]
    workshop = await started(*keys, limit=10)
    assert len(workshop.now) == BEYOND * 10

    await workshop.finish_all()
    assert sorted(workshop.begun) == sorted(keys)
    assert workshop.together == BEYOND * 10


@virtual
async def test_an_urgent_flood_of_one_group_holds_up_nobody_either() -> None:
    """The share counts in both lanes together, and rounds of others go on beside it."""
    workshop = await started(limit=40, share=8)
    for number in range(100):
        workshop.queue.add(Key("slow", f"w-{number:03}"), urgent=number % 2 == 0)
    workshop.queue.add(A)
    await settle()

    assert [key for key in workshop.now if key.namespace == "slow"] == workshop.now[:8]
    assert A in workshop.now
    await workshop.finish_all()


@virtual
async def test_groups_take_turns() -> None:
    """With one worker, a namespace of many does not go first through all of its own."""
    big = [Key("big", f"w-{number}") for number in range(6)]
    small = [Key("small", f"w-{number}") for number in range(2)]
    workshop = await started(Key("x", "busy"), limit=1)
    for key in [*big, *small]:
        workshop.queue.add(key)

    await workshop.finish_all()

    assert [key.namespace for key in workshop.begun[1:]] == ["big", "small", "big", "small", "big", "big", "big", "big"]
    assert [key for key in workshop.begun if key.namespace == "big"] == big


@virtual
async def test_a_share_is_free_again_when_its_work_is_done() -> None:
    """Also after work that failed."""
    workshop = await started(*(Key("a", str(number)) for number in range(4)), limit=9, share=2)

    def fail(_: Key) -> None:
        raise RuntimeError("unforeseen")

    workshop.during = fail
    await workshop.finish(*workshop.now)

    assert len(workshop.begun) == 4
    assert workshop.queue.idle


# -- delays --------------------------------------------------------------------------------------------------------


def now() -> float:
    """Seconds of virtual time."""
    return asyncio.get_running_loop().time()


@virtual
async def test_a_delay() -> None:
    """The key is worked when it is over, and not before; it does not count as depth."""
    workshop = await started()
    workshop.queue.add_after(A, 10.0)
    await asyncio.sleep(9.9)
    assert (workshop.begun, workshop.queue.idle) == ([], True)

    await asyncio.sleep(0.2)

    assert workshop.begun == [A]


@pytest.mark.parametrize(("first", "second"), [(10.0, 20.0), (20.0, 10.0)])
def test_a_delay_replaces_the_one_before(first: float, second: float) -> None:
    """Who knows better when to look says so last."""

    @virtual
    async def check() -> None:
        times: list[float] = []
        workshop = await started()
        workshop.during = lambda _: times.append(now())
        workshop.queue.add_after(A, first)
        workshop.queue.add_after(A, second)
        await workshop.finish_all()
        await asyncio.sleep(60)

        assert times == [second]

    check()


@pytest.mark.parametrize(
    ("standing", "within", "expected", "why"),
    [
        (None, 5.0, [5.0], "none stands"),
        (3.0, 5.0, [3.0], "an earlier one stays"),
        (60.0, 5.0, [5.0], "a later one comes forward"),
    ],
)
def test_a_delay_at_the_latest(standing: float | None, within: float, expected: list[float], why: str) -> None:
    """However often it is asked for, it is not put off."""

    @virtual
    async def check() -> None:
        times: list[float] = []
        workshop = await started()
        workshop.during = lambda _: times.append(now())
        await workshop.finish_all()
        if standing is not None:
            workshop.queue.add_after(A, standing)
        for _ in range(5):
            workshop.queue.add_within(A, within)
            await asyncio.sleep(0.5)
        await asyncio.sleep(100)

        assert times == expected, why

    check()


@virtual
async def test_a_key_that_comes_needs_its_delay_no_more() -> None:
    """Worked now is not worked again for what was to come."""
    workshop = await started()
    workshop.queue.add_after(A, 10.0)
    workshop.queue.add(A)
    workshop.queue.add_after(A, 5.0)
    await workshop.finish_all()
    workshop.queue.add_after(B, 10.0)
    workshop.queue.forget(B)
    await asyncio.sleep(60)

    assert workshop.begun == [A, A]


@virtual
async def test_a_delay_of_a_key_that_is_queued_is_not_needed() -> None:
    """Its turn comes before."""
    workshop = await started(A, limit=1)
    workshop.queue.add(B)
    workshop.queue.add_after(B, 5.0)
    await workshop.finish_all()
    await asyncio.sleep(60)

    assert workshop.begun == [A, B]


@virtual
async def test_an_urgent_delay() -> None:
    """When it is over, the key goes into the lane of what people wait for."""
    workshop = await started(A, limit=1)
    workshop.queue.add_after(C, 1.0, urgent=True)
    workshop.queue.add(B)
    await asyncio.sleep(2)
    await workshop.finish_all()

    assert workshop.begun == [A, C, B]


@virtual
async def test_a_delay_is_a_round_unless_it_is_urgent() -> None:
    """What comes back by itself does not overtake what people wait for, failures included."""
    workshop = await started(A, limit=1)
    workshop.queue.add_after(C, 1.0)
    workshop.queue.retry(Key("team-a", "d"))
    await asyncio.sleep(2)
    workshop.queue.add(B, urgent=True)
    await workshop.finish_all()

    assert workshop.begun == [A, B, C, Key("team-a", "d")]


async def failing(queue: WorkQueue, key: Key, times: int) -> list[float]:
    """The delays of a key that fails whenever it is worked."""
    delays = []
    for _ in range(times):
        delays.append(queue.retry(key))
        await asyncio.sleep(delays[-1])
    return delays


@virtual
async def test_what_is_edited_while_it_fails_waits_no_longer_than_it_failed() -> None:
    """Each edit is one more failure: after ten seconds of both, the next wait is eleven, and not an hour."""
    queue = Workshop().queue
    for _ in range(20):
        queue.retry(A)
        await asyncio.sleep(0.5)
    assert 11.0 <= queue.retry(A) <= 1.2 * 11.0


@virtual
async def test_failures_wait_longer_each_time() -> None:
    """Doubled from one second to five minutes, with up to a fifth more, so that a fleet does not march in step."""
    delays = await failing(Workshop().queue, A, 14)
    least = [min(2.0**number, 300.0) for number in range(14)]

    assert all(low <= delay <= 1.2 * low for low, delay in zip(least, delays, strict=True))
    assert len({delay / low for low, delay in zip(least, delays, strict=True)}) > 1


@virtual
async def test_success_begins_anew() -> None:
    """And each key has its own count."""
    queue = Workshop().queue
    assert (await failing(queue, A, 5))[-1] >= 16.0

    assert queue.retry(B) <= 1.2
    queue.succeeded(A)
    assert queue.retry(A) <= 1.2
    queue.retry(B)
    queue.forget(B)
    assert queue.retry(B) <= 1.2


@virtual
async def test_never_before_what_the_platform_wishes() -> None:
    """Retry-After is the least; a longer wait of our own stands."""
    queue = Workshop().queue

    assert 60.0 <= queue.retry(A, at_least=60.0) <= 72.0
    await failing(queue, B, 8)
    assert queue.retry(B, at_least=1.0) >= 256.0


@virtual
async def test_a_retry_is_a_delay() -> None:
    """The key is worked when it is over."""
    times: list[float] = []
    workshop = await started()
    workshop.during = lambda _: times.append(now())
    await workshop.finish_all()
    delay = workshop.queue.retry(A)
    await asyncio.sleep(60)

    assert times == [delay]


@virtual
async def test_an_unforeseen_error_costs_nobody_else() -> None:
    """The key is tried again, later and later, and the worker goes on."""
    times: list[float] = []
    workshop = await started()
    await workshop.finish_all()

    def fail(key: Key) -> None:
        if key == A:
            times.append(now())
            raise RuntimeError("unforeseen")

    workshop.during = fail
    workshop.queue.add(A)
    workshop.queue.add(B)
    await asyncio.sleep(20)

    waits = [later - earlier for earlier, later in pairwise(times)]
    assert B in workshop.begun
    assert [low <= wait <= 1.2 * low for low, wait in zip((1.0, 2.0, 4.0), waits, strict=False)] == [True] * 3


# -- the end -------------------------------------------------------------------------------------------------------


@virtual
async def test_a_stop_waits_for_what_is_in_work() -> None:
    """And begins nothing more: no key that waits, no delay, no key that comes late."""
    workshop = await started(A, B, limit=1)
    workshop.queue.add_after(C, 5.0)
    stopping = asyncio.create_task(workshop.queue.stop())
    await settle()
    assert not stopping.done()
    workshop.queue.add(A)

    await workshop.finish(A)
    assert stopping.done()
    workshop.queue.add(C, urgent=True)
    await asyncio.sleep(60)

    assert workshop.begun == [A]
    assert not workshop.queue.started


@virtual
async def test_a_stop_of_an_idle_queue() -> None:
    """Is done at once."""
    workshop = await started()

    await workshop.queue.stop()

    assert workshop.queue.idle


# -- any order of events -------------------------------------------------------------------------------------------

KEYS = [Key(namespace, name) for namespace in "ab" for name in "xyz"]
ACTIONS = st.one_of(
    st.tuples(st.just("add"), st.sampled_from(KEYS), st.booleans()),
    st.tuples(st.just("delay"), st.sampled_from(KEYS), st.integers(0, 3)),
    st.tuples(st.just("within"), st.sampled_from(KEYS), st.integers(0, 3)),
    st.tuples(st.just("finish"), st.integers(0, 5), st.none()),
    st.tuples(st.just("wait"), st.integers(0, 3), st.none()),
    st.tuples(st.just("forget"), st.sampled_from(KEYS), st.none()),
)


async def act(workshop: Workshop, action: tuple[str, Any, Any], due: set[Key]) -> None:
    """One thing that happens; `due` are the keys that must be worked from here on."""
    kind, subject, more = action
    if kind == "add":
        workshop.queue.add(subject, urgent=more)
        due.add(subject)
    elif kind == "delay":
        workshop.queue.add_after(subject, more)
        due.add(subject)
    elif kind == "within":
        workshop.queue.add_within(subject, more)
        due.add(subject)
    elif kind == "finish" and workshop.now:
        await workshop.finish(workshop.now[subject % len(workshop.now)])
    elif kind == "wait":
        await asyncio.sleep(subject)
    elif kind == "forget":
        workshop.queue.forget(subject)
        due.discard(subject)
    await settle()


@given(st.lists(ACTIONS, min_size=10, max_size=60), st.integers(1, 4), st.integers(1, 3))
@settings(deadline=None, max_examples=300)
def test_any_schedule(actions: list[tuple[str, Any, Any]], limit: int, share: int) -> None:
    """Never two workers on a key, never more than limit and share but one of each, and nothing that came is lost."""

    async def run() -> None:
        workshop = await started(limit=limit, share=share)
        due: set[Key] = set()
        workshop.during = due.discard
        for action in actions:
            await act(workshop, action, due)
            groups = Counter(key.namespace for key in workshop.now)
            assert max(groups.values(), default=0) <= share
            assert groups.total() - len(groups) < limit
            assert max(workshop.most.values(), default=0) <= 1
            assert groups or not workshop.queue.depth, "work waits beside idle hands"
        await workshop.finish_all()
        await asyncio.sleep(10)
        assert due == set()
        assert workshop.queue.idle

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(run())


# -- what it tells of itself -------------------------------------------------------------------------------------------


@virtual
async def test_it_counts_turns_and_retries() -> None:
    """A key that is queued twice has one turn; one that failed has another after its delay."""
    shop = Workshop()
    shop.queue.add(A)
    shop.queue.add(A)
    shop.queue.add(B, urgent=True)
    shop.queue.retry(C)
    assert (shop.queue.adds, shop.queue.retries, shop.queue.delayed) == (2, 1, 1)
    await asyncio.sleep(2.0)
    assert (shop.queue.adds, shop.queue.delayed) == (3, 0)


@virtual
async def test_it_tells_how_long_a_key_waited() -> None:
    """From the first time it was queued to its turn, and in which lane it was by then."""
    waits: list[tuple[str, float]] = []

    async def work(_: Key) -> None:
        await asyncio.sleep(0)

    queue = WorkQueue(work, waited=lambda lane, seconds: waits.append((lane, seconds)))
    queue.add(A)
    await asyncio.sleep(3.0)
    queue.add(A, urgent=True)
    queue.add(B)
    queue.start()
    await asyncio.sleep(0)
    assert waits == [("urgent", 3.0), ("background", 0.0)]


@virtual
async def test_it_tells_how_long_the_work_goes_on() -> None:
    """The oldest look that is under way; nothing once it is done."""
    gate = asyncio.Event()

    async def work(_: Key) -> None:
        await gate.wait()

    queue = WorkQueue(work)
    queue.start()
    queue.add(A)
    await asyncio.sleep(5.0)
    queue.add(B)
    await asyncio.sleep(2.0)
    assert (queue.running, queue.longest_running) == (2, 7.0)
    gate.set()
    await asyncio.sleep(0.1)
    assert (queue.running, queue.longest_running) == (0, 0.0)


@virtual
async def test_a_key_that_is_not_admitted_is_not_kept() -> None:
    """Not queued, not delayed, not tried again: another process works it."""
    admitted = {A}
    workshop = await started(A, B, admits=admitted.__contains__)
    workshop.queue.add_after(B, 1.0)
    workshop.queue.retry(B)
    workshop.queue.add(C, urgent=True)
    await workshop.finish_all()
    await asyncio.sleep(400)
    assert workshop.begun == [A]
    assert (workshop.queue.depth, workshop.queue.delayed) == (0, 0)

    admitted.add(B)
    workshop.queue.add(B)
    await settle()
    assert workshop.begun == [A, B]


@virtual
async def test_keys_are_dropped_and_the_others_go_on() -> None:
    """What is queued or delayed is forgotten, what is in work is waited for, and does not come again."""
    away: set[Key] = set()
    workshop = await started(A, B, limit=2, admits=lambda key: key not in away)
    workshop.queue.add(A, urgent=True)
    workshop.queue.add(Key("team-a", "queued"))
    workshop.queue.add_after(Key("team-c", "delayed"), 5.0)
    away |= {A, Key("team-a", "queued"), Key("team-c", "delayed")}
    dropping = asyncio.create_task(workshop.queue.drop(away.__contains__))
    await settle()
    assert (workshop.queue.depth, workshop.queue.delayed, dropping.done()) == (0, 0, False)

    workshop.queue.add(C)
    await workshop.finish(A)
    assert dropping.done()
    await workshop.finish_all()
    await asyncio.sleep(10)
    assert workshop.begun == [A, B, C]
