"""How a process of the operator begins: executed, as users do it, or forked from one that has imported everything.

Imports are most of what a start costs, and few tests are about them. What was forked is a process of its own as any
other: it has its pid, its environment and its signals, and ends with whoever began it.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Protocol

from controlplane.children import bind_to_parent, bound_to_us

OPERATOR = "inferencekey_operator.__main__"
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload([OPERATOR])


class Life(Protocol):
    """A process that runs, or has ended; as subprocess.Popen has it."""

    @property
    def pid(self) -> int:
        """Also after its end."""

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""

    def send_signal(self, sig: int, /) -> None:
        """If it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code. Raises subprocess.TimeoutExpired."""


class Begin(Protocol):
    """Begins a life with these arguments and nothing but this environment; what it writes goes to the end of `log`."""

    def __call__(self, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> Life:
        """Back when there is a process."""


def executed(arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> Life:
    """By the interpreter that runs the tests."""
    return _executed((), arguments, environment, log)


def executed_by(user: int) -> Begin:
    """The same, by a user of whom this machine knows no name, as it is in a pod; by ours where that is not granted."""
    unshare = ("unshare", "--user", f"--map-user={user}", f"--map-group={user}")
    granted = shutil.which("unshare") and subprocess.run([*unshare, "true"], capture_output=True, check=False)
    return partial(_executed, unshare if granted and granted.returncode == 0 else ())


def _executed(before: Sequence[str], arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> Life:
    """What comes before is outermost: another user namespace undoes what a process was bound by."""
    with log.open("ab") as output:
        return subprocess.Popen(
            [*before, *bound_to_us([sys.executable, "-m", "inferencekey_operator", *arguments])],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def forked(arguments: Sequence[str], environment: Mapping[str, str], log: Path, *, module: str = OPERATOR) -> Life:
    """From a server of forks, which lasts as long as this process; it runs `main` of a module."""
    return _forked("", arguments, environment, log, module)


def forked_as(name: str) -> Begin:
    """The same, and its requests to the platform say who it is, by their user agent."""
    return partial(_forked, name)


def _forked(
    name: str, arguments: Sequence[str], environment: Mapping[str, str], log: Path, module: str = OPERATOR
) -> Life:
    process = _FORKS.Process(target=_live, args=(module, name, tuple(arguments), dict(environment), log), daemon=True)
    process.start()
    return _Forked(process)


def prepare_to_fork() -> None:
    """The server of forks begins to import; it may go on with that beside what else has to be started."""
    forkserver.ensure_running()


class _Forked:
    def __init__(self, process: BaseProcess) -> None:
        assert process.pid is not None
        self._process, self.pid = process, process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, sig: int, /) -> None:
        if self.poll() is None:
            os.kill(self.pid, sig)

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired(f"the operator, pid {self.pid}", timeout or 0.0)
        return code


def _live(module: str, name: str, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
    """What the child does; its parent is the server of forks, which goes when nobody holds its pipe any more.

    Each child is given that pipe, to fork by itself: one that kept it would keep the server, and so itself, alive
    after whoever began it was killed.
    """
    bind_to_parent()
    os.close(forkserver._forkserver._forkserver_alive_fd)  # type: ignore[attr-defined]
    os.environ.clear()
    os.environ.update(environment)
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(output, stream.fileno())
    if name:
        from inferencekey_operator.inferencekey import calls

        calls._HEADERS["User-Agent"] = f"inferencekey-operator/{name}"
    sys.exit(importlib.import_module(module).main(arguments))
