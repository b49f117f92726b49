"""The API server over one connection, as somebody who may see everything: quicker than a kubectl for each look.

Reads and writes plain JSON. Every status of a Workload that is read is put to the invariants.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx

from controlplane.access import Cluster
from unit.invariants import check_status

Json = dict[str, Any]

WORKLOADS = "/apis/inferencekey.com/v1alpha1"
EVENTS = "/apis/events.k8s.io/v1"
LEASES = "/apis/coordination.k8s.io/v1"
_OBSERVER = "test-observer"


class Api:
    """Requests as the admin; AssertionError where one is refused."""

    def __init__(self, cluster: Cluster) -> None:
        self.server = cluster.server
        self.tls = ssl.create_default_context(cadata=cluster.ca_pem)
        self.headers = {"Authorization": f"Bearer {_token(cluster)}", "User-Agent": _OBSERVER}
        self._options: dict[str, Any] = {
            "base_url": self.server,
            "verify": self.tls,
            "headers": self.headers,
            "timeout": 30.0,
            "trust_env": False,
        }
        self._http = httpx.Client(**self._options)

    def close(self) -> None:
        """No further request."""
        self._http.close()

    def concurrently(self) -> httpx.AsyncClient:
        """The same for many requests at once."""
        return httpx.AsyncClient(**self._options)

    def get(self, path: str, **query: str) -> Json:
        """What is there."""
        return self._answer(self._http.get(path, params=query))

    def find(self, path: str) -> Json | None:
        """What is there; None if nothing is."""
        response = self._http.get(path)
        return None if response.status_code == 404 else self._answer(response)

    def items(self, path: str, **query: str) -> list[Json]:
        """The items of a collection."""
        items: list[Json] = self.get(path, **query)["items"]
        return items

    def create(self, path: str, body: Json) -> Json:
        """A new object in a collection."""
        return self._answer(self._http.post(path, json=body))

    def post(self, path: str, content: bytes) -> httpx.Response:
        """Whatever the API server says to these bytes."""
        return self._http.post(path, content=content, headers={"Content-Type": "application/json"})

    def objection(self, path: str, body: Json) -> str:
        """What is said against a new object in a collection, which is not made; empty where nothing is.

        Unknown fields are refused, as kubectl asks for it.
        """
        response = self._http.post(path, params={"dryRun": "All", "fieldValidation": "Strict"}, json=body)
        return "" if response.is_success else str(response.json()["message"])

    def patch(self, path: str, body: Json) -> Json:
        """A merge patch."""
        headers = {"Content-Type": "application/merge-patch+json"}
        return self._answer(self._http.patch(path, json=body, headers=headers))

    def delete(self, path: str) -> None:
        """Delete what is there, if it is."""
        response = self._http.delete(path)
        assert response.is_success or response.status_code == 404, response.text

    def delete_all(self, path: str) -> None:
        """Delete a collection, as kubectl does: one that is large is given up after a minute, and asked again.

        The API server says so, or cuts the connection.
        """
        while True:
            with suppress(httpx.RemoteProtocolError):
                response = self._http.delete(path, timeout=300.0)
                if response.status_code != 504:
                    break
        self._answer(response)

    def workload(self, namespace: str, name: str) -> Json | None:
        """One Workload; None if there is none."""
        found = self.find(f"{WORKLOADS}/namespaces/{namespace}/workloads/{name}")
        if found is not None:
            check_status(found["status"])
        return found

    def workloads(self, namespace: str) -> list[Json]:
        """All Workloads of a namespace."""
        found = self.items(f"{WORKLOADS}/namespaces/{namespace}/workloads")
        for workload in found:
            check_status(workload["status"])
        return found

    def everything(self) -> Iterator[Json]:
        """Every object of every kind that can be listed, in all namespaces, each with its `kind`."""
        for path, kind in self._collections():
            for item in self.items(path):
                yield {**item, "kind": kind}

    def _collections(self) -> Iterator[tuple[str, str]]:
        groups = self.get("/apis")["groups"]
        for prefix in ["/api/v1", *(f"/apis/{group['preferredVersion']['groupVersion']}" for group in groups)]:
            for resource in self.get(prefix)["resources"]:
                if "list" in resource["verbs"]:
                    yield f"{prefix}/{resource['name']}", resource["kind"]

    def _answer(self, response: httpx.Response) -> Json:
        assert response.is_success, f"{response.request.method} {response.url.path}: {response.text}"
        answer: Json = response.json()
        return answer


def _token(cluster: Cluster) -> str:
    """A token of a ServiceAccount that may do everything: it works in any cluster, however its admin logs in."""
    made = cluster.kubectl("create", "serviceaccount", _OBSERVER, "-n", "default", check=False)
    if made.returncode == 0:
        subject = f"--serviceaccount=default:{_OBSERVER}"
        cluster.kubectl("create", "clusterrolebinding", _OBSERVER, "--clusterrole=cluster-admin", subject)
    return cluster.kubectl("create", "token", _OBSERVER, "-n", "default", "--duration=48h").stdout.strip()
