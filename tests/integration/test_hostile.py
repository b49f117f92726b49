"""Hostile manifests, Secrets and platforms on a real cluster: refused with a message, or brought to a verdict.

The operator's own end asserts that nothing in its log is a traceback. A good Workload in a namespace of its own is
ready all the while. How many manifests there are, HOSTILE_MANIFESTS says; the suite has a few dozen.
"""

from __future__ import annotations

import base64
import os

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from harness.api import WORKLOADS
from harness.crowd import Crowd
from harness.team import SECRET, Team
from harness.waiting import eventually
from hostile.on_cluster import ANSWERS, SECRETS, Manifest, manifests
from inferencekey_operator.errors import Reason

COUNT = int(os.environ.get("HOSTILE_MANIFESTS", "40"))
REASONS = set(map(str, Reason))


@pytest.fixture(scope="module")
def good(crowd: Crowd) -> Team:
    """A team that has nothing to do with it."""
    return crowd.team()


def _until_told(team: Team, names: list[str]) -> None:
    """Each has a verdict with one of our reasons about what is declared now; the harness judges each status."""
    eventually(
        lambda: [name for name in names if team.verdict(name).partition(" ")[2] not in REASONS],
        lambda left: not left,
        within=120,
    )


def test_hostile_manifests(crowd: Crowd, good: Team) -> None:
    """What the API server lets in gets a verdict, and a Workload that is declared after all of them is ready."""
    team = crowd.team()
    accepted: list[str] = []

    @settings(
        max_examples=COUNT,
        database=None,
        deadline=None,
        derandomize="HOSTILE_MANIFESTS" not in os.environ,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(manifests())
    def apply(made: Manifest) -> None:
        name = f"evil-{len(accepted)}"
        answer = team.api.post(f"{WORKLOADS}/namespaces/{team.name}/workloads", made.written(name))
        assert answer.is_success or (answer.status_code < 500 and answer.json()["message"]), answer.text
        if answer.is_success:
            accepted.append(name)

    apply()
    assert len(accepted) > COUNT // 10
    good.declare("after-manifests")
    good.until_ready("after-manifests")
    _until_told(team, accepted)


def test_hostile_secrets(crowd: Crowd) -> None:
    """Any bytes under any key: a reason and no call; and the Secret that comes after them is heard of."""
    teams = []
    for content in SECRETS:
        team = crowd.bare()
        data = {key: base64.b64encode(value).decode() for key, value in content.items()}
        team.api.create(f"/api/v1/namespaces/{team.name}/secrets", {"metadata": {"name": SECRET}, "data": data})
        team.declare("evil")
        teams.append(team)
    late = crowd.team()
    late.declare("after-secrets")
    late.until_ready("after-secrets")
    for team in teams:
        _until_told(team, ["evil"])
        assert team.calls() == []


def test_hostile_answers(crowd: Crowd, good: Team) -> None:
    """A platform that answers one project with whatever bytes: a verdict there, and no other project notices."""
    teams = []
    for operation, headers, body in ANSWERS:
        team = crowd.team()
        crowd.platform.fault(
            "respond", operation=operation, project=team.name, status=200, headers=headers, body=body, times=None
        )
        team.declare("evil")
        teams.append(team)
    good.declare("after-answers")
    good.until_ready("after-answers")
    for team in teams:
        _until_told(team, ["evil"])
        assert len(team.slugs()) <= 1
