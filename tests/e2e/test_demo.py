"""`make demo`, as its users run it: the whole round without a terminal, and ended at any moment with nothing left.

Every process of a demo is known by a mark in its PATH, which all of them inherit, and its files by their TMPDIR.
"""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from controlplane.waiting import wait_until
from harness.examples import alone

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "demo"]
ROUND_SECONDS = 240
END_SECONDS = 30


@dataclass(frozen=True)
class Marks:
    """How to find what a demo has started and written."""

    directory: Path
    temporary: Path

    def environment(self, **changes: str) -> dict[str, str]:
        """For a demo: ours, but that nothing says whether somebody looks on."""
        inherited = {name: value for name, value in os.environ.items() if name not in ("CI", "NO_COLOR")}
        marked = {"PATH": f"{self.directory}:{os.environ['PATH']}", "TMPDIR": str(self.temporary)}
        return inherited | marked | {"PYTHONPATH": str(ROOT / "tests"), "TERM": "xterm"} | changes

    def processes(self) -> dict[int, str]:
        """The processes that run, with their command lines."""
        mark = str(self.directory).encode()
        found = {}
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (process / "environ").read_bytes():
                    found[int(process.name)] = (process / "cmdline").read_text().replace("\0", " ")
            except OSError:
                continue  # it has ended, or is somebody else's
        return found

    def pid(self, words: str) -> int:
        """The process with these words in its command line."""
        return next(pid for pid, command in self.processes().items() if words in command)

    def assert_nothing_is_left(self) -> None:
        """Neither processes nor files; what was killed needs a moment."""
        wait_until(lambda: not self.processes() and not list(self.temporary.iterdir()), END_SECONDS)


class Terminal:
    """A demo in the foreground of a terminal of its own."""

    def __init__(self, marks: Marks) -> None:
        self.pid, self._terminal = pty.fork()
        if self.pid == 0:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # a run in the background of a script ignores it
            os.chdir(ROOT)
            os.execve(COMMAND[0], COMMAND, marks.environment())  # noqa: S606 - there is no shell to want
        self._shown = b""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def shown(self) -> str:
        """All that was written to it, escape sequences included."""
        return self._shown.decode(errors="replace")

    def interrupt(self) -> None:
        """Ctrl-C, for the whole foreground process group."""
        os.write(self._terminal, b"\x03")

    def exit_code(self) -> int:
        """Back when the demo has ended, of which the end of its output is the sign."""
        self._reader.join(END_SECONDS)
        assert not self._reader.is_alive(), self.shown
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def _read(self) -> None:
        try:
            while read := os.read(self._terminal, 65536):
                self._shown += read
        except OSError:
            pass  # Linux says so when the last process has closed it


@pytest.fixture
def marks(tmp_path: Path) -> Iterator[Marks]:
    """Marks of this test alone; what a failed test leaves is ended."""
    marks = Marks(tmp_path / "mark", tmp_path / "tmp")
    marks.directory.mkdir()
    marks.temporary.mkdir()
    yield marks
    for pid in marks.processes():
        os.kill(pid, signal.SIGKILL)


def start(marks: Marks, output: Path) -> subprocess.Popen[bytes]:
    """A demo without a terminal."""
    with output.open("wb") as stream:
        return subprocess.Popen(
            COMMAND,
            cwd=ROOT,
            env=marks.environment(CI="true"),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
        )


def test_the_whole_round_without_a_terminal(marks: Marks, tmp_path: Path) -> None:
    """In a pipe it shows every chapter in plain lines, ends with 0 and leaves nothing; no token is shown."""
    output = tmp_path / "output"
    demo = start(marks, output)
    assert demo.wait(ROUND_SECONDS) == 0, output.read_text()
    told = output.read_text()
    assert re.findall(r" s  (\d)/(\d) ", told) == [(str(number), "7") for number in range(1, 8)]
    for words in (
        f"ok   all {len(alone())} are Ready, but for reviewed, whose plan is held",
        "and 0 writes of the platform.",
        "Writes to Kubernetes: 0.",
        'chat, Reconcile: repaired: PATCH {"model_name": "Qwen/Qwen3-8B"}',
        "executionPolicyConfig.replicas: declared 1, live 4",
        "office-hours, Warn: Ready True, reported",
        "embedding-ollama, Fail: Ready False, reported",
        "from 1 POST, not two",
        "ok   survivor is gone from Kubernetes and from the platform",
        "All of it was seen to happen",
    ):
        assert words in told
    assert "\x1b" not in told
    assert not re.search(r"ik_(sdk|live)_[0-9a-f]{8}_", told)
    marks.assert_nothing_is_left()


@pytest.mark.tools
@pytest.mark.parametrize("moment", ["1 of 4", "4 of 4", "examples/", "until all"])
def test_interrupted_in_a_terminal(marks: Marks, moment: str) -> None:
    """Ctrl-C ends it at once, in order and without a traceback, and leaves neither processes nor files."""
    demo = Terminal(marks)
    wait_until(lambda: moment in demo.shown, 60)
    demo.interrupt()
    assert demo.exit_code() == 130
    assert "Traceback" not in demo.shown
    marks.assert_nothing_is_left()


@pytest.mark.tools
def test_killed(marks: Marks, tmp_path: Path) -> None:
    """SIGKILL, of which it learns nothing, leaves neither processes nor files."""
    output = tmp_path / "output"
    demo = start(marks, output)
    wait_until(lambda: "2/7" in output.read_text(), 60)
    assert {"etcd", "kube-apiserver"} <= {Path(each.split()[0]).name for each in marks.processes().values()}
    demo.kill()
    demo.wait()
    marks.assert_nothing_is_left()


@pytest.mark.tools
def test_a_step_that_fails(marks: Marks, tmp_path: Path) -> None:
    """When a step cannot happen it says what it saw, with the end of the operator's log, and ends with 1."""
    output = tmp_path / "output"
    demo = start(marks, output)
    wait_until(lambda: "2/7" in output.read_text(), 60)
    os.kill(marks.pid("inferencekey_operator run"), signal.SIGKILL)
    assert demo.wait(END_SECONDS) == 1
    told = output.read_text()
    assert "FAILED: the operator ended with exit code -9." in told
    assert "in control of" in told
    assert "Traceback" not in told
    marks.assert_nothing_is_left()
