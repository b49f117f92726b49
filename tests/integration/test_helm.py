"""The chart, installed by the real helm on a cluster of its own that is empty before, as a platform team would.

There is no kubelet: the pods are made, and the operator runs beside the cluster, with the arguments of their container
and the token of their ServiceAccount. The tests share one release, in the order in which they stand here.
"""

from __future__ import annotations

import json
import random
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from controlplane import lookup
from controlplane.access import Cluster
from controlplane.cluster import start
from harness import permissions
from harness.api import Api, Json
from harness.lives import executed_by
from harness.operators import Operator, Surroundings
from harness.simulator import behaving
from harness.team import Team
from harness.waiting import eventually
from helmchart.render import CHART, NAMESPACE, RELEASE, Helm
from inferencekey_simulator.admin import Admin
from integration.manifests import manifest

CRD = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/workloads.inferencekey.com"
DEPLOYMENT = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{RELEASE}"
ROLE = f"/apis/rbac.authorization.k8s.io/v1/clusterroles/{RELEASE}"
RESTRICTED = "pod-security.kubernetes.io/enforce"

Release = Callable[..., str]


@pytest.fixture(scope="module")
def control_plane() -> Iterator[Cluster]:
    """An empty cluster, in which nobody has installed anything."""
    found = lookup.find()
    if not isinstance(found, lookup.Binaries):
        pytest.skip("there is only one cluster, and it is not empty")
    with start(found) as cluster:
        if not cluster.has_controller_manager:
            pytest.skip("there is no kube-controller-manager: no Deployment makes a pod")
        yield cluster


@pytest.fixture(scope="module")
def api(control_plane: Cluster) -> Iterator[Api]:
    """Its API server, as somebody who may see everything."""
    client = Api(control_plane)
    yield client
    client.close()


@pytest.fixture(scope="module")
def helm(helm_path: Path, control_plane: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """helm, as the cluster's admin."""
    return Helm(helm_path, tmp_path_factory.mktemp("helm"), control_plane.kubeconfig)


@pytest.fixture(scope="module")
def metrics_port() -> int:
    """A port that is free now, and below those that the kernel takes for outgoing connections."""
    for port in random.sample(range(20_000, 30_000), k=100):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("no free port among 100 tried")


@pytest.fixture(scope="module")
def release(helm: Helm, api: Api, platform: Admin, metrics_port: int) -> Release:
    """`helm install`, the defaults but for where the platform is and how long things take."""
    api.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE, "labels": {RESTRICTED: "restricted"}}})
    short = "listInterval=500ms,clientTimeout=5s,uncertainCreateTimeout=6s,deletionGrace=5s"
    values = f"--set=platform.baseURL={platform.url},metrics.port={metrics_port},{short}"

    def install() -> str:
        return helm.run("install", RELEASE, CHART, f"--namespace={NAMESPACE}", values)

    return install


@pytest.fixture(scope="module")
def notes(release: Release) -> str:
    """What helm said when the chart was installed."""
    return release()


@dataclass
class Pod:
    """The operator as a pod would run it: arguments, variables, account, and a user without a name."""

    cluster: Cluster
    api: Api
    log: Path

    def operator(self) -> Operator:
        """Not started yet."""
        spec = self.api.get(DEPLOYMENT)["spec"]["template"]["spec"]
        rendered = spec["containers"][0]
        command, *arguments = rendered["args"]
        assert command == "run"
        url = next(each["value"] for each in rendered["env"] if each["name"] == "INFERENCEKEY_BASE_URL")
        account = permissions.kubeconfig(self.cluster)
        permissions.in_force(self.cluster, account)
        begin = executed_by(spec["securityContext"]["runAsUser"])
        return Operator(Surroundings(self.api, account, url, self.log, begin=begin), *arguments)


@pytest.fixture(scope="module")
def pod(control_plane: Cluster, api: Api, tmp_path_factory: pytest.TempPathFactory) -> Pod:
    """How the operator is run here."""
    return Pod(control_plane, api, tmp_path_factory.mktemp("operator") / "log")


@pytest.fixture(scope="module")
def first_operator(notes: str, pod: Pod) -> Iterator[Operator]:
    """The operator of the release, until it is uninstalled."""
    running = pod.operator()
    running.start()
    yield running
    running.close()


@pytest.fixture(scope="module")
def residents(first_operator: Operator, control_plane: Cluster, api: Api, platform: Admin) -> Team:
    """A team that lasts as long as the module."""
    return _team("residents", control_plane, api, platform)


def _team(name: str, cluster: Cluster, api: Api, platform: Admin) -> Team:
    def kubectl(*arguments: str, document: object = None, check: bool = True) -> subprocess.CompletedProcess[str]:
        stdin = None if document is None else json.dumps(document)
        return cluster.kubectl("-n", name, *arguments, stdin=stdin, check=check)

    api.create("/api/v1/namespaces", {"metadata": {"name": name}})
    team = Team(name, kubectl, api, platform)
    team.secret()
    return team


def test_installed_by_default(notes: str, api: Api) -> None:
    """On an empty cluster: the CRD is served, and pods are made that the strictest Pod Security Standard admits."""
    made = eventually(
        lambda: api.get(DEPLOYMENT).get("status", {}),
        lambda status: status.get("replicas") == 2,
        within=120,
    )
    assert not [each for each in made.get("conditions", ()) if each["type"] == "ReplicaFailure"]
    pods = api.items(f"/api/v1/namespaces/{NAMESPACE}/pods")
    assert {each["spec"]["serviceAccountName"] for each in pods} == {RELEASE}
    assert f"kubectl -n {NAMESPACE} rollout status deployment/{RELEASE}" in notes


