"""Replicas share the namespaces out among them: how shards spread, move and are lost while people go on declaring.

They are real processes under one ServiceAccount. Each tells the platform who it is, by its user agent; so its record
says who wrote, and the Leases say how often a shard changed hands.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import pytest
import yaml

from controlplane.access import Cluster
from harness import permissions
from harness.api import LEASES, WORKLOADS, Api, Json
from harness.audit import Audit
from harness.crowd import CLUSTER_WIDE, Crowd, crowd_of
from harness.gateway import Gateway, On, gateway, slow
from harness.lives import forked_as
from harness.operators import USUAL, Operator, Surroundings
from harness.scrape import Scrape, free_port
from harness.simulator import behaving
from harness.team import TOKEN_KEY, Team
from harness.waiting import equals, eventually
from inferencekey_operator.election.leadership import lease_name
from inferencekey_operator.election.shards import LAYOUT, shard_of
from inferencekey_simulator.admin import Admin
from integration.manifests import manifest

SHARDS = 4
MOST = 4
INTERVAL = 0.25
OPTIONS = (*USUAL, "--client-timeout=3s", "--uncertain-create-timeout=4s", "--lease-duration=8s")
PACE = 0.4
"""Seconds between two Workloads that somebody declares."""
BOUND = 120.0
CONFLICT = "False SlugConflict"
FINALIZER = "inferencekey.com/workload"
FINALIZER_SET = On("PATCH", f"{WORKLOADS}/namespaces/[^/]+/workloads/[^/]+", r'"finalizers":\["')


@pytest.fixture(scope="module", autouse=True)
def leases(control_plane: Cluster, api: Api, service_account: object) -> Iterator[None]:
    """What the chart grants with so many shards, and no Lease that another module left, nor one that we leave."""
    control_plane.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(permissions.of_shards(MOST)))
    _forget(api)
    yield
    _forget(api)
    granted = (f"{kind}/{permissions.SHARDS}" for kind in ("role", "rolebinding"))
    control_plane.kubectl("delete", *granted, "-n", permissions.NAMESPACE)


@pytest.fixture(scope="module")
def gate(control_plane: Cluster) -> Iterator[Gateway]:
    """What stands before the API server."""
    with gateway(control_plane.server, control_plane.ca_pem) as opened:
        yield opened


@pytest.fixture(scope="module")
def surroundings(
    api: Api, platform: Admin, service_account: Path, gate: Gateway, tmp_path_factory: pytest.TempPathFactory
) -> Surroundings:
    """The operators' kubeconfig names the gateway."""
    folder = tmp_path_factory.mktemp("operator")
    config = json.loads(service_account.read_text())
    config["clusters"][0]["cluster"] = {"server": gate.url}
    (folder / "kubeconfig").write_text(json.dumps(config))
    return Surroundings(api, folder / "kubeconfig", platform.url, folder / "log")


@pytest.fixture(scope="module", autouse=True)
def taking_its_time(platform: Admin) -> Iterator[None]:
    """Each call takes a moment, so that many a change of hands falls into one; what is made serves at once."""
    with behaving(platform, latency=0.1, readiness={"scheduling": 0, "provisioning": 0, "bootstrapping": 0}):
        yield


class Replicas:
    """Operators that come and go, and what the Leases say of them."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._around, self._api = surroundings, surroundings.api
        self.all: dict[str, Operator] = {}
        self._scrapes: dict[Operator, Scrape] = {}

    @property
    def running(self) -> list[Operator]:
        """Those that have not ended."""
        return [each for each in self.all.values() if each.running]

    def start(self, name: str, shards: int = SHARDS) -> Operator:
        """Another one; back once it has a Lease, or waits for one."""
        log, scrape = self._around.log.with_name(f"log-{name}"), Scrape(free_port())
        options = (*OPTIONS, f"--shards={shards}", scrape.option)
        operator = Operator(replace(self._around, begin=forked_as(name), log=log), *options)
        self._scrapes[operator] = scrape
        first = not self.running
        self.all[name] = operator
        if first:
            operator.start()
        else:
            operator.stand_by()
        return operator

    def two(self) -> None:
        """Back when two share the shards, as after the first test."""
        for name in ("first", "second"):
            if name not in self.all or not self.all[name].running:
                self.start(name)
        self.until_shared(2, 2)

    def lease(self, shard: int) -> Json:
        """A shard's Lease."""
        return self._api.find(_path(shard)) or {"spec": {}, "metadata": {}}

    def holders(self, shards: int = SHARDS) -> dict[int, Operator | None]:
        """By shard, the replica that its Lease names."""
        named = {shard: self.lease(shard)["spec"].get("holderIdentity") or "" for shard in range(shards)}
        return {
            shard: next((each for each in self.running if f"_{each.pid}_" in name), None)
            for shard, name in named.items()
        }

    def shares(self, shards: int = SHARDS) -> list[int]:
        """How many each has, the most first."""
        counts = Counter(self.holders(shards).values())
        del counts[None]
        return sorted(counts.values(), reverse=True)

    def shown(self, metric: str) -> float:
        """What they all show of a metric, added up."""
        return sum(self._scrapes[each].value(metric) or 0.0 for each in self.running)

    def until_shared(self, *shares: int) -> None:
        """Back when they have so many."""
        eventually(lambda: self.shares(sum(shares)), equals([*shares]), within=BOUND)

    def close(self) -> None:
        """End them; none ended by itself."""
        for each in self.all.values():
            each.close()


