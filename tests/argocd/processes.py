"""The command lines of Argo CD's components, and of the Redis between them.

Decides every flag and every variable. Pure; what they are started with is the installation's affair.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from shutil import which

from argocd.binaries import ARGOCD, REDIS
from controlplane.cluster import free_port

NAMESPACE = "argocd"


@dataclass(frozen=True)
class Ports:
    """TCP ports on 127.0.0.1."""

    redis: int
    repositories: int
    repositories_metrics: int
    controller_metrics: int
    api: int
    api_metrics: int

    @classmethod
    def free(cls) -> Ports:
        """Six that nobody has."""
        return cls(*(free_port() for _ in range(6)))


@dataclass(frozen=True)
class Commands:
    """What is started, in which order, with its files in a folder."""

    binaries: Path
    folder: Path
    kubeconfig: Path
    ports: Ports

    def redis(self) -> list[str]:
        """In memory."""
        return [str(self.binaries / REDIS), f"127.0.0.1:{self.ports.redis}"]

    def repo_server(self) -> list[str]:
        """Reads repositories anew after a moment, so that a commit is seen at the next refresh."""
        return self._component(
            "argocd-repo-server",
            "--address=127.0.0.1",
            f"--port={self.ports.repositories}",
            "--bind-address=127.0.0.1",
            f"--metrics-port={self.ports.repositories_metrics}",
            "--disable-tls",
            "--revision-cache-expiration=1s",
        )

    def controller(self) -> list[str]:
        """One shard, as a StatefulSet's first pod."""
        return self._component(
            "argocd-application-controller",
            *self._cluster(),
            f"--repo-server=127.0.0.1:{self.ports.repositories}",
            "--repo-server-plaintext",
            f"--metrics-port={self.ports.controller_metrics}",
            "--app-resync=3600",  # what refreshes an Application within a test is what the test is about
        )

    def api_server(self) -> list[str]:
        """With authentication, so that its RBAC decides."""
        return self._component(
            "argocd-server",
            *self._cluster(),
            "--insecure",
            "--address=127.0.0.1",
            f"--port={self.ports.api}",
            f"--metrics-port={self.ports.api_metrics}",
            f"--repo-server=127.0.0.1:{self.ports.repositories}",
            "--repo-server-plaintext",
        )

    def _cluster(self) -> list[str]:
        return [f"--kubeconfig={self.kubeconfig}", f"--namespace={NAMESPACE}"]

    def _component(self, name: str, *flags: str) -> list[str]:
        """`env` sets the variables: whoever starts it hands down PATH alone."""
        variables = {
            "HOME": self.folder,
            "TMPDIR": self.folder,
            "ARGOCD_BINARY_NAME": name,
            "ARGOCD_FAKE_IN_CLUSTER": "true",
            "ARGOCD_GPG_ENABLED": "false",
            "ARGOCD_TLS_DATA_PATH": self.folder,
            "ARGOCD_SSH_DATA_PATH": self.folder,
            "ARGOCD_PLUGINSOCKFILEPATH": self.folder,
            "GNUPGHOME": self.folder,
            "HOSTNAME": f"{name}-0",
            "KUBECONFIG": self.kubeconfig,
        }
        environment = [f"{key}={value}" for key, value in variables.items()]
        binary = str(self.binaries / ARGOCD)
        redis = f"--redis=127.0.0.1:{self.ports.redis}"
        return [str(which("env", path=os.environ["PATH"])), *environment, binary, *flags, redis, "--loglevel=info"]
