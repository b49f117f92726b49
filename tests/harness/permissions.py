"""The operator's ServiceAccount: what the chart grants it, and a kubeconfig with its token.

Nothing is granted here that the chart does not grant. Its defaults are taken out of manifests/install.yaml, which is
the chart, rendered: so no test depends on helm that is not about it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import yaml

from controlplane.access import Cluster
from harness.waiting import eventually
from helmchart import render
from helmchart.manifests import INSTALL
from helmchart.render import Json, documents, of_kind
from inferencekey_operator.election.leadership import lease_name

NAMESPACE = render.NAMESPACE
NAME = render.RELEASE
SHARDS = "shards"
"""The Role of `of_shards`, and its binding."""
USER = f"system:serviceaccount:{NAMESPACE}:{NAME}"

Grant = tuple[str, str, str]
"""Verb, API group, resource with its subresource."""

_RBAC = "rbac.authorization.k8s.io"
_KINDS = ("Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")
_FOR_PEOPLE = ("-view", "-edit", "-approver")


def of_the_manifest() -> list[Json]:
    """What makes up the ServiceAccount, as the manifest has it."""
    return of_the_operator(documents(INSTALL.read_text(encoding="utf-8")))


def of_the_operator(rendered: list[Json]) -> list[Json]:
    """The ServiceAccount with its roles: nothing that would start a pod, and no roles for people."""
    found = of_kind(rendered, *_KINDS)
    return [each for each in found if not each["metadata"]["name"].endswith(_FOR_PEOPLE)]


def of_shards(shards: int) -> list[Json]:
    """What the chart grants beside that, where there are so many shards: their Leases."""
    rule = {
        "apiGroups": ["coordination.k8s.io"],
        "resources": ["leases"],
        "resourceNames": [lease_name((), shard) for shard in range(shards)],
        "verbs": ["get", "update"],
    }
    metadata = {"name": SHARDS, "namespace": NAMESPACE}
    role = {"apiVersion": f"{_RBAC}/v1", "kind": "Role", "metadata": metadata, "rules": [rule]}
    binding = {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": metadata,
        "roleRef": {"apiGroup": _RBAC, "kind": "Role", "name": SHARDS},
        "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}],
    }
    return [role, binding]


def of_a_lease(namespace: str) -> list[Json]:
    """What the same ServiceAccount needs for a Lease in another namespace: for an operator that waits for no other."""
    roles = of_kind(of_the_manifest(), "Role", "RoleBinding")
    moved = [{**each, "metadata": {**each["metadata"], "namespace": namespace}} for each in roles]
    return [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}, *moved]


def apply(cluster: Cluster, objects: list[Json], account: str = NAME) -> Path:
    """Make a ServiceAccount with its permissions; back with its kubeconfig once those are in force."""
    cluster.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(objects))
    return kubeconfig(cluster, account)


def kubeconfig(cluster: Cluster, account: str = NAME, namespace: str = NAMESPACE) -> Path:
    """With a token of a ServiceAccount that is there."""
    token = cluster.kubectl("create", "token", account, "-n", namespace, "--duration=48h").stdout.strip()
    return cluster.kubeconfig_for_token(f"system:serviceaccount:{namespace}:{account}", token)


def in_force(cluster: Cluster, account: Path, namespaces: tuple[str, ...] = ()) -> None:
    """Back when it may list what it is to work on: an authorizer hears of new roles a moment later."""
    for scope in [f"--namespace={each}" for each in namespaces] or ["--all-namespaces"]:
        may_list = ("auth", "can-i", "list", "workloads.inferencekey.com", scope)
        eventually(functools.partial(_says_yes, cluster, may_list, account))


def _says_yes(cluster: Cluster, question: tuple[str, ...], account: Path) -> bool:
    return cluster.kubectl(*question, kubeconfig=account, check=False).returncode == 0


def granted(objects: list[Json]) -> set[Grant]:
    """Everything that these objects grant."""
    return set(_grants(objects))


def granted_in(objects: list[Json], namespace: str) -> set[Grant]:
    """What their Roles grant in one namespace."""
    return granted([each for each in objects if each["metadata"].get("namespace") == namespace])


def _grants(objects: list[Json]) -> Iterator[Grant]:
    for rule in (rule for each in objects for rule in each.get("rules", ())):
        yield from product(rule["verbs"], rule["apiGroups"], rule["resources"])
