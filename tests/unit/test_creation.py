"""A creation: recorded before it is sent, sent only while it is wanted, taken back where it was refused."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, cast

import pytest

from inferencekey_operator.api.keys import Key
from inferencekey_operator.api.status import Creation
from inferencekey_operator.api.workload import FINALIZER, OnDrift, Workload
from inferencekey_operator.cache.creation_order import Precedence
from inferencekey_operator.cache.workloads import Taken
from inferencekey_operator.errors import ConfigurationError, OperatorError, PlatformFailure, Reason
from inferencekey_operator.inferencekey.wire import LiveWorkload
from inferencekey_operator.kube.errors import ClusterError
from inferencekey_operator.plan.drift import declared_document
from inferencekey_operator.plan.ownership import Origin, sent_hash
from inferencekey_operator.plan.plan import Create
from inferencekey_operator.reconcile.context import RequeueAfter, check_decision
from inferencekey_operator.reconcile.creation import create, on_record
from inferencekey_operator.reconcile.ensure import Reconciler
from inferencekey_operator.reconcile.observe import Observed
from unit.builders import IDENTITY, NOW, a_workload, agreed, annotated, redeclared
from unit.invariants import check_status
from unit.place import Place, a_place, body_of
from unit.scripted_platform import DOWN, LOST, REFUSED, now, row
from unit.virtual_time import virtual

RIVAL = Key("team-b", "support-bot")
SETTLE = 40.0
PINS = ("platform_url", "project_slug", "workload_slug")


class Replica:
    """A process that is about to create; the platform has nothing yet."""

    def __init__(self, place: Place, workload: Workload | None = None) -> None:
        self.place, self.context = place, place.context
        self.platform, self.did = place.platform, place.did
        self.platform.rows.clear()
        self.platform.date = NOW
        self.workload = workload or place.now_stands(a_workload())

    @classmethod
    async def ready(cls) -> Replica:
        """With everything that a creation needs."""
        return cls(await a_place(uncertain_create_timeout=SETTLE))

    def stands(self, workload: Workload) -> None:
        """The watch shows it so."""
        version = int(self.place.now_stands(self.workload).resource_version) + 1
        self.workload = replace(workload, resource_version=str(version))
        self.place.stands(self.workload)

    @property
    def memory(self) -> Any:
        """What the process remembers of the Workload."""
        return self.place.memory(self.workload)

    @property
    def now(self) -> Workload:
        """The Workload as it stands."""
        return self.place.now_stands(self.workload)

    async def creates(self, *, again: bool = False) -> LiveWorkload:
        """As the reconciler does it, from an observation to the answer."""
        project = self.place.project()
        await project.look(self.memory.seen)
        declared = declared_document(self.now)
        observed = Observed(IDENTITY, project, OnDrift.RECONCILE, declared, None, Origin.FOUND)
        _, answer = await create(self.context, self.now, observed, Create(declared, again=again))
        return answer

    async def fails(self) -> OperatorError:
        """A creation that an error ends, and the report of it."""
        with pytest.raises(OperatorError) as caught:
            await self.creates()
        await Reconciler(self.context).report_failure(self.now, caught.value)
        return caught.value


# -- the record ----------------------------------------------------------------------------------------------------


@virtual
async def test_the_record_comes_before_the_post() -> None:
    """The finalizer, then the identity, the platform's time and what is sent, in one write; then the POST."""
    replica = await Replica.ready()

    answer = await replica.creates()

    assert replica.did == ["add finalizer", "status", "create"]
    status = replica.now.status
    assert status.creation == Creation(time=NOW, sent=sent_hash(declared_document(replica.workload)))
    assert [getattr(status, name) for name in PINS] == [IDENTITY.platform_url, IDENTITY.project, IDENTITY.slug]
    assert status.operator == replica.place.context.installations._me
    check_status(status.to_wire())
    assert (replica.memory.made, replica.memory.posted, replica.memory.uncertain_since) == (answer.id, True, None)