def test_the_next_commands_are_told(notes: str, api: Api) -> None:
    """The Workload in helm's notes is one that the cluster accepts."""
    told = notes.split("<<EOF\n")[1].split("  EOF\n", maxsplit=1)[0]
    assert not api.objection("/apis/inferencekey.com/v1alpha1/namespaces/default/workloads", yaml.safe_load(told))


def test_it_works_as_installed(residents: Team, first_operator: Operator, metrics_port: int) -> None:
    """With the container's arguments and the ServiceAccount's token a Workload becomes Ready, and both probes agree."""
    residents.declare("resident")
    residents.until_ready("resident")
    for path in ("healthz", "readyz"):
        assert httpx.get(f"http://127.0.0.1:{metrics_port}/{path}", trust_env=False).status_code == 200
    assert first_operator.running


# -- a chart that holds a Workload -------------------------------------------------------------------------------------


@dataclass
class Application:
    """A chart of somebody's, with one Workload in it."""

    helm: Helm
    team: Team
    chart: Path

    def install(self, name: str, **spec: Any) -> subprocess.Popen[str]:
        """`helm install --wait`, in the background."""
        (self.chart / "templates").mkdir(parents=True)
        meta = {"apiVersion": "v2", "name": name, "version": "1.0.0"}
        (self.chart / "Chart.yaml").write_text(yaml.safe_dump(meta))
        (self.chart / "templates" / "workload.yaml").write_text(yaml.safe_dump(manifest(name, **spec)))
        where = (f"--namespace={self.team.name}", "--wait", "--timeout=3m")
        return subprocess.Popen(
            self.helm.command("install", name, self.chart, *where),
            env=self.helm.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def application(helm: Helm, residents: Team, tmp_path: Path) -> Application:
    """Not written yet."""
    return Application(helm, residents, tmp_path / "chart")


def test_helm_waits_until_it_is_ready(application: Application, platform: Admin) -> None:
    """`helm install --wait` is not over while the Workload is Reconciling, and is when it is Ready."""
    team = application.team
    with behaving(platform, readiness={"hold_at": "provisioning"}), application.install("patient") as waiting:
        eventually(lambda: team.find("patient"))
        team.until("patient", "False Progressing", within=120)
        assert team.conditions("patient")["Reconciling"]["status"] == "True"
        team.pass_intervals()
        assert waiting.poll() is None, waiting.communicate()
        platform.phase(team.name, "patient", "ready")
        out, err = waiting.communicate(timeout=120)
    assert waiting.returncode == 0, err
    assert "STATUS: deployed" in out
    assert team.verdict("patient") == "True Ready"


def test_helm_fails_on_what_will_not_come(application: Application) -> None:
    """Stalled ends it long before the timeout, with the condition's own words."""
    with application.install("hopeless", tokenSecretRef={"name": "somebody-elses"}) as failing:
        _, err = failing.communicate(timeout=120)
    assert failing.returncode != 0
    stalled = application.team.conditions("hopeless")["Stalled"]
    assert stalled["reason"] == "SecretNotAllowed"
    assert stalled["message"] in " ".join(err.split()), err


# -- from one version to the next, and back ----------------------------------------------------------------------------


def test_an_upgrade_upgrades_the_crd(residents: Team, helm: Helm, api: Api, tmp_path: Path) -> None:
    """A newer chart, whose CRD has one field more: the field is there, and what was there goes on."""
    newer = tmp_path / "newer"
    shutil.copytree(CHART, newer)
    file = newer / "files" / "workloads.inferencekey.com.yaml"
    crd = yaml.safe_load(file.read_text(encoding="utf-8"))
    _spec(crd)["nextField"] = {"type": "string", "description": "What the next version knows."}
    head = "# The CRD of the next version.\n"
    file.write_text(head + yaml.safe_dump(crd), encoding="utf-8")
    before = residents.workload("resident")
    helm.run("upgrade", RELEASE, newer, f"--namespace={NAMESPACE}", "--reuse-values")
    assert "nextField" in _spec(api.get(CRD))
    helm.run("upgrade", RELEASE, CHART, f"--namespace={NAMESPACE}", "--reuse-values")
    assert "nextField" not in _spec(api.get(CRD))
    residents.pass_intervals()
    assert residents.workload("resident") == before


def _spec(crd: Json) -> Json:
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    fields: Json = schema["properties"]["spec"]["properties"]
    return fields


def test_uninstalled_it_leaves_what_is_billed(residents: Team, first_operator: Operator, helm: Helm, api: Api) -> None:
    """The CRD and the Workloads stay, untouched; the operator and what it was granted go."""
    before = residents.workload("resident")
    assert first_operator.stop() == 0
    said = helm.run("uninstall", RELEASE, f"--namespace={NAMESPACE}", "--wait")
    assert "kept due to the resource policy" in said
    assert "[CustomResourceDefinition] workloads.inferencekey.com" in said
    assert api.get(CRD)["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    assert (api.find(DEPLOYMENT), api.find(ROLE)) == (None, None)
    assert residents.workload("resident") == before
    assert residents.slugs().count("resident") == 1


def test_installed_again_it_takes_up_what_is_there(residents: Team, release: Release, pod: Pod) -> None:
    """Under the same name: the Workloads are the same, and neither they nor the platform are written to."""
    before = residents.workload("resident")
    release()
    again = pod.operator()
    since = residents.platform.last()
    again.start()
    residents.pass_intervals()
    assert residents.workload("resident") == before
    assert residents.platform_writes(since) == []
    again.close()
