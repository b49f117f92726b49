"""One leads, and nobody else until it has certainly stopped: whatever the API server, the network and clocks do.

The Lease is in memory and time is virtual; the same is done with real processes in the integration tests.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import re
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inferencekey_operator.election.leader import Leader, LeadershipLostError
from inferencekey_operator.kube.client import Cluster
from inferencekey_operator.kube.errors import ClusterError
from inferencekey_operator.kube.reading import Body
from unit.virtual_time import freezable, virtual

MICRO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
NAME = "inferencekey-operator"
DURATION, RENEW_DEADLINE, RETRY = 15.0, 10.0, 2.0
GAP = DURATION - RENEW_DEADLINE


class Store:
    """One Lease, kept as the API server keeps it: a write needs the resourceVersion that stands."""

    def __init__(self, **spec: Any) -> None:
        self.lease: Body | None = None
        self._version = 0
        if spec:
            self.put({"metadata": {"name": NAME, "namespace": "system"}, "spec": spec})

    @property
    def spec(self) -> Body:
        """What the Lease says."""
        assert self.lease is not None
        spec: Body = self.lease["spec"]
        return spec

    def put(self, lease: Body) -> Body:
        """Write without looking at what stands."""
        self._version += 1
        self.lease = copy.deepcopy(lease)
        self.lease["metadata"]["resourceVersion"] = str(self._version)
        return copy.deepcopy(self.lease)

    def change(self, **spec: Any) -> None:
        """What somebody else writes."""
        assert self.lease is not None
        self.put({**self.lease, "spec": {**self.spec, **spec}})

    def answer(self, method: str, body: Body | None) -> Body:
        """What the API server makes of one request."""
        if method == "GET":
            if self.lease is None:
                raise ClusterError(404, f'leases.coordination.k8s.io "{NAME}" not found')
            return copy.deepcopy(self.lease)
        assert body is not None
        stands = self.lease["metadata"]["resourceVersion"] if self.lease else None
        if body["metadata"].get("resourceVersion") != stands:
            raise ClusterError(409, "the object has been modified, or is there already")
        return self.put(body)


class Link(Cluster):
    """The way of one process to the store, with its troubles."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.went_back = asyncio.Event()
        self._versions: dict[str, int] = {}
        self.trouble: str | Exception = ""
        """`hangs`, `deaf` (the request arrives, its answer does not) or the error that every request meets."""
        self.latency = 0.005
        self.sent: list[tuple[float, str, str, dict[str, str]]] = []

    async def request(self, method: str, path: str, *, body: Any = None, **query: str) -> Body:
        """One request."""
        self.sent.append((asyncio.get_running_loop().time(), method, path, query))
        await asyncio.sleep(self.latency)
        if isinstance(self.trouble, Exception):
            raise self.trouble
        if self.trouble == "hangs":
            await asyncio.Event().wait()
        answer = self.store.answer(method, body)
        await asyncio.sleep(self.latency)
        if self.trouble == "deaf":
            await asyncio.Event().wait()
        return answer


def candidate(link: Link, identity: str = "a") -> Leader:
    """A candidate whose clock is the loop's."""
    return Leader(link, "system", identity=identity, clock=asyncio.get_running_loop().time)


async def leading(link: Link, identity: str = "a") -> Leader:
    """One that leads."""
    leader = candidate(link, identity)
    await leader.acquire()
    return leader


def leads(leader: Leader) -> bool:
    """Whether it may act."""
    try:
        leader.check()
    except LeadershipLostError:
        return False
    return True


def now() -> float:
    """Virtual seconds."""
    return asyncio.get_running_loop().time()


# -- becoming the leader ---------------------------------------------------------------------------------------


@virtual
async def test_a_missing_lease_is_created() -> None:
    """The first one leads at once, with nobody's writes to wait for, and the Lease says all that belongs there."""
    store = Store()
    leader = candidate(Link(store))
    assert not leads(leader)
    assert await leader.acquire() is False
    assert leads(leader)
    assert leader.settled_at <= now() < 0.1
    assert store.spec["holderIdentity"] == "a"
    assert store.spec["leaseDurationSeconds"] == 15
    assert store.spec["leaseTransitions"] == 0
    assert MICRO_TIME.fullmatch(store.spec["acquireTime"])
    assert MICRO_TIME.fullmatch(store.spec["renewTime"])


