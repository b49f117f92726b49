"""A platform that answers oddly, and people who act in the middle of it: each story ends without a duplicate or a loss.

Each test tells one story from its beginning to its end, with a team of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from harness import operators
from harness.drifting import told
from harness.scrape import Scrape, free_port
from harness.simulator import behaving
from harness.team import Team
from harness.waiting import eventually
from inferencekey_simulator.admin import Admin

pytestmark = pytest.mark.usefixtures("operator")

NAME = "support-bot"
PENDING = "False AdoptionPending"
FINALIZER = "inferencekey.com/workload"
SETTLE = 3.0


@pytest.fixture(scope="module")
def scrape() -> Scrape:
    """Where the operator shows its metrics."""
    return Scrape(free_port())


@pytest.fixture(scope="module")
def operator_options(scrape: Scrape) -> tuple[str, ...]:
    """Lists soon count as newer than a write."""
    return (*operators.USUAL, f"--uncertain-create-timeout={SETTLE}s", scrape.option)


@contextmanager
def _listing_nothing(team: Team) -> Iterator[None]:
    """The project's lists have no row for as long as the context lasts."""
    nothing = {"workloads": None}
    fault = team.platform.fault("respond", operation="list", project=team.name, status=200, body=nothing, times=None)
    yield
    team.platform.clear_faults(fault)


def _finalizers(team: Team) -> list[str]:
    found: list[str] = team.workload(NAME)["metadata"].get("finalizers", [])
    return found


def _deletions(team: Team, workload_id: str) -> list[int | None]:
    """What the platform answered each DELETE of this id."""
    calls = team.platform.requests(operation="delete")
    return [call["status"] for call in calls if call["path"] == f"/api/workloads/{workload_id}"]


# -- lists without rows ----------------------------------------------------------------------------------------


def test_an_empty_list_hides_nothing_from_a_deletion(team: Team) -> None:
    """The DELETE goes out by the recorded id, and nothing stays on the platform."""
    team.declare(NAME)
    workload_id = team.until_ready(NAME)["status"]["workloadId"]
    with _listing_nothing(team):
        team.pass_intervals(3)
        team.kubectl("delete", "ikw", NAME, "--timeout=30s")
    assert team.slugs() == []
    assert _deletions(team, workload_id) == [204]
    assert team.platform_writes() == [f"create {NAME}", f"delete {NAME}"]


@pytest.mark.usefixtures("controllers")
def test_a_namespace_that_goes_while_the_list_is_empty_leaves_nothing(team: Team) -> None:
    """Six Workloads: so many missing at once are not believed to be gone, and each is deleted by its id."""
    names = [f"bot-{number}" for number in range(6)]
    for name in names:
        team.declare(name)
    for name in names:
        team.until_ready(name)
    with _listing_nothing(team):
        team.pass_intervals(3)
        team.kubectl("delete", "namespace", team.name, "--timeout=50s")
    assert team.slugs() == []
    assert sorted(team.platform_writes()) == sorted(f"{verb} {name}" for verb in ("create", "delete") for name in names)


# -- slugs that someone else takes -----------------------------------------------------------------------------


@pytest.mark.parametrize("status", [422, 403])
def test_what_is_made_by_hand_after_a_refusal_is_not_ours(team: Team, status: int) -> None:
    """The refusal takes back the record, the pins and the finalizer, so the row is found, not made here."""
    refusal = {"error": "not this one"}
    team.platform.fault("respond", operation="create", project=team.name, status=status, body=refusal)
    team.declare(NAME, adoptionPolicy="Never")
    team.until(NAME, "False PlatformRefused")
    theirs = team.platform.add(team.name, NAME, backend="vllm", model_name="theirs")
    team.until(NAME, PENDING)
    team.pass_intervals(2)
    assert _finalizers(team) == []
    assert not {"creation", "platformURL", "projectSlug", "workloadSlug"} & team.status(NAME).keys()
    team.kubectl("delete", "ikw", NAME, "--timeout=30s")
    assert (team.live(NAME)["id"], team.live(NAME)["model_name"]) == (theirs["id"], "theirs")
    assert team.platform_writes() == [f"create {NAME}"]


