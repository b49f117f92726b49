"""Whether another operator writes the statuses that this one writes: two installations whose namespaces overlap.

Each status names the operator that wrote it, by its Lease. Two with different Leases do not wait for each other, so
whoever sees the other's write stands back in that namespace: it creates and changes nothing, and writes no status,
until the other has written nothing for a while. The records of creations keep the two from creating the same thing
meanwhile. Replicas and shards of one installation share a name. Time is a parameter.
"""

from __future__ import annotations

from dataclasses import dataclass

from inferencekey_operator.api.workload import Workload
from inferencekey_operator.errors import OperatorError, Reason

QUIET = 120.0
"""Seconds without a write of the other operator after which this one goes on."""


@dataclass(slots=True)
class _Rival:
    name: str
    until: float
    reported: bool = False


class Installations:
    """The other operators that were seen, by namespace; `me` is the name of this one."""

    def __init__(self, me: str) -> None:
        self._me = me
        self._rivals: dict[str, _Rival] = {}

    def saw(self, before: Workload | None, after: Workload | None, now: float) -> None:
        """The status of a Workload moved from one version to the next, by whatever hand."""
        if before is None or after is None or before.uid != after.uid or before.status == after.status:
            return
        name = after.status.operator
        if name is None or name == self._me:
            return
        known = self._rivals.setdefault(after.namespace, _Rival(name, now))
        known.name, known.until = name, now + QUIET

    def first_report(self, namespace: str) -> bool:
        """True once for each time that this operator stands back in a namespace."""
        rival = self._rivals.get(namespace)
        if rival is None or rival.reported:
            return False
        rival.reported = True
        return True

    def refuse_the_contested(self, workload: Workload, now: float) -> None:
        """Raise where another operator wrote in this namespace a short time ago."""
        rival = self._rivals.get(workload.namespace)
        if rival is None:
            return
        if now >= rival.until:
            del self._rivals[workload.namespace]
            return
        raise OperatorError(
            Reason.OPERATOR_CONFLICT,
            f"Another operator ({rival.name}) writes the Workloads of namespace {workload.namespace}, and this one is "
            f"{self._me}. This one creates and changes nothing there until the other has written nothing for "
            f"{QUIET:.0f} seconds. Stop one of the two, or let them watch different namespaces.",
            retry_after=rival.until - now,
        )