@pytest.mark.parametrize("holder", [{"holderIdentity": ""}, {}])
@virtual
async def test_a_lease_that_was_given_up_is_taken_at_once(holder: Body) -> None:
    """The transition is counted, fields that are not ours stay, and creates need not wait."""
    store = Store(**holder, leaseDurationSeconds=1, leaseTransitions=6, strategy="OldestEmulationVersion")
    leader = candidate(Link(store))
    assert await leader.acquire() is False
    assert leader.settled_at <= now() < 0.1
    assert store.spec["leaseTransitions"] == 7
    assert store.spec["strategy"] == "OldestEmulationVersion"


@pytest.mark.parametrize("lasts", [1, 15, 40])
@pytest.mark.parametrize("year", [1999, 2999])
@virtual
async def test_a_holder_has_the_time_that_its_lease_gives_it(lasts: int, year: int) -> None:
    """Counted on our own clock since we saw it; the time of day that it wrote down means nothing."""
    renewed = f"{year}-01-01T00:00:00.000000Z"
    store = Store(holderIdentity="b", leaseDurationSeconds=lasts, renewTime=renewed, leaseTransitions=3)
    leader = candidate(Link(store))
    assert await leader.acquire() is True
    assert lasts <= now() < lasts + 0.1
    assert now() + GAP - 0.1 < leader.settled_at <= now() + GAP
    assert store.spec["leaseTransitions"] == 4


@virtual
async def test_a_lease_without_a_duration_lasts_as_long_as_ours() -> None:
    """Somebody wrote it by hand."""
    leader = candidate(Link(Store(holderIdentity="b")))
    await leader.acquire()
    assert DURATION <= now() < DURATION + 0.1


@virtual
async def test_a_lease_without_a_spec_is_free() -> None:
    """Somebody made it by hand."""
    store = Store()
    store.put({"metadata": {"name": NAME, "namespace": "system"}})
    assert await candidate(Link(store)).acquire() is False
    assert store.spec["holderIdentity"] == "a"


@virtual
async def test_a_holder_that_renews_is_never_replaced() -> None:
    """However rarely it does: each change begins its time anew. Other changes do not."""
    store = Store(holderIdentity="b", leaseDurationSeconds=15)
    acquired = asyncio.create_task(candidate(Link(store)).acquire())
    for count in range(5):
        store.change(renewTime=f"a time, {count}")
        await asyncio.sleep(14.5)
        assert not acquired.done()
    last_change = now() - 14.5
    assert store.lease is not None
    store.put({**store.lease, "metadata": {**store.lease["metadata"], "labels": {"team": "red"}}})
    assert await acquired is True
    assert last_change + 15 <= now() < last_change + 15 + RETRY / 2 + 0.1


@virtual
async def test_of_several_candidates_one_wins() -> None:
    """They try at the same moment; compare-and-swap decides."""
    store = Store(holderIdentity="gone", leaseDurationSeconds=3)
    leaders = [candidate(Link(store), f"candidate-{number}") for number in range(5)]
    tasks = [asyncio.create_task(leader.acquire()) for leader in leaders]
    await asyncio.sleep(3.5)
    assert [leads(leader) for leader in leaders].count(True) == 1
    assert leads(next(leader for leader in leaders if leader.identity == store.spec["holderIdentity"]))
    for task in tasks:
        task.cancel()


@pytest.mark.parametrize("spec", [{}, {"holderIdentity": ""}])
@virtual
async def test_a_write_whose_answer_was_lost_is_known_as_our_own(spec: Body) -> None:
    """Nobody waits for himself: the next look finds our own name and time there."""
    store = Store(**spec)
    link = Link(store)
    leader = candidate(link)
    acquired = asyncio.create_task(leader.acquire())
    await asyncio.sleep(0.012)
    link.trouble = "deaf"
    await asyncio.sleep(0.01)
    assert store.spec["holderIdentity"] == "a"
    assert not leads(leader)
    link.trouble = ""
    assert await acquired is False
    assert now() < RENEW_DEADLINE / 3 + RETRY


