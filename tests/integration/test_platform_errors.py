"""Errors of the platform by kind: what is said of each, who acts, that none makes a loop, and that all heal.

Each trouble has a team of its own. They meet their trouble at the same moment, a healthy team beside them counts the
intervals, and then the trouble ends for all at once: the tests look at what was recorded on the way.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise
from secrets import token_hex
from typing import Any

import pytest

from controlplane.access import Cluster
from harness import operators
from harness.api import Api, Json
from harness.audit import Audit, Request
from harness.crowd import Crowd
from harness.drifting import look
from harness.elsewhere import Elsewhere
from harness.simulator import behaving
from harness.team import BASE_URL_KEY, LOOK_NOW, Team
from harness.waiting import eventually
from inferencekey_simulator.admin import Admin

NAME = "support-bot"
TIMEOUT = 4.0
"""Seconds that a call may take."""
SETTLE = 9.0
"""Seconds that a creation whose answer was lost is watched for."""
INTERVAL = 2.0
INTERVALS = 4
"""How many lists of the healthy team pass while the troubles last."""
A_TOKEN = f"ik_sdk_0a1b2c3d_{token_hex(32)}"
"""What the platform quotes back at us, and nobody may ever read."""


@dataclass(frozen=True)
class Trouble:
    """What goes wrong with which call, and what is to be seen of it.

    `calls` is how often that call may be made in the time; None is what growing waits allow. `done` says that the
    platform carries the call out all the same. `stalled` says that a person acts next.
    """

    name: str
    operation: str
    fault: dict[str, Any]
    verdict: str
    says: str = ""
    stalled: bool = False
    done: bool = False
    calls: int | None = None


def _answer(status: int, body: Any = None, **headers: str) -> dict[str, Any]:
    return {"action": "respond", "status": status, "body": body, "headers": headers}


def _person(name: str, operation: str, fault: dict[str, Any], reason: str, says: str = "") -> Trouble:
    calls = None if operation == "list" else 1
    return Trouble(f"{operation}-{name}", operation, fault, f"False {reason}", says, stalled=True, calls=calls)


def _passing(name: str, operation: str, fault: dict[str, Any], reason: str, says: str = "") -> Trouble:
    return Trouble(f"{operation}-{name}", operation, fault, f"False {reason}", says)


def _done(name: str, operation: str, fault: dict[str, Any]) -> Trouble:
    return Trouble(f"{operation}-{name}", operation, fault, "True Ready", done=True, calls=1)


JSON = {"Content-Type": "application/json"}
BAD = {"error": {"code": "bad_request", "message": f"no such model for {A_TOKEN} " + "x" * 5000}}
CONFLICT = {"error": {"code": "conflict", "message": "the worker is taken"}}
SLOW = {"action": "delay", "seconds": TIMEOUT + 1.0}

TROUBLES = [
    _person("400", "list", _answer(400, {"error": "bad_request"}), "PlatformRefused", "400 bad_request"),
    _person("401", "list", _answer(401, {"error": "unauthorized"}), "TokenRejected", "kubectl create secret"),
    _person("403-type", "list", _answer(403, {"error": "wrong_credential_type"}), "WrongCredentialType", "ik_sdk_"),
    _person(
        "403-project",
        "list",
        _answer(403, {"error": {"code": "project_scope_mismatch", "message": "no"}}),
        "ProjectMismatch",
        "kubectl create secret",
    ),
    _person(
        "403-scope", "list", _answer(403, "scope_insufficient: read", **JSON), "ScopeInsufficient", "workload:write"
    ),
    _person("403-other", "list", _answer(403, {"error": "forbidden"}), "TokenRejected", "403 forbidden"),
    _passing("403-page", "list", _answer(403, "<html>Forbidden"), "PlatformUnreachable", "in front of the platform"),
    _passing("404-page", "list", _answer(404, "404 page not found"), "PlatformUnreachable", "in front of the platform"),
    _person("404", "list", _answer(404, {"error": "not_found"}), "PlatformRefused", "does not know project"),
    _passing("429", "list", _answer(429, {"error": "slow_down"}), "RateLimited", "429 slow_down"),
    _passing("500", "list", _answer(500, {"error": "internal"}), "PlatformError", "500 internal"),
    _passing("502", "list", _answer(502, "<html>Bad Gateway"), "PlatformUnreachable", "(502)"),
    _passing("503", "list", _answer(503), "PlatformUnreachable", "(503)"),
    _passing("504", "list", _answer(504), "PlatformUnreachable", "(504)"),
    _passing("refused", "list", {}, "PlatformUnreachable", "no connection"),
    _passing("cut", "list", {"action": "cut_before"}, "PlatformUnreachable", "was cut"),
    _passing("cut-after", "list", {"action": "cut_after"}, "PlatformUnreachable", "was cut"),
    _passing("slow", "list", SLOW, "PlatformUnreachable", "no answer in time"),
    _passing("type", "list", {"action": "wrong_content_type"}, "PlatformError", "text/html"),
    _passing("truncated", "list", {"action": "truncate"}, "PlatformUnreachable", "was cut"),
    _passing("half", "list", _answer(200, '[{"id": "wl_1", "slu', **JSON), "PlatformError", "not valid JSON"),
    _passing("no-list", "list", _answer(200, {"items": []}), "PlatformError", "no list of workloads"),
    _passing("no-id", "list", _answer(200, [{"slug": NAME}]), "PlatformError", "cannot be read"),
    _person("400", "create", _answer(400, BAD), "PlatformRefused", 'It said: "no such model for ik_sdk_0a1b2c3d…'),
    _person("401", "create", _answer(401, {"error": "unauthorized"}), "TokenRejected", "kubectl create secret"),
    _person("403-scope", "create", _answer(403, {"error": "scope_insufficient"}), "ScopeInsufficient", "kubectl"),
    _person("403-quota", "create", _answer(403, {"error": "quota_exceeded"}), "PlatformRefused", "403 quota_exceeded"),
    _person("404", "create", _answer(404, {"error": "not_found"}), "PlatformRefused", "does not know project"),
    replace(_person("409", "create", _answer(409, CONFLICT), "PlatformRefused", "the worker is taken"), calls=None),
    _passing("423", "create", _answer(423, {"error": "locked"}), "PlatformError", "423 locked"),
    _person("422", "create", _answer(422, CONFLICT), "PlatformRefused", "Correct the spec"),
    _passing("429", "create", _answer(429), "RateLimited", "(429)"),
    _passing("500", "create", _answer(500, {"error": "internal"}), "PlatformError", "500 internal"),
    _passing("503", "create", _answer(503), "PlatformUnreachable", "(503)"),
    _passing("cut", "create", {"action": "cut_before"}, "PlatformUnreachable", "was cut"),
    _passing("no-id", "create", _answer(201, {"ok": True}), "PlatformError", "without the workload's id"),
    _passing("enormous", "create", {"action": "enormous", "size": 2**23}, "PlatformError", "larger than"),
    _done("cut-after", "create", {"action": "cut_after"}),
    _done("truncated", "create", {"action": "truncate"}),
    _done("type", "create", {"action": "wrong_content_type"}),
    _done("slow", "create", SLOW),
    _done("slower", "create", {"action": "delay", "seconds": TIMEOUT + SETTLE - 2.0}),
    _done("answered-late", "create", {**SLOW, "action": "delay_after"}),
    _person("400", "update", _answer(400, CONFLICT), "PlatformRefused", "the worker is taken"),
    _passing("busy", "update", _answer(409, {"error": "operation_in_progress"}), "PlatformError", "409 operation_in"),
    _person("422", "update", _answer(422, CONFLICT), "PlatformRefused", "Correct the spec"),
    _person("403-scope", "update", _answer(403, {"error": "scope_insufficient"}), "ScopeInsufficient", "kubectl"),
    _passing("404", "update", _answer(404, {"error": "not_found"}), "PlatformError"),
    _passing("429", "update", _answer(429), "RateLimited", "(429)"),
    _passing("500", "update", _answer(500, {"error": "internal"}), "PlatformError", "500 internal"),
    _passing("503", "update", _answer(503), "PlatformUnreachable", "(503)"),
    _passing("cut", "update", {"action": "cut_before"}, "PlatformUnreachable", "was cut"),
    _done("cut-after", "update", {"action": "cut_after"}),
    _done("truncated", "update", {"action": "truncate"}),
    _done("answered-late", "update", {**SLOW, "action": "delay_after"}),
]
BY_NAME = [pytest.param(trouble, id=trouble.name) for trouble in TROUBLES]

WAIT = 3
"""Seconds in a Retry-After."""


@dataclass
class Record:
    """One trouble on its way."""

    trouble: Trouble
    team: Team
    since: int = 0
    """The journal's number when the trouble began."""
    met: Json = field(default_factory=dict)
    """The Workload while the trouble lasted."""
    calls: list[Json] = field(default_factory=list)
    """What was asked meanwhile."""
    writes: list[Request] = field(default_factory=list)
    """What was written to Kubernetes meanwhile."""

    @property
    def met_calls(self) -> list[Json]:
        """The calls that the trouble was about."""
        return [call for call in self.calls if call["operation"] == self.trouble.operation]


