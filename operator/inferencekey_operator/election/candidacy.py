"""One shard of this process: runs for its Lease, works while it holds it, and gives it to a replica that has too few.

Decides when a free Lease is taken, when another's is asked for, and when ours is given up; what is fair is decided in
`shards`, who may act at all in `leader` and `layout`. With one shard there is nobody to be fair to.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field

from inferencekey_operator.election import shards
from inferencekey_operator.election.hooks import Annotations, LeaseHooks
from inferencekey_operator.election.layout import Layouts
from inferencekey_operator.election.leader import Leader, LeadershipLostError
from inferencekey_operator.election.shards import WANTED_BY, Layout
from inferencekey_operator.election.terms import LeaderCallbacks
from inferencekey_operator.kube.errors import ClusterError
from inferencekey_operator.kube.reading import Body

log = logging.getLogger(__name__)

PATIENCE = 1.5
"""Pauses that a free Lease is left to those who have fewer, for each that is held: they have looked by then."""
YIELDED = 4.0
"""Pauses that a Lease is left to who asked for it: it may have died meanwhile."""
ANSWERED = 8.0
"""Pauses after which a request counts as unheard."""


@dataclass(eq=False)
class Candidacies:
    """All candidacies of this process."""

    layouts: Layouts
    callbacks: LeaderCallbacks
    client_timeout: float
    list_workloads: Callable[[], AsyncIterator[Body]]
    """Lists the metadata of every Workload of this operator. Raises ClusterError."""
    least_wait: float = 0.0
    """Seconds that creations wait, whoever had the Lease before."""
    candidacies: list[Candidacy] = field(default_factory=list)
    closing: bool = False
    """Whether this process ends: it takes nothing any more."""
    asks_from: float = -math.inf
    """When we may ask another one for a shard: one request at a time."""

    @property
    def holders(self) -> dict[int, str]:
        """Who holds each shard, as far as we know."""
        return {each.shard: each.leader.holder for each in self.candidacies}

    @property
    def mine(self) -> int:
        """How many shards are ours, are being taken, and stay so."""
        return sum(each.counts for each in self.candidacies)

    def __iter__(self) -> Iterator[Candidacy]:
        return iter(self.candidacies)


class Candidacy(LeaseHooks):
    """`run` it; it never returns. `leader` is set before."""

    leader: Leader

    def __init__(self, shard: int, all_of_them: Candidacies) -> None:
        self.shard, self._field = shard, all_of_them
        self._layouts, self._callbacks = all_of_them.layouts, all_of_them.callbacks
        self._bound: Layout | None = None
        """The layout under which the Lease is held."""
        self._acting = False
        self._given = asyncio.Event()
        self._free_since = math.inf
        self._taking_until = -math.inf

    async def run(self) -> None:
        """Lead whenever that is possible."""
        while True:
            taken = await self.leader.acquire()
            self._bound = self._layouts.standing if self.shard else self._layouts.ours
            holding = asyncio.create_task(self.leader.hold(), name=f"lease of shard {self.shard}")
            try:
                await self._lead(taken, holding)
            finally:
                holding.cancel()
            await asyncio.gather(holding, return_exceptions=True)
            if self._given.is_set() or self._layouts.moved:
                await self.leader.release()
            self._given.clear()

    def check(self) -> None:
        """Raises LeadershipLostError unless what is done for this shard may be done now."""
        if not self._acting:
            raise LeadershipLostError(f"this process does not lead shard {self.shard}")
        self.leader.check()

    @property
    def leads(self) -> bool:
        """Whether that may be done now."""
        try:
            self.check()
        except LeadershipLostError:
            return False
        return True

    @property
    def counts(self) -> bool:
        """Whether the shard is ours, or about to be, and stays so."""
        taking = self.leader.clock() < self._taking_until
        return (self.leader.holds or taking) and not self._given.is_set()

    async def _lead(self, taken: bool, holding: asyncio.Task[None]) -> None:
        """Until the Lease is lost, or somebody is to have it; and until what is in work then is finished."""
        try:
            await self._work(taken, holding)
        except LeadershipLostError as error:
            log.warning("stopped leading: %s", error)
        if self._acting:
            await self._callbacks.leave(self.shard)
        self._acting, self._bound = False, None

    async def _work(self, taken: bool, holding: asyncio.Task[None]) -> None:
        """Until the Lease is lost, which raises, or somebody is to have it."""
        waited = await self._settle(holding)
        if self.leader.took_over:
            await self._catch_up()
        if self._field.closing:
            await asyncio.wait({holding})
            holding.result()
        self._acting = True
        settled_in = self._field.client_timeout if taken or waited else 0.0
        self._callbacks.begin(self.shard, settled_in=max(settled_in, self._field.least_wait))
        given = asyncio.create_task(self._given.wait())
        try:
            await asyncio.wait({holding, given}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            given.cancel()
        if holding.done():
            holding.result()

    async def _settle(self, holding: asyncio.Task[None]) -> bool:
        """Wait until nobody acts under another layout; whether there was anything to wait for."""
        waited = False
        while not self._settled:
            waited = True
            await asyncio.wait({holding}, timeout=self.leader.retry / 4)
            if holding.done():
                holding.result()
        return waited

    async def _catch_up(self) -> None:
        """Notice what the former leader released; without a list in time, that may be taken for a loss."""
        try:
            async with asyncio.timeout(self.leader.renew_deadline):
                await self._callbacks.catch_up(self.shard, self._field.list_workloads())
        except (ClusterError, TimeoutError) as error:
            log.warning("the Workloads that the former leader released are unknown: %s", error or "no list in time")

    @property
    def _settled(self) -> bool:
        return self._bound is not None and self._layouts.ready(self._bound) and (not self.shard or self._layouts.serves)

    # -- what stands in the Lease ------------------------------------------------------------------------------

    def seen(self, lease: Body | None, began: float) -> None:
        """The first one tells the layout."""
        if self.shard == 0:
            self._layouts.seen(lease, began)

    def may_take(self, annotations: Annotations) -> bool:
        """At once where we asked for it; later where others may need it more."""
        if self._field.closing or not self.may_keep():
            return False
        if self._layouts.shards > 1:
            now = self.leader.clock()
            self._free_since = min(self._free_since, now)
            if now < self._free_since + self._left_to_others(annotations):
                return False
            self._taking_until = now + self.leader.retry
        return True

    def may_keep(self) -> bool:
        """Not while we cannot read the layout: it runs out, for one who can."""
        return not self.shard or self._layouts.serves

    def _left_to_others(self, annotations: Annotations) -> float:
        asker = annotations.get(WANTED_BY)
        if asker == self.leader.identity:
            return 0.0
        pauses = YIELDED if asker else PATIENCE * shards.patience(self._field.mine)
        return pauses * self._pause

    def taken(self, lease: Body | None) -> None:
        """Whatever was asked is answered."""
        self._free_since = math.inf
        self._field.asks_from = -math.inf
        if self.shard == 0:
            self._layouts.taken(lease)

    def held(self, annotations: Annotations) -> Annotations:
        """A request is granted, and stands until the asker took the Lease; or is refused, and goes."""
        asker = annotations.get(WANTED_BY)
        if asker and self._grants(asker):
            self._given.set()
        if not self._given.is_set():
            annotations = {name: text for name, text in annotations.items() if name != WANTED_BY}
        return self._layouts.held(annotations) if self.shard == 0 else annotations

    def _grants(self, asker: str) -> bool:
        if not self._acting or self._field.closing or self.leader.clock() < self.leader.settled_at:
            return False
        theirs = shards.shares(self._field.holders.values())[asker]
        return asker != self.leader.identity and shards.too_many(self._field.mine, theirs)

    def asked(self, annotations: Annotations) -> Annotations | None:
        """Ask its holder for it, where that one has too many."""
        self._free_since = math.inf
        now, me = self.leader.clock(), self.leader.identity
        if self._field.closing or not self._layouts.serves or now < self._field.asks_from or WANTED_BY in annotations:
            return None
        if self._layouts.shards == 1 or not shards.wanted(self.shard, self._field.holders, me):
            return None
        self._field.asks_from = now + ANSWERED * self._pause
        log.info("asking for shard %d: its holder has at least two more than this process", self.shard)
        return {**annotations, WANTED_BY: me}

    def forbid(self) -> None:
        """Beside the first one, a Lease is worth something under its layout only."""
        if self.shard and self._bound is not None:
            self._layouts.check(self._bound)

    @property
    def _pause(self) -> float:
        return self.leader.retry / 2 * self.leader.pace
