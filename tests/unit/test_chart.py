"""The Helm chart, as the real helm reads and renders it: what is refused, what comes out, and what is said of it."""

from __future__ import annotations

import argparse
import json
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from helmchart import conform, manifests, score, values_page
from helmchart.render import CHART, NAMESPACE, RELEASE, ROOT, Helm, HelmFailedError, Json, documents, of_kind, the_one
from inferencekey_operator import settings
from inferencekey_operator.api.workload import OnDrift
from inferencekey_operator.crd.schema import crd, render
from inferencekey_operator.election.leadership import lease_name
from inferencekey_operator.network.proxies import Proxies
from inferencekey_operator.settings import Settings

CASES = sorted(path.name for path in (CHART / "ci").glob("*-values.yaml"))
VERSIONS = ("1.29", "1.33", "1.37")
"""The oldest Kubernetes that the chart is for, one between, and the one that the tests run."""
OPERATORS_ROLE = ("ClusterRole", "Role")
FOR_PEOPLE = ("-view", "-edit", "-approver")


@pytest.fixture(scope="session")
def helm(helm_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """helm without a cluster."""
    return Helm(helm_path, tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="module")
def schemas(helm: Helm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What VERSIONS say of the kinds that are rendered."""
    folder = tmp_path_factory.mktemp("schemas")
    kinds = {each["kind"] for name in CASES for each in documents(helm.template(case(name)))}
    for version in VERSIONS:
        conform.lay_out(version, kinds, folder)
    return folder


def case(name: str) -> str:
    """The option that takes the values of a case."""
    return f"--values={CHART / 'ci' / name}"


def objects(helm: Helm, *options: str) -> list[Json]:
    """What is rendered, without the CRD."""
    return [each for each in documents(helm.template(*options)) if each["kind"] != "CustomResourceDefinition"]


def container(helm: Helm, *options: str) -> Json:
    """The operator's container."""
    found: Json = the_one(objects(helm, *options), "Deployment")["spec"]["template"]["spec"]["containers"][0]
    return found


def told(arguments: list[str], environ: dict[str, str] | None = None) -> Settings:
    """What the operator understands of a container's arguments."""
    command, *rest = arguments
    assert command == "run"
    parser = argparse.ArgumentParser()
    settings.add_options(parser)
    return settings.read(parser, parser.parse_args(rest), environ or {})


# -- with real tools ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_lint_finds_nothing(helm: Helm, name: str) -> None:
    """`helm lint --strict`, over every set of values."""
    assert "0 chart(s) failed" in helm.run("lint", "--strict", CHART, case(name))


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_of_kubernetes_takes_what_is_rendered(
    helm: Helm, kubeconform_path: Path, schemas: Path, version: str
) -> None:
    """`kubeconform -strict` over every set of values; what a version does not have yet is switched off there."""
    options = [f"--kube-version={version}.0", *(["--set=admissionPolicy.enabled=false"] if version == "1.29" else [])]
    rendered = "\n---\n".join(helm.template(case(name), *options) for name in CASES)
    absent = ("ServiceMonitor", "PrometheusRule")
    assert conform.complaints(kubeconform_path, schemas, version, rendered, *absent) == []


def test_what_a_reviewer_asks_is_answered(helm: Helm, kube_score_path: Path) -> None:
    """Each finding of kube-score, with any set of values, has its answer beside the value; no answer is left over."""
    found = {name: score.findings(kube_score_path, helm.template(case(name))) for name in CASES}
    answered = score.answers((CHART / "values.yaml").read_text(encoding="utf-8"))
    assert {name: ids - answered for name, ids in found.items()} == {name: set() for name in CASES}
    assert answered == set().union(*found.values())


def test_kubeconform_sees_a_wrong_field(kubeconform_path: Path, schemas: Path) -> None:
    """The schemas are in use: a field that does not exist is found, and a kind that is unknown."""
    config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "it"}, "dada": {}}
    (complaint,) = conform.complaints(kubeconform_path, schemas, VERSIONS[0], json.dumps(config_map))
    assert "dada" in complaint
    (complaint,) = conform.complaints(
        kubeconform_path, schemas, VERSIONS[0], json.dumps(config_map | {"kind": "Config"})
    )
    assert "could not find schema" in complaint


def test_an_old_kubernetes_is_refused(helm: Helm) -> None:
    """The CRD's rules need 1.29."""
    with pytest.raises(HelmFailedError, match=r"incompatible with Kubernetes v1\.28"):
        helm.template("--kube-version=1.28.9")


def test_an_admission_policy_is_refused_where_it_cannot_be(helm: Helm) -> None:
    """Kubernetes 1.29 has them not yet under their final name: said before anything is installed."""
    with pytest.raises(HelmFailedError, match=r"admissionPolicy\.enabled needs Kubernetes 1\.30"):
        helm.template("--set=admissionPolicy.enabled=true", "--kube-version=1.29.4")