@virtual
async def test_a_namesake_waits_as_any_other() -> None:
    """A process that starts under the name of one that was killed, or still runs, is another one."""
    store = Store()
    first = await leading(Link(store), "pod-0")
    holding = asyncio.create_task(first.hold())
    second = candidate(Link(store), "pod-0")
    acquired = asyncio.create_task(second.acquire())
    await asyncio.sleep(60)
    assert leads(first)
    assert not acquired.done()
    holding.cancel()
    assert await acquired is True
    assert not leads(first)


@virtual
async def test_a_deleted_lease_leaves_its_holder_the_time_it_had() -> None:
    """Who watched the holder does not take a deletion for a release; the holder makes the Lease anew."""
    store = Store()
    holding = asyncio.create_task((await leading(Link(store), "b")).hold())
    acquired = asyncio.create_task(candidate(Link(store)).acquire())
    await asyncio.sleep(20.5)
    store.lease = None
    await asyncio.sleep(RETRY + 0.1 + 2)
    assert store.spec["holderIdentity"] == "b"
    holding.cancel()
    await asyncio.sleep(1.5)
    store.lease = None
    await asyncio.sleep(11)
    assert not acquired.done()
    assert await acquired is True


# -- staying the leader ----------------------------------------------------------------------------------------

TROUBLES = [
    pytest.param("hangs", id="hangs"),
    pytest.param("deaf", id="deaf"),
    pytest.param(ClusterError(0, "ClientConnectorError: refused"), id="refused"),
    pytest.param(ClusterError(500, "etcdserver: request timed out"), id="500"),
    pytest.param(ClusterError(429, "too many requests"), id="429"),
    pytest.param(ClusterError(403, "forbidden"), id="403"),
    pytest.param(ClusterError(404, 'namespaces "system" not found'), id="404"),
    pytest.param(ClusterError(409, "the object has been modified"), id="409"),
    pytest.param(RuntimeError("the credential plugin failed"), id="plugin"),
    pytest.param(ValueError("not JSON"), id="not JSON"),
]


@pytest.mark.parametrize("trouble", TROUBLES)
@virtual
async def test_trouble_that_passes_does_not_end_a_leadership(trouble: str | Exception) -> None:
    """As long as one renewal succeeds before the deadline; each lasts 6 s here, and there are several."""
    link = Link(Store())
    leader = await leading(link)
    holding = asyncio.create_task(leader.hold())
    for _ in range(5):
        link.trouble = trouble
        await asyncio.sleep(6)
        link.trouble = ""
        await asyncio.sleep(5)
        assert leads(leader)
    assert not holding.done()
    holding.cancel()


@pytest.mark.parametrize("trouble", TROUBLES)
@virtual
async def test_trouble_that_lasts_ends_it_at_the_deadline(trouble: str | Exception) -> None:
    """The deadline counts from the start of the last renewal that succeeded; hold() ends when check() refuses."""
    link = Link(Store())
    leader = await leading(link)
    holding = asyncio.create_task(leader.hold())
    await asyncio.sleep(31)
    last = max(at for at, method, *_ in link.sent if method == "PUT")
    link.trouble = trouble
    await asyncio.sleep(last + RENEW_DEADLINE - 0.001 - now())
    assert leads(leader)
    await asyncio.sleep(0.002)
    assert not leads(leader)
    with pytest.raises(LeadershipLostError):
        await holding
    assert now() < last + RENEW_DEADLINE + 0.01


@virtual
async def test_the_deadline_counts_from_the_start_of_a_renewal() -> None:
    """A slow answer proves that the Lease was ours when the request was sent, and no more."""
    link = Link(Store())
    link.latency = 1.5
    leader = await leading(link)
    started = link.sent[-1][0]
    assert now() == started + 2 * link.latency
    await asyncio.sleep(started + RENEW_DEADLINE - now() - 0.001)
    assert leads(leader)
    await asyncio.sleep(0.002)
    assert not leads(leader)


@virtual
async def test_a_lease_that_another_took_is_lost_at_once() -> None:
    """The next renewal finds out; nothing of the other's is overwritten."""
    store = Store()
    leader = await leading(Link(store))
    holding = asyncio.create_task(leader.hold())
    store.change(holderIdentity="b", acquireTime="another")
    with pytest.raises(LeadershipLostError, match="not ours"):
        await holding
    assert now() < 2 * RETRY + 0.1
    assert not leads(leader)
    assert store.spec["holderIdentity"] == "b"


