"""What is true of every status that the operator ever writes, whatever happened.

`check_status` takes the status as it stands in the API server's JSON, so that any test that sees one can hand it over.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from inferencekey_operator.api.workload import DriftClass, OnDrift
from inferencekey_operator.errors import Actor, Reason

MOST_BYTES = 16 * 1024
TYPES = {"Ready", "Reconciling", "Stalled", "Drifted", "Serving", "Suspended"}
ONLY_TRUE = {"Reconciling", "Stalled", "Suspended"}
SERVING_WORDS = {"Scheduling", "Provisioning", "Bootstrapping", "Ready", "Error", "Progressing", "Missing", "Unknown"}
REASONS = set(map(str, Reason))
CLASSES = set(map(str, DriftClass))
IDENTITY = ("platformURL", "projectSlug", "workloadSlug")

_TOKEN = re.compile(r"ik_(?:sdk|live)_(?=\w)(?![0-9a-f]{8}(?!\w))", re.IGNORECASE)
"""More than the public half of a token: the prefix alone, and the prefix with its 8 hex, may be shown."""
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_HASH = re.compile(r"[0-9a-f]{16}")
_PLAN_ID = re.compile(r"[0-9a-f]{32}")
_OPERATOR = re.compile(r"[^\s/]+/[^\s/]+")

Status = Mapping[str, Any]
Conditions = Mapping[str, Mapping[str, Any]]


def check_status(status: Status) -> None:
    """Raises AssertionError with every rule that `status` breaks. One that nobody wrote yet breaks none."""
    if not status.get("conditions") and status.get("observedGeneration", -1) == -1:
        return
    broken = list(broken_rules(status))
    assert not broken, "\n".join([*broken, json.dumps(status, indent=1, ensure_ascii=False)])


def broken_rules(status: Status) -> Iterator[str]:
    """Each rule that `status` breaks, in words."""
    listed = status.get("conditions", [])
    conditions: Conditions = {condition.get("type"): condition for condition in listed}
    if len(conditions) != len(listed):
        yield "a condition stands there twice"
    for condition in listed:
        yield from _condition(condition, status)
    yield from _summary(conditions)
    yield from _verdict(status, conditions)
    yield from _drift(status.get("drift", {}), conditions)
    yield from _records(status)
    yield from _as_a_whole(status)


def _condition(condition: Mapping[str, Any], status: Status) -> Iterator[str]:
    kind, state, reason = (condition.get(key) for key in ("type", "status", "reason"))
    if kind not in TYPES:
        yield f"{kind}: nobody knows this condition"
    if state not in ({"True"} if kind in ONLY_TRUE else {"True", "False", "Unknown"}):
        yield f"{kind}: {state} is no status of it"
    if reason not in _words(kind, state):
        yield f"{kind}: {reason} is no reason of it"
    message = condition.get("message") or ""
    if not message or len(message) > 1024 or "\n" in message:
        yield f"{kind}: a message is one line of 1 to 1024 characters"
    if not _TIME.fullmatch(condition.get("lastTransitionTime", "")):
        yield f"{kind}: lastTransitionTime is no time in whole seconds"
    seen = condition.get("observedGeneration", -1)
    if not 0 < seen <= status.get("observedGeneration", -1):
        yield f"{kind}: observedGeneration {seen} is not one that the status has seen"


def _words(kind: str | None, state: str | None) -> set[str]:
    if kind == "Drifted":
        return {"True": CLASSES, "False": {"InSync"}}.get(state or "", REASONS)
    return SERVING_WORDS if kind == "Serving" else REASONS


def _summary(conditions: Conditions) -> Iterator[str]:
    """kstatus: what Helm, Flux, Argo CD and kubectl wait read."""
    ready = conditions.get("Ready")
    if ready is None:
        yield "Ready is always present"
        return
    going_on = {"Reconciling", "Stalled"} & conditions.keys()
    if len(going_on) == 2:
        yield "never Reconciling and Stalled"
    if ready["status"] not in ("True", "False"):
        yield "Ready is True or False"
    if ready["status"] == "True" and going_on:
        yield f"Ready is True beside {going_on.pop()}"
    if ready["status"] != "True" and ready["reason"] in REASONS:
        wanted = {Actor.PLATFORM: {"Reconciling"}, Actor.PERSON: {"Stalled"}}.get(Reason(ready["reason"]).actor, set())
        if going_on != wanted:
            yield f"{ready['reason']} is said with {wanted or 'neither'}, not with {going_on or 'neither'}"


def _verdict(status: Status, conditions: Conditions) -> Iterator[str]:
    """Ready is never True for what is gone, nor, Ignore aside, for a declaration that was not applied."""
    ready = conditions.get("Ready", {})
    if ready.get("observedGeneration") != status.get("observedGeneration"):
        yield "observedGeneration moves in the same write as the verdict"
    if ready.get("status") != "True":
        return
    drift = status.get("drift", {})
    if drift.get("class") in ("NotCreated", "Missing"):
        yield f"Ready is True for a workload that is {drift['class']}"
    if drift.get("class") in ("SpecChange", "Both") and drift.get("policy") != "Ignore":
        yield "Ready is True for a declaration that was not applied"
    if "workloadId" not in status:
        yield "Ready is True without a workload"


def _drift(drift: Mapping[str, Any], conditions: Conditions) -> Iterator[str]:
    kind, plan, fields = drift.get("class"), drift.get("planId"), drift.get("fields", [])
    drifted = conditions.get("Drifted", {})
    if drifted.get("status") == "True" and drifted.get("reason") != kind:
        yield "Drifted names another class than drift.class"
    if drifted.get("status") == "False" and (kind or fields):
        yield "Drifted is False beside a drift"
    if "policy" in drift and drift["policy"] not in set(map(str, OnDrift)):
        yield f"{drift['policy']} is no drift policy"
    if ("since" in drift) != bool(kind or plan):
        yield "since belongs to a drift or a plan, and each has it"
    if kind and not plan and [item["field"] for item in fields] != ["taskType"]:
        yield "what is withheld is a plan with an id"
    if plan and not _PLAN_ID.fullmatch(plan):
        yield f"{plan} is no plan id"
    if plan and kind and f"approve-plan={plan}" not in drifted.get("message", ""):
        yield "the message of Drifted does not carry the command that approves the plan"
    yield from _fields(fields, drift.get("omitted", 0))


def _fields(fields: list[Mapping[str, Any]], omitted: int) -> Iterator[str]:
    if len(fields) > 32:
        yield f"{len(fields)} drift fields"
    if len({item["field"] for item in fields}) != len(fields):
        yield "a drift field stands there twice"
    if omitted < 0 or (omitted and not fields):
        yield f"{omitted} fields omitted beside {len(fields)}"
    for item in fields:
        if any(not isinstance(value, str) or len(value) > 256 for value in item.values()):
            yield f"{item['field']}: a value is a string of at most 256 characters"


def _records(status: Status) -> Iterator[str]:
    pinned = [key for key in IDENTITY if key in status]
    if len(pinned) not in (0, len(IDENTITY)) or ("workloadId" in status and not pinned):
        yield f"an identity is pinned whole, with the id: {pinned}"
    if ("workloadId" in status) != ("adopted" in status):
        yield "adopted is told of each workload that is recorded, and of no other"
    applied = status.get("lastApplied", [])
    if len(applied) > 256 or len({item["field"] for item in applied}) != len(applied):
        yield "lastApplied holds each field once, at most 256"
    hashes = [item[key] for item in applied for key in ("declared", "answered") if key in item]
    if not all(map(_HASH.fullmatch, hashes)):
        yield "lastApplied holds hashes of 16 hex, never values"
    yield from _creation(status)
    handled = status.get("lastHandledApproval")
    if handled is not None and handled["result"] not in {"Applied", *REASONS}:
        yield f"{handled['result']} is no result of an approval"


def _creation(status: Status) -> Iterator[str]:
    """The record of a creation says what was sent where; it may outlast the id, while a duplicate may still appear."""
    creation = status.get("creation")
    if creation is not None:
        if any(key not in status for key in IDENTITY):
            yield "a creation is recorded with the identity that it is of"
        if not _HASH.fullmatch(creation.get("sent", "")):
            yield "a creation records a hash of what it sends"
        if "time" in creation and not _TIME.fullmatch(creation["time"]):
            yield "creation.time is no time in whole seconds"
        if "duplicateWorkloadId" in status:
            yield "a duplicate is the outcome of a creation, so no record stands beside it"
    operator = status.get("operator")
    if operator is not None and not (len(operator) <= 256 and _OPERATOR.fullmatch(operator)):
        yield f"{operator!r} does not name an operator's Lease"


def _as_a_whole(status: Status) -> Iterator[str]:
    text = json.dumps(status, ensure_ascii=False, separators=(",", ":"))
    size = len(text.encode("utf-8", "surrogatepass"))
    if size >= MOST_BYTES:
        yield f"{size} bytes are not under 16 KiB"
    if _TOKEN.search(text):
        yield "it shows more of a token than its public half"
    if _holds_null(status):
        yield "a status holds no nulls"


def _holds_null(value: object) -> bool:
    if isinstance(value, Mapping):
        return any(map(_holds_null, value.values()))
    return value is None or (isinstance(value, list) and any(map(_holds_null, value)))