@dataclass
class Stage:
    """All troubles together."""

    crowd: Crowd
    healthy: Team
    elsewhere: Elsewhere
    records: dict[str, Record]
    limited: dict[str, Team]
    wished: dict[str, float] = field(default_factory=dict)
    """When a limit that the platform states as a date is over."""
    mark: int | None = None
    seconds: float = 0.0
    """How long the troubles lasted."""


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Elsewhere]:
    """Where no platform is, and one will be."""
    address = Elsewhere(tmp_path_factory.mktemp("elsewhere"))
    yield address
    address.close()


@pytest.fixture(scope="module")
def operator_options(elsewhere: Elsewhere) -> tuple[str, ...]:
    """With a platform beside the usual one, and calls that are soon given up."""
    return (
        *operators.USUAL,
        f"--list-interval={INTERVAL}s",
        f"--client-timeout={TIMEOUT}s",
        f"--uncertain-create-timeout={SETTLE}s",
        f"--allow-base-url={elsewhere.url}",
    )


@pytest.fixture(scope="module")
def stage(crowd: Crowd, elsewhere: Elsewhere, control_plane: Cluster, api: Api) -> Stage:
    """Every trouble met, watched while intervals pass, and recorded."""
    records = {trouble.name: Record(trouble, crowd.team() if trouble.fault else crowd.bare()) for trouble in TROUBLES}
    limits = ("list-seconds", "list-date", "create-seconds")
    made = Stage(crowd, crowd.team(), elsewhere, records, {limit: crowd.team() for limit in limits})
    _prepare(made)
    log = control_plane.audit_log
    made.mark = log.stat().st_size if log else None
    _begin(made)
    _watch(made)
    return made


