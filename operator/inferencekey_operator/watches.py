"""The small watches beside kopf's: Secrets by name, our own ConfigMaps by label, Namespaces without their contents.

Each keeps just what is needed in memory and says whose Workloads to look at. Secrets are listed and watched one name
at a time, which RBAC's `resourceNames` can grant: no other Secret of the cluster is ever readable.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from inferencekey_operator.cluster import METADATA_ONLY, Body, Cluster, collection_paths
from inferencekey_operator.endpoint import SELECTOR
from inferencekey_operator.keys import Key
from inferencekey_operator.reflector import Reflector
from inferencekey_operator.store import key_of
from inferencekey_operator.workload import KIND, ON_DRIFT


class Secrets:
    """The Secrets that may be read, and the last tokens that were good."""

    def __init__(self, changed: Callable[[Key], None]) -> None:
        self._changed = changed
        self._data: dict[Key, dict[str, str]] = {}
        self._good: dict[tuple[Key, str, str], Mapping[str, str]] = {}

    def get(self, namespace: str, name: str) -> Mapping[str, str] | None:
        """The Secret's texts by key; None where there is no such Secret."""
        return self._data.get(Key(namespace, name))

    def keep(self, namespace: str, name: str, key: str, project: str, data: Mapping[str, str] | None) -> None:
        """The platform accepted what was under `key` of `data` for `project`: it may still serve a deletion later."""
        if data is not None:
            self._good[Key(namespace, name), key, project] = data

    def last_good(self, namespace: str, name: str, key: str, project: str) -> Mapping[str, str] | None:
        """What the platform last accepted for `project` out of this very Secret and key."""
        return self._good.get((Key(namespace, name), key, project))

    def reflectors(self, cluster: Cluster, names: Iterable[str], namespaces: tuple[str, ...]) -> list[Reflector]:
        """One watch per name and namespace."""
        paths = collection_paths("/api/v1", "secrets", namespaces)
        return [_SecretReflector(self, cluster, path, name) for name in names for path in paths]

    def put(self, body: Body) -> None:
        """A Secret as it stands."""
        key, data = key_of(body), _texts(body)
        if self._data.get(key) != data:
            self._data[key] = data
            self._changed(key)

    def drop(self, key: Key) -> None:
        """A Secret that went."""
        if self._data.pop(key, None) is not None:
            self._changed(key)

    def replace(self, bodies: list[Body], belongs: Callable[[Key], bool]) -> None:
        """The whole of what one watch sees."""
        present = {key_of(body) for body in bodies}
        for key in [key for key in self._data if belongs(key) and key not in present]:
            self.drop(key)
        for body in bodies:
            self.put(body)


class _SecretReflector(Reflector):
    def __init__(self, secrets: Secrets, cluster: Cluster, path: str, name: str) -> None:
        super().__init__(cluster, path, fieldSelector=f"metadata.name={name}")
        self._secrets, self._name = secrets, name
        self._namespace = _namespace(path)

    async def replaced(self, items: list[Body]) -> None:
        self._secrets.replace(items, self._belongs)

    async def changed(self, item: Body) -> None:
        self._secrets.put(item)

    async def deleted(self, item: Body) -> None:
        self._secrets.drop(key_of(item))

    def _belongs(self, key: Key) -> bool:
        return key.name == self._name and self._namespace in (None, key.namespace)


@dataclass(frozen=True, slots=True)
class OwnConfigMap:
    """What is kept of a ConfigMap that carries our label."""

    uid: str
    resource_version: str
    owner: str | None
    """The uid of its controller."""
    workload: str | None
    """The name of its controller, where that is a Workload."""
    data: Mapping[str, str]
    tidy: bool
    """Whether it has nothing that we did not put there: no binary data, our label."""


