"""The CRD in front of a real API server: what it refuses, and in which words; what it accepts, shows and keeps."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from controlplane.access import Cluster
from harness.api import WORKLOADS, Api
from harness.examples import EXAMPLES, alone
from inferencekey_operator.api.workload import TaskType, Workload
from inferencekey_operator.crd.schema import crd
from integration.manifests import Kubectl, manifest, refusal, stored

APPLY = ("apply", "-f", "-")
IN_DEFAULT = f"{WORKLOADS}/namespaces/default/workloads"
"""Where the server is asked what it would say: nothing is stored, so no namespace of one's own is needed."""

SECRET = 64 * "e"
TOKEN = f"ik_sdk_a1b2c3d4_{SECRET}"
SERVING_KEY = f"ik_live_a1b2c3d4_{SECRET}"

BLANK = "must not be blank: write a value, or leave the field out if it is optional"
NO_SLUG = "a slug is lower-case ASCII letters and digits with single dashes between them: write it as in"
NO_PROJECT = "a project is named by its slug: lower-case ASCII letters and digits with single dashes between them"
NO_SLUG_NAME = "metadata.name is no slug"
OBJECT_NAME = "must be the name of an object in this namespace"
VLLM_ONLY = "vllmVersion is for the backends vllm and vllm-omni: remove it"
NO_CAP = "autoscaling needs a cap on its cost: write executionPolicyConfig.max_hourly_cost_usd, in US dollars per hour"
NO_POOL_CAP = "the cloud pool's max_hourly_cost_usd must be more than 0"
NO_GPU = "autoscaling in the cloud needs at least one kind of GPU to choose from: write"
ONE_SCHEDULE = "cron and window exclude each other: keep the one that you mean"
NO_POLICY = "executionPolicyConfig needs its policy beside it: write executionPolicy: fixed, scheduled or"
NO_ROOM = "leaves no room for the ConfigMap's name <metadata.name>-endpoint: write spec.endpoint.configMapName"

CONFIG = "spec.executionPolicyConfig"
POOL = f"{CONFIG}.workers.cloud_pool"


def scaled(workers: dict[str, Any], **config: Any) -> dict[str, Any]:
    """A Workload that asks for autoscaling with these workers and this beside them."""
    return manifest(executionPolicy="autoscaling", executionPolicyConfig={"workers": workers, **config})


def in_the_cloud(pool: dict[str, Any] | None = None, **config: Any) -> dict[str, Any]:
    """Autoscaling on the platform's GPUs; a pool of one kind unless another is given."""
    pool = {"gpu_pool": ["NVIDIA A100-SXM4-80GB"]} if pool is None else pool
    return scaled({"source": "cloud", "cloud_pool": pool}, **config)