@virtual
async def test_a_machine_that_slept_too_long_does_nothing_when_it_wakes() -> None:
    """Its clock has moved on while its timers have not: no renewal is even tried."""
    slept = 0.0
    link = Link(Store())
    loop = asyncio.get_running_loop()
    leader = Leader(link, "system", identity="a", clock=lambda: loop.time() + slept)
    await leader.acquire()
    holding = asyncio.create_task(leader.hold())
    await asyncio.sleep(5)
    assert leads(leader)
    slept = 9.0
    before = len(link.sent)
    assert not leads(leader)
    with pytest.raises(LeadershipLostError):
        await holding
    assert len(link.sent) == before


@virtual
async def test_steady_state_is_one_request_each_retry() -> None:
    """A leader updates what it knows; it only reads again after trouble. Writes name their field manager."""
    link = Link(Store())
    holding = asyncio.create_task((await leading(link)).hold())
    await asyncio.sleep(21)
    assert [method for _, method, *_ in link.sent] == ["GET", "POST"] + ["PUT"] * 10
    path = "/apis/coordination.k8s.io/v1/namespaces/system/leases"
    assert [sent[2] for sent in link.sent] == [f"{path}/{NAME}", path] + [f"{path}/{NAME}"] * 10
    assert all(bool(query.get("fieldManager")) == (method != "GET") for _, method, _, query in link.sent)
    holding.cancel()


# -- giving it up ----------------------------------------------------------------------------------------------


@virtual
async def test_a_release_lets_the_next_one_start_within_a_second() -> None:
    """It need not wait for anything of the former one's."""
    store = Store()
    first = await leading(Link(store), "b")
    holding = asyncio.create_task(first.hold())
    second = candidate(Link(store))
    acquired = asyncio.create_task(second.acquire())
    await asyncio.sleep(30)
    holding.cancel()
    released = now()
    await first.release()
    assert not leads(first)
    assert store.spec["holderIdentity"] == ""
    assert store.spec["leaseDurationSeconds"] == 1
    assert store.spec["leaseTransitions"] == 0
    assert await acquired is False
    assert now() - released <= 1.1
    assert second.settled_at <= now()
    assert store.spec["leaseTransitions"] == 1
    await first.release()
    assert store.spec["holderIdentity"] == "a"
    assert leads(second)


@virtual
async def test_a_release_before_it_is_settled_leaves_that_to_the_next() -> None:
    """The one that vanished may still have writes on their way, which the next one must await in its turn."""
    store = Store(holderIdentity="vanished", leaseDurationSeconds=15)
    first = await leading(Link(store), "b")
    second = candidate(Link(store))
    acquired = asyncio.create_task(second.acquire())
    await asyncio.sleep(2)
    await first.release()
    released = now()
    assert await acquired is True
    assert now() < released + 2.1
    assert second.settled_at > first.settled_at


@virtual
async def test_a_leader_that_lost_touch_takes_its_own_lease_back_at_once() -> None:
    """Nobody else had it: there is nobody to wait for, and nobody's writes."""
    link = Link(Store(holderIdentity="before", leaseDurationSeconds=15))
    leader = candidate(link)
    assert await leader.acquire() is True
    link.trouble = ClusterError(0, "no route")
    with pytest.raises(LeadershipLostError):
        await leader.hold()
    acquiring = asyncio.create_task(leader.acquire())
    await asyncio.sleep(60)
    assert not leads(leader)
    link.trouble, back = "", now()
    assert await acquiring is False
    assert now() - back <= RETRY
    assert leads(leader)
    assert not leader.took_over
    assert link.store.spec["leaseTransitions"] == 0


@virtual
async def test_a_leader_that_lost_its_lease_waits_like_any_other() -> None:
    """Another one took it meanwhile, with the time that this one has."""
    link = Link(Store())
    leader = await leading(link)
    link.store.change(holderIdentity="b", acquireTime="another")
    with pytest.raises(LeadershipLostError):
        await leader.hold()
    lost = now()
    assert await leader.acquire() is True
    assert leader.took_over
    assert now() - lost >= DURATION
    assert leader.settled_at >= now() + GAP - 0.1


