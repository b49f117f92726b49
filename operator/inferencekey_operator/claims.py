"""Which Workload an identity belongs to, when two declare the same.

A claim counts only once the platform accepted the credential for the project: a junk token must not squat a slug.
Among the claims that count, a recorded workload id wins, then our finalizer (which says that a creation may be under
way), then age, then the smaller uid. Pure bookkeeping in memory; knows nothing of how claims are proven.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from inferencekey_operator.keys import Key
from inferencekey_operator.plan import Identity
from inferencekey_operator.workload import Workload


@dataclass(frozen=True, slots=True)
class Claim:
    """One Workload's word that an identity is its own."""

    key: Key
    uid: str
    recorded: bool
    begun: bool
    created: datetime
    proven: bool

    @property
    def rank(self) -> tuple[bool, bool, datetime, str]:
        """The smaller, the stronger."""
        return (not self.recorded, not self.begun, self.created, self.uid)


class Claims:
    """All claims of all Workloads, by identity and by key."""

    def __init__(self, freed: Callable[[Key], None] = lambda _: None) -> None:
        self._freed = freed
        self._claims: dict[Identity, dict[Key, Claim]] = {}
        self._of: dict[Key, Identity] = {}

    def stake(self, workload: Workload, identity: Identity, *, proven: bool) -> None:
        """`workload` claims `identity`; a claim on another one is given up."""
        key = workload.key
        if self._of.get(key) not in (None, identity):
            self.release(key)
        recorded = workload.status.workload_id is not None
        self._of[key] = identity
        self._claims.setdefault(identity, {})[key] = Claim(
            key=key,
            uid=workload.uid,
            recorded=recorded,
            begun=workload.has_finalizer,
            created=workload.creation_timestamp,
            proven=proven or recorded,
        )

    def release(self, key: Key) -> None:
        """`key` claims nothing any more; `freed` is told who claims the same and may now have it."""
        identity = self._of.pop(key, None)
        if identity is None:
            return
        claims = self._claims[identity]
        del claims[key]
        if not claims:
            del self._claims[identity]
        for waiting in tuple(claims):
            self._freed(waiting)

    def rival(self, key: Key) -> Claim | None:
        """The claim that is stronger than that of `key`; None where it is the strongest."""
        identity = self._of.get(key)
        if identity is None:
            return None
        claims = self._claims[identity]
        if len(claims) == 1:
            return None
        strongest = min((c for c in claims.values() if c.proven or c.key == key), key=lambda c: c.rank)
        return None if strongest.key == key else strongest

    def holders(self, platform_url: str, project: str, slugs: Iterable[str]) -> Iterable[Key]:
        """The keys of all Workloads that claim one of these slugs."""
        for slug in slugs:
            yield from self._claims.get(Identity(platform_url, project, slug), ())
