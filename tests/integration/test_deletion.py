"""The end of a Workload: what is deleted on the platform, what is left, what is retried, and when it is let go.

Scenarios run side by side, each with a team of its own: they are set up and begun together, and each test waits for
the end of its own.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from secrets import token_hex
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from harness import operators
from harness.api import EVENTS, Json
from harness.crowd import Crowd
from harness.operators import Operator
from harness.team import ON_DRIFT, TOKEN_KEY, Team
from harness.waiting import eventually

NAME = "support-bot"
TIMEOUT = 2.0
"""Seconds that a call may take."""
SETTLE = 5.0
"""Seconds that a creation in doubt is watched for."""
GRACE = 3.0
"""Seconds without a token after which a Workload is let go."""
LATE = 5.0
"""Seconds after which the platform carries out a creation that nobody waits for any more."""
FINALIZER = "inferencekey.com/workload"

pytestmark = pytest.mark.usefixtures(
    "emptied", "troubled", "outlasting", "doubtful", "powerless"
)  # begun with the first test


@pytest.fixture(scope="module")
def metrics_port() -> int:
    """A port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


@pytest.fixture(scope="module")
def operator_options(metrics_port: int) -> tuple[str, ...]:
    """With short durations, and metrics."""
    times = f"--client-timeout={TIMEOUT}s", f"--uncertain-create-timeout={SETTLE}s", f"--deletion-grace={GRACE}s"
    return (*operators.USUAL, "--list-interval=1s", *times, f"--bind-address=127.0.0.1:{metrics_port}")


@pytest.fixture
def alone(crowd: Crowd) -> Team:
    """A team of the test's own."""
    return crowd.team()


def _orphans(port: int) -> int:
    text = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return int(next(sample.value for sample in samples if sample.name == "inferencekey_orphans_total"))


def _told_in_default(team: Team) -> list[Json]:
    """The Events about the team's namespace: they are stored in `default`."""
    found = team.api.items(f"{EVENTS}/namespaces/default/events")
    return [event for event in found if _about(event) == ("Namespace", team.name)]


def _about(event: Json) -> tuple[str, str]:
    return event["regarding"]["kind"], event["regarding"]["name"]


# -- what is deleted, and what is left -------------------------------------------------------------------------

OUTCOMES = [
    ("made", None, "deleted"),
    ("made", "Delete", "deleted"),
    ("made", "Orphan", "left"),
    ("found", None, "left"),
    ("found", "Delete", "deleted"),
    ("found", "Orphan", "left"),
    ("made-then", "Orphan", "left"),
    ("found-then", "Delete", "deleted"),
]
"""How it came to be ours, the policy (`then`: stated only when it serves already), and what the platform has after."""


@pytest.fixture(scope="module")
def ended(crowd: Crowd) -> Team:
    """One Workload for each outcome, all of them deleted."""
    team = crowd.team()
    names = {_name(origin, policy): (origin, policy) for origin, policy, _ in OUTCOMES}
    for name, (origin, policy) in names.items():
        if origin.startswith("found"):
            team.platform.add(team.name, name, backend="vllm", model_name="llama-3")
        team.declare(name, deletionPolicy=None if origin.endswith("then") else policy)
    for name in names:
        team.until_ready(name)
    for name, (origin, policy) in names.items():
        if origin.endswith("then"):
            team.edit(name, deletionPolicy=policy)
            team.until_ready(name)
    for name in names:
        team.delete(name)
    for name in names:
        team.until_gone(name)
    return team


def _name(origin: str, policy: str | None) -> str:
    return f"{origin}-{policy or 'unset'}".lower()


@pytest.mark.parametrize(("origin", "policy", "outcome"), OUTCOMES)
def test_what_was_made_is_deleted_and_what_was_found_is_left(
    ended: Team, origin: str, policy: str | None, outcome: str
) -> None:
    """Unless deletionPolicy says otherwise; what is left is told in an Event where it was ours to delete."""
    name = _name(origin, policy)
    assert (name in ended.slugs()) == (outcome == "left")
    assert ended.platform_writes().count(f"delete {name}") == (outcome == "deleted")
    reasons = [event.reason for event in ended.events(name)]
    assert ("Orphaned" in reasons) == (origin.startswith("made") and outcome == "left")


