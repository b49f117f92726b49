"""Two operators over the same namespaces, each with a Lease of its own, so that neither waits for the other."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import yaml

from controlplane.access import Cluster
from harness import operators, permissions
from harness.api import EVENTS, Json
from harness.audit import Audit
from harness.operators import Operator, Surroundings
from harness.team import Team
from harness.waiting import eventually
from inferencekey_operator.cache.installations import QUIET

ELSEWHERE = "second-system"
NAMES = [f"bot-{number}" for number in range(10)]
WATCHED = 20.0
"""Seconds in which the two could write against each other."""
MOST_WRITES = 10
"""Status PATCHes and Events for each Workload in that time, of both together."""

Install = Callable[..., Operator]


@pytest.fixture
def install(control_plane: Cluster, operator: Operator, surroundings: Surroundings) -> Iterator[Install]:
    """Start another installation, with these options, over the whole cluster as the first one is."""
    assert operator.running
    objects = permissions.of_a_lease(ELSEWHERE)
    control_plane.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(objects))
    made: list[Operator] = []

    def start(*options: str) -> Operator:
        around = replace(surroundings, log=surroundings.log.with_name("second"), lease_namespace=ELSEWHERE)
        made.append(Operator(around, *operators.USUAL, *options))
        made[-1].start()
        return made[-1]

    yield start
    for each in made:
        each.close()


def _watch(team: Team, audit: Audit) -> Counter[str]:
    """What both wrote about the team's Workloads while they could have written against each other."""
    before, began = audit.mark(), time.monotonic()
    for name in NAMES:
        team.declare(name)
    eventually(lambda: time.monotonic() - began > WATCHED, within=WATCHED + 5)
    return Counter(write.resource for write in audit.writes(before, team.name))


def _made(team: Team) -> list[str]:
    return sorted(call["body"]["slug"] for call in team.calls("create") if call["status"] == 201)


def test_two_operators_make_no_duplicate(team: Team, operator: Operator, install: Install, audit: Audit) -> None:
    """Each stands back when it sees the other's status, tells who the other one is, and both write little."""
    second = install()
    team.platform.fault("delay", operation="create", project=team.name, seconds=1.0, times=None)
    writes = _watch(team, audit)
    assert operator.leads
    assert second.leads
    assert _made(team) == sorted(set(_made(team))), "a duplicate was made"
    assert team.calls("delete") == []
    assert writes["workloads/status"] + writes["events"] < MOST_WRITES * len(NAMES), writes
    notes = " ".join(event["note"] for event in _conflicts(team))
    assert f"{ELSEWHERE}/{permissions.NAME}" in notes
    assert second.stop() == 0
    for name in NAMES:
        team.until_ready(name, within=QUIET + 60)
    assert (_made(team), team.slugs()) == (NAMES, NAMES)


def test_two_operators_that_disagree_write_little(team: Team, install: Install, audit: Audit) -> None:
    """The second one withholds what the first one creates: neither corrects the other's statuses again and again."""
    install("--on-drift=Warn")
    writes = _watch(team, audit)
    assert writes["workloads/status"] + writes["events"] < MOST_WRITES * len(NAMES), writes
    assert _conflicts(team)
    assert _made(team) == sorted(set(_made(team))), "a duplicate was made"


def _conflicts(team: Team) -> list[Json]:
    """The Events about the team's namespace that tell of another operator: they are stored in `default`."""
    found = team.api.items(f"{EVENTS}/namespaces/default/events")
    return [
        event for event in found if event["reason"] == "OperatorConflict" and event["regarding"]["name"] == team.name
    ]
