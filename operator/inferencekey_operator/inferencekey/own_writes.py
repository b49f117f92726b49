"""What our own writes of the last seconds made of a project's workloads: lists may not show it yet.

The platform lags behind its own writes, and one replica of it more than another. Until `lag` seconds have passed since
a write, a list cannot contradict it: a row that we made is there though it is not listed, a row that we deleted is gone
though it is listed, and a row that is listed as it was before our update is as the update left it. A row that is listed
in any other state was changed by someone else, and is believed. Or the platform itself spells in its own way what it
was sent, and shows that in lists alone: then the row was last changed when our write was answered. Pure: the time is a
parameter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from inferencekey_operator.inferencekey.wire import LiveWorkload

KEPT = 120.0
"""Seconds beyond the lag that a write is kept: a list that began within the lag may take so long."""


@dataclass(frozen=True, slots=True)
class _Write:
    at: float
    row: LiveWorkload | None
    superseded: tuple[LiveWorkload, ...] = ()
    answer: LiveWorkload | None = None
    """What the platform answered; None once a list showed that, or where the answer does not say when that was."""

    def left(self, listed: LiveWorkload) -> bool:
        """Whether nobody changed the row after this write."""
        return self.answer is not None and listed.updated_at == self.answer.updated_at


class OwnWrites:
    """The writes of one project, whatever credential they were sent with. `lag` and all times are seconds."""

    def __init__(self, lag: float) -> None:
        self._lag = lag
        self._writes: dict[str, _Write] = {}
        self._slugs: dict[str, float] = {}

    def wrote(self, workload_id: str, row: LiveWorkload | None, at: float, *, before: LiveWorkload | None) -> None:
        """The platform answered a write at `at`: the workload, which was `before`, is `row` now; None is deleted."""
        known = self._writes.get(workload_id)
        former = known.superseded if known is not None and at < known.at + self._lag else ()
        superseded = former if before is None else (*former, before)
        self._writes[workload_id] = _Write(at, row, superseded, row if _moved_on(before, row) else None)
        self._slugs |= {each.slug: at for each in (before, row) if each is not None}

    def lost(self, slug: str, at: float) -> None:
        """A creation of this slug was given up at `at`: it may have been carried out."""
        self._slugs[slug] = at

    def of_slug(self, slug: str) -> float:
        """When the last write to a workload of this slug ended; minus infinity where none is remembered."""
        return self._slugs.get(slug, float("-inf"))

    def pending(self, began: float) -> bool:
        """Whether a list that began at `began` may lack any of them."""
        return any(began < write.at + self._lag for write in self._writes.values())

    def lay_over(self, rows: dict[str, LiveWorkload], began: float) -> None:
        """Correct the rows, by id, of a list that began at `began`."""
        self._note_what_was_answered(rows)
        for workload_id, write in self._recent(began):
            listed = rows.get(workload_id)
            if write.row is None:
                rows.pop(workload_id, None)
            elif listed is None or (listed in write.superseded and not write.left(listed)):
                rows[workload_id] = write.row
            elif listed != write.row:
                superseded = (*write.superseded, write.row)
                self._writes[workload_id] = replace(write, row=listed, superseded=superseded)
        self._slugs = {slug: at for slug, at in self._slugs.items() if began < at + self._lag + KEPT}

    def restated(self, row: LiveWorkload) -> bool:
        """Whether `row` is what the platform itself made of our last update, since no list showed that as answered."""
        write = self._writes.get(row.id)
        return write is not None and write.answer is not None and write.left(row) and row != write.answer

    def _note_what_was_answered(self, rows: Mapping[str, LiveWorkload]) -> None:
        """What a list shows as it was answered is not restated, whatever comes after."""
        for workload_id, write in tuple(self._writes.items()):
            if write.answer is not None and rows.get(workload_id) == write.answer:
                self._writes[workload_id] = replace(write, answer=None)

    def _recent(self, began: float) -> Iterator[tuple[str, _Write]]:
        for workload_id, write in tuple(self._writes.items()):
            if began < write.at + self._lag:
                yield workload_id, write
            elif began >= write.at + self._lag + KEPT:
                del self._writes[workload_id]


def _moved_on(before: LiveWorkload | None, row: LiveWorkload | None) -> bool:
    """Whether the platform says when a row was last changed, and said so of this very write."""
    if before is None or row is None or before.updated_at is None or row.updated_at is None:
        return False
    return before != row and before.updated_at != row.updated_at
