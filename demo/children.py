"""The processes that the demo starts beside the control plane: the platform simulator and the operator.

Decides how they are started, ended and looked at. None of them outlives the demo, whatever ends it: the simulator ends
with its standard input, and on Linux the kernel ends both. All they write is in the control plane's own directory,
which is removed with it, also when the demo is killed. What they do is no business of this module.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from controlplane.children import bound_to_us

_GRACE_SECONDS = 5.0


class ChildEndedError(Exception):
    """A child ended that nobody asked to end; the message holds the last lines of its log."""


@dataclass
class Child:
    """A process with its output in a log file, which can be started again after its end."""

    name: str
    command: list[str]
    log: Path
    environment: dict[str, str]
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)

    @property
    def pid(self) -> int | None:
        """None before the first start."""
        return self._process.pid if self._process else None

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it out of reach of Ctrl-C, which is for us: we end it in order."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                bound_to_us(self.command),
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self) -> None:
        """SIGKILL; back when it has ended."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()

    def stop(self) -> None:
        """Ask it to end and wait for that; killed where it does not."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.communicate(timeout=_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def check(self) -> None:
        """Raises ChildEndedError where it has ended by itself."""
        if self._process is not None and (code := self._process.poll()) is not None:
            raise ChildEndedError(f"the {self.name} ended with exit code {code}.\n{self.tail()}")

    def said(self, words: str) -> bool:
        """Whether its log has these words."""
        return self.log.is_file() and words in self.log.read_text(errors="replace")

    def tail(self, lines: int = 20) -> str:
        """The last lines of its log."""
        if not self.log.is_file():
            return f"The {self.name} has written nothing."
        with self.log.open(errors="replace") as log:
            return "".join([f"The {self.name}'s log ends with:\n", *(f"  {line}" for line in deque(log, lines))])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def simulator(directory: Path, project: str) -> Child:
    """The platform; it writes its address to `directory`/url and what the Secret takes to `directory`/platform.env."""
    options = [f"--url-file={directory / 'url'}", f"--env-file={directory / 'platform.env'}"]
    command = [sys.executable, "-m", "inferencekey_simulator", "serve", f"--project={project}", "--port=0"]
    return Child(
        "simulator",
        [*command, *options, "--readiness-seconds=3", "--exit-with-stdin"],
        directory / "simulator.log",
        _environment(directory),
    )


def operator(directory: Path, kubeconfig: Path, url: str, options: list[str]) -> Child:
    """The operator for the platform at `url`, as anybody would start it."""
    environment = _environment(directory) | {"KUBECONFIG": str(kubeconfig), "INFERENCEKEY_BASE_URL": url}
    command = [sys.executable, "-m", "inferencekey_operator", "run", *options]
    return Child("operator", command, directory / "operator.log", environment)


def _environment(directory: Path) -> dict[str, str]:
    """Ours without anything of a real platform's, and with a place for files that a killed process leaves."""
    temporary = directory / "tmp"
    temporary.mkdir(exist_ok=True)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("INFERENCEKEY_")}
    return inherited | {"TMPDIR": str(temporary)}
