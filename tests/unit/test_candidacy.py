"""Shards have one owner each, whatever happens to processes; they spread, and a change of their number waits.

The Leases are in memory and time is virtual; the same is done with real operators in the integration tests.
"""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inferencekey_operator.election.shards import LAYOUT, WANTED_BY
from unit.elections import DURATION, RETRY, Journal, Leases, Process, now, owners
from unit.virtual_time import virtual

FIRST = DURATION + 1.0
"""Seconds until a layout that nobody had before is in force."""


class Replicas:
    """Processes that come and go."""

    def __init__(self) -> None:
        self.leases, self.journal = Leases(), Journal()
        self.running: list[Process] = []

    def start(self, name: str, shards: int, drain: float = 0.1) -> Process:
        """Another one."""
        process = Process(self.leases, name, shards, self.journal, drain)
        self.running.append(process)
        return process

    def kill(self, process: Process) -> None:
        """SIGKILL."""
        process.kill()
        self.running.remove(process)

    async def terminate(self, process: Process) -> None:
        """SIGTERM."""
        self.running.remove(process)
        await process.terminate()

    @property
    def shares(self) -> list[int]:
        """How many shards each has, the most first; -1 where one has two owners or none."""
        held = owners(self.running)
        counts = Counter(names[0] for names in held.values())
        shares = sorted((counts[process.name] for process in self.running), reverse=True)
        alone = all(len(names) == 1 for names in held.values())
        return shares if alone and len(held) == self.running[0].shards else [-1]

    async def until_shared(self, *shares: int, within: float) -> float:
        """Back when each has so many; how long that took."""
        began = now()
        while self.shares != list(shares):
            assert now() < began + within, (self.shares, owners(self.running))
            await asyncio.sleep(0.1)
        return now() - began

    def end(self) -> None:
        """No two acted at once."""
        for process in [*self.running]:
            self.kill(process)
        self.journal.verify()


@pytest.mark.parametrize("another", [False, True])
@virtual
async def test_what_another_released_is_seen_before_a_term_begins(another: bool) -> None:
    """Where nobody led meanwhile, there is nothing to see; nor for the first one, which has just listed everything."""
    replicas = Replicas()
    process = replicas.start("a", 1)
    await asyncio.sleep(0.1)
    assert process.controller.caught_up == []
    trouble = asyncio.create_task(process.suffer("refused", 3 * DURATION))
    await asyncio.sleep(DURATION)
    if another:
        second = replicas.start("b", 1)
        await asyncio.sleep(1.5 * DURATION)
        assert second.held == second.controller.caught_up == [0]
        await replicas.terminate(second)
    await trouble
    await asyncio.sleep(DURATION)
    assert process.held == [0]
    assert process.controller.caught_up == ([0] if another else [])


@virtual
async def test_one_shard_writes_nothing_beside() -> None:
    """The Lease of a single shard says what it always said, and is worked under at once."""
    replicas = Replicas()
    process = replicas.start("a", 1)
    await asyncio.sleep(0.1)
    assert process.held == [0]
    assert process.controller.at_work == {0: 0.0}
    assert replicas.leases.annotations() == {}
    await asyncio.sleep(30)
    assert replicas.leases.annotations() == {}
    replicas.end()


@pytest.mark.parametrize(
    ("count", "shards", "shares"),
    [(1, 4, [4]), (2, 4, [2, 2]), (3, 4, [2, 1, 1]), (4, 4, [1, 1, 1, 1]), (5, 4, [1, 1, 1, 1, 0]), (3, 16, [6, 5, 5])],
)
@virtual
async def test_they_spread(count: int, shards: int, shares: list[int]) -> None:
    """All start at one moment; the difference is one at most, and nobody asks for anything any more."""
    replicas = Replicas()
    for number in range(count):
        replicas.start(f"replica-{number}", shards)
    await replicas.until_shared(*shares, within=FIRST + 60.0)
    await asyncio.sleep(60)
    assert replicas.shares == shares
    assert [shard for shard in range(shards) if WANTED_BY in replicas.leases.annotations(shard)] == []
    replicas.end()