class ConfigMaps(Reflector):
    """Our ConfigMaps, so that an edited one is restored without a read per look."""

    def __init__(self, cluster: Cluster, path: str, changed: Callable[[str], None]) -> None:
        super().__init__(cluster, path, labelSelector=SELECTOR)
        self._changed = changed
        self._namespace = _namespace(path)
        self._known: dict[Key, OwnConfigMap] = {}

    def covers(self, namespace: str) -> bool:
        """Whether this watch sees that namespace."""
        return self._namespace in (None, namespace)

    def get(self, key: Key) -> OwnConfigMap | None:
        """The ConfigMap of this name, if it carries our label."""
        return self._known.get(key)

    def written(self, body: Body) -> OwnConfigMap | None:
        """What stands since our own write was answered: the answer, unless the watch told already what came after."""
        if not self.has_told(body["metadata"]["resourceVersion"]):
            self._known[key_of(body)] = own_config_map(body)
        return self._known.get(key_of(body))

    def drop(self, key: Key) -> None:
        """A ConfigMap that went."""
        self._known.pop(key, None)

    async def replaced(self, items: list[Body]) -> None:
        present = {key_of(item) for item in items}
        for key in [key for key in self._known if key not in present]:
            self._tell(self._known.pop(key))
        for item in items:
            await self.changed(item)

    async def changed(self, item: Body) -> None:
        old = self._known.get(key_of(item))
        if old is not None and _older(item, old):
            return
        new = self._known[key_of(item)] = own_config_map(item)
        if old is None or (old.data, old.owner, old.tidy) != (new.data, new.owner, new.tidy):
            self._tell(new, old)

    async def deleted(self, item: Body) -> None:
        old = self._known.pop(key_of(item), None)
        if old is not None:
            self._tell(old)

    def _tell(self, *states: OwnConfigMap | None) -> None:
        for owner in {state.owner for state in states if state is not None and state.owner is not None}:
            self._changed(owner)


class Namespaces(Reflector):
    """The drift policy that a Namespace states for its Workloads. Metadata alone is read."""

    def __init__(self, cluster: Cluster, changed: Callable[[str], None]) -> None:
        super().__init__(cluster, "/api/v1/namespaces", accept=METADATA_ONLY)
        self._changed = changed
        self.policies: dict[str, str] = {}

    async def replaced(self, items: list[Body]) -> None:
        present = {item["metadata"]["name"] for item in items}
        for name in [name for name in self.policies if name not in present]:
            self._set(name, None)
        for item in items:
            await self.changed(item)

    async def changed(self, item: Body) -> None:
        self.observe(item)

    async def deleted(self, item: Body) -> None:
        self.policies.pop(item["metadata"]["name"], None)

    def observe(self, item: Body) -> None:
        """A Namespace as it stands."""
        self._set(item["metadata"]["name"], (item["metadata"].get("annotations") or {}).get(ON_DRIFT))

    def _set(self, name: str, policy: str | None) -> None:
        if self.policies.get(name) == policy:
            return
        if policy is None:
            del self.policies[name]
        else:
            self.policies[name] = policy
        self._changed(name)


def own_config_map(body: Body) -> OwnConfigMap:
    """What is kept of a ConfigMap."""
    metadata = body["metadata"]
    owners = metadata.get("ownerReferences") or ()
    controller = next((owner for owner in owners if owner.get("controller")), {"uid": None, "kind": None})
    label, value = SELECTOR.split("=")
    return OwnConfigMap(
        uid=metadata["uid"],
        resource_version=metadata["resourceVersion"],
        owner=controller["uid"],
        workload=controller["name"] if controller["kind"] == KIND else None,
        data=body.get("data") or {},
        tidy=not body.get("binaryData") and (metadata.get("labels") or {}).get(label) == value,
    )


def _older(item: Body, known: OwnConfigMap) -> bool:
    try:
        return item["metadata"]["uid"] == known.uid and int(item["metadata"]["resourceVersion"]) <= int(
            known.resource_version
        )
    except ValueError:
        return False


def _namespace(path: str) -> str | None:
    """The namespace that a collection is of; None where it is of the whole cluster."""
    parts = path.split("/")
    return parts[parts.index("namespaces") + 1] if "namespaces" in parts else None


def _texts(body: Body) -> dict[str, str]:
    """The Secret's values as text; what is no text is as good as empty."""
    texts = {}
    for key, value in (body.get("data") or {}).items():
        try:
            texts[key] = base64.b64decode(value or "", validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            texts[key] = ""
    return texts
