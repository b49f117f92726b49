"""The generated CRD: the same as what is checked in, and fit for every API server from Kubernetes 1.29 on."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from inferencekey_operator.api.validation import NO_TOKEN, NO_TOKEN_AS_KEY
from inferencekey_operator.api.workload import ExecutionPolicy, TaskType
from inferencekey_operator.crd.schema import crd, render

REPOSITORY = Path(__file__).parents[2]
MANIFEST = REPOSITORY / "crds" / "workloads.inferencekey.com.yaml"

FUNCTIONS_OF_1_29 = {"has", "matches", "trim", "size"}
"""The CEL functions that the rules use; each is in Kubernetes 1.25 and later."""

Node = tuple[str, dict[str, Any]]


def version() -> dict[str, Any]:
    """The one version of the resource."""
    (only,) = crd()["spec"]["versions"]
    assert isinstance(only, dict)
    return only


def root() -> dict[str, Any]:
    """The schema of the whole object."""
    schema = version()["schema"]["openAPIV3Schema"]
    assert isinstance(schema, dict)
    return schema


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[Node]:
    """Every schema within a schema, with the path of the field that it is about; items end in []."""
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from nodes(inner, f"{path}.{name}" if path else name)
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")


def below(part: str) -> list[Node]:
    """The schemas of spec or status."""
    return [(path, schema) for path, schema in nodes(root()) if path.startswith(part)]


def rules() -> list[dict[str, str]]:
    """Every CEL rule of the CRD."""
    return [rule for _, schema in nodes(root()) for rule in schema.get("x-kubernetes-validations", [])]


def test_the_checked_in_manifest_is_what_the_models_say() -> None:
    """crds/ cannot drift from the models: `make generate` writes exactly this."""
    assert MANIFEST.read_text() == render()


def test_the_manifest_folder_holds_nothing_else() -> None:
    """`kubectl apply -f crds` applies CRDs and nothing beside them."""
    assert [path.name for path in MANIFEST.parent.iterdir()] == [MANIFEST.name]
    assert [document["kind"] for document in yaml.safe_load_all(render())] == ["CustomResourceDefinition"]


def test_the_module_prints_the_manifest() -> None:
    """`python -m inferencekey_operator.crd.schema` is how it is generated."""
    printed = subprocess.run(
        [sys.executable, "-m", "inferencekey_operator.crd.schema"], capture_output=True, text=True, check=True
    )

    assert printed.stdout == render()


def test_yaml_says_what_the_dictionary_says() -> None:
    """Nothing is lost or aliased on the way into YAML."""
    assert yaml.safe_load(render()) == crd()
    assert not re.search(r"[&*]id\d", render())


def test_every_field_is_described() -> None:
    """`kubectl explain` has a sentence for each, and never a Python name for a sentence."""
    for path, schema in nodes(root()):
        if path == "metadata":
            continue
        assert len(schema.get("description", "")) >= 10, path
        assert "\n" not in schema["description"], path


def test_the_schema_is_structural() -> None:
    """Each node has a type, and none of the keywords that a CRD must not have, or that say "or null"."""
    forbidden = {"$ref", "$defs", "anyOf", "oneOf", "allOf", "title", "const", "prefixItems", "nullable"}
    for path, schema in nodes(root()):
        assert "type" in schema, path
        assert not forbidden & schema.keys(), path


def test_every_string_of_the_spec_is_bounded_and_holds_no_token() -> None:
    """Whatever is typed: the rule is there, and the bound without which it would cost too much."""
    for path, schema in below("spec"):
        if schema["type"] == "string" and "enum" not in schema:
            assert schema["maxLength"] <= 16384, path
            guards = [NO_TOKEN, NO_TOKEN_AS_KEY]
            assert any(rule in guards for rule in schema["x-kubernetes-validations"]), path


def test_every_list_of_the_spec_is_bounded() -> None:
    """Rules on items are paid per item."""
    for path, schema in below("spec"):
        if schema["type"] == "array":
            assert schema["maxItems"] <= 256, path


def test_the_known_words_are_all_there() -> None:
    """Modalities and policies are those of the models."""
    known = dict(below("spec"))

    assert known["spec.taskType"]["enum"] == [str(task) for task in TaskType]
    assert len(known["spec.taskType"]["enum"]) == 13
    assert known["spec.executionPolicy"]["enum"] == [str(policy) for policy in ExecutionPolicy]


def test_both_configs_let_unknown_keys_pass_at_every_level() -> None:
    """A key that the platform gains tomorrow can be declared today."""
    for path, schema in below("spec"):
        if path.startswith(("spec.config", "spec.executionPolicyConfig")) and schema["type"] == "object":
            assert schema["x-kubernetes-preserve-unknown-fields"] is True, path


def test_the_status_accepts_what_a_later_operator_writes() -> None:
    """No bound, rule or list of words can refuse a status: a CRD is often older than its operator."""
    limits = {"enum", "maxLength", "maxItems", "pattern", "minimum", "x-kubernetes-validations"}
    for path, schema in below("status"):
        if path != "status.conditions[].status":
            assert not limits & schema.keys(), path


def test_defaults_are_the_operators_own_alone() -> None:
    """What the platform decides has no default here, or a default would count as declared."""
    defaults = {path: schema["default"] for path, schema in nodes(root()) if "default" in schema}

    assert defaults == {
        "spec.tokenSecretRef": {"name": "inferencekey", "key": "INFERENCEKEY_SDK_TOKEN"},
        "spec.tokenSecretRef.name": "inferencekey",
        "spec.tokenSecretRef.key": "INFERENCEKEY_SDK_TOKEN",
        "spec.adoptionPolicy": "Always",
        "spec.suspend": False,
        "status": {"observedGeneration": -1},
        "status.observedGeneration": -1,
    }


def test_rules_use_only_what_kubernetes_1_29_knows() -> None:
    """A function of a later release would make the whole CRD unacceptable to an earlier one."""
    for rule in rules():
        expression = re.sub(r"'[^']*'", "''", rule["rule"])
        assert set(re.findall(r"(\w+)\(", expression)) <= FUNCTIONS_OF_1_29, rule["rule"]
        assert "?." not in expression
        assert "[?" not in expression


def test_every_rule_says_what_to_write() -> None:
    """A refusal without a message would show the expression."""
    for rule in rules():
        assert 20 < len(rule["message"]) < 300, rule["rule"]


def test_columns_are_in_the_order_of_reading() -> None:
    """What matters first, first; the rest with -o wide."""
    columns = version()["additionalPrinterColumns"]

    assert [column["name"] for column in columns if not column.get("priority")] == [
        *("Ready", "Reason", "Drifted", "Policy", "Backend", "Model", "Age")
    ]
    assert [column["name"] for column in columns if column.get("priority")] == [
        *("Project", "Slug", "Endpoint", "ID", "Plan")
    ]


def test_names_do_not_collide_with_kubernetes_own_workloads() -> None:
    """`ikw` and `inferencekey` are ours; `wl` is another project's."""
    assert crd()["metadata"]["name"] == "workloads.inferencekey.com"
    assert crd()["spec"]["names"]["shortNames"] == ["ikw"]
    assert crd()["spec"]["names"]["categories"] == ["inferencekey"]