# -- whose workload it is --------------------------------------------------------------------------------------


def _suspended(crowd: Crowd) -> tuple[Team, Json]:
    """A Workload that serves, and is looked at no more: what happens to its row is only seen at its end."""
    team = crowd.team()
    team.declare(NAME, deletionPolicy="Delete")
    row = team.until_ready(NAME)
    team.edit(NAME, suspend=True)
    eventually(lambda: team.conditions(NAME), lambda seen: "Suspended" in seen)
    return team, row


def test_suspended_ones_are_deleted_too(crowd: Crowd) -> None:
    """Suspend holds everything but the end."""
    team, _ = _suspended(crowd)
    team.delete(NAME)
    team.until_gone(NAME)
    assert team.slugs() == []


def test_another_one_with_our_slug_is_left(crowd: Crowd) -> None:
    """By recorded id: the slug may meanwhile belong to a workload that somebody else made."""
    team, _ = _suspended(crowd)
    team.platform.remove(team.name, NAME)
    theirs = team.platform.add(team.name, NAME, backend="vllm", model_name="theirs")
    team.delete(NAME)
    team.until_gone(NAME)
    assert team.live(NAME)["id"] == theirs["id"]
    assert team.platform_writes() == [f"create {NAME}"]


def test_one_with_our_id_and_another_slug_is_left_and_told(crowd: Crowd) -> None:
    """Somebody gave ours another slug: it is not deleted, and nobody has to find that out by the bill."""
    team, workload = _suspended(crowd)
    renamed = {**team.live(NAME), "slug": "renamed", "workload_slug": "renamed"}
    crowd.platform.fault("respond", operation="list", project=team.name, status=200, body=[renamed], times=None)
    team.delete(NAME)
    team.until_gone(NAME)
    assert team.platform_writes() == [f"create {NAME}"]
    told = [event for event in team.events(NAME) if event.reason == "Orphaned"]
    assert told, team.events(NAME)
    assert workload["status"]["workloadId"] in told[0].note


def test_what_was_never_adopted_is_left(alone: Team) -> None:
    """AdoptionPending, and deletionPolicy Delete: it is not ours, so it is not deleted, and goes at once."""
    alone.platform.add(alone.name, NAME, backend="vllm", model_name="theirs")
    alone.declare(NAME, adoptionPolicy="Never", deletionPolicy="Delete")
    alone.until(NAME, "False AdoptionPending")
    alone.delete(NAME)
    alone.until_gone(NAME, within=SETTLE - 1)
    assert alone.slugs() == [NAME]
    assert alone.platform_writes() == []


def test_what_was_never_created_goes_at_once(alone: Team) -> None:
    """Where a plan is held, nothing was made, and nothing is asked for before it goes."""
    alone.declare(NAME, {ON_DRIFT: "DryRun"})
    alone.until(NAME, "False PlanPending")
    alone.delete(NAME)
    alone.until_gone(NAME, within=SETTLE - 1)
    assert alone.platform_writes() == []


def test_what_is_gone_is_deleted_by_its_id_all_the_same(alone: Team) -> None:
    """A list that lacks the workload proves nothing, so the DELETE goes out; the 404 counts once a list confirms it."""
    alone.declare(NAME, suspend=False)
    identity = alone.until_ready(NAME)["status"]["workloadId"]
    alone.edit(NAME, suspend=True)
    eventually(lambda: alone.conditions(NAME), lambda seen: "Suspended" in seen)
    alone.platform.remove(alone.name, NAME)
    alone.delete(NAME)
    alone.until_gone(NAME)
    deletions = alone.platform.requests(operation="delete")
    assert {call["status"] for call in deletions if call["path"].endswith(f"/{identity}")} == {404}


# -- trouble on the way ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trouble:
    """What a DELETE meets three times before it works, and what is said meanwhile."""

    fault: dict[str, Any]
    reason: str
    done: bool = False
    """Whether the platform carried the first one out."""
    lasts: float = 0.0
    """Seconds until the call is given up."""
    doubted: int = 0
    """How many of the waits are no back-off: those for a list that counts, and for one that confirms the answer."""


