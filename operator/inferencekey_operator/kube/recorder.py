"""Events about Workloads, folded: the same thing about the same object again is one Event with a series.

Events name fields, never values. They go out beside the work and never hold it up: trouble of the API server's is
waited out for a minute; more of it, or a full backlog, costs an Event, not a reconciliation. An Event about an object
in a namespace that is going away concerns the Namespace, and is stored in `default`.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from inferencekey_operator.api.keys import Key
from inferencekey_operator.api.workload import GROUP, KIND, VERSION, Workload
from inferencekey_operator.kube.client import MANAGER, Cluster, micro_time
from inferencekey_operator.kube.errors import ClusterError
from inferencekey_operator.logs import about
from inferencekey_operator.redaction import excerpt, within_bytes

log = logging.getLogger(__name__)

SENDERS = 4
"""Events of one object go out one after the other, those of different ones beside each other."""
BACKLOG = 5_000
REMEMBERED = 4_096
FOLD = timedelta(minutes=6)
MOST_BYTES = 1_024
"""Of a note: the API server refuses a longer one, and counts bytes."""
WAITS = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Seconds before an Event is tried again that met with trouble which may pass."""


@dataclass(frozen=True, slots=True)
class EventRecord:
    """Something that happened to an object."""

    kind: str
    api_version: str
    namespace: str
    name: str
    uid: str
    reason: str
    note: str
    warning: bool
    falls_back: bool = True
    """Whether it is told about the Namespace where the object's namespace takes no Events any more."""


@dataclass(slots=True)
class _Told:
    name: str
    namespace: str
    count: int
    at: datetime


