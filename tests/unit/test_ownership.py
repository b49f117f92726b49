"""Whose a workload is that carries our slug: the record of a creation, the row's time, and how far a list may lag."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferencekey_operator.api.status import Creation
from inferencekey_operator.inferencekey import wire
from inferencekey_operator.inferencekey.listing import Reader
from inferencekey_operator.plan.ownership import (
    CLOCK_STEP,
    IN_TIME,
    Origin,
    may_be_younger,
    origin,
    resembles,
    sent_hash,
)
from unit.builders import NOW, a_live

OURS, FOUND, DOUBT = Origin.OURS, Origin.FOUND, Origin.DOUBT
LAG = 40.0
DECLARED = {"name": "support-bot", "backend": "vllm", "model_name": "llama-3"}
RECORD = Creation(time=NOW, sent=sent_hash(DECLARED))
UNDATED = replace(RECORD, time=None)
THEIRS = {"model_name": "another"}


def made(seconds: float | None, **fields: Any) -> wire.LiveWorkload:
    """A row that was made so many seconds after the record, by the platform's clock."""
    return a_live(created_at=None if seconds is None else NOW + timedelta(seconds=seconds), **fields)


CASES: list[tuple[str, Creation | None, wire.LiveWorkload, bool, Origin]] = [
    ("no creation is under way", None, made(5), False, FOUND),
    ("no creation, though this process sent one before", None, made(5), True, FOUND),
    ("made after the record", RECORD, made(5), False, OURS),
    ("in the same second", RECORD, made(0), False, OURS),
    ("Date has whole seconds: a second before is the same moment", RECORD, made(-CLOCK_STEP), False, OURS),
    ("a little older: the list before may have lagged", RECORD, made(-1.5), False, DOUBT),
    ("as old as a list may lag", RECORD, made(-LAG), False, DOUBT),
    ("older than any lag: that list would have shown it, so the clocks differ", RECORD, made(-LAG - 1), False, OURS),
    ("a platform's clock that is an hour behind that of its Date", RECORD, made(-3600), False, OURS),
    ("made long after: what is sent is carried out soon, or never", RECORD, made(3600), False, DOUBT),
    ("the last moment that is soon", RECORD, made(IN_TIME * LAG), False, OURS),
    ("long after, and this process sent it a moment ago: the clocks differ", RECORD, made(3600), True, OURS),
    ("of unknown age", RECORD, made(None), False, OURS),
    ("the list before had no Date", UNDATED, made(5), False, OURS),
    ("no Date, and a row of any age", UNDATED, made(-20), False, OURS),
    ("made after the record, of another model", RECORD, made(5, **THEIRS), False, DOUBT),
    ("of unknown age and another model", RECORD, made(None, **THEIRS), False, DOUBT),
    ("older than any lag, of another model", RECORD, made(-3600, **THEIRS), False, DOUBT),
    ("a little older, though this process sent it a moment ago", RECORD, made(-20), True, DOUBT),
    ("that, and of another model", RECORD, made(-20, **THEIRS), True, DOUBT),
    ("after the record, sent here, of another model", RECORD, made(5, **THEIRS), True, DOUBT),
]


@pytest.mark.parametrize(("why", "creation", "row", "sent_here", "expected"), CASES, ids=[case[0] for case in CASES])
def test_origin(why: str, creation: Creation | None, row: wire.LiveWorkload, sent_here: bool, expected: Origin) -> None:
    """Only the platform's times are compared, and only where they can say something."""
    assert origin(creation, row, lag=LAG, sent_here=sent_here) is expected, why


@pytest.mark.parametrize("text", ["2026-03-02T10:41:12", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00", None, 7, "x"])
def test_a_time_that_says_nothing_is_no_age(text: object) -> None:
    """Without a zone, or a default of a database: the row is of unknown age, not older than the record."""
    row = {"id": "wl_1", "slug": "support-bot", "name": "support-bot", "backend": "vllm", "model_name": "llama-3"}
    (read,) = Reader().read(wire.json.dumps([{**row, "created_at": text}]).encode()).workloads
    assert read.created_at is None
    assert origin(RECORD, read, lag=LAG) is OURS


@pytest.mark.parametrize(
    ("fields", "alike"),
    [
        ({}, True),
        ({"name": " Support-Bot "}, True),
        ({"backend": "VLLM"}, True),
        ({"model_name": "Llama-3"}, True),
        ({"description": "another", "worker_id": "wrk_1"}, True),
        ({"name": "other"}, False),
        ({"backend": "sglang"}, False),
        ({"model_name": ""}, False),
    ],
)
def test_resembles(fields: dict[str, str], alike: bool) -> None:
    """Name, backend and model, however a platform spells them; what else it has decides nothing."""
    assert resembles(RECORD, a_live(**fields)) is alike
    assert resembles(Creation(time=NOW), a_live(**fields))


@pytest.mark.parametrize(
    ("creation", "seconds", "answer"),
    [(RECORD, 0, True), (RECORD, -1, True), (RECORD, -2, False), (RECORD, None, True), (UNDATED, -2, True)],
)
def test_younger(creation: Creation, seconds: float | None, answer: bool) -> None:
    """As far as the platform's times say."""
    assert may_be_younger(creation, made(seconds), clocks_differ_by=CLOCK_STEP) is answer


TIMES = st.none() | st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
RECORDS = st.builds(Creation, time=TIMES, sent=st.sampled_from([None, RECORD.sent, "0" * 16]))
ROWS = st.builds(a_live, created_at=TIMES, model_name=st.sampled_from(["llama-3", "another"]))


@given(RECORDS, ROWS, st.floats(0.0, 3600.0), st.booleans())
def test_only_a_record_makes_a_row_ours(creation: Creation, row: wire.LiveWorkload, lag: float, here: bool) -> None:
    """Without one nothing is; with one, only what has the name, the backend and the model that were sent."""
    assert origin(None, row, lag=lag, sent_here=here) is FOUND
    whose = origin(creation, row, lag=lag, sent_here=here)
    assert whose is not FOUND
    if not resembles(creation, row):
        assert whose is DOUBT
    elif creation.time is None or row.created_at is None:
        assert whose is OURS
    else:
        after = (row.created_at - creation.time).total_seconds()
        hidden, soon = -lag <= after < -CLOCK_STEP, here or after <= IN_TIME * lag
        assert whose is (OURS if soon and not hidden else DOUBT)


@given(RECORDS, ROWS, st.integers(-3 * 10**8, 3 * 10**8), st.floats(0.0, 600.0))
def test_clocks_that_move_together_decide_alike(
    creation: Creation, row: wire.LiveWorkload, seconds: int, lag: float
) -> None:
    """The platform's clock may be wrong by any amount: only the difference of two of its times counts.

    A record holds whole seconds.
    """
    step = timedelta(seconds=seconds)
    moved = replace(creation, time=creation.time and creation.time + step)
    moved_row = replace(row, created_at=row.created_at and row.created_at + step)
    assert origin(creation, row, lag=lag) is origin(moved, moved_row, lag=lag)
