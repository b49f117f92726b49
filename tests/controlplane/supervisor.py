"""The process that runs a control plane's components, and ends them when whoever asked for them ends.

It reads requests, one JSON object a line, from the pipe that is its standard input, and answers each with
one line. When the pipe closes, be it that the asker let go of it or was killed, it stops the components in
the reverse order of their start, waits until each has really ended, runs what was asked for at the end,
removes its directory and ends. Should it be killed itself, the kernel kills the components. Of Kubernetes it
knows nothing.

Requests: `start` (name, command, log), `signal` (name, number), `state` (answers name -> pid and exit code,
null while it runs), `at_end` (command). An answer with `error` says what went wrong.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from controlplane.children import bound_to_us

_GRACE_SECONDS = 5.0
_AT_END_SECONDS = 120.0
_MEMORY = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
_GO = {"GOGC": "400", "GOMEMLIMIT": str(_MEMORY // 3)}
"""A quarter of the API server's work is to collect garbage where that is not told to wait for more of it. With a
limit that it comes close to it does little else: a thousand Workloads that come and go take it to 2 GB."""


@dataclass
class Supervisor:
    """The components, by name, in the order of their first start."""

    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    at_end: list[list[str]] = field(default_factory=list)

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do what is asked; never raises for what the operating system refuses."""
        try:
            match request["do"]:
                case "start":
                    return {"pid": self._start(request["name"], request["command"], request["log"])}
                case "signal":
                    self._signal(request["name"], request["number"])
                case "state":
                    return self._state()
                case "at_end":
                    self.at_end.append(request["command"])
            return {}
        except OSError as error:
            return {"error": str(error)}

    def stop(self) -> None:
        """End everything; a component that does not end when asked to is killed."""
        for process in reversed(self.processes.values()):
            _stop(process)
        for command in self.at_end:
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                # Its output goes to our log: standard output is for answers.
                subprocess.run(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=sys.stderr,
                    timeout=_AT_END_SECONDS,
                    check=False,
                )

    def _start(self, name: str, command: list[str], log: str) -> int:
        with open(log, "ab") as output:
            process = subprocess.Popen(
                bound_to_us(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # Nothing of the asker's: etcd reads its settings from ETCD_*, and proxies are no use here.
                env={"PATH": os.environ.get("PATH", os.defpath), **_GO},
            )
        self.processes[name] = process
        return process.pid

    def _signal(self, name: str, number: int) -> None:
        process = self.processes[name]
        process.send_signal(number)
        if number == signal.SIGKILL:
            process.wait()

    def _state(self) -> dict[str, Any]:
        return {name: {"pid": each.pid, "exit": each.poll()} for name, each in self.processes.items()}


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGCONT)  # one that a test has paused would never hear the next one
    process.terminate()
    try:
        process.wait(_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _serve(supervisor: Supervisor) -> None:
    for line in sys.stdin:
        answer = json.dumps(supervisor.answer(json.loads(line))) + "\n"
        # Past the buffer: one that cannot be written any more would be complained of at the very end.
        os.write(sys.stdout.fileno(), answer.encode())


def _end(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit


def main(directory: Path, *, remove: bool) -> None:
    """Serve until standard input closes or SIGTERM arrives, then leave nothing behind."""
    signal.signal(signal.SIGTERM, _end)
    supervisor = Supervisor()
    try:
        _serve(supervisor)
    except BrokenPipeError:
        pass  # the asker ended before it had its answer
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        supervisor.stop()
        if remove:
            shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), remove="--remove" in sys.argv[2:])
