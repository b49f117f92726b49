"""What is wrong with a world that should have come to rest, out of what stands on both sides.

Pure, but for reading a record. Knows what is promised, and nothing of what the operator did to keep it: one workload
for each declared slug, with the declared values as far as its policy says; none that nobody declared; a status that
tells of what is declared now and of the workload that is there; nothing that is deleted for ever; and at no moment a
second workload for one slug.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from chaos.expected import AT_REST, ready_of, reasons
from chaos.oracle import declared, holds
from chaos.processes.people import ELSEWHERE, STAYS, Acknowledged, Key, key_of
from chaos.processes.plan import NAMES
from inferencekey_operator.api.workload import APPROVE_PLAN, ON_DRIFT, OnDrift
from unit.invariants import check_status

Json = dict[str, Any]

_TOKEN = re.compile(r"ik_(?:sdk|live)_[0-9a-f]{8}_[0-9a-f]{4,}")
_NOT_FORESEEN = re.compile(r"Traceback|unforeseen|broke off and")
_NOTHING_THERE = {"Missing", "NotCreated"}
_AS_DECLARED = {"Ready", "DriftTolerated", "DriftDetected"}


class Endpoint(NamedTuple):
    """A ConfigMap."""

    version: str
    url: str


@dataclass(frozen=True)
class Sight:
    """Both sides at one moment."""

    workloads: list[Json]
    rows: list[Json]
    endpoints: dict[Key, Endpoint]


def unsettled(sight: Sight) -> Iterator[str]:
    """What is not as it should be yet, or has been lost for ever: time tells."""
    rows: dict[Key, Json] = {(row["project"], row["slug"]): row for row in sight.rows}
    for workload in sight.workloads:
        row = rows.pop(key_of(workload), None)
        for what in _about(workload, row, sight.endpoints):
            yield f"{'/'.join(key_of(workload))} {what}"
    for (project, slug), row in rows.items():
        if slug not in {f"{STAYS}{name}" for name in NAMES}:
            yield f"leak: nobody declares {project}/{slug} ({row['id']})"


def _about(workload: Json, row: Json | None, endpoints: Mapping[Key, Endpoint]) -> Iterator[str]:
    metadata, spec, status = workload["metadata"], workload["spec"], workload["status"]
    ready = ready_of(workload)
    if "deletionTimestamp" in metadata:
        yield f"stuck: it is deleted and not gone, finalizers {metadata.get('finalizers')}: {ready}"
        return
    if status.get("observedGeneration") != metadata["generation"]:
        yield f"lost status: it tells of generation {status.get('observedGeneration')}, not {metadata['generation']}"
        return
    try:
        check_status(status)
    except AssertionError as error:
        yield f"bad status: {error}"
    if spec.get("suspend"):
        if ready.get("reason") not in AT_REST:
            yield f"says {ready} and is suspended"
        return
    if {"creation", "workloadId"} <= status.keys():
        yield "still looks for what came of a creation"
    in_sync = row is not None and holds(row["fields"], declared(workload))
    yield from _policy(workload, row, ready, in_sync=in_sync)
    if _is_approved(workload):
        yield "waits for an approval that it has"
    told = status.get("drift", {}).get("class")
    if row is not None and (told is None) != in_sync:
        yield f"lost status: it tells of the drift {told}, and what is declared {'is' if in_sync else 'is not'} there"
    if row is None and told not in _NOTHING_THERE:
        yield f"lost status: it tells of the drift {told}, and the platform has nothing"
    if row is not None and ready.get("reason") in _AS_DECLARED:
        if status.get("workloadId") != row["id"]:
            yield f"lost status: it is {row['id']}, and the status says {status.get('workloadId')}"
        yield from _endpoint(endpoints.get((metadata["namespace"], f"{metadata['name']}-endpoint")))


def _endpoint(found: Endpoint | None) -> Iterator[str]:
    if found is None:
        yield "has no ConfigMap"
    elif ELSEWHERE in found.url:
        yield f"has a ConfigMap that says {found.url}"


def _is_approved(workload: Json) -> bool:
    """Whether the plan that waits is approved: it is applied as soon as the operator sees that."""
    status, approved = workload["status"], (workload["metadata"].get("annotations") or {}).get(APPROVE_PLAN)
    handled = status.get("lastHandledApproval", {}).get("planId")
    return approved is not None and approved == status.get("drift", {}).get("planId") != handled


def _policy(workload: Json, row: Json | None, ready: Mapping[str, str], *, in_sync: bool) -> Iterator[str]:
    word = (workload["metadata"].get("annotations") or {}).get(ON_DRIFT)
    policy = OnDrift.RECONCILE if word is None else OnDrift.parse(word)
    assert policy is not None
    allowed = reasons(policy, workload, row["id"] if row else None, in_sync=in_sync)
    if ready.get("reason") not in allowed:
        shown = row["fields"] if row else None
        yield f"says {ready}, and not {sorted(allowed)}, under {policy}; the platform has {shown}"


def lost(acknowledged: Mapping[Key, Acknowledged], workloads: list[Json]) -> Iterator[str]:
    """What the API server had said it stored, and has not any more: not the operator's fault, but not nothing."""
    there = {key_of(each): each["metadata"] for each in workloads}
    for key, told in acknowledged.items():
        found = there.get(key)
        if told.maybe_deleted:
            continue
        if found is None or found["uid"] != told.uid or found["generation"] < told.generation:
            yield f"lost write: {'/'.join(key)} was acknowledged as {told}, and is {found}"


