"""Many teams at once, so that what takes time for each takes it for all together.

Knows how teams are set up, read in one go and cleared away; nothing of what they do. Nothing of theirs is left when
a crowd ends: neither a Workload that waits for an operator, nor a fault of the platform.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager

import httpx

from controlplane.access import Cluster
from harness.api import WORKLOADS, Api, Json
from harness.team import Team
from harness.teams import ends_soon, kubectl_in
from inferencekey_simulator.admin import Admin
from integration.manifests import manifest
from unit.invariants import check_status

CLUSTER_WIDE = f"{WORKLOADS}/workloads"
MERGE = {"Content-Type": "application/merge-patch+json"}
AT_ONCE = 8

Key = tuple[str, str]
"""Namespace and name of a Workload."""


class Crowd:
    """Teams that last as long as the crowd."""

    def __init__(self, cluster: Cluster, api: Api, platform: Admin) -> None:
        self._cluster, self.api, self.platform = cluster, api, platform
        self._teams: list[Team] = []

    def bare(self, name: str = "") -> Team:
        """A namespace without a Secret, and a project on the platform."""
        name = name or f"crowd-{secrets.token_hex(4)}"
        self.api.create("/api/v1/namespaces", {"metadata": {"name": name}})
        made = Team(name, kubectl_in(self._cluster, name), self.api, self.platform)
        self._teams.append(made)
        return made

    def team(self, name: str = "") -> Team:
        """A namespace with its Secret, a project on the platform, and nothing in either."""
        made = self.bare(name)
        made.secret()
        return made

    def partner(self, of: Team, token: str | None = None, name: str = "") -> Team:
        """A further namespace, whose Secret names another team's project, with `token` or one of its own for it."""
        made = self.bare(name)
        made.token = token or self.platform.mint(of.name)
        made.secret(INFERENCEKEY_PROJECT=of.name)
        return made

    def workloads(self) -> dict[Key, Json]:
        """All Workloads of all teams, out of one request."""
        ours = {team.name for team in self._teams}
        found = {_key(item): item for item in self.api.items(CLUSTER_WIDE)}
        for key, item in found.items():
            if key[0] in ours:
                check_status(item["status"])
        return {key: item for key, item in found.items() if key[0] in ours}

    def verdicts(self, *teams: Team) -> dict[Key, str]:
        """`True Ready` and the like of all of them, or of some teams', as `Team.verdict` has it."""
        names = {team.name for team in teams}
        found = self.workloads()
        return {key: verdict_of(item) for key, item in found.items() if not names or key[0] in names}

    def declare(self, *keys: Key) -> None:
        """Create Workloads, some at a time."""
        self._for_each(keys, lambda http, key: http.post(_path(key[0]), json=manifest(key[1])))

    def edit(self, *keys: Key, **spec: object) -> None:
        """Change the same fields of the spec of each, some at a time."""
        self._for_each(keys, lambda http, key: http.patch(_path(*key), json={"spec": spec}, headers=MERGE))

    def clear(self) -> None:
        """Take everything away, by force: no operator is at work any more."""
        self.platform.clear_faults()
        for team in self._teams:
            self.api.delete(_path(team.name))
        left = {"metadata": {"finalizers": None}}
        self._for_each(self.workloads(), lambda http, key: http.patch(_path(*key), json=left, headers=MERGE))
        if not ends_soon(self._cluster):
            for team in self._teams:
                self.api.delete(f"/api/v1/namespaces/{team.name}")

    def _for_each(
        self, keys: Iterable[Key], request: Callable[[httpx.AsyncClient, Key], Coroutine[None, None, httpx.Response]]
    ) -> None:
        left = iter(keys)

        async def work(http: httpx.AsyncClient) -> None:
            for key in left:
                answer = await request(http, key)
                assert answer.is_success, answer.text

        async def all_of_them() -> None:
            async with self.api.concurrently() as http, asyncio.TaskGroup() as workers:
                for _ in range(AT_ONCE):
                    workers.create_task(work(http))

        asyncio.run(all_of_them())


def _key(workload: Json) -> Key:
    return workload["metadata"]["namespace"], workload["metadata"]["name"]


def _path(namespace: str, name: str | None = None) -> str:
    return f"{WORKLOADS}/namespaces/{namespace}/workloads" + (f"/{name}" if name else "")


def verdict_of(workload: Json) -> str:
    """`True Ready`: the state and the reason of Ready for what is declared now; empty where there is none yet."""
    status = workload["status"]
    if status["observedGeneration"] != workload["metadata"]["generation"]:
        return ""
    ready = next(condition for condition in status["conditions"] if condition["type"] == "Ready")
    return f"{ready['status']} {ready['reason']}"


@contextmanager
def crowd_of(cluster: Cluster, api: Api, platform: Admin) -> Iterator[Crowd]:
    """A crowd, cleared away when the context ends."""
    crowd = Crowd(cluster, api, platform)
    try:
        yield crowd
    finally:
        crowd.clear()
