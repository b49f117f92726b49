"""What every cluster offers, whoever started it: kubectl, and kubeconfigs for others than its admin.

Decides how kubectl is run so that it neither reads nor leaves anything of the user's. Starts no cluster.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from controlplane import kubeconfig
from controlplane.kubeconfig import Server


class KubectlFailedError(Exception):
    """kubectl ended with an exit code other than 0; the message holds what it wrote to standard error."""

    def __init__(self, arguments: tuple[str, ...], result: subprocess.CompletedProcess[str]) -> None:
        command = f"kubectl {' '.join(arguments)}"
        super().__init__(f"{command}: exit code {result.returncode}: {result.stderr.strip()}")
        self.result = result


@dataclass(frozen=True)
class Access:
    """How to get at a cluster as its admin, and a directory for files that go when the cluster goes."""

    server: Server
    kubeconfig: Path
    kubectl_path: Path
    directory: Path


class Cluster:
    """A running Kubernetes cluster; leaving its `with` block stops what was started for it."""

    audit_log: Path | None = None
    """One JSON object a line, audit.k8s.io/v1 Events at level Metadata; None where nothing is audited."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self.kubeconfig = access.kubeconfig
        self.server = access.server.url
        self.ca_pem = access.server.ca_pem
        self.kubectl_path = access.kubectl_path
        self.directory = access.directory

    @property
    def has_controller_manager(self) -> bool:
        """Whether owned objects are collected, namespaces emptied and ServiceAccounts made."""
        return True

    def stop(self) -> None:
        """End what was started, and back when it has ended; again does nothing."""
        raise NotImplementedError

    def kubectl(
        self,
        *arguments: str,
        stdin: str | None = None,
        kubeconfig: Path | None = None,
        check: bool = True,
        timeout: float = 60,
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl as the admin, or as whoever `kubeconfig` says.

        Raises KubectlFailedError (unless not `check`) and subprocess.TimeoutExpired after `timeout` seconds.
        """
        result = subprocess.run(
            [str(self.kubectl_path), *arguments],
            input=stdin if stdin is not None else "",
            env=self._kubectl_environment(kubeconfig or self.kubeconfig),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check and result.returncode != 0:
            raise KubectlFailedError(arguments, result)
        return result

    def established(self, crd: str) -> bool:
        """Whether the CRD's kind is served. `kubectl wait` fails on one so new that it has no conditions at all."""
        found = json.loads(self.kubectl("get", "crd", crd, "-o", "json").stdout)
        conditions = found.get("status", {}).get("conditions") or ()
        return any((each["type"], each["status"]) == ("Established", "True") for each in conditions)

    def kubeconfig_for_token(self, name: str, token: str) -> Path:
        """A kubeconfig for the bearer of `token`; a later one of the same `name` takes its place."""
        return kubeconfig.with_token(self._credentials_file("token", name), self._access.server, name, token)

    def _credentials_file(self, kind: str, name: str) -> Path:
        """Names may hold colons and slashes, and must not meet once those are gone."""
        plain = re.sub(r"[^A-Za-z0-9.-]+", "-", name)
        digest = hashlib.sha256(name.encode()).hexdigest()[:8]
        return self.directory / f"{kind}-{plain}-{digest}.kubeconfig"

    def _kubectl_environment(self, kubeconfig: Path) -> dict[str, str]:
        """Its discovery cache is keyed by address, and addresses come again: it goes with the cluster."""
        return {
            **os.environ,
            "KUBECONFIG": str(kubeconfig),
            "KUBECACHEDIR": str(self.directory / "kubectl-cache"),
            "KUBERC": "off",
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.stop()
