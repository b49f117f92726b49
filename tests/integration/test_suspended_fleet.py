"""A fleet that is suspended while its creations wait for one another: none is sent once the API server said yes."""

from __future__ import annotations

import pytest

from harness import operators
from harness.crowd import Crowd
from harness.operators import Operator
from harness.waiting import eventually
from inferencekey_operator.inferencekey.project import WRITES

NAMES = [f"bot-{number:02}" for number in range(24)]
POST_SECONDS = 15.0
"""Seconds that a creation takes: most of the fleet waits for a place, and no place becomes free until the API server
acknowledged every change."""


@pytest.fixture(scope="module")
def operator_options() -> tuple[str, ...]:
    """A creation is not given up."""
    return (*operators.USUAL, f"--client-timeout={POST_SECONDS + 45}s", "--lease-duration=120s")


@pytest.mark.usefixtures("operator")
def test_no_creation_is_sent_after_the_fleet_is_suspended(crowd: Crowd, operator: Operator) -> None:
    """Creations under way stay on record; those that wait for a place of the queue are not sent."""
    team = crowd.team()
    assert operator.running
    crowd.platform.fault("delay_after", operation="create", project=team.name, seconds=POST_SECONDS, times=None)
    keys = [(team.name, name) for name in NAMES]
    crowd.declare(*keys)
    eventually(lambda: len(team.calls("create")), WRITES.__eq__)
    crowd.edit(*keys, suspend=True)
    assert [call["seconds"] for call in team.calls("create")] == [None] * WRITES, "the changes came too late"
    eventually(lambda: _suspended(crowd), NAMES.__eq__, within=120)
    assert len(team.calls("create")) == WRITES
    made = team.slugs()
    assert len(made) == WRITES
    statuses = {name: team.status(name) for name in NAMES}
    assert [name for name, status in statuses.items() if {"workloadId", "creation"} & status.keys()] == made
    crowd.platform.clear_faults()
    crowd.edit(*keys, suspend=False)
    eventually(lambda: set(crowd.verdicts(team).values()), {"True Ready"}.__eq__, within=120)
    assert (team.slugs(), len(team.calls("create"))) == (NAMES, len(NAMES))


def _suspended(crowd: Crowd) -> list[str]:
    """Those that say that they are suspended."""
    return sorted(
        name
        for (_, name), item in crowd.workloads().items()
        if any(condition["type"] == "Suspended" for condition in item["status"].get("conditions", []))
    )