@virtual
async def test_each_attempt_is_written_before_it_is_sent() -> None:
    """Of two operators, only one writes; the time stays that of the first. The policy is shown with the error."""
    replica = await Replica.ready()
    replica.platform.fails.extend([None, DOWN])
    assert (await replica.fails()).reason is Reason.PLATFORM_UNREACHABLE
    assert replica.now.status.drift.policy == "Reconcile"
    record = replica.now.status.creation
    replica.did.clear()

    await replica.creates()

    assert replica.did == ["exists", "status", "create"]
    assert record is not None
    assert replica.now.status.creation == replace(record, attempts=2)


@virtual
async def test_an_attempt_whose_write_was_refused_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another operator may have written the very same attempt: it is theirs, and the next one is ours."""
    replica = await Replica.ready()
    replica.platform.fails.extend([None, DOWN])
    await replica.fails()
    record = replica.now.status.creation
    assert record is not None

    async def refused(*_: Any) -> Any:
        raise ClusterError(409, "the object has been modified")

    with monkeypatch.context() as patched:
        patched.setattr(replica.context.reporter._cluster, "patch_status", refused)
        with pytest.raises(ClusterError):
            await replica.creates()
    replica.stands(replace(replica.now, status=replace(replica.now.status, creation=replace(record, attempts=2))))
    replica.did.clear()

    await replica.creates()

    assert replica.did == ["exists", "status", "create"]
    assert replica.now.status.creation == replace(record, attempts=3)


@virtual
async def test_another_declaration_has_a_record_of_its_own() -> None:
    """It says what is sent now: what a former creation may have made does not resemble it."""
    replica = await Replica.ready()
    replica.platform.fails.extend([None, DOWN])
    await replica.fails()
    replica.stands(redeclared(replica.now, model="another"))
    replica.did.clear()

    await replica.creates()

    assert replica.did == ["exists", "status", "create"]
    assert replica.now.status.creation == Creation(time=NOW, sent=sent_hash(declared_document(replica.now)))


@virtual
async def test_what_is_created_again_loses_its_id_first() -> None:
    """In the write of the record, so that a lost answer is read as at the first time."""
    replica = await Replica.ready()
    replica.stands(agreed(replica.now))
    replica.stands(replace(replica.workload, finalizers=(FINALIZER,)))

    await replica.creates(again=True)

    assert replica.did == ["exists", "status", "create"]
    assert (replica.now.status.workload_id, replica.now.status.adopted) == (None, None)
    check_status(replica.now.status.to_wire())


# -- how it ends ---------------------------------------------------------------------------------------------------


@virtual
async def test_a_refusal_is_taken_back() -> None:
    """Nothing was made: record, pins and finalizer go, so the Workload can be deleted, or declare another identity."""
    replica = await Replica.ready()
    replica.platform.fails.extend([None, REFUSED])

    assert (await replica.fails()).reason is Reason.PLATFORM_REFUSED

    assert replica.did == ["add finalizer", "status", "create", "status", "remove finalizer"]
    status = replica.now.status
    assert [status.creation, *(getattr(status, name) for name in PINS)] == [None] * 4
    assert not replica.now.has_finalizer
    check_status(status.to_wire())


@virtual
async def test_a_refusal_of_what_was_pinned_before_keeps_the_pins() -> None:
    """A workload of this identity was there once; only the record of the creation goes."""
    replica = await Replica.ready()
    replica.stands(agreed(replica.now, workload_id=None, adopted=None))
    replica.stands(replace(replica.workload, finalizers=(FINALIZER,)))
    replica.platform.fails.extend([None, REFUSED])

    await replica.fails()

    assert replica.did == ["status", "create", "status"]
    assert replica.now.status.creation is None
    assert replica.now.status.platform_url == IDENTITY.platform_url
    assert replica.now.has_finalizer


@virtual
async def test_trouble_that_passes_keeps_the_record() -> None:
    """Nothing was made, and the creation is sent again soon: two writes for each try would be too many."""
    replica = await Replica.ready()
    replica.platform.fails.extend([None, DOWN])

    await replica.fails()

    assert replica.now.status.creation is not None
    assert replica.now.has_finalizer
    assert replica.memory.void
    assert not on_record(replica.context, replica.now)


@virtual
async def test_a_lost_answer_leaves_the_record() -> None:
    """There may be a workload: the record says so, to this process and to the next one."""
    replica = await Replica.ready()
    replica.platform.fails.extend([None, LOST])

    await replica.fails()

    assert on_record(replica.context, replica.now)
    assert (replica.memory.void, replica.memory.posted) == (False, True)
    assert replica.memory.uncertain_since == pytest.approx(now(), abs=1.0)
    assert replica.now.has_finalizer


# -- sent only while it is wanted ----------------------------------------------------------------------------------


def edited(replica: Replica) -> None:
    """Someone declares another model."""
    replica.stands(redeclared(replica.now, model="another"))


def deleted(replica: Replica) -> None:
    """Someone deletes the Workload."""
    replica.stands(replace(replica.now, deletion_timestamp=NOW))


def other_policy(replica: Replica) -> None:
    """Someone gives the namespace another drift policy."""
    replica.place.namespaces["team-a"] = "Warn"


def no_policy(replica: Replica) -> None:
    """Someone gives the namespace a drift policy that is none."""
    replica.place.namespaces["team-a"] = "Panic"


@pytest.mark.parametrize("change", [edited, deleted, other_policy, no_policy])
@virtual
async def test_a_change_before_the_record_stops_it(change: Callable[[Replica], None]) -> None:
    """While the creation waited for its place in the platform's queue: neither record nor POST."""
    replica = await Replica.ready()
    written = replica.place.kubernetes.add_finalizer

    async def add_finalizer(workload: Workload) -> Any:
        body = await written(workload)
        replica.place.store.observe(body)
        change(replica)
        return body

    replica.place.kubernetes.add_finalizer = add_finalizer  # type: ignore[method-assign]
    with pytest.raises(RequeueAfter):
        await replica.creates()

    assert replica.did == ["add finalizer"]
    assert replica.memory.uncertain_since is None