def twins(record: Path, since: int) -> tuple[list[str], int]:
    """Each POST of a slug that was there, whatever became of it, since a place in the record; and the place now."""
    with record.open("rb") as file:
        file.seek(since)
        whole, _, _ = file.read().rpartition(b"\n")
    found = [json.loads(line) for line in whole.splitlines()]
    wrong = [
        f"twin: {line['project']}/{line['wanted']} was made as {line['slug']} while {line['taken_by']} had the slug"
        for line in found
        if line["operation"] == "create" and line["taken_by"]
    ]
    return wrong, since + len(whole) + (1 if whole else 0)


def writes(record: Path, since: int) -> list[str]:
    """What the platform was asked to change since then."""
    lines = map(json.loads, record.read_bytes()[since:].splitlines())
    return [f"{line['operation']} {line['project']}/{line['slug']}" for line in lines]


def written(before: Sight, after: Sight) -> Iterator[str]:
    """Each Workload that was written between the two, and each ConfigMap, with what changed in the Workload."""
    then, now = ({key_of(each): each for each in sight.workloads} for sight in (before, after))
    for key in sorted(then.keys() | now.keys()):
        old, new = _flat(then.get(key, {})), _flat(now.get(key, {}))
        if old.get("metadata.resourceVersion") != new.get("metadata.resourceVersion"):
            paths = sorted(dict(old.items() ^ new.items()))
            changes = "; ".join(f"{path}: {old.get(path)} -> {new.get(path)}" for path in paths)
            yield f"{'/'.join(key)} was written: {changes}"
    for namespace, name in sorted(now):  # the garbage collector takes the others away in its time
        config_map = (namespace, f"{name}-endpoint")
        if before.endpoints.get(config_map) != after.endpoints.get(config_map):
            yield f"the ConfigMap {'/'.join(config_map)} was written"


def _flat(value: Any, path: str = "") -> dict[str, str]:
    """Each leaf of an object, by its path."""
    if not isinstance(value, dict) or not value:
        return {path: json.dumps(value)}
    return {
        leaf: each for key, inner in value.items() for leaf, each in _flat(inner, f"{path}.{key}".lstrip(".")).items()
    }


def misbehaviour(name: str, log: str, exits: list[int]) -> Iterator[str]:
    """What a process must not say, and how it must not end. A start without an API server ends with 1."""
    if _TOKEN.search(log):
        yield f"secret shown: in the log of {name}"
    found = _NOT_FORESEEN.search(log)
    if found:
        yield f"unforeseen: the log of {name} says {log[max(0, found.start() - 300) : found.start() + 2500]}"
    if set(exits) - {1}:
        yield f"ended: {name} ended by itself with {exits}"
