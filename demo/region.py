"""The lower part of a terminal, which is drawn over and over while lines scroll by above it.

Decides how that is done without flicker: nothing is erased before it is drawn, only lines that differ are written, and
each time at once. What they say is the screen's affair.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from contextlib import suppress

from rich.console import Console, RenderableType

_DRAW_SECONDS = 0.125
_HIDE_CURSOR, _SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
_END_OF_LINE, _BELOW = "\x1b[K\n", "\x1b[J"


class Region:
    """A thread that draws what `frame` returns, from `start` to `stop`."""

    def __init__(self, console: Console, frame: Callable[[], RenderableType]) -> None:
        self._console, self._frame = console, frame
        self._shown: list[str] = []
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="region", daemon=True)

    def start(self) -> None:
        """Begin to draw."""
        self._thread.start()

    def stop(self) -> None:
        """Draw it once more; what is printed from now on stands below it."""
        if self._thread.is_alive():
            self._stopping.set()
            with self._lock:
                self._draw()
            self._thread.join()
            self._shown = []
            self._write(_SHOW_CURSOR)

    def print(self, renderable: RenderableType, *, whole: bool = False) -> None:
        """Write above the region. `whole`: the terminal wraps lines, so that they come out whole when copied."""
        with self._lock:
            above, lines = self._lines(renderable, whole), self._drawing()
            self._write(_up(len(self._shown)) + "".join(f"{line}{_END_OF_LINE}" for line in above + lines) + _BELOW)
            self._shown = lines

    def _run(self) -> None:
        with suppress(OSError):  # there is no terminal any more
            self._write(_HIDE_CURSOR)
            while not self._stopping.wait(_DRAW_SECONDS):
                with self._lock:
                    self._draw()

    def _draw(self) -> None:
        lines = self._drawing()
        if lines == self._shown:
            return
        known = self._shown + [""] * len(lines)
        changes = ("\n" if line == was else f"{line}{_END_OF_LINE}" for line, was in zip(lines, known, strict=False))
        self._write(_up(len(self._shown)) + "".join(changes) + (_BELOW if len(lines) < len(self._shown) else ""))
        self._shown = lines

    def _drawing(self) -> list[str]:
        """The lines of the region as they should be. After a change of the terminal's size, it begins anew below."""
        columns, rows = shutil.get_terminal_size()
        if self._console.width != columns - 1:
            self._console.width = columns - 1  # a line that fills the last column behaves in many ways
            self._shown = []
        if not self._thread.is_alive():
            return []
        return self._lines(self._frame())[: rows - 1]

    def _lines(self, renderable: RenderableType, whole: bool = False) -> list[str]:
        with self._console.capture() as capture:
            self._console.print(renderable, soft_wrap=whole)
        return capture.get().splitlines()

    def _write(self, text: str) -> None:
        self._console.file.write(text)
        self._console.file.flush()


def _up(lines: int) -> str:
    return f"\x1b[{lines}A" if lines else ""
