"""Whose a workload is that carries our slug: decided from the record of a creation, platform time with platform time.

Pure. The record (`status.creation`) is written before the POST, after a list showed the slug absent. So a workload of
that slug which is there afterwards is ours, unless that list lagged and did not show it yet, or someone else took the
slug while our creation was on its way. Our own clock is never compared with the platform's.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

from inferencekey_operator.api.status import Creation
from inferencekey_operator.inferencekey.wire import LiveWorkload
from inferencekey_operator.plan.drift import fingerprint

CLOCK_STEP = 1.0
"""Seconds by which two readings of the platform's clock may be in the wrong order: `Date` has whole seconds."""
IN_TIME = 3.0
"""How many times the lag after its record a workload may have been made, to count as made by that creation."""
CLOCKS_DIFFER_BY = 900.0
"""Seconds by which `Date` and `created_at` may differ where they are of two clocks, for what is only announced."""


class Origin(Enum):
    """Who made a workload."""

    OURS = "ours"
    """This Workload's own: its id is recorded, or the record of a creation says so."""
    FOUND = "found"
    """Someone else made it."""
    DOUBT = "doubt"
    """A creation of ours may have made it, or someone else at the same time: counts as found, and is announced."""


def sent_hash(declared: Mapping[str, Any]) -> str:
    """Hash of what a creation sends and every platform keeps: name, backend and model, however they are spelled."""
    return _hash(declared.get("name"), declared.get("backend"), declared.get("model_name"))


def resembles(creation: Creation, row: LiveWorkload) -> bool:
    """Whether a row has the name, the backend and the model that the creation sent."""
    return creation.sent is None or creation.sent == _hash(row.name, row.backend, row.model_name)


def may_be_younger(creation: Creation, row: LiveWorkload, *, clocks_differ_by: float = CLOCKS_DIFFER_BY) -> bool:
    """Whether a row may have been made after the record, as far as the platform's times say."""
    if creation.time is None or row.created_at is None:
        return True
    return (creation.time - row.created_at).total_seconds() <= clocks_differ_by


def surely_younger(creation: Creation, row: LiveWorkload) -> bool:
    """Whether both times are known, and the row was made after the record."""
    known = creation.time is not None and row.created_at is not None
    return known and may_be_younger(creation, row, clocks_differ_by=CLOCK_STEP)


def origin(creation: Creation | None, row: LiveWorkload, *, lag: float, sent_here: bool = False) -> Origin:
    """Who made the row with our slug, whose id is not recorded.

    Args:
        creation: the record; None where no creation is under way.
        row: the row, of a list that is newer than the record.
        lag: seconds that a list may lag behind a write.
        sent_here: whether this very process sent the creation a short time ago, and saw the row appear after it.
    """
    if creation is None:
        return Origin.FOUND
    if _may_have_been_hidden(creation, row, lag) or not (sent_here or _in_time(creation, row, lag)):
        return Origin.DOUBT
    return Origin.OURS if resembles(creation, row) else Origin.DOUBT


def _in_time(creation: Creation, row: LiveWorkload, lag: float) -> bool:
    """Whether a row was made soon enough after the record: what is sent is carried out soon, or never."""
    if creation.time is None or row.created_at is None:
        return True
    return (row.created_at - creation.time).total_seconds() <= IN_TIME * lag


def _may_have_been_hidden(creation: Creation, row: LiveWorkload, lag: float) -> bool:
    """Whether the list before the creation may have lacked an older row since it lagged.

    What is older than the lag that list would have shown: if it did not, the two times are of different clocks, and
    say nothing.
    """
    if creation.time is None or row.created_at is None:
        return False
    older = (creation.time - row.created_at).total_seconds()
    return CLOCK_STEP < older <= lag


def _hash(*texts: Any) -> str:
    return fingerprint([text.strip().casefold() if isinstance(text, str) else text for text in texts])
