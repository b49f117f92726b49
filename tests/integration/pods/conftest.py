"""A cluster with real pods, the platform as one of them, and a release of the chart in it.

Nothing of the operator runs here: what the tests see of it, they see through the API server.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from controlplane import lookup
from controlplane.access import Cluster
from controlplane.borrowed import KindCluster
from controlplane.children import bound_to_us
from harness.api import Api
from harness.team import Team
from harness.teams import another_team
from harness.waiting import eventually
from helmchart.render import NAMESPACE, RELEASE, Helm
from inferencekey_simulator.admin import Admin
from pods.enclosure import FOLDER, NODE_ADDRESS
from pods.image import IMAGE
from pods.node import Node
from pods.release import Release

PLATFORM, PORT = "platform", 8700


@pytest.fixture(scope="session")
def control_plane() -> Iterator[Cluster]:
    """Pods run in it, and it has the image; nobody has installed anything."""
    folder = os.environ.get(FOLDER)
    with _with_a_node(Path(folder)) if folder else _by_kind() as cluster:
        yield cluster


@contextmanager
def _with_a_node(folder: Path) -> Iterator[Cluster]:
    with Node.start(
        Path(os.environ["KUBEBUILDER_ASSETS"]), directory=folder / "controlplane", node=NODE_ADDRESS
    ) as node:
        for archive in folder.glob("*.tar"):
            node.load(archive)
        yield node


@contextmanager
def _by_kind() -> Iterator[Cluster]:
    found = lookup.docker_kind(os.environ)
    assert isinstance(found, lookup.Kind), f"these tests are run by `make e2e-pods` ({found})"
    with KindCluster.start(found.kind, found.kubectl) as cluster:
        name = cluster.kubectl("config", "current-context").stdout.strip().removeprefix("kind-")
        subprocess.run([found.kind, "load", "docker-image", IMAGE, f"--name={name}"], check=True)
        yield cluster


@pytest.fixture(scope="session")
def platform_address(control_plane: Cluster) -> str:
    """The simulator, from the image, as a pod with a Service: what the operator's pods are told."""
    control_plane.kubectl("create", "namespace", PLATFORM)
    here = ("-n", PLATFORM)
    serve = (
        "--command",
        "--",
        "inferencekey-simulator",
        "serve",
        "--host=0.0.0.0",
        "--readiness-seconds=0.3",
        "--verbose",
    )
    control_plane.kubectl(*here, "run", PLATFORM, f"--image={IMAGE}", "--image-pull-policy=Never", *serve)
    control_plane.kubectl(*here, "expose", "pod", PLATFORM, f"--port={PORT}")
    control_plane.kubectl(*here, "wait", "--for=condition=Ready", f"pod/{PLATFORM}", "--timeout=120s", timeout=150)
    found = control_plane.kubectl(*here, "get", "service", PLATFORM, "-o", "jsonpath={.spec.clusterIP}").stdout
    return f"http://{found}:{PORT}"


@pytest.fixture(scope="session")
def platform(control_plane: Cluster, platform_address: str) -> Iterator[Admin]:
    """The same, as the tests reach it."""
    forward = [str(control_plane.kubectl_path), f"--kubeconfig={control_plane.kubeconfig}", "-n", PLATFORM]
    forward += ["port-forward", f"service/{PLATFORM}", f":{PORT}"]
    log = control_plane.directory / "port-forward.log"
    with log.open("wb") as output:
        process = subprocess.Popen(bound_to_us(forward), stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    with process:
        try:
            told = eventually(lambda: re.search(r"from 127\.0\.0\.1:(\d+)", log.read_text()), within=120)
            assert told is not None
            admin = Admin(f"http://127.0.0.1:{told[1]}")
            eventually(lambda: _answers(admin), within=120)
            yield admin
        finally:
            process.terminate()


def _answers(admin: Admin) -> bool:
    try:
        return bool(admin.settings())
    except OSError:
        return False


@pytest.fixture(scope="module")
def release(
    helm_path: Path, control_plane: Cluster, api: Api, platform_address: str, tmp_path_factory: pytest.TempPathFactory
) -> Release:
    """The chart with the built image, installed; both replicas were ready once."""
    helm = Helm(helm_path, tmp_path_factory.mktemp("helm"), control_plane.kubeconfig)
    installed = Release(helm, control_plane, api)
    installed.install(platform_address)
    return installed


@pytest.fixture(scope="module")
def residents(release: Release, control_plane: Cluster, api: Api, platform: Admin) -> Iterator[Team]:
    """A team with its Secret, which lasts as long as the module; where the platform is, the chart alone says."""
    with another_team(control_plane, api, platform) as team:
        team.secret(INFERENCEKEY_BASE_URL=None)
        yield team


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that fails shows what became of the pods, and what the node logged last."""
    report = yield
    cluster = getattr(item, "funcargs", {}).get("control_plane")
    if report.failed and isinstance(cluster, Cluster):
        operators = ("-n", NAMESPACE, "logs", "-l", f"app.kubernetes.io/name={RELEASE}", "--prefix", "--tail=40")
        for question in (("get", "pods", "-A", "-o", "wide"), ("get", "events", "-A"), operators):
            report.sections.append((" ".join(question), cluster.kubectl(*question, check=False).stdout))
        for log in sorted(cluster.directory.glob("*.log")):
            report.sections.append((log.name, "\n".join(log.read_text(errors="replace").splitlines()[-15:])))
    return report
