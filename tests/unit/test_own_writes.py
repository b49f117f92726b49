"""What our own writes made of a project, laid over lists that lag behind them: ours, stale, and those of others."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferencekey_operator.inferencekey.own_writes import KEPT, OwnWrites
from inferencekey_operator.inferencekey.wire import LiveWorkload
from unit.scripted_platform import row

LAG = 40.0
A = row("a")
OLD, NEW, THEIRS = row("a", model_name="old"), row("a", model_name="new"), row("a", model_name="theirs")


def shown(writes: OwnWrites, began: float, *listed: LiveWorkload) -> list[LiveWorkload]:
    """The rows of a list, corrected."""
    rows = {each.id: each for each in listed}
    writes.lay_over(rows, began)
    return list(rows.values())


def after(was: LiveWorkload | None, row: LiveWorkload | None, at: float = 100.0) -> OwnWrites:
    """One write, answered at `at`: of `was` it made `row`."""
    writes = OwnWrites(LAG)
    writes.wrote("wl_a", row, at, before=was)
    return writes


Case = tuple[str, LiveWorkload | None, LiveWorkload | None, list[LiveWorkload], list[LiveWorkload]]
CASES: list[Case] = [
    ("created, and not listed yet", None, A, [], [A]),
    ("created, and listed", None, A, [A], [A]),
    ("created, and changed by someone", None, OLD, [THEIRS], [THEIRS]),
    ("updated, and listed as before", OLD, NEW, [OLD], [NEW]),
    ("updated, and listed as it is", OLD, NEW, [NEW], [NEW]),
    ("updated, and changed by someone", OLD, NEW, [THEIRS], [THEIRS]),
    ("updated, and not listed", OLD, NEW, [], [NEW]),
    ("deleted, and still listed", A, None, [A], []),
    ("deleted, and gone", A, None, [], []),
    ("deleted, and listed as someone left it", A, None, [THEIRS], []),
]


@pytest.mark.parametrize("case", CASES, ids=[case[0] for case in CASES])
@pytest.mark.parametrize("began", [95.0, 100.0, 139.9])
def test_a_list_that_may_lag(case: Case, began: float) -> None:
    """It does not contradict what was written; a state that is neither of ours is someone else's, and believed."""
    why, was, row, listed, expected = case
    assert shown(after(was, row), began, *listed) == expected, why


@pytest.mark.parametrize("case", CASES, ids=[case[0] for case in CASES])
def test_a_list_that_cannot_lag_is_believed(case: Case) -> None:
    """From the lag on, whatever it shows."""
    why, was, row, listed, _ = case
    assert shown(after(was, row), 100.0 + LAG, *listed) == listed, why


def test_replicas_that_take_turns() -> None:
    """One lags and one does not: however the lists alternate, what was written stands."""
    writes = after(OLD, NEW)
    for began in range(100, 139):
        assert shown(writes, began, OLD if began % 2 else NEW) == [NEW]


def test_several_updates_in_a_row() -> None:
    """A replica may show the state before any of them."""
    first, second = row("a", model_name="1"), row("a", model_name="2")
    writes = after(OLD, first)
    writes.wrote("wl_a", second, 110.0, before=first)
    for stale in (OLD, first, second):
        assert shown(writes, 120.0, stale) == [second]
    writes.wrote("wl_a", None, 130.0, before=second)
    for stale in (OLD, first, second):
        assert shown(writes, 160.0, stale) == []


def test_someone_elses_change_is_believed_at_once_and_stays() -> None:
    """After it was shown, a replica that lags shows what we wrote: that is the past by then."""
    writes = after(OLD, NEW)
    assert shown(writes, 105.0, OLD) == [NEW]
    assert shown(writes, 110.0, THEIRS) == [THEIRS]
    for stale in (OLD, NEW, THEIRS):
        assert shown(writes, 115.0, stale) == [THEIRS]
    assert shown(writes, 120.0, row("a", model_name="theirs again")) == [row("a", model_name="theirs again")]
    assert shown(writes, 125.0, THEIRS) == [row("a", model_name="theirs again")]


def test_other_workloads_are_left_alone() -> None:
    """A write says nothing of them."""
    assert shown(after(A, None), 110.0, A, row("b")) == [row("b")]


def test_how_long_a_list_may_lack_them() -> None:
    """Whether a list has to be read, though its bytes are those of the one before."""
    writes = after(None, A)
    assert [writes.pending(began) for began in (90.0, 139.9, 140.0)] == [True, True, False]
    assert not OwnWrites(LAG).pending(0.0)


@pytest.mark.parametrize(("was", "row"), [(None, A), (OLD, NEW), (A, None)])
def test_when_a_slug_was_written(was: LiveWorkload | None, row: LiveWorkload | None) -> None:
    """Whatever became of its workload; for as long as the write is kept."""
    writes = after(was, row)
    assert (writes.of_slug("a"), writes.of_slug("b")) == (100.0, float("-inf"))
    writes.lost("b", 101.0)
    assert writes.of_slug("b") == 101.0
    shown(writes, 101.0 + LAG + KEPT)
    assert (writes.of_slug("a"), writes.of_slug("b")) == (float("-inf"), float("-inf"))


def test_what_cannot_matter_any_more_is_forgotten() -> None:
    """Beyond the lag and the longest that a list may take."""
    writes = after(None, A)
    shown(writes, 100.0 + LAG + KEPT - 0.1)
    assert len(writes._writes) == 1
    shown(writes, 100.0 + LAG + KEPT)
    assert len(writes._writes) == 0


