"""The API server refuses, loses, delays and garbles what the operator asks of it; everything heals by itself.

One operator sees the API server through a gateway that spoils what a test names. The table of writes is one story for
all its rows together: each row is a Workload, and two writes of one kind about it fare badly. Then the watches break,
in all the ways in which they can; and at last there is no API server at all, for longer than a Lease lasts.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from controlplane.access import Cluster
from harness import operators
from harness.api import Api, Json
from harness.crowd import Crowd, Key
from harness.drifting import until_policy
from harness.gateway import (
    CUT_AFTER,
    CUT_BEFORE,
    GARBLED,
    PASSED,
    Asked,
    Gateway,
    On,
    Spoil,
    answered,
    answered_late,
    error_event,
    gateway,
    slow,
)
from harness.operators import Operator, Surroundings
from harness.team import ON_DRIFT, Team, Told
from harness.waiting import eventually
from inferencekey_simulator.admin import Admin

WORKLOADS = "/apis/inferencekey.com/v1alpha1/(namespaces/[^/]+/)?workloads"
CONFIG_MAPS = "/api/v1/(namespaces/[^/]+/)?configmaps"
LEASE = "/apis/coordination.k8s.io/v1/namespaces/[^/]+/leases/[^/]+"
EVENTS = "/apis/events.k8s.io/v1/namespaces/[^/]+/events"

SECRETS = "/api/v1/(namespaces/[^/]+/)?secrets"
NAMESPACES = "/api/v1/namespaces"
WATCHES = (WORKLOADS, CONFIG_MAPS, SECRETS, NAMESPACES)

TIMES = 2
"""How often a write of a row is spoilt."""
MOST = 10
"""How many requests of one kind that may take, with those that would be made anyway: what is hot makes hundreds."""

FAULTS = {
    spoil.name.replace(" ", "-"): spoil
    for spoil in (
        answered(401),
        answered(409),
        answered(422),
        answered(429, "1"),
        answered(500),
        answered(503),
        answered(504),
        CUT_BEFORE,
        CUT_AFTER,
        GARBLED,
        slow(1.5),
    )
}
CREATION: dict[str, Callable[[str], On]] = {
    "finalizer-added": lambda name: On("PATCH", f"{WORKLOADS}/{name}", r'"finalizers":\["'),
    "configmap-created": lambda name: On("POST", CONFIG_MAPS, f'"name":"{name}-endpoint"'),
    "status-written": lambda name: On("PATCH", f"{WORKLOADS}/{name}/status"),
    "event-created": lambda name: On("POST", EVENTS, f'"name":"{name}"'),
}
CHANGE: dict[str, Callable[[str], On]] = {
    "configmap-restored": lambda name: On("PATCH", f"{CONFIG_MAPS}/{name}-endpoint"),
    "configmap-deleted": lambda name: On("DELETE", f"{CONFIG_MAPS}/{name}-endpoint"),
    "event-folded": lambda name: On("PATCH", rf"{EVENTS}/{name}\..*"),
}
DELETION: dict[str, Callable[[str], On]] = {
    "finalizer-removed": lambda name: On("PATCH", f"{WORKLOADS}/{name}", r'"finalizers":\[\]'),
}
KINDS = CREATION | CHANGE | DELETION
RENEWALS = ("500", "409", "429", "cut-after", "401", "cut-before", "422", "garbled")
FINAL = {"401", "409", "422"}
"""An Event that the API server answers so is not sent again."""


@pytest.fixture(scope="module")
def gate(control_plane: Cluster) -> Iterator[Gateway]:
    """What stands before the API server."""
    with gateway(control_plane.server, control_plane.ca_pem) as opened:
        yield opened


@pytest.fixture(scope="module")
def operator_options() -> tuple[str, ...]:
    """With a Lease that is lost within seconds."""
    return (*operators.USUAL, "--lease-duration=9s")


@pytest.fixture(scope="module")
def surroundings(
    api: Api, platform: Admin, service_account: Path, gate: Gateway, tmp_path_factory: pytest.TempPathFactory
) -> Surroundings:
    """The operator's kubeconfig names the gateway."""
    folder = tmp_path_factory.mktemp("operator")
    config = json.loads(service_account.read_text())
    config["clusters"][0]["cluster"] = {"server": gate.url}
    (folder / "kubeconfig").write_text(json.dumps(config))
    return Surroundings(api, folder / "kubeconfig", platform.url, folder / "log")