@virtual
async def test_a_newcomer_gets_its_share() -> None:
    """One after the other comes, and each is given what is fair, within seconds; the layout stays."""
    replicas = Replicas()
    replicas.start("a", 4)
    await replicas.until_shared(4, within=FIRST)
    layout = replicas.leases.annotations()[LAYOUT]
    replicas.start("b", 4)
    await replicas.until_shared(2, 2, within=30)
    replicas.start("c", 4)
    await replicas.until_shared(2, 1, 1, within=30)
    assert replicas.leases.annotations()[LAYOUT] == f"{layout}/settled"
    replicas.end()


@virtual
async def test_one_that_ends_hands_over_at_once() -> None:
    """By SIGTERM: others take all of it within four seconds, and need not wait for anything."""
    replicas = Replicas()
    a = replicas.start("a", 4)
    await replicas.until_shared(4, within=FIRST)
    b = replicas.start("b", 4)
    await replicas.until_shared(2, 2, within=30)
    await replicas.terminate(a)
    assert await replicas.until_shared(4, within=10) < 4.5
    assert set(b.controller.at_work.values()) == {0.0}
    replicas.end()


@virtual
async def test_one_that_is_killed_is_replaced_within_the_lease() -> None:
    """Its shards go to the others, who know that it may have sent something."""
    replicas = Replicas()
    for name in "abc":
        replicas.start(name, 3)
    await replicas.until_shared(1, 1, 1, within=FIRST + 30.0)
    dead = replicas.running[0]
    (lost,) = dead.held
    replicas.kill(dead)
    await replicas.until_shared(2, 1, within=DURATION + 3 * RETRY)
    heir = next(process for process in replicas.running if lost in process.held)
    assert heir.controller.at_work[lost] > 0
    replicas.end()


@virtual
async def test_a_request_of_one_that_died_is_nobodys_loss() -> None:
    """It asked, and died before it could take what it was given: others take it back."""
    replicas = Replicas()
    replicas.start("a", 4)
    await replicas.until_shared(4, within=FIRST)
    asker = replicas.start("b", 4)
    while not any(WANTED_BY in replicas.leases.annotations(shard) for shard in range(4)):  # noqa: ASYNC110 - nothing tells when
        await asyncio.sleep(0.01)
    replicas.kill(asker)
    await asyncio.sleep(10 * RETRY)
    assert replicas.shares == [4]
    replicas.end()


@virtual
async def test_what_is_in_work_ends_before_a_shard_is_given_away() -> None:
    """However long it takes: the Lease is renewed meanwhile."""
    replicas = Replicas()
    a = replicas.start("a", 2, drain=40.0)
    await replicas.until_shared(2, within=FIRST)
    replicas.start("b", 2)
    await asyncio.sleep(30)
    assert sorted(a.held) == [0, 1]
    await replicas.until_shared(1, 1, within=30)
    replicas.end()


@virtual
async def test_a_start_is_settled_by_whoever_comes_later() -> None:
    """The first one ends in its wait; the next one waits anew, and those after it need not."""
    replicas = Replicas()
    first = replicas.start("a", 2)
    await asyncio.sleep(DURATION / 2)
    assert first.held == []
    await replicas.terminate(first)
    replicas.start("b", 2)
    took = await replicas.until_shared(2, within=FIRST + 5.0)
    assert took > DURATION
    await asyncio.sleep(5)
    await replicas.terminate(replicas.running[0])
    replicas.start("c", 2)
    assert await replicas.until_shared(2, within=10) < 4.0
    replicas.end()


