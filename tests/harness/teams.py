"""Further teams beside the one of a test, and teams that last longer than a test.

Knows how a team is set up and cleared away; nothing of what it does.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from subprocess import CompletedProcess

from controlplane.access import Cluster
from controlplane.cluster import ControlPlane
from harness.api import WORKLOADS, Api
from harness.team import Team
from inferencekey_simulator.admin import Admin
from integration.manifests import Kubectl


def kubectl_in(cluster: Cluster, namespace: str) -> Kubectl:
    """The real kubectl in a namespace: `kubectl("apply", "-f", "-", document=..., check=False)`."""

    def run(*arguments: str, document: object = None, check: bool = True) -> CompletedProcess[str]:
        stdin = None if document is None else json.dumps(document)
        return cluster.kubectl("-n", namespace, *arguments, stdin=stdin, check=check)

    return run


@contextmanager
def fresh_namespace(cluster: Cluster, api: Api) -> Iterator[str]:
    """A namespace without anything in it, whose Workloads are on their way out when the context has ended.

    It goes itself, too, unless the cluster ends soon: that takes 70 requests.
    """
    name = f"test-{secrets.token_hex(4)}"
    api.create("/api/v1/namespaces", {"metadata": {"name": name}})
    yield name
    if ends_soon(cluster):
        api.delete(f"{WORKLOADS}/namespaces/{name}/workloads")
    else:
        api.delete(f"/api/v1/namespaces/{name}")


def ends_soon(cluster: Cluster) -> bool:
    """Whether it is a control plane of our own: nothing of it is left after the tests."""
    return isinstance(cluster, ControlPlane)


@contextmanager
def another_team(cluster: Cluster, api: Api, platform: Admin) -> Iterator[Team]:
    """A namespace with its Secret and a project; cleared away when the context ends."""
    with fresh_namespace(cluster, api) as name:
        team = Team(name, kubectl_in(cluster, name), api, platform)
        team.secret()
        yield team
