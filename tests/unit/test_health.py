"""Started, alive, ready: what each depends on, and what it does not."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
from aiohttp.base_protocol import BaseProtocol

from inferencekey_operator.api.keys import Key
from inferencekey_operator.app.health import DEAF, LEASE_UNSEEN, STUCK, Health, Verdict
from inferencekey_operator.controller.controller import Controller
from inferencekey_operator.election.leader import Leader
from inferencekey_operator.election.leadership import Leadership
from inferencekey_operator.kube.client import Cluster
from inferencekey_operator.kube.watch_activity import Pulse
from inferencekey_operator.settings import Settings
from unit.elections import no_workloads
from unit.virtual_time import virtual

ROUND = 100.0


class Process:
    """The parts that are asked, on the loop's virtual time; nothing of them runs by itself."""

    def __init__(self) -> None:
        clock = asyncio.get_running_loop().time
        self.controller = Controller()
        self.pulse = Pulse(clock)
        self.leadership = Leadership(cast(Cluster, None), self.controller, Settings(), no_workloads)
        self.health = Health(self.controller, self.leadership, self.pulse, longest_resync_step=ROUND)
        self.health.listed = True
        self.candidate = Leader(cast(Cluster, None), "here", identity="us", clock=clock)
        self.leadership._field = self.leadership._new_candidacies()
        self.leadership._field.candidacies[0].leader = self.candidate
        self.opens_watch()

    def opens_watch(self) -> None:
        """The watch of Workloads is opened, and says nothing from then on."""
        stream = aiohttp.StreamReader(cast(BaseProtocol, SimpleNamespace(_reading_paused=False)), 2**16)
        response = cast(aiohttp.ClientResponse, SimpleNamespace(status=200, content=stream))
        self.pulse.answered("/apis/inferencekey.com/v1alpha1/workloads", {"watch": "true"}, response)

    async def passes(self, seconds: float, *, answering: bool = True) -> None:
        """The time passes; the API server answers every now and then, about the Lease for one, or does not."""
        for _ in range(int(seconds // 10)):
            await asyncio.sleep(10.0)
            if answering:
                self.pulse.answered("/lease", {}, cast(aiohttp.ClientResponse, SimpleNamespace(status=200)))
                self.candidate.answered_at = self.candidate.clock()


def wrong(verdict: Verdict) -> list[str]:
    """The checks that fail."""
    return [name for name, what in verdict.items() if what]


@virtual
async def test_all_is_well() -> None:
    """A standby whose lists and watches are complete is ready: nobody asks whether it leads."""
    process = Process()
    assert not process.leadership.leads
    await process.passes(60)
    assert [wrong(check()) for check in (process.health.started, process.health.alive, process.health.ready)] == [
        [],
        [],
        [],
    ]


@virtual
async def test_not_started_before_everything_was_listed() -> None:
    """Alive meanwhile: a start that takes long is not ended by the liveness probe."""
    process = Process()
    process.health.listed = False
    process.pulse._watches.clear()
    assert wrong(process.health.started()) == ["lists", "workloads"]
    assert wrong(process.health.alive()) == []
    assert wrong(process.health.ready()) == ["lists", "workloads"]


@virtual
async def test_a_silent_watch_beside_an_api_server_that_answers() -> None:
    """That is what a restart mends."""
    process = Process()
    await process.passes(DEAF)
    assert wrong(process.health.alive()) == []
    await process.passes(20)
    assert wrong(process.health.alive()) == ["watches"]
    process.opens_watch()
    assert wrong(process.health.alive()) == []


@virtual
async def test_an_api_server_that_is_away_ends_no_process() -> None:
    """Not ready, since the Lease cannot be seen; but alive, also in the first minutes after it is back."""
    process = Process()
    await process.passes(2 * DEAF, answering=False)
    assert wrong(process.health.alive()) == []
    assert wrong(process.health.ready()) == ["lease"]
    await process.passes(120)
    assert wrong(process.health.ready()) == []


@virtual
async def test_a_lease_that_may_not_be_seen() -> None:
    """The API server answers, but not about the Lease: it could never take over."""
    process = Process()
    await process.passes(10)
    process.candidate.answered_at -= LEASE_UNSEEN
    assert wrong(process.health.ready()) == []
    process.candidate.answered_at -= 1.0
    assert wrong(process.health.ready()) == ["lease"]


@virtual
async def test_credentials_that_the_api_server_refuses() -> None:
    """Not ready, and the probe says why; a restart would find the same ones."""
    process = Process()
    process.health.login_trouble = lambda: "the API server refuses them"
    assert wrong(process.health.alive()) == []
    assert process.health.ready()["credentials"] == "the API server refuses them"
    assert wrong(process.health.ready()) == ["credentials"]


@virtual
async def test_a_round_that_makes_no_step() -> None:
    """Before the first one, nothing is wrong; later, so much time may pass between two."""
    process = Process()
    await process.passes(2 * ROUND)
    assert wrong(process.health.alive()) == []
    process.controller.resync_at = asyncio.get_running_loop().time()
    await process.passes(ROUND)
    assert wrong(process.health.alive()) == []
    await process.passes(10)
    assert wrong(process.health.alive()) == ["resync"]


@virtual
async def test_a_look_that_does_not_end() -> None:
    """Whatever holds it up, a restart begins anew."""
    process = Process()
    forever = asyncio.Event()

    async def work(_: Key) -> Any:
        await forever.wait()

    process.controller.queue._work = work
    process.controller.queue.start()
    process.controller.queue.add(Key("team-a", "a"))
    await process.passes(DEAF)
    process.opens_watch()
    await process.passes(STUCK - DEAF - 10.0)
    process.opens_watch()
    assert wrong(process.health.alive()) == []
    await process.passes(20)
    assert wrong(process.health.alive()) == ["work"]
    forever.set()


@virtual
async def test_a_candidacy_that_ended() -> None:
    """A process that will never lead is of no use."""
    process = Process()
    process.leadership._run = asyncio.ensure_future(asyncio.sleep(0))  # type: ignore[assignment]
    await process.passes(10)
    assert wrong(process.health.alive()) == ["candidacy"]


@virtual
async def test_without_the_crd_it_is_alive_and_not_ready() -> None:
    """A restart would mend nothing: the watch of Workloads says nothing for as long as nobody installs the CRD."""
    process = Process()
    process.health.served = False
    await process.passes(2 * DEAF)

    assert wrong(process.health.alive()) == []
    assert wrong(process.health.ready()) == ["crd"]
    assert "inferencekey-operator crd | kubectl apply" in process.health.ready()["crd"]

    process.health.served = True
    assert "watches" in wrong(process.health.alive())
