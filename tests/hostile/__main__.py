"""`make fuzz`: hostile input to each target in turn, with fresh examples, until something breaks or time is over.

Prints a live line on a terminal and plain lines anywhere else. What breaks is printed as the smallest example that
breaks in the same way, with the command that repeats it.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
import traceback
from collections import Counter
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase, Verbosity, given, settings

from controlplane.progress import Progress
from hostile.beside import BESIDE
from hostile.pure import TARGETS, Target

ROUND = {**dict.fromkeys(TARGETS, 200), **dict.fromkeys(BESIDE, 10)}
"""Examples of each target in a round; a round of one seed is the same each time."""


def main() -> int:
    """0 when nothing broke, 1 when something did, 2 for a wrong command line."""
    given = _arguments()
    progress = Progress(sys.stdout, plain_seconds=5.0)
    counts: Counter[str] = Counter()
    began = time.monotonic()
    seed = random.randrange(10**9) if given.seed is None else given.seed
    only = given.seed is not None and given.seconds is None
    progress.say(f"from seed {seed}; Ctrl-C ends it")
    try:
        while given.seconds is None or time.monotonic() - began < given.seconds:
            for name in [given.target] if given.target else ROUND:
                if not _round(name, seed, counts, progress):
                    progress.say(f"to repeat it: make fuzz SEED={seed} TARGET={name}")
                    return 1
                progress.update(f"{_told(counts, began)}; seed {seed}")
            if only:
                break
            seed += 1
    except KeyboardInterrupt:
        pass
    progress.say(f"nothing broke: {_told(counts, began)}")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make fuzz", description="Hostile input to the operator, part by part.")
    parser.add_argument("--seconds", type=float, default=None, help="how long (default: until it is stopped)")
    parser.add_argument("--seed", type=int, default=None, help="the first seed (default: any); alone: only this one")
    parser.add_argument("--target", choices=ROUND, default=None, help="only this one (default: all in turn)")
    return parser.parse_args()


def _round(name: str, seed: int, counts: Counter[str], progress: Progress) -> bool:
    target: Target = (TARGETS | BESIDE)[name]

    @hypothesis.seed(seed)
    @settings(
        max_examples=ROUND[name],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
        verbosity=Verbosity.quiet,
    )
    @given(target.given)
    def check(example: Any) -> None:
        counts[name] += 1
        last[:] = [example]
        target.check(example)

    last: list[Any] = []
    try:
        check()
    except Exception:
        progress.say(f"{name} broke at seed {seed}, with:\n{last[0]!r:.20000}\n{traceback.format_exc()}")
        return False
    return True


def _told(counts: Counter[str], began: float) -> str:
    by_target = ", ".join(f"{name} {count}" for name, count in counts.items())
    return f"{counts.total()} examples ({by_target}) in {time.monotonic() - began:.0f} s"


if __name__ == "__main__":
    sys.exit(main())
