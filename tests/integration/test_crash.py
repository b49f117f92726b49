"""SIGKILL at the worst moments, and what is there when the operator is back.

The moments are held open by the platform, which is slow where a test says so. A Lease that was left is removed, but in
the tests that wait for it.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness import operators
from harness.audit import Audit
from harness.operators import Operator
from harness.team import Team
from harness.waiting import eventually
from inferencekey_simulator.admin import Admin

OPEN = 4.0
"""Seconds that a moment is held open: less than a call to the platform may take, enough to be hit."""
FINALIZER = "inferencekey.com/workload"


@pytest.fixture(scope="module")
def operator_options() -> tuple[str, ...]:
    """With the shortest Lease that these calls to the platform allow."""
    return (*operators.USUAL, "--lease-duration=9s")


@pytest.fixture(autouse=True)
def no_faults(platform: Admin) -> Iterator[None]:
    """The platform is as it should be when the test is over."""
    yield
    platform.clear_faults()


def _meanwhile(team: Team, operation: str) -> None:
    """Back when that call is under way and held open."""
    eventually(lambda: [call for call in team.calls(operation) if call["seconds"] is None])


def _crash(operator: Operator) -> None:
    operator.kill()
    operator.forget_lease()


def test_killed_between_the_creation_and_the_status(team: Team, operator: Operator) -> None:
    """It is on the platform and no status says so: there is one when the operator is back, not two, and it is ours."""
    team.platform.fault("delay_after", operation="create", project=team.name, seconds=OPEN)
    team.declare("support-bot")
    _meanwhile(team, "create")
    _crash(operator)
    assert team.slugs() == ["support-bot"]
    assert "workloadId" not in team.status("support-bot")
    operator.start()
    status = team.until_ready("support-bot")["status"]
    assert team.slugs() == ["support-bot"]
    assert team.platform_writes() == ["create support-bot"]
    assert not status.get("adopted")
    assert status["workloadId"] == team.live("support-bot")["id"]
    team.kubectl("delete", "ikw", "support-bot", "--timeout=30s")
    assert team.slugs() == []


def test_deleted_before_the_status_was_written(team: Team, operator: Operator) -> None:
    """Made, never reported, and deleted while the operator was away: it is deleted on the platform."""
    team.platform.fault("delay_after", operation="create", project=team.name, seconds=OPEN)
    team.declare("support-bot")
    _meanwhile(team, "create")
    _crash(operator)
    team.delete("support-bot")
    operator.start()
    team.until_gone("support-bot", within=120)
    assert team.platform_writes() == ["create support-bot", "delete support-bot"]
    assert team.slugs() == []


def test_killed_between_the_finalizer_and_the_creation(team: Team, operator: Operator) -> None:
    """The record of a creation that never came to the platform: it is made, once, after a look."""
    team.platform.fault("cut_before", operation="create", project=team.name, seconds=OPEN)
    team.declare("support-bot")
    _meanwhile(team, "create")
    _crash(operator)
    assert team.workload("support-bot")["metadata"]["finalizers"] == [FINALIZER]
    assert team.slugs() == []
    operator.start()
    status = team.until_ready("support-bot", within=120)["status"]
    assert team.slugs() == ["support-bot"]
    assert not status.get("adopted")


def test_a_creation_that_is_carried_out_late(team: Team, operator: Operator) -> None:
    """The platform carries it out after the operator died and is back: there is still one, not two."""
    team.platform.fault("delay", operation="create", project=team.name, seconds=OPEN)
    team.declare("support-bot")
    _meanwhile(team, "create")
    _crash(operator)
    operator.start()
    team.until_ready("support-bot", within=120)
    eventually(lambda: [call["seconds"] for call in team.calls("create")], all)
    assert team.slugs() == ["support-bot"]


def test_deleted_while_a_creation_is_carried_out_late(team: Team, operator: Operator) -> None:
    """The finalizer stays until it is certain that nothing comes any more: nothing is left on the platform."""
    team.platform.fault("delay", operation="create", project=team.name, seconds=OPEN)
    team.declare("support-bot")
    _meanwhile(team, "create")
    _crash(operator)
    team.delete("support-bot")
    operator.start()
    team.until_gone("support-bot", within=120)
    eventually(lambda: [call["seconds"] for call in team.calls("create")], all)
    assert team.slugs() == []


def test_killed_between_the_deletion_and_the_finalizer(team: Team, operator: Operator) -> None:
    """What was deleted on the platform is let go in Kubernetes, and nothing is deleted twice."""
    team.declare("support-bot")
    team.until_ready("support-bot")
    team.platform.fault("delay_after", operation="delete", project=team.name, seconds=OPEN)
    team.delete("support-bot")
    _meanwhile(team, "delete")
    _crash(operator)
    assert team.slugs() == []
    operator.start()
    team.until_gone("support-bot", within=120)
    assert team.platform_writes() == ["create support-bot", "delete support-bot"]


@pytest.mark.parametrize("deleted", [False, True], ids=["kept", "deleted-meanwhile"])
def test_killed_before_a_duplicate_was_deleted(team: Team, operator: Operator, deleted: bool) -> None:
    """Its id is in the status before the DELETE is sent: the next process deletes it, and leaves who has the slug."""
    team.platform.fault("delay", operation="create", project=team.name, seconds=OPEN / 2)
    team.platform.fault("respond", operation="delete", project=team.name, status=503, times=None)
    team.declare("support-bot", adoptionPolicy="Never")
    _meanwhile(team, "create")
    theirs = team.platform.add(team.name, "support-bot", backend="vllm", model_name="theirs")
    duplicate = eventually(lambda: team.status("support-bot").get("duplicateWorkloadId"))
    assert {row["id"] for row in team.platform.workloads(team.name)} == {theirs["id"], duplicate}
    _crash(operator)
    team.platform.clear_faults()
    if deleted:
        team.delete("support-bot")
    operator.start()
    if deleted:
        team.until_gone("support-bot", within=120)
    else:
        team.until("support-bot", "False AdoptionPending", within=120)
        assert "duplicateWorkloadId" not in team.status("support-bot")
    assert [row["id"] for row in team.platform.workloads(team.name)] == [theirs["id"]]
    assert team.live("support-bot")["model_name"] == "theirs"
    assert len(team.calls("create")) == 1


def test_killed_in_an_update(team: Team, operator: Operator) -> None:
    """The platform has it and no status says so: what is declared is there, and Ready speaks of it."""
    team.declare("support-bot")
    team.until_ready("support-bot")
    team.platform.fault("delay_after", operation="update", project=team.name, seconds=OPEN)
    team.edit("support-bot", model="llama-4")
    _meanwhile(team, "update")
    _crash(operator)
    operator.start()
    team.until_ready("support-bot")
    assert team.live("support-bot")["model_name"] == "llama-4"
    assert team.platform_writes() == ["create support-bot", "update support-bot"]


def test_stopped_in_a_creation(team: Team, operator: Operator) -> None:
    """SIGTERM waits for the call that is under way, writes what came of it, and ends well."""
    team.platform.fault("delay_after", operation="create", project=team.name, seconds=1.0)
    team.declare("support-bot")
    _meanwhile(team, "create")
    assert operator.stop() == 0
    assert team.status("support-bot")["workloadId"] == team.live("support-bot")["id"]


def test_an_answer_that_was_lost(team: Team, operator: Operator) -> None:
    """The platform made it and the connection broke: it is found, not made again."""
    assert operator.running
    team.platform.fault("cut_after", operation="create", project=team.name)
    team.declare("support-bot")
    status = team.until_ready("support-bot", within=120)["status"]
    assert team.platform_writes() == ["create support-bot"]
    assert not status.get("adopted")


def test_nothing_is_written_after_a_crash(team: Team, operator: Operator, audit: Audit) -> None:
    """A crash at rest is a restart like any other: after the Lease ran out it goes on, and writes nothing."""
    team.declare("support-bot")
    team.until_ready("support-bot")
    team.until_told("support-bot")
    before, since = audit.mark(), team.platform.last()
    operator.kill()
    operator.start()
    team.pass_intervals(2)
    assert audit.writes(before, team.name) == []
    assert team.platform_writes(since) == []


def test_one_that_slept_too_long_leaves_the_work_to_the_next(team: Team, operator: Operator) -> None:
    """Paused in a look beyond its Lease and awake again, it does not act on what it saw then: there is one, not two."""
    team.platform.fault("delay", operation="list", project=team.name, seconds=OPEN / 2)
    team.declare("support-bot")
    _meanwhile(team, "list")
    operator.pause()
    second = operator.twin()
    try:
        second.start()
        team.until_ready("support-bot", within=120)
        operator.resume()
        team.edit("support-bot", model="llama-4")
        team.until_ready("support-bot")
        team.pass_intervals(2)
        assert team.slugs() == ["support-bot"]
        assert team.platform_writes() == ["create support-bot", "update support-bot"]
    finally:
        second.close()


def test_one_that_lost_its_lease_takes_no_release_for_a_loss(team: Team, operator: Operator) -> None:
    """What the next leader deletes and releases did not disappear: the former one tells nothing, and sends nothing."""
    team.declare("support-bot")
    workload_id = team.until_ready("support-bot")["status"]["workloadId"]
    operator.pause()
    second = operator.twin("next")
    try:
        second.start()
        operator.resume()
        eventually(lambda: "stopped leading" in operator.log())
        team.delete("support-bot")
        team.until_gone("support-bot")
        assert second.stop() == 0
        eventually(lambda: operator.leads)
        team.declare("another")
        team.until_ready("another")
        deletions = [call["path"] for call in team.platform.requests(operation="delete")]
        assert deletions.count(f"/api/workloads/{workload_id}") == 1
        assert "Disappeared" not in str(team.events("support-bot"))
        assert "Disappeared" not in operator.log()
    finally:
        second.close()
