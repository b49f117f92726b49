"""A picture of the demo's terminal, for the README: `make picture` runs the whole demo and takes it on the way.

Decides which moment is shown, and how a terminal becomes an SVG. Nothing in it is made up for the picture: the lines
and the table are those that a terminal of this width would show at that moment.
"""

from __future__ import annotations

import sys
from io import StringIO
from pathlib import Path
from typing import TextIO

from rich.console import Console, RenderableType
from rich.terminal_theme import TerminalTheme

from demo.region import Region
from demo.screen import Terminal

_COLUMNS = 119
"""Without the endpoints, which leaves the table room for the models."""
_MOMENT = "Somebody changes workloads in the dashboard"
"""The chapter whose first beat is shown: what drifted is repaired or held by then, and told field by field."""

_GROUND, _PLAIN = (22, 27, 34), (201, 209, 217)
_BLACK, _RED, _GREEN, _YELLOW = (72, 79, 88), (255, 123, 114), (86, 211, 100), (227, 179, 65)
_BLUE, _MAGENTA, _CYAN = (121, 192, 255), (210, 168, 255), (118, 227, 234)
_DARK = TerminalTheme(_GROUND, _PLAIN, [_BLACK, _RED, _GREEN, _YELLOW, _BLUE, _MAGENTA, _CYAN, _PLAIN])
"""A ground of its own, so that it can be read on a light page and on a dark one."""

_FORMAT = """\
<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
  <!-- The terminal of `make demo`, as it stood; taken by `make picture`. -->
  <style>
    .{unique_id}-matrix {{
      font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
      font-size: {char_height}px;
      line-height: {line_height}px;
    }}
    .{unique_id}-title {{ font: bold 18px sans-serif }}
    {styles}
  </style>
  <defs>
    <clipPath id="{unique_id}-clip-terminal">
      <rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
    </clipPath>
    {lines}
  </defs>
  {chrome}
  <g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
    {backgrounds}
    <g class="{unique_id}-matrix" xml:space="preserve">
    {matrix}
    </g>
  </g>
</svg>
"""
"""Fonts are those of the machine that looks: a picture in a README fetches nothing."""


class Camera(Terminal):
    """A terminal that nobody sees: it keeps the lines of the chapter, and takes one picture of them and the table."""

    stays = False

    def __init__(self, stream: TextIO, path: Path) -> None:
        super().__init__(stream)
        self._path = path
        self._chapter = ""
        self._console = Console(file=StringIO(), record=True, width=_COLUMNS, force_terminal=True, highlight=False)
        self._roll = _Roll(self._console, self._frame)
        self._region = self._roll

    def heading(self, title: str) -> None:
        """A new chapter, and a new roll."""
        super().heading(title)
        del self._roll.lines[:-1]
        self._chapter = title
        print(title, file=self.stream, flush=True)

    def beat(self) -> None:
        """A moment to look at; the one that is wanted is taken."""
        if _MOMENT in self._chapter and not self._path.exists():
            self._take()

    def failed(self, text: str) -> None:
        """To the terminal that is there."""
        print(f"FAILED: {text}", file=self.stream, flush=True)

    def _take(self) -> None:
        for line in self._roll.lines:
            self._console.print(line)
        self._console.print(self._frame())
        self._path.write_text(
            self._console.export_svg(title="make demo", theme=_DARK, code_format=_FORMAT, unique_id="demo"),
            encoding="utf-8",
        )
        print(f"the picture is {self._path}", file=self.stream, flush=True)


class _Roll(Region):
    """Keeps what would scroll by."""

    def __init__(self, console: Console, frame: object) -> None:
        self.lines: list[RenderableType] = []

    def start(self) -> None:
        """There is nothing to draw."""

    def stop(self) -> None:
        """There is nothing to draw."""

    def print(self, renderable: RenderableType, *, whole: bool = False) -> None:
        """Kept."""
        self.lines.append(renderable)


def camera(path: Path) -> Camera:
    """A camera for this file, which it replaces."""
    path.unlink(missing_ok=True)
    return Camera(sys.stdout, path)