@pytest.mark.parametrize("pause", [3.0, 2 * DURATION])
@pytest.mark.parametrize("path", [(1, 4), (4, 1), (3, 2), (1, 3, 2), (2, 1, 2)])
@virtual
async def test_a_rollout_to_another_number(path: tuple[int, ...], pause: float) -> None:
    """New replicas wait until the first Lease is free, then for its time; former ones stop; nobody fights."""
    replicas = Replicas()
    for name in "ab":
        replicas.start(f"{name}-{path[0]}", path[0])
    await asyncio.sleep(FIRST + 20)
    for shards in path[1:]:
        for name in "ab":
            former = max(replicas.running, key=lambda process: (process.shards != shards, 0 in process.held))
            replicas.start(f"{name}-{shards}", shards)
            await asyncio.sleep(pause)
            await replicas.terminate(former)
        wanted = [shards - shards // 2, shards // 2]
        await replicas.until_shared(*wanted, within=2 * DURATION + 30)
    replicas.end()


@virtual
async def test_another_number_does_not_fight() -> None:
    """A replica with another number waits for the first Lease as long as it takes, and asks for nothing."""
    replicas = Replicas()
    replicas.start("a", 4)
    await replicas.until_shared(4, within=FIRST)
    other = replicas.start("b", 3)
    await asyncio.sleep(120)
    assert len(replicas.running[0].held) == 4
    assert other.held == []
    assert {method for _, method, _ in other.link.sent} == {"GET"}
    replicas.end()


@virtual
async def test_one_that_cannot_read_the_layout_stops() -> None:
    """It renews its own Lease, and knows nothing of the first one: it may be of another number of shards by now."""
    replicas = Replicas()
    for name in "ab":
        replicas.start(name, 2)
    await replicas.until_shared(1, 1, within=FIRST + 30)
    blind, seeing = sorted(replicas.running, key=lambda process: process.held == [0])
    blind.link.trouble = "blind"
    replicas.start("c", 3)
    await replicas.terminate(seeing)
    replicas.running.remove(blind)
    await replicas.until_shared(3, within=3 * DURATION)
    assert blind.held == []
    blind.kill()
    replicas.end()


MISFORTUNES = st.tuples(
    st.floats(0, 30),
    st.integers(0, 2),
    st.sampled_from(["freeze", "hangs", "blind", "deaf", "refused", "slow", "kill", "terminate", "other", "other"]),
    st.floats(0.5, 40),
)


@settings(max_examples=15, deadline=None)
@given(st.lists(MISFORTUNES, max_size=8))
@virtual
async def test_whatever_happens_a_shard_has_one_owner(misfortunes: list[tuple[float, int, str, float]]) -> None:
    """Three replicas meet any misfortunes, and are replaced by some with another number of shards."""
    replicas = Replicas()
    slots = [replicas.start(f"{number}-0", 3) for number in range(3)]
    await asyncio.sleep(FIRST + 10)
    suffering = []
    for turn, (wait, number, what, seconds) in enumerate(misfortunes):
        await asyncio.sleep(wait)
        process = slots[number]
        if what in ("kill", "terminate", "other"):
            shards = {3: 2, 2: 1, 1: 3}[process.shards] if what == "other" else process.shards
            replicas.running.remove(process)
            if what == "kill":
                process.kill()
            else:
                suffering.append(asyncio.create_task(process.terminate()))
            slots[number] = replicas.start(f"{number}-{turn + 1}", shards)
        else:
            suffering.append(asyncio.create_task(process.suffer(what, seconds)))
    if suffering:
        await asyncio.wait(suffering)
    replicas.journal.verify()
    for process in [*replicas.running]:
        if process.shards != slots[0].shards:
            await replicas.terminate(process)
            replicas.start(process.name + "-last", slots[0].shards)
    shards = slots[0].shards
    shares = sorted(((shards + spare) // 3 for spare in range(3)), reverse=True)
    await replicas.until_shared(*shares, within=4 * DURATION + 60)
    replicas.end()
