"""The examples, read as their users read them, and the environment that a pod of theirs is given.

Knows what `envFrom` does with a ConfigMap, a Secret and a prefix; nothing of what an application does with it.
"""

from __future__ import annotations

from base64 import b64decode
from pathlib import Path
from typing import Any

import yaml

from harness.api import Api, Json

EXAMPLES = Path(__file__).parents[2] / "examples"
FOLDERS = sorted(path for path in EXAMPLES.iterdir() if path.is_dir())


def documents(path: Path) -> list[Json]:
    """The objects in a file."""
    return [document for document in yaml.safe_load_all(path.read_text(encoding="utf-8")) if document]


def alone() -> list[Path]:
    """The files that the demo applies: each is one Workload, for whatever namespace one is in."""
    (kustomization,) = documents(EXAMPLES / "kustomization.yaml")
    return [EXAMPLES / name for name in kustomization["resources"]]


def workloads() -> list[Json]:
    """Every Workload in a file of an example."""
    found = (document for path in sorted(EXAMPLES.rglob("*.yaml")) for document in documents(path))
    return [document for document in found if document.get("kind") == "Workload"]


def environment(api: Api, namespace: str, container: Json) -> dict[str, str]:
    """What a kubelet makes of `envFrom`: sources in order, each with its prefix; AssertionError where one is absent."""
    found: dict[str, str] = {}
    for source in container["envFrom"]:
        values = _values(api, namespace, source)
        found |= {source.get("prefix", "") + key: value for key, value in values.items()}
    return found


def mounted(api: Api, namespace: str, pod: Json, name: str) -> str:
    """A file out of the one ConfigMap that a pod mounts."""
    (volume,) = pod["volumes"]
    config_map = api.get(f"/api/v1/namespaces/{namespace}/configmaps/{volume['configMap']['name']}")
    text: str = config_map["data"][name]
    return text


def _values(api: Api, namespace: str, source: dict[str, Any]) -> dict[str, str]:
    if "configMapRef" in source:
        config_map = api.get(f"/api/v1/namespaces/{namespace}/configmaps/{source['configMapRef']['name']}")
        return dict(config_map["data"])
    secret = api.get(f"/api/v1/namespaces/{namespace}/secrets/{source['secretRef']['name']}")
    return {key: b64decode(value).decode() for key, value in secret["data"].items()}
