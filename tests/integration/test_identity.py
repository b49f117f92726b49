"""Platform, project and slug are pinned when they are first used: whatever moves them stops everything, in both places.

A second Workload, in a project of its own, is the clock: as it is looked at again and again, this one is not.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from controlplane.access import Cluster
from harness import operators
from harness.api import Api
from harness.drifting import told, version
from harness.operators import Operator, Surroundings
from harness.team import BASE_URL_KEY, PROJECT_KEY, TOKEN_KEY, Team
from harness.teams import another_team
from harness.waiting import eventually
from inferencekey_simulator.admin import Admin

pytestmark = pytest.mark.usefixtures("operator")

NAME = "support-bot"
CHANGED = "False IdentityChanged"


@pytest.fixture(scope="module")
def elsewhere(platform: Admin) -> str:
    """Another platform: the same one, under another name."""
    return f"http://localhost:{urlsplit(platform.url).port}"


@pytest.fixture(scope="module")
def operator_options(elsewhere: str) -> tuple[str, ...]:
    """It may call both platforms, and looks often."""
    return (*operators.USUAL, f"--allow-base-url={elsewhere}")


@pytest.fixture
def clock(operator: Operator, control_plane: Cluster, api: Api, platform: Admin) -> Iterator[Team]:
    """Another team with a Workload that is served."""
    with another_team(control_plane, api, platform) as team:
        team.declare("clock")
        team.until_ready("clock")
        yield team


def _stopped(team: Team, clock: Team, *projects: str) -> None:
    """Stalled, told once, and as long as that lasts nothing is called, about either project, and nothing written."""
    team.until(NAME, CHANGED)
    conditions = team.conditions(NAME)
    assert conditions["Stalled"]["reason"] == "IdentityChanged"
    eventually(lambda: told(team, NAME)["Warning IdentityChanged"])
    clock.pass_intervals(1)
    before, since = version(team, NAME), team.platform.last()
    clock.pass_intervals(4)
    assert team.calls(since=since) == []
    assert version(team, NAME) == before
    for project in projects:
        assert team.platform.counters(project)["list"] == 0
        assert team.platform.workloads(project) == []


def _serves_again(team: Team, before: dict[str, object]) -> None:
    """All is as it was, and nothing was changed on the platform."""
    status = team.until_ready(NAME)["status"]
    assert {key: status[key] for key in before} == before
    assert team.platform_writes() == [f"create {NAME}"]
    assert team.slugs() == [NAME]


def _serve(team: Team, **spec: Any) -> dict[str, object]:
    """The Workload, served; what is pinned of it."""
    team.declare(NAME, **spec)
    status = team.until_ready(NAME)["status"]
    return {key: status[key] for key in ("workloadId", "platformURL", "projectSlug", "workloadSlug")}


def test_a_secret_of_another_project(team: Team, clock: Team) -> None:
    """A good token for a project without that slug creates nothing there; set back, all is as it was."""
    pinned = _serve(team)
    other = f"{team.name}-other"
    team.secret(**{TOKEN_KEY: team.platform.mint(other), PROJECT_KEY: other})
    _stopped(team, clock, other)
    message = team.conditions(NAME)["Ready"]["message"]
    assert f"project was {team.name}, is {other}" in message
    assert team.status(NAME)["projectSlug"] == team.name
    team.secret()
    _serves_again(team, pinned)


def test_a_secret_of_another_platform(team: Team, clock: Team, elsewhere: str) -> None:
    """Also one that the operator may call."""
    pinned = _serve(team)
    team.secret(**{BASE_URL_KEY: elsewhere})
    _stopped(team, clock)
    assert f"platform was {team.platform.url}, is {elsewhere}" in team.conditions(NAME)["Ready"]["message"]
    team.secret()
    _serves_again(team, pinned)


def test_another_project_in_the_spec(team: Team, clock: Team) -> None:
    """To name the project in use is no change, to name another one is."""
    pinned = _serve(team)
    team.edit(NAME, project=team.name)
    _serves_again(team, pinned)
    team.drop_secret()
    team.secret(**{PROJECT_KEY: None})
    _serves_again(team, pinned)


def test_a_project_that_the_spec_names_too_late(team: Team, clock: Team) -> None:
    """It is not the one that the Secret named first; that is said of it though the edit came in the midst of a look."""
    pinned = _serve(team)
    other = f"{team.name}-other"
    token = team.platform.mint(other)
    slow = team.platform.fault("delay", operation="list", project=team.name, seconds=1.0, times=None)
    team.secret(**{TOKEN_KEY: token})
    eventually(lambda: [call for call in team.calls("list") if token.startswith(call["credential"].rstrip("…"))])
    team.edit(NAME, project=other)
    team.platform.clear_faults(slow)
    _stopped(team, clock, other)
    assert team.status(NAME)["workloadId"] == pinned["workloadId"]


@pytest.fixture
def moved(api: Api, service_account: Path, elsewhere: str, tmp_path: Path) -> Operator:
    """An operator that was started for another platform; not started yet."""
    return Operator(Surroundings(api, service_account, elsewhere, tmp_path / "log"), *operators.USUAL)


def test_an_operator_that_moved(team: Team, operator: Operator, moved: Operator) -> None:
    """Started for another platform it calls nothing and creates nothing there; started again as before, all is well."""
    team.secret(**{BASE_URL_KEY: None})
    pinned = _serve(team)
    assert operator.stop() == 0
    since = team.platform.last()
    moved.start()
    team.until(NAME, CHANGED)
    team.edit(NAME, model="llama-4")
    team.until(NAME, CHANGED)
    moved.close()
    assert team.calls(since=since) == []
    operator.start()
    status = team.until_ready(NAME)["status"]
    assert {key: status[key] for key in pinned} == pinned
    assert team.platform_writes(since) == [f"update {NAME}"]


def test_an_operator_that_moved_deletes_nothing(team: Team, operator: Operator, moved: Operator) -> None:
    """A token for its own platform goes to no other: after the grace time it lets go, and says what is left where."""
    team.secret(**{BASE_URL_KEY: None})
    pinned = _serve(team)
    assert operator.stop() == 0
    since = team.platform.last()
    moved.start()
    team.delete(NAME)
    team.until_gone(NAME, within=120)
    moved.close()
    assert "was released without a token (IdentityChanged)" in moved.log()
    assert str(pinned["workloadId"]) in moved.log()
    assert team.calls(since=since) == []
    assert team.slugs() == [NAME]
