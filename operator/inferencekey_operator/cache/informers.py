"""The small watches beside kopf's: Secrets by name, our own ConfigMaps by label, Namespaces without their contents.

Each keeps just what is needed in memory and says whose Workloads to look at. Secrets are listed and watched one name
at a time, which RBAC's `resourceNames` can grant: no other Secret of the cluster is ever readable.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice

from inferencekey_operator.api.keys import Key
from inferencekey_operator.api.workload import KIND, ON_DRIFT
from inferencekey_operator.cache.workloads import key_of
from inferencekey_operator.kube.client import METADATA_ONLY, Cluster, collection_paths
from inferencekey_operator.kube.reading import Body
from inferencekey_operator.kube.reflector import Reflector
from inferencekey_operator.plan.credentials import BASE_URL_KEY, LONGEST_VALUE, PROJECT_KEY, TOKEN_KEY, TOO_LONG
from inferencekey_operator.plan.endpoint import KEYS, SELECTOR

MOST_OF_A_SECRET = 4 * 1024
"""Characters of a Secret's keys and base64 that are kept: it may have a million others, for somebody else."""
LONGEST_VALUE_OF_OURS = 4 * 1024
MOST_ADDED_KEYS = 64
"""What is kept of a ConfigMap that has our label, which anybody may give to one of a megabyte: of further keys the next
ones are removed with the next restoration."""
_MOST_ENCODED = 4 * -(-LONGEST_VALUE // 3)
_MARKED = base64.b64encode(TOO_LONG.encode()).decode()
_USUAL = frozenset({TOKEN_KEY, PROJECT_KEY, BASE_URL_KEY})
_TOKENS_BEGINNING = base64.b64encode(b"ik_").decode()


class Secrets:
    """The Secrets that may be read, and the last tokens that were good, as long as somebody uses them."""

    def __init__(self, changed: Callable[[Key], None]) -> None:
        self._changed = changed
        self._data: dict[Key, dict[str, str]] = {}
        self._good: dict[_Use, Mapping[str, str]] = {}
        self._users: dict[_Use, set[Key]] = {}
        self._uses: dict[Key, set[_Use]] = {}

    def get(self, namespace: str, name: str) -> Mapping[str, str] | None:
        """The Secret's texts by key; None where there is no such Secret."""
        return self._data.get(Key(namespace, name))

    def keep(self, user: Key, name: str, key: str, project: str, data: Mapping[str, str] | None) -> None:
        """The platform accepted what was under `key` of `data` for `project`: it may still serve a deletion of `user`,
        a Workload in the same namespace, later.
        """
        if data is not None:
            use = Key(user.namespace, name), key, project
            self._good[use] = {each: data[each] for each in (key, PROJECT_KEY, BASE_URL_KEY) if each in data}
            self._users.setdefault(use, set()).add(user)
            self._uses.setdefault(user, set()).add(use)

    def release(self, user: Key) -> None:
        """A Workload is gone for good: what nobody else uses is forgotten."""
        for use in self._uses.pop(user, ()):
            self._users[use].discard(user)
            if not self._users[use]:
                del self._users[use], self._good[use]

    def last_good(self, namespace: str, name: str, key: str, project: str) -> Mapping[str, str] | None:
        """What the platform last accepted for `project` out of this very Secret and key."""
        return self._good.get((Key(namespace, name), key, project))

    def reflectors(self, cluster: Cluster, names: Iterable[str], namespaces: tuple[str, ...]) -> list[Reflector]:
        """One watch per name and namespace."""
        paths = collection_paths("/api/v1", "secrets", namespaces)
        return [_SecretReflector(self, cluster, path, name) for name in names for path in paths]

    def put(self, body: Body) -> None:
        """A Secret as it stands."""
        key, data = key_of(body), _texts(in_use(body))
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

    def kept(self, item: Body) -> Body:
        return in_use(item)

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
    immutable: bool = False
    """Whether its data cannot be changed any more."""
    free: bool = False
    """Whether it carries our label, and nobody owns it: its owner was deleted without it, or hands removed that."""


_Use = tuple[Key, str, str]
"""A Secret, its key, and the project that it is used for."""


class ConfigMaps(Reflector):
    """Our ConfigMaps, so that an edited one is restored without a read per look."""

    def __init__(self, cluster: Cluster, path: str, changed: Callable[[str], None]) -> None:
        super().__init__(cluster, path, labelSelector=SELECTOR)
        self._changed = changed
        self._namespace = _namespace(path)
        self._known: dict[Key, OwnConfigMap] = {}
        self._underway: dict[Key, Mapping[str, str]] = {}
        """The data of our own write that is not answered yet; it is not a change by someone else."""

    def covers(self, namespace: str) -> bool:
        """Whether this watch sees that namespace."""
        return self._namespace in (None, namespace)

    def get(self, key: Key) -> OwnConfigMap | None:
        """The ConfigMap of this name, if it carries our label."""
        return self._known.get(key)

    @contextmanager
    def writing(self, key: Key, data: Mapping[str, str]) -> Iterator[None]:
        """While it lasts, a write of ours puts `data` there, and the watch may show it before it is answered."""
        self._underway[key] = data
        try:
            yield
        finally:
            self._underway.pop(key, None)

    def written(self, body: Body) -> OwnConfigMap | None:
        """What stands since our own write was answered: the answer, unless the watch told already what came after."""
        if not self.has_told(body["metadata"]["resourceVersion"]):
            self._known[key_of(body)] = own_config_map(body)
        return self._known.get(key_of(body))

    def drop(self, key: Key) -> None:
        """A ConfigMap that went."""
        self._known.pop(key, None)

    def kept(self, item: Body) -> Body:
        return {**item, "data": _bounded(item.get("data") or {}), "binaryData": bool(item.get("binaryData"))}

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
        key = key_of(item)
        new = self._known[key] = own_config_map(item)
        ours = new.tidy and new.data == self._underway.get(key) and (old is None or old.owner == new.owner)
        if not ours and (old is None or replace(old, resource_version=new.resource_version) != new):
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
    labelled = (metadata.get("labels") or {}).get(label) == value
    return OwnConfigMap(
        uid=metadata["uid"],
        resource_version=metadata["resourceVersion"],
        owner=controller["uid"],
        workload=controller["name"] if controller["kind"] == KIND else None,
        data=_bounded(body.get("data") or {}),
        tidy=not body.get("binaryData") and labelled,
        immutable=body.get("immutable") is True,
        free=labelled and not owners,
    )


def _bounded(data: Mapping[str, str]) -> dict[str, str]:
    """What of a ConfigMap's data can matter: our keys and, to be removed, the names of some that somebody added."""
    ours = {key: data[key][:LONGEST_VALUE_OF_OURS] for key in KEYS if key in data}
    return ours | dict.fromkeys(islice((key for key in data if key not in KEYS), MOST_ADDED_KEYS), "")


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


def in_use(body: Body) -> Body:
    """A Secret, or what was left of one, without what no Workload can mean: at most MOST_OF_A_SECRET, and no value that
    is too long for any of them, which leaves a marker. First comes what is usual, then what looks like a token, then
    what is short.
    """
    data: dict[str, str] = body.get("data") or {}
    kept: dict[str, str] = {}
    room = MOST_OF_A_SECRET
    for key in sorted(data, key=lambda key: _rank(key, data[key] or "")):
        value = data[key] or ""
        value = value if len(value) <= _MOST_ENCODED else _MARKED
        room -= len(key) + len(value)
        if room < 0:
            break
        kept[key] = value
    metadata = {key: text for key, text in body["metadata"].items() if key in ("namespace", "name", "resourceVersion")}
    return {"metadata": metadata, "data": kept}


def _rank(key: str, encoded: str) -> tuple[bool, bool, int]:
    return key not in _USUAL, not encoded.startswith(_TOKENS_BEGINNING), len(encoded)


def _texts(body: Body) -> dict[str, str]:
    """The Secret's values as text; what is no text is as good as empty."""
    texts = {}
    for key, value in (body.get("data") or {}).items():
        try:
            texts[key] = TOO_LONG if value == _MARKED else base64.b64decode(value or "", validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            texts[key] = ""
    return texts
