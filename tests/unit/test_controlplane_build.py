"""A build is there whole or not at all, whoever else builds and however it ends.

`python -m controlplane` runs as a process, with a script in the place of the Go toolchain: it answers as `go`
does, and compiles when, and as, a test says.
"""

from __future__ import annotations

import contextlib
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane import cache
from controlplane.pins import BINARIES, control_plane
from controlplane.waiting import runs, wait_until

TESTS = Path(__file__).parent.parent
DEADLINE_SECONDS = 30.0

# Waits for the file `gate` before it compiles, and notes each call and its own pid.
FAKE_GO = """
import os, pathlib, sys, time
here = pathlib.Path(__file__).parent.parent
command, arguments = sys.argv[1], sys.argv[2:]
with open(here / "calls", "a") as calls:
    print(os.getpid(), command, file=calls)
if command == "env":
    print("go1.99.0")
elif command == "list":
    print("go: downloading example.com/dependency v1.0.0", file=sys.stderr)
    print("example.com/dependency")
    print(arguments[-1])
elif command == "build":
    print("example.com/dependency", file=sys.stderr, flush=True)
    deadline = time.monotonic() + 60
    while not (here / "gate").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    if (here / "broken").exists():
        print("# example.com/broken", "main.go:7:1: syntax error", sep=chr(10), file=sys.stderr)
        sys.exit(1)
    output = next(argument[3:] for argument in arguments if argument.startswith("-o="))
    packages = [argument for argument in arguments if not argument.startswith("-")]
    for package in packages:
        path = pathlib.Path(output + (package.rpartition("/")[2] if output.endswith("/") else ""))
        path.write_text("#!/bin/sh")
        path.chmod(0o755)
"""


