"""Connections to a platform: how many there are, who gets which, and when they are closed."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import httpx
import pytest

from inferencekey_operator.inferencekey.connection_pool import ConnectionPool

KEEP = 5.0


class Line(httpx.AsyncClient):
    """A client that is never used, and takes a moment to be closed."""

    async def aclose(self) -> None:
        """Others go on meanwhile."""
        await asyncio.sleep(0)
        await super().aclose()


class Bench:
    """Lines over which nothing is sent, and all that were ever opened."""

    def __init__(self, most: int, patience: float = 0.05, keep: float = KEEP) -> None:
        self.opened: list[httpx.AsyncClient] = []
        self.lines = ConnectionPool(self.open, most=most, patience=patience, keep=keep)

    def open(self) -> httpx.AsyncClient:
        """One more."""
        self.opened.append(Line(trust_env=False))
        return self.opened[-1]

    @property
    def open_now(self) -> int:
        """How many are not closed."""
        return sum(not line.is_closed for line in self.opened)


async def test_the_line_that_was_used_last_is_taken_first() -> None:
    """So that a few do all the work, and the others may be closed."""
    bench = Bench(3)
    async with bench.lines.line() as one, bench.lines.line() as two:
        assert one is not two
    for _ in range(3):
        async with bench.lines.line() as again:
            assert again is one
    assert len(bench.opened) == 2


async def test_who_finds_none_waits_for_so_long_and_no_longer() -> None:
    """And then it is certain that nothing was sent."""
    bench = Bench(1)
    async with bench.lines.line():
        with pytest.raises(httpx.PoolTimeout):
            async with bench.lines.line():
                pass
    async with bench.lines.line():
        assert len(bench.opened) == 1


async def test_who_waits_gets_the_next_that_is_free() -> None:
    """In the order of asking."""
    bench, order = Bench(1, patience=5.0), list[int]()

    async def ask(number: int) -> None:
        async with bench.lines.line():
            order.append(number)

    async with asyncio.TaskGroup() as tasks, bench.lines.line():
        for number in range(4):
            tasks.create_task(ask(number))
        await asyncio.sleep(0)
        assert order == []
    assert order == [0, 1, 2, 3]
    assert len(bench.opened) == 1


async def test_an_error_costs_no_line() -> None:
    """The request has ended, if not well."""
    bench = Bench(1)
    with pytest.raises(httpx.ReadError):
        async with bench.lines.line():
            raise httpx.ReadError("cut")
    async with bench.lines.line() as again:
        assert again is bench.opened[0]


async def test_who_is_cancelled_leaves_none_behind() -> None:
    """It may have been cancelled in the midst of giving the connection back: the next one begins with a new one."""
    bench = Bench(1)
    entered = asyncio.Event()

    async def hold() -> None:
        async with bench.lines.line():
            entered.set()
            await asyncio.Event().wait()

    holding = asyncio.create_task(hold())
    await entered.wait()
    holding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await holding
    assert bench.open_now == 0
    async with bench.lines.line() as another:
        assert another is bench.opened[1]


async def test_what_rested_for_too_long_is_closed() -> None:
    """After a burst, most of them are not needed any more."""
    bench = Bench(8, keep=0.0)
    async with AsyncExitStack() as burst:
        for _ in range(8):
            await burst.enter_async_context(bench.lines.line())
    await asyncio.sleep(0.01)
    async with bench.lines.line():
        pass
    assert bench.open_now == 1


async def test_many_that_come_and_go_at_once_are_served_while_old_ones_are_closed() -> None:
    """Whoever closes what rested for too long does not count on what it saw before."""
    bench = Bench(4, keep=0.0, patience=5.0)

    async def ask(times: int) -> None:
        for _ in range(times):
            async with bench.lines.line():
                await asyncio.sleep(0)

    async with asyncio.TaskGroup() as tasks:
        for times in range(12):
            tasks.create_task(ask(times))
    assert bench.open_now <= 4


async def test_in_the_end_all_are_closed() -> None:
    """Those in use, when their request ends."""
    bench = Bench(2)
    async with bench.lines, bench.lines.line():
        async with bench.lines.line():
            pass
        await bench.lines.aclose()
        assert bench.open_now == 1
    assert bench.open_now == 0
