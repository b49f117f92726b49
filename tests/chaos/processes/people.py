"""What people do in a run, on both sides, while everything breaks; and what they were told was done.

An act picks among what its people know to be there. One that is refused or gets no answer may have been done: only what
was acknowledged is remembered, for the judge to ask for. Judges nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import httpx

from chaos.expected import ready_of
from chaos.platform import IN_FRONT
from chaos.processes.plan import NAMES, NAMESPACES, Act, pick
from harness.api import WORKLOADS, Api, Json
from harness.team import APPROVE_PLAN, LOOK_NOW, ON_DRIFT, SECRET
from inferencekey_operator.api.workload import FINALIZER
from inferencekey_simulator.admin import Admin, AdminError
from integration.manifests import manifest

Key = tuple[str, str]
Flood = Callable[[Key, int], Coroutine[None, None, None]]
T = TypeVar("T")

POLICIES = ("Reconcile", "Reconcile", "Reconcile", "Fail", "DryRun", "Warn", "Ignore", None, None)
MODELS = ("llama-3", "llama-3-70b", "qwen-3")
COMMANDS = ("vllm serve", "vllm serve --fast", None)
ELSEWHERE = "elsewhere.example"
"""Where an endpoint is not."""
STAYS = "stays-"
"""What the names of Workloads begin with whose workloads stay on the platform when they are deleted."""
MOST_DRIFTS = 2
"""By hands, of one Workload: from the third repair within ten minutes on, somebody is taken to undo them."""
MOST_REMOVED = 3
"""Of one project in one round: of five that are missing at once, none is made anew."""
FLOOD = 15
"""Changes of one thing, one after the other."""
FLOODED_AGAIN = 120.0
"""Seconds until the same thing may be flooded again: what changes all the time is waited for ever longer."""
_MERGE = {"Content-Type": "application/merge-patch+json"}
_PATIENCE = 2.0
MOST_LAG = 2.0
"""Seconds that a list lags behind a change: what a new leader waits for before it creates anything."""


@dataclass
class Acknowledged:
    """What the API server said of a Workload, last."""

    uid: str
    generation: int
    maybe_deleted: bool = False


@dataclass
class People:
    """All teams, over one connection that no fault is aimed at; the API server behind it may be gone all the same."""

    api: Api
    admin: Admin
    acknowledged: dict[Key, Acknowledged] = field(default_factory=dict)
    tokens: list[str] = field(default_factory=list)
    seen: dict[Key, Json] = field(default_factory=dict)
    """Workloads as they were when somebody last looked."""
    _drifts: Counter[str] = field(default_factory=Counter)
    _removed: Counter[str] = field(default_factory=Counter)
    _flooded: dict[tuple[str, ...], float] = field(default_factory=dict)
    _deleting: set[Key] = field(default_factory=set)
    """Deletions without an answer, which may be carried out at any time in this round."""

    def __post_init__(self) -> None:
        self.http = self.api.concurrently()

    def settle(self) -> None:
        """A namespace with its Secret for each team, before anything happens."""
        for name in NAMESPACES:
            self.tokens.append(self.admin.mint(name))
            self.api.create("/api/v1/namespaces", {"metadata": {"name": name}})
            keys = {"INFERENCEKEY_SDK_TOKEN": self.tokens[-1], "INFERENCEKEY_PROJECT": name}
            body = {"metadata": {"name": SECRET}, "stringData": keys}
            self.api.create(f"/api/v1/namespaces/{name}/secrets", body)

    def begin_round(self, workloads: Sequence[Json]) -> None:
        """They look around."""
        self.seen = {key_of(each): each for each in workloads}
        self._removed.clear()
        self._deleting.clear()

    async def do(self, act: Act) -> str:
        """What came of it."""
        try:
            async with asyncio.timeout(_PATIENCE):
                method: Callable[[Act], object] = getattr(self, f"_{act.what}")
                return str(await method(act))  # type: ignore[misc]
        except (httpx.HTTPError, OSError, AdminError) as error:  # a timeout is an OSError, too
            return f"{type(error).__name__} {error}"

    async def tidy(self, workloads: Sequence[Json]) -> None:
        """Delete what waits for a person, so that the next round begins with what is as it should be."""
        for workload in workloads:
            if ready_of(workload).get("reason") in ("WorkloadMissing", "Contested", "MassMissing"):
                await self._ask("DELETE", key_of(workload))

    # -- in Kubernetes -----------------------------------------------------------------------------------------

    async def _declare(self, act: Act) -> str:
        namespace, name = pick(NAMESPACES, act.a), pick(NAMES, act.b)
        spec: Json = {"model": pick(MODELS, act.c)}
        if act.c % 7 == 0:
            name, spec["deletionPolicy"] = f"{STAYS}{name}", "Orphan"
        elif act.c % 3 == 0:
            spec["deletionPolicy"] = "Delete"
        body = manifest(name, **spec)
        policy = POLICIES[act.c // 7 % len(POLICIES)]
        body["metadata"]["annotations"] = {ON_DRIFT: policy} if policy else {}
        return await self._ask("POST", (namespace, name), body)

    async def _edit(self, act: Act) -> str:
        changes: tuple[Json, ...] = (
            {"model": pick(MODELS, act.c)},
            {"command": COMMANDS[act.c % len(COMMANDS)]},
            {"description": ("a bot", "another bot\n", None)[act.c % 3]},
            {"config": ({"seed": 1}, {"seed": 2, "nested": {"x": act.c % 3}})[act.c % 2]},
        )
        return await self._patch(act, {"spec": changes[act.b % len(changes)]})

    async def _delete(self, act: Act) -> str:
        key = self._one(act)
        return "nothing there" if key is None else await self._ask("DELETE", key)

    async def _set_policy(self, act: Act) -> str:
        return await self._patch(act, {"metadata": {"annotations": {ON_DRIFT: POLICIES[act.b % len(POLICIES)]}}})

    async def _suspend(self, act: Act) -> str:
        key = self._one(act)
        now = bool(key and self.seen[key]["spec"].get("suspend"))
        return await self._patch(act, {"spec": {"suspend": None if now else True}})

    async def _look(self, act: Act) -> str:
        return await self._patch(act, {"metadata": {"annotations": {LOOK_NOW: f"{time.time():.3f}"}}})

    async def _approve(self, act: Act) -> str:
        waiting = sorted(key for key, each in self.seen.items() if each["status"].get("drift", {}).get("planId"))
        if not waiting:
            return "nothing waits"
        key = waiting[act.a % len(waiting)]
        plan = self.seen[key]["status"]["drift"]["planId"]
        return await self._ask("PATCH", key, {"metadata": {"annotations": {APPROVE_PLAN: plan}}})

    async def _forge(self, act: Act) -> str:
        """Our finalizer by hand: it proves nothing."""
        return await self._patch(act, {"metadata": {"finalizers": [FINALIZER]}})

    async def _flood(self, act: Act) -> str:
        """A ConfigMap, a Secret, a policy or a request changes again and again, as fast as the API server takes it."""
        key = self._one(act)
        if key is None:
            return "nothing there"
        floods: tuple[Flood, ...] = (self._edit_config_map, self._rotate, self._flip, self._request)
        flood = floods[act.b % len(floods)]
        thing = (flood.__name__, *key) if flood != self._rotate else (flood.__name__, key[0])
        if time.monotonic() < self._flooded.get(thing, 0.0) + FLOODED_AGAIN:
            return "left alone"
        self._flooded[thing] = time.monotonic()
        for number in range(FLOOD):
            await flood(key, number)
        return " ".join(thing)

    async def _edit_config_map(self, key: Key, number: int) -> None:
        path = f"/api/v1/namespaces/{key[0]}/configmaps/{key[1]}-endpoint"
        body = {"data": {"OPENAI_BASE_URL": f"http://{ELSEWHERE}/{number}"}}
        await self.http.patch(path, json=body, headers=_MERGE, timeout=_PATIENCE)

    async def _rotate(self, key: Key, number: int) -> None:
        self.tokens.append(await asyncio.to_thread(self.admin.mint, key[0]))
        path = f"/api/v1/namespaces/{key[0]}/secrets/{SECRET}"
        body = {"stringData": {"INFERENCEKEY_SDK_TOKEN": self.tokens[-1]}}
        await self.http.patch(path, json=body, headers=_MERGE, timeout=_PATIENCE)

    async def _flip(self, key: Key, number: int) -> None:
        policy = ("Reconcile", "Warn")[number % 2]
        await self._ask("PATCH", key, {"metadata": {"annotations": {ON_DRIFT: policy}}})

    async def _request(self, key: Key, number: int) -> None:
        await self._ask("PATCH", key, {"metadata": {"annotations": {LOOK_NOW: f"{time.time():.3f}"}}})

    async def _patch(self, act: Act, body: Json) -> str:
        key = self._one(act)
        return "nothing there" if key is None else await self._ask("PATCH", key, body)

    def _one(self, act: Act) -> Key | None:
        known = sorted(self.seen)
        return known[act.a % len(known)] if known else None

    async def _ask(self, method: str, key: Key, body: Json | None = None) -> str:
        collection = f"{WORKLOADS}/namespaces/{key[0]}/workloads"
        path = collection if method == "POST" else f"{collection}/{key[1]}"
        if method == "DELETE":
            self._deleting.add(key)
            if key in self.acknowledged:
                self.acknowledged[key].maybe_deleted = True
        headers = _MERGE if method == "PATCH" else {}
        answer = await self.http.request(method, path, json=body, headers=headers, timeout=_PATIENCE)
        if method == "DELETE":
            self._deleting.discard(key)
        if answer.is_success and method != "DELETE":
            self._note(key, answer.json())
        elif answer.status_code == 404:
            self.seen.pop(key, None)
        return f"{method} {'/'.join(key)} {answer.status_code}"

    def _note(self, key: Key, body: Json) -> None:
        metadata, before = body["metadata"], self.acknowledged.get(key)
        self.seen[key] = body
        if before is None or before.uid != metadata["uid"]:
            self.acknowledged[key] = Acknowledged(metadata["uid"], metadata["generation"])
        before = self.acknowledged[key]
        before.generation = max(before.generation, metadata["generation"])
        before.maybe_deleted |= "deletionTimestamp" in metadata or key in self._deleting

    # -- on the platform ---------------------------------------------------------------------------------------

    async def _drift(self, act: Act) -> str:
        key = self._one(act)
        if key is None or self._drifts[self._uid(key)] >= MOST_DRIFTS:
            return "left alone"
        self._drifts[self._uid(key)] += 1
        changes: Json = ({"model_name": "hands"}, {"description": "by hands"}, {"config.command": "sh"})[act.b % 3]
        await asyncio.to_thread(self.admin.edit, key[0], key[1], **changes)
        return f"{'/'.join(key)} {changes}"

    async def _remove(self, act: Act) -> str:
        key = self._one(act)
        if key is None or self._removed[key[0]] >= MOST_REMOVED:
            return "left alone"
        self._removed[key[0]] += 1
        await asyncio.to_thread(self.admin.remove, *key)
        return "/".join(key)

    async def _behave(self, act: Act) -> str:
        """The platform's lists lag and differ, its clock goes wrong, and something in front of it answers some calls,
        until the round is over or it is killed.
        """
        ways: tuple[Json, ...] = (
            {"list_lag": dict.fromkeys(("create", "update", "delete"), MOST_LAG)},
            {"list_lag": dict.fromkeys(("create", "update", "delete"), MOST_LAG), "stale_replicas": True},
            {"list_lag": {("create", "update", "delete")[act.c % 3]: MOST_LAG}},
            {"clock_skew": (-600.0, -90.0, 90.0, 600.0)[act.c % 4]},
            {"date_header": ("none", "true")[act.c % 2], "clock_skew": -90.0},
            {"created_at": ("naive", "year_1", "missing")[act.c % 3]},
            {"readiness": {"restart_on_update": False}},
            {"normalise": [{"field": "description", "operation": "trim", "lists_only": True}]},
        )
        if act.a % 4 == 0:
            answer = IN_FRONT[act.c % len(IN_FRONT)]
            await asyncio.to_thread(self.admin.fault, "respond", path="/api/*", times=1 + act.b % 6, **answer)
            return str(answer)
        changes = ways[act.b % len(ways)]
        await asyncio.to_thread(self.admin.settings, **changes)
        return str(changes)

    def _uid(self, key: Key) -> str:
        return str(self.seen[key]["metadata"]["uid"])


def key_of(workload: Json) -> Key:
    """Namespace and name."""
    return workload["metadata"]["namespace"], workload["metadata"]["name"]
