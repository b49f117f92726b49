"""The operator's ServiceAccount: what the repository's manifest grants it, and a kubeconfig with its token.

Nothing is granted here that the manifest does not grant.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from controlplane.access import Cluster
from harness.waiting import eventually

MANIFEST = Path(__file__).parents[2] / "charts" / "rbac.yaml"

NAMESPACE = "inferencekey-system"
NAME = "inferencekey-operator"
USER = f"system:serviceaccount:{NAMESPACE}:{NAME}"

Grant = tuple[str, str, str]
"""Verb, API group, resource with its subresource."""


def apply(cluster: Cluster) -> Path:
    """Make the ServiceAccount with its permissions; back with its kubeconfig once those are in force."""
    cluster.kubectl("apply", "-f", str(MANIFEST))
    token = cluster.kubectl("create", "token", NAME, "-n", NAMESPACE, "--duration=2h").stdout.strip()
    kubeconfig = cluster.kubeconfig_for_token(USER, token)
    may_list = ("auth", "can-i", "list", "workloads.inferencekey.com", "--all-namespaces")
    eventually(lambda: cluster.kubectl(*may_list, kubeconfig=kubeconfig, check=False).returncode == 0)
    return kubeconfig


def granted() -> set[Grant]:
    """Everything that the manifest grants."""
    return set(_grants(list(yaml.safe_load_all(MANIFEST.read_text()))))


def _grants(objects: list[dict[str, Any]]) -> Iterator[Grant]:
    for rule in (rule for each in objects for rule in each.get("rules", ())):
        yield from product(rule["verbs"], rule["apiGroups"], rule["resources"])
