"""The command lines of etcd, kube-apiserver and kube-controller-manager.

Decides every flag, and where in a control plane's directory each file is. Pure but for `Layout.write`, which
writes what the flags name.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from controlplane import kubeconfig
from controlplane.certificates import Authority, service_account_keys

ETCD = "etcd"
API_SERVER = "kube-apiserver"
CONTROLLER_MANAGER = "kube-controller-manager"

_CONTROLLERS = (
    "garbage-collector-controller",
    "namespace-controller",
    "serviceaccount-controller",
    "root-ca-certificate-publisher-controller",
    "clusterrole-aggregation-controller",
    "validatingadmissionpolicy-status-controller",
    "deployment-controller",
    "replicaset-controller",
    "resourcequota-controller",
)

_OF_NODES = ("node-lifecycle-controller", "endpointslice-controller", "disruption-controller")

# Who did what, without bodies: those hold Secrets, and nobody needs them.
_AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata"}],
}


@dataclass(frozen=True)
class Ports:
    """TCP ports on 127.0.0.1."""

    etcd: int
    etcd_peers: int
    api_server: int


@dataclass(frozen=True)
class Layout:
    """The files of one control plane, and the commands that use them."""

    binaries: Path
    directory: Path
    ports: Ports
    audit: bool
    etcd_door: int | None = None
    """The port on which the API server finds etcd, where that is not etcd's own."""
    node: str | None = None
    """The address under which pods of a node on this machine reach the API server; None where there is no node."""

    @property
    def server_url(self) -> str:
        """Where the API server listens."""
        return f"https://127.0.0.1:{self.ports.api_server}"

    @property
    def etcd_url(self) -> str:
        """Where etcd listens for the API server."""
        return f"http://127.0.0.1:{self.ports.etcd}"

    @property
    def admin_kubeconfig(self) -> Path:
        """For a member of system:masters, who may do everything."""
        return self.directory / "kubeconfig"

    @property
    def audit_log(self) -> Path:
        """One JSON object a line, where auditing is on."""
        return self.directory / "audit.log"

    def log(self, component: str) -> Path:
        """What the component writes to its standard output and error."""
        return self.directory / f"{component}.log"

    def write(self, authority: Authority) -> None:
        """Write all files that the commands name."""
        server = kubeconfig.Server(self.server_url, authority.certificate)
        for path, user, groups in (
            (self.admin_kubeconfig, "admin", ("system:masters",)),
            (self._pki("controller-manager.kubeconfig"), "system:kube-controller-manager", ()),
        ):
            path.parent.mkdir(exist_ok=True)
            kubeconfig.with_certificate(path, server, user, authority.client(user, groups))
        serving, tokens = authority.serving(), service_account_keys()
        if self.node is not None:
            asks_kubelets = authority.client("kube-apiserver", ("system:masters",))
            self._pki("kubelet-client.crt").write_text(asks_kubelets.certificate)
            self._write_private("kubelet-client.key", asks_kubelets.key)
        self._pki("ca.crt").write_text(authority.certificate)
        self._pki("serving.crt").write_text(serving.certificate)
        self._write_private("serving.key", serving.key)
        self._pki("tokens.pub").write_text(tokens.certificate)
        self._write_private("tokens.key", tokens.key)
        self._pki("audit-policy.json").write_text(json.dumps(_AUDIT_POLICY))

    def etcd(self) -> list[str]:
        """Without fsync: what it stores need not survive the machine."""
        peers = f"http://127.0.0.1:{self.ports.etcd_peers}"
        return [
            str(self.binaries / ETCD),
            f"--data-dir={self.directory / 'etcd'}",
            f"--listen-client-urls={self.etcd_url}",
            f"--advertise-client-urls={self.etcd_url}",
            f"--listen-peer-urls={peers}",
            f"--initial-advertise-peer-urls={peers}",
            f"--initial-cluster=default={peers}",
            "--unsafe-no-fsync=true",
        ]

    def api_server(self) -> list[str]:
        """RBAC authorizes, without a node alone; every admission plugin is on that is on by default."""
        command = [
            str(self.binaries / API_SERVER),
            f"--etcd-servers=http://127.0.0.1:{self.etcd_door or self.ports.etcd}",
            f"--cert-dir={self.directory / 'pki'}",
            *self._access_of_nodes(),
            f"--secure-port={self.ports.api_server}",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--allow-privileged=true",
            f"--client-ca-file={self._pki('ca.crt')}",
            f"--tls-cert-file={self._pki('serving.crt')}",
            f"--tls-private-key-file={self._pki('serving.key')}",
            f"--service-account-issuer={self.server_url}/",
            f"--service-account-key-file={self._pki('tokens.pub')}",
            f"--service-account-signing-key-file={self._pki('tokens.key')}",
        ]
        if self.audit:
            command += [
                f"--audit-policy-file={self._pki('audit-policy.json')}",
                f"--audit-log-path={self.audit_log}",
                "--audit-log-maxsize=10000",  # MB; never rotated, so that it can be read whole
            ]
        return command

    def _access_of_nodes(self) -> list[str]:
        if self.node is None:
            return ["--bind-address=127.0.0.1", "--authorization-mode=RBAC"]
        return [
            "--bind-address=0.0.0.0",
            f"--advertise-address={self.node}",
            "--authorization-mode=Node,RBAC",
            "--kubelet-preferred-address-types=InternalIP",
            f"--kubelet-client-certificate={self._pki('kubelet-client.crt')}",
            f"--kubelet-client-key={self._pki('kubelet-client.key')}",
        ]

    def controller_manager(self) -> list[str]:
        """Only the controllers that work without nodes and matter here; it serves nothing itself.

        Without `--use-service-account-credentials` the controllers may do nothing; without the rates, the
        garbage collector of a thousand objects takes minutes.
        """
        return [
            str(self.binaries / CONTROLLER_MANAGER),
            f"--kubeconfig={self._pki('controller-manager.kubeconfig')}",
            "--use-service-account-credentials=true",
            "--leader-elect=false",
            f"--service-account-private-key-file={self._pki('tokens.key')}",
            f"--root-ca-file={self._pki('ca.crt')}",
            "--secure-port=0",
            f"--controllers={','.join((*_CONTROLLERS, *(_OF_NODES if self.node else ())))}",
            "--kube-api-qps=300",
            "--kube-api-burst=600",
        ]

    def _pki(self, name: str) -> Path:
        return self.directory / "pki" / name

    def _write_private(self, name: str, text: str) -> None:
        path = self._pki(name)
        path.touch(mode=0o600)
        path.write_text(text)
