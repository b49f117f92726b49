"""The platform is down for all: how it is noticed, what is said and what is not, and how all is well again.

One story, told once: two projects with a fleet each, one of them shared by two namespaces with one credential. All
calls are cut; a Workload is created, one changed and one deleted meanwhile; the operator is started anew in the midst
of it; then the platform is back. The tests look at what was recorded.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from controlplane.access import Cluster
from harness import operators, permissions
from harness.api import Api, Json
from harness.audit import Audit, Request
from harness.crowd import Crowd
from harness.operators import Operator
from harness.simulator import behaving
from harness.team import SECRET, Team
from harness.waiting import eventually

INTERVAL = 2.0
MOST_LISTS = 6
"""Before the last write after an outage: the one that shows that it is over, and those that writes ask for."""
FLEET = 12
"""Workloads that are ready, in each namespace."""
STARTING = 5
"""Workloads that are not ready yet, and so have a stream that the outage cuts."""
HEARD_LATE = 0.5
PROBES = 3
"""How many probes of each credential the outage lasts."""


@pytest.fixture(scope="module")
def operator_options() -> tuple[str, ...]:
    """With an interval that waits can grow up to; what serves is never asked about again."""
    return (*operators.USUAL, f"--list-interval={INTERVAL}s", "--readiness-interval=0")


@dataclass
class Story:
    """What was seen."""

    one: Team
    other: Team
    partner: Team
    """In the project of `one`, with the same token."""
    began: int = 0
    known: int = 0
    """The journal when every credential had been probed twice."""
    ended: int = 0
    before: dict[tuple[str, str], str] = field(default_factory=dict)
    """The resourceVersions of all."""
    during: dict[tuple[str, str], Json] = field(default_factory=dict)
    """All of them, at the end of the outage."""
    writes: list[Request] = field(default_factory=list)
    """What was written to Kubernetes in the outage, once it was known."""
    restarted: int = 0
    """The journal when the operator was started anew."""
    events: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    """Warnings by namespace, in the outage: about whom, and why."""

    @property
    def teams(self) -> tuple[Team, Team, Team]:
        """All of them."""
        return self.one, self.other, self.partner

    def calls(self, project: Team, since: int, until: int) -> list[Json]:
        """What was asked about a project in a part of the story."""
        return [call for call in project.calls(since=since) if call["seq"] <= until]


NEW, CHANGED, DELETED = "new", "bot-00", "bot-01"


@pytest.fixture(scope="module")
def story(crowd: Crowd, module_operator: Operator, control_plane: Cluster, api: Api) -> Story:
    """The outage, from its beginning to the moment when all is well again."""
    one, other = crowd.team(), crowd.team()
    told = Story(one, other, crowd.partner(one, one.token))
    _fleets(crowd, told)
    told.before = {key: item["metadata"]["resourceVersion"] for key, item in crowd.workloads().items()}
    told.began = crowd.platform.last()
    crowd.platform.fault("cut_before", path="/api/*", times=None)
    crowd.platform.drop_streams(cut=True)
    one.declare(NEW)
    one.edit(CHANGED, model="llama-4")
    one.delete(DELETED)
    _until_probed(told, told.began, 2)
    for name in (NEW, CHANGED, DELETED):
        eventually(lambda name=name: _reason(one.find(name)), "PlatformUnreachable".__eq__)  # type: ignore[misc]
    told.known = crowd.platform.last()
    audit = Audit(control_plane.audit_log, api, permissions.USER) if control_plane.audit_log else None
    mark = audit.mark() if audit else 0
    _until_probed(told, told.known, PROBES)
    told.writes = [write for team in told.teams for write in audit.writes(mark, team.name)] if audit else []
    told.events = {team.name: _warnings(team) for team in told.teams}
    _restart(told, module_operator)
    told.during = crowd.workloads()
    told.ended = crowd.platform.last()
    crowd.platform.clear_faults()
    return told


def _fleets(crowd: Crowd, told: Story) -> None:
    for team, prefix in ((told.one, "bot"), (told.other, "bot"), (told.partner, "partner")):
        for number in range(FLEET):
            team.declare(f"{prefix}-{number:02}")
    eventually(lambda: set(crowd.verdicts().values()), {"True Ready"}.__eq__, within=120, poll=0.3)
    eventually(lambda: [key for key, item in crowd.workloads().items() if "creation" in item["status"]], [].__eq__)
    with behaving(crowd.platform, readiness={"hold_at": "provisioning"}):
        for number in range(STARTING):
            told.other.declare(f"starting-{number}")
        names = [f"starting-{number}" for number in range(STARTING)]
        eventually(lambda: {_phase(told.other.workload(name)) for name in names}, {"provisioning"}.__eq__)


def _until_probed(told: Story, since: int, times: int) -> None:
    for team in (told.one, told.other):
        eventually(
            lambda team=team: len(team.calls("list", since=since)),  # type: ignore[misc]
            lambda probes: probes >= times,
            within=2 * INTERVAL * times,
        )


def _restart(told: Story, operator: Operator) -> None:
    """In the midst of the outage: nothing is in memory then but what the statuses say."""
    assert operator.stop() == 0
    told.restarted = told.one.platform.last()
    operator.start()
    _until_probed(told, told.restarted, 2)


def _reason(workload: Json | None) -> str:
    conditions = workload["status"].get("conditions", []) if workload else []
    return next((condition["reason"] for condition in conditions if condition["type"] == "Ready"), "")


def _phase(workload: Json) -> str:
    return str(workload["status"].get("readiness", {}).get("phase"))


def _warnings(team: Team) -> list[tuple[str, str]]:
    found = team.api.items(f"/apis/events.k8s.io/v1/namespaces/{team.name}/events")
    return [
        (event["regarding"]["name"], event["reason"])
        for event in found
        for _ in range(event.get("series", {}).get("count", 1))
        if event["type"] == "Warning"
    ]


# -- while it lasts --------------------------------------------------------------------------------------------


def test_one_probe_for_each_credential(story: Story) -> None:
    """A list at a time, after waits that grow up to the interval; nobody else asks anything."""
    for project in (story.one, story.other):
        calls = story.calls(project, story.known, story.restarted)
        assert {call["operation"] for call in calls} == {"list"}
        moments = [call["monotonic"] for call in story.calls(project, story.began, story.restarted)]
        probes = [call["monotonic"] for call in calls]
        assert len(moments) <= PROBES + 3 + STARTING, "a failure for each Workload"
        gaps = [later - earlier for earlier, later in pairwise(probes)]
        assert min(gaps) > 0.8 * INTERVAL, gaps


def test_the_first_waits_grow(story: Story) -> None:
    """From a second to the interval; what the machine takes to hear of a probe may make two of them look closer."""
    calls = story.calls(story.one, story.began, story.restarted)
    probes = [call["monotonic"] for call in calls if call["operation"] == "list"]
    gaps = [later - earlier for earlier, later in pairwise(probes)]
    assert gaps[0] >= 1.0 - HEARD_LATE, gaps
    assert gaps[1] >= INTERVAL - HEARD_LATE, gaps


def test_the_known_ones_are_not_written(story: Story) -> None:
    """They keep the last that was known of them: not a byte of them changes, before the restart and after."""
    touched = {(story.one.name, name) for name in (NEW, CHANGED, DELETED)}
    for key, version in story.before.items():
        if key not in touched:
            assert story.during[key]["metadata"]["resourceVersion"] == version, key


@pytest.mark.parametrize("name", [NEW, CHANGED, DELETED])
def test_what_is_wanted_meanwhile_says_so(story: Story, name: str) -> None:
    """New, changed or being deleted: PlatformUnreachable, Reconciling, for what is declared now."""
    workload = story.during[story.one.name, name]
    conditions = {condition["type"]: condition for condition in workload["status"]["conditions"]}
    ready = conditions["Ready"]
    assert (ready["status"], ready["reason"]) == ("False", "PlatformUnreachable")
    assert conditions["Reconciling"]["reason"] == "PlatformUnreachable"
    assert "Stalled" not in conditions
    assert workload["status"]["observedGeneration"] == workload["metadata"]["generation"]


def test_one_event_for_each_credential(story: Story) -> None:
    """About the Secret that holds it; two namespaces that share a credential hear of it once between them."""
    told = {team.name: [event for event in story.events[team.name] if event[1] != "Orphaned"] for team in story.teams}
    assert told[story.other.name] == [(SECRET, "PlatformUnreachable")]
    assert told[story.one.name] + told[story.partner.name] == [(SECRET, "PlatformUnreachable")]


def test_nothing_is_written_while_it_lasts(story: Story) -> None:
    """Once it is known and said: neither a retry nor a probe writes."""
    assert [str(write) for write in story.writes] == []


# -- when it is over -------------------------------------------------------------------------------------------


def test_back_in_control_within_an_interval(story: Story, crowd: Crowd) -> None:
    """What was wanted meanwhile is done: made once, changed, deleted. And all others still are as they were."""
    story.one.until_ready(NEW)
    story.one.until_ready(CHANGED)
    story.one.until_gone(DELETED)
    writes = story.one.calls("create", "update", "delete", since=story.ended)
    assert Counter(f"{call['operation']} {call['slug']}" for call in writes) == {
        f"create {NEW}": 1,
        f"update {CHANGED}": 1,
        f"delete {DELETED}": 1,
    }
    last = max(call["monotonic"] for call in writes)
    lists = [call for call in story.one.calls("list", since=story.ended) if call["status"] == 200]
    assert sum(call["monotonic"] < last for call in lists) <= MOST_LISTS, "it waited for intervals to pass"
    assert story.one.live(CHANGED)["model_name"] == "llama-4"
    assert story.one.slugs() == sorted(
        [NEW, *(f"bot-{n:02}" for n in range(FLEET) if n != 1), *(f"partner-{n:02}" for n in range(FLEET))]
    )
    after = crowd.workloads()
    touched = {(story.one.name, name) for name in (NEW, CHANGED, DELETED)}
    starting = {(story.other.name, f"starting-{number}") for number in range(STARTING)}
    for key, version in story.before.items():
        if key not in touched | starting:
            assert after[key]["metadata"]["resourceVersion"] == version, key


def test_there_is_no_storm_afterwards(story: Story) -> None:
    """In the intervals that follow: a handful of lists, and one stream for each that is not ready."""
    story.one.pass_intervals(2)
    for project in (story.one, story.other):
        calls = Counter(call["operation"] for call in project.calls(since=story.ended))
        lists = [call["monotonic"] for call in project.calls("list", since=story.ended)]
        assert calls["list"] <= 6 + (lists[-1] - lists[0]) / (0.8 * INTERVAL), calls
        assert calls["readiness"] <= (STARTING + 1 if project is story.other else 3), calls


def test_what_serves_is_not_asked_about_again(story: Story) -> None:
    """With --readiness-interval 0 there is no slow look: it was followed until it served, and that was all."""
    fleet = {f"bot-{number:02}" for number in range(FLEET)}
    asked = Counter(call["slug"] for call in story.other.calls("readiness"))
    assert max(asked[slug] for slug in fleet) <= 2, asked
    again = {call["slug"] for call in story.one.calls("readiness", since=story.began)}
    assert again <= {NEW, CHANGED}


def test_those_that_were_starting_are_followed_again(story: Story) -> None:
    """Their streams were cut by the outage: what comes after it is not missed."""
    for number in range(STARTING):
        story.other.platform.phase(story.other.name, f"starting-{number}", "ready")
    for number in range(STARTING):
        story.other.until_ready(f"starting-{number}")