# -- values ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("replica=3", "'replica' not allowed"),
        ("image.tags=1", "'tags' not allowed"),
        ("metrics.service.enable=true", "'enable' not allowed"),
        ("onDrift=Repair", "'Reconcile', 'Fail', 'DryRun'"),
        ("listInterval=often", "listInterval"),
        ("image.digest=latest", "digest"),
        ("platform.baseURL=api.inferencekey.com", "baseURL"),
        ("secretNames=null", "secretNames"),
        ("listInterval=null", "listInterval"),
        ("metrics.port=null", "port"),
        ("listInterval=0s", "listInterval"),
        ("clientTimeout=0.0m", "clientTimeout"),
        ("replicas=0", "replicas"),
        ("nameOverride=Foo_Bar", "nameOverride"),
        (f"fullnameOverride={56 * 'x'}", "fullnameOverride"),
        ("secretNames[0]=In_Valid", "secretNames"),
        ("logLevel=loud", "logLevel"),
    ],
)
def test_a_typo_is_refused(helm: Helm, given: str, said: str) -> None:
    """A key that does not exist, or a value that makes no sense, renders nothing, and is named."""
    with pytest.raises(HelmFailedError) as refused:
        helm.template(f"--set={given}")
    assert said in str(refused.value)


def test_the_longest_release_has_names_that_kubernetes_takes(helm: Helm) -> None:
    """Helm allows releases of 53 characters; a Service's name has 63 at most."""
    release = 53 * "r"
    (service,) = of_kind(documents(helm.template(release=release)), "Service")
    assert len(service["metadata"]["name"]) <= 63


def test_two_ca_bundles_are_refused(helm: Helm) -> None:
    """Which one would count could not be told."""
    with pytest.raises(HelmFailedError, match=r"caBundle\.configMap and caBundle\.secret exclude each other"):
        helm.template("--set=caBundle.configMap=one,caBundle.secret=other")


def test_the_schema_has_the_keys_of_the_values_and_no_others() -> None:
    """Level by level, and every level refuses what it does not know, and what is null: Helm takes that out."""
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    schema["properties"].pop("global")  # what a parent chart hands down
    _same_keys(schema, values_page.defaults(), "")


def _same_keys(schema: Json, values: Json, path: str) -> None:
    assert schema["additionalProperties"] is False, path
    assert set(schema["properties"]) == set(schema["required"]) == set(values), path
    for key, inner in schema["properties"].items():
        if "properties" in inner:
            _same_keys(inner, values[key], f"{path}.{key}")


def test_every_value_is_documented_and_the_page_is_up_to_date() -> None:
    """`make generate` writes exactly this page, and no value is left out."""
    assert values_page.undocumented() == []
    assert values_page.PAGE.read_text(encoding="utf-8") == values_page.page()


def test_everything_is_set_in_one_case() -> None:
    """Over all cases, every documented value was given another one than its default."""
    given = [yaml.safe_load((CHART / "ci" / name).read_text(encoding="utf-8")) for name in CASES]
    changed = {path for each in given for path in _paths(each)}
    never = {"nameOverride", "resources", "podSecurityContext", "securityContext", "topologySpreadConstraints"}
    never |= {"readinessInterval", "resyncPeriod", "deletionGrace", "clientTimeout", "terminationGracePeriodSeconds"}
    never |= {"startupProbe", "livenessProbe", "readinessProbe", "caBundle.secret", "caBundle.key"}
    never |= {"metrics.serviceMonitor.interval", "admissionPolicy.onDrift", "admissionPolicy.approval"}
    assert {value.name for value in values_page.values()} - changed == never


def _paths(tree: Any, above: str = "") -> Iterator[str]:
    if above:
        yield above
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from _paths(value, f"{above}.{key}" if above else key)


# -- what is checked in ------------------------------------------------------------------------------------------------


