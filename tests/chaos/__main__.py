"""`make chaos`: runs with one seed after the other, until something breaks, time is over, or somebody says stop.

Prints a live line on a terminal and plain lines anywhere else. What breaks is shrunk, and printed with the command
that repeats it.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from dataclasses import dataclass, field

from chaos.machine import COUNT, Outcome, planned, run
from chaos.shrink import shrunk
from controlplane.progress import Progress

HASH_SEED = "0"
SHRINKING = 120.0
"""Seconds for making a failure smaller."""


@dataclass
class Sum:
    """Of all runs so far."""

    began: float = field(default_factory=time.monotonic)
    runs: int = 0
    steps: int = 0
    faults: int = 0
    crashes: int = 0
    writes: int = 0
    hours: float = 0.0

    def add(self, outcome: Outcome) -> None:
        """One more run."""
        self.runs += 1
        self.steps += len(outcome.steps)
        self.faults += outcome.faults
        self.crashes += outcome.crashes
        self.writes += outcome.writes
        self.hours += outcome.seconds / 3600

    def __str__(self) -> str:
        counts = f"{self.runs} runs, {self.steps} steps, {self.faults} faults, {self.crashes} crashes"
        return f"{counts}, {self.writes} platform writes, {self.hours:.1f} h in {time.monotonic() - self.began:.0f} s"


def main() -> int:
    """0 when nothing broke, 1 when something did, 2 for a wrong command line."""
    given = _arguments()
    if os.environ.get("PYTHONHASHSEED") != HASH_SEED:
        again = [sys.executable, "-m", "chaos", *sys.argv[1:]]
        os.execve(sys.executable, again, {**os.environ, "PYTHONHASHSEED": HASH_SEED})  # noqa: S606 - no shell is wanted
    progress, total = Progress(sys.stdout, plain_seconds=5.0), Sum()
    try:
        return _go_on(given, progress, total)
    except KeyboardInterrupt:
        progress.say(f"stopped: {total}")
        return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make chaos", description="Seeded runs of the operator in a world of faults.")
    parser.add_argument("--seconds", type=float, default=None, help="how long (default: until it is stopped)")
    parser.add_argument("--runs", type=int, default=None, help="how many seeds, one after the other")
    parser.add_argument("--seed", type=int, default=None, help="the first seed (default: any); alone: only this one")
    parser.add_argument("--steps", type=int, default=COUNT, help=f"steps of each run (default: {COUNT})")
    parser.add_argument("--shards", type=int, default=1, help="two replicas share so many shards (default: one works)")
    parser.add_argument("--trace", action="store_true", help="print everything that happened in a run that failed")
    return parser.parse_args()


def _go_on(given: argparse.Namespace, progress: Progress, total: Sum) -> int:
    only = given.seed is not None and given.seconds is None and given.runs is None
    seed = given.seed if given.seed is not None else random.randrange(10**9)
    runs = 1 if only else given.runs
    progress.say(f"from seed {seed}; Ctrl-C ends it")
    while (runs is None or total.runs < runs) and not _over(given, total):
        outcome = run(seed, planned(seed, given.steps), given.shards)
        total.add(outcome)
        if outcome.broken:
            _report(outcome, given, progress)
            progress.say(str(total))
            return 1
        progress.update(f"{total}; seed {seed}")
        seed += 1
    progress.say(f"nothing broke: {total}")
    return 0


def _over(given: argparse.Namespace, total: Sum) -> bool:
    return given.seconds is not None and time.monotonic() - total.began >= given.seconds


def _report(failed: Outcome, given: argparse.Namespace, progress: Progress) -> None:
    progress.say(f"seed {failed.seed} broke:")
    for each in failed.broken:
        progress.say(f"  {each}")
    tries = 0

    def tried(outcome: Outcome) -> None:
        nonlocal tries
        tries += 1
        progress.update(f"shrinking: {tries} tries")

    small = shrunk(failed, SHRINKING, tried=tried)
    progress.say(f"{len(small.steps)} of its {len(failed.steps)} steps suffice:")
    for step in small.steps:
        progress.say(f"    {step},")
    for each in small.broken:
        progress.say(f"  {each}")
    if given.trace:
        for line in small.trace:
            progress.say(line)
    more = f" STEPS={given.steps}" if given.steps != COUNT else ""
    more += f" SHARDS={given.shards}" if given.shards != 1 else ""
    progress.say(f"to repeat it: make chaos SEED={failed.seed}{more} (with TRACE=1: and all that happened)")


if __name__ == "__main__":
    sys.exit(main())
