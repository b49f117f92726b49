"""Everything that the demo stands on: a cluster, a platform and an operator, and waiting for what they do.

Decides what is started in which order, and that every wait has a bound. What is to be seen is the story's.
"""

from __future__ import annotations

import shlex
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from controlplane.access import Cluster
from controlplane.cluster import start
from controlplane.lookup import Binaries, Existing, Found
from demo import children
from demo.children import Child
from demo.counters import Counters
from demo.screen import Scene, Screen
from demo.watch import Workload, WorkloadWatch
from inferencekey_simulator.admin import Admin

NAMESPACE = "inferencekey-demo"
PROJECT = "demo"
INTERVAL = 3.0
"""Seconds between two lists of a project. The operator's own default is 30: nobody should wait that long here."""

_START_SECONDS = 60.0
_POLL_SECONDS = 0.05

_Seen = TypeVar("_Seen")


class StepFailedError(Exception):
    """A step was not seen to happen; the message says what was expected, and what was seen."""


@dataclass(frozen=True)
class Stage:
    """What the chapters of the story work with."""

    screen: Screen
    cluster: Cluster
    admin: Admin
    simulator: Child
    operator: Child
    workloads: WorkloadWatch
    counters: Counters

    def kubectl(self, command: str) -> str:
        """Run kubectl in the demo's namespace, shown as people would type it; returns its output."""
        whole = f"-n {NAMESPACE} {command}"
        self.screen.command(f"kubectl {whole}")
        with self.screen.waiting("kubectl is at work"):
            return self.cluster.kubectl(*shlex.split(whole)).stdout

    def wait(
        self, text: str, reached: Callable[[], _Seen | None], seen: Callable[[], object], seconds: float = 30.0
    ) -> _Seen:
        """What `reached` returns, as soon as that is something.

        Raises StepFailedError after `seconds`, with what `seen` returns then, and ChildEndedError.
        """
        began = time.monotonic()
        with self.screen.waiting(f"until {text}"):
            found = _poll(text, reached, seen, seconds, (self.simulator, self.operator))
        self.screen.done(text, time.monotonic() - began)
        return found

    def check(self) -> None:
        """Raises ChildEndedError where the simulator or the operator has ended by itself."""
        for child in (self.simulator, self.operator):
            child.check()

    def workload(self, name: str) -> Workload:
        """A Workload that is there; raises StepFailedError where it is not."""
        found = self.workloads.get(name)
        if found is None:
            raise StepFailedError(f"Expected: a Workload {name}.\nSeen: {[each.name for each in self.workloads.all()]}")
        return found


@dataclass
class _Steps:
    """Tells which of how many things is being started, and how long it took."""

    screen: Screen
    of: int
    number: int = 0

    def take(self, text: str, step: Callable[[], _Seen]) -> _Seen:
        self.number += 1
        began = time.monotonic()
        with self.screen.waiting(f"{self.number} of {self.of}: {text}"):
            result = step()
        self.screen.done(text, time.monotonic() - began)
        return result


def set_up(found: Found, screen: Screen, stack: ExitStack) -> Stage:
    """Start everything, one after the other; `stack` ends it in reverse order."""
    steps = _Steps(screen, of=4)
    origin = f" ({found.origin})" if isinstance(found, Binaries) else ""
    cluster = steps.take(f"Kubernetes{origin}", lambda: stack.enter_context(start(found, audit=True)))
    simulator = stack.enter_context(children.simulator(cluster.directory, PROJECT))
    url = steps.take("platform simulator", lambda: _start_simulator(cluster, simulator))
    admin = Admin(url)
    counters = stack.enter_context(Counters(admin, PROJECT, cluster.audit_log))
    steps.take(f"CRD, namespace {NAMESPACE}, Secret", lambda: _install(cluster))
    workloads = stack.enter_context(WorkloadWatch(cluster, NAMESPACE, screen.changed))
    screen.scene = Scene(workloads.all, counters)
    options = [f"--list-interval={INTERVAL:g}s"]
    if isinstance(found, Existing):
        # Nobody else's Workloads, and nothing of ours in another namespace.
        options += [f"--namespace={NAMESPACE}", f"--lease-namespace={NAMESPACE}"]
    operator = stack.enter_context(children.operator(cluster.directory, cluster.kubeconfig, url, options))
    if isinstance(found, Existing):
        stack.callback(_leave, cluster, operator)
    steps.take(f"inferencekey-operator run {' '.join(options)}", lambda: _start_operator(operator))
    return Stage(screen, cluster, admin, simulator, operator, workloads, counters)


def _start_simulator(cluster: Cluster, simulator: Child) -> str:
    """Returns its URL."""
    simulator.start()
    url = cluster.directory / "url"
    _poll("the simulator serves", url.is_file, simulator.tail, _START_SECONDS, (simulator,))
    return url.read_text().strip()


def _install(cluster: Cluster) -> None:
    cluster.kubectl("apply", "--server-side", "-f", "crds")
    served = partial(cluster.established, "workloads.inferencekey.com")
    _poll("the CRD is established", served, lambda: "it is not yet", 30.0, ())
    cluster.kubectl("create", "namespace", NAMESPACE)
    platform = cluster.directory / "platform.env"
    cluster.kubectl("-n", NAMESPACE, "create", "secret", "generic", "inferencekey", f"--from-env-file={platform}")


def _start_operator(operator: Child) -> None:
    operator.start()
    _poll(
        "the operator is in control",
        lambda: operator.said("in control of"),
        operator.tail,
        _START_SECONDS,
        (operator,),
    )


def _leave(cluster: Cluster, operator: Child) -> None:
    """Somebody's own cluster is left without our namespace, which takes the operator: for the finalizers."""
    if not operator.running:
        operator.start()
    with suppress(subprocess.TimeoutExpired):  # it goes on going, and nothing of ours can hasten it
        cluster.kubectl("delete", "namespace", NAMESPACE, "--timeout=50s", check=False)


def _poll(
    text: str, reached: Callable[[], _Seen | None], seen: Callable[[], object], seconds: float, alive: tuple[Child, ...]
) -> _Seen:
    deadline = time.monotonic() + seconds
    while not (found := reached()):
        for child in alive:
            child.check()
        if time.monotonic() > deadline:
            raise StepFailedError(f"Expected within {seconds:.0f} s: {text}.\nSeen: {seen()}")
        time.sleep(_POLL_SECONDS)
    return found
