"""Processes under a supervisor end in order, and with whoever had them started, whatever ends that one.

The processes are small scripts that note when they end.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane.processes import ProcessError, Processes
from controlplane.waiting import runs, wait_until

TESTS = Path(__file__).parent.parent

# Says that it can be stopped, and notes its name when it is; a stubborn one notes it and goes on.
NOTER = """
import pathlib, signal, sys
name, notes, stubborn = sys.argv[1], sys.argv[2], "stubborn" in sys.argv
def end(*_):
    with open(notes, "a") as file:
        print(name, file=file)
    if not stubborn:
        sys.exit()
signal.signal(signal.SIGTERM, end)
print("ready", flush=True)
while True:
    signal.pause()
"""

ASKER = """
import sys, time
from pathlib import Path
from controlplane.processes import Processes
processes = Processes()
pid = processes.start("sleeper", ["sleep", "1000"], processes.directory / "log")
processes.at_end(["touch", sys.argv[1]])
print(processes.supervisor_pid, pid, processes.directory, flush=True)
time.sleep(1000)
"""


@pytest.fixture
def processes() -> Iterator[Processes]:
    """A supervisor with nothing to supervise yet."""
    processes = Processes()
    yield processes
    processes.close()


def _start_noter(processes: Processes, name: str, notes: Path, *options: str) -> None:
    log = notes.with_name(f"{name}.log")
    processes.start(name, [sys.executable, "-S", "-c", NOTER, name, str(notes), *options], log)
    wait_until(lambda: log.exists() and log.read_text() == "ready\n")


def test_last_started_ends_first(tmp_path: Path, processes: Processes) -> None:
    """Also after the first one was started again: its place is that of its first start."""
    notes = tmp_path / "notes"
    _start_noter(processes, "first", notes)
    _start_noter(processes, "second", notes)
    (tmp_path / "first.log").unlink()
    processes.restart("first")
    wait_until(lambda: (tmp_path / "first.log").exists() and bool((tmp_path / "first.log").read_text()))
    processes.close()
    assert notes.read_text().split() == ["second", "first"]


def test_paused_process_ends(tmp_path: Path, processes: Processes) -> None:
    """A process under SIGSTOP is woken to hear that it shall end."""
    _start_noter(processes, "paused", tmp_path / "notes")
    processes.signal("paused", signal.SIGSTOP)
    processes.close()
    assert (tmp_path / "notes").read_text().split() == ["paused"]


def test_stubborn_process_is_killed(tmp_path: Path, processes: Processes) -> None:
    """One that does not end when asked to is killed after a few seconds, and close returns after that."""
    _start_noter(processes, "stubborn", tmp_path / "notes", "stubborn")
    pid = processes.pids()["stubborn"]
    processes.close()
    assert (tmp_path / "notes").read_text().split() == ["stubborn"]
    assert not runs(pid)


def test_directory_goes_with_the_processes(processes: Processes) -> None:
    """A directory of our own making is private while it lasts, and removed; closing again does nothing."""
    assert processes.directory.stat().st_mode & 0o777 == 0o700
    processes.close()
    processes.close()
    assert not processes.directory.exists()


def test_given_directory_is_kept(tmp_path: Path) -> None:
    """A directory of the caller's has to be empty, and stays with what was written there."""
    processes = Processes(tmp_path / "given")
    processes.start("echo", ["echo", "hello"], tmp_path / "given" / "log")
    wait_until(lambda: processes.exits() == {"echo": 0})
    processes.close()
    assert (tmp_path / "given" / "log").read_text() == "hello\n"
    with pytest.raises(ProcessError, match="is not empty"):
        Processes(tmp_path / "given")


def test_killed_asker_leaves_nothing(tmp_path: Path) -> None:
    """After SIGKILL of the one who asked: no process, no directory, and what was to be done at the end is."""
    done = tmp_path / "done"
    asker = subprocess.Popen(
        [sys.executable, "-c", ASKER, str(done)],
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        stdout=subprocess.PIPE,
        text=True,
    )
    with asker:
        try:
            assert asker.stdout is not None
            supervisor, sleeper, directory = asker.stdout.readline().split()
            assert runs(int(supervisor))
            assert runs(int(sleeper))
        finally:
            asker.kill()
    wait_until(lambda: not runs(int(supervisor)))
    assert not runs(int(sleeper))
    assert not Path(directory).exists()
    assert done.exists()


def test_killed_supervisor_leaves_nothing(processes: Processes) -> None:
    """After SIGKILL of the supervisor its processes end, we are told, and closing removes the directory."""
    sleeper = processes.start("sleeper", ["sleep", "1000"], processes.directory / "log")
    os.kill(processes.supervisor_pid, signal.SIGKILL)
    wait_until(lambda: not runs(sleeper))
    with pytest.raises(ProcessError, match="the supervisor has ended"):
        processes.pids()
    processes.close()
    assert not processes.directory.exists()


def test_process_that_cannot_start_says_why(processes: Processes) -> None:
    """A command that does not exist ends at once, and its log says so."""
    log = processes.directory / "log"
    processes.start("absent", ["/absent/command"], log)
    wait_until(lambda: "absent" in processes.exits())
    assert processes.exits()["absent"] != 0
    assert "/absent/command: No such file or directory" in log.read_text()


def test_unwritable_log_is_an_error(processes: Processes) -> None:
    """What the operating system refuses to the supervisor comes back as our error."""
    with pytest.raises(ProcessError, match="No such file or directory"):
        processes.start("any", ["true"], Path("/absent/log"))


def test_unknown_name_is_an_error(processes: Processes) -> None:
    """A signal to nobody is a mistake of the caller's."""
    with pytest.raises(ProcessError, match="no process is named ghost"):
        processes.signal("ghost", signal.SIGTERM)
