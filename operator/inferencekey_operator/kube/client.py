"""What the operator reads and writes in Kubernetes, beside what kopf watches for it.

Every write names its field manager. Decides nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from datetime import datetime
from typing import Any, NoReturn
from urllib.parse import quote

from inferencekey_operator.api.workload import FINALIZER, GROUP, PLURAL, VERSION, Workload
from inferencekey_operator.kube import login
from inferencekey_operator.kube.authentication import Authentication
from inferencekey_operator.kube.errors import ClusterError
from inferencekey_operator.kube.reading import Body, version_of
from inferencekey_operator.kube.transport import Transport
from inferencekey_operator.network.proxies import Proxies

MANAGER = "inferencekey-operator"
STATUS_MANAGER = "inferencekey-operator-status"
MERGE = "application/merge-patch+json"
METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


class Cluster(Transport):
    """The resources of the operator, by what is done with them."""

    @classmethod
    async def connect(cls, proxies: Proxies | None = None) -> Cluster:
        """The cluster of the current kubeconfig or, where there is none, the one this process runs in."""
        found, source = await login.first()
        return cls(found.configuration, proxies, Authentication(found, source))

    # -- Workloads ---------------------------------------------------------------------------------------------------

    async def find_workloads(self, namespaces: tuple[str, ...]) -> None:
        """Raises ClusterError where Workloads, of these namespaces or of the cluster, cannot be listed."""
        for path in collection_paths(f"/apis/{GROUP}/{VERSION}", PLURAL, namespaces):
            await self.request("GET", path, limit="1")

    async def workloads(
        self,
        namespaces: tuple[str, ...],
        newest: int = 0,
        known: Callable[[Body], int] = lambda item: 0,
        *,
        accept: str = "application/json",
    ) -> AsyncIterator[Body]:
        """Every Workload, of these namespaces or of the cluster; `accept` may ask for metadata alone.

        `newest` is a resourceVersion that was seen before, and `known` tells that of an object as last seen, or 0: a
        list that is older, or shows an older object though it is newer itself, is of a former time.
        """
        for path in collection_paths(f"/apis/{GROUP}/{VERSION}", PLURAL, namespaces):
            async for page in self.pages(path, accept=accept):
                reached = version_of(page)
                if reached < newest:
                    self._refuse_the_past()
                for item in page["items"]:
                    if version_of(item) < known(item) <= reached:
                        self._refuse_the_past()
                    yield item

    def _refuse_the_past(self) -> NoReturn:
        self.went_back.set()
        raise ClusterError(0, "the list of Workloads is older than what was seen before")

    async def write_finalizers(self, workload: Workload, finalizers: tuple[str, ...]) -> Body:
        """Set the finalizers, unless the object moved on meanwhile."""
        body = {"metadata": {**_precondition(workload), "finalizers": list(finalizers)}}
        path = _workload_path(workload.namespace, workload.name)
        return await self.request("PATCH", path, body=body, content_type=MERGE, fieldManager=MANAGER)

    async def add_finalizer(self, workload: Workload) -> Body:
        """Ours, beside what is there."""
        return await self.write_finalizers(workload, (*workload.finalizers, FINALIZER))

    async def remove_finalizer(self, workload: Workload) -> Body:
        """Ours; the others stay."""
        left = tuple(name for name in workload.finalizers if name != FINALIZER)
        return await self.write_finalizers(workload, left)

    async def patch_status(self, workload: Workload, patch: Body) -> Body:
        """One merge patch of the status, unless the object moved on meanwhile or is another one by now."""
        path = _workload_path(workload.namespace, workload.name) + "/status"
        body = {"metadata": _precondition(workload), "status": patch}
        return await self.request("PATCH", path, body=body, content_type=MERGE, fieldManager=STATUS_MANAGER)

    # -- ConfigMaps --------------------------------------------------------------------------------------------------

    async def config_map(self, namespace: str, name: str) -> Body:
        """One ConfigMap."""
        return await self.request("GET", _config_map_path(namespace, name))

    async def create_config_map(self, body: Body) -> Body:
        """A new one; a conflict where that name is taken."""
        path = f"/api/v1/namespaces/{quote(body['metadata']['namespace'])}/configmaps"
        return await self.request("POST", path, body=body, fieldManager=MANAGER)

    async def patch_config_map(self, namespace: str, name: str, patch: Body) -> Body:
        """A merge patch; its metadata carries the resourceVersion it was made from."""
        path = _config_map_path(namespace, name)
        return await self.request("PATCH", path, body=patch, content_type=MERGE, fieldManager=MANAGER)

    async def delete_config_map(self, namespace: str, name: str, uid: str, resource_version: str) -> Body:
        """Delete this very one, as it stands; the answer is the object where finalizers hold it."""
        body = {"preconditions": {"uid": uid, "resourceVersion": resource_version}}
        return await self.request("DELETE", _config_map_path(namespace, name), body=body)

    # -- Events ------------------------------------------------------------------------------------------------------

    async def create_event(self, namespace: str, body: Body) -> Body:
        """A new Event."""
        path = f"/apis/events.k8s.io/v1/namespaces/{quote(namespace)}/events"
        return await self.request("POST", path, body=body, fieldManager=MANAGER)

    async def fold_event(self, namespace: str, name: str, series: Mapping[str, Any]) -> Body:
        """Count another occurrence of an Event that stands."""
        path = f"/apis/events.k8s.io/v1/namespaces/{quote(namespace)}/events/{quote(name)}"
        return await self.request(
            "PATCH", path, body={"series": dict(series)}, content_type=MERGE, fieldManager=MANAGER
        )

    async def namespace(self, name: str) -> Body:
        """One Namespace."""
        return await self.request("GET", f"/api/v1/namespaces/{quote(name)}")


def collection_paths(prefix: str, plural: str, namespaces: tuple[str, ...]) -> tuple[str, ...]:
    """The collection of the whole cluster, or one for each namespace."""
    if not namespaces:
        return (f"{prefix}/{plural}",)
    return tuple(f"{prefix}/namespaces/{quote(namespace)}/{plural}" for namespace in namespaces)


def micro_time(moment: datetime) -> str:
    """RFC 3339 with microseconds, as Events and Leases want it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _workload_path(namespace: str, name: str) -> str:
    return f"/apis/{GROUP}/{VERSION}/namespaces/{quote(namespace)}/{PLURAL}/{quote(name)}"


def _config_map_path(namespace: str, name: str) -> str:
    return f"/api/v1/namespaces/{quote(namespace)}/configmaps/{quote(name)}"


def _precondition(workload: Workload) -> Body:
    return {"resourceVersion": workload.resource_version, "uid": workload.uid}
