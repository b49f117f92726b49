"""A network in memory, on a clock that jumps, with processes that can be killed at any byte.

Decides when bytes arrive and who is still alive to send them. Whatever asks the event loop for a connection gets a
pipe to the server that listens there: HTTP clients and servers do not notice. Knows nothing of what travels.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, ContextVar, copy_context
from random import Random
from typing import Any
from weakref import WeakKeyDictionary

from unit.virtual_time import VirtualLoop

LONGEST = 48 * 3600.0
TICK = 1e-8
HOT = 30_000
"""Deliveries within one moment, after which something runs in circles."""

Place = str | int
Factory = Callable[[], asyncio.Protocol]

_IDLE, _ = os.pipe()
"""What a connection looks like to a pool that asks whether it may be used again: nothing to read."""


class HotLoopError(AssertionError):
    """Something goes on without time passing."""


class Process:
    """Whatever runs in the context of one `run`, until it is killed: then nothing of it reaches anybody."""

    current: ContextVar[Process | None] = ContextVar("process", default=None)

    def __init__(self, name: str) -> None:
        self.name = name
        self.dead = False
        self.frozen_from: dict[Place, float] = {}
        """Places that it does not reach before a time."""
        self.dies_in: int | None = None
        """After how many sends it is killed; negative would be before any."""
        self.killed = asyncio.Event()
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._pipes: dict[Pipe, None] = {}

    def start(self, main: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run `main`, and all that it starts, as this process."""
        context = copy_context()
        context.run(self.current.set, self)
        return asyncio.get_running_loop().create_task(main, context=context)

    def kill(self) -> None:
        """At this very moment; what it sent before may still arrive."""
        if self.dead:
            return
        self.dead = True
        for pipe in list(self._pipes):
            pipe.vanish()
        for task in list(self._tasks):
            task.cancel()
        self.killed.set()

    def cut_off(self, place: Place, until: float) -> None:
        """It does not reach `place` until then; its connections break."""
        self.frozen_from[place] = until
        for pipe in list(self._pipes):
            if pipe.place == place:
                pipe.cut()

    def reaches(self, place: Place, now: float) -> bool:
        """Whether a connection can be opened."""
        return not self.dead and self.frozen_from.get(place, 0.0) <= now

    @staticmethod
    def of(task: asyncio.Task[Any]) -> Process | None:
        """Whose task it is."""
        loop = task.get_loop()
        return loop.owners.get(task) if isinstance(loop, Loop) else None

    def owns(self, task: asyncio.Task[Any]) -> None:
        """The task ends with the process."""
        self._tasks[task] = None
        loop = task.get_loop()
        if isinstance(loop, Loop):
            loop.owners[task] = self
        task.add_done_callback(lambda done: self._tasks.pop(done, None))
        if self.dead:
            task.cancel()

    def holds(self, pipe: Pipe) -> None:
        """The connection breaks with the process."""
        self._pipes[pipe] = None

    def lets_go(self, pipe: Pipe) -> None:
        """The connection is over."""
        self._pipes.pop(pipe, None)

    def sends(self) -> bool:
        """Whether it lives long enough to send once more."""
        if self.dies_in is None:
            return not self.dead
        self.dies_in -= 1
        if self.dies_in < 0:
            self.kill()
        return not self.dead


class _Socket:
    """As much of a socket as HTTP clients look at."""

    family = socket.AF_INET

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe

    def fileno(self) -> int:
        return -1 if self._pipe.is_closing() else _IDLE

    def getsockname(self) -> tuple[str, int]:
        return ("127.0.0.1", 1)

    def getpeername(self) -> tuple[str, int]:
        return ("127.0.0.1", 2)

    def setsockopt(self, *_: object) -> None:
        return None


