"""The control groups of a node's pods, which are the one thing that no namespace keeps from the machine.

Run as a module, this file removes those of a name.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_GONE_SECONDS = 30.0


def make(name: str) -> None:
    """An empty group in every hierarchy; a kubelet makes its own below."""
    for hierarchy in _hierarchies():
        (hierarchy / name).mkdir()


def remove(name: str) -> None:
    """Take them away again, as soon as the last process in them has ended."""
    deadline = time.monotonic() + _GONE_SECONDS
    while not all(_removed(hierarchy / name) for hierarchy in _hierarchies()):
        if time.monotonic() > deadline:
            sys.exit(f"{name} is still in use below {_ROOT}")
        time.sleep(0.1)


def _removed(group: Path) -> bool:
    """From the leaves up; a group is empty when it has neither groups nor processes, whatever files are in it."""
    try:
        for folder, _, _ in os.walk(group, topdown=False):
            os.rmdir(folder)
    except OSError:
        return not group.exists()
    return True


def _hierarchies() -> list[Path]:
    """One of version 2, or one for each controller of version 1."""
    if (_ROOT / "cgroup.controllers").exists():
        return [_ROOT]
    return [each for each in _ROOT.iterdir() if each.is_dir() and not each.is_symlink()]


if __name__ == "__main__":
    remove(sys.argv[1])