@pytest.mark.parametrize("change", [edited, deleted, other_policy, no_policy])
@virtual
async def test_a_change_after_the_record_stops_it_too(change: Callable[[Replica], None]) -> None:
    """Right before the bytes go out it is checked once more: nothing was sent, so nothing is on record in effect."""
    replica = await Replica.ready()
    real: Callable[..., Awaitable[LiveWorkload]] = replica.platform.create

    async def post(token: str, project: str, body: dict[str, Any]) -> LiveWorkload:
        change(replica)
        check_decision()
        return await real(token, project, body)

    replica.platform.create = post  # type: ignore[method-assign]
    with pytest.raises(RequeueAfter):
        await replica.creates()

    assert replica.did == ["add finalizer", "status"]
    assert replica.memory.void
    assert not on_record(replica.context, replica.now)


# -- several replicas ----------------------------------------------------------------------------------------------


class Watched:
    """In the place of the precedence: what its watch shows by the time that it has shown our own record."""

    def __init__(self, replica: Replica, *, knows: bool = True, rival_is_first: bool = False) -> None:
        self._replica, self._knows, self._rival_is_first = replica, knows, rival_is_first
        replica.context = replace(replica.context, precedence=cast(Precedence, self))
        replica.context.claims.stake(replica.workload.key, IDENTITY, lambda: True)

    async def knows_all_before(self, workload: Workload) -> bool:
        """Whether it got as far as the record."""
        assert workload.status.creation is not None
        self._replica.did.append("wait")
        if self._rival_is_first:
            rival = agreed(a_workload(namespace="team-b", uid="rival"), workload_id="wl_9")
            self._replica.place.stands(rival)
            self._replica.context.claims.stake(RIVAL, IDENTITY, lambda: True)
        return self._knows


@virtual
async def test_the_first_one_goes_on() -> None:
    """Its record, the wait, the POST: in this order."""
    replica = await Replica.ready()
    Watched(replica)
    await replica.creates()
    assert replica.did == ["add finalizer", "status", "wait", "create"]


