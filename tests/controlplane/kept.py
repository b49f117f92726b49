"""A kit of binaries, as it is kept on this machine: found, or built into the cache.

Decides what a build is said to cost before it begins, and what whoever waits for it is told. Needs the standard
library alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from controlplane import build as builder
from controlplane import cache
from controlplane.pins import Kit
from controlplane.progress import Progress


def folder(kit: Kit, environment: Mapping[str, str]) -> Path:
    """Where a build of the kit is, or would be."""
    return cache.cache_root(environment) / kit.cache_key()


def found(kit: Kit, environment: Mapping[str, str]) -> Path | None:
    """The folder of a build that is there; None if there is none."""
    built = folder(kit, environment)
    return built if cache.holds_all(built, kit.binaries) else None


def find(kit: Kit, environment: Mapping[str, str], progress: Progress) -> Path:
    """The folder of a build, made now if there is none yet. Raises build.BuildFailedError, also where Go cannot."""
    there = found(kit, environment)
    if there is not None:
        return there
    problem = builder.go_problem(kit, environment)
    if problem is not None:
        raise builder.BuildFailedError(f"{kit.title} is built with Go: {problem}")
    return build(kit, environment, progress)


def build(kit: Kit, environment: Mapping[str, str], progress: Progress, faster: str = "") -> Path:
    """The folder of a build, made now unless another process makes it. Raises build.BuildFailedError.

    `faster` is told before a build begins: what would spare it.
    """
    built = folder(kit, environment)

    def announce_and_build(empty: Path) -> None:
        progress.say(f"There is no {kit.title} here yet, so it is built now, once:\n  {kit.cost} in {built}")
        if faster:
            progress.say(faster)
        builder.build(kit, empty, environment, progress)

    def waiting(seconds: float) -> None:
        progress.update(f"[{int(seconds)} s] another process is building {kit.title}; waiting for it")

    try:
        return cache.get_or_build(built, kit.binaries, announce_and_build, waiting)
    finally:
        progress.finish()
