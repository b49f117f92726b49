"""Which Workloads serve: the platform's readiness streams, followed for as long as they tell something.

What is not ready yet is followed until a terminal phase; what is ready, or may idle, is looked at again slowly, once
per interval, spread evenly. Only so many streams are open at once; one that says nothing new makes room for those that
wait, and first for those of a namespace that has fewer. The last phase of each Workload is kept here; the status is
written by `reconcile`, which is told by `told`.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass

from inferencekey_operator.api.keys import Key
from inferencekey_operator.api.status import Readiness
from inferencekey_operator.errors import OperatorError, Reason
from inferencekey_operator.inferencekey.connection import STREAMS
from inferencekey_operator.inferencekey.readiness import Phase, follow
from inferencekey_operator.kube.places import Places
from inferencekey_operator.logs import about

log = logging.getLogger(__name__)

REFUSED_WAITS = (1.0, 2.0, 4.0, 5.0, 30.0, 60.0)
"""Seconds before a stream that was refused is asked for again: list and stream need not agree at one moment."""
TURN = 20.0
"""Seconds that a stream may stay open while others wait for a place."""

MOST_PHASES = 8
"""How many phases of one start are told at once. The platform has five, and one that makes up more is not believed."""

OpenStream = Callable[[], AsyncGenerator[Phase, None]]


@dataclass(slots=True)
class _Watched:
    task: asyncio.Task[None]
    once: bool


class Serving:
    """The phases of all Workloads, as the platform last told them."""

    def __init__(self, told: Callable[[Key, bool], None], interval: float) -> None:
        self._told = told
        self._interval = interval
        self._open: dict[Key, OpenStream] = {}
        self._phases: dict[Key, Readiness] = {}
        self._heard: dict[Key, set[str]] = {}
        """The phases of a start that goes on."""
        self._watched: dict[Key, _Watched] = {}
        self._looks: dict[Key, asyncio.TimerHandle] = {}
        self._places = Places(STREAMS)

    def phase(self, key: Key) -> Readiness | None:
        """What the platform last told this process; None where it told nothing.

        Without a phase after a write of ours, until a stream that was opened since tells one.
        """
        return self._phases.get(key)

    @property
    def open_streams(self) -> int:
        """How many streams there are, those that wait for a place among them."""
        return len(self._watched)

    def follow(self, key: Key, open_stream: OpenStream, *, at_most: float | None = None) -> None:
        """Follow until a terminal phase, or for so many seconds, unless that goes on already."""
        self._open[key] = open_stream
        watched = self._watched.get(key)
        if watched is None or watched.once:
            self._stop(key)
            self._start(key, once=False, at_most=at_most)

    def look_later(self, key: Key, open_stream: OpenStream) -> None:
        """Look once, some time in the next interval, and again in each that follows."""
        self._open[key] = open_stream
        if self._interval and key not in self._looks:
            self._schedule(key, random.uniform(0.0, self._interval))  # noqa: S311 - spread evenly

    def look_now(self, key: Key, open_stream: OpenStream) -> None:
        """Look once, at once, unless it is being followed or looked at; and later, as ever."""
        self.look_later(key, open_stream)
        self._start(key, once=True)

    def written(self, key: Key) -> None:
        """The workload was written, or may have been: what a stream told that is open or over says nothing of it now.

        Nothing is followed anew; slow looks go on.
        """
        self._end(key)
        self._phases[key] = Readiness()
        self._heard.pop(key, None)

    def rest(self, key: Key) -> None:
        """No stream and no look; what was told is kept."""
        self._stop(key)

    def forget(self, key: Key) -> None:
        """Nothing of `key` is wanted any more."""
        self._stop(key)
        self._open.pop(key, None)
        self._phases.pop(key, None)
        self._heard.pop(key, None)

    def close(self) -> None:
        """No stream stays open."""
        for key in [*self._watched, *self._looks]:
            self._stop(key)

    def _schedule(self, key: Key, seconds: float) -> None:
        def look() -> None:
            self._schedule(key, self._interval)
            self._start(key, once=True)

        self._looks[key] = asyncio.get_running_loop().call_later(seconds, look)

    def _start(self, key: Key, *, once: bool, at_most: float | None = None) -> None:
        if key not in self._watched:
            task = asyncio.create_task(self._watch(key, once=once, at_most=at_most), name=f"readiness of {key}")
            self._watched[key] = _Watched(task, once)

    def _stop(self, key: Key) -> None:
        self._end(key)
        handle = self._looks.pop(key, None)
        if handle is not None:
            handle.cancel()

    def _end(self, key: Key) -> None:
        watched = self._watched.pop(key, None)
        if watched is not None:
            watched.task.cancel()

    async def _watch(self, key: Key, *, once: bool, at_most: float | None) -> None:
        try:
            async with asyncio.timeout(None) as limit:
                await self._turns(key, limit, once=once, at_most=at_most)
        except TimeoutError:
            log.debug("%s: looked at again in its time", key, extra=about(key))
        finally:
            watched = self._watched.get(key)
            if watched is not None and watched.task is asyncio.current_task():
                del self._watched[key]
                if at_most is not None:
                    self.look_later(key, self._open[key])

    async def _turns(self, key: Key, limit: asyncio.Timeout, *, once: bool, at_most: float | None) -> None:
        waits = 0
        while True:
            await self._places.acquire(key.namespace)
            if at_most is not None and limit.when() is None:
                limit.reschedule(asyncio.get_running_loop().time() + at_most)
            try:
                if await self._one_turn(key, once=once):
                    return
            except Exception as error:
                if not isinstance(error, OperatorError):
                    log.exception("unexpected error in the readiness stream of %s; opening it again", key)
                    error = OperatorError(Reason.PLATFORM_ERROR, "The stream cannot be read.")
                level = logging.DEBUG if waits else logging.INFO  # told once, not as often as it is asked again
                fields = about(key, reason=error.reason)
                log.log(level, "%s: readiness is unknown: %s", key, error, extra=fields)
                if once:
                    return
                await _sleep(REFUSED_WAITS[min(waits, len(REFUSED_WAITS) - 1)])
                waits += 1

    async def _one_turn(self, key: Key, *, once: bool) -> bool:
        """With a place: true once there is nothing more to hear, false where others wanted it."""
        listening = asyncio.create_task(self._listen(key, self._watched.get(key), once=once))
        try:
            while not (await asyncio.wait({listening}, timeout=TURN))[0]:
                if self._places.wanted:
                    return False
            if listening.cancelled():  # by something below it, which gave up a call that was shared
                raise OperatorError(Reason.PLATFORM_UNREACHABLE, "The stream was given up.")
            listening.result()
            return True
        finally:
            listening.cancel()
            self._places.release(key.namespace)

    async def _listen(self, key: Key, watched: _Watched | None, *, once: bool) -> None:
        async with aclosing(follow(self._open[key], sleep=_sleep)) as phases:
            async for phase in phases:
                if self._watched.get(key) is not watched:
                    return  # Stopped in this very moment: it may be of a workload that is no more.
                self._hear(key, phase)
                if once:
                    return

    def _hear(self, key: Key, phase: Phase) -> None:
        new = Readiness(phase=phase.phase, step=phase.step, message=phase.message)
        old = self._phases.get(key)
        if new != old:
            self._phases[key] = new
            self._told(key, (old is None or old.phase != new.phase) and self._goes_on(key, phase))

    def _goes_on(self, key: Key, phase: Phase) -> bool:
        """Whether it tells of a start that goes on, and not to and fro as fast as a platform can write."""
        if phase.terminal:  # the stream ends with it
            self._heard.pop(key, None)
            return True
        heard = self._heard.setdefault(key, set())
        if phase.phase in heard or len(heard) >= MOST_PHASES:
            return False
        heard.add(phase.phase)
        return True


async def _sleep(seconds: float) -> None:
    """Not all streams that an outage cut come back at one moment."""
    await asyncio.sleep(seconds * random.uniform(1.0, 1.5))  # noqa: S311 - jitter