@pytest.fixture(scope="module")
def healed(stage: Stage) -> dict[str, str]:
    """The verdict on each once the trouble was over and, where a person acts next, somebody asked for a look."""
    stage.crowd.platform.clear_faults()
    refused = stage.records["list-refused"].team
    stage.elsewhere.come_up(refused.name, refused.token)
    for record in stage.records.values():
        if record.trouble.stalled:
            record.team.annotate(NAME, {LOOK_NOW: "now"})
    ours = {record.team.name: name for name, record in stage.records.items()}

    def seen() -> dict[str, str]:
        found = stage.crowd.verdicts()
        return {ours[namespace]: verdict for (namespace, _), verdict in found.items() if namespace in ours}

    def settled(verdicts: dict[str, str]) -> bool:
        return set(verdicts.values()) == {"True Ready"}

    try:
        return eventually(seen, settled, within=120, poll=0.3)
    except AssertionError:
        return seen()


def _prepare(stage: Stage) -> None:
    """Those that an update goes wrong for are there already."""
    updated = [record.team for record in stage.records.values() if record.trouble.operation == "update"]
    for team in [stage.healthy, *updated]:
        team.declare(NAME)
    for team in [stage.healthy, *updated]:
        team.until_ready(NAME)


def _begin(stage: Stage) -> None:
    platform = stage.crowd.platform
    for record in stage.records.values():
        trouble, team = record.trouble, record.team
        record.since = platform.last()
        if trouble.fault:
            platform.fault(**trouble.fault, operation=trouble.operation, project=team.name, times=None)
        else:
            team.secret(**{BASE_URL_KEY: stage.elsewhere.url})
        if trouble.operation == "update":
            team.edit(NAME, model="llama-4")
        else:
            team.declare(NAME)
    for limit, team in stage.limited.items():
        operation, _, form = limit.partition("-")
        then = (datetime.now(UTC) + timedelta(seconds=WAIT)).replace(microsecond=0)
        wish = str(WAIT) if form == "seconds" else format_datetime(then, usegmt=True)
        stage.wished[limit] = then.timestamp()
        platform.fault(**_answer(429, **{"Retry-After": wish}), operation=operation, project=team.name)
        team.declare(NAME)