@dataclass
class Row:
    """What became of one Workload."""

    name: str
    fault: str
    ready: Json = field(default_factory=dict)
    """As it was when it served for the first time."""
    live: str = ""
    """The id on the platform then."""
    published: Json = field(default_factory=dict)
    """What the ConfigMap said then."""
    changed: Json = field(default_factory=dict)
    """As it was when the change was over."""
    endpoint: Json | None = None
    elsewhere: Json | None = None
    """The ConfigMaps then."""
    events: list[Told] = field(default_factory=list)
    writes: list[str] = field(default_factory=list)
    """On the platform."""
    asked: list[Asked] = field(default_factory=list)
    """Of its kind."""


Table = dict[tuple[str, str], Row]


@pytest.fixture(scope="module")
def table(crowd: Crowd, gate: Gateway) -> Table:
    """All rows, from their creation to their end."""
    for name in RENEWALS:
        gate.spoil(On("PUT", LEASE), FAULTS[name])
        gate.spoil(On("PUT", LEASE), PASSED)
    team = crowd.team()
    rows: Table = {(kind, fault): Row(f"{kind}-{fault}", fault) for kind in KINDS for fault in FAULTS}
    _spoil(gate, CREATION, rows)
    for row in rows.values():
        team.declare(row.name)
    _until_ready(crowd, team)
    _note_what_came_to_be(team, rows)
    _spoil(gate, CHANGE, rows)
    _change(crowd, team, rows)
    for row in rows.values():
        row.changed = team.workload(row.name)
        row.endpoint = team.config_map(f"{row.name}-endpoint")
        row.elsewhere = team.config_map(f"{row.name}-elsewhere")
    _spoil(gate, DELETION, rows)
    for row in rows.values():
        team.delete(row.name)
    eventually(lambda: list(crowd.verdicts(team)), _nothing, within=120, poll=1)
    eventually(lambda: _untold(team, rows), _nothing, within=120, poll=1)
    assert team.slugs() == []
    _note_what_happened(gate, team, rows)
    return rows


def _note_what_came_to_be(team: Team, rows: Table) -> None:
    live = {row["slug"]: row["id"] for row in team.platform.workloads(team.name)}
    assert sorted(live) == sorted(row.name for row in rows.values())
    for row in rows.values():
        row.ready, row.live = team.workload(row.name), live[row.name]
        row.published = (team.config_map(f"{row.name}-endpoint") or {}).get("data", {})


def _note_what_happened(gate: Gateway, team: Team, rows: Table) -> None:
    writes, told = team.platform_writes(), team.all_events()
    for (kind, _), row in rows.items():
        row.events = told[row.name]
        row.writes = [write.split()[0] for write in writes if write.split()[1] == row.name]
        row.asked = gate.asked(KINDS[kind](row.name))


def _spoil(gate: Gateway, kinds: dict[str, Callable[[str], On]], rows: Table) -> None:
    for (kind, fault), row in rows.items():
        if kind in kinds:
            gate.spoil(kinds[kind](row.name), FAULTS[fault], TIMES)


def _nothing(found: object) -> bool:
    return not found


def _until_ready(crowd: Crowd, team: Team) -> None:
    def others() -> dict[Key, str]:
        return {key: verdict for key, verdict in crowd.verdicts(team).items() if verdict != "True Ready"}

    eventually(others, _nothing, within=120, poll=1)


def _change(crowd: Crowd, team: Team, rows: Table) -> None:
    """Somebody edits a ConfigMap; another name is declared for one; the platform moves twice."""
    mine = f"/api/v1/namespaces/{team.name}/configmaps"
    restored = [row.name for (kind, _), row in rows.items() if kind == "configmap-restored"]
    deleted = [row.name for (kind, _), row in rows.items() if kind == "configmap-deleted"]
    folded = [row.name for (kind, _), row in rows.items() if kind == "event-folded"]
    for name in restored:
        team.api.patch(f"{mine}/{name}-endpoint", {"data": {"OPENAI_BASE_URL": "http://elsewhere", "MINE": "x"}})
    for name in deleted:
        team.edit(name, endpoint={"configMapName": f"{name}-elsewhere"})
    for value in ("by-hand", "by-another-hand"):
        for name in folded:
            team.platform.edit(team.name, name, model_name=value)
        eventually(lambda: [name for name in folded if team.live(name)["model_name"] != "llama-3"], _nothing, poll=0.5)

    def data(name: str) -> Any:
        return (team.config_map(f"{name}-endpoint") or {}).get("data", {})

    eventually(lambda: [name for name in restored if "MINE" in data(name)], _nothing, within=120, poll=1)
    eventually(lambda: [name for name in deleted if data(name)], _nothing, within=120, poll=1)
    _until_ready(crowd, team)


