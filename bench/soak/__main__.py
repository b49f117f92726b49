"""`python -m bench.soak`, which `make soak` calls.

Prints a live line on a terminal and plain lines anywhere else, then the curves. Writes them as JSON and SVG into
bench/results/, which is not checked in. Exit code 1 if something grows, or is written at rest. Ctrl-C ends the churn.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from bench.operator import Ours
from bench.soak import curve
from bench.soak.churn import Churn
from bench.soak.readings import Readings
from bench.soak.trend import Trend
from bench.stage import Stage, stage
from controlplane import lookup
from controlplane.lookup import Binaries
from controlplane.progress import Progress
from harness.audit import Audit

RESULTS = Path(__file__).parents[1] / "results"
UNITS = {"resident": "MiB", "descriptors": "", "threads": "", "cpu": "cores"}
REST = 30.0
"""Seconds of rest, in which writes are counted."""
SETTLES = 180.0
"""Seconds in which everything serves after the last change."""


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when all is flat and at rest, 1 when it is not or could not be told."""
    given = _arguments(arguments)
    progress = Progress(sys.stdout, plain_seconds=60.0)
    found = lookup.find(progress=progress)
    if not isinstance(found, Binaries):
        progress.say("a soak takes a control plane of its own: see `make controlplane`")
        return 1
    for number in (signal.SIGINT, signal.SIGTERM):  # also where a shell had the first one ignored
        signal.signal(number, signal.default_int_handler)
    with stage(found, progress) as on:
        stirrings, readings, churn = _soak(on, given)
    trends = readings.trends()
    _tell(progress, given, readings, churn, trends=trends, stirrings=stirrings)
    _write(given.seconds, readings, churn, trends, stirrings)
    return 1 if stirrings or any(each.grows for each in trends.values()) else 0


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3600.0, help="how long (default: an hour)")
    parser.add_argument("--workloads", type=int, default=120, help="how many (default: 120)")
    parser.add_argument("--teams", type=int, default=4, help="in how many namespaces and projects (default: 4)")
    parser.add_argument("--interval", type=float, default=2.0, help="the operator's (default: 2 seconds)")
    parser.add_argument("--every", type=float, default=5.0, help="seconds between two readings (default: 5)")
    parser.add_argument("--seed", type=int, default=random.randrange(10**9), help="what goes on (default: anything)")
    return parser.parse_args(arguments)


def _soak(on: Stage, given: argparse.Namespace) -> tuple[list[str], Readings, Churn]:
    teams = [on.team(f"bench-soak-{number}") for number in range(given.teams)]
    churn = Churn(on, teams, given.workloads // given.teams, given.seed)
    on.title = "soak"
    ours = Ours(on, given.interval)
    try:
        ours.start()
        churn.populate()
        _until_all_serve(on, churn)
        readings = Readings(ours.pid)
        churn.start()
        try:
            _read_on(on, given, readings, churn, ours)
        except KeyboardInterrupt:
            on.progress.say("ended early: what there is so far is weighed")
        finally:
            churn.stop()
        _until_all_serve(on, churn)
        stirrings = _at_rest(on, on.audit(ours.user))
    finally:
        ours.stop()
    ours.close()
    return stirrings, readings, churn


def _read_on(on: Stage, given: argparse.Namespace, readings: Readings, churn: Churn, ours: Ours) -> None:
    end = time.monotonic() + given.seconds
    while time.monotonic() < end and churn.error is None:
        time.sleep(min(given.every, max(0.0, end - time.monotonic())))
        ours.check()
        now = readings.take()
        shape = curve.sparkline([value for _, value in readings.points("resident")], 30)
        on.progress.update(
            f"soak: {now.at / 60:.1f} min, {now.resident:.1f} MiB {shape} {now.descriptors} descriptors, "
            f"{now.threads} threads, {now.cpu:.2f} cores, {churn.done.total()} changes"
        )


def _until_all_serve(on: Stage, churn: Churn) -> None:
    wanted = {(team, name) for team, names in churn.names.items() for name in names}

    def missing() -> int:
        sights = on.sights
        done = min(sights.ready(wanted), sights.answered(wanted))
        return len(wanted) - done + len(set(sights.present()) - wanted)

    on.until("not as declared", missing, lambda left: left == 0, within=SETTLES)


def _at_rest(on: Stage, audit: Audit) -> list[str]:
    """What was written though nothing happened: after the Events of what came before are stored."""
    on.pause(10.0, "coming to rest")
    mark, since = audit.mark(), on.admin.last()
    on.pause(REST, "at rest")
    platform = [call for call in on.admin.requests(since) if call["operation"] in ("create", "update", "delete")]
    return [str(each) for each in audit.writes(mark)] + [f"{call['operation']} {call['slug']}" for call in platform]


def _tell(
    progress: Progress,
    given: argparse.Namespace,
    readings: Readings,
    churn: Churn,
    *,
    trends: dict[str, Trend],
    stirrings: list[str],
) -> None:
    happened = ", ".join(f"{count} {what}" for what, count in sorted(churn.done.items()))
    progress.say(f"{readings.all[-1].at / 60:.1f} minutes, {given.workloads} Workloads; {happened}; seed {given.seed}")
    for name, unit in UNITS.items():
        progress.say(curve.line(name, unit, readings.points(name)))
    for name, each in trends.items():
        progress.say(f"{name} {each}")
    progress.say(f"writes in {REST:.0f} s of rest: {len(stirrings)} {stirrings[:10] or ''}")


def _write(seconds: float, readings: Readings, churn: Churn, trends: dict[str, Trend], stirrings: list[str]) -> None:
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"soak-{datetime.now(UTC):%Y%m%d-%H%M%S}.json"
    found = {
        "seconds": seconds,
        "changes": dict(churn.done),
        "trends": {name: {**asdict(each), "grows": each.grows} for name, each in trends.items()},
        "writes_at_rest": stirrings,
        "readings": readings.shown(),
    }
    path.write_text(json.dumps(found, indent=1) + "\n")
    named = {f"{name} {unit}".strip(): readings.points(name) for name, unit in UNITS.items()}
    path.with_suffix(".svg").write_text(curve.svg(named))


if __name__ == "__main__":
    sys.exit(main())
