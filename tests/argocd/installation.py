"""A running Argo CD on a cluster: what is installed in Kubernetes, and the processes that are not in pods here.

Installed as a team would: Argo CD's own CRDs and default settings, our customization patched in as the documentation
says, and its RBAC. The processes end before the cluster does.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

from argocd import binaries, customization
from argocd.processes import NAMESPACE, Commands, Ports
from controlplane.access import Cluster
from controlplane.processes import Processes
from harness.waiting import eventually

Json = dict[str, Any]

APPROVER, VIEWER = "approver", "viewer"
_POLICY = f"""\
p, role:viewer, applications, get, */*, allow
p, role:owner, applications, get, */*, allow
p, role:owner, applications, action/inferencekey.com/Workload/*, */*, allow
g, {VIEWER}, role:viewer
g, {APPROVER}, role:owner
"""
_PART_OF = {"app.kubernetes.io/part-of": "argocd"}
_START_SECONDS = 120.0


class ArgoCD:
    """What tests ask of it: its API, as somebody."""

    def __init__(self, url: str, signature: str, logs: Path) -> None:
        self._url, self._signature, self._logs = url, signature, logs

    def as_user(self, name: str) -> httpx.Client:
        """Its API server, as one of the accounts."""
        headers = {"Authorization": f"Bearer {_token(name, self._signature)}"}
        return httpx.Client(base_url=f"{self._url}/api/v1", headers=headers, timeout=60, trust_env=False)

    def tail(self, lines: int = 40) -> str:
        """The end of each component's log."""
        return "\n".join(f"-- {log.name}\n{_last(log, lines)}" for log in sorted(self._logs.glob("*.log")))


@contextmanager
def argo_cd(cluster: Cluster, folder: Path) -> Iterator[ArgoCD]:
    """Argo CD at work on a cluster, with its files in an empty folder; its processes have ended afterwards."""
    found = binaries.find()
    signature = secrets.token_hex(32)
    _install(cluster, signature)
    commands = Commands(found, folder, cluster.kubeconfig, Ports.free())
    logs = folder / "logs"
    logs.mkdir(parents=True)
    processes = Processes()
    try:
        for name, command, port in (
            ("redis", commands.redis(), commands.ports.redis),
            ("repo-server", commands.repo_server(), commands.ports.repositories),
            ("controller", commands.controller(), commands.ports.controller_metrics),
            ("api-server", commands.api_server(), commands.ports.api),
        ):
            processes.start(name, command, logs / f"{name}.log")
            _wait_for(port, name, processes, logs / f"{name}.log")
        yield ArgoCD(f"http://127.0.0.1:{commands.ports.api}", signature, logs)
    finally:
        processes.close()


def _install(cluster: Cluster, signature: str) -> None:
    """CRDs, settings, accounts, and the one project."""
    manifests = binaries.sources() / "manifests"
    cluster.kubectl("create", "namespace", NAMESPACE)
    cluster.kubectl("apply", "--server-side", "-k", str(manifests / "crds"))
    cluster.kubectl("apply", "-n", NAMESPACE, "-k", str(manifests / "base" / "config"))
    patch = ("patch", "configmap", "argocd-cm", "-n", NAMESPACE)
    cluster.kubectl(*patch, "--patch-file", str(customization.CONFIG_MAP))
    accounts = {"data": {f"accounts.{name}": "login" for name in (APPROVER, VIEWER)}}
    cluster.kubectl(*patch, "--type=merge", "-p", json.dumps(accounts))
    eventually(
        lambda: cluster.established("appprojects.argoproj.io") and cluster.established("applications.argoproj.io")
    )
    for document in _objects(signature):
        cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=yaml.safe_dump(document))


def _objects(signature: str) -> Iterator[Json]:
    def named(name: str) -> Json:
        return {"name": name, "namespace": NAMESPACE, "labels": _PART_OF}

    yield {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": named("argocd-secret"),
        "stringData": {"server.secretkey": signature},
    }
    yield {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": named("argocd-rbac-cm"),
        "data": {"policy.csv": _POLICY, "policy.default": ""},
    }
    anything = [{"group": "*", "kind": "*"}]
    yield {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "AppProject",
        "metadata": named("default"),
        "spec": {
            "sourceRepos": ["*"],
            "destinations": [{"namespace": "*", "server": "*"}],
            "clusterResourceWhitelist": anything,
        },
    }


def _wait_for(port: int, name: str, processes: Processes, log: Path) -> None:
    """Until it listens; AssertionError with the end of its log if it ends or does not."""
    deadline = time.monotonic() + _START_SECONDS
    while not _listens(port):
        assert name in processes.pids(), f"{name} ended\n{_last(log, 40)}"
        assert time.monotonic() < deadline, f"{name} does not listen\n{_last(log, 40)}"
        time.sleep(0.1)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _last(log: Path, lines: int) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def _token(name: str, signature: str) -> str:
    """A session of an account, as the API server would sign it after a login."""
    now = int(time.time())
    claims = {"iss": "argocd", "sub": f"{name}:login", "iat": now, "nbf": now, "jti": secrets.token_hex(8)}
    claims["exp"] = now + 7200
    signed = f"{_encoded({'alg': 'HS256', 'typ': 'JWT'})}.{_encoded(claims)}"
    mark = hmac.new(signature.encode(), signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{_base64(mark)}"


def _encoded(part: Json) -> str:
    return _base64(json.dumps(part).encode())


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
