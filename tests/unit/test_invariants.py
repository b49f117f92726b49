"""The rules that every status is held to notice what breaks them."""

from __future__ import annotations

from typing import Any

import pytest

from unit.builders import a_workload, at_rest
from unit.invariants import broken_rules

REST = at_rest(a_workload()).status.to_wire()
PINNED = {key: REST[key] for key in ("platformURL", "projectSlug", "workloadSlug")}
RECORD = {"time": "2026-03-02T10:41:32Z", "sent": "0123456789abcdef"}
UNKNOWN = {key: value for key, value in REST.items() if key not in {"workloadId", "adopted", "lastApplied"}}


def creation_rules(status: dict[str, Any]) -> list[str]:
    """Those that are broken, as far as they are about the record of a creation and the operator."""
    words = ("creation", "duplicate", "Lease")
    return [rule for rule in broken_rules(status) if any(word in rule for word in words)]


@pytest.mark.parametrize(
    ("why", "status", "broken"),
    [
        ("no record", REST, 0),
        ("a record", UNKNOWN | {"creation": RECORD}, 0),
        ("one without the platform's time", UNKNOWN | {"creation": {"sent": RECORD["sent"]}}, 0),
        ("beside an id", REST | {"creation": RECORD}, 0),
        ("without the identity", {k: v for k, v in UNKNOWN.items() if k not in PINNED} | {"creation": RECORD}, 1),
        ("without what was sent", UNKNOWN | {"creation": {"time": RECORD["time"]}}, 1),
        ("with half a second", UNKNOWN | {"creation": RECORD | {"time": "2026-03-02T10:41:32.5Z"}}, 1),
        ("beside a duplicate", UNKNOWN | {"creation": RECORD, "duplicateWorkloadId": "wl_2"}, 1),
        ("a duplicate beside an id", REST | {"duplicateWorkloadId": "wl_2"}, 0),
        ("an operator", REST | {"operator": "system/inferencekey-operator"}, 0),
        ("one without a namespace", REST | {"operator": "inferencekey-operator"}, 1),
        ("one without end", REST | {"operator": f"system/{'x' * 300}"}, 1),
    ],
)
def test_the_record_of_a_creation(why: str, status: dict[str, Any], broken: int) -> None:
    """It stands with the identity, without a duplicate; the operator is named by its Lease."""
    assert len(creation_rules(status)) == broken, why


@pytest.mark.parametrize(("digits", "fits"), [(32, True), (16, False), (24, False), (64, False)])
def test_the_id_of_a_plan(digits: int, fits: bool) -> None:
    """32 hex digits."""
    status = REST | {"drift": {"planId": "0" * digits}}
    assert any("is no plan id" in rule for rule in broken_rules(status)) is not fits
