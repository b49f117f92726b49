"""One round after the other: what is planned happens, everything is given back, and the world is judged.

**Back** is the moment from which an operator can be held to its promise: every cable is whole, every process runs,
etcd is healthy, the API server is ready and lists Workloads, the platform answers, each Lease is held by an operator
that runs and has renewed it since, and Kubernetes has collected what Workloads that are gone had owned. It
**converges** when the judge finds nothing unsettled. It may take two intervals: one for the list that shows what is,
and one for what that list leads to. Where the interval is shorter than the waits that are promised, these come on top:

- a new leader creates nothing for the time that a call may take, for what the former one may have sent;
- what may have been created without an answer is waited for (`--uncertain-create-timeout`);
- what went missing is believed after a second list, two seconds later;
- a wait that grew while everything was broken: a look that Kubernetes refused, a watch, a readiness stream. It has
  doubled each time, so it is no longer than the trouble was, which lasts as long as the faults of a round.

After that the world is at rest: for some intervals nothing may be written, on either side.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx

from chaos.normal import NORMAL
from chaos.processes import judge
from chaos.processes.judge import Endpoint, Sight
from chaos.processes.people import People, key_of
from chaos.processes.plan import NAMESPACES, OPERATORS, SPAN, Act, Fault, Plan, kinds
from chaos.processes.stage import CLIENT_TIMEOUT, CREATE_SETTLE, INTERVAL, Stage
from harness import permissions
from harness.api import LEASES, WORKLOADS
from inferencekey_operator.election.leadership import lease_name
from inferencekey_operator.reconcile.safeguards import CONFIRM_AFTER

PROMISED_WAITS = CLIENT_TIMEOUT + CREATE_SETTLE + CONFIRM_AFTER
GROWN_WAITS = SPAN
COMES_BACK = 90.0
"""Seconds in which everything is back: an API server boots, and a Lease runs out."""
_POLL = 0.2
_LINES = 400


def bound(interval: float, grown: float = GROWN_WAITS) -> float:
    """Seconds from being back to convergence, at most: two intervals, unless these are shorter than the waits."""
    return max(2 * interval, 2 * INTERVAL + PROMISED_WAITS + grown)


@dataclass
class Outcome:
    """What a round came to."""

    plan: Plan
    wrong: list[str] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    acts: int = 0
    converged_in: float = 0.0
    """Seconds after everything was back."""
    slow: bool = False
    """Whether it took a wait that grew, on top of those that are promised."""
    last: list[str] = field(default_factory=list)
    """What was settled last."""
    history: list[str] = field(default_factory=list, repr=False)


class Rounds:
    """On one stage, with the same people."""

    def __init__(self, stage: Stage, people: People, within: float | None = None) -> None:
        self._stage, self._people = stage, people
        self._bound = bound(stage.interval) if within is None else within
        self._record = 0
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._logs = dict.fromkeys(stage.children, 0)
        self._history: list[str] = []
        self._began = 0.0

    async def play(self, plan: Plan) -> Outcome:
        """A round, from its first fault to its verdict."""
        outcome = Outcome(plan)
        self._began, self._history = time.monotonic(), outcome.history
        try:
            await self._happen(plan, outcome)
            await self._come_back()
            await self._judge(outcome)
        except _NotBackError as error:
            outcome.wrong.append(str(error))
        outcome.wrong += self._misbehaviour()
        return outcome

    # -- faults and acts ---------------------------------------------------------------------------------------

    async def _happen(self, plan: Plan, outcome: Outcome) -> None:
        async with asyncio.TaskGroup() as tasks:
            for each in plan.happenings():
                await asyncio.sleep(max(0.0, self._began + each.at - time.monotonic()))
                if isinstance(each, Act):
                    tasks.create_task(self._act(each))
                    outcome.acts += 1
                else:
                    tasks.create_task(self._fault(each))
        outcome.faults = kinds(plan.faults)

    async def _act(self, act: Act) -> None:
        self._tell(f"{act}: {await self._people.do(act)}")

    async def _fault(self, fault: Fault) -> None:
        async with self._turns[fault.target]:  # on a busy machine the one before may not be over
            self._tell(str(fault))
            await self._stage.take(fault)
            await asyncio.sleep(fault.seconds)
            await self._stage.give_back(fault)
        if fault.seconds:
            self._tell(f"{fault} is over")

    def _tell(self, what: str) -> None:
        self._history.append(f"{time.monotonic() - self._began:7.2f} s  {what}")
        del self._history[:-_LINES]

    # -- the end of a round ------------------------------------------------------------------------------------

    async def _come_back(self) -> None:
        """See `Back` above. Faults have given everything back by now; that they did is not believed."""
        stage, deadline = self._stage, time.monotonic() + COMES_BACK
        since = time.time()
        waits: dict[str, Any] = {
            "an API server": lambda: asyncio.to_thread(stage.plane.ready),
            "a list of Workloads": self._lists,
            "the platform": lambda: asyncio.to_thread(stage.answers),
            "an operator that leads": lambda: self._is_led(since),
            "a garbage collector": self._is_collected,
        }
        for what, holds in waits.items():
            while not await holds():
                if time.monotonic() > deadline:
                    raise _NotBackError(f"not back: there is not {what} within {COMES_BACK:.0f} s")
                await asyncio.sleep(_POLL)
        await asyncio.to_thread(stage.admin.settings, **NORMAL)
        await asyncio.to_thread(stage.admin.clear_faults)
        self._tell("back")

    async def _lists(self) -> bool:
        """One that says ready may still refuse, with a 429, until it has read what etcd has."""
        try:
            await self._get(f"{WORKLOADS}/workloads", patience=0.0)
        except httpx.HTTPError:
            return False
        return True

    async def _is_led(self, since: float) -> bool:
        """Each shard by an operator that runs."""
        stage, folder = self._stage, f"{LEASES}/namespaces/{permissions.NAMESPACE}/leases"
        running = [child.pid for name in OPERATORS if (child := stage.children[name]).running]
        for shard in range(stage.shards):
            try:
                spec = (await self._get(f"{folder}/{lease_name((), shard)}", patience=0.0)).get("spec", {})
            except httpx.HTTPError:
                return False
            held = any(f"_{pid}_" in (spec.get("holderIdentity") or "") for pid in running)
            if not held or datetime.fromisoformat(spec["renewTime"]).timestamp() <= since:
                return False
        return True

    async def _is_collected(self) -> bool:
        """Nothing is there of a Workload that is gone: its successor waits until Kubernetes has seen to that."""
        workloads = (await self._get(f"{WORKLOADS}/workloads"))["items"]
        config_maps = (await self._get("/api/v1/configmaps"))["items"]
        owners = {owner["uid"] for each in config_maps for owner in each["metadata"].get("ownerReferences", ())}
        return owners <= {each["metadata"]["uid"] for each in workloads}

    async def _judge(self, outcome: Outcome) -> None:
        back, sight, left = time.monotonic(), None, ["nothing was seen yet"]
        while left and time.monotonic() < back + self._bound:
            await asyncio.sleep(0 if sight is None else _POLL)
            sight = await self.look()
            outcome.last, left = left or outcome.last, list(judge.unsettled(sight))
        outcome.converged_in = time.monotonic() - back
        outcome.slow = outcome.converged_in > bound(self._stage.interval, grown=0.0)
        self._tell(f"converged in {outcome.converged_in:.1f} s" if not left else f"unsettled after {self._bound:.0f} s")
        assert sight is not None
        outcome.wrong += left
        outcome.wrong += judge.lost(self._people.acknowledged, sight.workloads)
        twins, self._record = judge.twins(self._stage.record, self._record)
        outcome.wrong += twins
        if not outcome.wrong:
            outcome.wrong += await self._stirrings()

    async def _stirrings(self) -> list[str]:
        """What was written though nothing happened: after the last list, and the time in which it is looked through."""
        await asyncio.sleep(self._stage.interval + INTERVAL)
        record, before = self._stage.record.stat().st_size, await self.look()
        await asyncio.sleep(2 * INTERVAL + self._stage.interval)
        written = judge.written(before, await self.look())
        asked = judge.writes(self._stage.record, record)
        return [f"not idle: {each}" for each in (*written, *asked)]

    async def look(self) -> Sight:
        """Both sides now."""
        workloads = (await self._get(f"{WORKLOADS}/workloads"))["items"]
        config_maps = (await self._get("/api/v1/configmaps"))["items"]
        rows = await asyncio.to_thread(self._stage.admin.workloads)
        ours = [each for each in config_maps if each["metadata"]["namespace"] in NAMESPACES]
        endpoints = {
            key_of(each): Endpoint(each["metadata"]["resourceVersion"], each.get("data", {}).get("OPENAI_BASE_URL", ""))
            for each in ours
        }
        return Sight(workloads, rows, endpoints)

    async def _get(self, path: str, patience: float = 15.0) -> dict[str, Any]:
        """What an API server that is ready may have to be asked for twice, on a busy machine."""
        deadline = time.monotonic() + patience
        while True:
            try:
                answer = await self._people.http.get(path, timeout=5.0)
                answer.raise_for_status()
            except httpx.HTTPError:
                if time.monotonic() >= deadline:
                    raise
                await asyncio.sleep(_POLL)
                continue
            found: dict[str, Any] = answer.json()
            return found

    def _misbehaviour(self) -> list[str]:
        wrong: list[str] = []
        for name, child in self._stage.children.items():
            with child.log.open(errors="replace") as log:
                log.seek(self._logs[name])
                text = log.read()
                self._logs[name] = log.tell()
            wrong += judge.misbehaviour(name, text, child.ended_by_itself)
            child.ended_by_itself.clear()
        return wrong


class _NotBackError(Exception):
    """Somebody does not come back."""