def _untold(team: Team, rows: Table) -> list[str]:
    """Whose last Event, that of the deletion, is not there yet."""
    told = team.all_events()
    deleted = {name for name, events in told.items() if any(event.reason == "Deleted" for event in events)}
    return [row.name for row in rows.values() if row.name not in deleted]


def _rows(*kinds: str) -> pytest.MarkDecorator:
    rows = [(kind, fault) for kind in kinds or KINDS for fault in FAULTS]
    return pytest.mark.parametrize("key", rows, ids="/".join)


@_rows()
def test_a_spoilt_write_is_tried_again_and_not_hot(table: Table, key: tuple[str, str]) -> None:
    """As often as it was spoilt and then once more, or not at all where it had arrived."""
    asked = table[key].asked
    spoilt = sum(bool(each.spoilt) for each in asked)
    assert 1 <= spoilt <= TIMES
    assert len(asked) <= MOST


@_rows()
def test_one_workload_comes_to_be_and_nothing_is_left(table: Table, key: tuple[str, str]) -> None:
    """Made once and deleted once, whatever was lost meanwhile; the status says which, and the ConfigMap where."""
    row = table[key]
    assert [write for write in row.writes if write != "update"] == ["create", "delete"]
    assert row.writes.count("update") == (2 if key[0] == "event-folded" else 0)
    status = row.ready["status"]
    assert (status["workloadId"], status["adopted"]) == (row.live, False)
    assert row.published["INFERENCEKEY_ENDPOINT_URL"] == status["endpoint"]["url"]
    assert row.published["INFERENCEKEY_WORKLOAD"] == row.name


@_rows(*CREATION, *DELETION)
def test_each_thing_is_told_once(table: Table, key: tuple[str, str]) -> None:
    """An Event is neither lost nor told again with a status that is written again."""
    row = table[key]
    told = Counter({"Created": 0, "Ready": 0, "Deleted": 0})
    refusals = [event.count for event in row.events if event.reason == "ConfigMapRefused"]
    assert refusals == ([1] if key == ("configmap-created", "422") else [])
    for event in row.events:
        if event.reason == "ConfigMapRefused":
            continue
        told["Ready" if event.reason == "Ready" else event.note.split()[0]] += event.count
    if key[0] == "event-created" and key[1] in FINAL:
        assert max(told.values()) == 1
    else:
        assert dict(told) == {"Created": 1, "Ready": 1, "Deleted": 1}


@_rows("event-folded")
def test_a_repeat_is_counted_once(table: Table, key: tuple[str, str]) -> None:
    """Also where the count was written and the answer was lost."""
    repairs = sum(event.count for event in table[key].events if event.reason == "DriftRepaired")
    assert repairs == (1 if key[1] in FINAL else 2)


@_rows("configmap-restored")
def test_a_config_map_is_restored(table: Table, key: tuple[str, str]) -> None:
    """To what it was."""
    row = table[key]
    assert row.endpoint is not None
    assert row.endpoint["data"] == row.published


@_rows("configmap-deleted")
def test_the_config_map_of_a_former_name_goes(table: Table, key: tuple[str, str]) -> None:
    """Though it could not be deleted when the new one was made."""
    row = table[key]
    assert row.endpoint is None
    assert row.elsewhere is not None
    assert row.elsewhere["data"] == row.published
    assert row.changed["status"]["endpoint"]["configMapName"] == f"{row.name}-elsewhere"


def test_a_spoilt_renewal_is_mended_by_the_next(gate: Gateway, table: Table) -> None:
    """All that can happen to one happened while the table was made; and the Lease is renewed since."""
    renewals = On("PUT", LEASE)
    fared = {spoil.name for spoil in map(FAULTS.__getitem__, RENEWALS)}
    eventually(lambda: {each.spoilt for each in gate.asked(renewals)} >= fared, within=120)
    mark = gate.mark()
    eventually(lambda: [each for each in gate.asked(renewals, mark) if not each.spoilt])


@dataclass(frozen=True)
class Break:
    """How the watches end, and what then becomes of the requests for new ones, or for lists."""

    line: bytes = b""
    watches: Spoil | None = None
    lists: Spoil | None = None


