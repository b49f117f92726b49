"""All Workloads as last seen, and what is remembered of each beside its status.

Never replaces a newer object by an older event: the answer to our own write comes before its echo. Says of each event
whether it is worth a look, so that what we wrote ourselves, and what others write beside us, wakes nobody.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from inferencekey_operator.api.keys import Key
from inferencekey_operator.api.status import Creation
from inferencekey_operator.api.workload import Workload
from inferencekey_operator.logs import about
from inferencekey_operator.plan.plan import Identity

MOST_GONE = 4_096
"""How many objects that went are remembered, so that no late answer brings one back."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Memory:
    """What this process knows of a Workload and no status tells. Times are the loop's."""

    seen: float
    """When what is declared now was first seen: whatever is created for it needs a newer list."""
    # -- of the workload on the platform
    made: str | None = None
    """The id of what the platform made for us and said so."""
    written_at: float | None = None
    """When the platform last answered a write of ours."""
    absent_since: float | None = None
    """When the first list without it began that could contradict what we wrote."""
    recheck_from: float | None = None
    """From when on a list can tell more about its absence."""
    denied_since: float | None = None
    """When the platform said of a row that it lists that there is none."""
    duplicate: str | None = None
    """What we made under another slug than the wanted one, and have to delete again."""
    taken: Taken | None = None
    """That the platform made another slug of ours."""
    repairs: tuple[float, ...] = ()
    """When we last undid changes of the platform's."""
    conflict: Conflict | None = None
    """That the platform refuses our write because of something else."""
    # -- of a creation that is under way
    record_seen: float | None = None
    """When the record of a creation was first seen that this process did not write."""
    posted: bool = False
    """Whether this process sent the creation that is on record."""
    sent: tuple[Identity, Creation] | None = None
    """The record of the last creation that this process sent, and of which identity it is."""
    unsent: Creation | None = None
    """The record of an attempt that this process wrote, and did not send yet."""
    void: bool = False
    """Whether nothing can come of the record: this process wrote it, and the creation was refused, or never sent."""
    bare: bool = False
    """Whether the identity was not pinned before the record was written."""
    uncertain_since: float | None = None
    """When a creation was last begun whose answer was lost, or may have been."""
    unanswered: bool = True
    """Whether nobody said what became of that creation: it may still be under way."""
    lost: tuple[Creation, float] | None = None
    """The record of a creation whose answer was lost, and until when lists may still show what came of it."""
    announced: frozenset[str] = frozenset()
    """Ids of workloads that were announced as possible duplicates."""
    # -- of the end of the object
    deleting_since: float | None = None
    """When this process first saw that a deletion had begun."""
    deletion_sent: bool = False
    """Whether we sent a deletion that the platform carried out, or may have."""
    deleted: str | None = None
    """The id whose deletion is certain and told: only the release of our finalizer is left."""
    deletion_accepted: tuple[str, float] | None = None
    """Which deletion the platform last accepted without confirming it, and when."""
    loss_told: bool = False
    """Whether it was told that the object disappeared."""
    guarded: bool = False
    """Whether this process saw our finalizer on the object."""
    released: bool = False
    """Whether we let go of it: its end is under way, and nothing is left to do."""
    farewells: frozenset[str] = frozenset()
    """What was told of workloads that are left on the platform."""
    release_sent: bool = False
    """Whether we asked for the removal of our finalizer, whatever was answered."""
    # -- of what was written
    told: frozenset[tuple[Any, ...]] = frozenset()
    """What was told already beside a status that could not be written yet."""
    left: str = ""
    """The resourceVersion that our own last look left behind."""


@dataclass(frozen=True, slots=True)
class Taken:
    """The platform answered a creation with another slug; the workload that it made is deleted again."""

    slug: str
    at: float
    generation: int
    requested: str | None
    """The annotation that asked for a reconciliation, as it stood then."""
    times: int = 1


@dataclass(frozen=True, slots=True)
class Conflict:
    """The platform answers a write with 409: since when, and how often for this declaration and request."""

    since: float
    generation: int
    requested: str | None
    """The annotation that asked for a reconciliation, as it stood then."""
    times: int = 0

    def again(self) -> Conflict:
        """Once more."""
        return replace(self, times=self.times + 1)


