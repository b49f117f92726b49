"""All processes of a run and the cables between them: started, hit by faults, given back, and ended.

Decides what each fault does to whom. Knows neither what people do nor what is right.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path

from chaos.processes import plan
from chaos.processes.cable import Cable
from chaos.processes.child import Child
from chaos.processes.plan import API_SERVER, CABLES, CERTIFICATES, ETCD, OPERATORS, PLATFORM, Fault
from controlplane import kubeconfig, lookup
from controlplane.access import Cluster
from controlplane.cluster import ControlPlane
from controlplane.components import CONTROLLER_MANAGER
from controlplane.waiting import wait_until
from harness import permissions
from harness.api import Api
from harness.lives import OPERATOR, prepare_to_fork
from harness.scrape import free_port
from inferencekey_simulator.admin import Admin

INTERVAL = 0.5
CLIENT_TIMEOUT = 2.0
CREATE_SETTLE = 4.0
LEASE = 6.0
OPTIONS = (
    f"--client-timeout={CLIENT_TIMEOUT}s",
    f"--uncertain-create-timeout={CREATE_SETTLE}s",
    f"--deletion-grace={CREATE_SETTLE}s",
    f"--lease-duration={LEASE}s",
    f"--lease-namespace={permissions.NAMESPACE}",
)
"""Durations as short as allow thousands of faults: a Lease is longer than a call, a creation settles after the longest
delay that the faults make."""

CRDS = Path(__file__).parents[3] / "crds"
_LOOK_AFTER = 0.3
_HOLDS = timedelta(days=365)
_IS_OVER = timedelta(0)


class Stage:
    """What runs, for as long as `a_stage` lasts."""

    def __init__(self, folder: Path, interval: float, shards: int) -> None:
        self.folder, self.interval, self.shards = folder, interval, shards
        self.record = folder / "record"
        self._killed: set[str] = set()
        """What the plan has killed, and not given back."""
        self.cables = {name: Cable(name) for name in CABLES}
        port = free_port()
        self.admin = Admin(f"http://127.0.0.1:{port}", timeout=2.0)
        self.cables["operators~platform"].to = port
        state = [str(folder / "state"), str(self.record), str(port)]
        self.children = {name: self._operator(name) for name in OPERATORS}
        self.children[PLATFORM] = Child(PLATFORM, "chaos.processes.platform", lambda: state, folder / "platform.log")
        self.plane: ControlPlane

    @property
    def platform_url(self) -> str:
        """As both operators know it."""
        return f"http://127.0.0.1:{self.cables['operators~platform'].port}"

    # -- faults ------------------------------------------------------------------------------------------------

    async def take(self, fault: Fault) -> None:
        """It begins."""
        if fault.target in self.cables:
            getattr(self.cables[fault.target], fault.kind)()
            return
        if fault.target in CERTIFICATES:
            self._hand_out(fault.target, _IS_OVER)
            return
        kill, pause = self._ways(fault.target)
        if fault.kind == plan.KILL:
            self._killed.add(fault.target)
        await asyncio.to_thread(kill if fault.kind == plan.KILL else pause)

    async def give_back(self, fault: Fault) -> None:
        """It is over."""
        if fault.target in self.cables:
            await self.cables[fault.target].mend()
            return
        if fault.target in CERTIFICATES:
            self._hand_out(fault.target, _HOLDS)
            return
        start, resume = self._ways_back(fault.target)
        await asyncio.to_thread(start if fault.kind == plan.KILL else resume)
        self._killed.discard(fault.target)

    def _hand_out(self, certificate: str, lifetime: timedelta) -> None:
        """Put another one in its place, in one step."""
        pair = self.plane.client_certificate(permissions.USER, lifetime)
        new, path = self.folder / f"{certificate}.new", self.folder / certificate
        new.touch(0o600)
        new.write_text(pair.certificate + pair.key)
        new.replace(path)

    def _ways(self, target: str) -> tuple[Callable[[], None], Callable[[], None]]:
        child = self.children.get(target)
        if child is not None:
            return child.kill, child.pause
        return lambda: self.plane.kill(target), lambda: self.plane.pause(target)

    def _ways_back(self, target: str) -> tuple[Callable[[], None], Callable[[], None]]:
        child = self.children.get(target)
        if child is not None:
            return child.start, child.resume
        return lambda: self.plane.revive(target), lambda: self.plane.resume(target)

    async def look_after(self) -> None:
        """Whoever ends by itself is begun again, for ever."""
        while True:
            await asyncio.sleep(_LOOK_AFTER)
            for child in self.children.values():
                child.look_after()
            running = await asyncio.to_thread(self.plane.pids)
            for component in {API_SERVER, ETCD} - running.keys() - self._killed:
                await asyncio.to_thread(self.plane.revive, component)

    # -- the beginning -----------------------------------------------------------------------------------------

    def _operator(self, name: str) -> Child:
        options = [f"--list-interval={self.interval}s", f"--shards={self.shards}", *OPTIONS]
        return Child(name, OPERATOR, lambda: ["run", *options], self.folder / f"{name}.log")

    async def begin(self) -> Api:
        """Everything runs; operators are started, and may not lead yet."""
        prepare_to_fork()
        for cable in self.cables.values():
            await cable.open()
        self.plane = await asyncio.to_thread(self._start_plane)
        for name in OPERATORS:
            self.cables[f"{name}~kubernetes"].to = int(self.plane.server.rpartition(":")[2])
        self.children[PLATFORM].surround({"PATH": os.environ.get("PATH", "")})
        api = await asyncio.to_thread(self._install)
        for child in self.children.values():
            child.start()
        await asyncio.to_thread(wait_until, self.answers)
        return api

    def answers(self) -> bool:
        """Whether the platform does."""
        try:
            self.admin.last()
        except OSError:
            return False
        return True

    def _start_plane(self) -> ControlPlane:
        found = lookup.find()
        if not isinstance(found, lookup.Binaries):
            raise SystemExit("this takes a control plane of its own: see `make controlplane`")

        def behind(port: int) -> int:
            cable = self.cables["kube-apiserver~etcd"]
            cable.to = port
            return cable.port

        return ControlPlane.start(found.folder, directory=self.folder / "plane", etcd_behind=behind)

    def _install(self) -> Api:
        plane = self.plane
        plane.kubectl("apply", "--server-side", "-f", str(CRDS))
        wait_until(lambda: plane.established("workloads.inferencekey.com"))
        if plane.has_controller_manager:
            plane.restart(CONTROLLER_MANAGER)
        permissions.apply(plane, [*permissions.of_the_manifest(), *permissions.of_shards(self.shards)])
        for name, certificate in zip(OPERATORS, CERTIFICATES, strict=True):
            self._hand_out(certificate, _HOLDS)
            self.children[name].surround(self._environment(plane, name, certificate))
        return Api(plane)

    def _environment(self, plane: Cluster, name: str, certificate: str) -> dict[str, str]:
        server = kubeconfig.Server(f"https://127.0.0.1:{self.cables[f'{name}~kubernetes'].port}", plane.ca_pem)
        path = kubeconfig.with_file(self.folder / f"{name}.kubeconfig", server, name, self.folder / certificate)
        return {
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(self.folder),
            "KUBECONFIG": str(path),
            "INFERENCEKEY_BASE_URL": self.platform_url,
        }

    def end(self) -> None:
        """Nothing runs any more."""
        for cable in self.cables.values():
            cable.close()
        for child in self.children.values():
            child.kill()
        if hasattr(self, "plane"):
            self.plane.kill(API_SERVER)  # nothing of it is wanted any more, and it would take its time
            self.plane.stop()


@asynccontextmanager
async def a_stage(folder: Path, interval: float = INTERVAL, shards: int = 1) -> AsyncIterator[tuple[Stage, Api]]:
    """Until the context ends, however it does."""
    stage = Stage(folder, interval, shards)
    with _ended(stage):
        api = await stage.begin()
        keeper = asyncio.create_task(stage.look_after())
        try:
            yield stage, api
        finally:
            keeper.cancel()
            api.close()


@contextmanager
def _ended(stage: Stage) -> Iterator[None]:
    try:
        yield
    finally:
        stage.end()