class Recorder:
    """Takes what happened and tells the API server, one after the other."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._backlogs = [asyncio.Queue[EventRecord](BACKLOG) for _ in range(SENDERS)]
        self._told: OrderedDict[EventRecord, _Told] = OrderedDict()
        self._instance = f"{MANAGER}-{socket.gethostname()}"[:128]

    def workload(
        self, workload: Workload, reason: str, note: str, *, warning: bool = False, falls_back: bool = True
    ) -> None:
        """Something happened to a Workload."""
        self._take(
            EventRecord(
                KIND,
                f"{GROUP}/{VERSION}",
                workload.namespace,
                workload.name,
                workload.uid,
                reason,
                note,
                warning,
                falls_back,
            ),
            workload.effective_slug,
        )

    def secret(self, namespace: str, name: str, reason: str, note: str) -> None:
        """Something happened to all that use a credential."""
        self._take(EventRecord("Secret", "v1", namespace, name, "", reason, note, warning=True))

    def namespace(self, name: str, reason: str, note: str) -> None:
        """Something happened in a namespace that may take no Events any more."""
        self._take(EventRecord("Namespace", "v1", "", name, "", reason, note, warning=True))

    async def run(self) -> None:
        """Never returns."""
        await asyncio.gather(*map(self._send, self._backlogs))

    async def _send(self, backlog: asyncio.Queue[EventRecord]) -> None:
        while True:
            occurrence = await backlog.get()
            try:
                await self._deliver(occurrence)
            except ClusterError as error:
                key = _key(occurrence)
                fields = about(key, kind=occurrence.kind, reason=occurrence.reason)
                log.warning("lost an Event: %s %s: %s", occurrence.reason, key, error, extra=fields)
            finally:
                backlog.task_done()

    async def flush(self) -> None:
        """Returns once everything taken so far was told."""
        for backlog in self._backlogs:
            await backlog.join()

    def _take(self, occurrence: EventRecord, slug: str = "") -> None:
        occurrence = replace(occurrence, note=_in_bounds(occurrence.note))
        level = logging.WARNING if occurrence.warning else logging.INFO
        where = "/".join(part for part in (occurrence.namespace, occurrence.name) if part)
        fields = about(_key(occurrence), kind=occurrence.kind, slug=slug, reason=occurrence.reason)
        log.log(level, "%s %s: %s: %s", occurrence.kind, where, occurrence.reason, occurrence.note, extra=fields)
        try:
            self._backlogs[hash(occurrence.name) % SENDERS].put_nowait(occurrence)
        except asyncio.QueueFull:
            log.warning("lost an Event: the backlog is full")

    async def _deliver(self, occurrence: EventRecord) -> None:
        """Under one name, so that what arrived and was not answered is not told twice.

        Names are in the order of time, for kubectl describe shows Events in the order of their names.
        """
        now, suffix = datetime.now(UTC), f"{time.time_ns():016x}{secrets.token_hex(2)}"
        for wait in WAITS:
            try:
                await self._tell(occurrence, now, suffix)
            except ClusterError as error:
                if not error.passing:
                    raise
                log.debug("an Event is tried again: %s", error)
                await asyncio.sleep(max(wait, error.retry_after or 0.0))
            else:
                return
        await self._tell(occurrence, now, suffix)

    async def _tell(self, occurrence: EventRecord, now: datetime, suffix: str) -> None:
        told = self._told.get(occurrence)
        if told is not None and now - told.at < FOLD and await self._fold(told, now):
            if occurrence in self._told:
                self._told.move_to_end(occurrence)
            return
        try:
            await self._create(occurrence, now, suffix)
        except ClusterError as error:
            if not error.terminating:
                raise
            if not occurrence.falls_back:
                return
            note = f"{occurrence.kind} {occurrence.name}: {occurrence.note}"
            await self._create(
                EventRecord(
                    "Namespace",
                    "v1",
                    "",
                    occurrence.namespace,
                    "",
                    occurrence.reason,
                    note,
                    occurrence.warning,
                ),
                now,
                suffix,
            )

    async def _fold(self, told: _Told, now: datetime) -> bool:
        series = {"count": told.count + 1, "lastObservedTime": micro_time(now)}
        try:
            await self._cluster.fold_event(told.namespace, told.name, series)
        except ClusterError as error:
            if error.gone:
                return False
            raise
        told.count, told.at = told.count + 1, now
        return True

    async def _create(self, occurrence: EventRecord, now: datetime, suffix: str) -> None:
        namespace = occurrence.namespace or "default"
        name = f"{occurrence.name[:200].rstrip('-.')}.{suffix}"
        try:
            await self._cluster.create_event(namespace, self._body(occurrence, namespace, name, now))
        except ClusterError as error:
            if not error.conflict:
                raise
        self._told[occurrence] = _Told(name, namespace, 1, now)
        self._told.move_to_end(occurrence)
        self._forget(now)

    def _forget(self, now: datetime) -> None:
        """What is too old to be folded, and the oldest of too many."""
        while len(self._told) > REMEMBERED or now - next(iter(self._told.values())).at > FOLD:
            self._told.popitem(last=False)

    def _body(self, occurrence: EventRecord, namespace: str, name: str, now: datetime) -> dict[str, Any]:
        regarding = {
            "apiVersion": occurrence.api_version,
            "kind": occurrence.kind,
            "name": occurrence.name,
            "namespace": occurrence.namespace,
            "uid": occurrence.uid,
        }
        return {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "eventTime": micro_time(now),
            "reportingController": MANAGER,
            "reportingInstance": self._instance,
            "action": "Ensure",
            "reason": str(occurrence.reason),
            "type": "Warning" if occurrence.warning else "Normal",
            "note": _in_bounds(occurrence.note),
            "regarding": {key: value for key, value in regarding.items() if value},
        }


def _in_bounds(note: str) -> str:
    """As much of it as the API server takes: nor is more of it kept, or logged."""
    return within_bytes(excerpt(note, MOST_BYTES), MOST_BYTES)


def _key(occurrence: EventRecord) -> Key:
    return Key(occurrence.namespace, occurrence.name)