# -- whatever happens ----------------------------------------------------------------------------------------------


@dataclass
class Platform:
    """The states of one workload over time, and who made them."""

    writes: OwnWrites = field(default_factory=lambda: OwnWrites(LAG))
    states: list[tuple[float, LiveWorkload | None]] = field(default_factory=lambda: [(-1000.0, None)])
    believed: LiveWorkload | None = None

    @property
    def now(self) -> LiveWorkload | None:
        """As it is."""
        return self.states[-1][1]

    def becomes(self, at: float, state: LiveWorkload | None, *, ours: bool) -> None:
        """Someone writes, or we do and are answered."""
        self.states.append((at, state))
        if ours:
            self.writes.wrote("wl_a", state, at, before=self.believed)
            self.believed = state

    def listed(self, at: float, lag: float) -> LiveWorkload | None:
        """What a replica shows that lags so far behind."""
        return [state for since, state in self.states if since <= at - lag][-1]

    def lists(self, at: float, lag: float) -> None:
        """A list that began then is read."""
        state = self.listed(at, lag)
        rows = {} if state is None else {state.id: state}
        self.writes.lay_over(rows, at)
        self.believed = rows.get("wl_a")


EVENTS = st.lists(
    st.tuples(st.floats(0.1, 30.0), st.sampled_from(["ours", "list"]), st.floats(0.0, LAG - 0.1), st.booleans()),
    max_size=20,
)


@given(EVENTS)
def test_a_project_that_nobody_else_writes_is_as_we_wrote_it(events: list[tuple[float, str, float, bool]]) -> None:
    """However much each list lags, within the lag that is allowed for: no list takes back what was written."""
    platform, at, number, gone = Platform(), 0.0, 0, False
    for pause, what, lag, deletes in events:
        at += pause
        if what == "list":
            platform.lists(at, lag)
        elif not gone:
            number += 1
            gone = deletes and platform.now is not None
            platform.becomes(at, None if gone else row("a", model_name=str(number)), ours=True)
        assert platform.believed == platform.now


@given(EVENTS, st.floats(0.1, 30.0), st.floats(0.0, LAG - 0.1))
def test_what_someone_else_wrote_last_is_seen_in_the_end(
    events: list[tuple[float, str, float, bool]], pause: float, lag: float
) -> None:
    """By each list that began after the lag is over, whatever was written before."""
    platform, at = Platform(), 0.0
    for number, (before, what, lags, _) in enumerate(events):
        at += before
        if what == "list":
            platform.lists(at, lags)
        else:
            platform.becomes(at, row("a", model_name=str(number)), ours=True)
    at += pause
    platform.becomes(at, THEIRS, ours=False)

    platform.lists(at + lag + 1e-6, lag)
    assert platform.believed == THEIRS
    platform.lists(at + LAG, lag)
    assert platform.believed == THEIRS


# -- what the platform makes of a write by itself -------------------------------------------------------------------


def stamped(was: LiveWorkload, stamp: str | None) -> LiveWorkload:
    """The row, changed last at that time."""
    return replace(was, updated_at=stamp)


@pytest.mark.parametrize(
    ("listed", "restated", "why"),
    [
        (stamped(THEIRS, "2"), True, "nobody wrote after us, and it is not what was answered"),
        (stamped(OLD, "2"), True, "as it was before, by the platform's own doing"),
        (stamped(THEIRS, "3"), False, "somebody wrote after us"),
        (stamped(OLD, "1"), False, "it lags"),
        (stamped(NEW, "2"), False, "as it was answered"),
        (stamped(THEIRS, None), False, "it does not say"),
    ],
)
@pytest.mark.parametrize("began", [101.0, 150.0])
def test_a_row_that_the_platform_restates(listed: LiveWorkload, restated: bool, why: str, began: float) -> None:
    """By the time of its last change, and whenever it is first listed; then it is believed, also where it looks old."""
    writes = after(stamped(OLD, "1"), stamped(NEW, "2"))
    (seen,) = shown(writes, began, listed)
    assert writes.restated(seen) is restated, why
    if restated:
        assert seen.model_name == listed.model_name


def test_what_a_list_once_showed_as_answered_is_not_restated_later() -> None:
    """Where hands do not count as a change, theirs would pass for the platform's own doing."""
    writes = after(stamped(OLD, "1"), stamped(NEW, "2"))
    shown(writes, 110.0, stamped(NEW, "2"))
    (seen,) = shown(writes, 120.0, stamped(THEIRS, "2"))
    assert not writes.restated(seen)


def test_a_platform_whose_times_stand_still_tells_nothing() -> None:
    """Nor does one that states none, nor a creation, before which there was nothing to compare with."""
    for before, answer in ((stamped(OLD, "2"), "2"), (OLD, None), (stamped(OLD, "1"), None), (None, "2")):
        writes = after(before, stamped(NEW, answer))
        (seen,) = shown(writes, 110.0, stamped(THEIRS, answer))
        assert not writes.restated(seen)


def test_what_is_restated_is_forgotten_with_its_write() -> None:
    """Long after it somebody may change the row at any time."""
    writes = after(stamped(OLD, "1"), stamped(NEW, "2"))
    shown(writes, 100.0 + LAG + KEPT, THEIRS)
    assert not writes.restated(stamped(THEIRS, "2"))
