"""All Workloads as last seen, and what is remembered of each beside its status.

Never replaces a newer object by an older event: the answer to our own write comes before its echo. Says of each event
whether it is worth a look, so that what we wrote ourselves, and what others write beside us, wakes nobody.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from inferencekey_operator.keys import Key
from inferencekey_operator.logs import about
from inferencekey_operator.workload import Workload

MOST_GONE = 4_096
"""How many objects that went are remembered, so that no late answer brings one back."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Memory:
    """What this process knows of a Workload and no status tells. Times are the loop's."""

    seen: float
    """When what is declared now was first seen: whatever is created for it needs a newer list."""
    missing_since: float | None = None
    """When the first list without it began."""
    denied_since: float | None = None
    """When the platform said of a row that it lists that there is none."""
    uncertain_since: float | None = None
    """When a creation was last begun whose answer was lost, or may have been."""
    unanswered: bool = True
    """Whether nobody said what became of that creation: it may still be under way."""
    twin: str | None = None
    """What we made under another slug than the wanted one, and have to delete again."""
    released: bool = False
    """Whether we let go of it: its end is under way, and nothing is left to do."""
    made: str | None = None
    """The id of what the platform made for us and said so."""
    told: frozenset[tuple[Any, ...]] = frozenset()
    """What was told already beside a status that could not be written yet."""
    left: str = ""
    """The resourceVersion that our own last look left behind."""
    repairs: tuple[float, ...] = ()
    """When we last undid changes of the platform's."""


def key_of(body: Mapping[str, Any]) -> Key:
    """The key of an object in the API's JSON form."""
    metadata = body["metadata"]
    return Key(metadata["namespace"], metadata["name"])


class Store:
    """Workloads by key."""

    def __init__(self) -> None:
        self._workloads: dict[Key, Workload] = {}
        self._memories: dict[Key, Memory] = {}
        self._by_uid: dict[str, Key] = {}
        self._gone: OrderedDict[str, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._workloads)

    def __iter__(self) -> Iterator[Workload]:
        return iter(tuple(self._workloads.values()))

    def get(self, key: Key) -> Workload | None:
        """The Workload as last seen."""
        return self._workloads.get(key)

    def key_of_uid(self, uid: str) -> Key | None:
        """The Workload with this uid."""
        return self._by_uid.get(uid)

    def current(self, workload: Workload) -> bool:
        """Whether what `workload` declares is still what is declared."""
        known = self._workloads.get(workload.key)
        return known is not None and known.uid == workload.uid and _declares_the_same(known, workload)

    def memory(self, key: Key) -> Memory:
        """What is remembered of `key`; nothing is kept of one that went while it was looked at."""
        memory = self._memories.get(key)
        if memory is None:
            memory = Memory(asyncio.get_running_loop().time())
            if key in self._workloads:
                self._memories[key] = memory
        return memory

    def revisit(self, key: Key) -> None:
        """What another process did meanwhile was not seen by us: whatever was half known has to be seen anew."""
        memory = self.memory(key)
        memory.seen, memory.missing_since, memory.denied_since = asyncio.get_running_loop().time(), None, None

    def observe(self, body: Mapping[str, Any]) -> bool:
        """Takes the object over if it is news; True where it deserves a look."""
        key = key_of(body)
        old = self._workloads.get(key)
        if body["metadata"]["uid"] in self._gone:
            return False
        if old is not None and not _newer(body["metadata"], old):
            return False
        try:
            new = Workload.parse(body)
        except ValueError as error:
            log.error("%s cannot be read and is left alone: %s", key, error, extra=about(key))
            self._workloads.pop(key, None)
            return False
        self._workloads[key] = new
        self._by_uid[new.uid] = key
        if old is not None and old.uid != new.uid:
            self._memories.pop(key, None)
            self._by_uid.pop(old.uid, None)
        elif old is not None and _declares_the_same(old, new):
            return _differs(old, new)
        self.memory(key).seen = asyncio.get_running_loop().time()
        return True

    def forget(self, key: Key, uid: str | None = None) -> bool:
        """The object went; with a uid, only if it is that one."""
        known = self._workloads.get(key)
        if known is None or (uid is not None and known.uid != uid):
            return False
        del self._workloads[key]
        self._by_uid.pop(known.uid, None)
        self._memories.pop(key, None)
        self._gone[known.uid] = None
        if len(self._gone) > MOST_GONE:
            self._gone.popitem(last=False)
        return True


def _newer(metadata: Mapping[str, Any], old: Workload) -> bool:
    version = metadata["resourceVersion"]
    if version == old.resource_version:
        return False
    try:
        return int(version) > int(old.resource_version)
    except ValueError:
        return True


def _declares_the_same(old: Workload, new: Workload) -> bool:
    return (old.generation, old.annotations, old.deletion_timestamp) == (
        new.generation,
        new.annotations,
        new.deletion_timestamp,
    )


def _differs(old: Workload, new: Workload) -> bool:
    return (old.finalizers, old.status, old.unreadable) != (new.finalizers, new.status, new.unreadable)
