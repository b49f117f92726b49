"""`python -m controlplane.tools`: find or build the tools that the tests of the chart need, and print where they are.

Decides what counts: a cached build, a tool on PATH of the pinned major version or a newer one, or a build with Go.
Where none of them is to be had, that is said with every way to get one; the tests that need it skip with these words.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from shutil import which

from controlplane import build, kept
from controlplane.pins import TOOLS, tool, tool_version
from controlplane.progress import Progress

_ASKED_FOR_ITS_VERSION = {
    "helm": ("version", "--short"),
    "kubeconform": ("-v",),
    "kube-score": ("version",),
    "promtool": ("--version",),
}
_ANSWER_SECONDS = 30.0


class NoToolError(Exception):
    """A tool is not to be had on this machine; the message says how to get it."""


def find(name: str, environment: Mapping[str, str] = os.environ, progress: Progress | None = None) -> Path:
    """The executable of one of `pins.TOOLS`; builds it if it is nowhere. Raises NoToolError and BuildFailedError."""
    kit = tool(name)
    built = kept.found(kit, environment)
    if built is not None:
        return built / name
    ours = _on_path(name, environment)
    if isinstance(ours, Path):
        return ours
    problem = build.go_problem(kit, environment)
    if problem is not None:
        needed = ".".join(map(str, kit.go_version()))
        raise NoToolError(
            f"there is no {name} here: install one like {tool_version(name)} ({ours}), or Go {needed} or newer, "
            f"which builds it once ({problem})"
        )
    return kept.build(kit, environment, progress or Progress(sys.stderr)) / name


def _on_path(name: str, environment: Mapping[str, str]) -> Path | str:
    """The tool, or why what is on PATH does not count."""
    path = which(name, path=environment.get("PATH"))
    if path is None:
        return f"no `{name}` on PATH"
    try:
        asked = subprocess.run(
            [path, *_ASKED_FOR_ITS_VERSION[name]],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_ANSWER_SECONDS,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return f"{path} does not answer: {error}"
    version = _numbers(asked.stdout)
    if not version:
        return f"{path} does not tell its version"
    return Path(path) if version[0] >= _numbers(tool_version(name))[0] else f"{path} is {asked.stdout.strip()}"


def _numbers(text: str) -> tuple[int, ...]:
    found = re.search(r"v?(\d+)\.(\d+)\.(\d+)", text)
    return tuple(map(int, found.groups())) if found else ()


def main() -> int:
    """Print the path of each tool; returns the exit code, which is 0 also where one is not to be had."""
    for name in TOOLS:
        try:
            print(find(name))
        except NoToolError as error:
            print(f"{error}. The tests that need it are skipped.", file=sys.stderr)
        except build.BuildFailedError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("interrupted; nothing half-built is left behind", file=sys.stderr)
            return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
