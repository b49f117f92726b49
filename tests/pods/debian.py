"""What a node needs beside Kubernetes, out of Debian's packages: fetched and unpacked into the cache, never installed.

Decides which packages, and what the base of the image is. What needs no containers is taken from the machine.
"""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from controlplane import cache
from controlplane.progress import Progress
from pods.enclosure import enclosed
from pods.steps import Steps

BASE = "base.tar"
"""A Debian with Python, pip and certificates, and no compiler: what stands in for `python:3.13-slim`."""

_PACKAGES = (
    "buildah",
    "busybox-static",
    "containerd",
    "containernetworking-plugins",
    "golang-github-containers-common",
    "mmdebstrap",
    "nftables",
    "runc",
)
_BASE_PACKAGES = ("ca-certificates", "python-is-python3", "python3", "python3-pip")
_EXECUTABLES = tuple(f"usr/bin/{name}" for name in ("buildah", "busybox", "containerd", "mmdebstrap", "runc"))
_MERGED = ("bin", "lib", "sbin")


def find(progress: Progress, environment: Mapping[str, str] = os.environ) -> Path:
    """The folder with the packages, as they unpack, and the base. Raises StepFailedError."""

    def fetch(empty: Path) -> None:
        progress.say(f"Packages of Debian for a node are fetched now, once, into {folder}")
        steps = Steps(progress, empty.with_name("log"))
        _unpack(empty, steps)
        _make_base(empty, steps)

    def waiting(seconds: float) -> None:
        progress.update(f"[{seconds:.0f} s] another process fetches packages; waiting for it")

    folder = cache.cache_root(environment) / _key()
    try:
        return cache.get_or_build(folder, _EXECUTABLES, fetch, waiting)
    finally:
        progress.finish()


def codename() -> str:
    """Such as `bookworm`."""
    return platform.freedesktop_os_release()["VERSION_CODENAME"]


def _unpack(folder: Path, steps: Steps) -> None:
    """Those of the packages with what they need and the machine has not; apt only fetches them."""
    fetched = folder.with_name("fetched")
    (fetched / "partial").mkdir(parents=True)
    options = [f"Dir::Cache::archives={fetched}", "Debug::NoLocking=1", "APT::Sandbox::User=root"]
    command = ["apt-get", "install", "--yes", "--download-only", "--reinstall", "--no-install-recommends"]
    steps.run("packages of Debian", [*command, *(f"-o={option}" for option in options), *_PACKAGES])
    for package in fetched.glob("*.deb"):
        subprocess.run(["dpkg", "-x", package, folder], check=True)
    for name in _MERGED:  # as on the machine, where they are links into /usr
        if (folder / name).is_dir():
            subprocess.run(["cp", "-a", folder / name, folder / "usr"], check=True)


def _make_base(folder: Path, steps: Steps) -> None:
    chosen = ["--mode=root", "--variant=minbase", f"--include={','.join(_BASE_PACKAGES)}"]
    command = ["mmdebstrap", *chosen, codename(), str(folder / BASE)]
    steps.run("a Debian with Python", enclosed(folder, command))


def _key() -> str:
    """What is in it. Newer packages of the same name are no reason to fetch them again."""
    digest = hashlib.sha256(repr((_PACKAGES, _BASE_PACKAGES)).encode()).hexdigest()[:12]
    return f"debian-{codename()}-{platform.machine()}-{digest}"


if __name__ == "__main__":
    print(find(Progress(sys.stderr)))
