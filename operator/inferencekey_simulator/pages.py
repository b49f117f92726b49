"""The body of a list: its shape, and its first page where the platform pages.

Decides how rows that are JSON already become one answer. Pure; which rows there are is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from inferencekey_simulator.inventory import to_json
from inferencekey_simulator.settings import Settings


@dataclass(frozen=True)
class Answer:
    """The body of a list, and the cursor to the rows that it left out, if there are any."""

    body: bytes
    cursor: str | None = None


def whole(listing: bytes, settings: Settings) -> Answer:
    """Return a JSON array of all rows in the shape that is set."""
    if settings.list_shape == "null" and listing == b"[]":
        return Answer(b"null")
    return Answer(b'{"workloads":' + listing + b"}" if settings.list_shape == "object" else listing)


def answer(rows: Sequence[bytes], settings: Settings) -> Answer:
    """Return the rows, or their first page; the form of the page takes the place of the shape."""
    if settings.pages == "off":
        return whole(array(rows), settings)
    cursor = f"after-{settings.page_size}" if len(rows) > settings.page_size else None
    page = array(rows[: settings.page_size])
    if settings.pages == "link":
        return Answer(page, cursor)
    marks = {"next_cursor": cursor, "has_more": cursor is not None, "total": len(rows)}
    mark = to_json({settings.pages: marks[settings.pages]})
    return Answer(b'{"workloads":' + page + b"," + mark[1:], cursor)


def array(rows: Sequence[bytes]) -> bytes:
    """Return rows as one JSON array."""
    return b"[" + b",".join(rows) + b"]"
