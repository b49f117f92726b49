"""The control plane of our own: etcd, kube-apiserver and kube-controller-manager as processes.

Decides in which order they start, when they are ready, and what is done about a taken port. Their command
lines are components.py's, their lives and deaths the supervisor's.
"""

from __future__ import annotations

import http.client
import random
import shutil
import signal
import socket
import ssl
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Self

from controlplane import components, kubeconfig, lookup
from controlplane.access import Access, Cluster
from controlplane.borrowed import ExistingCluster, KindCluster
from controlplane.certificates import Authority, KeyPair
from controlplane.components import API_SERVER, CONTROLLER_MANAGER, ETCD, Layout, Ports
from controlplane.processes import Processes

READY_SECONDS = 90.0

_POLL_SECONDS = 0.05
_ANSWER_SECONDS = 5.0
_ATTEMPTS = 5
_TAIL_LINES = 25
# Below the range that the kernel takes for outgoing connections: while a component is down, one of those
# could take its port, or even reach itself on it.
_PORTS = range(20_000, 30_000)


class ComponentFailedError(Exception):
    """A component ended or was not ready in time; the message holds the last lines of its log."""


class _PortTakenError(Exception):
    """Somebody took a port between our look and the component's start."""


def start(found: lookup.Found, *, audit: bool = False, directory: Path | None = None) -> Cluster:
    """Start, or make available, the cluster that `lookup.find` found. `audit` matters to our own alone."""
    match found:
        case lookup.Binaries():
            return ControlPlane.start(found.folder, audit=audit, directory=directory)
        case lookup.Existing():
            return ExistingCluster(found.kubeconfig, found.kubectl)
        case lookup.Kind():
            return KindCluster.start(found.kind, found.kubectl)


