"""The CustomResourceDefinition, generated from the models: `crds/` holds what `render` returns.

Decides what is about the resource as a whole: names, columns, rules that span spec and metadata, the default
that makes a brand-new object look unfinished. What concerns one field stands at that field, in `spec` and
`status`.
"""

from __future__ import annotations

import sys
from typing import Any

import yaml

from inferencekey_operator.api.markers import VALIDATIONS
from inferencekey_operator.api.validation import ROOT_RULES, SPEC_RULES
from inferencekey_operator.api.workload import GROUP, KIND, PLURAL, VERSION, WorkloadSpec, WorkloadStatus
from inferencekey_operator.crd.structural import Schema, structural

_HEADER = """\
# The Workload resource of the InferenceKey operator.
# Generated from the models in operator/inferencekey_operator by `make generate`; a test holds them together.
"""

_DESCRIPTION = (
    "A Workload declares one inference unit on InferenceKey: one model, on one backend, in one "
    "configuration. The operator makes the platform match it, publishes its endpoint in a ConfigMap, and "
    "reports any difference field by field. What it does about a difference is the annotation "
    "inferencekey.com/on-drift: Reconcile (the default), Fail, DryRun, Warn or Ignore."
)

_READY = '.status.conditions[?(@.type=="Ready")]'

_COLUMNS = (
    ("Ready", f"{_READY}.status", "Whether it is served as declared, or as its drift policy allows."),
    ("Reason", f"{_READY}.reason", "Why, in one word; kubectl describe says more."),
    (
        "Drifted",
        ".status.drift.summary",
        "The fields in which the spec and the platform differ; none, or empty if not compared yet.",
    ),
    ("Policy", ".status.drift.policy", "The drift policy in force."),
    ("Backend", ".spec.backend", "The serving engine."),
    ("Model", ".spec.model", "The model, as declared."),
)
_WIDE_COLUMNS = (
    ("Project", ".status.projectSlug", "The project on the platform."),
    ("Slug", ".status.workloadSlug", "The slug on the platform."),
    ("Endpoint", ".status.endpoint.url", "Where applications reach it."),
    ("ID", ".status.workloadId", "The platform's id."),
    (
        "Plan",
        ".status.drift.planId",
        "The withheld write, to be approved with inferencekey.com/approve-plan.",
    ),
)


def crd() -> dict[str, Any]:
    """The CustomResourceDefinition as a JSON object."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": KIND.lower(),
                "shortNames": ["ikw"],
                "categories": ["inferencekey"],
            },
            "versions": [_version()],
        },
    }


def render() -> str:
    """The CustomResourceDefinition as the YAML of `crds/`, byte for byte."""
    return _HEADER + yaml.dump(crd(), Dumper=_Dumper, width=110, allow_unicode=True)


def _version() -> dict[str, Any]:
    return {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": [
            *(_column(*column) for column in _COLUMNS),
            {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
            *({**_column(*column), "priority": 1} for column in _WIDE_COLUMNS),
        ],
        "schema": {"openAPIV3Schema": _root()},
    }


def _column(name: str, path: str, description: str) -> dict[str, Any]:
    return {"name": name, "type": "string", "jsonPath": path, "description": description}


def _root() -> Schema:
    return {
        "type": "object",
        "description": _DESCRIPTION,
        "required": ["spec"],
        VALIDATIONS: list(ROOT_RULES),
        "properties": {
            "apiVersion": {
                "type": "string",
                "description": f"The version of this schema: {GROUP}/{VERSION}.",
            },
            "kind": {"type": "string", "description": f"The kind of the object: {KIND}."},
            "metadata": {"type": "object"},
            "spec": {**structural(WorkloadSpec, defaults=True), VALIDATIONS: list(SPEC_RULES)},
            "status": _status(),
        },
    }


def _status() -> Schema:
    """The status, with the default that keeps an object which nobody has looked at from being taken for done.

    The class is any string here: a word that a later operator writes must not be refused by this CRD.
    """
    schema = structural(WorkloadStatus, defaults=False)
    never = WorkloadStatus().observed_generation
    schema["properties"]["observedGeneration"]["default"] = never
    del schema["properties"]["drift"]["properties"]["class"]["enum"]
    return {**schema, "default": {"observedGeneration": never}}


class _Dumper(yaml.SafeDumper):
    """Writes a rule that many fields share out at each of them."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


if __name__ == "__main__":
    sys.stdout.write(render())