def _answer(status: int, **headers: str) -> dict[str, Any]:
    return {"action": "respond", "status": status, "headers": headers}


TROUBLES = {
    "500": Trouble(_answer(500), "PlatformError"),
    "503": Trouble(_answer(503), "PlatformUnreachable"),
    "429": Trouble(_answer(429), "RateLimited"),
    "404": Trouble(_answer(404), "PlatformError", doubted=2),
    "slow": Trouble({"action": "delay", "seconds": TIMEOUT + 60}, "PlatformUnreachable", lasts=TIMEOUT),
    "cut-before": Trouble({"action": "cut_before"}, "PlatformUnreachable"),
    "cut-after": Trouble({"action": "cut_after"}, "PlatformUnreachable", done=True),
    "400": Trouble(_answer(400), "Deleting"),
}
ATTEMPTS = 3


@pytest.fixture(scope="module")
def troubled(crowd: Crowd) -> dict[str, Team]:
    """A team for each trouble, all deleted at the same moment."""
    teams = {name: crowd.team() for name in TROUBLES}
    for team in teams.values():
        team.declare(NAME)
    for team in teams.values():
        team.until_ready(NAME)
    for name, team in teams.items():
        crowd.platform.fault(**TROUBLES[name].fault, operation="delete", project=team.name, times=ATTEMPTS)
        team.delete(NAME)
    return teams


@pytest.mark.parametrize("name", TROUBLES)
def test_a_deletion_that_fails_is_told_and_tried_again(troubled: dict[str, Team], name: str) -> None:
    """The status says what stands in the way; the waits grow; in the end the platform is clean and it is gone."""
    team, trouble = troubled[name], TROUBLES[name]
    if not trouble.done:
        _expect_told(team, trouble)
    team.until_gone(NAME, within=120)
    assert team.slugs() == []
    attempts = [call["monotonic"] for call in team.calls("delete")]
    assert len(attempts) == (1 if trouble.done else ATTEMPTS + 1)
    waits = [later - earlier - trouble.lasts for earlier, later in pairwise(attempts)][trouble.doubted :]
    assert all(wait >= 0.9 for wait in waits), waits
    assert len(waits) < 2 or waits[-1] >= 1.5, waits


def _expect_told(team: Team, trouble: Trouble) -> None:
    """It may be over already, if the tests before this one took their time."""
    seen = eventually(lambda: team.find(NAME), lambda seen: seen is None or _says(seen, trouble.reason))
    if seen is None:
        return
    conditions = {condition["type"]: condition for condition in seen["status"]["conditions"]}
    assert "deletion goes on" in conditions["Ready"]["message"]
    assert "Reconciling" in conditions


def _says(workload: Json, reason: str) -> bool:
    ready = next(condition for condition in workload["status"]["conditions"] if condition["type"] == "Ready")
    return (ready["status"], ready["reason"]) == ("False", reason)


@pytest.fixture(scope="module")
def outlasting(crowd: Crowd) -> Team:
    """The platform cannot be reached when the whole namespace is deleted."""
    team = crowd.team()
    team.declare(NAME)
    team.until_ready(NAME)
    crowd.platform.fault("cut_before", operation="list", project=team.name, times=None)
    team.kubectl("delete", "namespace", team.name, "--wait=false")
    return team


def test_an_outage_longer_than_the_grace_time_leaks_nothing(outlasting: Team, crowd: Crowd) -> None:
    """The grace time is for what has no token; an outage is waited out, and then the namespace goes."""
    eventually(lambda: _since_deletion(outlasting) > GRACE + 3.0)
    workload = outlasting.workload(NAME)
    assert workload["metadata"]["finalizers"] == [FINALIZER]
    assert _says(workload, "PlatformUnreachable")
    fault = next(fault for fault in crowd.platform.faults() if fault["project"] == outlasting.name)
    crowd.platform.clear_faults(fault["id"])
    outlasting.kubectl("wait", "--for=delete", f"namespace/{outlasting.name}", "--timeout=40s")
    assert outlasting.slugs() == []
    assert "Orphaned" not in [event["reason"] for event in _told_in_default(outlasting)]