def test_a_slug_that_is_taken_while_our_creation_is_under_way(team: Team) -> None:
    """The platform gives ours another slug: that duplicate is deleted, and theirs is neither changed nor deleted."""
    team.platform.fault("delay", operation="create", project=team.name, seconds=2.0)
    team.declare(NAME, adoptionPolicy="Never")
    eventually(lambda: team.calls("create"))
    theirs = team.platform.add(team.name, NAME, backend="vllm", model_name="theirs")
    team.until(NAME, PENDING, within=120)
    assert team.slugs() == [NAME]
    assert "duplicateWorkloadId" not in team.status(NAME)
    team.kubectl("delete", "ikw", NAME, "--timeout=30s")
    assert (team.live(NAME)["id"], team.live(NAME)["model_name"]) == (theirs["id"], "theirs")
    assert team.calls("update") == []
    assert len(team.calls("create")) == 1
    assert len(team.calls("delete")) == 1
    assert told(team, NAME)["Normal DuplicateWorkload"] == 1


def test_a_slug_that_is_renamed_by_hand(team: Team) -> None:
    """The operator names both slugs and sends nothing; a deletion leaves the workload in place, and says so."""
    team.declare(NAME)
    workload_id = team.until_ready(NAME)["status"]["workloadId"]
    since = team.platform.last()
    team.platform.edit(team.name, NAME, slug="renamed")
    team.until(NAME, "False IdentityChanged")
    stalled = team.conditions(NAME)["Stalled"]
    assert stalled["reason"] == "IdentityChanged"
    assert f'"{NAME}"' in stalled["message"]
    assert '"renamed"' in stalled["message"]
    team.pass_intervals(2)
    team.kubectl("delete", "ikw", NAME, "--timeout=30s")
    assert team.slugs() == ["renamed"]
    assert team.platform_writes(since) == []
    eventually(lambda: [event for event in team.events(NAME) if event.reason == "Orphaned"])
    (orphaned,) = [event for event in team.events(NAME) if event.reason == "Orphaned"]
    assert workload_id in orphaned.note


# -- deletions that take their time ----------------------------------------------------------------------------


def test_a_deletion_that_is_carried_out_later(team: Team, platform: Admin) -> None:
    """The platform answers 202: the finalizer stays until the workload is gone."""
    team.declare(NAME)
    workload_id = team.until_ready(NAME)["status"]["workloadId"]
    with behaving(platform, deletion="later", deletion_seconds=6.0):
        team.delete(NAME)
        eventually(lambda: _deletions(team, workload_id) == [202])
        team.pass_intervals(3)
        assert team.slugs() == [NAME]
        assert _finalizers(team) == [FINALIZER]
        team.until_gone(NAME, within=120)
        assert team.slugs() == []


def test_a_deletion_that_is_never_carried_out(team: Team, platform: Admin) -> None:
    """The finalizer stays, the status says that the platform still lists the workload, and the DELETE is repeated."""
    team.declare(NAME)
    workload_id = team.until_ready(NAME)["status"]["workloadId"]
    with behaving(platform, deletion="never"):
        team.delete(NAME)
        message = f"accepted the deletion of {workload_id}, and still lists it"
        eventually(lambda: message in team.conditions(NAME)["Ready"]["message"])
        eventually(lambda: len(_deletions(team, workload_id)) > 1)
        assert _finalizers(team) == [FINALIZER]
        assert team.slugs() == [NAME]
    team.until_gone(NAME, within=120)
    assert team.slugs() == []


# -- finalizers that are removed by hand -----------------------------------------------------------------------


def _stuck(team: Team) -> None:
    """In deletion for as long as the platform refuses it."""
    fault = team.platform.fault("respond", operation="delete", project=team.name, status=503, times=None)
    team.delete(NAME)
    eventually(lambda: "deletion goes on" in team.conditions(NAME)["Ready"]["message"])
    _remove_finalizers(team)
    team.until_gone(NAME)
    team.platform.clear_faults(fault)


def _remove_finalizers(team: Team) -> None:
    team.kubectl("patch", "ikw", NAME, "--type=merge", "-p", '{"metadata":{"finalizers":null}}')


def test_a_finalizer_that_is_removed_by_hand(team: Team, scrape: Scrape) -> None:
    """The workload is deleted by its id without the object; an Event and a metric tell that it was released by hand."""
    team.declare(NAME)
    workload_id = team.until_ready(NAME)["status"]["workloadId"]
    before = scrape.value("inferencekey_vanished_total") or 0
    _stuck(team)
    team.until_gone(NAME)
    eventually(lambda: team.slugs() == [])
    assert _deletions(team, workload_id)[-1] == 204
    assert scrape.value("inferencekey_vanished_total") == before + 1
    notes = eventually(lambda: [event.note for event in team.events(NAME) if "it had no finalizer" in event.note])
    assert workload_id in notes[0]
