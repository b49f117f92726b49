"""Clusters that others run: one that exists already, and one that kind makes in containers.

Decides what of them is ours to end: of an existing cluster nothing, of kind the cluster that was made here.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import subprocess
from pathlib import Path
from typing import Any, Self

from controlplane.access import Access, Cluster
from controlplane.kubeconfig import Server
from controlplane.processes import ProcessError, Processes

_KIND_SECONDS = 600


class ExistingCluster(Cluster):
    """The cluster of a kubeconfig's current context; stopping it removes our own files and nothing else."""

    def __init__(self, kubeconfig: Path, kubectl: Path) -> None:
        self._processes = Processes()
        try:
            server = _server_of(kubeconfig, kubectl)
        except BaseException:
            self._processes.close()
            raise
        super().__init__(Access(server, kubeconfig, kubectl, self._processes.directory))

    def stop(self) -> None:
        """Remove our files."""
        self._processes.close()


class KindCluster(Cluster):
    """A cluster under a name that nobody else has, deleted at the end, also when we are killed."""

    def __init__(self, server: Server, kubeconfig: Path, kubectl: Path, processes: Processes) -> None:
        super().__init__(Access(server, kubeconfig, kubectl, processes.directory))
        self._processes = processes

    @classmethod
    def start(cls, kind: Path, kubectl: Path) -> Self:
        """Create the cluster, which takes a minute or more; raises ProcessError."""
        processes = Processes()
        kubeconfig = processes.directory / "kubeconfig"
        named = [f"--name=inferencekey-operator-{secrets.token_hex(4)}", f"--kubeconfig={kubeconfig}"]
        try:
            processes.at_end([str(kind), "delete", "cluster", *named])
            _run([str(kind), "create", "cluster", "--wait=120s", *named])
            return cls(_server_of(kubeconfig, kubectl), kubeconfig, kubectl, processes)
        except BaseException:
            processes.close()
            raise

    def stop(self) -> None:
        """Delete the cluster."""
        self._processes.close()


def _server_of(kubeconfig: Path, kubectl: Path) -> Server:
    """The server of the current context, as kubectl understands the file."""
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
    view = [str(kubectl), "config", "view", "--minify", "--flatten", "--raw", "-o=json"]
    config: dict[str, Any] = json.loads(_run(view, environment))
    cluster = config["clusters"][0]["cluster"]
    authority = base64.b64decode(cluster.get("certificate-authority-data", ""))
    return Server(cluster["server"], authority.decode())


def _run(command: list[str], environment: dict[str, str] | None = None) -> str:
    result = subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_KIND_SECONDS,
        check=False,
    )
    if result.returncode != 0:
        told = result.stderr.strip().splitlines()[-10:]
        raise ProcessError("\n".join([f"{' '.join(command[:3])}: exit code {result.returncode}", *told]))
    return result.stdout