def test_the_crd_of_the_chart_is_the_one_of_the_models(helm: Helm) -> None:
    """The file is the same text as in crds/; rendered, it has Helm's metadata besides."""
    assert (CHART / "files" / "workloads.inferencekey.com.yaml").read_text(encoding="utf-8") == render()
    rendered = the_one(documents(helm.template()), "CustomResourceDefinition")
    assert rendered["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
    assert rendered["metadata"].pop("labels")["app.kubernetes.io/managed-by"] == "Helm"
    assert rendered == crd()


def test_gitops_brings_the_crd_itself(helm: Helm) -> None:
    """With `crds.install=false` there is none."""
    assert of_kind(documents(helm.template("--set=crds.install=false")), "CustomResourceDefinition") == []


def test_the_manifest_is_what_the_chart_says(helm_path: Path) -> None:
    """`make manifests` writes exactly this."""
    assert manifests.INSTALL.read_text(encoding="utf-8") == manifests.install_yaml(helm_path)


def test_chart_and_package_have_one_version() -> None:
    """The image that the chart asks for is of the code beside it."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        version = tomllib.load(file)["project"]["version"]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert (chart["version"], chart["appVersion"]) == (version, version)


# -- what the operator is told -----------------------------------------------------------------------------------------


def test_the_defaults_are_the_operators_own(helm: Helm) -> None:
    """Arguments and variables amount to what it does without any, but for what a pod needs."""
    rendered = container(helm)
    understood = told(rendered["args"], {"INFERENCEKEY_BASE_URL": variables(rendered)["INFERENCEKEY_BASE_URL"]})
    in_a_pod = {"lease_namespace": NAMESPACE, "bind_address": ":9466", "log_format": "json"}
    assert understood == replace(Settings(), **in_a_pod)  # type: ignore[arg-type]


def test_every_setting_reaches_the_operator(helm: Helm) -> None:
    """What is written in the values is what it understands."""
    rendered = container(helm, case("everything-values.yaml"), "--set=watchNamespaces={b,a}")
    understood = told(rendered["args"], {"INFERENCEKEY_BASE_URL": variables(rendered)["INFERENCEKEY_BASE_URL"]})
    assert understood == Settings(
        base_url="https://inference.example.com/base",
        allow_base_url=("https://staging.example.com", "http://simulator.test.svc:8700"),
        allow_insecure_base_url=("http://simulator.test.svc:8700",),
        namespace=("b", "a"),
        secret_name=("inferencekey", "inferencekey-staging"),
        on_drift=OnDrift.DRY_RUN,
        list_interval=60.0,
        resync_period=1200.0,
        uncertain_create_timeout=90.0,
        lease_namespace=NAMESPACE,
        shards=6,
        bind_address=":8080",
        log_level="debug",
        log_format="text",
    )


def variables(rendered: Json) -> dict[str, str]:
    """The variables of a container that have plain values."""
    return {each["name"]: each["value"] for each in rendered["env"] if "value" in each}


def test_behind_a_corporate_proxy(helm: Helm) -> None:
    """Proxy, what is not behind it, and the certificates to trust: all where httpx looks for them."""
    rendered = container(helm, case("everything-values.yaml"))
    given = variables(rendered)
    assert given["HTTPS_PROXY"] == "http://proxy.example.com:3128"
    assert given["NO_PROXY"].split(",")[0] == "$(KUBERNETES_SERVICE_HOST)"
    assert given["NO_PROXY"].endswith(",10.0.0.0/8,.example.com")
    server = {"NO_PROXY": given["NO_PROXY"].replace("$(KUBERNETES_SERVICE_HOST)", "fd00:10:96::1")}
    proxies = Proxies.read({**given, **server})
    assert proxies.of_url("https://[fd00:10:96::1]:443") is None
    assert proxies.of_url("https://inference.example.org") is not None
    (mount,) = [each for each in rendered["volumeMounts"] if each["name"] == "ca-bundle"]
    assert given["SSL_CERT_FILE"] == f"{mount['mountPath']}/ca.crt"


@pytest.mark.parametrize(
    ("options", "image"),
    [
        ([], "inferencekey/inferencekey-operator:0.1.0"),
        (["--set=image.tag=edge"], "inferencekey/inferencekey-operator:edge"),
        (
            [f"--set=image.tag=edge,image.digest=sha256:{'0' * 64}"],
            f"inferencekey/inferencekey-operator@sha256:{'0' * 64}",
        ),
    ],
)
def test_a_digest_wins_over_a_tag(helm: Helm, options: list[str], image: str) -> None:
    """And a tag over the chart's version."""
    assert container(helm, *options)["image"] == image


# -- what it may do ----------------------------------------------------------------------------------------------------


def operators_roles(rendered: list[Json]) -> list[Json]:
    """The roles of the operator itself."""
    roles = of_kind(rendered, *OPERATORS_ROLE)
    return [role for role in roles if not role["metadata"]["name"].endswith(FOR_PEOPLE)]


@pytest.mark.parametrize("name", [name for name in CASES if name != "gitops-values.yaml"])
def test_secrets_are_granted_by_name(helm: Helm, name: str) -> None:
    """Each role that speaks of Secrets names those that the operator is told of, and never writes to them."""
    rendered = objects(helm, case(name))
    names = told(container(helm, case(name))["args"]).secret_name
    rules = [rule for role in operators_roles(rendered) for rule in role["rules"] if "secrets" in rule["resources"]]
    assert rules
    for rule in rules:
        assert (tuple(rule["resourceNames"]), rule["verbs"]) == (names, ["list", "watch"])


@pytest.mark.parametrize("name", CASES)
def test_nothing_is_granted_wholesale(helm: Helm, name: str) -> None:
    """No star in any role."""
    for role in of_kind(objects(helm, case(name)), *OPERATORS_ROLE):
        for rule in role["rules"]:
            assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]], role["metadata"]["name"]


