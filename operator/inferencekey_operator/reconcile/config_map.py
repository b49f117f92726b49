"""Keeps the endpoint ConfigMap of a Workload as it should be, and touches none that is not ours.

Ours is what has a controller reference with the Workload's uid; or what carries our label and the data of this very
workload, and has no owner any more. What stands is known from a watch, so that a look costs no read; what differs is
restored with one write, or made anew where it is immutable.
"""

from __future__ import annotations

import re

from inferencekey_operator.api.keys import Key
from inferencekey_operator.api.workload import Workload
from inferencekey_operator.cache.informers import ConfigMaps, OwnConfigMap, own_config_map
from inferencekey_operator.errors import ConfigurationError, OperatorError, Reason
from inferencekey_operator.inferencekey.wire import LiveWorkload
from inferencekey_operator.kube.client import Cluster
from inferencekey_operator.kube.errors import ClusterError
from inferencekey_operator.kube.reading import Body
from inferencekey_operator.plan import endpoint
from inferencekey_operator.plan.conditions import condition
from inferencekey_operator.plan.plan import Identity
from inferencekey_operator.redaction import excerpt, within_bytes

LEFTOVER = 2.0
"""Seconds until the garbage collector may be through."""
_MOST_QUOTED = 320
"""Bytes of the API server's own words."""
_COUNTED = re.compile(r"[0-9a-f-]*[0-9][0-9a-f-]*")


class Publication:
    """The endpoint ConfigMaps of all Workloads."""

    def __init__(self, cluster: Cluster, known: list[ConfigMaps]) -> None:
        self._cluster, self._known = cluster, known

    async def publish(self, workload: Workload, identity: Identity, live: LiveWorkload) -> None:
        """The ConfigMap says where `workload` is reached; the one of a former name goes.

        Raises ConfigurationError where the name is taken by somebody else's, OperatorError where it is still that of a
        former Workload of this name or the API server refuses a write for good, ClusterError where one fails.
        """
        wanted = endpoint.config_map(workload, endpoint.data(identity, live, workload.spec.task_type))
        name, former = wanted["metadata"]["name"], workload.status.endpoint.config_map_name
        try:
            await self._write(workload, identity, wanted)
            if former and former != name:
                name = former
                await self._remove(workload, former)
        except ClusterError as error:
            raise _refused(workload, name, error) if error.refused else error from None

    async def _write(self, workload: Workload, identity: Identity, wanted: Body) -> None:
        key = Key(workload.namespace, wanted["metadata"]["name"])
        standing = self._standing(key)
        if standing is None:
            standing = await self._create(workload, key, wanted)
        owned = standing.owner == workload.uid
        if not owned and not (standing.free and endpoint.names(standing.data, identity)):
            raise _leftover(workload, key) if standing.workload == workload.name else _conflict(workload, key)
        if owned and standing.data == wanted["data"] and standing.tidy:
            return
        if standing.immutable:
            await self._make_anew(workload, key, standing, wanted)
        else:
            await self._restore(key, standing, wanted, owned=owned)

    async def _make_anew(self, workload: Workload, key: Key, standing: OwnConfigMap, wanted: Body) -> None:
        """Nobody can change the data of an immutable one."""
        if not await self._delete(key, standing):
            raise _held(workload, key)
        await self._create_anew(key, wanted)

    async def _create(self, workload: Workload, key: Key, wanted: Body) -> OwnConfigMap:
        """The new one, or the one that has its name already and does not carry our label."""
        try:
            return await self._create_anew(key, wanted)
        except ClusterError as error:
            if not error.conflict:
                raise
            taken = error
        try:
            return own_config_map(await self._cluster.config_map(*key))
        except ClusterError as error:
            raise taken if error.gone else error from None

    async def _create_anew(self, key: Key, wanted: Body) -> OwnConfigMap:
        with self._informer(key).writing(key, wanted["data"]):
            return self._written(key, await self._cluster.create_config_map(wanted))

    async def _restore(self, key: Key, standing: OwnConfigMap, wanted: Body, *, owned: bool) -> None:
        """What went meanwhile is another conflict: it is made anew at the next look."""
        restoration = _restoration(standing, wanted, owned=owned)
        try:
            with self._informer(key).writing(key, wanted["data"]):
                self._written(key, await self._cluster.patch_config_map(*key, restoration))
        except ClusterError as error:
            if not error.gone:
                raise
            self._drop(key)
            raise _went(key) from error

    async def _remove(self, workload: Workload, name: str) -> None:
        key = Key(workload.namespace, name)
        standing = self._standing(key)
        if standing is None or standing.owner != workload.uid:
            return
        await self._delete(key, standing)

    async def _delete(self, key: Key, standing: OwnConfigMap) -> bool:
        """Whether it is gone; False where a finalizer holds it."""
        try:
            left = await self._cluster.delete_config_map(*key, standing.uid, standing.resource_version)
        except ClusterError as error:
            if not error.gone:
                raise
            left = {}
        self._drop(key)
        return not (left.get("metadata") or {}).get("finalizers")

    def _drop(self, key: Key) -> None:
        for known in self._known:
            known.drop(key)

    def _standing(self, key: Key) -> OwnConfigMap | None:
        return next((found for known in self._known if (found := known.get(key)) is not None), None)

    def _written(self, key: Key, body: Body) -> OwnConfigMap:
        """What stands after a write of ours; another conflict where it went before we were answered."""
        standing = self._informer(key).written(body)
        if standing is None:
            raise _went(key)
        return standing

    def _informer(self, key: Key) -> ConfigMaps:
        return next(known for known in self._known if known.covers(key.namespace))