def _watch(stage: Stage) -> None:
    platform = stage.crowd.platform
    stage.healthy.pass_intervals(INTERVALS)
    with suppress(AssertionError):  # which one is late is told by the tests
        eventually(lambda: _as_foreseen(stage), poll=0.2)
    found = stage.crowd.workloads()
    calls: dict[str, list[Json]] = {}
    for call in platform.requests(min(record.since for record in stage.records.values())):
        calls.setdefault(call["project"], []).append(call)
    times = [call["monotonic"] for asked in calls.values() for call in asked]
    stage.seconds = max(times) - min(times)
    for record in stage.records.values():
        record.met = found[record.team.name, NAME]
        record.calls = [call for call in calls.get(record.team.name, []) if call["seq"] > record.since]


def _as_foreseen(stage: Stage) -> bool:
    """Whether each shows what it is to show."""
    verdicts = stage.crowd.verdicts()
    return all(verdicts[record.team.name, NAME] == record.trouble.verdict for record in stage.records.values())


# -- while it lasts --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trouble", BY_NAME)
def test_it_says_what_is_and_who_acts(stage: Stage, trouble: Trouble) -> None:
    """The reason and the message of Ready; `Reconciling` where waiting helps, `Stalled` where it does not."""
    workload = stage.records[trouble.name].met
    conditions = {condition["type"]: condition for condition in workload["status"]["conditions"]}
    ready = conditions["Ready"]
    assert f"{ready['status']} {ready['reason']}" == trouble.verdict
    assert workload["status"]["observedGeneration"] == workload["metadata"]["generation"]
    assert trouble.says in ready["message"]
    assert A_TOKEN[16:] not in str(workload)
    assert len(ready["message"]) <= 1024
    if not trouble.done:
        assert ("Stalled" in conditions, "Reconciling" in conditions) == (trouble.stalled, not trouble.stalled)


@pytest.mark.parametrize("trouble", BY_NAME)
def test_it_makes_no_loop(stage: Stage, trouble: Trouble) -> None:
    """A write that a person must mend is sent once; what may pass, after waits that grow; what was done, once."""
    record = stage.records[trouble.name]
    assert len(record.met_calls) >= (0 if trouble.name == "list-refused" else 1)
    assert len(record.met_calls) <= _most(stage, trouble), [round(call["monotonic"], 1) for call in record.met_calls]
    lists = [call for call in record.calls if call["operation"] == "list"]
    assert len(lists) <= stage.seconds + 4, f"{len(lists)} lists in {stage.seconds:.0f} s"