REFUSED = {
    "no model": (manifest(model=None), "spec.model", "Required value"),
    "no backend": (manifest(backend=None), "spec.backend", "Required value"),
    "a blank model": (manifest(model=" "), "spec.model", BLANK),
    "a blank backend": (manifest(backend=""), "spec.backend", BLANK),
    "a blank name": (manifest(**{"name": "\t "}), "spec.name", BLANK),
    "a blank project": (manifest(project=""), "spec.project", NO_PROJECT),
    "a project in capitals": (manifest(project="Acme"), "spec.project", NO_PROJECT),
    "a project of two words": (manifest(project="team a"), "spec.project", NO_PROJECT),
    "a project that is a folder up": (manifest(project=".."), "spec.project", NO_PROJECT),
    "a project of two segments": (manifest(project="team-a/../team-b"), "spec.project", NO_PROJECT),
    "a project with a query": (manifest(project="team-a?x=1"), "spec.project", NO_PROJECT),
    "a project in percent": (manifest(project="%2e%2e"), "spec.project", NO_PROJECT),
    "a project with an underscore, as in an id": (manifest(project="prj_1a2b3c"), "spec.project", NO_PROJECT),
    "a project with a dash at its end": (manifest(project="team-"), "spec.project", NO_PROJECT),
    "a project with a line break at its end": (manifest(project="team-a\n"), "spec.project", NO_PROJECT),
    "a project beyond ASCII": (manifest(project="größe"), "spec.project", NO_PROJECT),
    "a project that is too long": (manifest(project="x" * 254), "spec.project", "than 253"),
    "a blank slug": (manifest(slug=""), "spec.slug", NO_SLUG),
    "a slug in capitals": (manifest(slug="Support"), "spec.slug", NO_SLUG),
    "a slug with two dashes": (manifest(slug="support--bot"), "spec.slug", NO_SLUG),
    "a slug with a dash at its end": (manifest(slug="support-"), "spec.slug", NO_SLUG),
    "a slug of two lines": (manifest(slug="support\nbot"), "spec.slug", NO_SLUG),
    "a slug beyond ASCII": (manifest(slug="größe"), "spec.slug", NO_SLUG),
    "a name with a dot and no slug": (manifest("support.bot"), "spec.slug", NO_SLUG_NAME),
    "a name with two dashes and no slug": (manifest("support--bot"), "spec.slug", NO_SLUG_NAME),
    "a name without room for -endpoint": (manifest("a" * 245), "spec.endpoint", NO_ROOM),
    "an unknown modality": (manifest(taskType="text2smell"), "spec.taskType", 'supported values: "text2text"'),
    "an unknown policy": (manifest(executionPolicy="always"), "spec.executionPolicy", '"fixed", "scheduled"'),
    "a vLLM version for Ollama": (
        manifest(backend="ollama", vllmVersion="0.11.0"),
        "spec.vllmVersion",
        VLLM_ONLY,
    ),
    "a policy's settings without the policy": (
        manifest(executionPolicyConfig={"replicas": 1}),
        "spec.executionPolicy",
        NO_POLICY,
    ),
    "cron beside window": (
        manifest(executionPolicy="scheduled", executionPolicyConfig={"cron": "0 2 * * *", "window": "Mon"}),
        CONFIG,
        ONE_SCHEDULE,
    ),
    "the cloud without a cap": (in_the_cloud(), f"{CONFIG}.max_hourly_cost_usd", NO_CAP),
    "the cloud with a cap of 0": (
        in_the_cloud(max_hourly_cost_usd=0),
        f"{CONFIG}.max_hourly_cost_usd",
        NO_CAP,
    ),
    "the cloud with a cap below 0": (
        in_the_cloud(max_hourly_cost_usd=-1.5),
        f"{CONFIG}.max_hourly_cost_usd",
        NO_CAP,
    ),
    "the cloud with a cap on the pool alone": (
        in_the_cloud({"gpu_pool": ["A100"], "max_hourly_cost_usd": 5.0}),
        f"{CONFIG}.max_hourly_cost_usd",
        NO_CAP,
    ),
    "the cloud in capitals without a cap": (
        scaled({"source": "Cloud", "cloud_pool": {"gpu_pool": ["A100"]}}),
        f"{CONFIG}.max_hourly_cost_usd",
        NO_CAP,
    ),
    "private workers in capitals without a cap": (
        scaled({"source": "Private", "private_worker_ids": ["wrk_1"]}),
        f"{CONFIG}.max_hourly_cost_usd",
        NO_CAP,
    ),
    "a source of tomorrow without a cap": (
        scaled({"source": "moon", "cloud_pool": {"gpu_pool": ["A100"]}}),
        f"{CONFIG}.max_hourly_cost_usd",
        NO_CAP,
    ),
    "an empty source without a cap": (
        scaled({"source": "", "cloud_pool": {"gpu_pool": ["A100"]}}),
        f"{CONFIG}.max_hourly_cost_usd",
        NO_CAP,
    ),
    "autoscaling without settings": (
        manifest(executionPolicy="autoscaling"),
        f"{CONFIG}.max_hourly_cost_usd",
        NO_CAP,
    ),
    "autoscaling with empty settings": (
        manifest(executionPolicy="autoscaling", executionPolicyConfig={}),
        f"{CONFIG}.max_hourly_cost_usd",
        NO_CAP,
    ),
    "autoscaling with settings, but neither workers nor a cap": (
        manifest(executionPolicy="autoscaling", executionPolicyConfig={"min_workers": 0, "max_workers": 3}),
        f"{CONFIG}.max_hourly_cost_usd",
        NO_CAP,
    ),
    "autoscaling without workers, with a cap of 0": (
        manifest(executionPolicy="autoscaling", executionPolicyConfig={"max_hourly_cost_usd": 0}),
        f"{CONFIG}.max_hourly_cost_usd",
        NO_CAP,
    ),
    "autoscaling with empty workers and no cap": (
        scaled({}, min_workers=0),
        f"{CONFIG}.max_hourly_cost_usd",
        NO_CAP,
    ),
    "workers by their ids alone, without a source": (
        scaled({"private_worker_ids": ["wrk_1"]}),
        f"{CONFIG}.max_hourly_cost_usd",
        NO_CAP,
    ),
    "a cloud pool, though its source is not said, without a cap": (
        scaled({"cloud_pool": {"gpu_pool": ["A100"]}}),
        f"{CONFIG}.max_hourly_cost_usd",
        NO_CAP,
    ),
    "the cloud with a pool's cap of 0": (
        in_the_cloud({"gpu_pool": ["A100"], "max_hourly_cost_usd": 0}, max_hourly_cost_usd=5),
        f"{POOL}.max_hourly_cost_usd",
        NO_POOL_CAP,
    ),
    "the cloud with an empty pool": (
        in_the_cloud({"gpu_pool": []}, max_hourly_cost_usd=5),
        f"{POOL}.gpu_pool",
        NO_GPU,
    ),
    "the cloud without a pool": (
        scaled({"source": "cloud"}, max_hourly_cost_usd=5),
        f"{POOL}.gpu_pool",
        NO_GPU,
    ),
    "another source than private without a pool": (
        scaled({"source": "Private"}, max_hourly_cost_usd=5),
        f"{POOL}.gpu_pool",
        NO_GPU,
    ),
    "another source than private with a pool's cap of 0": (
        scaled(
            {"source": "CLOUD", "cloud_pool": {"gpu_pool": ["A100"], "max_hourly_cost_usd": 0}}, max_hourly_cost_usd=5
        ),
        f"{POOL}.max_hourly_cost_usd",
        NO_POOL_CAP,
    ),
    "an empty pool, though its source is not said": (
        scaled({"cloud_pool": {}}, max_hourly_cost_usd=5),
        f"{POOL}.gpu_pool",
        NO_GPU,
    ),
    "a cap that is no number": (
        in_the_cloud(max_hourly_cost_usd="5.0"),
        f"{CONFIG}.max_hourly_cost_usd",
        "must be of type number",
    ),
    "fewer than no copies": (
        manifest(executionPolicy="fixed", executionPolicyConfig={"replicas": -1}),
        f"{CONFIG}.replicas",
        "should be greater than or equal to 0",
    ),
    "a Secret's name that none can have": (
        manifest(tokenSecretRef={"name": "My_Secret"}),
        "spec.tokenSecretRef.name",
        OBJECT_NAME,
    ),
    "a Secret's key that none can have": (
        manifest(tokenSecretRef={"key": "a b"}),
        "spec.tokenSecretRef.key",
        "must be a key of the Secret: letters, digits, '-', '_' and '.'",
    ),
    "a ConfigMap's name that none can have": (
        manifest(endpoint={"configMapName": "-x"}),
        "spec.endpoint.configMapName",
        OBJECT_NAME,
    ),
    "an unknown deletion policy": (
        manifest(deletionPolicy="Keep"),
        "spec.deletionPolicy",
        'supported values: "Delete", "Orphan"',
    ),
    "an unknown adoption policy": (
        manifest(adoptionPolicy="Maybe"),
        "spec.adoptionPolicy",
        'supported values: "Always", "IfIdentical", "Never"',
    ),
    "a command that is too long": (manifest(command="x" * 16385), "spec.command", "may not be more than 16384"),
    "a description that is too long": (manifest(description="x" * 4097), "spec.description", "than 4096"),
    "a model that is too long": (manifest(model="x" * 513), "spec.model", "than 512"),
    "a slug that is too long": (manifest(slug="x" * 254), "spec.slug", "than 253"),
    "a pool of too many kinds": (
        in_the_cloud({"gpu_pool": ["A100"] * 65}, max_hourly_cost_usd=5),
        f"{POOL}.gpu_pool",
        "must have at most 64 items",
    ),
}