def test_namespaced_it_has_no_cluster_role(helm: Helm) -> None:
    """A Role in each namespace, one for the Lease, one for Events about a namespace that is going away."""
    roles = operators_roles(objects(helm, case("namespaced-values.yaml")))
    assert {(role["kind"], role["metadata"]["namespace"]) for role in roles} == {
        ("Role", namespace) for namespace in ("team-a", "team-b", "default", NAMESPACE)
    }


@pytest.mark.parametrize("namespaces", [(), ("team-a",), ("team-b", "team-a")])
def test_the_lease_is_granted_by_the_name_that_it_has(helm: Helm, namespaces: tuple[str, ...]) -> None:
    """The chart computes it as the operator does."""
    rendered = objects(helm, f"--set=watchNamespaces={{{','.join(namespaces)}}}" if namespaces else "--set=replicas=2")
    rules = [rule for role in operators_roles(rendered) for rule in role["rules"]]
    (granted,) = [rule["resourceNames"] for rule in rules if "leases" in rule["resources"] and "get" in rule["verbs"]]
    assert granted == [lease_name(namespaces)]


@pytest.mark.parametrize("namespaces", [(), ("team-b", "team-a")])
def test_each_shard_has_its_lease(helm: Helm, namespaces: tuple[str, ...]) -> None:
    """Granted by name, as many as there are, in any scope."""
    watched = [f"--set=watchNamespaces={{{','.join(namespaces)}}}"] if namespaces else []
    rendered = objects(helm, "--set=shards=12", *watched)
    rules = [rule for role in operators_roles(rendered) for rule in role["rules"]]
    (granted,) = [rule["resourceNames"] for rule in rules if "leases" in rule["resources"] and "get" in rule["verbs"]]
    assert granted == [lease_name(namespaces, shard) for shard in range(12)]


@pytest.mark.parametrize("shards", ["0", "65", "many"])
def test_a_number_of_shards_that_cannot_be_is_refused(helm: Helm, shards: str) -> None:
    """By the schema of the values, as by the operator itself."""
    with pytest.raises(HelmFailedError, match="shards"):
        helm.template(f"--set=shards={shards}")


def test_each_binding_is_for_the_service_account(helm: Helm) -> None:
    """And for a role that is there."""
    rendered = objects(helm)
    roles = {(role["kind"], role["metadata"]["name"]) for role in of_kind(rendered, *OPERATORS_ROLE)}
    bindings = of_kind(rendered, "ClusterRoleBinding", "RoleBinding")
    assert len(bindings) == len(operators_roles(rendered))
    for binding in bindings:
        assert (binding["roleRef"]["kind"], binding["roleRef"]["name"]) in roles
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": RELEASE, "namespace": NAMESPACE}]


def test_the_probes_ask_what_is_served(helm: Helm) -> None:
    """Each names the port by its name, and a path of the operator's."""
    rendered = container(helm)
    asked = {kind: rendered[kind]["httpGet"] for kind in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {kind: probe["path"] for kind, probe in asked.items()} == {
        "startupProbe": "/startupz",
        "livenessProbe": "/healthz",
        "readinessProbe": "/readyz",
    }
    assert {probe["port"] for probe in asked.values()} == {rendered["ports"][0]["name"]}


# -- what people look at -----------------------------------------------------------------------------------------------


def test_the_alerts_are_those_that_are_tested(helm: Helm) -> None:
    """The PrometheusRule holds the rules file, braces and all."""
    rule = the_one(objects(helm, case("everything-values.yaml")), "PrometheusRule")
    assert rule["spec"] == yaml.safe_load((CHART / "files/alerts.yaml").read_text(encoding="utf-8"))
    assert rule["metadata"]["labels"]["release"] == "prometheus"


def test_the_dashboard_is_the_one_that_is_generated(helm: Helm) -> None:
    """The ConfigMap holds the JSON as it is, under the labels by which Grafana's sidecar finds it."""
    maps = of_kind(objects(helm, case("everything-values.yaml")), "ConfigMap")
    (found,) = [each for each in maps if each["metadata"]["name"].endswith("-dashboard")]
    assert found["data"] == {"inferencekey-operator.json": (CHART / "files/dashboard.json").read_text(encoding="utf-8")}
    assert found["metadata"]["labels"]["dashboards"] == "yes"
