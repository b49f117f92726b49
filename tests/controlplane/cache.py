"""Where builds are kept: outside the tree, one folder per key, there whole or not at all.

Two processes may want the same build at once: the first one to lock it builds, the others wait and then find
it. A folder gets its final name by one rename, so a killed build leaves nothing that could be taken for a
build; what it left under its working name is removed by the next one. Knows nothing of Go or Kubernetes.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

_POLL_SECONDS = 0.2


def cache_root(environment: Mapping[str, str]) -> Path:
    """The folder of all builds, by the XDG rules (a relative `XDG_CACHE_HOME` does not count)."""
    stated = Path(environment.get("XDG_CACHE_HOME", ""))
    caches = stated if stated.is_absolute() else Path(environment.get("HOME") or Path.home()) / ".cache"
    return caches / "inferencekey-operator" / "controlplane"


def holds_all(folder: Path, names: tuple[str, ...]) -> bool:
    """Whether `folder` has an executable file of each name."""
    return not missing_from(folder, names)


def missing_from(folder: Path, names: tuple[str, ...]) -> list[str]:
    """Which of `names` are not executable files in `folder`."""
    paths = ((name, folder / name) for name in names)
    return [name for name, path in paths if not (path.is_file() and os.access(path, os.X_OK))]


def get_or_build(
    folder: Path, names: tuple[str, ...], build: Callable[[Path], None], waiting: Callable[[float], None]
) -> Path:
    """Return `folder` with an executable of each name, calling `build(empty folder)` if nobody else has.

    While another process builds, `waiting(seconds so far)` is called a few times a second. Errors of `build`
    pass through; then nothing stays behind but the lock's empty file.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _locked(folder.with_name(folder.name + ".lock"), waiting):
        if not holds_all(folder, names):
            _remove_leftovers(folder)
            _build_aside(folder, build)
        return folder


def _build_aside(folder: Path, build: Callable[[Path], None]) -> None:
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=_working_prefix(folder)) as aside:
        finished = Path(aside) / "finished"
        finished.mkdir()
        build(finished)
        finished.rename(folder)


def _remove_leftovers(folder: Path) -> None:
    """Called with the lock held: whoever made these folders has ended without finishing them."""
    for leftover in [folder, *folder.parent.glob(_working_prefix(folder) + "*")]:
        if leftover.exists():
            shutil.rmtree(leftover)


def _working_prefix(folder: Path) -> str:
    return f".{folder.name}.building-"


@contextmanager
def _locked(path: Path, waiting: Callable[[float], None]) -> Iterator[None]:
    with path.open("w") as lock:
        began = time.monotonic()
        while not _try_lock(lock):
            waiting(time.monotonic() - began)
            time.sleep(_POLL_SECONDS)
        yield


def _try_lock(lock: IO[str]) -> bool:
    """The kernel drops the lock when its process ends, however that ends."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