ACCEPTED = {
    "the least there can be": manifest(),
    "a slug where the name is none": manifest("support.bot", slug="support-bot"),
    "a long name that names its ConfigMap": manifest("a" * 253, endpoint={"configMapName": "where"}),
    "a name that leaves just enough room": manifest("a" * 244),
    "a custom backend": manifest(backend="our-own-engine"),
    "a vLLM version for vLLM-Omni": manifest(backend="vllm-omni", vllmVersion="0.11.0"),
    "another backend's version in config": manifest(backend="sglang", config={"sglang_version": "0.5.2"}),
    "a policy without settings": manifest(executionPolicy="fixed"),
    "autoscaling with a cap alone": manifest(
        executionPolicy="autoscaling", executionPolicyConfig={"max_hourly_cost_usd": 5.0}
    ),
    "autoscaling with a cap, and workers that do not say where": scaled({}, max_hourly_cost_usd=0.01),
    "private workers without a cap": scaled({"source": "private", "private_worker_ids": ["wrk_1"]}),
    "private workers with a pool that is not used": scaled(
        {"source": "private", "private_worker_ids": ["wrk_1"], "cloud_pool": {"max_hourly_cost_usd": 0}}
    ),
    "a source of tomorrow with a cap and a pool": scaled(
        {"source": "moon", "cloud_pool": {"gpu_pool": ["A100"]}}, max_hourly_cost_usd=5
    ),
    "settings of another policy without a cap": manifest(
        executionPolicy="fixed", executionPolicyConfig={"replicas": 1, "workers": {"source": "Cloud"}}
    ),
    "the cloud with a whole number as cap": in_the_cloud(max_hourly_cost_usd=5),
    "the cloud with both caps": in_the_cloud(
        {"gpu_pool": ["A100"], "max_hourly_cost_usd": 0.5}, max_hourly_cost_usd=0.5
    ),
    "a pool that another policy does not look at": manifest(
        executionPolicy="fixed", executionPolicyConfig={"workers": {"cloud_pool": {"gpu_pool": []}}}
    ),
    "cron alone": manifest(executionPolicy="scheduled", executionPolicyConfig={"cron": "0 2 * * *"}),
    "words about keys": manifest(description="Ask for an ik_live_ key; never the ik_sdk_ one."),
    "a Secret's key named after the token": manifest(tokenSecretRef={"key": "ik_sdk_token"}),
    "a name of any letters": manifest(**{"name": "Größe 1"}),
    "a project by its slug": manifest(project="team-a-2"),
    "everything at its bound": manifest(
        model="m" * 512,
        name="n" * 253,
        project="p" * 253,
        description="d" * 4096,
        command="c" * 16384,
        workerId="w" * 253,
        executionPolicy="autoscaling",
        executionPolicyConfig={
            "max_hourly_cost_usd": 5.0,
            "workers": {
                "source": "cloud",
                "cloud_pool": {"gpu_pool": ["g" * 128] * 64, "allowed_cuda_versions": ["v" * 128] * 32},
                "private_worker_ids": ["w" * 128] * 256,
            },
        },
    ),
}


