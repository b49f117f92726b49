"""What our own writes of the last seconds made of a project's workloads: lists may not show it yet.

The platform lags behind its own writes, and one replica of it more than another. Until `lag` seconds have passed since
a write, a list cannot contradict it: a row that we made is there though it is not listed, a row that we deleted is gone
though it is listed, and a row that is listed as it was before our update is as the update left it. A row that is listed
in any other state was changed by someone else, and is believed. Pure: the time is a parameter.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from inferencekey_operator.inferencekey.wire import LiveWorkload

KEPT = 120.0
"""Seconds beyond the lag that a write is kept: a list that began within the lag may take so long."""


@dataclass(frozen=True, slots=True)
class _Write:
    at: float
    row: LiveWorkload | None
    superseded: tuple[LiveWorkload, ...] = ()


class OwnWrites:
    """The writes of one project, whatever credential they were sent with. `lag` and all times are seconds."""

    def __init__(self, lag: float) -> None:
        self._lag = lag
        self._writes: dict[str, _Write] = {}

    def wrote(self, workload_id: str, row: LiveWorkload | None, at: float, *, before: LiveWorkload | None) -> None:
        """The platform answered a write at `at`: the workload, which was `before`, is `row` now; None is deleted."""
        known = self._writes.get(workload_id)
        former = known.superseded if known is not None and at < known.at + self._lag else ()
        self._writes[workload_id] = _Write(at, row, former if before is None else (*former, before))

    def pending(self, began: float) -> bool:
        """Whether a list that began at `began` may lack any of them."""
        return any(began < write.at + self._lag for write in self._writes.values())

    def lay_over(self, rows: dict[str, LiveWorkload], began: float) -> None:
        """Correct the rows, by id, of a list that began at `began`."""
        for workload_id, write in self._recent(began):
            listed = rows.get(workload_id)
            if write.row is None:
                rows.pop(workload_id, None)
            elif listed is None or listed in write.superseded:
                rows[workload_id] = write.row
            elif listed != write.row:
                self._writes[workload_id] = _Write(write.at, listed, (*write.superseded, write.row))

    def _recent(self, began: float) -> Iterator[tuple[str, _Write]]:
        for workload_id, write in tuple(self._writes.items()):
            if began < write.at + self._lag:
                yield workload_id, write
            elif began >= write.at + self._lag + KEPT:
                del self._writes[workload_id]
