"""The simulated platform as a process of its own, driven through its admin API."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from controlplane.children import bound_to_us
from harness.waiting import eventually
from inferencekey_simulator.admin import Admin

READINESS_SECONDS = 0.3


@contextmanager
def simulator(folder: Path) -> Iterator[Admin]:
    """A platform that serves new workloads within a moment; every request is a line in `folder`/log."""
    url = folder / "url"
    command = [sys.executable, "-m", "inferencekey_simulator", "serve", "--port=0", f"--url-file={url}", "--verbose"]
    options = [f"--env-file={folder / 'env'}", f"--readiness-seconds={READINESS_SECONDS}"]
    with log_of(folder).open("wb") as log:
        process = subprocess.Popen(
            bound_to_us([*command, *options]), stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
    with process:
        try:
            eventually(lambda: url.exists() or process.poll() is not None, within=120)
            assert process.poll() is None, log_of(folder).read_text()
            yield Admin(url.read_text().strip())
        finally:
            process.terminate()


def log_of(folder: Path) -> Path:
    """What the simulator wrote."""
    return folder / "log"


@contextmanager
def behaving(admin: Admin, **changes: Any) -> Iterator[None]:
    """Other settings for as long as the context lasts."""
    before = admin.settings()
    admin.settings(**changes)
    try:
        yield
    finally:
        admin.settings(**{name: before[name] for name in changes})
