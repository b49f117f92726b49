"""For which shards this process acts, since when; and for which Workload something is done at this moment."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

from inferencekey_operator.api.keys import Key
from inferencekey_operator.election.shards import shard_of

AT_WORK: ContextVar[Key | None] = ContextVar("AT_WORK", default=None)
"""For which Workload something is done: each look is a task, with a context of its own."""


class LeaderCallbacks(Protocol):
    """What a process does as its Leases come and go."""

    async def catch_up(self, shard: int, everything: AsyncIterator[Mapping[str, Any]]) -> None:
        """Before a term: `everything` is every Workload that there is by now."""

    def begin(self, shard: int = 0, *, settled_in: float) -> None:
        """A term begins; creations wait `settled_in` seconds."""

    async def leave(self, shard: int) -> None:
        """A term ended: back when nothing of it is in work."""

    async def stop(self) -> None:
        """Nothing is begun any more: back when nothing is in work."""


@dataclass(slots=True)
class Term:
    """The time in which this process acts for one shard."""

    began: float = float("inf")
    """In the loop's time; infinite while it does not. What another process began before may still be under way."""
    creates_from: float = float("inf")
    """When nothing that a former leader sent can still arrive."""


class Terms:
    """By shard, and so by namespace. With one shard, all is ours, if not at all times."""

    def __init__(self, shards: int = 1) -> None:
        self.of_shard = [Term() for _ in range(shards)]

    def of(self, namespace: str) -> Term:
        """That of the namespace's shard."""
        return self.of_shard[shard_of(namespace, len(self.of_shard))]

    def ours(self, key: Key) -> bool:
        """Whether we look at what is in that namespace; whether we may is asked of the Lease."""
        return len(self.of_shard) == 1 or self.held(key)

    def held(self, key: Key) -> bool:
        """Whether this process acts for that namespace now: a standby does not."""
        return self.of(key.namespace).began < float("inf")

    def foreign(self, key: Key) -> bool:
        """Whether that is for another replica."""
        return not self.ours(key)