@pytest.mark.parametrize(("knows", "rival_is_first"), [(True, True), (False, False)])
@virtual
async def test_the_second_one_takes_its_record_back(knows: bool, rival_is_first: bool) -> None:
    """Nothing was sent, so nothing was made; one whose watch is behind tries again, and holds up nobody meanwhile."""
    replica = await Replica.ready()
    Watched(replica, knows=knows, rival_is_first=rival_is_first)

    with pytest.raises(RequeueAfter if not knows else ConfigurationError):
        await replica.creates()

    assert replica.did == ["add finalizer", "status", "wait", "status", "remove finalizer"]
    status = replica.now.status
    assert [status.creation, *(getattr(status, name) for name in PINS)] == [None] * 4
    assert not replica.now.has_finalizer


@virtual
async def test_a_record_of_a_creation_that_was_sent_stays() -> None:
    """Its answer was lost, so a workload may be there: the record is no longer this process's to take back."""
    replica = await Replica.ready()
    replica.platform.fails.extend([None, LOST])
    await replica.fails()
    Watched(replica, rival_is_first=True)
    replica.did.clear()

    with pytest.raises(ConfigurationError):
        await replica.creates()

    assert replica.did == ["exists", "status", "wait"]
    assert replica.now.status.creation is not None


# -- a slug that is taken ------------------------------------------------------------------------------------------


@virtual
async def test_a_slug_that_someone_has_unseen() -> None:
    """The platform made a duplicate: it is recorded, deleted, and nothing more is sent before that is understood."""
    replica = await Replica.ready()
    replica.platform.rows["support-bot"] = row("support-bot")
    replica.platform.hidden = {"support-bot"}

    error = await replica.fails()

    assert replica.did[:6] == ["add finalizer", "status", "create", "status", "delete", "status"]
    assert error.reason is Reason.PLATFORM_ERROR
    assert "support-bot-1" in error.message
    assert list(replica.platform.rows) == ["support-bot"]
    assert replica.now.status.duplicate_workload_id is None
    assert replica.now.status.creation is None
    check_status(replica.now.status.to_wire())
    replica.did.clear()

    for _ in range(3):
        await asyncio.sleep(SETTLE)
        replica.memory.seen = now()
        assert (await replica.fails()).reason is Reason.PLATFORM_ERROR

    assert "create" not in replica.did
    replica.platform.rows.clear()
    await asyncio.sleep(SETTLE)
    replica.memory.seen = now()
    assert (await replica.creates()).slug == "support-bot"


@virtual
async def test_a_slug_that_the_platform_spells_in_another_way() -> None:
    """It is no duplicate of anything: a person has to declare another slug, and until then nothing is created."""
    replica = await Replica.ready()
    replica.platform.makes = {"support-bot": "supportbot"}

    error = await replica.fails()

    assert (error.reason, list(replica.platform.rows)) == (Reason.PLATFORM_REFUSED, [])
    assert '"supportbot" of the slug "support-bot"' in error.message
    replica.did.clear()
    await asyncio.sleep(10 * SETTLE)
    replica.memory.seen = now()
    assert (await replica.fails()).reason is Reason.PLATFORM_REFUSED
    assert "create" not in replica.did


@virtual
async def test_a_numbered_slug_twice_is_how_the_platform_spells_it() -> None:
    """Nobody has the slug, and the platform makes the same other one again: a person has to look at that."""
    replica = await Replica.ready()
    replica.platform.makes = {"support-bot": "support-bot-7"}
    assert (await replica.fails()).reason is Reason.PLATFORM_ERROR
    await asyncio.sleep(SETTLE)
    replica.memory.seen = now()

    assert (await replica.fails()).reason is Reason.PLATFORM_REFUSED

    assert replica.platform.rows == {}
    assert replica.did.count("create") == 2