class Workshop:
    """A private cache, a fake Go, and the builds that a test runs there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        tools = root / "bin"
        tools.mkdir()
        (tools / "go").write_text(f"#!{sys.executable} -S\n{FAKE_GO}")
        (tools / "go").chmod(0o755)
        cache_home = str(root / "cache")
        self.environment = {"PATH": str(tools), "XDG_CACHE_HOME": cache_home, "PYTHONPATH": str(TESTS)}
        self.cache = cache.cache_root(self.environment)
        self.built = self.cache / control_plane().cache_key()
        self.builders: list[subprocess.Popen[str]] = []

    def start(self, stderr: int = subprocess.PIPE) -> subprocess.Popen[str]:
        """Start `python -m controlplane`; its standard output is a pipe."""
        builder = subprocess.Popen(
            [sys.executable, "-m", "controlplane"],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
        self.builders.append(builder)
        return builder

    def open_gate(self) -> None:
        """Let the compiler go on."""
        (self.root / "gate").touch()

    def calls(self, command: str) -> list[int]:
        """Pids of the calls of `go <command>` so far."""
        path = self.root / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        return [int(line.split()[0]) for line in lines if line.split()[1] == command]

    def wait_for_compiler(self) -> int:
        """Back when a compiler stands before the gate; returns its pid."""
        wait_until(lambda: bool(self.calls("build")))
        return self.calls("build")[0]

    def kept(self) -> list[str]:
        """What is in the cache but for locks."""
        return sorted(path.name for path in self.cache.iterdir() if path.suffix != ".lock")


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    """An empty cache; whatever builds at the end of the test is killed."""
    workshop = Workshop(tmp_path)
    yield workshop
    for builder in workshop.builders:
        builder.kill()
        builder.communicate()


@pytest.fixture
def heard(request: pytest.FixtureRequest) -> Iterator[signal.Signals]:
    """A signal that children hear: a run in the background ignores some, and so would all that it starts."""
    number: signal.Signals = request.param
    before = signal.signal(number, lambda *_: None)  # any handler: a new program starts with the default
    yield number
    signal.signal(number, before)


def test_prints_the_folder_alone_on_standard_output(workshop: Workshop) -> None:
    """One line on standard output; what it costs and what was built on standard error; then it is cached."""
    workshop.open_gate()
    out, err = workshop.start().communicate(timeout=DEADLINE_SECONDS)
    assert out == f"{workshop.built}\n"
    assert "5 GB in Go's own caches" in err
    assert "Built etcd, kube-apiserver, kube-controller-manager, kubectl" in err
    assert cache.holds_all(workshop.built, BINARIES)
    assert workshop.kept() == [workshop.built.name]
    assert workshop.start().communicate(timeout=DEADLINE_SECONDS) == (f"{workshop.built}\n", "")
    assert len(workshop.calls("build")) == 2  # one for each module, of the first run


def test_second_of_two_waits_and_takes_what_the_first_built(workshop: Workshop) -> None:
    """Two that start at once build once; the one that waits says so."""
    first = workshop.start()
    workshop.wait_for_compiler()
    second = workshop.start()
    assert second.stderr is not None
    assert "another process is building" in second.stderr.readline()
    workshop.open_gate()
    assert first.communicate(timeout=DEADLINE_SECONDS)[0] == f"{workshop.built}\n"
    assert second.communicate(timeout=DEADLINE_SECONDS)[0] == f"{workshop.built}\n"
    assert len(workshop.calls("build")) == 2


def test_killed_build_is_no_build(workshop: Workshop) -> None:
    """After SIGKILL the compiler ends too, no build is found, and the next run builds and cleans up."""
    builder = workshop.start()
    compiler = workshop.wait_for_compiler()
    builder.kill()
    builder.communicate()
    wait_until(lambda: not runs(compiler))
    assert not workshop.built.exists()
    assert workshop.kept() != []
    workshop.open_gate()
    assert workshop.start().communicate(timeout=DEADLINE_SECONDS)[0] == f"{workshop.built}\n"
    assert workshop.kept() == [workshop.built.name]


@pytest.mark.parametrize("heard", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], indirect=True)
def test_interrupted_build_leaves_nothing(workshop: Workshop, heard: signal.Signals) -> None:
    """Ctrl-C, and what a closed terminal or a supervisor sends: no process, no file, exit code 130."""
    builder = workshop.start()
    compiler = workshop.wait_for_compiler()
    builder.send_signal(heard)
    out, err = builder.communicate(timeout=DEADLINE_SECONDS)
    assert (builder.returncode, out) == (130, "")
    assert "interrupted" in err
    assert "Traceback" not in err
    assert not runs(compiler)
    assert workshop.kept() == []


def test_failed_build_shows_what_the_compiler_said(workshop: Workshop) -> None:
    """The compiler's own lines, without the list of packages; exit code 1; nothing left in the cache."""
    (workshop.root / "broken").touch()
    workshop.open_gate()
    builder = workshop.start()
    out, err = builder.communicate(timeout=DEADLINE_SECONDS)
    assert (builder.returncode, out) == (1, "")
    assert "Its last lines:\n# example.com/broken\nmain.go:7:1: syntax error\n" in err
    assert workshop.kept() == []


def test_incomplete_folder_is_built_anew(workshop: Workshop) -> None:
    """A build that somebody removed a binary from is replaced, not added to."""
    workshop.built.mkdir(parents=True)
    (workshop.built / "stray").touch()
    workshop.open_gate()
    workshop.start().communicate(timeout=DEADLINE_SECONDS)
    assert sorted(path.name for path in workshop.built.iterdir()) == sorted(BINARIES)


def test_progress_on_a_terminal_is_one_live_line(workshop: Workshop) -> None:
    """On a terminal the line says how far it is, is redrawn in place, and is gone at the end."""
    terminal, stderr = pty.openpty()
    builder = workshop.start(stderr)
    os.close(stderr)
    workshop.wait_for_compiler()
    live = rb"\r\x1b\[2K\[\d+:\d\d\] 0 of 4 binaries built; etcd: compiled 1 of at most 2 packages"
    shown = b""
    while re.search(live, shown) is None:
        shown += os.read(terminal, 4096)
    workshop.open_gate()
    assert builder.wait(DEADLINE_SECONDS) == 0
    assert b"\r\x1b[2KBuilt etcd" in _rest(terminal)


def _rest(terminal: int) -> bytes:
    """What is left to read of a terminal whose other side has been closed, which Linux calls an I/O error."""
    rest = b""
    with contextlib.suppress(OSError):
        while part := os.read(terminal, 4096):
            rest += part
    os.close(terminal)
    return rest
