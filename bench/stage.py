"""What all contestants of a round stand on: a control plane of our own, a simulated platform, and eyes on both.

Decides what is started, how waiting is told, and that nothing of one contestant is left for the next. Knows no
contestant.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep
from typing import TypeVar

from bench.sights import Sights
from bench.writer import Writer
from controlplane.cluster import ControlPlane
from controlplane.components import CONTROLLER_MANAGER
from controlplane.lookup import Binaries
from controlplane.progress import Progress
from controlplane.waiting import wait_until
from harness import permissions
from harness.api import WORKLOADS, Api
from harness.audit import Audit
from harness.simulator import simulator
from harness.team import Team
from harness.waiting import eventually
from inferencekey_simulator.admin import Admin

ROOT = Path(__file__).parents[1]
OURS = "bench-"
"""What the names of our namespaces begin with."""

_Seen = TypeVar("_Seen")


@dataclass
class Stage:
    """Lasts for a round."""

    plane: ControlPlane
    api: Api
    admin: Admin
    sights: Sights
    writer: Writer
    service_account: Path
    """A kubeconfig with what our manifest grants."""
    folder: Path
    progress: Progress
    title: str = ""

    def audit(self, user: str) -> Audit:
        """What the API server saw this user do."""
        assert self.plane.audit_log is not None  # noqa: S101 - we have started it so
        return Audit(self.plane.audit_log, self.api, user)

    def components(self) -> dict[str, int]:
        """The control plane's pids."""
        return self.plane.pids()

    def team(self, name: str) -> Team:
        """A namespace with its Secret, and a project of that name."""
        self.api.create("/api/v1/namespaces", {"metadata": {"name": name}})
        team = Team(name, self.plane.kubectl, self.api, self.admin)
        team.secret()
        return team

    def until(
        self,
        text: str,
        look: Callable[[], _Seen],
        holds: Callable[[_Seen], object] = bool,
        *,
        within: float,
        poll: float = 0.05,
    ) -> _Seen:
        """`eventually`, told as it goes on."""
        began = monotonic()

        def told() -> _Seen:
            seen = look()
            self.progress.update(f"{self.title}: {text}: {seen}, {monotonic() - began:.0f} s")
            return seen

        return eventually(told, holds, within=within, poll=poll)

    def pause(self, seconds: float, text: str) -> None:
        """Time that is measured itself: nothing is waited for in it."""
        end = monotonic() + seconds
        while (left := end - monotonic()) > 0:
            self.progress.update(f"{self.title}: {text}: {left:.0f} s more")
            sleep(min(left, 0.25))

    def clear(self, made: int, *, tidy: bool) -> None:
        """No Workload is left of so many that were made on this stage, on which no contestant is at work any more.

        Tidy: nor is anything else, and so the controllers are at rest, too; Events are the most that there is.
        """
        keys = [key for key in self.sights.present() if key[0].startswith(OURS)]
        asyncio.run(self.writer.release(keys))
        namespaces = [item["metadata"]["name"] for item in self.api.items("/api/v1/namespaces")]
        ours = [name for name in namespaces if name.startswith(OURS)]
        for name in ours:
            self.api.delete_all(f"{WORKLOADS}/namespaces/{name}/workloads")
            self.api.delete(f"/api/v1/namespaces/{name}")
        bound = 120 + made / 5
        self.until("Workloads left", lambda: self.sights.count(keys), lambda left: left == 0, within=bound)
        if tidy:
            self.until("namespaces left", lambda: len(self._left(ours)), lambda left: left == 0, within=bound)
        self.admin.clear_faults()

    def _left(self, names: list[str]) -> set[str]:
        return {item["metadata"]["name"] for item in self.api.items("/api/v1/namespaces")} & set(names)


@contextmanager
def stage(binaries: Binaries, progress: Progress) -> Iterator[Stage]:
    """Started, with the CRD and our permissions; it ends with the context."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix=OURS)))
        plane = stack.enter_context(ControlPlane.start(binaries.folder, audit=True))
        _install(plane)
        api = Api(plane)
        stack.callback(api.close)
        admin = stack.enter_context(simulator(folder))
        account = permissions.apply(plane, permissions.of_the_manifest())
        above = on_top_of(plane, api, admin, service_account=account, folder=folder, progress=progress)
        yield stack.enter_context(above)


@contextmanager
def on_top_of(
    plane: ControlPlane, api: Api, admin: Admin, *, service_account: Path, folder: Path, progress: Progress
) -> Iterator[Stage]:
    """On what others have started, and end."""
    with Sights(api) as sights:
        yield Stage(plane, api, admin, sights, Writer(api), service_account, folder, progress)


def _install(plane: ControlPlane) -> None:
    plane.kubectl("apply", "--server-side", "-f", str(ROOT / "crds"))
    wait_until(lambda: plane.established("workloads.inferencekey.com"))
    if plane.has_controller_manager:
        plane.restart(CONTROLLER_MANAGER)  # else it hears of the CRD only after most of a minute
