"""From the steps of a run that failed to the few that it takes.

Leaves out ever smaller stretches of steps, as long as the same invariant breaks. The seed of jitter and latency stays.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from chaos.machine import Outcome, run

Run = Callable[[Outcome], Outcome]


def shrunk(failed: Outcome, seconds: float, *, tried: Callable[[Outcome], None] = lambda _: None) -> Outcome:
    """The smallest outcome of the same kind that is found in that time."""
    best, deadline = failed, time.monotonic() + seconds
    size = max(len(best.steps) // 2, 1)
    while size and time.monotonic() < deadline:
        smaller = _without_some(best, size, deadline, tried)
        if smaller is None:
            size //= 2
        else:
            best = smaller
            size = min(size, max(len(best.steps) // 2, 1))
    return best


def _without_some(failed: Outcome, size: int, deadline: float, tried: Callable[[Outcome], None]) -> Outcome | None:
    """The first outcome with `size` steps less that fails in the same way."""
    for start in range(len(failed.steps) - size, -1, -size):
        if time.monotonic() > deadline:
            return None
        outcome = run(failed.seed, [*failed.steps[:start], *failed.steps[start + size :]], failed.shards)
        tried(outcome)
        if outcome.kinds & failed.kinds:
            return outcome
    return None