@pytest.fixture(scope="module")
def replicas(control_plane: Cluster, surroundings: Surroundings) -> Iterator[Replicas]:
    """None yet. They are never refused what they ask of Kubernetes."""
    made = Replicas(surroundings)
    yield made
    made.close()
    if control_plane.audit_log is not None:
        asked = Audit(control_plane.audit_log, surroundings.api, permissions.USER).requests()
        assert [str(request) for request in asked if not request.allowed] == []


@pytest.fixture(scope="module")
def crowd(control_plane: Cluster, api: Api, platform: Admin, replicas: Replicas) -> Iterator[Crowd]:
    """Teams that are cleared away once all replicas have ended."""
    with crowd_of(control_plane, api, platform) as teams:
        yield teams
        for each in replicas.running:
            each.stop()


@pytest.fixture(scope="module")
def teams(crowd: Crowd) -> list[Team]:
    """One in each shard."""
    return [crowd.team(_namespace_in(shard)) for shard in range(SHARDS)]


class People:
    """Somebody who declares Workloads all the time, for one team after the other."""

    def __init__(self, teams: list[Team], prefix: str) -> None:
        self.teams, self._prefix = teams, prefix
        self.declared: list[tuple[Team, str]] = []
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._declare, daemon=True)

    def __enter__(self) -> People:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self._thread.join()

    def see_each_served(self) -> None:
        """Back when each team has a workload that was declared after this moment."""
        after = len(self.declared)
        for team in self.teams:
            eventually(lambda team=team: self._after(after, team) & set(team.slugs()), within=BOUND)  # type: ignore[misc]

    def _after(self, number: int, team: Team) -> set[str]:
        return {name for whose, name in self.declared[number:] if whose is team}

    def _declare(self) -> None:
        while not self._enough.wait(PACE):
            number = len(self.declared)
            team = self.teams[number % len(self.teams)]
            team.declare(f"{self._prefix}-{number:04}")
            self.declared.append((team, f"{self._prefix}-{number:04}"))


def test_shards_move_as_replicas_come_and_go(crowd: Crowd, teams: list[Team], replicas: Replicas) -> None:
    """A newcomer gets its share; what is killed, or stands still, loses its; one owner at each moment."""
    first = replicas.start("first")
    with People(teams, "chat") as people:
        replicas.start("second")
        replicas.until_shared(2, 2)
        people.see_each_served()

        third = replicas.start("third")
        replicas.until_shared(2, 1, 1)
        third.kill()
        first.pause()
        replicas.until_shared(4)
        people.see_each_served()
        first.resume()
        replicas.until_shared(2, 2)
        people.see_each_served()
    _expect_each_once(crowd, people)
    _expect_one_owner(teams, replicas)
    eventually(lambda: replicas.shown("inferencekey_shards_held"), equals(SHARDS))
    eventually(lambda: replicas.shown("inferencekey_workloads"), equals(len(crowd.api.items(CLUSTER_WIDE))))


def _expect_each_once(crowd: Crowd, people: People) -> None:
    wanted = {(team.name, name): "True Ready" for team, name in people.declared}
    eventually(lambda: crowd.verdicts(*people.teams), wanted.__eq__, within=BOUND, poll=0.3)
    for team in people.teams:
        declared = sorted(name for whose, name in people.declared if whose is team)
        assert team.slugs() == declared
        made = sorted(call["slug"] for call in team.calls("create") if call["status"] == 201)
        assert made == declared, "one was made again, or made as another's twin"


def _expect_one_owner(teams: list[Team], replicas: Replicas) -> None:
    """Who wrote changed no more often than the Lease did: nobody wrote between two writes of another's term."""
    for shard, team in enumerate(teams):
        writers = [call["user_agent"] for call in team.calls("create", "update", "delete")]
        turns = [writer for writer, _ in groupby(writers)]
        assert len(turns) <= 1 + replicas.lease(shard)["spec"]["leaseTransitions"], turns


