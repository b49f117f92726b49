"""What makes a node of the control plane, built once from pinned Go modules: kubelet, scheduler, kube-proxy.

They are kept beside the control plane's, and are of its version.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from controlplane import kept, pins
from controlplane.pins import Kit
from controlplane.progress import Progress

KUBELET, SCHEDULER, PROXY = "kubelet", "kube-scheduler", "kube-proxy"
MODULES = Path(__file__).parent / "modules"


def kit() -> Kit:
    """Three binaries of one module, stamped as the control plane's are."""
    return Kit(
        title=f"kubelet {pins.kubernetes_version()}",
        name=f"node-{pins.kubernetes_version()}",
        cost="about 2 minutes on 2 cores after the control plane, 190 MB kept",
        recipes=(pins.of_kubernetes(MODULES, KUBELET, SCHEDULER, PROXY),),
    )


def find(progress: Progress, environment: Mapping[str, str] = os.environ) -> Path:
    """The folder of the binaries, built if there is none yet. Raises build.BuildFailedError."""
    return kept.find(kit(), environment, progress)
