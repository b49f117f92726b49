"""Measures what a contestant spends, and what it asks of Kubernetes and of the platform, between two moments.

Everything is read from outside: /proc, the API server's audit log, the simulator's counters. Decides nothing.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from bench.contestant import Contestant
from bench.numbers import Span
from bench.procfs import cpu_seconds, memory
from bench.stage import Stage
from harness.audit import Request


@dataclass(frozen=True)
class _Reading:
    at: float
    pid: int
    cpu: float
    cpu_api_server: float
    cpu_etcd: float
    cpu_bench: float
    calls: Counter[str]
    platform_bytes: int
    place: int


class Meter:
    """Runs from its making to `stop`."""

    def __init__(self, stage: Stage, contestant: Contestant) -> None:
        self._stage, self._contestant = stage, contestant
        place = stage.audit(contestant.user).mark()
        self._before = self._read(place)

    @property
    def began(self) -> float:
        """On the monotonic clock."""
        return self._before.at

    def stop(self) -> Span:
        """What there was since."""
        now, before = self._read(0), self._before
        held = memory(now.pid)
        requests = self._stage.audit(self._contestant.user).requests(before.place)
        asked = [request for request in requests if request.resource != "leases"]
        return Span(
            seconds=now.at - before.at,
            cpu=now.cpu - (before.cpu if now.pid == before.pid else 0.0),
            cpu_api_server=now.cpu_api_server - before.cpu_api_server,
            cpu_etcd=now.cpu_etcd - before.cpu_etcd,
            cpu_bench=now.cpu_bench - before.cpu_bench,
            writes=_counted(request for request in asked if request.writes and request.code < 300),
            refused=_counted(request for request in asked if request.writes and request.code >= 300),
            reads=_counted(request for request in asked if not request.writes),
            calls=dict(now.calls - before.calls),
            platform_bytes=now.platform_bytes - before.platform_bytes,
            memory=held,
        )

    def _read(self, place: int) -> _Reading:
        pid, components = self._contestant.pid, self._stage.components()
        totals = self._stage.admin.totals()
        return _Reading(
            at=time.monotonic(),
            pid=pid,
            cpu=cpu_seconds(pid),
            cpu_api_server=cpu_seconds(components["kube-apiserver"]),
            cpu_etcd=cpu_seconds(components["etcd"]),
            cpu_bench=time.process_time(),
            calls=Counter(totals["operations"]),
            platform_bytes=totals["bytes_out"],
            place=place,
        )


def _counted(requests: Iterable[Request]) -> dict[str, int]:
    return dict(Counter(f"{request.verb} {request.resource}" for request in requests))