class Pipe(asyncio.Transport):
    """One end of a connection: what is written here arrives at the other end, in order, a little later."""

    def __init__(self, network: Loop, protocol: asyncio.Protocol, place: Place, process: Process | None) -> None:
        super().__init__({"peername": ("127.0.0.1", 2), "socket": _Socket(self)})
        self._network, self._protocol = network, protocol
        self.place, self._process = place, process
        self._context: Context = copy_context()
        self._inbox: deque[tuple[float, bytes | None]] = deque()
        self._closing = self._paused = self._waiting = False
        self.peer: Pipe = self
        if process is not None:
            process.holds(self)

    def begin(self) -> None:
        """Tell the protocol that it is connected."""
        self._context.run(self._protocol.connection_made, self)

    # -- what a protocol calls ---------------------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._closing or not data or (self._process is not None and not self._process.sends()):
            return
        self.peer.post(bytes(data))

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def close(self) -> None:
        if not self._closing:
            self.peer.post(None)
            self._lose(None)

    def abort(self) -> None:
        self.close()

    def cut(self) -> None:
        """The network between breaks: both ends see a reset."""
        if not self._closing:
            self.peer.post(None)
            self._lose(ConnectionResetError("cut"))

    def vanish(self) -> None:
        """The process behind this end is no more: nobody is told here, and the other end sees a reset."""
        if not self._closing:
            self.peer.post(None)
            self._closing = True

    def is_closing(self) -> bool:
        return self._closing

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False
        self._wait()

    def is_reading(self) -> bool:
        return not self._paused

    def can_write_eof(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        return None

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        assert isinstance(protocol, asyncio.Protocol)
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    # -- what arrives ------------------------------------------------------------------------------------------

    def post(self, data: bytes | None) -> None:
        """Bytes for this end, or None for the end of the connection."""
        if self._closing:
            return
        at = self._network.time() + self._network.latency()
        self._inbox.append((max(at, self._inbox[-1][0] if self._inbox else at), data))
        self._wait()

    def _wait(self) -> None:
        if self._inbox and not self._waiting and not self._paused and not self._closing:
            self._waiting = True
            self._network.call_at(self._inbox[0][0], self._arrive, context=self._context)

    def _arrive(self) -> None:
        self._waiting = False
        self._network.count_delivery()
        while self._inbox and not self._paused and not self._closing and self._inbox[0][0] <= self._network.time():
            data = self._inbox.popleft()[1]
            if data is None:
                self._lose(ConnectionResetError("the other end is gone"))
                return
            self._protocol.data_received(data)
        self._wait()

    def _lose(self, error: Exception | None) -> None:
        self._closing = True
        self._inbox.clear()
        if self._process is not None:
            self._process.lets_go(self)
        self._network.call_soon(self._protocol.connection_lost, error, context=self._context)


class Loop(VirtualLoop):
    """An event loop whose connections are pipes and whose time is virtual."""

    def __init__(self, rng: Random) -> None:
        super().__init__(LONGEST)
        self._rng = rng
        self._servers: dict[Place, Factory] = {}
        self._moment, self._deliveries = 0.0, 0
        self.owners: WeakKeyDictionary[asyncio.Task[Any], Process] = WeakKeyDictionary()
        """Whose task each is; it goes with the loop."""
        self.set_task_factory(_task)

    def time(self) -> float:
        """A look at the clock takes a moment: whoever waits for what is left of a rounding error gets there."""
        self._virtual.now += TICK
        return self._virtual.now

    def listen(self, place: Place, factory: Factory) -> None:
        """A server at a port or a path; a later one takes the place of an earlier one."""
        self._servers[place] = factory

    def latency(self) -> float:
        """Seconds until what was sent arrives."""
        return self._rng.uniform(0.001, 0.02)

    def count_delivery(self) -> None:
        """Raises once too much happens at one moment."""
        if self.time() - self._moment > 1.0:
            self._moment, self._deliveries = self.time(), 0
        self._deliveries += 1
        if self._deliveries > HOT:
            raise HotLoopError(f"{HOT} deliveries within a second, at {self.time():.1f} s")

    async def create_connection(self, protocol_factory: Any, host: Any = None, port: Any = None, **_: Any) -> Any:
        """A pipe to whoever listens at `port`."""
        return await self._connect(protocol_factory, port)

    async def create_unix_connection(self, protocol_factory: Any, path: Any = None, **_: Any) -> Any:
        """A pipe to whoever listens at `path`."""
        return await self._connect(protocol_factory, path)

    async def _connect(self, factory: Factory, place: Place) -> tuple[Pipe, asyncio.BaseProtocol]:
        process = Process.current.get()
        await asyncio.sleep(self.latency())
        if place not in self._servers or (process is not None and not process.reaches(place, self.time())):
            raise ConnectionRefusedError(f"nobody answers at {place}")
        here = Pipe(self, factory(), place, process)
        there = Context().run(lambda: Pipe(self, self._servers[place](), place, None))
        here.peer, there.peer = there, here
        here.begin()
        there.begin()
        return here, here.get_protocol()


def _task(
    loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any] | Generator[Any, None, Any], **options: Any
) -> asyncio.Task[Any]:
    task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, **options)
    context = options.get("context")
    process = Process.current.get() if context is None else context.get(Process.current)
    if process is not None:
        process.owns(task)
    return task
