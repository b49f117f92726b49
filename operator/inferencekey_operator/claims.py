"""Which Workload an identity belongs to, when two declare the same.

A claim counts only once the platform accepted the credential for the project: a junk token must not squat a slug.
Among the claims that count, a recorded workload id wins, then our finalizer (which says that a creation may be under
way), then age, then the smaller uid. All of it is asked at the moment of the question, of the Workload as it stands.
Of a Workload that another replica looks at, its finalizer tells that its credential was accepted; and of two creations
that may be under way, the one that was begun first wins.
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

    def __init__(
        self,
        workloads: Callable[[Key], Workload | None],
        freed: Callable[[Key], None],
        *,
        foreign: Callable[[Key], bool] = lambda key: False,
        begun: Callable[[Workload], int] = lambda workload: 0,
    ) -> None:
        self._workloads, self._freed, self._foreign, self._begun = workloads, freed, foreign, begun
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
            (self._rank(workload), claimant)
            for claimant, proof in self._claims[identity].items()
            if (workload := self._workloads(claimant)) is not None
            and (claimant == key or self._counts(workload) or proof())
        ]
        strongest = min(counted)[1] if counted else key
        return None if strongest == key else strongest

    def _counts(self, workload: Workload) -> bool:
        """Whether the platform accepted the credential before: an id is not recorded without that."""
        if workload.has_finalizer and self._foreign(workload.key):
            return True
        return workload.key in self._accepted or workload.status.workload_id is not None

    def rivals(self, key: Key) -> Iterable[Key]:
        """Who claims the same, whatever it counts."""
        identity = self._of.get(key)
        return [other for other in self._claims.get(identity, ()) if other != key] if identity else []

    def claimed(self, platform_url: str, project: str, slug: str) -> bool:
        """Whether any Workload claims this identity."""
        return Identity(platform_url, project, slug) in self._claims

    def holders(self, platform_url: str, project: str, slugs: Iterable[str]) -> Iterable[Key]:
        """The keys of all Workloads that claim one of these slugs."""
        for slug in slugs:
            yield from self._claims.get(Identity(platform_url, project, slug), ())

    def _rank(self, workload: Workload) -> tuple[bool, bool, int, float, str]:
        """The smaller, the stronger."""
        recorded, finalizer = workload.status.workload_id is not None, workload.has_finalizer
        begun = self._begun(workload) if finalizer and not recorded else 0
        return (not recorded, not finalizer, begun, workload.creation_timestamp.timestamp(), workload.uid)