BREAKS = {
    "ended": Break(),
    "cut": Break(b'{"type":"MODIFIED","obj'),
    "garbage": Break(b"<html>it works</html>\n"),
    "no-object": Break(b'{"type":"ADDED"}\n'),
    "no-version": Break(b'{"type":"ADDED","object":{"metadata":{}}}\n'),
    "error-410": Break(error_event(410)),
    "error-429": Break(error_event(429)),
    "error-500": Break(error_event(500)),
    "refused-404": Break(watches=answered(404)),
    "refused-410": Break(watches=answered(410)),
    "refused-429": Break(watches=answered(429, "1")),
    "refused-500": Break(watches=answered(500)),
    "refused-cut": Break(watches=CUT_BEFORE),
    "expired-list-500": Break(error_event(410), lists=answered(500)),
    "expired-list-garbled": Break(error_event(410), lists=GARBLED),
}
HEARD_WITHIN = 90.0
OTHER_KEY = "OTHER_TOKEN"


@pytest.fixture
def watched(crowd: Crowd) -> Team:
    """A team with Workloads that tell what was heard of, and one that nothing happens to.

    A new one for each test: what happens to one again and again is followed ever more slowly.
    """
    team = crowd.team()
    team.secret(**{OTHER_KEY: team.token})
    own_policy = {ON_DRIFT: "Reconcile"}
    team.declare("moved", own_policy)
    team.declare("idle", own_policy)
    team.declare("keyed", own_policy, tokenSecretRef={"key": OTHER_KEY})
    team.declare("policed")
    for name in ("moved", "idle", "keyed", "policed"):
        team.until_ready(name)
    return team


@pytest.mark.parametrize("how", BREAKS)
def test_a_broken_watch_goes_on(how: str, gate: Gateway, watched: Team) -> None:
    """All four hear again of what happens, also of what happened meanwhile; nobody is written to for it."""
    eventually(lambda: _open(gate), lambda found: found == len(WATCHES))
    mark = gate.mark()
    for path in WATCHES:
        if BREAKS[how].watches is not None:
            gate.spoil(On("GET", path, watch=True), BREAKS[how].watches)
        if BREAKS[how].lists is not None:
            gate.spoil(On("GET", path), BREAKS[how].lists)
    assert [gate.end_watches(path, BREAKS[how].line) for path in WATCHES] == [1] * len(WATCHES)
    _happen(watched, f"{how}, meanwhile", key=False)
    eventually(lambda: _open(gate), lambda found: found == len(WATCHES), within=HEARD_WITHIN)
    _happen(watched, f"{how}, afterwards", key=True)
    for path in WATCHES:
        opened = [*gate.asked(On("GET", path, watch=True), mark), *gate.asked(On("GET", path), mark)]
        assert 1 <= sum(not asked.further for asked in opened) <= MOST
    writes = [asked for asked in gate.asked(since=mark) if asked.method != "GET" and "idle" in asked.path + asked.body]
    assert writes == []


def _open(gate: Gateway) -> int:
    return sum(any(re.fullmatch(path, opened) for opened in gate.watched()) for path in WATCHES)


def _happen(team: Team, how: str, *, key: bool) -> None:
    """Something that only one of the watches can tell of, for each of them."""
    policy = "Reconcile" if key else "Warn"
    team.api.delete(f"/api/v1/namespaces/{team.name}/configmaps/moved-endpoint")
    team.edit("moved", description=how)
    team.secret(**{OTHER_KEY: team.token if key else None})
    team.api.patch(f"/api/v1/namespaces/{team.name}", {"metadata": {"annotations": {ON_DRIFT: policy}}})
    team.until_ready("moved", HEARD_WITHIN)
    team.until("keyed", "True Ready" if key else "False SecretKeyNotFound", HEARD_WITHIN)
    until_policy(team, "policed", policy, HEARD_WITHIN)
    eventually(lambda: team.config_map("moved-endpoint"), within=HEARD_WITHIN)


@pytest.mark.parametrize("passed", [0, 1], ids=["before-the-place", "before-the-list"])
def test_what_went_unseen_is_found(gate: Gateway, watched: Team, passed: int) -> None:
    """A Workload that went while no watch was open is missed by the list that follows, and its slug is free again.

    The same where the place to watch from was known by then, and the list was not made yet.
    """
    first, second, slug = f"first-{passed}", f"second-{passed}", f"coveted-{passed}"
    watched.declare(first, slug=slug)
    watched.until_ready(first)
    watched.declare(second, slug=slug)
    watched.until(second, "False SlugConflict")
    eventually(lambda: _open(gate), lambda found: found == len(WATCHES))
    if passed:
        gate.spoil(On("GET", WORKLOADS), PASSED, passed)
    gate.spoil(On("GET", WORKLOADS), slow(2.0))
    gate.end_watches(WORKLOADS, error_event(410))
    mine = f"/apis/inferencekey.com/v1alpha1/namespaces/{watched.name}/workloads/{first}"
    watched.api.delete(mine)
    watched.api.patch(mine, {"metadata": {"finalizers": None}})
    watched.until_gone(first)
    watched.until_ready(second, HEARD_WITHIN)
    assert watched.slugs().count(slug) == 1