def test_kubernetes_is_not_written_to_again_and_again(stage: Stage, audit: Audit) -> None:
    """A retry writes nothing: each has the writes of its way into trouble and out of it, however long that lasts.

    These are the trouble, what was created or applied, four phases at most, and the records of the creations that were
    sent. Where a busy machine makes other calls fail, too, there is a way into that and out of it.
    """
    assert stage.mark is not None
    writes = [write for write in audit.writes(stage.mark) if write.resource == "workloads/status"]
    counts = Counter(write.namespace for write in writes)
    allowed = {name: 6 + _records(record) + 2 * _by_the_way(record) for name, record in stage.records.items()}
    seen = {name: (counts[record.team.name], allowed[name]) for name, record in stage.records.items()}
    assert {name: counted for name, counted in seen.items() if counted[0] > counted[1]} == {}


def _records(record: Record) -> int:
    """How often a creation is recorded: anew, when the record that stands is older than a creation is watched for."""
    recorded: list[float] = []
    for call in record.team.calls("create", since=record.since):
        if not recorded or call["monotonic"] - recorded[-1] >= SETTLE - 1.0:  # it is kept in whole seconds
            recorded.append(call["monotonic"])
    return len(recorded)


def _by_the_way(record: Record) -> int:
    """How often the operator got no answer in time though that is not the trouble, as on a machine that is too busy."""
    if record.trouble.done or "PlatformUnreachable" in record.trouble.verdict:
        return 0
    told = [event for about in (NAME, "inferencekey") for event in record.team.events(about)]
    return sum(event.count for event in told if event.reason == "PlatformUnreachable")


@pytest.mark.parametrize("limit", ["list-seconds", "list-date", "create-seconds"])
def test_the_platforms_wish_is_heeded(stage: Stage, limit: str) -> None:
    """After a 429 with Retry-After, in seconds or as a date, nothing is asked with that credential for so long."""
    team = stage.limited[limit]
    team.until_ready(NAME)
    calls = team.calls()
    refused = next(number for number, call in enumerate(calls) if call["status"] == 429)
    later = calls[refused + 1 :]
    if later[0]["operation"] == "list" != calls[refused]["operation"]:
        later = later[1:]  # it was on its way
    if limit.endswith("seconds"):
        assert later[0]["monotonic"] - calls[refused]["monotonic"] >= WAIT
    else:
        assert later[0]["at"] >= stage.wished[limit]
    told = [event.reason for event in team.events("inferencekey") + team.events(NAME)]
    assert told.count("RateLimited") == 1


def test_the_others_are_served_meanwhile(stage: Stage) -> None:
    """The healthy team was listed interval after interval, and nothing of it changed."""
    lists = [call for call in stage.healthy.calls("list") if call["status"] == 200]
    assert len(lists) >= INTERVALS
    assert stage.healthy.verdict(NAME) == "True Ready"


def test_a_redirect_is_not_followed(crowd: Crowd) -> None:
    """A token does not travel to where an answer points to; the message says what to do."""
    team = crowd.team()
    away = f"{crowd.platform.url}/api/projects/{team.name}-away/workloads"
    crowd.platform.fault(**_answer(307, Location=away), operation="list", project=team.name, times=None)
    team.declare(NAME)
    team.until(NAME, "False PlatformUnreachable")
    assert "redirect" in team.conditions(NAME)["Reconciling"]["message"]
    assert crowd.platform.requests(project=f"{team.name}-away") == []


# -- when it is over -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trouble", BY_NAME)
def test_it_heals(stage: Stage, healed: dict[str, str], trouble: Trouble) -> None:
    """When the trouble ends: by itself, or at the next look that somebody asks for. There is one workload, not two."""
    assert healed[trouble.name] == "True Ready"
    team = stage.records[trouble.name].team
    if trouble.name == "list-refused":
        platform = Admin(stage.elsewhere.url)
        assert [row["slug"] for row in platform.workloads(team.name)] == [NAME]
        return
    assert team.slugs() == [NAME]
    assert team.live(NAME)["model_name"] == ("llama-4" if trouble.operation == "update" else "llama-3")
    accepted = [call for call in team.calls("create") if call["status"] == 201 and call["fault"] != "respond"]
    assert len(accepted) <= 1, "created twice"