def test_one_slug_in_two_shards_is_made_once(crowd: Crowd, gate: Gateway, replicas: Replicas) -> None:
    """Declared at one moment, with tokens of their own: one has it, the other stands back; and takes over later.

    Both replicas decide to create before either finalizer is there.
    """
    replicas.two()
    holders = replicas.holders()
    other = next(shard for shard in range(SHARDS) if holders[shard] is not holders[0])
    team = crowd.team(_namespace_in(0))
    partner = crowd.partner(team, name=_namespace_in(other))
    names = [f"bot-{number}" for number in range(6)]
    gate.spoil(FINALIZER_SET, slow(1.0), times=2 * len(names))
    crowd.declare(*((each.name, name) for name in names for each in (team, partner)))
    verdicts = {name: sorted([CONFLICT, "True Ready"]) for name in names}
    eventually(lambda: _by_name(crowd.verdicts(team, partner)), verdicts.__eq__, within=BOUND)
    assert team.slugs() == names
    made = [call["slug"] for call in team.calls("create")]
    assert sorted(made) == names, "a twin was made"

    loser = next(each for each in (team, partner) if each.verdict(names[0]) == CONFLICT)
    winner = partner if loser is team else team
    assert "finalizers" not in loser.workload(names[0])["metadata"]
    winner.delete(names[0])
    loser.until_ready(names[0], within=BOUND)
    _expect_few_lists(team)


def _expect_few_lists(team: Team) -> None:
    """At rest, each process that has a shard of the project lists it once per interval, and no other does.

    The first lists may still be of what was done before.
    """
    since = team.platform.last()
    eventually(lambda: len(team.calls("list", since=since)), lambda count: count > 20, within=BOUND)
    lists = team.calls("list", since=since)[8:]
    passed = lists[-1]["monotonic"] - lists[0]["monotonic"]
    for count in Counter(call["user_agent"] for call in lists).values():
        assert count <= passed / (0.9 * INTERVAL) + 2


def _by_name(verdicts: dict[tuple[str, str], str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for (_, name), verdict in verdicts.items():
        found.setdefault(name, []).append(verdict)
    return {name: sorted(words) for name, words in found.items()}


def test_a_junk_token_takes_no_slug_of_another_shard(crowd: Crowd, replicas: Replicas) -> None:
    """Our finalizer in a manifest proves nothing: the Workload whose token the platform accepts is created."""
    replicas.two()
    holders = replicas.holders()
    other = next(shard for shard in range(SHARDS) if holders[shard] is not holders[0])
    squatter = crowd.bare(_namespace_in(0))
    owner = crowd.partner(squatter, name=_namespace_in(other))
    squatter.secret(**{TOKEN_KEY: f"ik_sdk_{secrets.token_hex(4)}_{secrets.token_hex(32)}"})
    body = manifest("taken", slug="bot", project=squatter.name)
    body["metadata"]["finalizers"] = [FINALIZER]
    squatter.kubectl("apply", "-f", "-", document=body)
    squatter.until("taken", "False TokenRejected")
    owner.declare("bot")
    owner.until_ready("bot")
    assert [event.reason for event in owner.events("bot") if event.reason == "SlugConflict"] == []
    assert [call["slug"] for call in squatter.calls("create")] == ["bot"]


def test_another_number_of_shards(crowd: Crowd, teams: list[Team], replicas: Replicas) -> None:
    """A rollout from 4 to 1 to 3: former replicas stop, new ones wait for that; nothing is made twice on the way."""
    replicas.two()
    with People(teams, "rolled") as people:
        for shards in (1, 3):
            former = replicas.running
            replicas.start(f"of-{shards}", shards)
            for each in former:
                assert each.stop() == 0
            replicas.until_shared(shards)
            people.see_each_served()
            assert replicas.lease(0)["metadata"]["annotations"][LAYOUT].startswith(f"{shards}/")
    made = Counter((call["project"], call["slug"]) for team in teams for call in team.calls("create"))
    assert set(made.values()) == {1}


def _namespace_in(shard: int) -> str:
    """The name of a namespace that is in that shard."""
    while True:
        name = f"crowd-{secrets.token_hex(4)}"
        if shard_of(name, SHARDS) == shard:
            return name


def _path(shard: int) -> str:
    return f"{LEASES}/namespaces/{permissions.NAMESPACE}/leases/{lease_name((), shard)}"


def _forget(api: Api) -> None:
    for shard in range(MOST):
        api.delete(_path(shard))
