"""The project's pages, read as what they are made of: headings, blocks of code, tables, links.

Knows Markdown as these pages use it, and nothing of what they say.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parents[2]

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^(#+) (.+)$", re.MULTILINE)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and where it stands."""

    language: str
    text: str
    where: str

    def __str__(self) -> str:
        return self.where


@dataclass(frozen=True)
class Page:
    """One Markdown file."""

    path: Path

    def __str__(self) -> str:
        return str(self.path.relative_to(ROOT))

    @cached_property
    def text(self) -> str:
        """All of it."""
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def prose(self) -> str:
        """All but the fenced blocks."""
        return _FENCE.sub("", self.text)

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """The fenced blocks, in order."""
        return tuple(
            Block(found[1], found[2], f"{self}:{self.text.count(chr(10), 0, found.start()) + 1}")
            for found in _FENCE.finditer(self.text)
        )

    @cached_property
    def anchors(self) -> set[str]:
        """What a link may point to, as GitHub names it."""
        return {_anchor(found[2]) for found in _HEADING.finditer(self.prose)}

    @cached_property
    def links(self) -> tuple[str, ...]:
        """The targets of all links."""
        return tuple(_LINK.findall(self.prose))

    def headings(self, level: int) -> list[str]:
        """The headings of a level."""
        return [found[2] for found in _HEADING.finditer(self.prose) if len(found[1]) == level]

    def section(self, heading: str) -> str:
        """What stands below a heading, down to the next one of its level or above."""
        found = next(found for found in _HEADING.finditer(self.prose) if found[2] == heading)
        after = self.prose[found.end() :]
        end = re.search(rf"^#{{1,{len(found[1])}}} ", after, re.MULTILINE)
        return after[: end.start()] if end else after

    def table(self, heading: str, number: int = 0) -> list[list[str]]:
        """The rows of a table below a heading, without its head."""
        tables = list(_tables(self.section(heading)))
        return tables[number]


def pages() -> list[Page]:
    """Every page that people are meant to read, but the licence."""
    folders = (ROOT, ROOT / "docs", ROOT / "examples")
    return [Page(path) for folder in folders for path in sorted(folder.glob("*.md"))]


def page(name: str) -> Page:
    """One of them."""
    return Page(ROOT / name)


def code(cell: str) -> list[str]:
    """What stands in backticks."""
    return _CODE.findall(cell)


def _tables(text: str) -> Iterator[list[list[str]]]:
    for lines in re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE):
        rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines.splitlines()]
        yield rows[2:]


def _anchor(heading: str) -> str:
    plain = re.sub(r"[^\w\- ]", "", heading.lower())
    return plain.replace(" ", "-")