@virtual
async def test_a_release_leaves_alone_what_is_not_ours() -> None:
    """Another one took the Lease meanwhile, or it is gone."""
    store = Store()
    leader = await leading(Link(store))
    store.change(holderIdentity="b", acquireTime="another")
    before = copy.deepcopy(store.lease)
    await leader.release()
    assert store.lease == before
    other = await leading(Link(empty := Store()))
    empty.lease = None
    await other.release()
    assert empty.lease is None


@virtual
async def test_a_candidate_has_nothing_to_release() -> None:
    """It sends nothing, and never leads after."""
    link = Link(Store(holderIdentity="b"))
    acquiring = asyncio.create_task((leader := candidate(link)).acquire())
    await asyncio.sleep(3)
    acquiring.cancel()
    before = len(link.sent)
    await leader.release()
    assert len(link.sent) == before
    assert not leads(leader)


@virtual
async def test_a_release_takes_back_a_write_that_nobody_waited_for() -> None:
    """SIGTERM came while the Lease was being taken: the write landed, its answer went unheard."""
    store = Store()
    link = Link(store)
    acquiring = asyncio.create_task((leader := candidate(link)).acquire())
    await asyncio.sleep(0.017)
    acquiring.cancel()
    assert store.spec["holderIdentity"] == "a"
    await leader.release()
    assert store.spec["holderIdentity"] == ""


@pytest.mark.parametrize("trouble", ["hangs", ClusterError(0, "refused"), ClusterError(403, "forbidden")])
@virtual
async def test_a_release_is_bounded_in_time(trouble: str | Exception, caplog: pytest.LogCaptureFixture) -> None:
    """A process that ends cannot wait for an API server that does not answer; it says so and goes."""
    link = Link(Store())
    leader = await leading(link)
    link.trouble = trouble
    await leader.release()
    assert now() < RENEW_DEADLINE / 3 + 0.1
    assert not leads(leader)
    assert "could not be released" in caplog.text


@virtual
async def test_a_release_survives_a_change_between_look_and_write() -> None:
    """Somebody labels the Lease at that moment: it is looked at again."""
    store = Store()
    leader = await leading(Link(store))
    releasing = asyncio.create_task(leader.release())
    await asyncio.sleep(0.012)
    store.change()
    await releasing
    assert store.spec["holderIdentity"] == ""


