"""The platform kept in a file, so that it survives a restart.

Decides what is kept (workloads and where they stand, projects, credentials as digests; not the settings,
faults or the record of requests), the file's form, and when it is written: shortly after a change, whole or
not at all.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from inferencekey_simulator.inventory import Row, to_json
from inferencekey_simulator.platform import Platform
from inferencekey_simulator.readiness import Held, Progress, Readiness
from inferencekey_simulator.settings import ReadinessSettings

_log = logging.getLogger(__name__)
VERSION = 1
DELAY = 0.5


def write_whole(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Write a file so that a reader finds the old content or the new, never a part."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def saved(platform: Platform) -> bytes:
    """Return the state of a platform as JSON."""
    now = platform.clock.monotonic()
    state = {
        "version": VERSION,
        "projects": platform.inventory.projects(),
        "credentials": platform.keyring.saved(),
        "workloads": [_saved_row(row, now) for row in platform.inventory.listed()],
    }
    return to_json(state)


def restore(platform: Platform, content: bytes) -> None:
    """Bring back what `saved` returned; ValueError when the content is something else."""
    state = json.loads(content)
    if not isinstance(state, dict) or state.get("version") != VERSION:
        raise ValueError("not a state file of this simulator")
    for project in state["projects"]:
        platform.inventory.open(project)
    platform.keyring.restore(state["credentials"])
    now = platform.clock.monotonic()
    for entry in state["workloads"]:
        readiness = _restored_readiness(entry["readiness"], now)
        platform.restore(entry["project"], entry["fields"], readiness, removed=entry.get("removed", False))


@asynccontextmanager
async def kept_in(path: Path, platform: Platform, delay: float = DELAY) -> AsyncIterator[None]:
    """Restore a platform from a file, if it is there, and keep it in that file while the context lasts.

    Changes are written after at most `delay` seconds, and at the end; with 0 before they are answered, as a
    database would, so that nothing is lost to a kill. Raises OSError or ValueError when the file cannot be used.
    """
    _restore_if_there(path, platform)
    write_whole(path, saved(platform))
    if delay == 0:
        platform.on_change = lambda: write_whole(path, saved(platform))
        yield
        return
    changed = asyncio.Event()
    platform.on_change = changed.set
    writer = asyncio.create_task(_write_changes(path, platform, changed, delay))
    try:
        yield
    finally:
        writer.cancel()
        await asyncio.gather(writer, return_exceptions=True)
        write_whole(path, saved(platform))


def _restore_if_there(path: Path, platform: Platform) -> None:
    if path.exists():
        restore(platform, path.read_bytes())


async def _write_changes(path: Path, platform: Platform, changed: asyncio.Event, delay: float) -> None:
    while True:
        await changed.wait()
        await asyncio.sleep(delay)
        changed.clear()
        try:
            write_whole(path, saved(platform))
        except OSError as error:
            _log.error("the state could not be kept in %s: %s", path, error)


def _saved_row(row: Row, now: float) -> dict[str, Any]:
    readiness = row.readiness
    if isinstance(readiness, Held):
        stands: dict[str, Any] = {"held": asdict(readiness)}
    else:
        stands = {"age": now - readiness.started, "settings": readiness.settings.model_dump()}
    kept = {"project": row.project, "fields": row.fields, "readiness": stands}
    return kept | ({"removed": True} if row.removed else {})


def _restored_readiness(stands: dict[str, Any], now: float) -> Readiness:
    if "held" in stands:
        return Held(**stands["held"])
    return Progress(now - stands["age"], ReadinessSettings.model_validate(stands["settings"]))
