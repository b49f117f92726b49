"""The judge of `make chaos-processes`, on worlds in which one thing is wrong."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from chaos.processes.judge import Endpoint, Sight, lost, misbehaviour, twins, unsettled, written
from chaos.processes.people import ELSEWHERE, Acknowledged, Key

Json = dict[str, Any]

STATUS: Json = {
    "observedGeneration": 2,
    "workloadId": "wl_1",
    "adopted": False,
    "platformURL": "http://platform",
    "projectSlug": "team-a",
    "workloadSlug": "alpha",
    "conditions": [
        {
            "type": "Ready",
            "status": "True",
            "reason": "Ready",
            "message": "Serving",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
            "observedGeneration": 2,
        }
    ],
}
WORKLOAD: Json = {
    "metadata": {"namespace": "team-a", "name": "alpha", "uid": "u", "generation": 2, "resourceVersion": "7"},
    "spec": {"model": "llama-3", "backend": "vllm"},
    "status": STATUS,
}
ROW: Json = {
    "id": "wl_1",
    "project": "team-a",
    "slug": "alpha",
    "fields": {"name": "alpha", "backend": "vllm", "model_name": "llama-3"},
}
NAMES = ("team-a", "alpha-endpoint")
ENDPOINTS = {NAMES: Endpoint("3", "http://platform/endpoint")}


def told(workloads: list[Json], rows: list[Json], endpoints: dict[Key, Endpoint] = ENDPOINTS) -> list[str]:
    """The words that the judge begins with, without the Workload's name."""
    found = unsettled(Sight(workloads, rows, endpoints))
    return [each.removeprefix("team-a/alpha ").split(":")[0] for each in found]


def with_(thing: Json, path: str, value: Any) -> Json:
    """Another one, in which that is different; None takes it out."""
    changed = deepcopy(thing)
    *way, last = path.split(".")
    inner = changed
    for name in way:
        inner = inner.setdefault(name, {})
    if value is None:
        inner.pop(last)
    else:
        inner[last] = value
    return changed


def test_a_world_at_rest_is_right() -> None:
    """Nothing is told."""
    assert told([WORKLOAD], [ROW]) == []
    assert told([], []) == []


@pytest.mark.parametrize(
    ("path", "value", "word"),
    [
        ("metadata.generation", 3, "lost status"),
        ("status.workloadId", "wl_2", "lost status"),
        ("metadata.deletionTimestamp", "2026-01-01T00:00:00Z", "stuck"),
        ("status.platformURL", None, "bad status"),
    ],
)
def test_a_workload_that_is_not_right_is_told(path: str, value: Any, word: str) -> None:
    """A status that tells of what was, or of another workload; an end that does not come; a status that is none."""
    assert word in told([with_(WORKLOAD, path, value)], [ROW])


def test_a_value_that_nobody_declared_is_told() -> None:
    """Under Reconcile; under Ignore it may be."""
    drifted = with_(ROW, "fields.model_name", "hands")
    assert "says {'type'" in told([WORKLOAD], [drifted])
    ignored = with_(WORKLOAD, "metadata.annotations", {"inferencekey.com/on-drift": "Ignore"})
    assert told([ignored], [drifted]) == ["lost status"]
    noticed = with_(ignored, "status.drift", {"class": "OutOfBand", "policy": "Ignore"})
    assert "lost status" not in told([noticed], [drifted])
    assert "lost status" in told([noticed], [ROW])


def test_a_workload_that_is_not_there_is_told() -> None:
    """It is declared, says Ready, and the platform has none."""
    assert told([WORKLOAD], []) == ["says {'type'", "lost status"]


def test_a_drift_of_what_was_there_before_is_told() -> None:
    """The workload is gone, and the status still tells of a change of it."""
    changed, gone = (with_(WORKLOAD, "status.drift", {"class": kind}) for kind in ("SpecChange", "Missing"))
    assert "lost status" in told([changed], [])
    assert "lost status" not in told([gone], [])


