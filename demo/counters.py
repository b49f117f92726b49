"""What the operator costs: calls of the platform, and writes to Kubernetes.

Decides what is counted. On the platform side that is the simulator's own record; on the Kubernetes side every create,
update, patch and delete in the API server's audit log that came from the operator, the renewals of its Lease apart.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter, deque
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from inferencekey_simulator.admin import Admin

_WRITES = frozenset({"create", "update", "patch", "delete"})
_AGENT = "inferencekey-operator/"
_SAMPLE_SECONDS = 0.25
_REMEMBERED_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Counts:
    """How often what was done, since the start or over some time."""

    lists: int = 0
    platform_writes: int = 0
    kubernetes: Counter[str] = field(default_factory=Counter)
    """Writes by resource, the Lease's among them; nothing where there is no audit log."""

    @property
    def lease_writes(self) -> int:
        """One every few seconds, so that another replica can see that this one lives."""
        return self.kubernetes["leases"]

    @property
    def kubernetes_writes(self) -> int:
        """All others."""
        return self.kubernetes.total() - self.lease_writes

    @property
    def writes(self) -> int:
        """What must stand still while nothing happens."""
        return self.platform_writes + self.kubernetes_writes

    def __sub__(self, before: Counts) -> Counts:
        return Counts(
            self.lists - before.lists,
            self.platform_writes - before.platform_writes,
            self.kubernetes - before.kubernetes,
        )


class AuditLog:
    """Reads on in an API server's audit log, one JSON object a line, and counts the operator's writes."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._offset = 0
        self._counted: Counter[str] = Counter()

    def count(self) -> Counter[str]:
        """The writes by resource so far."""
        if self._path is not None and self._path.is_file():
            with self._path.open("rb") as log:
                log.seek(self._offset)
                for line in log:
                    if not line.endswith(b"\n"):
                        break  # it is being written
                    self._offset += len(line)
                    self._take(line)
        return self._counted.copy()

    def _take(self, line: bytes) -> None:
        if _AGENT.encode() not in line:
            return
        event: dict[str, Any] = json.loads(line)
        if event["userAgent"].startswith(_AGENT) and event["verb"] in _WRITES:
            self._counted[event["objectRef"]["resource"]] += 1


class Counters:
    """A thread that looks several times a second, and remembers the last minute."""

    def __init__(self, admin: Admin, project: str, audit_log: Path | None) -> None:
        self.audited = audit_log is not None
        self._admin, self._project = admin, project
        self._audit = AuditLog(audit_log)
        self._history: deque[tuple[float, Counts]] = deque([(time.monotonic(), Counts())])
        self._last_write = time.monotonic()
        self._sampling = threading.Lock()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="counters", daemon=True)

    @property
    def now(self) -> Counts:
        """All since the start."""
        return self._history[-1][1]

    @property
    def quiet_seconds(self) -> float:
        """How long nothing was written, neither to the platform nor to Kubernetes."""
        return time.monotonic() - self._last_write

    def over(self, seconds: float) -> Counts:
        """What was done in the last `seconds`, at most a minute."""
        begin = time.monotonic() - seconds
        history = list(self._history)
        before = [counts for at, counts in history if at <= begin]
        return history[-1][1] - (before[-1] if before else history[0][1])

    def look(self) -> None:
        """Count now."""
        with self._sampling, suppress(OSError):  # a simulator that is gone is noticed elsewhere
            self._sample()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closing.wait(_SAMPLE_SECONDS):
            self.look()

    def _sample(self) -> None:
        calls = self._admin.counters(self._project)
        counts = Counts(calls["list"], calls["create"] + calls["update"] + calls["delete"], self._audit.count())
        now = time.monotonic()
        if counts.writes != self.now.writes:
            self._last_write = now
        self._history.append((now, counts))
        while self._history[0][0] < now - _REMEMBERED_SECONDS:
            self._history.popleft()
