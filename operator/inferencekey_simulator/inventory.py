"""The workloads there are, found by id and by slug.

Decides how rows are kept: one index per project, each row's JSON made once per change and the list of a
project joined once per change, so that ten thousand rows cost no more per create than ten. Knows no rule
about what a row may hold.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from inferencekey_simulator.readiness import Readiness

Fields = dict[str, Any]


@dataclass(eq=False, slots=True)
class Row:
    """One workload: its wire fields, where it stands, and who wants to know when that changes.

    `slug` is the key it is filed under; `encoded` its JSON as answered; `removed` is set when it is deleted or
    soft-deleted. `number` is its place among all rows, oldest first.
    """

    project: str
    slug: str
    fields: Fields
    readiness: Readiness
    encoded: bytes = b""
    removed: bool = False
    number: int = 0
    watchers: set[Callable[[], None]] = field(default_factory=set)

    @property
    def id(self) -> str:
        """The platform's identifier, `wl_…`."""
        return str(self.fields["id"])

    def notify(self) -> None:
        """Tell whoever watches that this row's readiness or existence changed."""
        for watcher in tuple(self.watchers):
            watcher()


@dataclass(eq=False, slots=True)
class _Shelf:
    rows: dict[Row, None] = field(default_factory=dict)
    by_slug: dict[str, Row] = field(default_factory=dict)
    listing: bytes | None = None


class Inventory:
    """All rows of all projects."""

    def __init__(self) -> None:
        self._by_id: dict[str, Row] = {}
        self._shelves: dict[str, _Shelf] = {}
        self._numbers = itertools.count(1)

    def open(self, project: str) -> None:
        """Make a project known, empty, unless it is known already."""
        self._shelves.setdefault(project, _Shelf())

    def projects(self) -> list[str]:
        """Return the known projects."""
        return list(self._shelves)

    def find(self, identifier: str) -> Row | None:
        """Return the row with this id, even if it is soft-deleted."""
        return self._by_id.get(identifier)

    def lookup(self, project: str, slug: str) -> Row | None:
        """Return the row of a project that is filed under this slug."""
        shelf = self._shelves.get(project)
        return shelf.by_slug.get(slug) if shelf else None

    def put(self, row: Row, encode: Callable[[Fields], bytes]) -> None:
        """File a new row, or file an existing one anew after its fields changed."""
        shelf = self._shelves.setdefault(row.project, _Shelf())
        if not row.removed:
            shelf.by_slug.pop(row.slug, None)
            shelf.by_slug[str(row.fields["slug"])] = row
        row.slug = str(row.fields["slug"])
        row.number = row.number or next(self._numbers)
        shelf.rows[row] = None
        shelf.listing = None
        self._by_id[row.id] = row
        row.encoded = encode(row.fields)

    def retire(self, row: Row) -> None:
        """Mark a row as deleted and free its slug; lists keep it."""
        del self._shelves[row.project].by_slug[row.slug]
        row.removed = True

    def remove(self, row: Row) -> None:
        """Take a row away."""
        if not row.removed:
            self.retire(row)
        shelf = self._shelves[row.project]
        del shelf.rows[row]
        del self._by_id[row.id]
        shelf.listing = None

    def rows(self, project: str | None = None) -> Iterator[Row]:
        """Go through the rows of a project, or of all, oldest first, without soft-deleted ones."""
        return (row for row in self.listed(project) if not row.removed)

    def listed(self, project: str | None = None) -> Iterator[Row]:
        """Go through the rows of a project, or of all, oldest first, with soft-deleted ones."""
        names = [project] if project is not None else list(self._shelves)
        for name in names:
            if name in self._shelves:
                yield from self._shelves[name].rows

    def listing(self, project: str) -> bytes:
        """Return the rows of a project as one JSON array."""
        shelf = self._shelves[project]
        if shelf.listing is None:
            shelf.listing = b"[" + b",".join(row.encoded for row in shelf.rows) + b"]"
        return shelf.listing

    def encode_again(self, encode: Callable[[Fields], bytes]) -> None:
        """Make every row's JSON anew, after the way of writing it changed."""
        for shelf in self._shelves.values():
            shelf.listing = None
            for row in shelf.rows:
                row.encoded = encode(row.fields)


def to_json(value: object) -> bytes:
    """Return a value as compact JSON."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