def _restoration(standing: OwnConfigMap, wanted: Body, *, owned: bool) -> Body:
    extra: dict[str, str | None] = dict.fromkeys(set(standing.data) - set(wanted["data"]))
    owners = {} if owned else {"ownerReferences": wanted["metadata"]["ownerReferences"]}
    return {
        "metadata": {
            "uid": standing.uid,
            "resourceVersion": standing.resource_version,
            "labels": wanted["metadata"]["labels"],
            **owners,
        },
        "data": {**extra, **wanted["data"]},
        "binaryData": None,
    }


def _went(key: Key) -> ClusterError:
    return ClusterError(409, f"ConfigMap {key} went meanwhile")


def _refused(workload: Workload, name: str, error: ClusterError) -> OperatorError:
    """What the API server said is said again in other words only where it differs by more than a number."""
    said = within_bytes(excerpt(str(error), _MOST_QUOTED), _MOST_QUOTED)
    message = (
        f'The API server refused ConfigMap {name}, which tells applications the endpoint: "{said}". Change what '
        "refuses it, such as a quota or an admission policy. The operator retries automatically. To see quotas, run: "
        f"kubectl describe resourcequota -n {workload.namespace}"
    )
    ready = condition(workload.status, "Ready")
    if ready is not None and _COUNTED.sub("", ready.message) == _COUNTED.sub("", message):
        message = ready.message
    return OperatorError(Reason.CONFIG_MAP_REFUSED, message, retry_after=error.retry_after)


def _held(workload: Workload, key: Key) -> OperatorError:
    return OperatorError(
        Reason.CONFIG_MAP_REFUSED,
        f"ConfigMap {key.name} is immutable and does not hold this Workload's endpoint. The operator deleted it to "
        "create it again, and a finalizer holds it. Do not use it meanwhile. To see the finalizer, run: "
        f"kubectl get configmap {key.name} -n {key.namespace} -o yaml",
    )


def _leftover(workload: Workload, key: Key) -> OperatorError:
    """Deleted and created again at once, a Workload finds its predecessor's: no conflict that a person must end."""
    return OperatorError(
        Reason.PROGRESSING,
        f"ConfigMap {key.name} still belongs to the former Workload {workload.name}, and is deleted "
        "with it. If it stays, run: "
        f"kubectl delete configmap {key.name} -n {key.namespace}",
        retry_after=LEFTOVER,
    )


def _conflict(workload: Workload, key: Key) -> ConfigurationError:
    return ConfigurationError(
        Reason.CONFIG_MAP_CONFLICT,
        f"ConfigMap {key.name} exists and does not belong to this Workload; it was not touched. Remove it "
        f"(kubectl delete configmap {key.name} -n {key.namespace}), or set spec.endpoint.configMapName.",
    )
