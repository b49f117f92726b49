"""What is counted of drift: each difference once when it appears, and once when a write ended it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from prometheus_client import REGISTRY
from prometheus_client.samples import Sample

from inferencekey_operator.api.status import Drift, DriftClass, DriftField
from inferencekey_operator.api.workload import OnDrift, Workload
from inferencekey_operator.inferencekey.wire import LiveWorkload
from inferencekey_operator.plan import conditions
from inferencekey_operator.plan.drift import declared_document
from inferencekey_operator.plan.plan import Plan, decide
from inferencekey_operator.reconcile.drift_metrics import count_found, count_repaired, top
from unit.builders import NOW, a_live, a_situation, a_workload, agreed, redeclared

FOUND, REPAIRED = "inferencekey_drift_found_total", "inferencekey_drift_repaired_total"


class Counts:
    """What moved since this was made."""

    def __init__(self) -> None:
        self._before = self._now()

    def moved(self, name: str) -> dict[str, float]:
        """By class and field."""
        counted = self._now()
        counted.subtract(self._before)
        return {labels: count for (metric, labels), count in counted.items() if metric == name and count}

    def _now(self) -> Counter[tuple[str, str]]:
        return Counter({(s.name, f"{s.labels['class']} {s.labels['field']}"): int(s.value) for s in _drift_samples()})


def _drift_samples() -> list[Sample]:
    samples = [sample for family in REGISTRY.collect() for sample in family.samples]
    return [sample for sample in samples if sample.name in (FOUND, REPAIRED)]


@pytest.fixture
def counted() -> Counts:
    """The counters are the process's, and only ever grow: what moves is looked at."""
    return Counts()


def planned(workload: Workload, live: LiveWorkload | None, policy: OnDrift, **situation: Any) -> Plan:
    """What is decided."""
    return decide(a_situation(workload, live, policy, **situation))


def held(plan: Plan, policy: OnDrift) -> Drift:
    """What the status says then."""
    return conditions.drift_status(plan, policy, Drift(), NOW)


def test_a_held_drift_counts_once(counted: Counts) -> None:
    """When it appears; not at the next look, nor after a restart, when only the status knows of it."""
    plan = planned(agreed(a_workload()), a_live(model_name="theirs"), OnDrift.WARN)
    count_found(Drift(), plan)
    count_found(held(plan, OnDrift.WARN), plan)
    assert counted.moved(FOUND) == {"OutOfBand model": 1}


def test_a_further_field_counts(counted: Counts) -> None:
    """Of a drift that grows, what is new."""
    workload = agreed(a_workload({"description": "ours"}))
    plan = planned(workload, a_live(model_name="theirs", description="ours"), OnDrift.WARN)
    more = planned(workload, a_live(model_name="theirs", description="theirs"), OnDrift.WARN)
    count_found(held(plan, OnDrift.WARN), more)
    assert counted.moved(FOUND) == {"OutOfBand description": 1}


def test_what_a_status_leaves_out_counts_once(counted: Counts) -> None:
    """A status lists only so many fields; those it leaves out were counted with them."""
    plan = planned(agreed(a_workload()), a_live(model_name="theirs"), OnDrift.WARN)
    shown = (DriftField(field="command", declared="a", live="b"),)
    count_found(Drift(drift_class=DriftClass.OUT_OF_BAND, fields=shown, omitted=1), plan)
    assert counted.moved(FOUND) == {}


def test_a_repair_counts(counted: Counts) -> None:
    """What the answer shows as declared, by who had moved."""
    workload = agreed(a_workload())
    plan = planned(workload, a_live(model_name="theirs"), OnDrift.RECONCILE)
    count_repaired(declared_document(workload), plan, a_live())
    assert counted.moved(REPAIRED) == {"OutOfBand model": 1}


def test_what_the_platform_keeps_is_not_repaired(counted: Counts) -> None:
    """A write that the platform answered with a value of its own ended nothing."""
    workload = redeclared(agreed(a_workload()), model="ours")
    plan = planned(workload, a_live(), OnDrift.RECONCILE)
    count_repaired(declared_document(workload), plan, a_live(model_name="OURS"))
    assert counted.moved(REPAIRED) == {}


def test_what_is_held_is_not_repaired(counted: Counts) -> None:
    """No write, no repair."""
    workload = agreed(a_workload())
    count_repaired(declared_document(workload), planned(workload, a_live(model_name="x"), OnDrift.FAIL), a_live())
    assert counted.moved(REPAIRED) == {}


def test_a_workload_that_is_made_is_no_drift(counted: Counts) -> None:
    """Not the first time; made again, it was missing."""
    workload = agreed(a_workload())
    first = planned(a_workload(), None, OnDrift.RECONCILE)
    again = planned(workload, None, OnDrift.RECONCILE)
    for plan in (first, again):
        count_found(Drift(), plan)
        count_repaired(declared_document(workload), plan, a_live())
    assert (counted.moved(FOUND), counted.moved(REPAIRED)) == ({"Missing workload": 1}, {"Missing workload": 1})


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("model", "model"),
        ("config.whatever_a_user_wrote", "config"),
        ("executionPolicyConfig.max_workers", "executionPolicyConfig"),
        ("vllmVersion", "vllmVersion"),
        ("whatever", "other"),
    ],
)
def test_labels_are_bounded(path: str, field: str) -> None:
    """A field of the spec, whatever is below it, or `other`."""
    assert top(path) == field


def test_every_series_is_there_from_the_beginning() -> None:
    """Else the first drift of a kind would make no increase that Prometheus sees; and none that cannot come."""
    shown = {(sample.name, sample.labels["class"], sample.labels["field"]) for sample in _drift_samples()}
    for name in (FOUND, REPAIRED):
        assert (name, "OutOfBand", "model") in shown
        assert (name, "SpecChange", "executionPolicyConfig") in shown
        assert (name, "Missing", "workload") in shown
    assert not {labels for labels in shown if labels[1] == "NotCreated" or labels[2] == "model_name"}
