"""`python -m bench.large`: what few but large Workloads cost the operator, beside as many small ones.

They are suspended, so that nothing but what Kubernetes holds is measured: the platform is not asked. The first start
writes a status to each; the second one, which is measured as well, finds all in order. etcd gets a quota that such
objects need. Decides nothing of what an operator does with them.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import string
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp

from bench import procfs
from bench.stage import OURS, _install
from bench.writer import CONNECTIONS
from controlplane import lookup
from controlplane.cluster import ControlPlane
from controlplane.lookup import Binaries
from controlplane.progress import Progress
from harness import permissions
from harness.api import WORKLOADS, Api
from harness.lives import executed
from harness.operators import Operator, Surroundings
from harness.scrape import Scrape, free_port
from harness.simulator import simulator
from harness.team import Team
from harness.waiting import eventually
from integration.manifests import manifest

QUOTA = str(8 * 1024**3)
"""Bytes, etcd's own advice for the most."""
LETTERS = string.ascii_letters + string.digits + " "
WITHIN = 1_800.0


@dataclass(frozen=True)
class Started:
    """One start of the operator with all of them there."""

    listed: float
    """Seconds until it leads, which it does after its first list."""
    looked: float
    """Seconds until it has reconciled each."""
    cpu: float
    """Seconds of a core until then: what does not depend on what else the machine does."""
    resident: float
    """MiB, once it is at rest."""
    peak: float

    def __str__(self) -> str:
        return (
            f"listed after {self.listed:.1f} s, all reconciled after {self.looked:.1f} s "
            f"and {self.cpu:.1f} s of a core; {self.resident:.0f} MiB resident, {self.peak:.0f} MiB at most"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when it was measured."""
    parser = argparse.ArgumentParser(prog="python -m bench.large", description=__doc__)
    parser.add_argument("--count", type=int, default=5_000, help="how many (default: 5000)")
    parser.add_argument("--kib", type=int, default=200, help="the size of each config, in KiB (default: 200)")
    parser.add_argument("--objects", action="store_true", help="made of empty objects, not of one text")
    given = parser.parse_args(arguments)
    progress = Progress(sys.stdout, plain_seconds=30.0)
    found = lookup.find(progress=progress)
    if not isinstance(found, Binaries):
        progress.say("this takes a control plane of its own: see `make controlplane`")
        return 1
    os.environ["ETCD_QUOTA_BACKEND_BYTES"] = QUOTA
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix=OURS)))
        plane = stack.enter_context(ControlPlane.start(found.folder))
        _install(plane)
        api = Api(plane)
        stack.callback(api.close)
        admin = stack.enter_context(simulator(folder))
        account = permissions.apply(plane, permissions.of_the_manifest())
        api.create("/api/v1/namespaces", {"metadata": {"name": "bench-large"}})
        Team("bench-large", plane.kubectl, api, admin).secret()
        scrape = Scrape(free_port())
        around = Surroundings(api, account, admin.url, folder / "operator.log", begin=executed)
        operator = Operator(around, scrape.option)
        operator.start()
        progress.say(f"nothing declared: {procfs.memory(operator.pid).resident:.0f} MiB resident")
        operator.stop()
        began = time.monotonic()
        asyncio.run(_declare(api, given.count, given.kib * 1024, given.objects))
        seconds = time.monotonic() - began
        progress.say(f"{given.count} Workloads with a config of {given.kib} KiB each were declared in {seconds:.0f} s")
        for title in ("first start", "restart"):
            progress.say(f"{title}: {_started(operator, scrape, given.count)}")
            operator.stop()
        operator.close()
    return 0


def _started(operator: Operator, scrape: Scrape, count: int) -> Started:
    began = time.monotonic()
    operator.start(WITHIN)
    listed = time.monotonic() - began
    eventually(scrape.looks, lambda looks: looks >= count, within=WITHIN, poll=0.2)
    looked = time.monotonic() - began
    cpu = procfs.cpu_seconds(operator.pid)
    time.sleep(5.0)
    memory = procfs.memory(operator.pid)
    return Started(listed, looked, cpu, memory.resident, memory.peak)


async def _declare(api: Api, count: int, size: int, objects: bool) -> None:
    text = "".join(random.choices(LETTERS, k=size))
    config: dict[str, object] = {"objects": [{}] * (size // 3)} if objects else {"text": text}
    left = iter(range(count))
    path = f"{WORKLOADS}/namespaces/bench-large/workloads"

    async def work(http: aiohttp.ClientSession) -> None:
        for number in left:
            body = manifest(f"large-{number:05}", suspend=True, config=config)
            async with http.post(path, json=body) as answer:
                if not answer.ok:
                    raise RuntimeError(f"{answer.status} {await answer.text()}")

    connector = aiohttp.TCPConnector(limit=CONNECTIONS, ssl=api.tls)
    async with (
        aiohttp.ClientSession(api.server, connector=connector, headers=api.headers) as http,
        asyncio.TaskGroup() as workers,
    ):
        for _ in range(CONNECTIONS):
            workers.create_task(work(http))


if __name__ == "__main__":
    sys.exit(main())
