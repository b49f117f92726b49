"""Child processes that the kernel ends when their parent ends, whatever ends it.

Run as a script, this file asks Linux for that and then becomes the command that it was given. That takes some
20 ms more than a function between fork and exec, which no process with threads should have.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def bound_to_us(command: list[str]) -> list[str]:
    """The command, such that it is killed together with the thread that starts it; unchanged but on Linux."""
    if sys.platform != "linux":
        return command
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *command]


def bind_to_parent() -> None:
    """This process is killed together with the thread that started it; on Linux alone."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _become(parent: int, command: list[str]) -> None:
    bind_to_parent()
    if os.getppid() != parent:
        sys.exit("the parent ended before this could be bound to it")
    try:
        os.execvp(command[0], command)  # noqa: S606 - there is no shell that could be wanted
    except OSError as error:
        sys.exit(f"{command[0]}: {error.strerror}")


if __name__ == "__main__":
    _become(int(sys.argv[1]), sys.argv[2:])
