"""A TLS connection takes less than by default, and what malloc holds free goes back to the system where libc can."""

from __future__ import annotations

import asyncio
import ctypes
import ssl
from asyncio.sslproto import SSLProtocol
from pathlib import Path

import pytest

from inferencekey_operator.app import memory as heap

BLOCK, BLOCKS = 100 * 1024, 200

libc = ctypes.CDLL(None)
CAN = hasattr(libc, "malloc_trim")


def _resident() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) / 256


@pytest.mark.skipif(not CAN, reason="this libc gives nothing back")
async def test_free_blocks_between_others_are_given_back() -> None:
    """As the buffers of connections are that were closed: malloc by itself gives back the end of its heap alone."""
    libc.malloc.restype = ctypes.c_void_p
    libc.free.argtypes = [ctypes.c_void_p]
    blocks = [libc.malloc(BLOCK) for _ in range(BLOCKS)]
    for block in blocks:
        ctypes.memset(block, 1, BLOCK)
    for block in blocks[::2]:
        libc.free(block)
    held = _resident()
    tidying = asyncio.create_task(heap.trim_malloc(pause=0.01))
    await asyncio.sleep(0.1)
    tidying.cancel()
    assert held - _resident() > BLOCK * BLOCKS / 2**20 / 4
    for block in blocks[1::2]:
        libc.free(block)


async def test_where_libc_cannot_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """musl has no such function."""
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    await asyncio.wait_for(heap.trim_malloc(pause=0.0), 60.0)


async def test_a_connection_takes_no_more_than_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """asyncio's own buffer is four times as large; a Python that takes its size from elsewhere shows here."""
    monkeypatch.setattr(SSLProtocol, "max_size", SSLProtocol.max_size)
    heap.shrink_tls_buffers()
    loop = asyncio.get_running_loop()
    protocol = SSLProtocol(loop, asyncio.Protocol(), ssl.create_default_context(), loop.create_future())
    assert len(protocol.get_buffer(1 << 20)) == heap.TLS_BUFFER
