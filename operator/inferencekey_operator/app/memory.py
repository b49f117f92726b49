"""What TLS connections take, and what malloc keeps of it once they are closed.

asyncio has a buffer of a quarter of a MiB for each connection, and asks for as much again at each read. What lay
between small blocks stays with glibc when it is free: 14 MiB after a thousand creations, as long as the process lives.
"""

from __future__ import annotations

import asyncio
import ctypes
from asyncio.sslproto import SSLProtocol
from collections.abc import Callable

TLS_BUFFER = 64 * 1024
"""Bytes. A TLS record has 16 KiB at most."""

EVERY = 10.0
"""Seconds. Where there is nothing to give back it takes a tenth of a millisecond."""


def shrink_tls_buffers() -> None:
    """For each connection that is opened from now on; asyncio offers no parameter for it."""
    SSLProtocol.max_size = TLS_BUFFER


async def trim_malloc(pause: float = EVERY) -> None:
    """Every few seconds, for ever; returns where libc cannot."""
    trim: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    while trim is not None:
        await asyncio.sleep(pause)
        trim(0)
