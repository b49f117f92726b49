"""All Workloads deleted at once, until nothing is left."""

from __future__ import annotations

import time

from bench.fleet import Fleet
from bench.numbers import Deletion
from harness.api import WORKLOADS


def deletion(fleet: Fleet) -> Deletion:
    """One request deletes them all, as `kubectl delete ikw --all` does."""
    meter = fleet.meter()
    fleet.stage.api.delete_all(f"{WORKLOADS}/namespaces/{fleet.team.name}/workloads")
    fleet.until_gone()
    seconds = time.monotonic() - meter.began
    fleet.settle()
    return Deletion(seconds, len(fleet.team.platform.workloads(fleet.team.name)), meter.stop())
