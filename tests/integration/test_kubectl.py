"""What people see with the real kubectl: the columns, and what `describe` tells in which order."""

from __future__ import annotations

import re

import pytest

from harness.drifting import approve, until_drift, until_plan
from harness.team import ON_DRIFT, Team
from harness.waiting import eventually

pytestmark = pytest.mark.usefixtures("operator")

NAME = "support-bot"
FIELDS = {"model_name": "theirs", "description": "theirs", "config.command": "theirs", "backend": "sglang"}


@pytest.fixture
def drifted(team: Team) -> Team:
    """A Workload that was planned, approved, made, served, and then changed on the platform in many fields."""
    declared = {"description": "ours", "command": "ours", "executionPolicyConfig": {"replicas": 2}}
    team.declare(NAME, {ON_DRIFT: "DryRun"}, executionPolicy="fixed", **declared)
    approve(team, NAME, until_plan(team, NAME))
    team.until_ready(NAME)
    team.platform.edit(team.name, NAME, **FIELDS, **{"execution_policy_config.replicas": 7})
    until_drift(team, NAME, "OutOfBand")
    return team


def test_the_columns_stay_narrow(drifted: Team) -> None:
    """However much differs, the table can be read: the first fields by name, and how many more there are."""
    shown = drifted.kubectl("get", "ikw", NAME).stdout.splitlines()
    assert shown[0].split() == ["NAME", "READY", "REASON", "DRIFTED", "POLICY", "BACKEND", "MODEL", "AGE"]
    assert re.split(r"\s{2,}", shown[1])[:5] == [
        NAME,
        "True",
        "Ready",
        "backend, model, description, command and 1 more",
        "DryRun",
    ]
    assert max(map(len, shown)) <= 120


def test_describe_tells_what_happened_in_its_order(drifted: Team) -> None:
    """From the first plan to the last drift, as kubectl prints it."""
    eventually(lambda: len(drifted.events(NAME)), lambda told: told == 4)
    events = drifted.kubectl("describe", "ikw", NAME).stdout.rpartition("\nEvents:")[2]
    told = re.findall(r"^ +(?:Normal|Warning) +(\w+) ", events, re.MULTILINE)
    assert told == ["PlanPending", "Created", "Ready", "DriftDetected"]


def test_describe_says_what_to_type(drifted: Team) -> None:
    """The message that speaks of the drift ends with the command that approves its plan."""
    plan = until_plan(drifted, NAME)
    shown = drifted.kubectl("describe", "ikw", NAME).stdout
    command = f"kubectl annotate ikw/{NAME} -n {drifted.name} --overwrite inferencekey.com/approve-plan={plan}"
    assert re.search(rf"Message: +Changed on the platform: .*{re.escape(command)}\n", shown)
