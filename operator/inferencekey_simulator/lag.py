"""Which changes lists do not show yet.

Decides what a list shows of a row whose changes lag. Pure in time: the moment is a parameter. The lag is that of
the moment at which a list is asked for, so setting it to 0 shows everything immediately. Knows neither how rows
are kept nor how a list is written.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from inferencekey_simulator.inventory import Fields, Row
from inferencekey_simulator.settings import ListLag

Kind = Literal["create", "update", "delete"]


@dataclass(frozen=True, slots=True)
class Change:
    """What a row became at a monotonic time; `fields` is None when it was removed.

    A change without a kind is the state that lists show already.
    """

    at: float
    kind: Kind | None
    fields: Fields | None

    def shown(self, now: float, lag: ListLag) -> bool:
        """Return whether lists show this change."""
        seconds: float = getattr(lag, self.kind) if self.kind else 0.0
        return self.at + seconds <= now


def settled(changes: list[Change], now: float, lag: ListLag) -> list[Change]:
    """Return the changes that still matter: the newest that lists show, and those that they do not show yet.

    A row whose creation is not shown yet has no state that lists show. If its removal is already shown, it never
    appears.
    """
    shown = [number for number, change in enumerate(changes) if change.shown(now, lag)]
    if not shown:
        return changes
    newest = changes[shown[-1]]
    if shown[0] > 0 and newest.fields is not None:
        return changes
    return [replace(newest, kind=None), *changes[shown[-1] + 1 :]]


class Lagging:
    """The rows that lists show in another state than the one they are in."""

    def __init__(self) -> None:
        self._changes: dict[str, dict[Row, list[Change]]] = {}

    def note(self, row: Row, change: Change, before: Fields | None, lag: ListLag) -> None:
        """Record a change; `before` is what the row was, and None for a new row."""
        if not lag.is_set:
            return
        base = [] if before is None else [Change(change.at, None, before)]
        earlier = self._changes.get(row.project, {}).get(row, base)
        self._keep(row, settled([*earlier, change], change.at, lag))

    def view(self, project: str, now: float, lag: ListLag) -> dict[Row, Fields | None]:
        """Return what a list shows of the rows that lag; None where it does not show the row."""
        shown: dict[Row, Fields | None] = {}
        for row, changes in tuple(self._changes.get(project, {}).items()):
            left = settled(changes, now, lag)
            if self._keep(row, left):
                shown[row] = left[0].fields if left[0].kind is None else None
        return shown

    def settle(self, now: float, lag: ListLag) -> None:
        """Keep what lists show now, so that a longer lag does not hide it again."""
        for project in self._changes:
            self.view(project, now, lag)

    def clear(self) -> None:
        """Forget all changes: lists show the rows as they are."""
        self._changes.clear()

    def _keep(self, row: Row, changes: list[Change]) -> bool:
        """Keep a row's changes while lists do not show all of them; return whether that is so."""
        rows = self._changes.setdefault(row.project, {})
        pending = len(changes) > 1 or changes[0].kind is not None
        if pending:
            rows[row] = changes
        else:
            rows.pop(row, None)
        return pending
