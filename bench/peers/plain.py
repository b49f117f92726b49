"""What a team writes in a day: kopf's handlers with default settings around the official SDK's ensure().

`kopf run -A bench/peers/plain.py`, with the SDK's own variables in the environment. It is for one team, and honest
work: each handler does what kopf's documentation shows, the timer does not run beside the creation, and a condition
keeps its time while it stands.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

import kopf
import kubernetes
from inferencekey import EndpointRef, ManagementClient, WorkloadSpec

WORKLOADS = ("inferencekey.com", "v1alpha1", "workloads")
CHECK_SECONDS = float(os.environ.get("CHECK_SECONDS", "30"))

platform = ManagementClient.from_env()


@kopf.on.startup()
def log_in(**_: Any) -> None:
    """The ConfigMaps are written with the official client."""
    kubernetes.config.load_kube_config()  # type: ignore[no-untyped-call]


@kopf.on.create(*WORKLOADS)
@kopf.on.update(*WORKLOADS)
@kopf.on.resume(*WORKLOADS)
def ensure(name: str, namespace: str | None, spec: kopf.Spec, body: kopf.Body, patch: kopf.Patch, **_: Any) -> None:
    """The platform is as declared, applications find the endpoint, and the status says so."""
    endpoint = platform.ensure(declared(name, spec))
    publish(name, namespace, body, endpoint)
    report(body, patch, endpoint)


@kopf.timer(*WORKLOADS, interval=CHECK_SECONDS, initial_delay=CHECK_SECONDS)
def check(name: str, spec: kopf.Spec, body: kopf.Body, patch: kopf.Patch, **_: Any) -> None:
    """What was changed in the dashboard is repaired."""
    report(body, patch, platform.ensure(declared(name, spec)))


@kopf.on.delete(*WORKLOADS)
def delete(name: str, spec: kopf.Spec, **_: Any) -> None:
    """It goes with its Workload."""
    platform.delete(spec.get("slug", name))


def declared(name: str, spec: kopf.Spec) -> WorkloadSpec:
    """The spec, as the SDK takes it."""
    return WorkloadSpec(
        name=spec.get("name", name), slug=spec.get("slug", name), model=spec["model"], backend=spec["backend"]
    )


def publish(name: str, namespace: str | None, body: kopf.Body, endpoint: EndpointRef) -> None:
    """The ConfigMap that applications read."""
    url = os.environ["INFERENCEKEY_BASE_URL"]
    path = f"{endpoint.project_slug}/{endpoint.workload_slug}"
    data = {
        "INFERENCEKEY_BASE_URL": url,
        "INFERENCEKEY_PROJECT": endpoint.project_slug,
        "INFERENCEKEY_WORKLOAD": endpoint.workload_slug,
        "INFERENCEKEY_ENDPOINT_URL": f"{url}/endpoint/{path}",
        "OPENAI_BASE_URL": f"{url}/endpoint/{path}/v1",
        "OPENAI_MODEL": body["spec"]["model"],
    }
    meta = kubernetes.client.V1ObjectMeta(name=f"{name}-endpoint")
    config_map = kubernetes.client.V1ConfigMap(metadata=meta, data=data)
    kopf.append_owner_reference(config_map, owner=body)
    try:
        kubernetes.client.CoreV1Api().create_namespaced_config_map(str(namespace), config_map)
    except kubernetes.client.ApiException as error:
        if error.status != 409:
            raise


def report(body: kopf.Body, patch: kopf.Patch, endpoint: EndpointRef) -> None:
    """Ready, and where."""
    standing = [each for each in body.status.get("conditions", ()) if each["status"] == "True"]
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "Ready",
        "message": "The workload is as declared.",
        "lastTransitionTime": standing[0]["lastTransitionTime"] if standing else now,
        "observedGeneration": body.metadata["generation"],
    }
    patch.status["conditions"] = [ready]
    patch.status["observedGeneration"] = body.metadata["generation"]
    patch.status["endpoint"] = {"configMapName": f"{body.metadata['name']}-endpoint"}
