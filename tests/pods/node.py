"""A control plane with one node: containerd, kubelet, scheduler and kube-proxy beside it, in an enclosure.

Decides their command lines and configuration, and when they are ready. Where they may write, and on which network they
are, is the enclosure's affair.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from controlplane import kubeconfig
from controlplane.certificates import Authority
from controlplane.cluster import ControlPlane
from pods.binaries import KUBELET, PROXY, SCHEDULER
from pods.enclosure import NODE_ADDRESS, POD_NETWORK
from pods.image import PAUSE

CONTAINERD = "containerd"
_NAME = "node"
_SOCKET = "/run/containerd/containerd.sock"
_CRI = 'plugins."io.containerd.grpc.v1.cri"'


@dataclass(frozen=True)
class Layout:
    """The files of a node, in a folder, and the commands that use them. All binaries are on PATH.

    The control groups of its pods are below the one called `group`.
    """

    folder: Path
    authority: Path
    group: str

    def write(self, server: kubeconfig.Server, authority: Authority) -> None:
        """Write all files that the commands name."""
        for component, user, groups in (
            (KUBELET, f"system:node:{_NAME}", ("system:nodes",)),
            (SCHEDULER, "system:kube-scheduler", ()),
            (PROXY, "system:kube-proxy", ()),
        ):
            path = self.folder / f"{component}.kubeconfig"
            kubeconfig.with_certificate(path, server, user, authority.client(user, groups))
        (self.folder / "kubelet.json").write_text(json.dumps(self._kubelet_configuration()))
        (self.folder / "containerd.toml").write_text(self._containerd_configuration())
        (self.folder / "cni").mkdir()
        (self.folder / "cni" / "pods.conflist").write_text(json.dumps(_NETWORK))

    def containerd(self) -> list[str]:
        """The container runtime."""
        return ["containerd", f"--config={self.folder / 'containerd.toml'}"]

    def scheduler(self) -> list[str]:
        """It serves nothing itself."""
        return [SCHEDULER, self._kubeconfig_of(SCHEDULER), "--leader-elect=false", "--secure-port=0"]

    def kubelet(self) -> list[str]:
        """The node itself."""
        return [
            KUBELET,
            self._kubeconfig_of(KUBELET),
            f"--config={self.folder / 'kubelet.json'}",
            f"--hostname-override={_NAME}",
            f"--node-ip={NODE_ADDRESS}",
        ]

    def proxy(self) -> list[str]:
        """Without limits for connections: those are the machine's."""
        return [
            PROXY,
            self._kubeconfig_of(PROXY),
            "--proxy-mode=nftables",
            f"--hostname-override={_NAME}",
            f"--cluster-cidr={POD_NETWORK}",
            "--conntrack-max-per-core=0",
            "--conntrack-min=0",
            "--conntrack-tcp-timeout-established=0",
            "--conntrack-tcp-timeout-close-wait=0",
        ]

    def _kubeconfig_of(self, component: str) -> str:
        return f"--kubeconfig={self.folder / f'{component}.kubeconfig'}"

    def _kubelet_configuration(self) -> dict[str, object]:
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {
                "x509": {"clientCAFile": str(self.authority)},
                "anonymous": {"enabled": False},
                "webhook": {"enabled": False},
            },
            "authorization": {"mode": "AlwaysAllow"},
            "containerRuntimeEndpoint": f"unix://{_SOCKET}",
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{self.group}",
            "failCgroupV1": False,
            "enforceNodeAllocatable": ["none"],
            "oomScoreAdj": 0,
            "failSwapOn": False,
            "clusterDNS": [NODE_ADDRESS],  # nobody answers there: names are not needed
            "evictionHard": {"memory.available": "0%", "nodefs.available": "0%", "imagefs.available": "0%"},
            "imageGCHighThresholdPercent": 100,  # there is nowhere to pull an image from again
        }

    def _containerd_configuration(self) -> str:
        return f"""\
version = 2
disabled_plugins = ["io.containerd.internal.v1.opt"]
[{_CRI}]
restrict_oom_score_adj = true
sandbox_image = "{PAUSE}"
[{_CRI}.cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{self.folder / "cni"}"
"""


_NETWORK = {
    "cniVersion": "0.4.0",
    "name": "pods",
    "plugins": [
        {
            "type": "ptp",  # each pod's packets pass the node, which translates the addresses of services
            "ipam": {"type": "host-local", "subnet": POD_NETWORK, "routes": [{"dst": "0.0.0.0/0"}]},
        }
    ],
}


class Node(ControlPlane):
    """Both, as one cluster; its directory is in the enclosure's, after which the control groups are called."""

    def load(self, archive: Path) -> None:
        """Give the node an image."""
        command = ["ctr", "--namespace=k8s.io", "images", "import", str(archive)]
        subprocess.run(command, check=True, capture_output=True)

    def _bring_up(self) -> None:
        super()._bring_up()
        folder = self.directory / "node"
        folder.mkdir()
        layout = Layout(folder, self.directory / "pki" / "ca.crt", self.directory.parent.name)
        layout.write(self._access.server, self._authority)
        for component, command in (
            (CONTAINERD, layout.containerd()),
            (SCHEDULER, layout.scheduler()),
            (PROXY, layout.proxy()),
            (KUBELET, layout.kubelet()),
        ):
            self._launch(component, command)
            self._wait_until_ready(component)

    def _is_ready(self, component: str) -> bool:
        match component:
            case "containerd":
                return subprocess.run(["ctr", "version"], capture_output=True, check=False).returncode == 0
            case "kubelet":
                ready = ("wait", "--for=condition=Ready", f"node/{_NAME}", "--timeout=1s")
                return self.kubectl(*ready, check=False).returncode == 0
            case "kube-scheduler" | "kube-proxy":  # their work shows when there are pods
                return True
        return super()._is_ready(component)
