"""Build the binaries from the pinned Go modules, and tell how far it is.

Decides how Go is called and what is shown meanwhile. Must not know where builds are kept (cache.py), nor what
else could have been used (lookup.py). Needs the standard library alone.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from shutil import rmtree, which

from controlplane.children import bound_to_us
from controlplane.pins import Kit, Recipe
from controlplane.progress import Progress

_TICK_SECONDS = 0.5
_GRACE_SECONDS = 2.0
_TAIL_LINES = 30


class BuildFailedError(Exception):
    """The Go toolchain failed; the message ends with the last lines that it wrote."""


@dataclass
class _Journey:
    """How far the build is, over all of its steps."""

    kit: Kit
    progress: Progress
    folder: Path
    began: float = field(default_factory=time.monotonic)

    def update(self, doing: str) -> None:
        names = self.kit.binaries
        built = sum((self.folder / name).is_file() for name in names)
        self.progress.update(f"[{_clock(self.began)}] {built} of {len(names)} binaries built; {doing}")


def go_problem(kit: Kit, environment: Mapping[str, str]) -> str | None:
    """Why Go cannot build the kit on this machine; None if it can."""
    if which("go", path=environment.get("PATH")) is None:
        return "no `go` on PATH"
    command = ["go", "env", "GOVERSION"]
    asked = subprocess.run(
        command,
        cwd=kit.recipes[-1].module,
        env=_go_environment(environment),
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"go(\d+)\.(\d+)(?:\.(\d+))?", asked.stdout)
    if asked.returncode != 0 or found is None:
        return f"`{' '.join(command)}` failed: {asked.stderr.strip() or asked.stdout.strip()}"
    if tuple(int(part or 0) for part in found.groups()) < kit.go_version():
        return f"{found.group()} on PATH is too old; with GOTOOLCHAIN=auto, Go 1.21 or later gets a newer one"
    return None


def build(kit: Kit, folder: Path, environment: Mapping[str, str], progress: Progress) -> None:
    """Put all binaries of a kit into `folder`, which exists and is empty; its sibling `scratch` is used meanwhile.

    Raises BuildFailedError. When it is left, by whatever exception, no process of it runs any more.
    """
    scratch = folder.with_name("scratch")
    scratch.mkdir()
    go = _Go(environment, scratch)
    journey = _Journey(kit, progress, folder)
    progress.say(f"Building {kit.title}")
    for recipe in kit.recipes:
        _build_module(recipe, go, journey)
    rmtree(scratch)
    progress.say(f"Built {', '.join(kit.binaries)} in {_clock(journey.began)}")


def _build_module(recipe: Recipe, go: _Go, journey: _Journey) -> None:
    what = ", ".join(recipe.binaries)
    fetched: list[str] = []

    def fetching(lines: list[str]) -> None:
        fetched.extend(line for line in lines if line.startswith("go: downloading"))
        journey.update(f"{what}: fetching modules, {len(fetched)} so far")

    packages = set(go.run(recipe, ["list", *recipe.compile_flags(), "-deps", *recipe.packages], fetching))
    compiled: list[str] = []

    def compiling(lines: list[str]) -> None:
        compiled.extend(line for line in lines if line in packages)
        journey.update(f"{what}: compiled {len(compiled)} of at most {len(packages)} packages")

    # A path that ends in a slash is a folder, which gets one binary for each package.
    output = f"{journey.folder}/{recipe.binaries[0] if len(recipe.binaries) == 1 else ''}"
    arguments = ["build", "-v", *recipe.build_flags(), f"-o={output}", *recipe.packages]
    go.run(recipe, arguments, compiling, noise=packages)


@dataclass(frozen=True)
class _Go:
    """Calls of the Go toolchain, with their output in files under `scratch`."""

    environment: Mapping[str, str]
    scratch: Path

    def run(
        self,
        recipe: Recipe,
        arguments: list[str],
        watch: Callable[[list[str]], None],
        noise: set[str] | None = None,
    ) -> list[str]:
        """Run `go`, handing the new lines of its standard error to `watch`; returns its output's lines.

        Raises BuildFailedError, whose message leaves out the lines of `noise`.
        """
        out, err = self.scratch / "stdout", self.scratch / "stderr"
        environment = {**_go_environment(self.environment), "GOTMPDIR": str(self.scratch)}
        with out.open("w") as stdout, err.open("w") as stderr, err.open() as reader:
            process = subprocess.Popen(
                bound_to_us(["go", *arguments]),
                cwd=recipe.module,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,  # Ctrl-C reaches us alone, and we end the whole group
            )
            try:
                _wait(process, _LineReader(reader.read), watch)
            except BaseException:
                _end_group(process)
                raise
        if process.returncode != 0:
            command = f"go {arguments[0]} {' '.join(recipe.packages)}"
            raise BuildFailedError(
                f"`{command}` ended with exit code {process.returncode}. Its last lines:\n{_tail(err, noise)}"
            )
        return out.read_text().split()


@dataclass
class _LineReader:
    """Turns what was read into whole lines, keeping an unfinished one for the next time."""

    read: Callable[[], str]
    rest: str = ""

    def lines(self) -> list[str]:
        *whole, self.rest = (self.rest + self.read()).split("\n")
        return whole


def _wait(process: subprocess.Popen[bytes], reader: _LineReader, watch: Callable[[list[str]], None]) -> None:
    while True:
        try:
            process.wait(timeout=_TICK_SECONDS)
        except subprocess.TimeoutExpired:
            watch(reader.lines())
        else:
            watch(reader.lines())
            return


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End `go` and the compilers that it started: when asked to, it waits for them and cleans up."""
    for number in (signal.SIGINT, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_SECONDS)


def _tail(log: Path, noise: set[str] | None) -> str:
    with log.open() as lines:
        told = (line for line in lines if line.strip() and line.strip() not in (noise or ()))
        return "".join(deque(told, maxlen=_TAIL_LINES)).rstrip() or "(it wrote nothing)"


def _go_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The caller's, without what would change the build; their GOTOOLCHAIN and GOGC are respected."""
    foreign = {"GOFLAGS", "GOOS", "GOARCH", "GOEXPERIMENT"}
    kept = {name: value for name, value in environment.items() if name not in foreign}
    # The compiler is short-lived: collecting garbage less often buys time with memory that is there.
    return {"GOTOOLCHAIN": "local", "GOGC": "400", **kept, "CGO_ENABLED": "0", "GOWORK": "off"}


def _clock(began: float) -> str:
    minutes, seconds = divmod(int(time.monotonic() - began), 60)
    return f"{minutes}:{seconds:02d}"
