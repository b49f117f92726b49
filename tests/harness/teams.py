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
from harness.api import Api
from harness.team import Team
from inferencekey_simulator.admin import Admin


@contextmanager
def another_team(cluster: Cluster, api: Api, platform: Admin) -> Iterator[Team]:
    """A namespace with its Secret and a project; the namespace goes when the context ends."""
    name = f"test-{secrets.token_hex(4)}"

    def kubectl(*arguments: str, document: object = None, check: bool = True) -> CompletedProcess[str]:
        stdin = None if document is None else json.dumps(document)
        return cluster.kubectl("-n", name, *arguments, stdin=stdin, check=check)

    cluster.kubectl("create", "namespace", name)
    team = Team(name, kubectl, api, platform)
    team.secret()
    yield team
    cluster.kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")
