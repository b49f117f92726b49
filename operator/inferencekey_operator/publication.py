"""Keeps the endpoint ConfigMap of a Workload as it should be, and touches none that is not ours.

Ours is what has a controller reference with the Workload's uid. What stands is known from a watch, so that a look
costs no read; what differs is restored with one write.
"""

from __future__ import annotations

from inferencekey_operator import endpoint
from inferencekey_operator.cluster import Body, Cluster, ClusterError
from inferencekey_operator.errors import ConfigurationError, OperatorError, Reason
from inferencekey_operator.inferencekey.wire import LiveWorkload
from inferencekey_operator.keys import Key
from inferencekey_operator.plan import Identity
from inferencekey_operator.watches import ConfigMaps, OwnConfigMap, own_config_map
from inferencekey_operator.workload import Workload

LEFTOVER = 2.0
"""Seconds until the garbage collector may be through."""


class Publication:
    """The endpoint ConfigMaps of all Workloads."""

    def __init__(self, cluster: Cluster, known: list[ConfigMaps]) -> None:
        self._cluster, self._known = cluster, known

    async def publish(self, workload: Workload, identity: Identity, live: LiveWorkload) -> None:
        """The ConfigMap says where `workload` is reached; the one of a former name goes.

        Raises ConfigurationError where the name is taken by somebody else's, OperatorError where it is still that of a
        former Workload of this name, ClusterError where a write fails.
        """
        wanted = endpoint.config_map(workload, endpoint.data(identity, live, workload.spec.task_type))
        await self._write(workload, wanted)
        former = workload.status.endpoint.config_map_name
        if former and former != wanted["metadata"]["name"]:
            await self._remove(workload, former)

    async def _write(self, workload: Workload, wanted: Body) -> None:
        key = Key(workload.namespace, wanted["metadata"]["name"])
        standing = self._standing(key)
        if standing is None:
            standing = await self._create(workload, key, wanted)
        if standing.owner != workload.uid:
            raise _leftover(workload, key) if standing.workload == workload.name else _conflict(workload, key)
        if standing.data != wanted["data"] or not standing.tidy:
            await self._restore(key, standing, wanted)

    async def _create(self, workload: Workload, key: Key, wanted: Body) -> OwnConfigMap:
        """The new one, or the one that has its name already and does not carry our label."""
        try:
            return self._written(key, await self._cluster.create_config_map(wanted))
        except ClusterError as error:
            if not error.conflict:
                raise
            taken = error
        try:
            return own_config_map(await self._cluster.config_map(*key))
        except ClusterError as error:
            raise taken if error.gone else error from None

    async def _restore(self, key: Key, standing: OwnConfigMap, wanted: Body) -> None:
        """What went meanwhile is another conflict: it is made anew at the next look."""
        try:
            self._written(key, await self._cluster.patch_config_map(*key, _restoration(standing, wanted)))
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
        try:
            await self._cluster.delete_config_map(*key, standing.uid)
        except ClusterError as error:
            if not error.gone:
                raise
        self._drop(key)

    def _drop(self, key: Key) -> None:
        for known in self._known:
            known.drop(key)

    def _standing(self, key: Key) -> OwnConfigMap | None:
        return next((found for known in self._known if (found := known.get(key)) is not None), None)

    def _written(self, key: Key, body: Body) -> OwnConfigMap:
        """What stands after a write of ours; another conflict where it went before we were answered."""
        standing = next(known for known in self._known if known.covers(key.namespace)).written(body)
        if standing is None:
            raise _went(key)
        return standing


def _restoration(standing: OwnConfigMap, wanted: Body) -> Body:
    extra: dict[str, str | None] = dict.fromkeys(set(standing.data) - set(wanted["data"]))
    return {
        "metadata": {
            "uid": standing.uid,
            "resourceVersion": standing.resource_version,
            "labels": wanted["metadata"]["labels"],
        },
        "data": {**extra, **wanted["data"]},
        "binaryData": None,
    }


def _went(key: Key) -> ClusterError:
    return ClusterError(409, f"ConfigMap {key} went meanwhile")


def _leftover(workload: Workload, key: Key) -> OperatorError:
    """Deleted and created again at once, a Workload finds its predecessor's: no conflict that a person must end."""
    return OperatorError(
        Reason.PROGRESSING,
        f"ConfigMap {key.name} is still that of the former Workload {workload.name}, and goes with it. Should it stay: "
        f"kubectl delete configmap {key.name} -n {key.namespace}",
        retry_after=LEFTOVER,
    )


def _conflict(workload: Workload, key: Key) -> ConfigurationError:
    return ConfigurationError(
        Reason.CONFIG_MAP_CONFLICT,
        f"ConfigMap {key.name} exists and does not belong to this Workload; it was not touched. Remove it "
        f"(kubectl delete configmap {key.name} -n {key.namespace}), or set spec.endpoint.configMapName.",
    )
