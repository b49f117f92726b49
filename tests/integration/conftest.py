"""What the integration tests stand on: a real control plane with our CRD, and a namespace for each test."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from controlplane import lookup
from controlplane.access import Cluster
from controlplane.cluster import start
from integration.manifests import Kubectl

CRDS = Path(__file__).parents[2] / "crds"


@pytest.fixture(scope="session")
def control_plane() -> Iterator[Cluster]:
    """A Kubernetes API with the CRD established, audited where it is our own; it ends with the session."""
    with start(lookup.find(), audit=True) as cluster:
        cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(CRDS))
        cluster.kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", str(CRDS))
        yield cluster


@pytest.fixture
def namespace(control_plane: Cluster) -> Iterator[str]:
    """A fresh namespace, on its way out when the test is over."""
    name = f"test-{secrets.token_hex(4)}"
    control_plane.kubectl("create", "namespace", name)
    yield name
    control_plane.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def kubectl(control_plane: Cluster, namespace: str) -> Kubectl:
    """The real kubectl in the test's namespace: `kubectl("apply", "-f", "-", document=..., check=False)`."""

    def run(*arguments: str, document: object = None, check: bool = True) -> CompletedProcess[str]:
        stdin = None if document is None else json.dumps(document)
        return control_plane.kubectl("-n", namespace, *arguments, stdin=stdin, check=check)

    return run
