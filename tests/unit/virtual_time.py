"""Hours in milliseconds: an event loop whose clock jumps to whatever comes next, and coroutines that can be frozen.

Decides when things happen, never what. Real input and output has no place on such a loop: it is never waited for.
"""

from __future__ import annotations

import asyncio
import functools
import selectors
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

LONGEST = 3600.0
"""Seconds after which a test waits for what does not come."""


class _Selector(selectors.DefaultSelector):
    """Waits for nothing; says instead how long one would have waited."""

    def __init__(self, longest: float) -> None:
        super().__init__()
        self.now = 0.0
        self._longest = longest

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(0)
        if timeout is None and not events:
            raise RuntimeError("nothing is left that could happen")
        if not events and timeout is not None and timeout > 0:
            self.now += timeout
            if self.now > self._longest:
                raise RuntimeError(f"{self._longest:g} s have passed")
        return events


class VirtualLoop(asyncio.SelectorEventLoop):
    """Starts at 0 s."""

    def __init__(self, longest: float = LONGEST) -> None:
        self._virtual = _Selector(longest)
        super().__init__(self._virtual)

    def time(self) -> float:
        """Seconds since the start, as far as anything waited for them."""
        return self._virtual.now


def virtual(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """The coroutine as a plain function that runs it on a loop of its own."""

    @functools.wraps(test)
    def run(*arguments: P.args, **keywords: P.kwargs) -> None:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(test(*arguments, **keywords))

    return run


@types.coroutine
def freezable(coroutine: Coroutine[Any, Any, T], thawed: asyncio.Event) -> Generator[Any, Any, T]:
    """What `coroutine` returns; while `thawed` is not set it does not go on, as a process that was stopped.

    What happens meanwhile is waiting for it when it goes on, a cancellation or a timeout that ran out as well.
    """
    step: Callable[[], Any] = functools.partial(coroutine.send, None)
    try:
        while True:
            try:
                awaited = step()
            except StopIteration as end:
                result: T = end.value
                return result
            step = functools.partial(coroutine.send, None)
            try:
                yield awaited
            except asyncio.CancelledError as cancelled:
                step = functools.partial(coroutine.throw, cancelled)
            while not thawed.is_set():
                try:
                    yield from thawed.wait().__await__()
                except asyncio.CancelledError as cancelled:
                    step = functools.partial(coroutine.throw, cancelled)
    finally:
        coroutine.close()
