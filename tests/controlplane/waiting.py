"""Waiting for what has to come, with a bound, and looking whether a process is there.

For tests: nothing here starts or stops anything.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path


def wait_until(reached: Callable[[], bool], seconds: float = 30.0, poll: float = 0.02) -> None:
    """Back as soon as `reached` is true; AssertionError if it is not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not reached():
        if time.monotonic() > deadline:
            raise AssertionError(f"not reached within {seconds:g} s")
        time.sleep(poll)


def runs(pid: int) -> bool:
    """Whether the process is there; one that has ended and was not yet asked for its exit code is not."""
    try:
        os.kill(pid, 0)
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except ProcessLookupError:
        return False
    except FileNotFoundError:
        return not Path("/proc/self").exists()  # it ended just now, or this is not Linux
