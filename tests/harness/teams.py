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
from harness.api import Api
from harness.team import Team
from inferencekey_simulator.admin import Admin


def leave(cluster: Cluster, namespace: str) -> None:
    """Take away what a team had; its Namespace, too, unless the cluster itself ends soon: that takes 70 requests."""
    if ends_soon(cluster):
        cluster.kubectl("-n", namespace, "delete", "ikw", "--all", "--wait=false", check=False)
    else:
        cluster.kubectl("delete", "namespace", namespace, "--wait=false", "--ignore-not-found")


def ends_soon(cluster: Cluster) -> bool:
    """Whether it is a control plane of our own: nothing of it is left after the tests."""
    return isinstance(cluster, ControlPlane)


@contextmanager
def another_team(cluster: Cluster, api: Api, platform: Admin) -> Iterator[Team]:
    """A namespace with its Secret and a project; cleared away when the context ends."""
    name = f"test-{secrets.token_hex(4)}"

    def kubectl(*arguments: str, document: object = None, check: bool = True) -> CompletedProcess[str]:
        stdin = None if document is None else json.dumps(document)
        return cluster.kubectl("-n", name, *arguments, stdin=stdin, check=check)

    cluster.kubectl("create", "namespace", name)
    team = Team(name, kubectl, api, platform)
    team.secret()
    yield team
    leave(cluster, name)
