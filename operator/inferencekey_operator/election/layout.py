"""How many shards there are, as the first Lease says; and whether this process may act on that.

Only who takes the first Lease changes the layout, in the write that takes it. All others act for so long after they
read it last as a leader does after its renewal; so whoever waits for as long as a Lease lasts, from when it first saw a
layout, acts beside nobody who still goes by the one before. Times are this machine's own. Must not know what a shard is
for, nor how a Lease is read.
"""

from __future__ import annotations

import logging
import math
import secrets
from collections.abc import Callable

from inferencekey_operator.election.hooks import Annotations, annotations_of
from inferencekey_operator.election.leader import LeadershipLostError
from inferencekey_operator.election.shards import LAYOUT, Layout
from inferencekey_operator.kube.reading import Body

log = logging.getLogger(__name__)


class Layouts:
    """The layout that stands, as this process knows it. Seconds, on `clock`."""

    def __init__(self, shards: int, *, duration: float, fresh_for: float, clock: Callable[[], float]) -> None:
        self.shards = shards
        self._duration, self._fresh_for, self._clock = duration, fresh_for, clock
        self.standing = Layout()
        self._known_since = math.inf
        self._confirmed_at = -math.inf
        self._ours = Layout()

    def seen(self, lease: Body | None, began: float) -> None:
        """The first Lease was read, or written, by a request that began then."""
        if lease is None:
            return
        layout = Layout.parse(annotations_of(lease).get(LAYOUT))
        if not layout.same(self.standing) or self._known_since == math.inf:
            self._known_since = self._clock()
            self._tell(layout)
        self.standing, self._confirmed_at = layout, began

    def _tell(self, layout: Layout) -> None:
        if not self._serves(layout):
            log.info("%d shard(s) are in force, and this process has --shards=%d; waiting", layout.shards, self.shards)

    @property
    def serves(self) -> bool:
        """Whether a shard may be taken now: what stands is for as many as we are, as far as we know."""
        return self._serves(self.standing) and self._fresh

    @property
    def moved(self) -> bool:
        """Whether another number of shards is in force than ours, for all we know."""
        return not self._serves(self.standing)

    def ready(self, layout: Layout) -> bool:
        """Whether nobody acts under another layout any more."""
        if layout.settled:
            return True
        known = self.standing.same(layout)
        return known and (self.standing.settled or self._clock() >= self._known_since + layout.lasts)

    def check(self, layout: Layout) -> None:
        """Raise LeadershipLostError unless that layout still stands."""
        if not (self.standing.same(layout) and self._serves(layout) and self._fresh):
            raise LeadershipLostError(f"{layout.shards} shard(s) are in force no more, or that was not read in time")

    # -- of the first Lease, by its holder ---------------------------------------------------------------------

    def taken(self, lease: Body | None) -> None:
        """From the next write on it is what it was, if it is for as many; where the Lease went, nobody knows that."""
        former = self.standing if lease is None else Layout.parse(annotations_of(lease).get(LAYOUT))
        known = lease is not None or self.shards == 1
        same = known and self._serves(former)
        self._ours = former if same else former.replaced(self.shards, self._duration, secrets.token_hex(4))

    def held(self, annotations: Annotations) -> Annotations:
        """The annotations of the first Lease while it is ours."""
        if self.standing.same(self._ours) and self.ready(self._ours):
            self._ours = self.standing if self.standing.settled else _settled(self._ours)
        return {**annotations, LAYOUT: str(self._ours)} if self._ours.name else annotations

    @property
    def ours(self) -> Layout:
        """What we put in force, or left in force, when we took the first Lease."""
        return self._ours

    def _serves(self, layout: Layout) -> bool:
        return layout.serves(self.shards, self._duration)

    @property
    def _fresh(self) -> bool:
        return self._clock() < self._confirmed_at + self._fresh_for


def _settled(layout: Layout) -> Layout:
    return Layout(layout.shards, layout.lasts, layout.name)
