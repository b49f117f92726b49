"""The status: what is written is what is read back, and nothing that is stored can break the reader."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferencekey_operator.api.workload import (
    AppliedField,
    Condition,
    Drift,
    DriftClass,
    DriftField,
    EndpointStatus,
    HandledApproval,
    OnDrift,
    Readiness,
    WorkloadStatus,
)
from inferencekey_operator.errors import Reason

NOW = datetime(2026, 3, 2, 10, 41, 32, tzinfo=UTC)
TEXT = st.text(max_size=8)
OPTIONAL = st.none() | TEXT
MOMENTS = st.integers(0, 4_000_000_000).map(lambda second: datetime.fromtimestamp(second, UTC))

CONDITIONS = st.builds(
    Condition,
    type=TEXT,
    status=st.sampled_from(["True", "False", "Unknown"]),
    reason=TEXT,
    message=TEXT,
    last_transition_time=MOMENTS,
    observed_generation=st.integers(-1, 2**40),
)
DRIFTS = st.builds(
    Drift,
    drift_class=st.none() | st.sampled_from(DriftClass),
    policy=st.none() | st.sampled_from(OnDrift),
    summary=OPTIONAL,
    fields=st.lists(st.builds(DriftField, field=TEXT, declared=OPTIONAL, live=OPTIONAL), max_size=3),
    omitted=st.integers(0, 9),
    since=st.none() | MOMENTS,
    plan_id=OPTIONAL,
)
STATUSES = st.builds(
    WorkloadStatus,
    observed_generation=st.integers(-1, 9),
    conditions=st.lists(CONDITIONS, max_size=3),
    workload_id=OPTIONAL,
    platform_url=OPTIONAL,
    project_slug=OPTIONAL,
    workload_slug=OPTIONAL,
    endpoint=st.builds(EndpointStatus, url=OPTIONAL, config_map_name=OPTIONAL),
    readiness=st.builds(Readiness, phase=OPTIONAL, step=OPTIONAL, message=OPTIONAL),
    drift=DRIFTS,
    adopted=st.none() | st.booleans(),
    plans_applied=st.integers(0, 9),
    last_applied=st.lists(st.builds(AppliedField, field=TEXT, declared=TEXT, answered=OPTIONAL), max_size=3),
    last_handled_approval=st.none() | st.builds(HandledApproval, plan_id=TEXT, result=TEXT),
    last_handled_reconcile_at=OPTIONAL,
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(
    ["observedGeneration", "conditions", "workloadId", "endpoint", "drift", "adopted", "lastApplied", "other"]
)

FULL = WorkloadStatus(
    observed_generation=3,
    conditions=(
        Condition(
            type="Ready",
            status="True",
            reason=Reason.READY,
            message="Serving.",
            last_transition_time=NOW,
            observed_generation=3,
        ),
    ),
    workload_id="wl_1",
    platform_url="https://api.inferencekey.com",
    project_slug="prod",
    workload_slug="support-bot",
    endpoint=EndpointStatus(url="https://x/endpoint/prod/support-bot", config_map_name="support-bot-endpoint"),
    readiness=Readiness(phase="ready", step=None, message="serving"),
    drift=Drift(
        drift_class=DriftClass.OUT_OF_BAND,
        policy=OnDrift.DRY_RUN,
        summary="model",
        fields=(DriftField(field="model", declared="llama-3", live="llama-3-70b"),),
        omitted=2,
        since=NOW,
        plan_id="7f3a91c2d4e5f6017f3a91c2d4e5f601",
    ),
    adopted=False,
    plans_applied=1,
    last_applied=(AppliedField(field="model", declared="aa", answered="bb"),),
    last_handled_approval=HandledApproval(plan_id="7f3a91c2d4e5f6017f3a91c2d4e5f601", result="Applied"),
    last_handled_reconcile_at="now",
)


def test_the_wire_form_is_the_one_that_the_documentation_shows() -> None:
    """camelCase, platformURL and class as they are known, times as Kubernetes writes them."""
    assert FULL.to_wire() == {
        "observedGeneration": 3,
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "reason": "Ready",
                "message": "Serving.",
                "lastTransitionTime": "2026-03-02T10:41:32Z",
                "observedGeneration": 3,
            }
        ],
        "workloadId": "wl_1",
        "platformURL": "https://api.inferencekey.com",
        "projectSlug": "prod",
        "workloadSlug": "support-bot",
        "endpoint": {"url": "https://x/endpoint/prod/support-bot", "configMapName": "support-bot-endpoint"},
        "readiness": {"phase": "ready", "message": "serving"},
        "drift": {
            "class": "OutOfBand",
            "policy": "DryRun",
            "summary": "model",
            "fields": [{"field": "model", "declared": "llama-3", "live": "llama-3-70b"}],
            "omitted": 2,
            "since": "2026-03-02T10:41:32Z",
            "planId": "7f3a91c2d4e5f6017f3a91c2d4e5f601",
        },
        "adopted": False,
        "plansApplied": 1,
        "lastApplied": [{"field": "model", "declared": "aa", "answered": "bb"}],
        "lastHandledApproval": {"planId": "7f3a91c2d4e5f6017f3a91c2d4e5f601", "result": "Applied"},
        "lastHandledReconcileAt": "now",
    }


def test_an_empty_status_says_only_that_nobody_has_looked() -> None:
    """What is unset is left out, except that -1 is what keeps a new object from looking finished."""
    assert WorkloadStatus().to_wire() == {"observedGeneration": -1}
    assert WorkloadStatus(drift=Drift(policy="Warn")).to_wire()["drift"] == {"policy": "Warn"}


@given(STATUSES)
def test_what_is_written_is_what_is_read_back(status: WorkloadStatus) -> None:
    """A status survives its way over the API server whole, whatever it holds."""
    assert WorkloadStatus.parse(json.loads(json.dumps(status.to_wire()))) == status


@given(st.dictionaries(KEYS, JSON, max_size=4) | JSON)
def test_no_stored_status_raises(stored: Any) -> None:
    """Whatever stands there, a status comes out of it."""
    assert isinstance(WorkloadStatus.parse(stored), WorkloadStatus)


@given(st.sampled_from(["conditions", "drift", "lastApplied", "plansApplied"]), JSON)
def test_a_part_that_cannot_be_read_does_not_cost_the_pinned_identity(part: str, value: Any) -> None:
    """One strange value is passed over alone: what is pinned, and the recorded id, stay."""
    status = WorkloadStatus.parse({"workloadId": "wl_1", "workloadSlug": "support-bot", part: value})

    assert (status.workload_id, status.workload_slug) == ("wl_1", "support-bot")


def test_a_drift_class_of_a_later_release_counts_as_no_drift() -> None:
    """After a step back to this release, its own verdict replaces what it cannot read."""
    status = WorkloadStatus.parse({"workloadId": "wl_1", "drift": {"class": "Sideways", "policy": "Warn"}})

    assert status.drift == Drift()
    assert status.workload_id == "wl_1"


@pytest.mark.parametrize(
    "drift",
    [
        {"class": "Sideways", "policy": "Warn"},
        {"since": "0000-01-01T00:00:00Z"},
        {"since": "0001-01-01T00:00:00+05:00"},
        {"since": "9999-12-31T23:59:59-05:00"},
    ],
)
def test_what_cannot_be_read_is_kept_to_be_replaced(drift: dict[str, Any]) -> None:
    """The API server stores all of these; what is written next must know what there is to take away."""
    assert WorkloadStatus.read({"workloadId": "wl_1", "drift": drift}) == (
        WorkloadStatus(workload_id="wl_1"),
        {"drift": drift},
    )
    assert WorkloadStatus.read({"workloadId": "wl_1"})[1] == WorkloadStatus.read(None)[1] == {}


def test_times_are_utc_and_whole_seconds_from_the_start() -> None:
    """A condition built from the clock equals the one that comes back from the API server."""
    clock = datetime(2026, 3, 2, 12, 41, 32, 987654, tzinfo=timezone(timedelta(hours=2)))

    condition = replace(FULL.conditions[0], last_transition_time=clock)

    assert condition == FULL.conditions[0]
    assert condition.last_transition_time.microsecond == 0


def test_a_time_without_a_zone_is_refused_where_it_is_made() -> None:
    """A naive time would be somebody's local one."""
    with pytest.raises(ValueError, match="timezone"):
        replace(FULL.conditions[0], last_transition_time=datetime(2026, 3, 2))  # noqa: DTZ001


def test_a_value_cannot_be_changed() -> None:
    """Statuses are values: a new one is made with dataclasses.replace."""
    with pytest.raises(AttributeError):
        FULL.workload_id = "wl_2"  # type: ignore[misc]
