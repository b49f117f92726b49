"""A Kubernetes API server in memory: objects, versions, and the rules of writing them. No HTTP.

What it does as the real one: resourceVersion and uid as preconditions, generation that moves with the spec (and with
the beginning of a deletion), the status subresource, the schema's default status, finalizers and deletionTimestamp,
merge patches, immutable ConfigMaps, writes that change nothing, garbage collection by ownerReferences, and a history to
watch.

What it does not do: schemas and admission (who drives it writes what would be admitted), paging, field managers and
managedFields, server-side apply, permissions, a history that is compacted by itself, or the end of Namespaces.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

Body = dict[str, Any]

WORKLOADS = "workloads"
NEW_STATUS = {"observedGeneration": -1}
"""What the schema of Workloads puts where there is no status."""


class Name(NamedTuple):
    """What an object is found by; the namespace is empty where it has none."""

    plural: str
    namespace: str
    name: str


@dataclass(frozen=True)
class Change:
    """One line of the history."""

    version: int
    kind: str
    name: Name
    body: Body


class RefusedError(Exception):
    """The answer to a request that cannot be carried out."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class Objects:
    """All objects, and everything that ever happened to them. Bodies are values: nobody changes one in place."""

    time_of_day: Callable[[], datetime]
    history: list[Change] = field(default_factory=list)
    watchers: list[Callable[[Change], None]] = field(default_factory=list)
    clock: Callable[[], float] = lambda: 0.0
    _times: list[tuple[float, int]] = field(default_factory=list)
    _objects: dict[Name, Body] = field(default_factory=dict)
    _version: int = 100
    _uids: int = 0

    @property
    def version(self) -> str:
        """The newest resourceVersion."""
        return str(self._version)

    def get(self, name: Name) -> Body | None:
        """The object as it stands."""
        return self._objects.get(name)

    def items(self, plural: str, namespace: str = "") -> Iterator[Body]:
        """All objects of a kind, of one namespace or of all."""
        for name, body in list(self._objects.items()):
            if name.plural == plural and namespace in ("", name.namespace):
                yield body

    def create(self, name: Name, body: Body) -> Body:
        """A new object."""
        if name in self._objects:
            raise RefusedError(409, f"{name.plural} {name.name!r} already exists")
        self._uids += 1
        given = {**body.get("metadata", {}), "name": name.name}
        if name.namespace:
            given["namespace"] = name.namespace
        made = {
            "uid": f"{self._uids:08d}-0000-4000-8000-000000000000",
            "creationTimestamp": self._now(),
            "generation": 1,
        }
        whole = {**body, "metadata": {**given, **made}}
        if name.plural == WORKLOADS:
            whole["status"] = NEW_STATUS
        return self._put("ADDED", name, whole)

    def put_back(self, version: int) -> None:
        """The state as it was at a version, which is the newest again: nobody is told."""
        state: dict[Name, Body] = {}
        for change in self.history:
            if change.version > version:
                break
            if change.kind == "DELETED":
                state.pop(change.name, None)
            else:
                state[change.name] = change.body
        self._objects = state
        self._times = [(at, number) for at, number in self._times if number <= version]
        self.history = [change for change in self.history if change.version <= version]
        self._version = version

    def patch(self, name: Name, patch: Body, *, status: bool = False) -> Body:
        """A merge patch of the object, or of its status alone."""
        old = self._standing(name, patch.get("metadata", {}))
        merged = merged_patch(old, patch)
        if status:
            return self._write(name, old, {**old, "status": merged.get("status") or NEW_STATUS})
        if name.plural == WORKLOADS:
            merged["status"] = old["status"]
        return self._write(name, old, merged)

    def replace(self, name: Name, body: Body) -> Body:
        """The whole object anew."""
        return self._write(name, self._standing(name, body.get("metadata", {})), body)

    def delete(self, name: Name, preconditions: Body | None = None) -> Body:
        """The object goes, or begins to go where finalizers hold it."""
        old = self._standing(name, preconditions or {})
        metadata = old["metadata"]
        if not metadata.get("finalizers"):
            return self._remove(name, old)
        if "deletionTimestamp" in metadata:
            return old
        going = {"deletionTimestamp": self._now(), "generation": metadata["generation"] + 1}
        return self._put("MODIFIED", name, {**old, "metadata": {**metadata, **going}})

    def _standing(self, name: Name, preconditions: Body) -> Body:
        old = self._objects.get(name)
        if old is None:
            raise RefusedError(404, f"{name.plural} {name.name!r} not found")
        for key in ("uid", "resourceVersion"):
            wanted = preconditions.get(key)
            if wanted and wanted != old["metadata"][key]:
                raise RefusedError(409, f"the object has been modified: {key} is not {wanted}")
        return old

    def _write(self, name: Name, old: Body, new: Body) -> Body:
        kept = ("uid", "creationTimestamp", "generation", "resourceVersion", "deletionTimestamp", "name", "namespace")
        metadata = {**new["metadata"], **{key: old["metadata"][key] for key in kept if key in old["metadata"]}}
        new = {**new, "metadata": metadata}
        if _without_empties(new) == _without_empties(old):
            return old
        if old.get("immutable") and any(new.get(key) != old.get(key) for key in ("data", "binaryData", "immutable")):
            raise RefusedError(
                422, f"{name.plural} {name.name!r} is invalid: data: field is immutable when `immutable`"
            )
        if "deletionTimestamp" in metadata:
            if set(metadata.get("finalizers") or ()) - set(old["metadata"].get("finalizers") or ()):
                raise RefusedError(422, "no new finalizers can be added if the object is being deleted")
            if not metadata.get("finalizers"):
                return self._remove(name, new)
        if new.get("spec") != old.get("spec"):
            metadata["generation"] += 1
        return self._put("MODIFIED", name, new)

    def _put(self, kind: str, name: Name, body: Body) -> Body:
        self._version += 1
        body = {**body, "metadata": {**body["metadata"], "resourceVersion": str(self._version)}}
        self._objects[name] = body
        self._tell(Change(self._version, kind, name, body))
        return body

    def _remove(self, name: Name, body: Body) -> Body:
        self._version += 1
        body = {**body, "metadata": {**body["metadata"], "resourceVersion": str(self._version)}}
        del self._objects[name]
        self._tell(Change(self._version, "DELETED", name, body))
        return body

    def collect_garbage(self) -> None:
        """Whatever has owners, none of which is there, goes. The real one takes its time: so may the caller."""
        uids = {body["metadata"]["uid"] for body in self._objects.values()}
        for name, body in list(self._objects.items()):
            owners = [each["uid"] for each in body["metadata"].get("ownerReferences") or ()]
            if owners and not uids.intersection(owners):
                self.delete(name)

    def version_at(self, moment: float) -> int:
        """The newest version at a moment of `clock`."""
        return max((version for at, version in self._times if at <= moment), default=self.history[0].version)

    def _tell(self, change: Change) -> None:
        self._times.append((self.clock(), change.version))
        self.history.append(change)
        for watcher in list(self.watchers):
            watcher(change)

    def _now(self) -> str:
        return self.time_of_day().strftime("%Y-%m-%dT%H:%M:%SZ")


def merged_patch(target: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merged_patch(merged.get(key), value)
    return merged


def _without_empties(body: Body) -> Body:
    metadata = {key: value for key, value in body["metadata"].items() if value not in (None, [], {})}
    return {**body, "metadata": metadata}
