"""This side of the pipe to a supervisor: start, signal and look at processes that cannot outlive us.

Decides how the supervisor is started and spoken to. What runs, and when it is ready, is the caller's affair.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

_PACKAGES = Path(__file__).parent.parent
_END_SECONDS = 150.0
_REMOVE_SECONDS = 5.0


class ProcessError(Exception):
    """A process could not be started, ended by itself, or is not there."""


class Processes:
    """Named processes in a directory of theirs. Safe to use from several threads.

    Without a `directory`, one is made, and removed when everything has ended. A given one has to be empty or
    absent; it is kept.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self._remove = directory is None
        self.directory = _private_directory() if directory is None else _empty_directory(directory)
        self._lock = threading.Lock()
        self._commands: dict[str, tuple[list[str], Path]] = {}
        self._supervisor = self._start_supervisor()
        assert self._supervisor.stdin is not None
        assert self._supervisor.stdout is not None
        self._requests, self._answers = self._supervisor.stdin, self._supervisor.stdout

    @property
    def supervisor_pid(self) -> int:
        """The process between us and the others."""
        return self._supervisor.pid

    def start(self, name: str, command: list[str], log: Path) -> int:
        """Start a process with its output appended to `log`; returns its pid."""
        self._commands[name] = (command, log)
        return int(self._ask("start", name=name, command=command, log=str(log))["pid"])

    def restart(self, name: str) -> int:
        """Kill it if it still runs, and start it as it was started; returns the new pid."""
        command, log = self._commands[name]
        self.kill(name)
        return self.start(name, command, log)

    def kill(self, name: str) -> None:
        """SIGKILL; back when the process has ended."""
        self.signal(name, signal.SIGKILL)

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal; one to a process that has ended does nothing."""
        if name not in self._commands:
            raise ProcessError(f"no process is named {name}; there are {', '.join(self._commands) or 'none'}")
        self._ask("signal", name=name, number=int(number))

    def pids(self) -> dict[str, int]:
        """The processes that run."""
        state = self._ask("state")
        return {name: int(each["pid"]) for name, each in state.items() if each["exit"] is None}

    def exits(self) -> dict[str, int]:
        """Exit codes of those that have ended, negative for a signal."""
        state = self._ask("state")
        return {name: int(each["exit"]) for name, each in state.items() if each["exit"] is not None}

    def at_end(self, command: list[str]) -> None:
        """Have a command run after all processes have ended, also when we are killed."""
        self._ask("at_end", command=command)

    def close(self) -> None:
        """End all processes, last started first, and wait for that; again does nothing."""
        with self._lock:
            with contextlib.suppress(BrokenPipeError):
                self._requests.close()
            self._supervisor.wait(_END_SECONDS)
            self._answers.close()
        if self._remove:
            self._remove_directory()

    def _remove_directory(self) -> None:
        """The supervisor did it, unless it was killed: then its processes may write for a moment yet."""
        deadline = time.monotonic() + _REMOVE_SECONDS
        while self.directory.exists() and time.monotonic() < deadline:
            shutil.rmtree(self.directory, ignore_errors=True)
            time.sleep(0.02)

    def _start_supervisor(self) -> subprocess.Popen[str]:
        options = ["--remove"] if self._remove else []
        with (self.directory / "supervisor.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "controlplane.supervisor", str(self.directory), *options],
                cwd="/",
                env={**os.environ, "PYTHONPATH": str(_PACKAGES)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,  # Ctrl-C would end the components in no order
            )

    def _ask(self, what: str, **details: Any) -> dict[str, Any]:
        with self._lock:
            try:
                self._requests.write(json.dumps({"do": what, **details}) + "\n")
                self._requests.flush()
                line = self._answers.readline()
            except (BrokenPipeError, ValueError):
                line = ""
        if not line:
            raise ProcessError("the supervisor has ended, and every process with it")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ProcessError(answer["error"])
        return answer


def _private_directory() -> Path:
    return Path(tempfile.mkdtemp(prefix="controlplane-")).resolve()


def _empty_directory(directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    if any(directory.iterdir()):
        raise ProcessError(f"{directory} is not empty")
    return directory.resolve()
