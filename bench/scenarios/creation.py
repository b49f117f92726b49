"""All Workloads applied at once, until every status is written and nothing more comes."""

from __future__ import annotations

from bench.fleet import Fleet
from bench.numbers import Creation, Quantiles


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
    )
