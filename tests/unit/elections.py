"""Several processes run for the Leases of several shards, in memory and on virtual time; each notes when it may act.

Knows what can happen to a process and to its way to the API server; nothing of what a shard is for.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Any

from inferencekey_operator.controller.controller import Controller
from inferencekey_operator.election.candidacy import Candidacies, Candidacy
from inferencekey_operator.election.layout import Layouts
from inferencekey_operator.election.leader import Leader
from inferencekey_operator.election.leadership import lease_name
from inferencekey_operator.election.shards import pace
from inferencekey_operator.kube.client import Cluster
from inferencekey_operator.kube.errors import ClusterError
from inferencekey_operator.kube.reading import Body

DURATION, RENEW_DEADLINE, RETRY, TIMEOUT = 15.0, 10.0, 2.0, 4.5
LOOK = 0.2


def now() -> float:
    """Virtual seconds."""
    return asyncio.get_running_loop().time()


class Leases:
    """What the API server keeps: a write needs the resourceVersion that stands."""

    def __init__(self) -> None:
        self.standing: dict[str, Body] = {}
        self._version = 0

    def answer(self, method: str, path: str, body: Body | None) -> Body:
        """What becomes of one request."""
        name = path.rsplit("/", 1)[-1] if body is None else body["metadata"]["name"]
        stands = self.standing.get(name)
        if method == "GET":
            if stands is None:
                raise ClusterError(404, "no such Lease")
            return copy.deepcopy(stands)
        assert body is not None
        version = None if stands is None else stands["metadata"]["resourceVersion"]
        if body["metadata"].get("resourceVersion") != version:
            raise ClusterError(409, "the object has been modified, or is there already")
        self._version += 1
        lease = copy.deepcopy(body)
        lease["metadata"]["resourceVersion"] = str(self._version)
        self.standing[name] = lease
        return copy.deepcopy(lease)

    def holder(self, shard: int) -> str:
        """Who holds a shard's Lease."""
        return str(self.standing.get(lease_name((), shard), {}).get("spec", {}).get("holderIdentity") or "")

    def annotations(self, shard: int = 0) -> dict[str, str]:
        """What it says beside."""
        return dict(self.standing[lease_name((), shard)]["metadata"].get("annotations") or {})


class Link(Cluster):
    """The way of one process to the Leases."""

    def __init__(self, leases: Leases) -> None:
        self._leases = leases
        self.went_back = asyncio.Event()
        self._versions: dict[str, int] = {}
        self.trouble = ""
        """`hangs`, `deaf` (the request arrives, its answer does not), `refused`, or `blind`: to the first Lease."""
        self.latency = 0.005
        self.thawed = asyncio.Event()
        self.thawed.set()
        self.sent: list[tuple[float, str, str]] = []

    async def request(self, method: str, path: str, *, body: Any = None, **_: Any) -> Body:
        """One request."""
        await self.thawed.wait()
        self.sent.append((now(), method, path.rsplit("/", 1)[-1]))
        await asyncio.sleep(self.latency)
        if self.trouble == "refused":
            raise ClusterError(0, "refused")
        if self.trouble == "hangs" or (self.trouble == "blind" and path.endswith(f"/{lease_name(())}")):
            await asyncio.Event().wait()
        answer = self._leases.answer(method, path, body)
        await asyncio.sleep(self.latency)
        if self.trouble == "deaf":
            await asyncio.Event().wait()
        await self.thawed.wait()
        return answer


@dataclass(frozen=True)
class Act:
    """A process may act for one shard, under a layout and in a term."""

    at: float
    shard: int
    layout: str
    term: tuple[str, str]
    """Who began it, and when."""


@dataclass
class Journal:
    """Who was allowed to act, when: one entry per look."""

    acts: list[Act] = field(default_factory=list)

    def verify(self) -> None:
        """Nobody acts by a layout or in a term after another has begun; and between two layouts is a pause."""
        acting: dict[int, tuple[str, str]] = {}
        ended: set[object] = set()
        layout, last = "", 0.0
        for act in self.acts:
            if act.layout != layout:
                assert act.layout not in ended, f"{layout} and {act.layout} are both acted by at {act.at}"
                assert not acting or act.at - last > TIMEOUT, f"what was sent under {layout} may still be on its way"
                ended |= {layout, *acting.values()}
                acting, layout = {}, act.layout
            former = acting.get(act.shard)
            if former != act.term:
                assert (act.shard, act.term) not in ended, f"shard {act.shard}: {former} and {act.term} at {act.at}"
                ended.add((act.shard, former))
            acting[act.shard], last = act.term, act.at