def _since_deletion(team: Team) -> float:
    return (datetime.now(UTC) - _moment(team.workload(NAME)["metadata"]["deletionTimestamp"])).total_seconds()


# -- namespaces ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def emptied(crowd: Crowd) -> Team:
    """All kinds of Workloads in a namespace that is deleted whole."""
    team = crowd.team()
    team.platform.add(team.name, "found", backend="vllm", model_name="llama-3")
    for name in ("made", "found", "suspended", "refused"):
        team.declare(name)
    team.declare("left", deletionPolicy="Orphan")
    team.declare("held", {ON_DRIFT: "DryRun"})
    for name in ("made", "found", "suspended", "left", "refused"):
        team.until_ready(name)
    team.until("held", "False PlanPending")
    team.edit("suspended", suspend=True)
    refusal = {"status": 400, "body": {"error": "bad_request"}, "times": None}
    crowd.platform.fault("respond", operation="update", project=team.name, slug="refused", **refusal)
    team.edit("refused", model="llama-4")
    team.until("refused", "False PlatformRefused")
    team.kubectl("delete", "namespace", team.name, "--wait=false")
    return team


def test_a_namespace_goes_whole(emptied: Team) -> None:
    """With its Secret and all that is in it: it really goes, and the platform keeps only what is to stay."""
    emptied.kubectl("wait", "--for=delete", f"namespace/{emptied.name}", "--timeout=40s")
    assert emptied.slugs() == ["found", "left"]


# -- creations in doubt ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def doubtful(crowd: Crowd) -> dict[str, Team]:
    """Creations whose answer nobody got, deleted right after: one comes late, one never, one was refused."""
    teams = {name: crowd.team() for name in ("late", "never", "refused")}
    crowd.platform.fault("delay", operation="create", project=teams["late"].name, seconds=LATE)
    crowd.platform.fault("cut_before", operation="create", project=teams["never"].name, times=None)
    refusal = {"status": 422, "body": {"error": "unprocessable"}, "times": None}
    crowd.platform.fault("respond", operation="create", project=teams["refused"].name, **refusal)
    for team in teams.values():
        team.declare(NAME)
    for team in teams.values():
        eventually(lambda team=team: team.calls("create"))  # type: ignore[misc]
        team.delete(NAME)
    return teams


def test_a_creation_that_comes_late_is_deleted(doubtful: dict[str, Team]) -> None:
    """The finalizer stays until nothing can come any more: what came meanwhile is deleted."""
    team = doubtful["late"]
    team.until_gone(NAME, within=120)
    assert [call["operation"] for call in team.calls("create", "delete")] == ["create", "delete"]
    assert team.slugs() == []


def test_a_creation_that_never_comes_is_watched_for(doubtful: dict[str, Team]) -> None:
    """For as long as --uncertain-create-timeout says, and not for ever."""
    team = doubtful["never"]
    team.until_gone(NAME, within=120)
    creation = team.calls("create")[-1]["monotonic"]
    assert team.calls("list")[-1]["monotonic"] - creation >= SETTLE - 0.1
    assert team.slugs() == []
    assert team.calls("delete") == []


def test_a_creation_that_was_refused_is_not_watched_for(doubtful: dict[str, Team]) -> None:
    """The platform said that it made nothing: two lists are enough."""
    team = doubtful["refused"]
    team.until_gone(NAME, within=120)
    assert (team.slugs(), len(team.calls("create"))) == ([], 1)


# -- without a token -------------------------------------------------------------------------------------------


def test_without_secret_the_last_good_token_serves(alone: Team) -> None:
    """The Secret goes first: what the platform last accepted out of it is in memory, and enough."""
    alone.declare(NAME)
    alone.until_ready(NAME)
    alone.drop_secret()
    alone.until(NAME, "False SecretNotFound")
    alone.delete(NAME)
    alone.until_gone(NAME)
    assert alone.slugs() == []


def _revoke(team: Team) -> None:
    team.platform.revoke(team.token)


