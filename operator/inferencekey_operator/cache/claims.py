"""Which Workload an identity belongs to, when two declare the same.

A claim counts only once the platform accepted the credential for the project: a junk token must not squat a slug.
Among the claims that count, a recorded workload id wins, then the record of a creation (which may be under way), then
age, then the smaller uid. All of it is asked at the moment of the question, of the Workload as it stands. Of a Workload
that another replica reconciles, the record tells that its credential was accepted; and of two creations that may be
under way, the one that was recorded first wins. A finalizer proves nothing: whoever edits Workloads can write it.
Two Workloads with one recorded workload id of one platform are rivals, too, however their project is spelled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from inferencekey_operator.api.keys import Key
from inferencekey_operator.api.workload import Workload
from inferencekey_operator.plan.plan import Identity

REMEMBERED = 600.0
"""Seconds by which what settled is forgotten at the latest when something else has to settle."""
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
        begun: Callable[[Workload], int] = lambda workload: 0,
        with_id: Callable[[str], Iterable[Key]] = lambda workload_id: (),
    ) -> None:
        self._workloads, self._freed, self._begun, self._with_id = workloads, freed, begun, with_id
        self._claims: dict[Identity, dict[Key, Proof]] = {}
        self._of: dict[Key, Identity] = {}
        self._accepted: set[Key] = set()
        self._settles: dict[Identity, float] = {}

    def stake(self, key: Key, identity: Identity, proof: Proof) -> None:
        """`key` claims `identity`; a claim on another one is given up."""
        if self._of.get(key) not in (None, identity):
            self.release(key)
        self._of[key] = identity
        self._claims.setdefault(identity, {})[key] = proof

    def accept(self, key: Key) -> None:
        """The platform accepted the credential behind the claim of `key`: that is not forgotten when it rests."""
        self._accepted.add(key)

    def settles_at(self, key: Key) -> float:
        """When, in the loop's time, a creation of a former claimant of the same is carried out or never will be."""
        identity = self._of.get(key)
        return self._settles.get(identity, float("-inf")) if identity else float("-inf")

    def release(self, key: Key, settles_at: float | None = None) -> None:
        """`key` claims nothing any more; until `settles_at`, a creation of it may still be carried out."""
        identity = self._of.pop(key, None)
        if identity is None:
            return
        if settles_at is not None:
            self._settles = {each: at for each, at in self._settles.items() if at > settles_at - REMEMBERED}
            self._settles[identity] = settles_at
        self._accepted.discard(key)
        claims = self._claims[identity]
        del claims[key]
        if not claims:
            del self._claims[identity]
        for waiting in tuple(claims):
            self._freed(waiting)

    def rival(self, key: Key) -> Key | None:
        """Whose claim is stronger than that of `key`; None where its own is the strongest."""
        stronger = self._of_one_id(key)
        if stronger is not None:
            return stronger
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

    def _of_one_id(self, key: Key) -> Key | None:
        """Whose claim on the same recorded workload id is stronger."""
        workload = self._workloads(key)
        if workload is None or workload.status.workload_id is None:
            return None
        rivals = [self._workloads(other) for other in self._with_id(workload.status.workload_id)]
        there = [
            each for each in rivals if each is not None and each.status.platform_url == workload.status.platform_url
        ]
        strongest = min((*there, workload), key=self._rank)
        return None if strongest.key == key else strongest.key

    def _counts(self, workload: Workload) -> bool:
        """Whether the platform accepted the credential before: an id is not recorded without that."""
        status = workload.status
        return workload.key in self._accepted or status.workload_id is not None or status.creation is not None

    def rivals(self, key: Key) -> Iterable[Key]:
        """Who claims the same, whatever it counts."""
        identity = self._of.get(key)
        return [other for other in self._claims.get(identity, ()) if other != key] if identity else []

    def claimed(self, platform_url: str, project: str, slug: str) -> bool:
        """Whether any Workload that still exists claims this identity."""
        claimants = self._claims.get(Identity(platform_url, project, slug), ())
        return any(self._workloads(key) is not None for key in claimants)

    def holders(self, platform_url: str, project: str, slugs: Iterable[str]) -> Iterable[Key]:
        """The keys of all Workloads that claim one of these slugs."""
        for slug in slugs:
            yield from self._claims.get(Identity(platform_url, project, slug), ())

    def _rank(self, workload: Workload) -> tuple[bool, bool, int, float, str]:
        """The smaller, the stronger."""
        recorded, under_way = workload.status.workload_id is not None, workload.status.creation is not None
        begun = self._begun(workload) if under_way and not recorded else 0
        return (not recorded, not under_way, begun, workload.creation_timestamp.timestamp(), workload.uid)