@pytest.mark.parametrize(("document", "field", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_meant_is_refused_with_what_to_write(
    api: Api, document: dict[str, Any], field: str, message: str
) -> None:
    """The answer says which field, and what to write instead; no expression is ever shown."""
    said = api.objection(IN_DEFAULT, document)

    assert f"{field}: " in said
    assert message in said
    assert "self." not in said


def test_kubectl_apply_shows_the_refusal_as_it_is(kubectl: Kubectl) -> None:
    """Field by field, and nothing is stored."""
    said = refusal(kubectl, *APPLY, document=manifest(model=" ", backend=""))

    assert f'spec.model: Invalid value: " ": {BLANK}' in said
    assert f'spec.backend: Invalid value: "": {BLANK}' in said
    assert kubectl("get", "ikw", "-o", "name").stdout == ""


@pytest.mark.parametrize("document", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_what_can_be_meant_is_accepted(api: Api, document: dict[str, Any]) -> None:
    """The rules refuse no more than they say, up to the bounds, within the server's cost limits."""
    assert api.objection(IN_DEFAULT, document) == ""


@pytest.mark.parametrize("task", TaskType)
def test_every_modality_is_accepted(api: Api, task: TaskType) -> None:
    """All thirteen task types of the platform can be declared."""
    assert api.objection(IN_DEFAULT, manifest(taskType=task)) == ""


def typed_strings(schema: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of every free string of a schema; [] stands for the first item of a list."""
    if schema["type"] == "string" and "enum" not in schema:
        yield path
    for name, inner in schema.get("properties", {}).items():
        yield from typed_strings(inner, (*path, name))
    if "items" in schema:
        yield from typed_strings(schema["items"], (*path, "[]"))


def nested(path: tuple[str, ...], value: Any) -> Any:
    """The value at the end of a path."""
    if not path:
        return value
    inner = nested(path[1:], value)
    return [inner] if path[0] == "[]" else {path[0]: inner}


SPEC_SCHEMA = crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
TYPED_STRINGS = {".".join(path): path for path in typed_strings(SPEC_SCHEMA)}


@pytest.mark.parametrize("path", TYPED_STRINGS.values(), ids=TYPED_STRINGS.keys())
def test_a_token_anywhere_in_any_typed_string_is_refused_and_not_repeated(api: Api, path: tuple[str, ...]) -> None:
    """Not only at its start; and the answer, which ends up in terminals and logs, does not show it."""
    for text in (TOKEN, f"--api-key={TOKEN} --more", f"x{SERVING_KEY}"):
        said = api.objection(IN_DEFAULT, manifest(**nested(path, text)))

        field = "spec." + ".".join(path).replace(".[]", "[0]")
        assert f"{field}: Forbidden: a token must never be in a spec: remove it and revoke it." in said
        assert SECRET[:8] not in said


def test_the_whole_spec_has_typed_strings() -> None:
    """The test above goes through what there is: it must not be an empty list."""
    assert {"command", "tokenSecretRef.key", "config.sglang_version"} <= TYPED_STRINGS.keys()
    assert "executionPolicyConfig.workers.cloud_pool.gpu_pool.[]" in TYPED_STRINGS


def test_a_misspelled_field_is_refused(kubectl: Kubectl) -> None:
    """kubectl asks for strict fields, so a typing error outside the configs does not vanish silently."""
    assert 'unknown field "spec.vllm_version"' in refusal(kubectl, *APPLY, document=manifest(vllm_version="0.11.0"))


def test_unknown_keys_of_both_configs_are_kept_as_they_are(kubectl: Kubectl) -> None:
    """At every level, in the platform's own spelling."""
    config = {"enable_sleep": True, "nested": {"deep": [3, None, {"a": 1.5}]}, "command": "run"}
    policy = {
        "replicas": 2,
        "new_key": {"x": []},
        "workers": {"source": "private", "weight": 0.5, "cloud_pool": {"region": "eu"}},
    }

    document = manifest(config=config, executionPolicy="fixed", executionPolicyConfig=policy)
    kubectl(*APPLY, document=document)

    spec = Workload.parse(stored(kubectl)).spec
    assert spec.config == config
    assert spec.execution_policy_config == policy


def test_a_null_is_a_field_that_is_left_out(kubectl: Kubectl) -> None:
    """A chart that renders `slug: null` declares nothing."""
    document = manifest()
    document["spec"] |= {"slug": None, "project": None, "config": None}
    kubectl(*APPLY, document=document)

    assert not {"slug", "project", "config"} & stored(kubectl)["spec"].keys()


def test_what_the_operator_decides_is_filled_in_and_what_the_platform_decides_is_not(
    kubectl: Kubectl,
) -> None:
    """An unset field of the platform's must stay undeclared, or it would be compared."""
    kubectl(*APPLY, document=manifest())

    assert stored(kubectl)["spec"] == {
        "model": "llama-3",
        "backend": "vllm",
        "tokenSecretRef": {"name": "inferencekey", "key": "INFERENCEKEY_SDK_TOKEN"},
        "adoptionPolicy": "Always",
        "suspend": False,
    }


def test_a_generated_name_is_a_slug(kubectl: Kubectl) -> None:
    """`generateName` works: what the server makes of it is canonical."""
    document = manifest()
    document["metadata"] = {"generateName": "bot-"}

    made = json.loads(kubectl("create", "-o", "json", "-f", "-", document=document).stdout)

    assert Workload.parse(made).effective_slug.startswith("bot-")


@pytest.mark.parametrize("example", alone(), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_example_is_accepted(kubectl: Kubectl, example: Path) -> None:
    """Applied as it is, into whatever namespace the user is in."""
    (document,) = yaml.safe_load_all(example.read_text())
    assert "namespace" not in document["metadata"]

    kubectl("apply", "-f", str(example))

    Workload.parse(stored(kubectl, document["metadata"]["name"]))


def test_the_examples_are_one_folder_that_can_be_applied_whole(kubectl: Kubectl) -> None:
    """`kubectl apply -k examples/` makes as many Workloads as it names files, each with a slug of its own."""
    kubectl("apply", "-k", str(EXAMPLES))

    items = json.loads(kubectl("get", "ikw", "-o", "json").stdout)["items"]
    assert len({Workload.parse(item).effective_slug for item in items}) == len(alone()) >= 9


def test_the_server_has_nothing_to_say_against_the_crd(control_plane: Cluster) -> None:
    """Established, names accepted, structural: no other condition."""
    found = control_plane.kubectl("get", "crd", "workloads.inferencekey.com", "-o", "json").stdout

    conditions = {item["type"]: item["status"] for item in json.loads(found)["status"]["conditions"]}
    assert conditions == {"NamesAccepted": "True", "Established": "True"}


def test_explain_teaches_the_policies_settings(kubectl: Kubectl) -> None:
    """`kubectl explain` is the documentation that is always at hand."""
    said = " ".join(kubectl("explain", "ikw.spec.executionPolicyConfig").stdout.split())

    assert "max_hourly_cost_usd <number> autoscaling: the most that the workload may cost" in said
    assert "window <string> scheduled: when it runs, as days, hours and time zone" in said
    assert "Keys that this schema does not know are passed on as they are" in said
    deep = kubectl("explain", "ikw.spec.executionPolicyConfig.workers.cloud_pool.gpu_pool").stdout
    assert "as the platform names them: [NVIDIA A100-SXM4-80GB]" in " ".join(deep.split())


def test_short_name_and_category_lead_to_the_workloads(kubectl: Kubectl) -> None:
    """`ikw`, and `inferencekey` for all that is ours."""
    kubectl(*APPLY, document=manifest())

    for resource in ("ikw", "inferencekey", "workloads.inferencekey.com"):
        assert "support-bot" in kubectl("get", resource, "-o", "name").stdout