def test_an_approval_that_nobody_acted_on_is_told() -> None:
    """Until it is handled, the Workload is about to be written."""
    approved = with_(WORKLOAD, "metadata.annotations", {"inferencekey.com/approve-plan": "1"})
    approved = with_(approved, "status.drift", {"class": "SpecChange", "planId": "1"})
    handled = with_(approved, "status.lastHandledApproval", {"planId": "1", "result": "Applied"})
    assert "waits for an approval that it has" in told([approved], [ROW])
    assert "waits for an approval that it has" not in told([handled], [ROW])


def test_a_missing_endpoint_is_told() -> None:
    """Its ConfigMap, or one that leads elsewhere."""
    forged = {NAMES: Endpoint("4", f"http://{ELSEWHERE}/1")}
    assert told([WORKLOAD], [ROW], {}) == ["has no ConfigMap"]
    assert told([WORKLOAD], [ROW], forged) == ["has a ConfigMap that says http"]


def test_a_leak_is_told() -> None:
    """What nobody declares: the twin of a slug, and what was left behind, but for what is to stay."""
    twin, left, stays = (with_(ROW, "slug", slug) for slug in ("alpha-1", "beta", "stays-beta"))
    assert told([WORKLOAD], [ROW, twin, left, stays]) == ["leak", "leak"]


def test_a_write_while_nothing_happens_is_told_with_what_it_changed() -> None:
    """Of a Workload by each field; of its ConfigMap that there was one."""
    calm = Sight([WORKLOAD], [ROW], ENDPOINTS)
    again = with_(with_(WORKLOAD, "metadata.resourceVersion", "8"), "status.adopted", True)
    moved = Sight([again], [ROW], {NAMES: Endpoint("4", "http://platform/endpoint")})
    assert list(written(calm, calm)) == []
    assert list(written(calm, moved)) == [
        'team-a/alpha was written: metadata.resourceVersion: "7" -> "8"; status.adopted: false -> true',
        "the ConfigMap team-a/alpha-endpoint was written",
    ]
    left = Sight([], [], ENDPOINTS)
    assert list(written(left, Sight([], [], {}))) == []


def test_a_twin_is_told_even_if_it_is_gone(tmp_path: Path) -> None:
    """Out of the record of what was asked; each is told once."""
    record = tmp_path / "record"
    line = {"operation": "create", "project": "team-a", "slug": "alpha", "wanted": "alpha", "taken_by": None}
    twin = {**line, "slug": "alpha-1", "taken_by": "wl_1"}
    record.write_text("".join(json.dumps(each) + "\n" for each in (line, twin)) + '{"torn')
    found, place = twins(record, 0)
    assert len(found) == 1
    assert twins(record, place)[0] == []


def test_an_acknowledged_write_that_is_lost_is_told() -> None:
    """Not there, an older one, or another one of its name; what may have been deleted may be gone."""
    key = ("team-a", "alpha")
    assert list(lost({key: Acknowledged("u", 2)}, [WORKLOAD])) == []
    assert list(lost({key: Acknowledged("u", 3)}, [WORKLOAD]))
    assert list(lost({key: Acknowledged("v", 1)}, [WORKLOAD]))
    assert list(lost({key: Acknowledged("u", 1)}, []))
    assert list(lost({key: Acknowledged("u", 1, maybe_deleted=True)}, [])) == []


@pytest.mark.parametrize(
    ("log", "exits", "word"),
    [
        ("all is well", [1, 1], ""),
        ("all is well", [-11], "ended"),
        (f"token ik_sdk_a1b2c3d4_{'ab' * 32}", [], "secret shown"),
        ("Traceback (most recent call last):", [], "unforeseen"),
    ],
)
def test_misbehaviour_is_told(log: str, exits: list[int], word: str) -> None:
    """What must not be logged, and how no process may end."""
    assert [each.split(":")[0] for each in misbehaviour("operator-1", log, exits)] == ([word] if word else [])
