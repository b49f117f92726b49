"""The chart with the built image as a release: its pods, the one of them that leads, and what a pod says.

Knows how the release is driven; decides nothing about what should come of it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from controlplane.access import Cluster
from harness.api import LEASES, Api, Json
from harness.waiting import eventually
from helmchart.render import CHART, NAMESPACE, RELEASE, Helm
from pods.image import REPOSITORY, TAG

SECONDS = 180.0
"""What pods may take to start, on a machine that is busy."""
_RESTRICTED = "pod-security.kubernetes.io/enforce"
_SHORT = "listInterval=2s,clientTimeout=5s,uncertainCreateTimeout=6s,deletionGrace=5s"


@dataclass
class Release:
    """One release, under its usual name."""

    helm: Helm
    cluster: Cluster
    api: Api

    def install(self, platform: str) -> None:
        """`helm install`, where only pods are admitted that the strictest standard admits; back when it is ready."""
        self.api.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE, "labels": {_RESTRICTED: "restricted"}}})
        image = f"image.repository={REPOSITORY},image.tag={TAG},image.pullPolicy=Never"
        values = f"--set={image},platform.baseURL={platform},platform.allowInsecureBaseURLs={{{platform}}},{_SHORT}"
        self.helm.run("install", RELEASE, CHART, f"--namespace={NAMESPACE}", values)
        self.until_rolled_out()

    def kubectl(self, *arguments: str) -> str:
        """What kubectl says in the release's namespace."""
        return self.cluster.kubectl("-n", NAMESPACE, *arguments, timeout=SECONDS + 20).stdout

    def until_rolled_out(self) -> None:
        """Back when as many replicas are ready as there should be, and no other is left."""
        self.kubectl("rollout", "status", f"deployment/{RELEASE}", f"--timeout={SECONDS:.0f}s")
        eventually(self.pods, lambda pods: len(pods) == 2 and all(map(_ready, pods.values())), within=SECONDS)

    def pods(self) -> dict[str, Json]:
        """What there is of it, by name."""
        found = self.api.items(f"/api/v1/namespaces/{NAMESPACE}/pods")
        return {pod["metadata"]["name"]: pod for pod in found}

    def leader(self) -> str:
        """The pod that the Lease names; empty where it names none."""
        lease = self.api.find(f"{LEASES}/namespaces/{NAMESPACE}/leases/{RELEASE}") or {}
        return str(lease.get("spec", {}).get("holderIdentity") or "").split("_", maxsplit=1)[0]

    def ask(self, pod: str, code: str) -> Any:
        """What Python says inside the operator's container, as JSON."""
        return json.loads(self.kubectl("exec", pod, "--", "python", "-c", code))


def _ready(pod: Json) -> bool:
    conditions = {each["type"]: each["status"] for each in pod["status"].get("conditions", ())}
    return conditions.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]