def test_a_list_too_large_is_not_read(crowd: Crowd) -> None:
    """The platform is asked again later, and all is well when the answer is of a size that can be."""
    team = crowd.team()
    crowd.platform.fault("enormous", operation="list", project=team.name, size=70 * 2**20)
    team.declare(NAME)
    team.until(NAME, "False PlatformError")
    assert "larger than" in team.conditions(NAME)["Reconciling"]["message"]
    team.until_ready(NAME)
    assert team.slugs() == [NAME]


def test_a_create_that_is_lost_again_and_again(crowd: Crowd) -> None:
    """Each lost answer is followed by a list before anything else is sent: one workload in the end."""
    team = crowd.team()
    for action in ("cut_before", "cut_before", "cut_after"):
        crowd.platform.fault(action, operation="create", project=team.name)
    team.declare(NAME)
    team.until_ready(NAME, within=120)
    assert team.slugs() == [NAME]
    asked = [call["operation"] for call in team.calls("list", "create")]
    assert asked.count("create") == 3
    assert all(pair != ("create", "create") for pair in pairwise(asked)), asked


def test_rows_that_cannot_be_read_stand_in_nobodys_way(crowd: Crowd) -> None:
    """What is no workload is passed over, and the others of that list are found."""
    team = crowd.team()
    mine = team.platform.add(team.name, NAME, backend="vllm", model_name="llama-3")
    rows = [None, 7, "row", {}, {"id": 5, "slug": "a"}, {"id": "wl_x"}, {**mine["fields"], "config": [1], "new": {}}]
    crowd.platform.fault(**_answer(200, rows), operation="list", project=team.name, times=None)
    team.declare(NAME)
    status = team.until_ready(NAME)["status"]
    assert (status["workloadId"], status["adopted"]) == (mine["id"], True)
    assert team.platform_writes() == []


def test_lacking_fields_and_new_ones_are_no_drift(crowd: Crowd) -> None:
    """Where the platform leaves out what is null, and says more than it used to, nothing is sent again."""
    team = crowd.team()
    with behaving(crowd.platform, omit_null=True, extra_fields={"zone": {"name": "eu"}, "tags": []}):
        team.declare(NAME, description="For customers", config={"max_model_len": 8192})
        team.until_ready(NAME)
        team.platform.edit(team.name, NAME, created_at=None, updated_at=None, project_id=None, task_type=None)
        look(team, NAME, times=2)
        assert team.verdict(NAME) == "True Ready"
    team.pass_intervals(1)
    assert team.platform_writes() == [f"create {NAME}"]


def test_trouble_is_told_in_one_event(stage: Stage, healed: dict[str, str]) -> None:
    """Each had one Warning, about itself or the Secret that all of its credential share, and one Ready in the end."""
    assert healed
    wrong = {}
    for name, record in stage.records.items():
        told = [event for about in (NAME, "inferencekey") for event in record.team.events(about)]
        warnings = [f"{event.reason} {event.count}" for event in told if event.type == "Warning"]
        if name == "create-409":  # trouble that passes, until it lasts
            assert warnings.pop(0) == "PlatformError 1"
        if len(warnings) > 1 + _by_the_way(record) or (not record.trouble.done and not warnings):
            wrong[name] = warnings
    assert wrong == {}


def _most(stage: Stage, trouble: Trouble) -> int:
    """How often a call may have been made: waits of 1, 2, 4 … seconds, for lists at most the interval."""
    if trouble.calls is not None:
        return trouble.calls + _by_the_way(stage.records[trouble.name])
    if trouble.operation == "list":
        return 3 + math.ceil(stage.seconds / (0.9 * INTERVAL))
    return 2 + math.ceil(math.log2(stage.seconds + 1))
