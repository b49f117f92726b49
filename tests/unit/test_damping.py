"""What repeats itself: acted on at once at first, then ever more slowly, never missed, and reported once."""

from __future__ import annotations

import asyncio
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from inferencekey_operator.controller.damping import AT_ONCE, MOST_KEPT, QUIET, WAITS, Damper
from unit.virtual_time import virtual

LONGEST = WAITS[-1]


class Watched:
    """A damper, when something changed, and when that was acted on."""

    def __init__(self) -> None:
        self.damper = Damper()
        self.changes: list[float] = []
        self.actions: list[float] = []
        self.reports: list[float] = []

    def change(self, thing: str = "a") -> None:
        """Once more."""
        now = asyncio.get_running_loop().time()
        self.changes.append(now)
        self.damper.act(thing, lambda: self._note(self.actions), lambda: self._note(self.reports))

    def _note(self, times: list[float]) -> None:
        times.append(asyncio.get_running_loop().time())


@virtual
async def test_a_flood_is_followed_ever_more_slowly_and_reported_once() -> None:
    """A hundred changes a second for ten minutes."""
    seen = Watched()
    for _ in range(6_000):
        seen.change()
        await asyncio.sleep(0.1)
    assert seen.actions[:AT_ONCE] == seen.changes[:AT_ONCE]
    waits = [later - earlier for earlier, later in pairwise(seen.actions[AT_ONCE - 1 :])]
    assert all(wait >= due - 0.001 for wait, due in zip(waits, WAITS, strict=False))
    assert all(wait >= LONGEST - 0.001 for wait in waits[len(WAITS) - 1 :])
    assert len(seen.actions) <= AT_ONCE + len(WAITS) + 600 / LONGEST
    assert len(seen.reports) == 1


@virtual
async def test_what_changes_every_few_seconds_is_reported_too() -> None:
    """Its first waits are over before the next change; later ones are not."""
    seen = Watched()
    for _ in range(200):
        seen.change()
        await asyncio.sleep(3.0)
    assert len(seen.actions) < 60
    assert len(seen.reports) == 1


@virtual
async def test_after_a_minute_of_quiet_all_is_forgotten() -> None:
    """The next change is acted on at once, and another flood is reported again."""
    seen = Watched()
    for _ in range(2):
        for _ in range(100):
            seen.change()
        await asyncio.sleep(LONGEST + QUIET)
        seen.change()
        assert seen.actions[-1] == seen.changes[-1]
        await asyncio.sleep(QUIET)
    assert len(seen.reports) == 2


@virtual
async def test_one_thing_does_not_slow_another_and_little_is_remembered() -> None:
    """Each change of many things is acted on at once; those that are quiet are forgotten."""
    seen = Watched()
    for round_ in range(3):
        for number in range(MOST_KEPT):
            seen.change(f"{round_}-{number}")
        await asyncio.sleep(QUIET)
    assert seen.actions == seen.changes
    assert len(seen.damper._repeated) <= MOST_KEPT


@settings(max_examples=60)
@given(st.lists(st.sampled_from([0.0, 0.01, 0.5, 1.0, 3.0, 29.0, 59.0, 61.0, 200.0]), min_size=1, max_size=60))
def test_whenever_something_changes_an_action_follows(pauses: list[float]) -> None:
    """At the latest after the longest wait; and there are never more than the first few and one for each wait."""

    @virtual
    async def check() -> None:
        seen = Watched()
        for pause in pauses:
            seen.change()
            await asyncio.sleep(pause)
        await asyncio.sleep(LONGEST + 1)
        for change in seen.changes:
            assert any(change <= action <= change + LONGEST for action in seen.actions), change
        for at in seen.actions:
            within = [other for other in seen.actions if at <= other < at + LONGEST]
            assert len(within) <= AT_ONCE + len(WAITS)
        assert len(seen.actions) <= len(seen.changes)

    check()