def _junk(team: Team) -> None:
    team.platform.revoke(team.token)
    team.secret(**{TOKEN_KEY: f"ik_sdk_{token_hex(4)}_{token_hex(32)}"})


def _read_only(team: Team) -> None:
    team.secret(**{TOKEN_KEY: team.platform.mint(team.name, ["workload:read"])})
    team.platform.revoke(team.token)


POWERLESS = {"revoked": _revoke, "junk": _junk, "read-only": _read_only}
"""Ways in which no token is left that may delete."""


@pytest.fixture(scope="module")
def powerless(crowd: Crowd) -> dict[str, tuple[Team, Json]]:
    """Teams that lost what may delete, with their Workloads as they were when they were deleted, all at one moment."""
    teams = {way: crowd.team() for way in POWERLESS}
    for team in teams.values():
        team.declare(NAME)
    for team in teams.values():
        team.until_ready(NAME)
    for way, team in teams.items():
        POWERLESS[way](team)
        team.delete(NAME)
    return {way: (team, team.workload(NAME)) for way, team in teams.items()}


@pytest.mark.parametrize("way", POWERLESS)
def test_without_a_token_that_works_it_is_let_go(powerless: dict[str, tuple[Team, Json]], way: str) -> None:
    """Not before the grace time is over; then an Event about the Namespace names what was left, with id and slug."""
    team, workload = powerless[way]
    team.until_gone(NAME, within=5 * GRACE)
    assert team.slugs() == [NAME]
    (told,) = eventually(lambda: _told_in_default(team))
    assert (told["type"], told["reason"]) == ("Warning", "Orphaned")
    assert "series" not in told, "told again"
    eventually(lambda: [each.reason for each in team.events(NAME) if workload["status"]["workloadId"] in each.note])
    assert workload["status"]["workloadId"] in told["note"]
    assert f"slug {NAME}" in told["note"]
    lasted = _moment(told["eventTime"]) - _moment(workload["metadata"]["deletionTimestamp"])
    assert lasted.total_seconds() >= GRACE - 0.1


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_a_token_that_comes_in_time_is_used(alone: Team) -> None:
    """Within the grace time the Secret is mended: nothing is let go."""
    alone.declare(NAME)
    alone.until_ready(NAME)
    alone.platform.revoke(alone.token)
    alone.delete(NAME)
    eventually(lambda: _says(alone.workload(NAME), "Deleting"))
    message = alone.conditions(NAME)["Ready"]["message"]
    until = _moment(alone.workload(NAME)["metadata"]["deletionTimestamp"]) + timedelta(seconds=GRACE)
    assert f"waits for a usable token until {until:%Y-%m-%dT%H:%M:%SZ}" in message
    assert "billed" in message
    alone.secret(**{TOKEN_KEY: alone.platform.mint(alone.name)})
    alone.until_gone(NAME)
    assert alone.slugs() == []
    assert _told_in_default(alone) == []


def test_away_when_they_went(crowd: Crowd, operator: Operator, metrics_port: int) -> None:
    """The operator was down when Workloads were deleted, one of them after its Secret: no token is in memory then.

    What has a token is deleted; what has none is let go after the grace time, told and counted.
    """
    served, bereft = crowd.team(), crowd.team()
    for team in (served, bereft):
        team.declare(NAME)
    for team in (served, bereft):
        team.until_ready(NAME)
    assert operator.stop() == 0
    bereft.drop_secret()
    for team in (served, bereft):
        team.delete(NAME)
    operator.start()
    served.until_gone(NAME)
    bereft.until_gone(NAME, within=4 * GRACE)
    assert (served.slugs(), bereft.slugs()) == ([], [NAME])
    told = eventually(lambda: _told_in_default(bereft))
    assert [event["reason"] for event in told] == ["Orphaned"]
    since_start = operator.log().rpartition("in control of")[2]
    assert since_start.count(f"Namespace {bereft.name}: Orphaned") == 1
    eventually(lambda: _orphans(metrics_port) == _let_go_since_start(operator))


def _let_go_since_start(operator: Operator) -> int:
    """How many Workloads this process let go: those of the tests before may be among them."""
    return operator.log().rpartition("in control of")[2].count("was released without a token")
