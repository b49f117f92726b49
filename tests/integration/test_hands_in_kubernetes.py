"""What people do to a Workload in Kubernetes behind the operator's back: nothing is created twice, nothing is lost."""

from __future__ import annotations

from typing import Any

import pytest

from harness.api import WORKLOADS
from harness.team import Team
from harness.waiting import eventually

pytestmark = pytest.mark.usefixtures("operator")

NAME = "support-bot"
FINALIZER = "inferencekey.com/workload"


def path(team: Team) -> str:
    """Where the Workload is."""
    return f"{WORKLOADS}/namespaces/{team.name}/workloads/{NAME}"


def made(team: Team) -> dict[str, Any]:
    """A Workload that was made and serves."""
    team.declare(NAME)
    return team.until_ready(NAME)


def test_a_status_that_was_emptied_is_written_again(team: Team) -> None:
    """The process that made the row still knows its id; no call changes the platform."""
    before = made(team)
    since = team.platform.last()

    team.api.patch(f"{path(team)}/status", {"status": dict.fromkeys(before["status"])})

    after = eventually(lambda: team.workload(NAME)["status"], lambda status: "workloadId" in status)
    assert (after["workloadId"], after["adopted"]) == (before["status"]["workloadId"], False)
    assert (team.slugs(), team.platform_writes(since)) == ([NAME], [])


def test_a_status_that_was_falsified_is_corrected(team: Team) -> None:
    """What somebody writes into the status stands no longer than it takes to see it."""
    before = made(team)
    forged = {"endpoint": {"url": "https://elsewhere"}, "readiness": {"message": "forged"}}

    team.api.patch(f"{path(team)}/status", {"status": forged})

    eventually(lambda: team.status(NAME)["endpoint"]["url"], lambda url: url == before["status"]["endpoint"]["url"])
    team.until_ready(NAME)
    assert team.slugs() == [NAME]


@pytest.mark.parametrize(
    "nonsense", [{"class": "Sideways", "omitted": -3, "planId": "zz"}, {"since": "0001-01-01T00:00:00+05:00"}]
)
def test_a_status_that_nobody_can_read_is_replaced(team: Team, nonsense: dict[str, Any]) -> None:
    """The schema lets pass what this release cannot read: none of it stays, nor does it stop anything."""
    before = made(team)

    team.api.patch(f"{path(team)}/status", {"status": {"drift": nonsense}})

    eventually(lambda: team.api.get(path(team))["status"], lambda status: status == before["status"])


def test_a_finalizer_that_was_removed_comes_back(team: Team) -> None:
    """So the deletion still takes the workload along."""
    made(team)

    team.api.patch(path(team), {"metadata": {"finalizers": []}})

    eventually(lambda: team.workload(NAME)["metadata"].get("finalizers"), lambda names: names == [FINALIZER])
    team.delete(NAME)
    team.until_gone(NAME)
    assert team.slugs() == []


def _torn_away(team: Team) -> int:
    """Deleted with its finalizer taken off by force while the platform refuses deletions; the number of that fault."""
    fault = team.platform.fault("respond", operation="delete", project=team.name, status=503, times=None)
    team.kubectl("delete", f"ikw/{NAME}", "--wait=false")
    team.kubectl("patch", f"ikw/{NAME}", "--type=merge", "-p", '{"metadata":{"finalizers":[]}}')
    team.until_gone(NAME)
    return fault


def test_one_that_was_torn_away_leaves_nothing(team: Team) -> None:
    """Its workload is deleted as soon as the platform lets it, and what is declared next is made anew."""
    before = made(team)
    team.platform.clear_faults(_torn_away(team))
    eventually(lambda: team.slugs() == [])

    after = made(team)

    assert after["status"]["workloadId"] != before["status"]["workloadId"]
    assert after["status"]["adopted"] is False
    assert team.slugs() == [NAME]


def test_one_that_was_torn_away_and_declared_anew_is_found_again(team: Team) -> None:
    """The deletion that is still due gives way to the new declaration, which adopts the row."""
    before = made(team)
    fault = _torn_away(team)

    after = made(team)

    assert (after["status"]["workloadId"], after["status"]["adopted"]) == (before["status"]["workloadId"], True)
    team.platform.clear_faults(fault)
    team.pass_intervals(20)
    assert team.live(NAME)["id"] == before["status"]["workloadId"]


def test_a_backup_that_comes_back_finds_its_workload(team: Team) -> None:
    """The object of then, without status and with a new uid, while the workload runs on: one, as before."""
    backup = made(team)
    team.edit(NAME, deletionPolicy="Orphan")
    team.until_ready(NAME)
    team.delete(NAME)
    team.until_gone(NAME)
    since = team.platform.last()

    metadata = {"name": NAME, "finalizers": [FINALIZER]}
    body = {key: backup[key] for key in ("apiVersion", "kind", "spec")} | {"metadata": metadata}
    team.api.create(f"{WORKLOADS}/namespaces/{team.name}/workloads", body)

    after = team.until_ready(NAME)
    assert after["status"]["workloadId"] == backup["status"]["workloadId"]
    assert (team.slugs(), team.platform_writes(since)) == ([NAME], [])
