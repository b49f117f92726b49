"""CPU time, memory and what else a process holds, as Linux accounts for them.

Asks nothing of the process itself, and needs no more than its pid.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_USER, _SYSTEM = 11, 12
"""Where the two stand in /proc/PID/stat, counted behind the command's closing parenthesis."""


@dataclass(frozen=True)
class Memory:
    """In MiB."""

    resident: float
    proportional: float
    """Pages that are shared count for each process by its share of them."""
    peak: float
    """The most that was ever resident."""


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads since the process began, those that have ended included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[_USER]) + int(fields[_SYSTEM])) / _TICKS


def memory(pid: int) -> Memory:
    """As it is now."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    status = Path(f"/proc/{pid}/status").read_text()
    return Memory(_mebibytes(rollup, "Rss"), _mebibytes(rollup, "Pss"), _mebibytes(status, "VmHWM"))


def descriptors(pid: int) -> int:
    """How many files, sockets and pipes are open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def threads(pid: int) -> int:
    """How many there are."""
    return len(os.listdir(f"/proc/{pid}/task"))


def _mebibytes(text: str, name: str) -> float:
    found = re.search(rf"^{name}:\s+(\d+) kB$", text, re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0
