"""The record of every request, so that a test can say what was asked of the platform.

Decides what is kept of a request: never a credential's secret, always the JSON body of a write as it came
(so that a secret inside a body would be found by whoever searches the record). Bounded; the counters are
not.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from inferencekey_simulator.clock import Clock
from inferencekey_simulator.faults import Call

OPERATIONS = ("list", "create", "update", "delete", "readiness", "data", "unknown")
KEPT = 200_000


@dataclass(eq=False, slots=True)
class Entry:
    """One request: filed when it arrives, completed when it is answered.

    `status` stays None while it is under way, and when the connection was cut instead of answered;
    `seconds` tells the two apart. `at` is wall time, `monotonic` the same moment for durations. `bytes_out`
    is the size of the body, of a stream with its framing. `fault` is the action that met it.
    """

    seq: int
    at: float
    monotonic: float
    call: Call
    user_agent: str | None
    body: Any
    status: int | None = None
    bytes_out: int = 0
    seconds: float | None = None
    fault: str | None = None

    def shown(self) -> dict[str, Any]:
        """Return the entry as the admin API answers it."""
        call = self.call
        return {
            "seq": self.seq,
            "at": self.at,
            "monotonic": self.monotonic,
            "operation": call.operation,
            "method": call.method,
            "path": call.path,
            "project": call.project,
            "slug": call.slug,
            "credential": call.credential,
            "user_agent": self.user_agent,
            "body": self.body,
            "status": self.status,
            "bytes_out": self.bytes_out,
            "seconds": self.seconds,
            "fault": self.fault,
        }


class Journal:
    """The last requests in order, and counts of all there ever were."""

    def __init__(self, clock: Clock, kept: int = KEPT) -> None:
        self._clock = clock
        self._entries: deque[Entry] = deque(maxlen=kept)
        self._operations: Counter[str] = Counter()
        self._per_project: dict[str, Counter[str]] = {}
        self._statuses: Counter[str] = Counter()
        self._bytes_out = 0
        self._seq = 0

    def open(self, call: Call, user_agent: str | None, body: Any) -> Entry:
        """File a request that has just arrived."""
        self._seq += 1
        entry = Entry(self._seq, self._clock.wall(), self._clock.monotonic(), call, user_agent, body)
        self._entries.append(entry)
        self._operations[call.operation] += 1
        self._per_project.setdefault(call.project or "", Counter())[call.operation] += 1
        return entry

    def close(self, entry: Entry, status: int | None, bytes_out: int) -> None:
        """Complete a request; a status of None says that it was cut off."""
        entry.status = status
        entry.bytes_out = bytes_out
        entry.seconds = self._clock.monotonic() - entry.monotonic
        self._statuses["cut" if status is None else str(status)] += 1
        self._bytes_out += bytes_out

    def since(self, seq: int) -> Iterator[Entry]:
        """Go through the kept entries with a higher sequence number, oldest first."""
        first = self._seq - len(self._entries) + 1
        return islice(self._entries, max(0, seq - first + 1), None)

    @property
    def last(self) -> int:
        """The sequence number of the newest request; 0 before the first."""
        return self._seq

    def totals(self, project: str | None = None) -> dict[str, Any]:
        """Return the counts: by operation (of one project, or all), by status, and bytes sent."""
        counted = self._operations if project is None else self._per_project.get(project, Counter[str]())
        operations = {name: counted[name] for name in OPERATIONS}
        return {"operations": operations, "statuses": dict(self._statuses), "bytes_out": self._bytes_out}
