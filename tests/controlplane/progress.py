"""How a long wait is told: a live line on a terminal, now and then a plain line anywhere else."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, field
from typing import TextIO

_REDRAW_SECONDS = 0.2
_CLEAR_LINE = "\r\x1b[2K"


@dataclass
class Progress:
    """Writes to `stream` only. Off a terminal, `update` prints at most every `plain_seconds`."""

    stream: TextIO
    plain_seconds: float = 15.0
    _live: bool = field(default=False, init=False)
    _told: float = field(default=0.0, init=False)

    def say(self, text: str) -> None:
        """A line that stays."""
        self.finish()
        print(text, file=self.stream, flush=True)
        self._told = time.monotonic()

    def update(self, text: str) -> None:
        """What is going on at this moment; the next call may replace it."""
        terminal = self.stream.isatty()
        if time.monotonic() - self._told < (_REDRAW_SECONDS if terminal else self.plain_seconds):
            return
        if terminal:
            width = shutil.get_terminal_size().columns - 1
            self.stream.write(_CLEAR_LINE + text[:width])
            self.stream.flush()
            self._live = True
            self._told = time.monotonic()
        else:
            self.say(text)

    def finish(self) -> None:
        """Take the live line away, so that whatever is printed next stands alone."""
        if self._live:
            self.stream.write(_CLEAR_LINE)
            self.stream.flush()
            self._live = False
