"""The simulated platform as a process that may be killed at any moment: what it answered is there when it is back.

Writes a record beside its state, a line for each change that it was asked for, so that a judge sees what happened
between two kills: above all a POST of a slug that is there already. Judges nothing.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from inferencekey_simulator.app import serving
from inferencekey_simulator.inventory import Fields, Row
from inferencekey_simulator.platform import Platform
from inferencekey_simulator.settings import ReadinessSettings, Settings
from inferencekey_simulator.state_file import kept_in

SERVES_WITHIN = 0.3
"""Seconds from a creation until it serves."""


class RecordedPlatform(Platform):
    """A platform whose control plane leaves a record."""

    def __init__(self, record: Path) -> None:
        super().__init__(settings=Settings(readiness=ReadinessSettings.lasting(SERVES_WITHIN)))
        self._record = record.open("ab", buffering=0)

    def create(self, token: str | None, project: str, body: Fields) -> Row:
        """A POST; `taken_by` had the slug already."""
        taken_by = self.inventory.lookup(project, str(body.get("slug")))
        row = super().create(token, project, body)
        self._note("create", row, wanted=body["slug"], taken_by=taken_by.id if taken_by else None)
        return row

    def update(self, token: str | None, identifier: str, body: Fields) -> Row:
        """A PATCH."""
        row = super().update(token, identifier, body)
        self._note("update", row)
        return row

    def delete(self, token: str | None, identifier: str) -> None:
        """A DELETE."""
        row = self.inventory.find(identifier)
        super().delete(token, identifier)
        if row is not None:
            self._note("delete", row)

    def _note(self, operation: str, row: Row, **further: Any) -> None:
        line = {"at": time.time(), "operation": operation, "project": row.project, "slug": row.slug, "id": row.id}
        self._record.write(json.dumps({**line, **further}).encode() + b"\n")


def main(arguments: Sequence[str]) -> int:
    """`STATE RECORD PORT`."""
    state, record, port = arguments
    asyncio.run(_serve(Path(state), Path(record), int(port)))
    return 0


async def _serve(state: Path, record: Path, port: int) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    platform = RecordedPlatform(record)
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)  # it tells of each connection that was cut
    async with kept_in(state, platform, delay=0.0), serving(platform, port=port):
        await stop.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
