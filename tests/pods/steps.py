"""One long command after the other, and what is told of them meanwhile.

Decides nothing about what they do.
"""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from controlplane.children import bound_to_us
from controlplane.progress import Progress

_TICK_SECONDS = 0.5
_TAIL_LINES = 30


class StepFailedError(Exception):
    """A command ended with another exit code than 0; the message ends with the last lines that it wrote."""


@dataclass(frozen=True)
class Steps:
    """Commands whose output goes to a log. They end when we do."""

    progress: Progress
    log: Path

    def run(self, what: str, command: list[str]) -> None:
        """Back when it has ended well; raises StepFailedError."""
        began = time.monotonic()
        with self.log.open("wb") as log:
            process = subprocess.Popen(
                bound_to_us(command), stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
            try:
                self._watch(process, what, began)
            finally:
                process.kill()
                process.wait()
        if process.returncode != 0:
            tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-_TAIL_LINES:])
            raise StepFailedError(f"{what}: exit code {process.returncode}. Its last lines:\n{tail}")
        self.progress.say(f"{what}: {time.monotonic() - began:.0f} s")

    def _watch(self, process: subprocess.Popen[bytes], what: str, began: float) -> None:
        while True:
            try:
                process.wait(_TICK_SECONDS)
            except subprocess.TimeoutExpired:
                self.progress.update(f"[{time.monotonic() - began:.0f} s] {what}")
            else:
                return
