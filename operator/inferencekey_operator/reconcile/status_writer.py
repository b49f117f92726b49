"""Writes statuses, and only where one differs from what stands; and tells the Events that go with them.

What they quote of the platform's rows is blanked here where it echoes the token.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from inferencekey_operator.api.keys import Key
from inferencekey_operator.api.status import WorkloadStatus
from inferencekey_operator.api.workload import Workload
from inferencekey_operator.cache.workloads import Store, key_of
from inferencekey_operator.inferencekey.echoes import Echoes
from inferencekey_operator.kube.client import Cluster
from inferencekey_operator.kube.merge_patch import merge_patch
from inferencekey_operator.kube.reading import Body
from inferencekey_operator.kube.recorder import Recorder
from inferencekey_operator.plan import conditions
from inferencekey_operator.plan.conditions import Report
from inferencekey_operator.plan.events import EventMessage


class Reporter:
    """The one place that writes to a Workload in Kubernetes."""

    def __init__(
        self,
        cluster: Cluster,
        store: Store,
        recorder: Recorder,
        operator: str | None = None,
        echoes: Callable[[Key], Echoes] = lambda key: Echoes(""),
    ) -> None:
        self._cluster, self._store, self._recorder = cluster, store, recorder
        self._operator, self._echoes = operator, echoes

    async def report(self, workload: Workload, report: Report, told: Iterable[EventMessage] = ()) -> Workload:
        """Write the status that `report` comes to, if it differs; the Workload as it stands then."""
        self._tell(workload, told)
        workload = await self._write(workload, conditions.status(workload, report, datetime.now(UTC)))
        self._store.memory(workload.key).told = frozenset()
        return workload

    async def record(self, workload: Workload, **changes: Any) -> Workload:
        """Write these fields of the status alone, by attribute name; the Workload as it stands then."""
        return await self._write(workload, replace(workload.status, **changes))

    async def _write(self, workload: Workload, wanted: WorkloadStatus) -> Workload:
        if wanted == workload.status and not workload.unreadable:  # mostly so: nothing is spelled out to be compared
            return workload
        wanted = conditions.unechoed(wanted, self._echoes(workload.key).blank)
        if workload.vanished:
            left = replace(workload, status=wanted)
            self._store.keep_the_vanished(left, self._store.memory(workload.key))
            return left
        wanted = replace(wanted, operator=self._operator)
        patch = merge_patch({**workload.status.to_wire(), **workload.unreadable}, wanted.to_wire())
        return workload if patch is None else self._take(await self._cluster.patch_status(workload, patch))

    def _tell(self, workload: Workload, told: Iterable[EventMessage]) -> None:
        """Before the status is written, and once, however often that has to be tried."""
        memory = self._store.memory(workload.key)
        for announcement in told:
            if announcement not in memory.told:
                memory.told |= {announcement}
                note = self._echoes(workload.key).blank(announcement.note)
                self._recorder.workload(workload, announcement.reason, note, warning=announcement.warning)

    async def add_finalizer(self, workload: Workload) -> Workload:
        """The write-ahead record of a creation."""
        return self._take(await self._cluster.add_finalizer(workload))

    async def remove_finalizer(self, workload: Workload) -> None:
        """The object may go now; until its end is told, it is known to be none of ours any more."""
        if workload.vanished:
            self._store.drop_the_vanished(workload.key)
            return
        self._take(await self._cluster.remove_finalizer(workload))

    def _take(self, body: Body) -> Workload:
        self._store.observe(body)
        known = self._store.get(key_of(body))
        if known is None:
            return Workload.parse(body)
        self._store.memory(known.key).left = body["metadata"]["resourceVersion"]
        return known
