"""All Workloads applied at once, until every status is written and nothing more comes."""

from __future__ import annotations

import json

from bench.fleet import Fleet
from bench.numbers import Creation, Quantiles
from harness.api import WORKLOADS
from harness.team import Team


def creation(fleet: Fleet) -> Creation:
    """The fleet is there afterwards, Ready, and at rest."""
    meter = fleet.meter()
    sent = fleet.create()
    fleet.until_answered()
    answered = fleet.stage.sights.moments(fleet.keys)
    if fleet.contestant.reconciles:
        fleet.until("Ready", lambda: fleet.stage.sights.ready(fleet.keys), fleet.size)
    fleet.settle()
    return Creation(
        seconds=max(answered.values()) - meter.began,
        latency=Quantiles.of([answered[key] - at for key, at in sent.items()]),
        span=meter.stop(),
        phases=fleet.stage.sights.phases(fleet.keys),
        rows=len(fleet.team.platform.workloads(fleet.team.name)),
        stored=_bytes(fleet.team),
    )


def _bytes(team: Team) -> int:
    """Of the team's Workloads and ConfigMaps, packed as they are stored."""
    paths = f"{WORKLOADS}/namespaces/{team.name}/workloads", f"/api/v1/namespaces/{team.name}/configmaps"
    return sum(len(json.dumps(item, separators=(",", ":"))) for path in paths for item in team.api.items(path))
