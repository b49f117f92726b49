"""What the platform accepts in a create and an update, and what it makes of it.

Decides validation, server-side defaults, normalisation and the canonical form of a slug. Pure functions
over wire fields; knows neither the rows that exist nor who asks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from inferencekey_simulator.refusal import bad_request
from inferencekey_simulator.settings import Normalisation, Settings

Fields = dict[str, Any]

TASK_TYPES = (
    "text2text",
    "embedding",
    "text2image",
    "text2video",
    "text2audio",
    "image2image",
    "image2video",
    "audio2text",
    "omni",
    "reranker",
    "classification",
    "reward",
    "forecast",
)
POLICIES = ("fixed", "scheduled", "autoscaling")
REQUIRED = ("name", "slug", "backend", "model_name")
MUTABLE = (
    "name",
    "backend",
    "model_name",
    "description",
    "config",
    "worker_id",
    "gpu_resource_id",
    "execution_policy",
    "execution_policy_config",
)
IMMUTABLE = ("task_type", "slug", "id", "project_id", "project_slug", "workload_slug")
_OBJECTS = ("config", "execution_policy_config")
_STRINGS = (*REQUIRED, "description", "worker_id", "gpu_resource_id", "execution_policy", "task_type")
_NEVER_NULL = (*REQUIRED, "execution_policy")


def canonical_slug(text: str) -> str:
    """Return the canonical form: lower case, each run of anything but letters and digits as one dash."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def created(body: Fields, settings: Settings) -> Fields:
    """Return the fields of a new workload out of a create's body, or refuse it."""
    _check_types(body)
    _check_required(body)
    fields: Fields = dict.fromkeys(MUTABLE) | {key: body[key] for key in MUTABLE if key in body}
    fields["slug"] = _spelled(canonical_slug(body["slug"]), settings)
    if not fields["slug"]:
        raise bad_request("slug must contain a letter or a digit")
    fields["task_type"] = body.get("task_type") or "text2text"
    if fields["task_type"] not in TASK_TYPES:
        raise bad_request(f"unknown task_type {fields['task_type']!r}")
    return _checked(_with_defaults(fields, settings), settings)


def _spelled(slug: str, settings: Settings) -> str:
    """Return the slug as the server stores it."""
    if settings.slug_form == "upper":
        return slug.upper()
    return slug[: settings.slug_length] if settings.slug_form == "truncated" else slug


def updated(stored: Fields, body: Fields, settings: Settings) -> Fields:
    """Return a workload's fields after a PATCH, or refuse it.

    A new policy kind is checked together with the policy config: the one in the same PATCH, else the stored
    one.
    """
    for name in IMMUTABLE:
        if name in body:
            raise bad_request(f"{name} cannot be changed")
    _check_types(body)
    for name in _NEVER_NULL:
        if name in body and not body[name]:
            raise bad_request(f"{name} must not be empty")
    fields = stored | {key: body[key] for key in MUTABLE if key in body}
    if settings.config_update == "merge" and "config" in body:
        fields["config"] = (stored.get("config") or {}) | (body["config"] or {})
    fields = _with_extras(fields, settings)
    touched = "execution_policy" in body or "execution_policy_config" in body
    return _checked(fields, settings) if touched else _normalised(fields, settings.normalise)


def _check_types(body: Fields) -> None:
    """Refuse fields of the wrong JSON type; null is allowed here."""
    for name in _OBJECTS:
        if not isinstance(body.get(name), dict | None):
            raise bad_request(f"{name} must be an object")
    for name in _STRINGS:
        if not isinstance(body.get(name), str | None):
            raise bad_request(f"{name} must be a string")


def _check_required(body: Fields) -> None:
    """Refuse a create without one of the required fields."""
    for name in REQUIRED:
        if not (body.get(name) or "").strip():
            raise bad_request(f"{name} must not be empty")


def check_policy(policy: str, config: Fields) -> None:
    """Refuse a policy config that its policy does not allow."""
    if policy not in POLICIES:
        raise bad_request(f"unknown execution_policy {policy!r}")
    if policy == "fixed" and not _positive(config.get("replicas")):
        raise bad_request("replicas must be greater than zero")
    if policy == "scheduled" and bool(config.get("cron")) == bool(config.get("window")):
        raise bad_request("either cron or window is required")
    if policy == "autoscaling":
        _check_autoscaling(config)


def listed(fields: Fields, settings: Settings) -> Fields:
    """Return the fields as lists show them."""
    return _changed(fields, (rule for rule in settings.normalise if rule.lists_only))


def _normalised(fields: Fields, rules: Iterable[Normalisation]) -> Fields:
    """Return the fields as the server stores them."""
    return _changed(fields, (rule for rule in rules if not rule.lists_only))


def _changed(fields: Fields, rules: Iterable[Normalisation]) -> Fields:
    for rule in rules:
        fields = _with_leaf(fields, rule.field.split("."), rule)
    return fields


def _with_leaf(fields: Fields, path: list[str], rule: Normalisation) -> Fields:
    """Return the fields with one leaf changed by a rule; objects on the way are copied, never changed."""
    head, *rest = path
    if not rest:
        if head not in fields and rule.operation != "set":
            return fields
        return fields | {head: _applied(fields.get(head), rule)}
    inner = fields.get(head)
    if not isinstance(inner, dict) and rule.operation != "set":
        return fields
    return fields | {head: _with_leaf(inner if isinstance(inner, dict) else {}, rest, rule)}


def _applied(value: Any, rule: Normalisation) -> Any:
    if rule.operation == "set":
        return rule.value
    if isinstance(value, str) and rule.operation != "clamp":
        return value.strip() if rule.operation == "trim" else value.lower()
    if _number(value) and rule.operation == "clamp":
        value = value if rule.minimum is None else max(value, rule.minimum)
        return value if rule.maximum is None else min(value, rule.maximum)
    return value


def _with_defaults(fields: Fields, settings: Settings) -> Fields:
    policy = fields["execution_policy"] or "fixed"
    config = fields["execution_policy_config"]
    if config is None:
        config = {"replicas": 1} if policy == "fixed" else {}
    defaults = {
        "execution_policy": policy,
        "execution_policy_config": config,
        "config": fields["config"] or {},
    }
    return _with_extras(fields | defaults, settings)


def _with_extras(fields: Fields, settings: Settings) -> Fields:
    return fields | {
        "config": settings.extra_config | (fields["config"] or {}),
        "execution_policy_config": settings.extra_policy_config | (fields["execution_policy_config"] or {}),
    }


def _checked(fields: Fields, settings: Settings) -> Fields:
    fields = _normalised(fields, settings.normalise)
    check_policy(fields["execution_policy"], fields["execution_policy_config"])
    return fields


def _check_autoscaling(config: Fields) -> None:
    workers = config.get("workers") or {}
    if not isinstance(workers, dict):
        raise bad_request("workers must be an object")
    if workers.get("source") == "private":
        if not workers.get("private_worker_ids"):
            raise bad_request("private_worker_ids must not be empty")
        return
    pool = workers.get("cloud_pool")
    if not _positive(config.get("max_hourly_cost_usd")):
        raise bad_request("max_hourly_cost_usd must be greater than zero")
    if isinstance(pool, dict):
        if not pool.get("gpu_pool"):
            raise bad_request("gpu_pool must not be empty")
        if "max_hourly_cost_usd" in pool and not _positive(pool["max_hourly_cost_usd"]):
            raise bad_request("max_hourly_cost_usd must be greater than zero")


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _positive(value: Any) -> bool:
    return _number(value) and value > 0
