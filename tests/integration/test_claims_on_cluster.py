"""Two Workloads that declare one and the same workload of the platform: whose it is, and what the other one may do.

The namespaces of a pair have Secrets of their own, with tokens of their own for the same project.
"""

from __future__ import annotations

from secrets import token_hex

import pytest

from harness import operators
from harness.audit import Audit
from harness.crowd import Crowd
from harness.drifting import version
from harness.operators import Operator
from harness.team import TOKEN_KEY, Team
from harness.waiting import eventually
from integration.manifests import manifest

NAME = "support-bot"
FINALIZER = "inferencekey.com/workload"
CONFLICT = "False SlugConflict"
SOON = 60.0
"""Seconds in which a slug that becomes free is taken over: far below any round."""


@pytest.fixture(scope="module")
def operator_options() -> tuple[str, ...]:
    """As usual, and creations in doubt are soon decided."""
    return (*operators.USUAL, "--client-timeout=2s", "--uncertain-create-timeout=3s")


@pytest.fixture
def pair(crowd: Crowd, operator: Operator) -> tuple[Team, Team]:
    """A team, and a partner in the same project."""
    assert operator.running
    first = crowd.team()
    return first, crowd.partner(first)


def _settled(first: Team, second: Team) -> None:
    """The first has the workload, and the second stands back."""
    first.declare(NAME)
    first.until_ready(NAME)
    second.declare(NAME)
    second.until(NAME, CONFLICT)


def _calls_of(team: Team, project: Team, *operations: str) -> list[str]:
    """What was asked about the project with this team's token."""
    ours = team.token[:15]
    return [call["operation"] for call in project.calls(*operations) if str(call["credential"]).startswith(ours)]


def test_the_second_one_touches_nothing(pair: tuple[Team, Team], audit: Audit) -> None:
    """It says whose the slug is and is Stalled; neither its edits nor its deletion reach the platform or the first."""
    first, second = pair
    before = audit.mark()
    _settled(first, second)
    stalled = second.conditions(NAME)["Stalled"]
    assert stalled["reason"] == "SlugConflict"
    assert f"{first.name}/{NAME}" in stalled["message"]
    assert "workloadId" not in second.status(NAME)
    assert second.config_map(f"{NAME}-endpoint") is None
    assert "finalizers" not in second.workload(NAME)["metadata"]
    standing = version(first, NAME)
    second.edit(NAME, model="another")
    eventually(lambda: second.verdict(NAME), CONFLICT.__eq__)
    first.pass_intervals(3)
    assert first.live(NAME)["model_name"] == "llama-3"
    second.edit(NAME, deletionPolicy="Delete")
    eventually(lambda: second.verdict(NAME), CONFLICT.__eq__)
    second.delete(NAME)
    second.until_gone(NAME, within=SOON)
    first.pass_intervals(3)
    assert first.platform_writes() == [f"create {NAME}"]
    assert set(_calls_of(second, first)) == {"list"}
    assert version(first, NAME) == standing
    assert {write.resource for write in audit.writes(before, second.name)} == {"workloads/status", "events"}


def test_a_copy_with_our_finalizer_deletes_nothing(pair: tuple[Team, Team]) -> None:
    """Somebody applies in another namespace what kubectl showed of the first: it stands back, and goes alone."""
    first, second = pair
    first.declare(NAME)
    shown = first.until_ready(NAME)
    copied = {"name": NAME, "finalizers": shown["metadata"]["finalizers"]}
    copy = {"apiVersion": shown["apiVersion"], "kind": shown["kind"], "metadata": copied, "spec": shown["spec"]}
    second.kubectl("apply", "-f", "-", document=copy)
    second.until(NAME, CONFLICT)
    assert "workloadId" not in second.status(NAME)
    second.delete(NAME)
    second.until_gone(NAME)
    first.pass_intervals(3)
    assert first.slugs() == [NAME]
    assert first.platform_writes() == [f"create {NAME}"]


def test_it_takes_over_when_the_first_goes(pair: tuple[Team, Team]) -> None:
    """Within seconds: the first's workload is deleted, and one of its own is made, once."""
    first, second = pair
    _settled(first, second)
    former = first.live(NAME)["id"]
    first.delete(NAME)
    first.until_gone(NAME)
    status = second.until_ready(NAME, within=SOON)["status"]
    assert first.live(NAME)["id"] == status["workloadId"] != former
    assert not status.get("adopted")
    assert first.platform_writes() == [f"create {NAME}", f"delete {NAME}", f"create {NAME}"]


