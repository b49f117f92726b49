"""A cable between two processes: it carries bytes, or holds them up, loses them, breaks, or is not there.

Knows TCP, and nothing of what is said over it. Belongs to one event loop.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress

from harness.scrape import free_port

_AT_ONCE = 65_536
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: what was not sent is dropped, and the other end is told that the connection is gone."""


class Cable:
    """From `port` to `to`, which may be set late."""

    def __init__(self, name: str, to: int = 0) -> None:
        self.name, self.to = name, to
        self.port = free_port()
        self._server: asyncio.Server | None = None
        self._ends: set[asyncio.StreamWriter] = set()
        self._carrying: set[asyncio.Task[None]] = set()
        self._flows = asyncio.Event()
        self._flows.set()
        self._loses = False

    async def open(self) -> None:
        """Connections are taken from now on."""
        if self._server is None:
            self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port, reuse_address=True)

    def reset(self) -> None:
        """Every connection breaks."""
        for end in self._ends:
            sock = end.get_extra_info("socket")
            with suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            end.transport.abort()

    def refuse(self) -> None:
        """Every connection breaks, and none is taken until it is mended."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.reset()

    def swallow(self) -> None:
        """What is sent is lost, until it is mended."""
        self._loses = True

    def hold(self) -> None:
        """What is sent waits, until it is mended."""
        self._flows.clear()

    async def mend(self) -> None:
        """As it should be. Where bytes were lost, nothing goes on as if they were not."""
        if self._loses:
            self._loses = False
            self.reset()
        self._flows.set()
        await self.open()

    def close(self) -> None:
        """Nothing goes through any more."""
        self.refuse()
        for task in self._carrying:
            task.cancel()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A task of ours: asyncio's own tells of each one that is cancelled as of an error."""
        task = asyncio.ensure_future(self._join(reader, writer))
        self._carrying.add(task)
        task.add_done_callback(self._carrying.discard)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = {writer}
        self._ends.add(writer)
        try:
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self.to)
            ends.add(there_writer)
            self._ends.add(there_writer)
            if not writer.transport.is_closing():  # it may have been reset meanwhile
                await asyncio.gather(self._carry(reader, there_writer), self._carry(there_reader, writer))
        except OSError:
            pass  # nobody is there
        finally:
            self._ends -= ends
            for end in ends:
                end.transport.abort()

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        """Until either end is through; then the other one is told."""
        with suppress(OSError):
            while data := await source.read(_AT_ONCE):
                await self._flows.wait()
                if not self._loses:
                    sink.write(data)
                    await sink.drain()
            await self._flows.wait()
            if sink.can_write_eof():
                sink.write_eof()
            return
        sink.transport.abort()
