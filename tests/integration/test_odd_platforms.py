"""A platform that keeps its contract in its own way: pages instead of lists, other slugs, clocks that are wrong."""

from __future__ import annotations

from typing import Any

import pytest

from harness import operators
from harness.operators import Operator
from harness.simulator import behaving
from harness.team import Team
from harness.waiting import eventually
from inferencekey_simulator.admin import Admin

pytestmark = pytest.mark.usefixtures("operator")

NAME = "support-bot"
OPEN = 4.0
"""Seconds that the moment of a crash is held open: less than a call to the platform may take."""


@pytest.fixture(scope="module")
def operator_options() -> tuple[str, ...]:
    """Creations in doubt are soon decided."""
    return (*operators.USUAL, "--uncertain-create-timeout=3s")


@pytest.mark.parametrize("form", ["next_cursor", "has_more", "total", "link"])
def test_one_page_of_several_is_no_list(team: Team, platform: Admin, form: str) -> None:
    """What it lacks is not absent, so nothing is created; what is recorded is deleted by its id all the same."""
    team.declare("recorded")
    team.until_ready("recorded")
    for slug in ("theirs", NAME):
        platform.add(team.name, slug, backend="vllm", model_name="theirs")
    since = platform.last()
    with behaving(platform, pages=form, page_size=2):
        team.declare(NAME, adoptionPolicy="Never")
        team.until(NAME, "False PlatformError")
        assert "one page of several" in team.conditions(NAME)["Reconciling"]["message"]
        team.delete("recorded")
        team.until_gone("recorded")
        assert team.platform_writes(since) == ["delete recorded"]
    team.until(NAME, "False AdoptionPending")
    assert team.slugs() == [NAME, "theirs"]


@pytest.mark.parametrize("form", ["upper", "truncated"])
def test_a_platform_that_spells_slugs_in_another_way(team: Team, platform: Admin, form: str) -> None:
    """The workload that came of the creation is deleted again, and no other is made until the declaration moves."""
    with behaving(platform, slug_form=form):
        team.declare(NAME)
        team.until(NAME, "False PlatformRefused")
        team.pass_intervals(8)
        assert (len(team.calls("create")), len(team.calls("delete")), team.slugs()) == (1, 1, [])
        assert f'of the slug "{NAME}"' in team.conditions(NAME)["Stalled"]["message"]
    team.kubectl("delete", "ikw", NAME, "--timeout=30s")
    assert (len(team.calls("create")), len(team.calls("delete"))) == (1, 1)


CLOCKS = {
    "an-hour-ahead": {"clock_skew": 3600.0},
    "behind-the-date-header": {"clock_skew": -7200.0, "date_header": "true"},
    "no-date-header": {"date_header": "none"},
    "no-times": {"created_at": "missing"},
    "times-without-a-zone": {"created_at": "naive"},
    "year-1": {"created_at": "year_1"},
}


@pytest.mark.parametrize("clock", CLOCKS)
def test_a_crash_under_a_clock_that_is_wrong(team: Team, operator: Operator, platform: Admin, clock: str) -> None:
    """What was made before the crash is found by its record, and is this Workload's own whatever the times say."""
    settings: dict[str, Any] = CLOCKS[clock]
    with behaving(platform, **settings):
        platform.fault("delay_after", operation="create", project=team.name, seconds=OPEN)
        team.declare(NAME)
        eventually(lambda: [call for call in team.calls("create") if call["seconds"] is None])
        operator.kill()
        operator.forget_lease()
        operator.start()
        status = team.until_ready(NAME, within=120)["status"]
        assert (status["workloadId"], status["adopted"]) == (team.live(NAME)["id"], False)
        eventually(lambda: "creation" not in team.status(NAME), within=120)  # it outlasts what it may have made
        team.kubectl("delete", "ikw", NAME, "--timeout=30s")
    assert team.platform_writes() == [f"create {NAME}", f"delete {NAME}"]
