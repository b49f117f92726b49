"""Somebody else undoes every repair: after the third it is not repeated, until somebody asks for it."""

from __future__ import annotations

import pytest

from harness import operators
from harness.drifting import approve, drift, look, sent, told, until_drift, until_plan, until_told, version
from harness.operators import Operator
from harness.team import Team
from harness.waiting import equals, eventually

pytestmark = pytest.mark.usefixtures("operator")

NAME = "support-bot"
REPAIR = {"model_name": "llama-3"}
REPAIRS = 3


@pytest.fixture(scope="module")
def operator_options() -> tuple[str, ...]:
    """A list may show the state before a repair for a second, and is believed to show a new change after that."""
    return (*operators.USUAL, "--uncertain-create-timeout=1s")


def _contest(team: Team, name: str = NAME) -> int:
    """Undo every repair until there is none any more; the first request after the Workload was served."""
    team.declare(name)
    team.until_ready(name)
    since = team.platform.last()
    for repaired in range(1, REPAIRS + 1):
        team.platform.edit(team.name, name, model_name="theirs")
        eventually(lambda: len(sent(team, since)), equals(repaired))
        until_drift(team, name, None)
        team.until_ready(name)
    team.platform.edit(team.name, name, model_name="theirs")
    team.until(name, "False Contested")
    return since


def test_the_third_undoing_ends_it(team: Team) -> None:
    """Contested and Stalled, told once, with the plan that would repair it; nothing is written any more."""
    since = _contest(team)
    conditions = team.conditions(NAME)
    assert conditions["Stalled"]["reason"] == "Contested"
    assert "undid the repair" in conditions["Ready"]["message"]
    assert f"approve-plan={until_plan(team, NAME)}" in conditions["Ready"]["message"]
    eventually(lambda: told(team, NAME)["Warning Contested"], equals(1))
    before = version(team, NAME)
    team.pass_intervals(4)
    assert sent(team, since) == [REPAIR] * REPAIRS
    assert version(team, NAME) == before
    assert told(team, NAME)["Warning Contested"] == 1
    assert team.live(NAME)["model_name"] == "theirs"


def test_a_look_that_is_asked_for_goes_on(team: Team) -> None:
    """It is repaired again, and three more times may be undone."""
    since = _contest(team)
    look(team, NAME)
    until_drift(team, NAME, None)
    team.until_ready(NAME)
    assert len(sent(team, since)) == REPAIRS + 1
    team.platform.edit(team.name, NAME, model_name="theirs")
    eventually(lambda: len(sent(team, since)), equals(REPAIRS + 2))
    until_drift(team, NAME, None)


def test_a_restart_does_not_begin_anew(team: Team, operator: Operator) -> None:
    """What was contested stays so; and ends when the other one gives in."""
    since = _contest(team)
    before = version(team, NAME)
    assert operator.stop() == 0
    operator.start()
    team.pass_intervals(3)
    assert (version(team, NAME), len(sent(team, since))) == (before, REPAIRS)
    team.platform.edit(team.name, NAME, model_name="llama-3")
    until_drift(team, NAME, None)
    team.until_ready(NAME)
    assert len(sent(team, since)) == REPAIRS


def test_its_plan_can_be_approved(team: Team) -> None:
    """Exactly that repair is made, once."""
    since = _contest(team)
    approve(team, NAME, until_plan(team, NAME))
    until_drift(team, NAME, None)
    assert team.live(NAME)["model_name"] == "llama-3"
    assert len(sent(team, since)) == REPAIRS + 1


def test_what_the_team_edits_itself_is_no_contest(team: Team) -> None:
    """Any number of edits of the spec is applied."""
    team.declare(NAME)
    team.until_ready(NAME)
    since = team.platform.last()
    for number in range(REPAIRS + 2):
        team.edit(NAME, model=f"llama-{number}")
        team.until_ready(NAME)
    assert sent(team, since) == [{"model_name": f"llama-{number}"} for number in range(REPAIRS + 2)]
    assert "class" not in drift(team, NAME)
    edits = ["Normal Updated", "Normal Ready"] * (REPAIRS + 2)
    until_told(team, NAME, "Normal Created", "Normal Ready", *edits)


def test_a_repair_that_never_arrived_was_undone_by_nobody(team: Team) -> None:
    """A platform in trouble is tried until it takes the repair, however often it failed before."""
    team.declare(NAME)
    team.until_ready(NAME)
    team.platform.fault("respond", operation="update", project=team.name, status=500, times=REPAIRS)
    since = team.platform.last()
    team.platform.edit(team.name, NAME, model_name="theirs")
    eventually(lambda: len(sent(team, since)), equals(REPAIRS + 1), within=120)
    until_drift(team, NAME, None)
    team.until_ready(NAME)
    assert "Warning Contested" not in told(team, NAME)
