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
    """The finalizer says whose the row is; no call changes the platform."""
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


def test_one_that_was_torn_away_is_found_again(team: Team) -> None:
    """Deleted with its finalizer taken off by force, and declared anew: the row that stayed is adopted, not doubled."""
    before = made(team)
    team.kubectl("delete", f"ikw/{NAME}", "--wait=false")
    if team.find(NAME) is not None:
        team.kubectl("patch", f"ikw/{NAME}", "--type=merge", "-p", '{"metadata":{"finalizers":[]}}', check=False)
    team.until_gone(NAME)
    left = team.slugs()

    team.declare(NAME)
    after = team.until_ready(NAME)

    assert team.slugs() == [NAME]
    assert after["status"]["adopted"] is (left == [NAME])
    assert (after["status"]["workloadId"] == before["status"]["workloadId"]) is (left == [NAME])


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
