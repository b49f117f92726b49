"""Which Workload an identity belongs to, when two declare the same.

A claim counts only once the platform accepted the credential for the project: a junk token must not squat a slug.
Among the claims that count, a recorded workload id wins, then our finalizer (which says that a creation may be under
way), then age, then the smaller uid. All of it is asked at the moment of the question, of the Workload as it stands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from inferencekey_operator.keys import Key
from inferencekey_operator.plan import Identity
from inferencekey_operator.workload import Workload

Proof = Callable[[], bool]
"""Whether the platform accepted the credential behind a claim."""


class Claims:
    """All claims of all Workloads, by identity and by key.

    `workloads` gives a Workload as it stands; `freed` is told who may now have what another one gave up.
    """

    def __init__(self, workloads: Callable[[Key], Workload | None], freed: Callable[[Key], None]) -> None:
        self._workloads, self._freed = workloads, freed
        self._claims: dict[Identity, dict[Key, Proof]] = {}
        self._of: dict[Key, Identity] = {}
        self._accepted: set[Key] = set()

    def stake(self, key: Key, identity: Identity, proof: Proof) -> None:
        """`key` claims `identity`; a claim on another one is given up."""
        if self._of.get(key) not in (None, identity):
            self.release(key)
        self._of[key] = identity
        self._claims.setdefault(identity, {})[key] = proof

    def accept(self, key: Key) -> None:
        """The platform accepted the credential behind the claim of `key`: that is not forgotten when it rests."""
        self._accepted.add(key)

    def release(self, key: Key) -> None:
        """`key` claims nothing any more."""
        identity = self._of.pop(key, None)
        if identity is None:
            return
        self._accepted.discard(key)
        claims = self._claims[identity]
        del claims[key]
        if not claims:
            del self._claims[identity]
        for waiting in tuple(claims):
            self._freed(waiting)

    def rival(self, key: Key) -> Key | None:
        """Whose claim is stronger than that of `key`; None where its own is the strongest."""
        identity = self._of.get(key)
        if identity is None or len(self._claims[identity]) == 1:
            return None
        counted = [
            (_rank(workload), claimant)
            for claimant, proof in self._claims[identity].items()
            if (workload := self._workloads(claimant)) is not None
            and (claimant == key or self._counts(workload) or proof())
        ]
        strongest = min(counted)[1] if counted else key
        return None if strongest == key else strongest

    def _counts(self, workload: Workload) -> bool:
        """Whether the platform accepted the credential before: an id is not recorded without that."""
        return workload.key in self._accepted or workload.status.workload_id is not None

    def claimed(self, platform_url: str, project: str, slug: str) -> bool:
        """Whether any Workload claims this identity."""
        return Identity(platform_url, project, slug) in self._claims

    def holders(self, platform_url: str, project: str, slugs: Iterable[str]) -> Iterable[Key]:
        """The keys of all Workloads that claim one of these slugs."""
        for slug in slugs:
            yield from self._claims.get(Identity(platform_url, project, slug), ())


def _rank(workload: Workload) -> tuple[bool, bool, float, str]:
    """The smaller, the stronger."""
    recorded = workload.status.workload_id is not None
    return (not recorded, not workload.has_finalizer, workload.creation_timestamp.timestamp(), workload.uid)
