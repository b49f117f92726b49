"""Gives back to the system what malloc holds and nobody uses.

asyncio reads TLS into a quarter of a MiB for each connection, and again for each read. What was between small blocks
stays with glibc once it is free: 14 MiB after a thousand creations, for as long as the process lives.
"""

from __future__ import annotations

import asyncio
import ctypes
from collections.abc import Callable

EVERY = 10.0
"""Seconds. It takes less than a millisecond for each 10 MiB that are given back."""


async def give_back(pause: float = EVERY) -> None:
    """Every few seconds, for ever; returns where libc cannot."""
    trim: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    while trim is not None:
        await asyncio.sleep(pause)
        trim(0)
