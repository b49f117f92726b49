"""What the operator wrote for a Workload, and how often on average, so that a bare client can write the same.

Taken off the API server. The names in it are replaced by those of each Workload.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from bench.numbers import Span
from harness.api import EVENTS, Json
from harness.team import Team

NAME, NAMESPACE, UID = "@name@", "@namespace@", "@uid@"


@dataclass(frozen=True)
class Sample:
    """Objects as they were sent, and writes per Workload."""

    finalizers: list[str]
    config_map: Json
    status: Json
    event: Json
    statuses: float
    events: float

    def three(self) -> dict[str, object]:
        """The finalizer, the ConfigMap and a status, for the bare client."""
        return self._writes(1.0, 0.0)

    def all(self) -> dict[str, object]:
        """All that was written."""
        return self._writes(self.statuses, self.events)

    def _writes(self, statuses: float, events: float) -> dict[str, object]:
        return {
            "finalizer": {"metadata": {"finalizers": self.finalizers}},
            "configMap": self.config_map,
            "status": {"status": self.status},
            "event": self.event,
            "statuses": statuses,
            "events": events,
        }


def take(team: Team, name: str, size: int, span: Span) -> Sample:
    """Of one Workload of a fleet that has just been created."""
    workload = team.workload(name)
    config_map = team.config_map(f"{name}-endpoint")
    if config_map is None:
        raise RuntimeError(f"{name} has no ConfigMap")
    events = team.api.items(f"{EVENTS}/namespaces/{team.name}/events")
    event = next(each for each in events if each["regarding"]["name"] == name)

    def general(body: Json, *left_out: str) -> Json:
        text = json.dumps({key: value for key, value in body.items() if key not in left_out})
        for is_, of in ((workload["metadata"]["uid"], UID), (name, NAME), (team.name, NAMESPACE)):
            text = text.replace(is_, of)
        made: Json = json.loads(text)
        for server_made in ("uid", "resourceVersion", "creationTimestamp", "managedFields"):
            made.get("metadata", {}).pop(server_made, None)
        return made

    return Sample(
        finalizers=workload["metadata"]["finalizers"],
        config_map=general(config_map),
        status=general(workload["status"]),
        event=general(event, "deprecatedFirstTimestamp", "deprecatedLastTimestamp", "deprecatedSource"),
        statuses=max(1.0, span.writes.get("patch workloads/status", 0) / size),
        events=span.writes.get("create events", 0) / size,
    )
