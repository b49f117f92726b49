"""Nothing happens for some intervals: what it costs that everything is as it should be."""

from __future__ import annotations

from bench.fleet import Fleet
from bench.numbers import Rest


def rest(fleet: Fleet) -> Rest:
    """The fleet is as it was."""
    meter, platform = fleet.meter(), fleet.team.platform
    since = platform.last()
    intervals = fleet.options.rest_intervals
    fleet.stage.pause(intervals * fleet.interval, "nothing happens")
    span = meter.stop()
    lists = [call["monotonic"] for call in platform.requests(since, "list")]
    return Rest(intervals, span, lists[-1] - lists[0] if lists else 0.0)
