"""Counts drift: what a look found that was not known before, and what a write to the platform ended.

A drift that is held is counted once, however often it is looked at, and not again after a restart: what is in the
status was counted. Fields are those of the spec, without what is below them; anything else is `other`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from itertools import product
from typing import Any

from pydantic.alias_generators import to_camel

from inferencekey_operator.api.status import Drift, DriftClass
from inferencekey_operator.api.workload import WorkloadSpec
from inferencekey_operator.inferencekey.wire import LiveWorkload
from inferencekey_operator.metrics import DRIFT_FOUND, DRIFT_REPAIRED, OTHER
from inferencekey_operator.plan.drift import COMPARED, kept_by_platform, users_name
from inferencekey_operator.plan.plan import Create, Plan

WHOLE = "workload"
"""The field of a drift that is the absence of all."""
_FIELDS = frozenset(to_camel(field.name) for field in fields(WorkloadSpec))

Found = set[tuple[str, str]]


def count_found(before: Drift, plan: Plan) -> None:
    """What `plan` is about and `before` was not."""
    for drift_class, field in _of_plan(plan) - _of_status(before):
        DRIFT_FOUND.labels(drift_class, field).inc()


def count_repaired(declared: Mapping[str, Any], plan: Plan, answer: LiveWorkload | None) -> None:
    """What `plan`, which was carried out, was about, and `answer` shows as declared."""
    if answer is None or not plan.perform:
        return
    if isinstance(plan.step, Create):
        repaired = _of_plan(plan)
    else:
        left = set(kept_by_platform(declared, answer, plan.sent))
        repaired = {
            (str(difference.moved), top(difference.leaf.field))
            for difference in plan.differences
            if difference.leaf.path[0] in plan.sent and difference.leaf.field not in left
        }
    for drift_class, field in repaired:
        DRIFT_REPAIRED.labels(drift_class, field).inc()


def top(path: str) -> str:
    """The field of the spec that a path is below, if it is one."""
    field = path.split(".", 1)[0]
    return field if field in _FIELDS else OTHER


def _of_plan(plan: Plan) -> Found:
    if plan.drift_class is DriftClass.MISSING:
        return {(DriftClass.MISSING, WHOLE)}
    return {(str(difference.moved), top(difference.leaf.field)) for difference in plan.differences}


def _of_status(drift: Drift) -> Found:
    """Only the class of all fields together is written down, so each field stands for all classes."""
    if drift.drift_class is DriftClass.MISSING:
        return {(DriftClass.MISSING, WHOLE)}
    known = _FIELDS | {OTHER} if drift.omitted else {top(shown.field) for shown in drift.fields}
    return {(str(moved), field) for field in known for moved in _classes(drift)}


def _classes(drift: Drift) -> tuple[DriftClass, ...]:
    if drift.drift_class is DriftClass.BOTH:
        return tuple(DriftClass)
    return () if drift.drift_class is None else (drift.drift_class,)


def _begin_at_zero() -> None:
    """A series that began with its first drift would hide that one: Prometheus sees no increase in it."""
    drifting = {top(users_name((field,))) for field in COMPARED} | {"command", "vllmVersion", "taskType"}
    moved = (DriftClass.SPEC_CHANGE, DriftClass.OUT_OF_BAND, DriftClass.BOTH)
    for labels in ((DriftClass.MISSING, WHOLE), *product(moved, drifting)):
        DRIFT_FOUND.labels(*labels)
        DRIFT_REPAIRED.labels(*labels)


_begin_at_zero()