def test_one_that_was_replaced_unseen_leaves_nothing(gate: Gateway, watched: Team) -> None:
    """The list shows another object of that name, with another slug: the workload of the former one is deleted."""
    watched.declare("replaced", slug="former")
    watched.until_ready("replaced")
    eventually(lambda: _open(gate), lambda found: found == len(WATCHES))
    gate.spoil(On("GET", WORKLOADS), slow(2.0))
    gate.end_watches(WORKLOADS, error_event(410))
    mine = f"/apis/inferencekey.com/v1alpha1/namespaces/{watched.name}/workloads/replaced"
    watched.api.delete(mine)
    watched.api.patch(mine, {"metadata": {"finalizers": None}})
    watched.until_gone("replaced")
    watched.declare("replaced", slug="latter")
    watched.until_ready("replaced", HEARD_WITHIN)
    eventually(lambda: "former" not in watched.slugs(), within=HEARD_WITHIN)
    assert "latter" in watched.slugs()


def test_a_config_map_that_went_before_its_creation_was_answered(gate: Gateway, watched: Team) -> None:
    """The watch told of its end already: the answer says nothing that is still so, and it is made again."""
    where = f"/api/v1/namespaces/{watched.name}/configmaps"
    gate.spoil(On("POST", where), answered_late(2.0))
    watched.declare("swift")
    eventually(lambda: watched.config_map("swift-endpoint"))
    watched.api.delete(f"{where}/swift-endpoint")
    watched.until_ready("swift", HEARD_WITHIN)
    eventually(lambda: watched.config_map("swift-endpoint"), within=HEARD_WITHIN)


def test_a_start_in_trouble_is_late_and_quiet(gate: Gateway, watched: Team, module_operator: Operator) -> None:
    """What passes is waited for; then nothing is written, for nothing moved."""
    assert module_operator.stop() == 0
    mark, platform = gate.mark(), watched.platform.last()
    for path in WATCHES:
        gate.spoil(On("GET", path), answered(503))
    module_operator.start()
    eventually(lambda: _open(gate), lambda found: found == len(WATCHES))
    watched.pass_intervals(2)
    writes = [asked for asked in gate.asked(since=mark) if asked.method != "GET" and "/leases" not in asked.path]
    assert writes == []
    assert watched.platform_writes(platform) == []
    assert {asked.spoilt for path in WATCHES for asked in gate.asked(On("GET", path), mark)} == {"503", ""}


def test_an_outage_costs_nothing_but_its_time(gate: Gateway, watched: Team, module_operator: Operator) -> None:
    """No API server for longer than a Lease lasts: then the same process goes on, with what came meanwhile alone."""
    eventually(lambda: _open(gate), lambda found: found == len(WATCHES))
    platform = watched.platform.last()
    with gate.closed():
        mark = gate.mark()
        watched.edit("moved", description="in the dark")
        watched.api.delete(f"/api/v1/namespaces/{watched.name}/configmaps/idle-endpoint")
        eventually(lambda: "stopped leading" in module_operator.log(), within=120)
    watched.until_ready("moved", HEARD_WITHIN)
    eventually(lambda: watched.config_map("idle-endpoint"), within=HEARD_WITHIN)
    eventually(lambda: _open(gate), lambda found: found == len(WATCHES), within=HEARD_WITHIN)
    since = gate.asked(since=mark)
    writes = [asked for asked in since if asked.method != "GET" and "/leases" not in asked.path]
    about = {"status": "moved/status", "events": "moved", "configmaps": "idle-endpoint"}
    for asked in writes:
        kind = next(kind for kind in about if f"/{kind}" in asked.path)
        assert about[kind] in asked.path + asked.body
    assert len(writes) <= MOST
    assert watched.platform_writes(platform) == ["update moved"]
    for path in WATCHES:
        assert len([asked for asked in since if asked.method == "GET" and re.fullmatch(path, asked.path)]) <= MOST
