"""Keys to be worked on, each once, never twice at a time.

What client-go's work queue is, for asyncio: a key that is queued twice is worked once; a key that comes again while
it is worked is worked again after; failures wait longer each time, with jitter. Two lanes: what people wait for
overtakes the rest, but for a turn now and then. Within a lane, groups take turns and none has more than its share in
work, but each may have one: so however many are slow, they hold up nobody. The queue knows nothing of what a key means,
nor why one is not admitted.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from functools import partial

from inferencekey_operator.api.keys import Key
from inferencekey_operator.logs import about

log = logging.getLogger(__name__)

LANES = ("urgent", "background")
BACKGROUND_TURN = 8
"""Every eighth key comes from the background lane, so that drift is repaired however much people declare."""
BEYOND = 4
"""Limits that are worked on at most, however many groups there are: a takeover may begin with thousands."""


class _Lane:
    """Keys in order of arrival per group, groups in turn."""

    def __init__(self) -> None:
        self._groups: OrderedDict[str, deque[Key]] = OrderedDict()

    def push(self, key: Key) -> None:
        self._groups.setdefault(key.namespace, deque()).append(key)

    def pop(self, allowed: Callable[[str], bool], wanted: Callable[[Key], bool]) -> Key | None:
        """The next key of the next group that is allowed; keys that are not wanted any more are dropped."""
        for group in list(self._groups):
            if not allowed(group):
                continue
            keys = self._groups[group]
            while keys:
                key = keys.popleft()
                if wanted(key):
                    self._settle(group)
                    return key
            del self._groups[group]
        return None

    def _settle(self, group: str) -> None:
        if self._groups[group]:
            self._groups.move_to_end(group)
        else:
            del self._groups[group]


class WorkQueue:
    """`work` is called once per key at a time; at most `limit` calls run, at most `share` of them for one group.

    Groups that have some in work have equal parts of the limit. Where it is used up, one that has none begins one
    nevertheless, up to BEYOND limits: else six groups, each with its share of slow work, would be all that is worked.
    """

    FIRST_DELAY = 1.0
    LONGEST_DELAY = 300.0

    def __init__(
        self,
        work: Callable[[Key], Awaitable[None]],
        *,
        limit: int = 192,
        share: int = 32,
        admits: Callable[[Key], bool] = lambda key: True,
        waited: Callable[[str, float], None] = lambda lane, seconds: None,
    ) -> None:
        self._work, self._waited, self._admits = work, waited, admits
        self._limit, self._share = limit, share
        self._lanes = (_Lane(), _Lane())
        self._turns = 0
        self._queued: dict[Key, int] = {}
        self._since: dict[Key, float] = {}
        self._running: dict[Key, asyncio.Task[None]] = {}
        self._began: dict[Key, float] = {}
        self._per_group: dict[str, int] = {}
        self._delays: dict[Key, asyncio.TimerHandle] = {}
        self._failures: dict[Key, tuple[int, float]] = {}
        """How many in a row, and when the first one was, in the loop's time."""
        self._open = False
        self.adds = self.retries = 0
        """How many keys were queued, and how many of them after a failure, since the process began."""

    def start(self) -> None:
        """From now on keys are worked."""
        self._open = True
        self._pump()

    async def drop(self, belongs: Callable[[Key], bool]) -> None:
        """Nothing of these keys is remembered; waits for those that are in work."""
        for key in [key for keys in (self._queued, self._delays, self._failures) for key in keys if belongs(key)]:
            self.forget(key)
            self._queued.pop(key, None)
            self._since.pop(key, None)
        running = [task for key, task in self._running.items() if belongs(key)]
        if running:
            await asyncio.wait(running)

    async def stop(self) -> None:
        """No further key is begun; waits for those that are in work."""
        self._open = False
        for handle in self._delays.values():
            handle.cancel()
        self._delays.clear()
        if self._running:
            await asyncio.wait(list(self._running.values()))

    def add(self, key: Key, *, urgent: bool = False) -> None:
        """Work `key` as soon as its turn comes. A delay of it is over."""
        self._cancel_delay(key)
        lane = 0 if urgent else 1
        if not self._admits(key) or self._queued.get(key, 2) <= lane:
            return
        self._queued[key] = lane
        self._since.setdefault(key, asyncio.get_running_loop().time())
        self.adds += 1
        if key not in self._running:
            self._lanes[lane].push(key)
            if self._has_room(key.namespace):  # else nothing can begin that could not before
                self._pump()

    def add_after(self, key: Key, seconds: float, *, urgent: bool = False) -> None:
        """Work `key` in `seconds`, unless it is queued anyway. An earlier delay of it is replaced."""
        self._cancel_delay(key)
        if key in self._queued or not self._admits(key):
            return
        loop = asyncio.get_running_loop()
        self._delays[key] = loop.call_later(seconds, lambda: self.add(key, urgent=urgent))

    def add_within(self, key: Key, seconds: float) -> None:
        """Work `key` in `seconds` at the latest: an earlier delay of it stays."""
        standing = self._delays.get(key)
        if standing is None or standing.when() > asyncio.get_running_loop().time() + seconds:
            self.add_after(key, seconds)

    def retry(self, key: Key, *, at_least: float = 0.0, urgent: bool = False) -> float:
        """Work `key` again after a failure: later each time, never before `at_least` seconds. Returns the delay.

        The delay doubles, but exceeds the time since the first failure by FIRST_DELAY at most: each edit of a failing
        object causes one more failure, and must not cause a longer delay.
        """
        now = asyncio.get_running_loop().time()
        failures, since = self._failures.get(key, (0, now))
        self._failures[key] = failures + 1, since
        self.retries += 1
        delay = min(self.FIRST_DELAY * 2.0 ** min(failures, 16), self.FIRST_DELAY + now - since, self.LONGEST_DELAY)
        delay = max(delay, at_least) * random.uniform(1.0, 1.2)  # noqa: S311 - jitter, not a secret
        self.add_after(key, delay, urgent=urgent)
        return delay

    def succeeded(self, key: Key) -> None:
        """The next failure of `key` counts as its first."""
        self._failures.pop(key, None)

    def working(self, key: Key) -> bool:
        """Whether `key` is in work now."""
        return key in self._running

    def forget(self, key: Key) -> None:
        """`key` is gone: nothing of it is remembered."""
        self._cancel_delay(key)
        self._failures.pop(key, None)

    @property
    def started(self) -> bool:
        """Whether keys are worked."""
        return self._open

    @property
    def depth(self) -> int:
        """Keys that wait for their turn."""
        return len(self._queued)

    @property
    def delayed(self) -> int:
        """Keys that come back after a delay."""
        return len(self._delays)

    @property
    def running(self) -> int:
        """Keys that are in work."""
        return len(self._running)

    @property
    def longest_running(self) -> float:
        """Seconds that the work on a key has taken so far, at most; 0 where none is in work."""
        now = asyncio.get_running_loop().time()
        return max((now - began for began in self._began.values()), default=0.0)

    @property
    def idle(self) -> bool:
        """Whether nothing is queued and nothing is in work; delays do not count."""
        return not self._queued and not self._running

    def _cancel_delay(self, key: Key) -> None:
        handle = self._delays.pop(key, None)
        if handle is not None:
            handle.cancel()

    def _pump(self) -> None:
        while self._open and len(self._running) < BEYOND * self._limit and (key := self._next()) is not None:
            self._began[key] = now = asyncio.get_running_loop().time()
            self._waited(LANES[self._queued.pop(key)], now - self._since.pop(key))
            self._per_group[key.namespace] = self._per_group.get(key.namespace, 0) + 1
            self._running[key] = asyncio.create_task(self._run(key), name=f"ensure {key}")

    def _next(self) -> Key | None:
        self._turns += 1
        for number in (1, 0) if self._turns % BACKGROUND_TURN == 0 else (0, 1):
            key = self._lanes[number].pop(self._has_room, partial(self._waits, number))
            if key is not None:
                return key
        self._turns -= 1
        return None

    def _waits(self, lane: int, key: Key) -> bool:
        """Whether an entry of that lane still stands: not one that moved to another lane, or is worked already."""
        return self._queued.get(key) == lane and key not in self._running

    def _has_room(self, group: str) -> bool:
        in_work = self._per_group.get(group, 0)
        if in_work == 0:
            return True
        part = min(self._share, self._limit // len(self._per_group))
        return in_work < part and len(self._running) < self._limit

    async def _run(self, key: Key) -> None:
        try:
            await self._work(key)
        except Exception:
            log.exception("unexpected error while reconciling %s; retrying", key, extra=about(key))
            self.retry(key)
        finally:
            self._finished(key)

    def _finished(self, key: Key) -> None:
        del self._running[key], self._began[key]
        left = self._per_group[key.namespace] - 1
        if left:
            self._per_group[key.namespace] = left
        else:
            del self._per_group[key.namespace]
        lane = self._queued.get(key)
        if lane is not None:
            self._lanes[lane].push(key)
        self._pump()
