"""A look that is asked for is taken now, not at the next interval, and the status says which one was the last.

The operator looks by itself once a minute, and so in no test.
"""

from __future__ import annotations

from functools import partial

import pytest

from harness import operators
from harness.drifting import drift, look, sent, until_drift
from harness.team import LOOK_NOW, ON_DRIFT, Team
from harness.waiting import equals, eventually

pytestmark = pytest.mark.usefixtures("operator")

NAME = "support-bot"
SOON = 60.0


@pytest.fixture(scope="module")
def operator_options() -> tuple[str, ...]:
    """It looks by itself only when all is over."""
    return (*operators.USUAL, "--list-interval=60s")


def _handled(team: Team) -> str | None:
    found = team.status(NAME).get("lastHandledReconcileAt")
    return None if found is None else str(found)


def test_it_looks_now(team: Team) -> None:
    """What changed on the platform is seen and repaired within seconds, and the value is recorded as it was given."""
    team.declare(NAME)
    team.until_ready(NAME)
    assert _handled(team) is None
    since = team.platform.last()
    team.platform.edit(team.name, NAME, model_name="by-hand")
    team.kubectl("annotate", f"ikw/{NAME}", f"{LOOK_NOW}=2026-03-02T10:41:32Z")
    eventually(lambda: team.live(NAME)["model_name"], equals("llama-3"), within=SOON)
    eventually(lambda: _handled(team), equals("2026-03-02T10:41:32Z"), within=SOON)
    assert sent(team, since) == [{"model_name": "llama-3"}]


def test_each_new_value_is_one_look(team: Team) -> None:
    """Any text will do; one list each, and none for a value that was handled."""
    team.declare(NAME)
    team.until_ready(NAME)
    since = team.platform.last()
    for number, value in enumerate(("now", "again", "42", "now"), start=1):
        team.annotate(NAME, {LOOK_NOW: value})
        eventually(partial(_handled, team), equals(value), within=SOON)
        assert len(team.calls("list", since=since)) == number
    team.annotate(NAME, {LOOK_NOW: None})
    team.edit(NAME, endpoint={"configMapName": "endpoint"})
    eventually(lambda: team.config_map("endpoint"))
    assert _handled(team) == "now"
    assert team.platform_writes(since) == []


def test_it_is_taken_under_every_policy(team: Team) -> None:
    """It is a look and no approval: what is withheld stays so, and is shown as it is now."""
    team.declare(NAME)
    team.until_ready(NAME)
    team.annotate(NAME, {ON_DRIFT: "Warn"})
    since = team.platform.last()
    team.platform.edit(team.name, NAME, model_name="by-hand")
    look(team, NAME)
    until_drift(team, NAME, "OutOfBand")
    team.platform.edit(team.name, NAME, model_name="by-another-hand")
    look(team, NAME)
    assert drift(team, NAME)["fields"][0]["live"] == "by-another-hand"
    assert sent(team, since) == []


def test_it_is_handled_when_the_platform_was_seen(team: Team) -> None:
    """While that does not answer the request stands, and is carried out as soon as it does."""
    team.declare(NAME)
    team.until_ready(NAME)
    team.platform.edit(team.name, NAME, model_name="by-hand")
    since = team.platform.last()
    team.platform.fault("respond", operation="list", project=team.name, status=503, times=2)
    team.annotate(NAME, {LOOK_NOW: "now"})
    eventually(lambda: _handled(team), equals("now"))
    assert [call["status"] for call in team.calls("list", since=since)][:3] == [503, 503, 200]
    eventually(lambda: team.live(NAME)["model_name"], equals("llama-3"))


def test_it_looks_at_readiness_as_well(team: Team) -> None:
    """Also of what was ready or failed, which is otherwise looked at slowly."""
    team.declare(NAME)
    team.until_ready(NAME)
    team.platform.phase(team.name, NAME, "error", "out of memory")
    look(team, NAME)
    team.until(NAME, "False PlatformError", within=SOON)
    team.platform.phase(team.name, NAME, "ready")
    look(team, NAME)
    team.until_ready(NAME, within=SOON)
