"""A platform whose lists lag behind its own answers, one replica more than another: nothing is made or sent twice."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness import operators
from harness.operators import Operator
from harness.simulator import behaving
from harness.team import Team
from inferencekey_simulator.admin import Admin

NAME = "support-bot"
LAG = 2.0
SETTLE = 3.0
"""Seconds for which the operator believes its own writes more than a list: longer than the lag."""

pytestmark = pytest.mark.usefixtures("operator")


@pytest.fixture(scope="module")
def operator_options() -> tuple[str, ...]:
    """Lists count once they cannot lag any more."""
    return (*operators.USUAL, "--client-timeout=2s", f"--uncertain-create-timeout={SETTLE}s")


@pytest.fixture(params=[False, True], ids=["all-lag", "every-second-lags"])
def lagging(platform: Admin, request: pytest.FixtureRequest) -> Iterator[None]:
    """Lists show each change late: all of them, or every second one."""
    lags = {"create": LAG, "update": LAG, "delete": LAG}
    with behaving(platform, list_lag=lags, stale_replicas=request.param):
        yield


@pytest.mark.usefixtures("lagging")
def test_a_life_takes_one_write_for_each_change(team: Team) -> None:
    """Created, edited, deleted and declared again: no list that lags leads to a second write or an adoption."""
    team.declare(NAME)
    first = team.until_ready(NAME)["status"]
    team.edit(NAME, model="llama-4")
    team.until_ready(NAME)
    team.pass_intervals(5)
    team.delete(NAME)
    team.until_gone(NAME)
    team.declare(NAME)
    second = team.until_ready(NAME)["status"]
    team.pass_intervals(5)
    assert team.platform_writes() == [f"{verb} {NAME}" for verb in ("create", "update", "delete", "create")]
    assert (first["adopted"], second["adopted"]) == (False, False)
    assert [row["id"] for row in team.platform.workloads(team.name)] == [second["workloadId"]]


@pytest.mark.usefixtures("lagging")
def test_a_restart_forgets_what_was_written(team: Team, operator: Operator) -> None:
    """A row that is listed though it was deleted is not adopted by the next process: its readiness route is gone."""
    team.declare(NAME)
    first = team.until_ready(NAME)["status"]["workloadId"]
    team.pass_intervals(12)  # so that all replicas list it
    team.delete(NAME)
    team.until_gone(NAME)
    operator.kill()
    operator.forget_lease()
    team.declare(NAME)
    operator.start()
    status = team.until_ready(NAME, within=120)["status"]
    assert status["workloadId"] != first
    assert status["adopted"] is False
    assert team.platform_writes() == [f"{verb} {NAME}" for verb in ("create", "delete", "create")]
