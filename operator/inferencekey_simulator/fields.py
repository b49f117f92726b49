"""The wire fields of a row that the platform fills in itself.

Decides their usual order and values, how `created_at` is spelled, and how a dotted name reaches inside a field.
Pure functions.
"""

from __future__ import annotations

from typing import Any

from inferencekey_simulator.inventory import Fields
from inferencekey_simulator.settings import CreatedAt


def shape() -> Fields:
    """Return the fields of an answer in their usual order, with the platform's defaults."""
    return {
        "id": None,
        "name": "",
        "description": None,
        "slug": "",
        "project_id": None,
        "project_slug": None,
        "workload_slug": "",
        "task_type": "text2text",
        "backend": "vllm",
        "model_name": "",
        "config": {},
        "worker_id": None,
        "gpu_resource_id": None,
        "execution_policy": "fixed",
        "execution_policy_config": {"replicas": 1},
        "created_at": None,
        "updated_at": None,
    }


def created_at(timestamp: str, form: CreatedAt) -> str | None:
    """Return the time of a creation as a row spells it."""
    if form == "naive":
        return timestamp.removesuffix("Z")
    if form == "year_1":
        return "0001-01-01T00:00:00Z"
    return None if form == "missing" else timestamp


def edited(fields: Fields, changes: Fields) -> Fields:
    """Return the fields with some replaced; a dotted name reaches inside, and `workload_slug` follows `slug`."""
    if "slug" in changes:
        changes = {"workload_slug": changes["slug"]} | changes
    for name, value in changes.items():
        fields = _with_value(fields, name.split("."), value)
    return fields


def _with_value(fields: Fields, path: list[str], value: Any) -> Fields:
    head, *rest = path
    if rest:
        inner = fields.get(head)
        value = _with_value(inner if isinstance(inner, dict) else {}, rest, value)
    return fields | {head: value}