# -- what people are told --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ClusterError(403, 'User "x" cannot get resource "leases"'), ["cannot get", "get, create and update"]),
        (ClusterError(404, 'namespaces "system" not found'), ["namespaces", "must exist"]),
    ],
)
@virtual
async def test_a_lease_that_cannot_be_had_is_warned_of_each_minute(
    error: ClusterError, told: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """At first and each minute, with the namespace and what to do; it goes on by itself once that is mended."""
    link = Link(Store())
    link.trouble = error
    leader = candidate(link)
    acquired = asyncio.create_task(leader.acquire())
    for seconds, told_so_far in ((0.1, 1), (59.9, 1), (61.5, 2), (119.9, 2), (122.5, 3)):
        await asyncio.sleep(seconds - now())
        warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        assert len(warnings) == told_so_far
    assert all(words in warnings[-1] for words in [*told, "system/", "--lease-namespace"])
    link.trouble = ""
    await acquired
    assert leads(leader)


@virtual
async def test_another_kind_of_trouble_is_told_at_once(caplog: pytest.LogCaptureFixture) -> None:
    """The API server comes up, and then says no: that is news."""
    link = Link(Store())
    link.trouble = ClusterError(0, "refused")
    acquiring = asyncio.create_task(candidate(link).acquire())
    await asyncio.sleep(3)
    link.trouble = ClusterError(403, "forbidden")
    await asyncio.sleep(3)
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    acquiring.cancel()


@pytest.mark.parametrize(
    ("duration", "renew_deadline", "retry"),
    [(15.0, 15.0, 2.0), (10.0, 15.0, 2.0), (15.0, 10.0, 10.0), (15.0, 10.0, 0.0), (15.0, 10.0, -1.0)],
)
def test_timings_that_prove_nothing_are_refused(duration: float, renew_deadline: float, retry: float) -> None:
    """A leader must stop before its Lease runs out, and have a second try before it stops."""
    with pytest.raises(ValueError, match="duration"):
        Leader(Link(Store()), "x", identity="a", duration=duration, renew_deadline=renew_deadline, retry=retry)


# -- never two -------------------------------------------------------------------------------------------------


@dataclass
class Journal:
    """Who was allowed to act, when: one entry per look."""

    entries: list[tuple[float, Leader]] = field(default_factory=list)
    released: set[Leader] = field(default_factory=set)

    def verify(self) -> None:
        """No leader acts beside another, and none begins while writes of one that vanished may be on their way."""
        last: dict[Leader, float] = {}
        acting = None
        for at, leader in self.entries:
            if leader is not acting:
                assert leader not in last, f"{leader.identity} acts beside another at {at}"
                self._verify_beginning(at, leader, last)
            last[leader], acting = at, leader

    def _verify_beginning(self, at: float, leader: Leader, last: dict[Leader, float]) -> None:
        for former in last.keys() - self.released:
            assert at - last[former] > GAP, f"{leader.identity} acts {at - last[former]} s after {former.identity}"
            assert leader.settled_at - last[former] > 2 * GAP


class Process:
    """Runs for leadership for ever; a new process of the same name follows each that ended."""

    def __init__(self, store: Store, name: str, journal: Journal) -> None:
        self.name, self.journal, self.link = name, journal, Link(store)
        self.thawed = asyncio.Event()
        self.thawed.set()
        self._ends = ""
        self._live = asyncio.create_task(self._lives())

    def end(self, how: str) -> None:
        """`kill` it or `terminate` it."""
        self._ends = how
        self._inner.cancel()

    async def suffer(self, what: str, seconds: float) -> None:
        """One of the misfortunes below, for a while."""
        if what in ("kill", "terminate"):
            self.end(what)
        elif what == "freeze":
            self.thawed.clear()
            await asyncio.sleep(seconds)
            self.thawed.set()
        elif what == "slow":
            self.link.latency = 1.4
            await asyncio.sleep(seconds)
            self.link.latency = 0.005
        else:
            self.link.trouble = ClusterError(0, "refused") if what == "refused" else what
            await asyncio.sleep(seconds)
            self.link.trouble = ""

    async def _lives(self) -> None:
        while True:
            self._ends = ""
            leader = candidate(self.link, self.name)
            self._inner = asyncio.create_task(self._freezable(self._run(leader)))
            await asyncio.wait([self._inner])
            if self._ends == "terminate":
                await self._freezable(self._give_up(leader))
            await asyncio.sleep(1)

    async def _freezable(self, coroutine: Coroutine[Any, Any, None]) -> None:
        await freezable(coroutine, self.thawed)

    async def _run(self, leader: Leader) -> None:
        await leader.acquire()
        work = asyncio.create_task(self._freezable(self._work(leader)))
        try:
            await leader.hold()
        except LeadershipLostError:
            pass
        finally:
            work.cancel()

    async def _work(self, leader: Leader) -> None:
        while leads(leader):
            self.journal.entries.append((now(), leader))
            await asyncio.sleep(0.2)

    async def _give_up(self, leader: Leader) -> None:
        await leader.release()
        self.journal.released.add(leader)


MISFORTUNES = st.tuples(
    st.floats(0, 12),
    st.integers(0, 2),
    st.sampled_from(["freeze", "hangs", "deaf", "refused", "slow", "kill", "terminate"]),
    st.floats(0.5, 40),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(MISFORTUNES, max_size=10))
@virtual
async def test_whatever_happens_no_two_act_at_once(misfortunes: list[tuple[float, int, str, float]]) -> None:
    """Three processes meet any misfortunes: never two leaders, and one soon after the last has passed."""
    journal = Journal()
    processes = [Process(store, name, journal) for store in [Store()] for name in ("a", "b", "c")]
    await asyncio.sleep(0)
    suffering = []
    for wait, number, what, seconds in misfortunes:
        await asyncio.sleep(wait)
        suffering.append(asyncio.create_task(processes[number].suffer(what, seconds)))
    if suffering:
        await asyncio.wait(suffering)
    await asyncio.sleep(2 * DURATION)
    journal.verify()
    assert journal.entries[-1][0] > now() - 1
