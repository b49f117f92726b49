"""What the integration tests stand on: a real control plane with our CRD, and a namespace for each test.

A test that asks for `operator` has one at work, on the whole cluster, under its ServiceAccount, and one that does not
has none: there are never two. It lasts for a module. Where the control plane is not our own, nothing is audited.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from controlplane import lookup
from controlplane.access import Cluster
from controlplane.cluster import ControlPlane, start
from controlplane.components import CONTROLLER_MANAGER
from controlplane.waiting import wait_until
from harness import operators, permissions
from harness.api import Api
from harness.audit import Audit
from harness.crowd import Crowd, crowd_of
from harness.operators import Operator, Surroundings
from harness.simulator import simulator
from harness.team import Team
from harness.teams import fresh_namespace, kubectl_in
from inferencekey_simulator.admin import Admin
from integration.manifests import Kubectl

CRDS = Path(__file__).parents[2] / "crds"


@pytest.fixture(scope="session")
def control_plane() -> Iterator[Cluster]:
    """A Kubernetes API with the CRD established, audited where it is our own; it ends with the session."""
    with start(lookup.find(), audit=True) as cluster:
        cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(CRDS))
        wait_until(lambda: cluster.established("workloads.inferencekey.com"))
        if isinstance(cluster, ControlPlane) and cluster.has_controller_manager:
            cluster.restart(CONTROLLER_MANAGER)  # else it hears of the CRD only after most of a minute
        yield cluster


@pytest.fixture
def namespace(control_plane: Cluster, api: Api) -> Iterator[str]:
    """A fresh namespace; its Workloads are on their way out when the test is over."""
    with fresh_namespace(control_plane, api) as name:
        yield name


@pytest.fixture
def kubectl(control_plane: Cluster, namespace: str) -> Kubectl:
    """The real kubectl in the test's namespace: `kubectl("apply", "-f", "-", document=..., check=False)`."""
    return kubectl_in(control_plane, namespace)


@pytest.fixture(scope="session")
def api(control_plane: Cluster) -> Iterator[Api]:
    """The API server, as somebody who may see everything."""
    client = Api(control_plane)
    yield client
    client.close()


@pytest.fixture(scope="session")
def platform_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the simulator keeps its files."""
    return tmp_path_factory.mktemp("platform")


@pytest.fixture(scope="session")
def platform(platform_folder: Path) -> Iterator[Admin]:
    """The simulated platform."""
    with simulator(platform_folder) as admin:
        yield admin


@pytest.fixture(scope="session")
def service_account(control_plane: Cluster) -> Path:
    """A kubeconfig with what the chart grants the operator by default."""
    account = permissions.apply(control_plane, permissions.of_the_manifest())
    permissions.in_force(control_plane, account)
    return account


@pytest.fixture(scope="module")
def operator_options() -> tuple[str, ...]:
    """How the module's operator is started; a module may say it in its own way."""
    return operators.USUAL


@pytest.fixture(scope="module")
def surroundings(
    api: Api, platform: Admin, service_account: Path, tmp_path_factory: pytest.TempPathFactory
) -> Surroundings:
    """What the module's operator is started with."""
    return Surroundings(api, service_account, platform.url, tmp_path_factory.mktemp("operator") / "log")


@pytest.fixture(scope="module")
def module_operator(
    control_plane: Cluster, surroundings: Surroundings, operator_options: tuple[str, ...]
) -> Iterator[Operator]:
    """The operator of a module, not started yet. It is never refused what it asks of Kubernetes."""
    log = control_plane.audit_log
    audit = Audit(log, surroundings.api, permissions.USER) if log is not None else None
    began = audit.mark() if audit is not None else 0
    running = Operator(surroundings, *operator_options)
    yield running
    running.close()
    if audit is not None:
        asked = audit.requests(began)
        assert [str(request) for request in asked if not request.allowed] == []


@pytest.fixture
def operator(module_operator: Operator) -> Operator:
    """The operator, at work; a test before may have killed it."""
    module_operator.see_to_it()
    return module_operator


@pytest.fixture
def bare(namespace: str, kubectl: Kubectl, api: Api, platform: Admin) -> Team:
    """A namespace without a Secret, and a project on the platform.

    For what is about a Secret that will not do: had there been a good one, the operator might hear of a Workload before
    it hears of the Secret's change, as nothing orders two watches.
    """
    return Team(namespace, kubectl, api, platform)


@pytest.fixture
def team(bare: Team) -> Team:
    """A namespace with its Secret, a project on the platform, and nothing in either."""
    bare.secret()
    return bare


@pytest.fixture(scope="module")
def crowd(control_plane: Cluster, api: Api, platform: Admin, module_operator: Operator) -> Iterator[Crowd]:
    """As many teams as a module wants, with the operator at work; they are cleared away when that has ended."""
    with crowd_of(control_plane, api, platform) as teams:
        module_operator.see_to_it()
        yield teams
        if module_operator.running:
            module_operator.stop()


@pytest.fixture
def audit(control_plane: Cluster, api: Api) -> Audit:
    """What the API server saw the operator do."""
    if control_plane.audit_log is None:
        pytest.skip("this cluster is not our own, and tells nobody what was asked of it")
    return Audit(control_plane.audit_log, api, permissions.USER)


@pytest.fixture
def controllers(control_plane: Cluster) -> None:
    """What is owned is collected, and a deleted namespace is emptied: not by an API server alone, as envtest is."""
    if not control_plane.has_controller_manager:
        pytest.skip("there is no kube-controller-manager")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that fails shows what the operator logged last."""
    report = yield
    running = getattr(item, "funcargs", {}).get("operator")
    if report.failed and isinstance(running, Operator):
        report.sections.append(("The operator's log", running.tail()))
    return report