def test_it_adopts_what_the_first_leaves(pair: tuple[Team, Team]) -> None:
    """With deletionPolicy Orphan the workload stays, and belongs to the second from then on."""
    first, second = pair
    first.declare(NAME, deletionPolicy="Orphan")
    identity = first.until_ready(NAME)["status"]["workloadId"]
    second.declare(NAME)
    second.until(NAME, CONFLICT)
    first.delete(NAME)
    status = second.until_ready(NAME, within=SOON)["status"]
    assert (status["workloadId"], status["adopted"]) == (identity, True)
    assert first.platform_writes() == [f"create {NAME}"]


def test_a_recorded_id_wins_over_age(crowd: Crowd) -> None:
    """The older one had no token when the younger was made: it comes too late."""
    older = crowd.bare()
    younger = crowd.partner(older)
    older.declare(NAME)
    older.until(NAME, "False SecretNotFound")
    younger.declare(NAME)
    younger.until_ready(NAME)
    standing = version(younger, NAME)
    older.secret()
    older.until(NAME, CONFLICT)
    assert f"{younger.name}/{NAME}" in older.conditions(NAME)["Stalled"]["message"]
    assert older.platform_writes() == [f"create {NAME}"]
    assert version(younger, NAME) == standing


@pytest.mark.parametrize("finalizers", [[], [FINALIZER]], ids=["plain", "with-our-finalizer"])
def test_a_junk_token_squats_nothing(crowd: Crowd, finalizers: list[str]) -> None:
    """An older claim that the platform never accepted does not count, and is told nothing of the one that does.

    Neither does it count with our finalizer, which anybody can write into a manifest.
    """
    squatter = crowd.bare()
    owner = crowd.partner(squatter)
    squatter.secret(**{TOKEN_KEY: f"ik_sdk_{token_hex(4)}_{token_hex(32)}"})
    body = manifest(NAME)
    body["metadata"]["finalizers"] = finalizers
    squatter.kubectl("apply", "-f", "-", document=body)
    squatter.until(NAME, "False TokenRejected")
    owner.declare(NAME)
    owner.until_ready(NAME)
    squatter.edit(NAME, description="still here")
    squatter.until(NAME, "False TokenRejected")
    assert owner.name not in str(squatter.workload(NAME))
    assert owner.name not in str(squatter.events(NAME) + squatter.events("inferencekey"))
    squatter.secret()
    squatter.until(NAME, CONFLICT, within=SOON)
    assert f"{owner.name}/{NAME}" in squatter.conditions(NAME)["Stalled"]["message"]
    assert squatter.platform_writes() == [f"create {NAME}"]


def test_a_claim_survives_its_token(pair: tuple[Team, Team]) -> None:
    """The first's token is revoked: what it made stays its own."""
    first, second = pair
    _settled(first, second)
    first.platform.revoke(first.token)
    first.edit(NAME, model="llama-4")
    first.until(NAME, "False TokenRejected")
    second.edit(NAME, model="another")
    second.until(NAME, CONFLICT)
    assert first.platform_writes() == [f"create {NAME}"]
    assert first.live(NAME)["model_name"] == "llama-3"


def test_across_a_restart(pair: tuple[Team, Team], operator: Operator, audit: Audit) -> None:
    """Nothing is written and nothing changes hands."""
    first, second = pair
    _settled(first, second)
    first.until_told(NAME)
    second.until_told(NAME, 1)
    before, since = audit.mark(), first.platform.last()
    assert operator.stop() == 0
    operator.start()
    first.pass_intervals(3)
    assert [str(write) for team in pair for write in audit.writes(before, team.name)] == []
    assert first.platform_writes(since) == []
    assert (first.verdict(NAME), second.verdict(NAME)) == ("True Ready", CONFLICT)
    second.delete(NAME)
    second.until_gone(NAME)
    assert first.slugs() == [NAME]


def test_the_older_one_wins(crowd: Crowd, operator: Operator) -> None:
    """Declared while the operator was away, none was made: the older claim of a pair wins, else the smaller uid.

    One token serves a pair, so that both are proven at the same moment; in the last pair both are in one namespace.
    """
    assert operator.stop() == 0
    pairs = [_declared_pair(crowd) for _ in range(4)]
    together = crowd.team()
    for name in ("one", "two"):
        together.declare(name, slug=NAME)
    contenders = [*pairs, ((together, "one"), (together, "two"))]
    operator.start()
    for one, two in contenders:
        first, second = sorted((one, two), key=_age)
        first[0].until_ready(first[1])
        second[0].until(second[1], CONFLICT)
        assert one[0].platform_writes() == [f"create {NAME}"]


def _declared_pair(crowd: Crowd) -> tuple[tuple[Team, str], tuple[Team, str]]:
    first = crowd.team()
    second = crowd.partner(first, first.token)
    for team in (first, second):
        team.declare(NAME)
    return (first, NAME), (second, NAME)


def _age(contender: tuple[Team, str]) -> tuple[str, str]:
    team, name = contender
    metadata = team.workload(name)["metadata"]
    return metadata["creationTimestamp"], metadata["uid"]
