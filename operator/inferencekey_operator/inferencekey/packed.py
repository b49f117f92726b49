"""A packed body, unpacked in pieces of bounded size: gzip, member after member, as proxies pack what comes in pieces.

Decides how much is unpacked at a time; how much of it is taken is the caller's. Pure; must not know httpx.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

PIECE = 256 * 1024
"""Bytes that are unpacked at a time: a packed kilobyte may hold a megabyte."""

_GZIP = 31
"""What zlib calls it."""


class Gunzip:
    """Unpacks one body, in whatever pieces it comes. After the last member there may be zeros."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(_GZIP)

    def unpack(self, chunk: bytes) -> Iterator[bytes]:
        """What comes of `chunk`, at most `PIECE` bytes at a time; raises zlib.error."""
        left, more = chunk, False
        while left or more:
            if self._member.eof:
                left = left.lstrip(b"\0")
                if not left:
                    return
                self._member = zlib.decompressobj(_GZIP)
            piece = self._member.decompress(left, PIECE)
            yield piece
            left = self._member.unconsumed_tail or self._member.unused_data
            more = len(piece) == PIECE and not self._member.eof
