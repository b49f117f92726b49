"""The process ends and another one takes over a fleet that is in order."""

from __future__ import annotations

import time

from bench.fleet import Fleet
from bench.numbers import Restart


def restart(fleet: Fleet) -> Restart:
    """What it writes until each Workload was looked at, and in the moment after, is counted."""
    meter = fleet.meter()
    fleet.contestant.stop()
    began = time.monotonic()
    fleet.contestant.start()
    fleet.until("looked at", fleet.contestant.looked, fleet.size)
    seconds = time.monotonic() - began
    fleet.stage.pause(1.0, "settles")
    return Restart(seconds, meter.stop())
