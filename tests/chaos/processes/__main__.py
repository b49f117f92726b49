"""`make chaos-processes`: rounds of one seed, until something breaks, enough faults were made, or time is over.

Prints a live line on a terminal and plain lines anywhere else. What breaks is printed with what happened in its round,
the operators' last words, and the command that plays the same plan again. Leaves no process behind.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from chaos.processes.people import People
from chaos.processes.plan import OPERATORS, planned
from chaos.processes.rounds import Outcome, Rounds, bound
from chaos.processes.stage import INTERVAL, Stage, a_stage
from controlplane.progress import Progress


@dataclass
class Sum:
    """Of all rounds so far."""

    seed: int
    began: float = field(default_factory=time.monotonic)
    rounds: int = 0
    acts: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    converged: list[float] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        """One more round."""
        self.rounds += 1
        self.acts += outcome.acts
        self.faults += outcome.faults
        self.converged.append(outcome.converged_in)

    def __str__(self) -> str:
        seconds = time.monotonic() - self.began
        times = self.converged or [0.0]
        slowest = f", converged in {median(times):.1f} s, at most {max(times):.1f}"
        return (
            f"seed {self.seed}, {self.rounds} rounds, {self.acts} acts, {self.faults.total()} faults{slowest}, "
            f"{seconds:.0f} s"
        )

    def by_kind(self) -> str:
        """How many faults of each kind."""
        return ", ".join(f"{kind} {count}" for kind, count in sorted(self.faults.items()))


def main() -> int:
    """0 when nothing broke, 1 when something did."""
    given = _arguments()
    progress = Progress(sys.stdout, plain_seconds=10.0)
    total = Sum(given.seed)
    for number in (signal.SIGINT, signal.SIGTERM):  # also where a shell had the first one ignored
        signal.signal(number, signal.default_int_handler)
    try:
        with TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True) as folder:
            return asyncio.run(_play(given, Path(folder), progress, total))
    except KeyboardInterrupt:
        progress.say(f"stopped: {total}")
        return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make chaos-processes", description="Faults of whole processes, in rounds.")
    parser.add_argument("--seconds", type=float, default=None, help="how long (default: until it is stopped)")
    parser.add_argument("--faults", type=int, default=None, help="how many faults, at least")
    parser.add_argument("--seed", type=int, default=random.randrange(10**9), help="which plans (default: any)")
    parser.add_argument("--first", type=int, default=0, help="the first round of the seed (default: 0)")
    parser.add_argument("--interval", type=float, default=INTERVAL, help=f"of the operators (default: {INTERVAL})")
    parser.add_argument("--shards", type=int, default=1, help="that both operators share out (default: 1)")
    return parser.parse_args()


async def _play(given: argparse.Namespace, folder: Path, progress: Progress, total: Sum) -> int:
    progress.say(f"seed {given.seed}: starting etcd, the API server, the platform and two operators; Ctrl-C ends it")
    async with a_stage(folder, given.interval, given.shards) as (stage, api):
        people = People(api, stage.admin)
        await asyncio.to_thread(people.settle)
        rounds, number = Rounds(stage, people), given.first
        total.began = time.monotonic()
        while not _enough(given, total):
            people.begin_round((await rounds.look()).workloads)
            outcome = await rounds.play(planned(given.seed, number))
            slowest = outcome.converged_in > max(total.converged, default=given.interval)
            total.add(outcome)
            if outcome.wrong:
                _report(outcome, stage, progress, total)
                return 1
            if outcome.slow or slowest:
                progress.say(f"round {number} took {outcome.converged_in:.1f} s, at last for {outcome.last}")
            await people.tidy((await rounds.look()).workloads)
            progress.update(f"{total}: {total.by_kind()}")
            number += 1
    progress.say(f"nothing broke: {total}: {total.by_kind()}")
    return 0


def _enough(given: argparse.Namespace, total: Sum) -> bool:
    late = given.seconds is not None and time.monotonic() - total.began >= given.seconds
    return late or (given.faults is not None and total.faults.total() >= given.faults)


def _report(failed: Outcome, stage: Stage, progress: Progress, total: Sum) -> None:
    for line in failed.history:
        progress.say(line)
    for name in OPERATORS:
        progress.say(f"{name} wrote, at last:\n{stage.children[name].tail()}")
    plan = failed.plan
    progress.say(
        f"round {plan.number} of seed {plan.seed} broke, in which the bound was {bound(stage.interval):.0f} s:"
    )
    for each in failed.wrong:
        progress.say(f"  {each}")
    progress.say(str(total))
    again = f"SEED={plan.seed} FIRST={plan.number} INTERVAL={stage.interval:g} SHARDS={stage.shards}"
    progress.say(f"to play its plan again: make chaos-processes {again}")


if __name__ == "__main__":
    sys.exit(main())
