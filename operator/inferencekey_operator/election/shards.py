"""How namespaces and Leases are shared out among the replicas; all of it decided from values.

A namespace belongs to one shard, by its name alone. Who owns a shard is the holder of its Lease, under the layout that
the first Lease tells. Must not know how a Lease is read, nor what is done with a shard.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

LAYOUT: Final = "inferencekey.com/shards"
"""Annotation of the first Lease: how many shards there are, and what that is called."""
WANTED_BY: Final = "inferencekey.com/wanted-by"
"""Annotation of a Lease: which replica asks its holder for it."""

_SETTLED = "settled"
_LONGEST_WAIT = 2
_AT_ONCE = 8


def shard_of(namespace: str, shards: int) -> int:
    """The shard of a namespace: the same in every process, and spread evenly."""
    return int.from_bytes(hashlib.sha256(namespace.encode()).digest()[:8]) % shards


@dataclass(frozen=True, slots=True)
class Layout:
    """So many shards, under a name that is never used twice; without one, there is one shard, and always was."""

    shards: int = 1
    lasts: int = 0
    """Seconds that a Lease under this layout, or the one before, lasts at most: so long is a change waited for."""
    name: str = ""
    settled: bool = True
    """Whether somebody waited: nobody acts under another layout any more."""

    @classmethod
    def parse(cls, text: str | None) -> Layout:
        """`4/14/5f2a91c0`, with `/settled` in the end once it is; whatever else is there says nothing."""
        shards, lasts, name, *rest = [*(text or "").split("/"), "", ""]
        if not (shards.isdecimal() and lasts.isdecimal() and name):
            return cls()
        return cls(int(shards), int(lasts), name, settled=rest[0] == _SETTLED)

    def __str__(self) -> str:
        """What `parse` reads; empty for the one that needs no name."""
        if not self.name:
            return ""
        return "/".join([str(self.shards), str(self.lasts), self.name, *([_SETTLED] if self.settled else [])])

    def same(self, other: Layout) -> bool:
        """Whether it is this one, settled or not."""
        return (self.shards, self.lasts, self.name) == (other.shards, other.lasts, other.name)

    def serves(self, shards: int, duration: float) -> bool:
        """Whether a replica with so many shards, whose Leases last so long, may act under it."""
        return self.shards == shards and (shards == 1 or self.lasts >= duration)

    def replaced(self, shards: int, duration: float, name: str) -> Layout:
        """The one that such a replica puts in the place of this one."""
        return Layout(shards, max(math.ceil(duration), self.lasts), name, settled=False)


def pace(shards: int) -> float:
    """How much longer than of a single Lease the pauses are, so that many do not ask too much of the API server."""
    return max(1.0, shards / _AT_ONCE)


def patience(mine: int) -> int:
    """How many pauses a replica with so many shards leaves a free one to others, who may have fewer."""
    return min(mine, _LONGEST_WAIT)


def too_many(theirs: int, mine: int) -> bool:
    """Whether one of theirs should be mine: then both have the same, or mine is still the smaller share."""
    return theirs >= mine + 2


def wanted(shard: int, holders: Mapping[int, str], me: str) -> bool:
    """Whether to ask the holder of this shard for it: not while one is free, or its holder not known yet."""
    if not all(holders.values()):
        return False
    counts = shares(holders.values())
    return holders[shard] != me and too_many(counts[holders[shard]], counts[me])


def shares(holders: Iterable[str]) -> Counter[str]:
    """How many each holds."""
    return Counter(holder for holder in holders if holder)
