"""`python -m pods [pytest's arguments]`: build the image, put up a cluster with real pods, and run the tests there.

Decides which way it is done on this machine, and what is left of it afterwards: nothing but what was cached.
"""

from __future__ import annotations

import os
import subprocess
import sys
from shutil import which

from controlplane import build, kept, pins, tools
from controlplane.children import bound_to_us
from controlplane.lookup import Kind, docker_kind
from controlplane.processes import Processes
from controlplane.progress import Progress
from helmchart.render import ROOT
from pods import binaries, debian, enclosure, groups, image
from pods.steps import StepFailedError, Steps

TESTS = "tests/integration/pods"
_NEEDED = ("apt-get", "dpkg", "ip", "mount", "unshare")


class NoPodsError(Exception):
    """No pods can be had on this machine; the message says what it takes."""


def main(arguments: list[str]) -> int:
    """Run the tests; returns pytest's exit code, or 1 where it does not come to that."""
    progress = Progress(sys.stderr)
    try:
        tools.find("helm", progress=progress)
        kind = docker_kind(os.environ)
        if isinstance(kind, Kind):
            return _with_kind(arguments, progress)
        problem = _problem()
        if problem:
            raise NoPodsError(
                f"Real pods take kind with a running Docker ({kind}),\n"
                f"or root on a Linux with Debian's packages ({problem})."
            )
        return _with_a_node(arguments, progress)
    except (NoPodsError, StepFailedError, build.BuildFailedError, tools.NoToolError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; nothing is left behind", file=sys.stderr)
        return 130


def _with_kind(arguments: list[str], progress: Progress) -> int:
    processes = Processes()
    try:
        image.by_docker(Steps(progress, processes.directory / "docker.log"))
        return subprocess.call(bound_to_us(_pytest(arguments)), cwd=ROOT)
    finally:
        processes.close()


def _with_a_node(arguments: list[str], progress: Progress) -> int:
    plane = kept.build(pins.control_plane(), os.environ, progress)
    node = binaries.find(progress)
    packages = debian.find(progress)
    processes = Processes()
    folder = processes.directory
    try:
        image.by_buildah(packages, folder, Steps(progress, folder / "buildah.log"))
        group = folder.name
        # Also when we are killed: at that moment, whatever is in the enclosure is killed, too.
        processes.at_end([sys.executable, "-m", "pods.groups", group])
        groups.make(group)
        (folder / "tmp").mkdir()
        environment = {
            **os.environ,
            "PATH": f"{node}:{os.environ['PATH']}",
            "KUBEBUILDER_ASSETS": str(plane),
            "TMPDIR": str(folder / "tmp"),
            enclosure.FOLDER: str(folder),
        }
        command = bound_to_us(enclosure.secluded(packages, folder, _pytest(arguments)))
        return subprocess.call(command, cwd=ROOT, env=environment)
    finally:
        processes.close()


def _pytest(arguments: list[str]) -> list[str]:
    return [sys.executable, "-m", "pytest", TESTS, *arguments]


def _problem() -> str | None:
    """What a node without Docker lacks on this machine; None if nothing."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "not root on Linux"
    absent = [name for name in _NEEDED if which(name) is None]
    if absent:
        return f"not on PATH: {', '.join(absent)}"
    tried = subprocess.run(["unshare", "--mount", "--net", "--pid", "--fork", "true"], capture_output=True, check=False)
    return f"no namespaces: {tried.stderr.decode().strip()}" if tried.returncode else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
