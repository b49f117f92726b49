"""Whether files changed since they were read: by what the file system says of them, or by what they hold."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

Stamps = tuple[tuple[str, int, int, int], ...]


def stamps(paths: Iterable[str]) -> Stamps:
    """Differs after a file was changed or replaced, also by a link that leads elsewhere, as in a Secret's volume."""
    found = []
    for path in paths:
        with suppress(OSError):
            stat = os.stat(path)
            found.append((path, stat.st_mtime_ns, stat.st_size, stat.st_ino))
    return tuple(found)


def contents(paths: Iterable[str]) -> bytes:
    """A hash over all of them; a file that cannot be read counts as empty."""
    digest = hashlib.sha256()
    for path in paths:
        with suppress(OSError):
            held = Path(path).read_bytes()
            digest.update(len(held).to_bytes(8, "big") + held)
    return digest.digest()