TAKEN = Taken("support-bot-1", at=100.0, generation=1, requested=None)
WAITS: list[tuple[str, Taken, float, bool, Reason | None]] = [
    ("the list is too early to show who has the slug", TAKEN, 139.0, False, Reason.PLATFORM_ERROR),
    ("it is late enough, and the readiness route knows nobody", TAKEN, 141.0, False, None),
    ("it is late enough, and the readiness route knows somebody", TAKEN, 141.0, True, Reason.PLATFORM_ERROR),
    ("twice", replace(TAKEN, times=2), 141.0, False, Reason.PLATFORM_REFUSED),
    ("another spelling", replace(TAKEN, slug="supportbot"), 141.0, False, Reason.PLATFORM_REFUSED),
    ("a number without a dash", replace(TAKEN, slug="support-bot1"), 141.0, False, Reason.PLATFORM_REFUSED),
    ("that, of a former generation", replace(TAKEN, slug="x", generation=0), 101.0, False, None),
    (
        "that, before someone asked for a reconciliation",
        replace(TAKEN, slug="x", requested="before"),
        101.0,
        True,
        None,
    ),
]


@pytest.mark.parametrize(("why", "taken", "at", "exists", "reason"), WAITS, ids=[case[0] for case in WAITS])
@virtual
async def test_when_a_slug_that_was_taken_is_tried_again(
    why: str, taken: Taken, at: float, exists: bool, reason: Reason | None
) -> None:
    """After one duplicate nothing is sent before it is known who has the slug; a person may decide otherwise."""
    replica = await Replica.ready()
    await asyncio.sleep(at - now())
    replica.memory.seen, replica.memory.taken = at, taken
    if exists:
        replica.platform.rows["support-bot"] = row("support-bot")
        replica.platform.hidden = {"support-bot"}

    if reason is None:
        replica.platform.rows.clear()
        assert (await replica.creates()).slug == "support-bot", why
    else:
        assert (await replica.fails()).reason is reason, why
        assert "create" not in replica.did, why


@virtual
async def test_a_request_that_was_there_before_is_none() -> None:
    """The annotation has to change."""
    replica = await Replica.ready()
    replica.stands(annotated(replica.now, reconcile_requested_at="before"))
    replica.memory.taken = replace(TAKEN, slug="x", requested="before")

    assert (await replica.fails()).reason is Reason.PLATFORM_REFUSED


# -- a list that knows less than the readiness route ---------------------------------------------------------------


@pytest.mark.parametrize("why", ["again", "on record", "listed as deleted"])
@virtual
async def test_where_a_workload_was_the_readiness_route_is_asked(why: str) -> None:
    """A list that lacks it, or shows it deleted, may be wrong: nothing is sent while the two disagree."""
    replica = await Replica.ready()
    replica.platform.rows["support-bot"] = row("support-bot")
    replica.platform.hidden = {"support-bot"}
    if why == "on record":
        replica.stands(replace(replica.now, status=replace(replica.now.status, creation=Creation())))
    if why == "listed as deleted":
        replica.platform.extra = [{"id": "wl_0", "slug": "support-bot", "deleted_at": "2026-03-02T10:41:32Z"}]

    with pytest.raises(PlatformFailure, match="its readiness route answers for it"):
        await replica.creates(again=why == "again")

    assert replica.did == ["exists"]


@virtual
async def test_a_first_creation_asks_nobody() -> None:
    """Nothing was there, as far as anyone knows: a list is enough."""
    replica = await Replica.ready()
    await replica.creates()
    assert "exists" not in replica.did
    assert body_of(replica.now)["metadata"]["finalizers"] == [FINALIZER]


@pytest.mark.parametrize(("knows", "rival_is_first"), [(True, True), (False, False)])
@virtual
async def test_a_record_of_a_former_process_stays(knows: bool, rival_is_first: bool) -> None:
    """It may have sent the creation: what this process did not write it does not take back."""
    replica = await Replica.ready()
    record = Creation(time=NOW, sent=sent_hash(declared_document(replica.now)))
    pinned = replace(agreed(replica.now).status, workload_id=None, adopted=None, last_applied=(), creation=record)
    replica.stands(replace(replica.now, finalizers=(FINALIZER,), status=pinned))
    Watched(replica, knows=knows, rival_is_first=rival_is_first)

    with pytest.raises(RequeueAfter if not knows else ConfigurationError):
        await replica.creates()

    assert replica.did == ["exists", "status", "wait"]
    assert replica.now.status.creation == replace(record, attempts=2)
    assert replica.now.has_finalizer
