"""The workloads of one project as lists showed them, corrected with the answers of our own writes.

Decides what a list that lags behind our writes is believed. Must not know when a list is made, nor by whom. Pure: the
time is a parameter.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from inferencekey_operator.inferencekey.echoes import Echoes
from inferencekey_operator.inferencekey.listing import Reader
from inferencekey_operator.inferencekey.own_writes import OwnWrites
from inferencekey_operator.inferencekey.wire import LiveWorkload


class ProjectCache:
    """The workloads of the project `slug`, by id and by slug.

    `writes` are what all credentials of the project wrote; `token` is the one that the lists were asked for with.
    """

    def __init__(self, slug: str, token: str, writes: OwnWrites) -> None:
        self._slug, self._writes = slug, writes
        self._reader = Reader(lambda: Echoes(token))
        self._by_id: dict[str, LiveWorkload] = {}
        self._ids: dict[str, str] = {}
        """By slug."""
        self._digest: bytes | None = None
        """Of the list that was read last; None once something else is known."""
        self.unreadable: frozenset[str] = frozenset()
        """Slugs that are taken by rows which could not be read."""
        self.deleted: frozenset[str] = frozenset()
        """Slugs of rows that the platform lists as deleted."""

    def __len__(self) -> int:
        return len(self._by_id)

    @property
    def slugs(self) -> Iterable[str]:
        """Of all workloads."""
        return self._ids.keys()

    @property
    def workloads(self) -> Iterator[LiveWorkload]:
        """All workloads of this project."""
        return (live for live in self._by_id.values() if self.owns(live))

    def by_id(self, workload_id: str) -> LiveWorkload | None:
        """The workload with this id."""
        return self._by_id.get(workload_id)

    def by_slug(self, slug: str) -> LiveWorkload | None:
        """The workload of this project with this slug; of several, the one that was listed last."""
        found = self._ids.get(slug)
        return self._by_id.get(found) if found else None

    def all_of(self, slug: str) -> tuple[LiveWorkload, ...]:
        """All workloads of this project with this slug: there may be two while a list lags."""
        return tuple(live for live in self.workloads if live.slug == slug)

    def owns(self, live: LiveWorkload) -> bool:
        """Whether a workload is of this project, as far as the platform says."""
        return live.project_slug is None or live.project_slug.casefold() == self._slug.casefold()

    def restated(self, live: LiveWorkload) -> bool:
        """Whether a workload differs from the answer to our last write by the platform's own doing."""
        return self._writes.restated(live)

    def replace(self, body: bytes, began: float) -> set[str]:
        """Take over a list that began at `began`, but for what we wrote too short a time before; the slugs that moved.

        Raises:
            PlatformFailure: it is no list; nothing changed.
        """
        digest, pending = hashlib.sha256(body).digest(), self._writes.pending(began)
        if digest == self._digest and not pending:
            return set()
        listing = self._reader.read(body)
        self.unreadable = listing.slugs_without_id
        self.deleted = frozenset(live.slug for live in listing.workloads if live.deleted)
        new = {live.id: live for live in listing.workloads if not live.deleted}
        self._writes.lay_over(new, began)
        moved = _moved(self._by_id, new)
        self._by_id = new
        self._ids = {live.slug: live.id for live in new.values() if self.owns(live)}
        self._digest = None if pending else digest
        return moved

    def correct(self, workload_id: str, live: LiveWorkload | None, now: float) -> None:
        """A write of ours was answered at `now`: the workload is `live`, or gone."""
        self._digest = None
        old = self._by_id.pop(workload_id, None)
        self._writes.wrote(workload_id, live, now, before=old)
        if old is not None and self._ids.get(old.slug) == workload_id:
            del self._ids[old.slug]
        if live is not None:
            self._by_id[workload_id] = live
            self._ids.setdefault(live.slug, live.id)


def _moved(old: dict[str, LiveWorkload], new: dict[str, LiveWorkload]) -> set[str]:
    """The slugs of what came, went or changed; a row that was read before is the same object, and not compared."""
    keys = old.keys() - new.keys()
    keys |= {key for key, live in new.items() if (was := old.get(key)) is not live and was != live}
    return {known[key].slug for known in (old, new) for key in keys if key in known}
