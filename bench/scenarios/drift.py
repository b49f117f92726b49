"""Somebody changes workloads in the dashboard: one now and then, or all of them at once."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Sequence

from bench.fleet import Fleet
from bench.numbers import Quantiles, Storm
from harness.api import Json

_THEIRS = "somebody-elses-model"


def seen(fleet: Fleet) -> Quantiles:
    """From a single change, at any moment of an interval, until its repair arrives at the platform."""
    names = random.sample(fleet.names, k=min(fleet.options.samples, fleet.size))
    since = fleet.team.platform.last()
    changed = {}
    for name in names:
        fleet.stage.pause(random.uniform(0, 2 * fleet.interval / len(names)), "single changes")
        changed[name] = _change(fleet, name)
    fleet.until("single changes repaired", lambda: _repaired(fleet, since), len(names), poll=0.25)
    repairs = _repairs(fleet, since)
    fleet.settle()
    first = {repair["slug"]: repair["monotonic"] for repair in reversed(repairs)}
    return Quantiles.of([first[name] - at for name, at in changed.items()])


def storm(fleet: Fleet) -> Storm:
    """All of them, as fast as the dashboard takes it: each is to be repaired once."""
    meter, since = fleet.meter(), fleet.team.platform.last()
    for name in fleet.names:
        _change(fleet, name)
    fleet.until("repaired", lambda: _repaired(fleet, since), fleet.size, poll=0.25)
    fleet.settle()
    repairs = _repairs(fleet, since)
    most = max(Counter(repair["slug"] for repair in repairs).values())
    seconds = max(repair["monotonic"] + (repair["seconds"] or 0.0) for repair in repairs) - meter.began
    return Storm(seconds, most, meter.stop())


def _change(fleet: Fleet, name: str) -> float:
    """When it had been changed."""
    fleet.team.platform.edit(fleet.team.name, name, model_name=_THEIRS)
    return time.monotonic()


def _repaired(fleet: Fleet, since: int) -> int:
    return len({repair["slug"] for repair in _repairs(fleet, since) if repair["status"] == 200})


def _repairs(fleet: Fleet, since: int) -> Sequence[Json]:
    return fleet.team.platform.requests(since, "update", fleet.team.name)