def pending_creation(workload: Workload, memory: Memory) -> Creation | None:
    """The record of a creation that may have made a workload; None without one, or where nothing can come of it."""
    return None if memory.void else workload.status.creation


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
        self._with_id: dict[str, set[Key]] = {}
        self._newest = 0
        self._gone: OrderedDict[str, None] = OrderedDict()
        self._vanished: dict[Key, Workload] = {}

    def __len__(self) -> int:
        return len(self._workloads)

    def __iter__(self) -> Iterator[Workload]:
        return iter(tuple(self._workloads.values()))

    def get(self, key: Key) -> Workload | None:
        """The Workload as last seen, or what is left of one that vanished."""
        return self._workloads.get(key) or self._vanished.get(key)

    def key_of_uid(self, uid: str) -> Key | None:
        """The Workload with this uid."""
        return self._by_uid.get(uid)

    def with_id(self, workload_id: str) -> Iterable[Key]:
        """The Workloads whose status records this id of the platform's."""
        return self._with_id.get(workload_id, ())

    def current(self, workload: Workload) -> bool:
        """Whether what `workload` declares is still what is declared."""
        known = self.get(workload.key)
        return known is not None and known.uid == workload.uid and _declares_the_same(known, workload)

    def memory(self, key: Key) -> Memory:
        """What is remembered of `key`; nothing is kept of one that went while it was looked at."""
        memory = self._memories.get(key)
        if memory is None:
            memory = Memory(asyncio.get_running_loop().time())
            if key in self._workloads or key in self._vanished:
                self._memories[key] = memory
        return memory

    @property
    def newest(self) -> int:
        """The newest resourceVersion of a Workload that was seen, 0 before the first."""
        return self._newest

    def version(self, body: Mapping[str, Any]) -> int:
        """The resourceVersion of this very object as last seen; 0 where it was not."""
        known = self._workloads.get(key_of(body))
        if known is None or known.uid != body["metadata"]["uid"] or not known.resource_version.isdecimal():
            return 0
        return int(known.resource_version)

    @property
    def vanished(self) -> tuple[Key, ...]:
        """The keys of what is left of Workloads that vanished."""
        return tuple(self._vanished)

    def keep_the_vanished(self, workload: Workload, memory: Memory) -> None:
        """What is left of a Workload whose object is gone; what is remembered of it goes along."""
        self._vanished[workload.key] = workload
        self._memories[workload.key] = memory

    def drop_the_vanished(self, key: Key) -> None:
        """Nothing is left of it."""
        self._vanished.pop(key, None)
        self._memories.pop(key, None)

    def revisit(self, key: Key) -> None:
        """Another process may have acted meanwhile: the status counts, and what was half known is forgotten."""
        memory = self.memory(key)
        memory.seen = asyncio.get_running_loop().time()
        memory.absent_since = memory.recheck_from = memory.denied_since = None
        memory.made = memory.sent = memory.lost = memory.uncertain_since = None
        memory.void = memory.posted = memory.bare = False

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
            log.error("%s cannot be read, and is ignored: %s", key, error, extra=about(key))
            self._index(self._workloads.pop(key, None), None)
            return False
        if new.resource_version.isdecimal():
            self._newest = max(self._newest, int(new.resource_version))
        self._workloads[key] = new
        self._by_uid[new.uid] = key
        self._index(old, new)
        if old is not None and old.uid != new.uid:
            self._memories.pop(key, None)
            self._by_uid.pop(old.uid, None)
            old = None
        memory, now = self.memory(key), asyncio.get_running_loop().time()
        memory.guarded |= new.has_finalizer
        if new.deleting and memory.deleting_since is None:
            memory.deleting_since = now
        if new.status.creation != (old.status.creation if old is not None else None):
            memory.record_seen, memory.posted, memory.void = now, False, False
        if old is not None and _declares_the_same(old, new):
            return _differs(old, new)
        memory.seen = now
        return True

    def forget(self, key: Key, uid: str | None = None) -> bool:
        """The object went; with a uid, only if it is that one."""
        known = self._workloads.get(key)
        if known is None or (uid is not None and known.uid != uid):
            return False
        del self._workloads[key]
        self._index(known, None)
        self._by_uid.pop(known.uid, None)
        self._memories.pop(key, None)
        self._gone[known.uid] = None
        if len(self._gone) > MOST_GONE:
            self._gone.popitem(last=False)
        return True

    def _index(self, old: Workload | None, new: Workload | None) -> None:
        before = old.status.workload_id if old is not None else None
        now = new.status.workload_id if new is not None else None
        if old is not None and before is not None and before != now:
            keys = self._with_id[before]
            keys.discard(old.key)
            if not keys:
                del self._with_id[before]
        if new is not None and now is not None:
            self._with_id.setdefault(now, set()).add(new.key)


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
