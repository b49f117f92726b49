"""Which of several creations was recorded first, where replicas create beside each other.

A creation begins with its record in the status, which only an operator can write, and the API server takes one write
after the other: a watch of the Workloads shows records in that order, the same in every process. Whoever has seen all
that was recorded before its own record knows whether it comes first. What was there when a list began counts as
recorded before all that came after. Must not know what a creation is of, nor whose the Workloads are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from inferencekey_operator.api.keys import Key
from inferencekey_operator.api.workload import GROUP, PLURAL, VERSION, Workload
from inferencekey_operator.cache.workloads import key_of
from inferencekey_operator.kube.client import Cluster, collection_paths
from inferencekey_operator.kube.reading import Body
from inferencekey_operator.kube.reflector import Reflector
from inferencekey_operator.kube.transport import EACH

LOOKS, LOOK = 250, 0.02
"""So often, and with so many seconds between, it is looked whether the watch has got somewhere."""
FORGOTTEN = 4.0
"""Seconds after which it is not waited any more for the other watch to show the same: it cannot be read, perhaps."""


class Precedence:
    """The records of creations in the order in which they were written; one watch for each collection."""

    def __init__(
        self, cluster: Cluster, namespaces: tuple[str, ...], workloads: Callable[[Key], Workload | None]
    ) -> None:
        self._workloads = workloads
        self._begun: dict[str, int] = {}
        self._unseen: dict[str, tuple[Key, int, float]] = {}
        paths = collection_paths(f"/apis/{GROUP}/{VERSION}", PLURAL, namespaces)
        self.reflectors = [_Records(self, cluster, path) for path in paths]

    def of(self, workload: Workload) -> int:
        """The smaller, the earlier; 0 of what was begun before anybody looked."""
        return self._begun.get(workload.uid, 0)

    async def knows_all_before(self, workload: Workload) -> bool:
        """Whether all is known that was begun before this version of the Workload; waits some seconds for it."""
        if not workload.resource_version.isdecimal():
            return True
        told = [each.has_told_all_before(workload) for each in self.reflectors]
        return all(await asyncio.gather(*told)) and await self.has_caught_up()

    async def has_caught_up(self) -> bool:
        """Whether the other watch of Workloads has shown all that was begun so far; waits some seconds for it."""
        wanted = set(self._unseen)
        return not wanted or await _soon(lambda: wanted.isdisjoint(self._still_unseen()))

    def _still_unseen(self) -> Iterable[str]:
        oldest = asyncio.get_running_loop().time() - FORGOTTEN
        for uid, (key, version, at) in tuple(self._unseen.items()):
            known = self._workloads(key)
            if at < oldest or (known is not None and known.uid == uid and int(known.resource_version) >= version):
                del self._unseen[uid]
        return self._unseen

    def saw(self, item: Body, *, order: int | None = None) -> None:
        """A Workload as it stood at its version or, with an `order`, before."""
        metadata = item["metadata"]
        uid, version = metadata["uid"], metadata["resourceVersion"]
        if "creation" not in (item.get("status") or {}):
            self._begun.pop(uid, None)
        elif uid not in self._begun and version.isdecimal():
            self._begun[uid] = int(version) if order is None else order
            self._unseen[uid] = key_of(item), int(version), asyncio.get_running_loop().time()

    def forget(self, uid: str) -> None:
        """It went."""
        self._begun.pop(uid, None)
        self._unseen.pop(uid, None)


class _Records(Reflector):
    def __init__(self, precedence: Precedence, cluster: Cluster, path: str) -> None:
        super().__init__(cluster, path, fieldSelector=EACH)
        self._precedence = precedence
        self._uids: set[str] = set()
        self._surveyed = "0"
        self._newest = "0"
        self._surveying = asyncio.Lock()

    def kept(self, item: Body) -> Body:
        return {"metadata": item["metadata"], "status": item.get("status")}

    async def replaced(self, items: list[Body]) -> None:
        uids = {item["metadata"]["uid"] for item in items}
        for uid in self._uids - uids:
            self._precedence.forget(uid)
        self._uids = uids
        for item in items:
            self._precedence.saw(item, order=0)

    async def changed(self, item: Body) -> None:
        self._uids.add(item["metadata"]["uid"])
        self._precedence.saw(item)

    async def deleted(self, item: Body) -> None:
        self._uids.discard(item["metadata"]["uid"])
        self._precedence.forget(item["metadata"]["uid"])

    async def has_told_all_before(self, workload: Workload) -> bool:
        """It tells of the Workload itself; or is of another namespace, and a list says how far it must be."""
        version = workload.resource_version
        if self.has_told(version):
            return True
        if not self._covers(workload.namespace):
            version = await self._newest_at(version)
        return await _soon(lambda: self.has_told(version))

    def _covers(self, namespace: str) -> bool:
        return "/namespaces/" not in self._path or f"/namespaces/{namespace}/" in self._path

    async def _newest_at(self, version: str) -> str:
        """The version of the newest object that was there then; one list for all who ask meanwhile."""
        async with self._surveying:
            if int(self._surveyed) < int(version):
                newest = 0
                async for page in self._cluster.pages(self._path, accept=self._accept):
                    versions = [int(item["metadata"]["resourceVersion"]) for item in page["items"]]
                    newest, surveyed = max([newest, *versions]), page["metadata"]["resourceVersion"]
                self._surveyed, self._newest = surveyed, str(newest)
            return self._newest


async def _soon(holds: Callable[[], bool]) -> bool:
    for _ in range(LOOKS):
        if holds():
            return True
        await asyncio.sleep(LOOK)
    return holds()