class _Worked(Controller):
    """Works on nothing; keeps which shards it was told to work on."""

    def __init__(self, shards: int, drain: float) -> None:
        self.at_work: dict[int, float] = {}
        self.caught_up: list[int] = []
        self._drain = drain
        super().__init__(shards)

    async def catch_up(self, shard: int, everything: object) -> None:
        """See what another released."""
        self.caught_up.append(shard)

    def begin(self, shard: int = 0, *, settled_in: float) -> None:
        """The shard is ours."""
        self.at_work[shard] = settled_in

    async def leave(self, shard: int) -> None:
        """What is in work takes a moment."""
        await asyncio.sleep(self._drain)
        del self.at_work[shard]


async def no_workloads() -> AsyncIterator[Body]:
    """A list of Workloads in which there are none."""
    for body in ():
        yield body


class Process:
    """One life: from its start to `kill` or `terminate`."""

    def __init__(self, leases: Leases, name: str, shards: int, journal: Journal, drain: float = 0.1) -> None:
        self.name, self.shards, self.link = name, shards, Link(leases)
        self._journal = journal
        clock = asyncio.get_running_loop().time
        self.controller = _Worked(shards, drain)
        layouts = Layouts(shards, duration=DURATION, fresh_for=RENEW_DEADLINE, clock=clock)
        self.field = Candidacies(layouts, self.controller, TIMEOUT, no_workloads)
        for shard in range(shards):
            self.field.candidacies.append(self._candidacy(shard))
        self._tasks = [asyncio.create_task(each.run()) for each in self.field]
        self._tasks.append(asyncio.create_task(self._work()))

    def _candidacy(self, shard: int) -> Candidacy:
        candidacy = Candidacy(shard, self.field)
        candidacy.leader = Leader(
            self.link,
            "system",
            name=lease_name((), shard),
            identity=self.name,
            duration=DURATION,
            renew_deadline=RENEW_DEADLINE,
            retry=RETRY,
            clock=asyncio.get_running_loop().time,
            notes=candidacy,
            pace=pace(self.shards) if shard else 1.0,
        )
        return candidacy

    @property
    def held(self) -> list[int]:
        """The shards for which it may act now."""
        return [each.shard for each in self.field if each.leads]

    def kill(self) -> None:
        """SIGKILL."""
        for task in self._tasks:
            task.cancel()

    async def terminate(self) -> None:
        """SIGTERM: what is in work ends, and the Leases are given up."""
        self.field.closing = True
        for task in self._tasks[:-1]:
            task.cancel()
        await asyncio.gather(*self._tasks[:-1], return_exceptions=True)
        self.kill()
        await asyncio.gather(*(each.leader.release() for each in self.field))

    async def suffer(self, what: str, seconds: float) -> None:
        """A misfortune, for a while."""
        if what == "freeze":
            self.link.thawed.clear()
            await asyncio.sleep(seconds)
            self.link.thawed.set()
        elif what == "slow":
            self.link.latency = 1.4
            await asyncio.sleep(seconds)
            self.link.latency = 0.005
        else:
            self.link.trouble = what
            await asyncio.sleep(seconds)
            self.link.trouble = ""

    async def _work(self) -> None:
        while True:
            await self.link.thawed.wait()
            for each in self.field:
                if each.leads:
                    layout = "" if each._bound is None else each._bound.name
                    term = self.name, str(each.leader._term["acquireTime"])
                    self._journal.acts.append(Act(now(), each.shard, layout, term))
            await asyncio.sleep(LOOK)


def owners(processes: Iterable[Process]) -> dict[int, list[str]]:
    """By shard, who may act for it now."""
    found: dict[int, list[str]] = {}
    for process in processes:
        for shard in process.held:
            found.setdefault(shard, []).append(process.name)
    return found