class ControlPlane(Cluster):
    """Our own processes; they end when this process does, whatever ends it."""

    def __init__(self, layout: Layout, authority: Authority, processes: Processes) -> None:
        server = kubeconfig.Server(layout.server_url, authority.certificate)
        super().__init__(Access(server, layout.admin_kubeconfig, layout.binaries / "kubectl", layout.directory))
        self.audit_log = layout.audit_log if layout.audit else None
        self._layout = layout
        self._authority = authority
        self._processes = processes
        self._tls = ssl.create_default_context(cadata=authority.certificate)

    @classmethod
    def start(
        cls,
        binaries: Path,
        *,
        audit: bool = False,
        directory: Path | None = None,
        node: str | None = None,
        etcd_behind: Callable[[int], int] | None = None,
    ) -> Self:
        """Start a control plane from a folder of binaries; back when it is ready, within seconds.

        `directory` has to be empty or absent and is kept, for its logs; without one, nothing is kept. `node` is this
        machine's address for the pods of a node, where there is to be one. `etcd_behind` is told etcd's port, and
        says on which one the API server is to find it. Raises ComponentFailedError.
        """
        processes = Processes(directory)
        try:
            return cls._start(binaries, processes, audit=audit, node=node, etcd_behind=etcd_behind)
        except BaseException:
            processes.close()
            raise

    @classmethod
    def _start(
        cls,
        binaries: Path,
        processes: Processes,
        *,
        audit: bool,
        node: str | None,
        etcd_behind: Callable[[int], int] | None,
    ) -> Self:
        authority = Authority()
        for _ in range(_ATTEMPTS):
            ports = _free_ports()
            door = etcd_behind(ports.etcd) if etcd_behind else None
            layout = Layout(binaries.absolute(), processes.directory, ports, audit, etcd_door=door, node=node)
            layout.write(authority)
            plane = cls(layout, authority, processes)
            try:
                plane._bring_up()
            except _PortTakenError:
                plane._start_over()
            else:
                return plane
        raise ComponentFailedError(f"found no free ports in {_ATTEMPTS} attempts")

    @property
    def has_controller_manager(self) -> bool:
        """False for a folder without it, as envtest's is: then nothing is garbage-collected."""
        return (self._layout.binaries / CONTROLLER_MANAGER).is_file()

    def kubeconfig_for_user(self, name: str, groups: tuple[str, ...] = ()) -> Path:
        """A kubeconfig with a client certificate for `name`, a member of `groups`."""
        path = self._credentials_file("user", "/".join((name, *groups)))
        pair = self._authority.client(name, groups)
        return kubeconfig.with_certificate(path, self._access.server, name, pair)

    def client_certificate(self, name: str, lifetime: timedelta) -> KeyPair:
        """A certificate for `name`, for so long from now on."""
        return self._authority.client(name, lifetime=lifetime)

    def pids(self) -> dict[str, int]:
        """The components that run: `etcd`, `kube-apiserver`, `kube-controller-manager`."""
        return self._processes.pids()

    def kill(self, component: str) -> None:
        """SIGKILL a component; back when it has ended."""
        self._processes.kill(component)

    def pause(self, component: str) -> None:
        """Stop a component's clock: it keeps its connections and answers none of them."""
        self._processes.signal(component, signal.SIGSTOP)

    def resume(self, component: str) -> None:
        """Let a paused component go on."""
        self._processes.signal(component, signal.SIGCONT)

    def restart(self, component: str) -> None:
        """Kill a component if it runs, and start it on the same port and data.

        Back when etcd or the API server is ready again; the controller manager's work shows a moment later.
        One that starts after a CRD was made garbage-collects for it at once; one that was there before takes
        up to 40 s to hear of it.
        """
        self._processes.restart(component)
        self._wait_until_ready(component)

    def revive(self, component: str) -> None:
        """Start a component that has ended, on the same port and data; back at once, long before it is ready."""
        self._processes.restart(component)

    def ready(self) -> bool:
        """Whether etcd and the API server answer, and would serve."""
        return self._is_ready(components.ETCD) and self._is_ready(components.API_SERVER)

    def stop(self) -> None:
        """End the components, etcd last, and remove the directory unless it was given."""
        self._processes.close()

    def _bring_up(self) -> None:
        """The API server waits for etcd by itself, so that both start at once."""
        self._launch(ETCD, self._layout.etcd())
        self._launch(API_SERVER, self._layout.api_server())
        self._wait_until_ready(ETCD)
        self._wait_until_ready(API_SERVER)
        if self.has_controller_manager:
            self._launch(CONTROLLER_MANAGER, self._layout.controller_manager())
            self._wait_until_ready(CONTROLLER_MANAGER)

    def _launch(self, component: str, command: list[str]) -> None:
        self._processes.start(component, command, self._layout.log(component))

    def _start_over(self) -> None:
        """End what was started, and forget its data and logs: the next attempt has other ports."""
        for component in self.pids():
            self.kill(component)
        shutil.rmtree(self.directory / "etcd", ignore_errors=True)
        for log in (self._layout.log(ETCD), self._layout.log(API_SERVER)):
            log.unlink(missing_ok=True)

    def _wait_until_ready(self, component: str) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not self._is_ready(component):
            self._check(component)
            if time.monotonic() > deadline:
                raise ComponentFailedError(
                    f"{component} is not ready within {READY_SECONDS:.0f} s\n{self._tail(component)}"
                )
            time.sleep(_POLL_SECONDS)

    def _is_ready(self, component: str) -> bool:
        match component:
            case components.ETCD:
                return _answers_ok(http.client.HTTPConnection, self._layout.ports.etcd, "/health")
            case components.API_SERVER:
                https = partial(http.client.HTTPSConnection, context=self._tls)
                return _answers_ok(https, self._layout.ports.api_server, "/readyz")
            case _:  # it says nothing of itself that could be trusted: see it work
                made = self.kubectl("get", "serviceaccount", "default", "--namespace=default", check=False)
                return made.returncode == 0

    def _check(self, component: str) -> None:
        code = self._processes.exits().get(component)
        if code is None:
            return
        tail = self._tail(component)
        if "address already in use" in tail:
            raise _PortTakenError(component)
        raise ComponentFailedError(f"{component} ended with exit code {code}\n{tail}")

    def _tail(self, component: str) -> str:
        lines = self._layout.log(component).read_text(errors="replace").splitlines()
        return "\n".join([f"{component} wrote, at last:", *lines[-_TAIL_LINES:]])


def _answers_ok(connect: Callable[..., http.client.HTTPConnection], port: int, path: str) -> bool:
    connection = connect("127.0.0.1", port, timeout=_ANSWER_SECONDS)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _free_ports() -> Ports:
    return Ports(*(free_port() for _ in range(3)))


def free_port() -> int:
    """A port on 127.0.0.1 that nobody has at this moment."""
    for port in random.sample(_PORTS, k=100):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise ComponentFailedError(f"no free port among 100 tried between {_PORTS.start} and {_PORTS.stop}")
