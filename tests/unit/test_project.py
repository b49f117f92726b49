"""One list per project: shared, corrected by our own writes, and a gate while the platform is in trouble."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from contextlib import aclosing, suppress
from itertools import pairwise
from typing import Any
from weakref import WeakValueDictionary

import pytest

from inferencekey_operator.errors import OperatorError, PlatformFailure, Reason
from inferencekey_operator.inferencekey.client import Deleted, ListAnswer
from inferencekey_operator.inferencekey.own_writes import OwnWrites
from inferencekey_operator.inferencekey.project import Locks, Project, Shared
from inferencekey_operator.inferencekey.projects import Projects
from inferencekey_operator.inferencekey.rate_limits import Bucket, RateLimits
from inferencekey_operator.inferencekey.readiness import Phase
from inferencekey_operator.inferencekey.wire import LiveWorkload
from unit.builders import PLATFORM, SECRET_HALF, TOKEN
from unit.scripted_platform import DOWN, LOST, REFUSED, REJECTED, ScriptedPlatform, limited, now, row
from unit.virtual_time import virtual


class Watcher:
    """A project of a platform, and what it told."""

    def __init__(self, platform: ScriptedPlatform, pace: RateLimits | None = None) -> None:
        self.platform = platform
        self.changed: list[set[str]] = []
        self.recovered: list[float] = []
        self.troubled: list[Reason] = []
        self.project = Project(
            platform,
            PLATFORM,
            "prod",
            TOKEN,
            pace or RateLimits(),
            changed=self._note,
            recovered=self._better,
            troubled=lambda _, error: self.troubled.append(error.reason),
        )

    def _note(self, project: Project, slugs: Iterable[str]) -> None:
        assert project is self.project
        self.changed.append(set(slugs))

    def _better(self, project: Project) -> None:
        assert project is self.project
        self.recovered.append(now())


async def anew(project: Project) -> None:
    """Look at a list that begins now or later: virtual time stands still where the real one never does."""
    await project.look(now() - 1e-9)


async def one_that_is_down() -> Watcher:
    """Of a platform that did not answer the first list; the next probe may go out."""
    watcher = Watcher(ScriptedPlatform())
    watcher.platform.down = DOWN
    await settled(watcher.project.look())
    await asyncio.sleep(1.1)
    return watcher


async def settled(*things: Any) -> list[Any]:
    """The outcomes of many at once, errors as values."""
    return await asyncio.gather(*things, return_exceptions=True)


# -- sharing -------------------------------------------------------------------------------------------------------


@virtual
async def test_all_that_look_at_one_moment_share_one_list() -> None:
    """However many Workloads: one call."""
    watcher = Watcher(ScriptedPlatform(row("a"), row("b")))

    await asyncio.gather(*(watcher.project.look() for _ in range(100)))

    assert len(watcher.platform.calls) == 1
    assert (len(watcher.project.cache), watcher.project.cache.by_slug("a"), watcher.project.cache.by_id("wl_b")) == (
        2,
        row("a"),
        row("b"),
    )
    assert (watcher.project.cache.by_slug("c"), watcher.project.cache.by_id("wl_c")) == (None, None)


@virtual
async def test_any_list_will_do_unless_a_newer_one_is_asked_for() -> None:
    """What is settled is decided from the rows that are there."""
    watcher = Watcher(ScriptedPlatform(row("a")))
    assert not watcher.project.proven
    await watcher.project.look()
    assert watcher.project.proven
    await asyncio.sleep(100)

    await watcher.project.look()
    assert len(watcher.platform.calls) == 1
    await watcher.project.look(now() - 1)

    assert len(watcher.platform.calls) == 2


@virtual
async def test_a_need_that_arises_while_a_list_is_under_way_waits_for_the_next() -> None:
    """A list tells what was when it began; those who come later share the one after it."""
    watcher = Watcher(ScriptedPlatform())
    first = asyncio.create_task(watcher.project.look())
    await asyncio.sleep(0.05)
    need = now()

    await asyncio.gather(*(watcher.project.look(need) for _ in range(50)))

    assert first.done()
    assert len(watcher.platform.calls) == 2
    assert watcher.project.began > need
    assert watcher.platform.lists_together == 1


@virtual
async def test_who_gives_up_does_not_take_the_list_along() -> None:
    """A worker that is cancelled is one of many that wait for it."""
    watcher = Watcher(ScriptedPlatform(row("a")))
    impatient, patient = (asyncio.create_task(watcher.project.look()) for _ in range(2))
    await asyncio.sleep(0.05)
    impatient.cancel()
    await settled(impatient, patient)

    assert (impatient.cancelled(), patient.exception(), len(watcher.project.cache)) == (True, None, 1)
    assert len(watcher.platform.calls) == 1


@virtual
async def test_who_waits_for_a_list_that_is_given_up_is_not_cancelled() -> None:
    """A project that nobody uses any more drops its list; what still waits for it gets an error, and can go on."""
    watcher = Watcher(ScriptedPlatform(row("a")))
    waiting = asyncio.create_task(watcher.project.look())
    await asyncio.sleep(0.05)
    watcher.project.close()
    await settled(waiting)

    assert isinstance(waiting.exception(), PlatformFailure)


@pytest.mark.parametrize(("takes", "pause"), [(0.1, 0.2), (1.0, 2.0), (3.0, 5.0)])
def test_lists_on_demand_leave_room_between_them(takes: float, pause: float) -> None:
    """A burst of needs shares lists: they take half of the time, and nobody waits for over two seconds between them."""

    @virtual
    async def check() -> None:
        platform = ScriptedPlatform()
        platform.takes = takes
        watcher = Watcher(platform)
        for _ in range(5):
            await anew(watcher.project)

        gaps = [later - earlier for earlier, later in pairwise(platform.times("list"))]
        assert all(gap == pytest.approx(max(pause, takes)) for gap in gaps)

    check()


@virtual
async def test_the_rows_that_moved_are_named_by_slug() -> None:
    """New, gone or different; and both names of one that was renamed. Nothing is said where nothing moved."""
    platform = ScriptedPlatform(row("a"), row("b"), row("c"))
    watcher = Watcher(platform)
    await watcher.project.look()
    assert watcher.changed == [{"a", "b", "c"}]

    steps: list[tuple[dict[str, LiveWorkload | None], set[str] | None]] = [
        ({}, None),
        ({"a": row("a", model_name="x")}, {"a"}),
        ({"b": None}, {"b"}),
        ({"d": row("d")}, {"d"}),
        ({"c": row("e", id="wl_c")}, {"c", "e"}),
        ({"a": row("a", model_name="x")}, None),
    ]
    for changes, told in steps:
        watcher.changed.clear()
        platform.rows = {slug: each for slug, each in (platform.rows | changes).items() if each is not None}
        await asyncio.sleep(30)
        await watcher.project.refresh()
        assert watcher.changed == ([told] if told else [])


@virtual
async def test_rows_that_cannot_be_read_hold_their_slugs() -> None:
    """A workload without an id is one all the same: creating its slug would make a duplicate."""
    platform = ScriptedPlatform(row("a"))
    platform.extra = [{"slug": "b"}, {"id": "wl_x"}, None]  # type: ignore[list-item]
    watcher = Watcher(platform)

    await watcher.project.look()

    assert watcher.project.cache.unreadable == {"b"}
    assert len(watcher.project.cache) == 1


@virtual
async def test_a_project_does_not_show_its_token() -> None:
    """Neither does its list of attributes in a log line."""
    watcher = Watcher(ScriptedPlatform())

    assert SECRET_HALF not in repr(watcher.project)
    assert "'prod'" in repr(watcher.project)


# -- our own writes ------------------------------------------------------------------------------------------------


@virtual
async def test_what_we_wrote_is_there_at_once_and_no_news() -> None:
    """Neither our own answer nor the list that agrees with it wakes anybody."""
    watcher = Watcher(ScriptedPlatform(row("a"), row("b")))
    await watcher.project.look()
    watcher.changed.clear()

    await watcher.project.create({"slug": "c"})
    await watcher.project.update("wl_a", {"model_name": "x"})
    assert await watcher.project.delete("wl_b")

    found = [watcher.project.cache.by_slug(slug) for slug in "abc"]
    assert found == [row("a", model_name="x"), None, row("c")]
    await anew(watcher.project)
    assert [watcher.project.cache.by_slug(slug) for slug in "abc"] == found
    assert watcher.changed == []


async def writes_during_a_list(watcher: Watcher) -> None:
    """A list that is slow, and our writes answered before it."""
    platform = watcher.platform
    platform.takes = 1.0
    listing = asyncio.create_task(anew(watcher.project))
    await asyncio.sleep(0.5)
    platform.takes = 0.1
    await watcher.project.create({"slug": "c"})
    await watcher.project.update("wl_a", {"model_name": "x"})
    await watcher.project.delete("wl_b")
    await listing


@virtual
async def test_a_list_that_began_before_a_write_does_not_undo_it() -> None:
    """It tells what was; what we know better is laid over it."""
    watcher = Watcher(ScriptedPlatform(row("a"), row("b")))
    await watcher.project.look()

    await writes_during_a_list(watcher)

    found = [watcher.project.cache.by_slug(slug) for slug in "abc"]
    assert found == [row("a", model_name="x"), None, row("c")]
    assert watcher.changed == [{"a", "b"}]


@virtual
async def test_a_list_is_believed_again_once_it_cannot_lag() -> None:
    """Also where it says, byte for byte, what the one under way said: someone undid all of it in between."""
    platform = ScriptedPlatform(row("a"), row("b"))
    before = dict(platform.rows)
    watcher = Watcher(platform)
    await watcher.project.look()
    await writes_during_a_list(watcher)
    watcher.changed.clear()
    platform.rows = before
    await anew(watcher.project)
    assert watcher.changed == []

    await asyncio.sleep(RateLimits().lag)
    await anew(watcher.project)

    assert [watcher.project.cache.by_slug(slug) for slug in "abc"] == [row("a"), row("b"), None]
    assert watcher.changed == [{"a", "b", "c"}]


@virtual
async def test_a_duplicate_does_not_take_the_place_of_the_first() -> None:
    """The platform made the slug unique: the row that had it keeps it here, too."""
    watcher = Watcher(ScriptedPlatform(row("a")))
    await watcher.project.look()

    duplicate = await watcher.project.create({"slug": "a"})

    assert (duplicate.slug, watcher.project.cache.by_slug("a")) == ("a-1", row("a"))
    await watcher.project.delete(duplicate.id)
    assert (watcher.project.cache.by_slug("a"), watcher.project.cache.by_slug("a-1")) == (row("a"), None)


@virtual
async def test_a_workload_that_turns_out_to_be_gone() -> None:
    """What finds nothing, a PATCH or a DELETE, waits for a list to confirm it: the row stays, and is no news then."""
    gone = PlatformFailure(Reason.PLATFORM_REFUSED, "It is not there.", status=404)
    platform = ScriptedPlatform(row("a"), row("b"))
    watcher = Watcher(platform)
    await watcher.project.look()
    platform.fails.append(gone)

    with pytest.raises(PlatformFailure):
        await watcher.project.update("wl_a", {})
    del platform.rows["b"]

    assert watcher.project.cache.by_slug("a") == row("a")
    assert await watcher.project.delete("wl_b") is Deleted.UNKNOWN
    assert watcher.project.cache.by_slug("b") == row("b")


@pytest.mark.parametrize("operation", ["create", "update", "delete"])
@pytest.mark.parametrize(("error", "uncertain"), [(LOST, True), (REFUSED, False), (DOWN, False)])
def test_a_write_that_was_lost_makes_the_project_uncertain(operation: str, error: Exception, uncertain: bool) -> None:
    """Whatever is created after it needs a list that began later; a refusal is no doubt."""

    @virtual
    async def check() -> None:
        watcher = Watcher(ScriptedPlatform(row("a")))
        await watcher.project.look()
        await asyncio.sleep(10)
        watcher.platform.fails.append(error)
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "create": lambda: watcher.project.create({"slug": "c"}),
            "update": lambda: watcher.project.update("wl_a", {}),
            "delete": lambda: watcher.project.delete("wl_a"),
        }
        with pytest.raises(PlatformFailure):
            await calls[operation]()

        assert watcher.project.uncertain_since == (now() if uncertain else float("-inf"))
        assert watcher.project.cache.by_slug("a") == row("a")

    check()


@virtual
async def test_creations_of_one_slug_never_overlap() -> None:
    """Each slug has one lock, each project its own."""
    one, other = Watcher(ScriptedPlatform()).project, Watcher(ScriptedPlatform()).project

    async with one.creation("a"):
        assert one.creation("a").locked()
        assert not one.creation("b").locked()
        assert not other.creation("a").locked()
    assert not one.creation("a").locked()


@virtual
async def test_a_slug_that_nobody_creates_has_no_lock() -> None:
    """Slugs come and go for as long as the process lasts; their locks do not stay. Whoever waits has the same one."""
    locks: Locks = WeakValueDictionary()
    watcher = Watcher(ScriptedPlatform())
    project = Project(
        watcher.platform,
        PLATFORM,
        "prod",
        TOKEN,
        RateLimits(),
        changed=lambda *_: None,
        recovered=lambda _: None,
        shared=Shared(OwnWrites(40.0), locks),
    )
    order: list[str] = []

    async def create(name: str) -> None:
        async with project.creation("a"):
            order.append(f"{name} begins")
            await asyncio.sleep(1.0)
            order.append(f"{name} ends")

    await asyncio.gather(create("one"), create("other"))
    assert order == ["one begins", "one ends", "other begins", "other ends"]
    assert list(locks) == []


# -- the gate ------------------------------------------------------------------------------------------------------


@virtual
async def test_one_probe_and_the_same_error_for_all() -> None:
    """A fleet that wakes while the platform is down makes one call; who comes later is told at once, with the wait."""
    watcher = Watcher(ScriptedPlatform(row("a")))
    watcher.platform.down = DOWN

    errors = await settled(*(watcher.project.look() for _ in range(100)))
    assert errors == [DOWN] * 100
    began = now()
    later = await settled(*(watcher.project.look() for _ in range(50)), watcher.project.create({"slug": "c"}))

    assert len(watcher.platform.calls) == 1
    assert now() == began
    assert {(error.reason, error.message, error.status) for error in later} == {(DOWN.reason, DOWN.message, 503)}
    assert all(0.8 < error.retry_after <= 1.0 for error in later)
    assert watcher.project.trouble is DOWN


@virtual
async def test_what_is_known_stays_known() -> None:
    """Whoever can do with the rows that are there is not troubled."""
    watcher = Watcher(ScriptedPlatform(row("a")))
    await watcher.project.look()
    watcher.platform.down = DOWN
    await asyncio.sleep(30)
    await watcher.project.refresh()

    await watcher.project.look()

    assert watcher.project.trouble is DOWN
    assert watcher.project.cache.by_slug("a") == row("a")
    with pytest.raises(PlatformFailure):
        await anew(watcher.project)


@virtual
async def test_when_the_gate_opens_one_list_goes_ahead_of_all_writes() -> None:
    """A hundred writes that wait send one probe; while it fails none of them is sent."""
    watcher = await one_that_is_down()

    failed = await settled(*(watcher.project.create({"slug": f"s{number}"}) for number in range(100)))
    assert {error.reason for error in failed} == {Reason.PLATFORM_UNREACHABLE}
    assert [name for _, name in watcher.platform.calls] == ["list", "list"]
    watcher.platform.down = None
    await asyncio.sleep(2.1)
    made = await settled(*(watcher.project.create({"slug": f"s{number}"}) for number in range(100)))

    assert all(isinstance(each, LiveWorkload) for each in made)
    assert [name for _, name in watcher.platform.calls] == ["list"] * 3 + ["create"] * 100
    assert len(watcher.recovered) == 1


@virtual
async def test_a_tick_that_comes_after_anothers_probe_sends_none() -> None:
    """A stream or a write that waited for the same moment was first, and its list failed."""
    watcher = await one_that_is_down()
    await settled(watcher.project.create({"slug": "a"}))
    await watcher.project.refresh()

    assert [name for _, name in watcher.platform.calls] == ["list", "list"]


@virtual
async def test_waits_grow_up_to_the_interval() -> None:
    """One, two, four … seconds, up to a tenth less; so that control is back within one interval."""
    watcher = Watcher(ScriptedPlatform(), RateLimits(interval=10.0))
    watcher.platform.down, watcher.platform.takes = DOWN, 0.0
    waits = []
    for _ in range(8):
        await settled(watcher.project.look())
        waits.append(watcher.project.due_in(10.0))
        await asyncio.sleep(waits[-1])

    assert all(0.9 * most <= wait <= most for most, wait in zip((1, 2, 4, 8, 10, 10, 10, 10), waits, strict=True))
    watcher.platform.down = None
    await watcher.project.look()
    await asyncio.sleep(1)
    watcher.platform.down = DOWN
    await settled(anew(watcher.project))
    assert watcher.project.due_in(10.0) <= 1.0


@pytest.mark.parametrize("operation", ["list", "create"])
def test_retry_after_is_the_least(operation: str) -> None:
    """Whoever asked for sixty seconds gets sixty, from everybody who uses this credential."""

    @virtual
    async def check() -> None:
        random.seed(1)
        watcher = Watcher(ScriptedPlatform(row("a")))
        await watcher.project.look()
        watcher.platform.fails.append(limited(60.0))
        call = anew(watcher.project) if operation == "list" else watcher.project.create({"slug": "c"})
        with pytest.raises(PlatformFailure):
            await call
        refused = now()
        while now() < refused + 59.5:
            for another in (anew(watcher.project), watcher.project.delete("wl_a")):
                with pytest.raises(PlatformFailure) as caught:
                    await another
                assert caught.value.retry_after == pytest.approx(refused + 60.0 - now())
            await asyncio.sleep(0.9)
        await asyncio.sleep(1.0)
        assert await watcher.project.delete("wl_a")

        assert [name for _, name in watcher.platform.calls[2:]] == ["list", "delete"]

    check()


@virtual
async def test_a_refused_credential_is_tried_after_waits_that_grow() -> None:
    """The platform may change its mind: soon at first, and after four intervals at most. It is told once."""
    watcher = Watcher(ScriptedPlatform())
    watcher.platform.down = REJECTED
    await settled(watcher.project.look())
    refused = now()
    assert isinstance((await settled(watcher.project.look()))[0], PlatformFailure)
    assert len(watcher.platform.calls) == 1

    while now() < refused + 1800.0:
        await asyncio.sleep(max(watcher.project.due_in(30.0), 0.05))
        await watcher.project.refresh()

    times = watcher.platform.times("list")
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert len([at for at in times if at < refused + 20.0]) >= 5
    assert 108.0 <= max(pauses) <= 121.0
    assert watcher.troubled == [Reason.TOKEN_REJECTED]
    assert watcher.project.refused_since == refused


@virtual
async def test_a_refusal_is_told_though_it_comes_in_an_outage() -> None:
    """The outage once, the refusal once; and each again only after lists came."""
    watcher = Watcher(ScriptedPlatform())
    for error in (DOWN, REJECTED, DOWN, REJECTED, None, REJECTED):
        watcher.platform.down = error
        await asyncio.sleep(300.0)
        await watcher.project.refresh()

    rejected = Reason.TOKEN_REJECTED
    assert watcher.troubled == [Reason.PLATFORM_UNREACHABLE, rejected, rejected]
    assert watcher.project.refusal is not None


@pytest.mark.parametrize(("error", "calls"), [(REJECTED, 3), (DOWN, 2)])
def test_what_a_person_may_have_mended_is_tried_at_once(error: Exception, calls: int) -> None:
    """A need that arose after the refusal, an edit say, is one call for all that have it; an outage is waited out."""

    @virtual
    async def check() -> None:
        watcher = Watcher(ScriptedPlatform())
        await watcher.project.look()
        watcher.platform.down = error
        await asyncio.sleep(10)
        await settled(anew(watcher.project))
        need = now()
        await asyncio.sleep(0.2)

        await settled(*(watcher.project.look(need + 0.1) for _ in range(20)))
        await settled(*(watcher.project.look(need + 0.1) for _ in range(20)))

        assert len(watcher.platform.calls) == calls

    check()


@virtual
async def test_a_token_that_is_revoked_while_we_write_closes_the_gate() -> None:
    """Hundreds of writes would be refused one by one."""
    watcher = Watcher(ScriptedPlatform(row("a")))
    await watcher.project.look()
    watcher.platform.down = REJECTED

    await settled(watcher.project.delete("wl_a"))
    await settled(*(watcher.project.delete("wl_a") for _ in range(10)))

    assert len(watcher.platform.times("delete")) == 1


@virtual
async def test_a_list_that_waits_its_turn_heeds_a_wish_that_comes_meanwhile() -> None:
    """It was to go out some time after the last one; then a write is told to wait, and so is the list."""
    watcher = Watcher(ScriptedPlatform(row("a")))
    watcher.platform.takes = 1.0
    await watcher.project.look()
    looking = asyncio.create_task(anew(watcher.project))
    await asyncio.sleep(0.1)
    watcher.platform.takes = 0.1
    watcher.platform.fails.append(limited(30.0))
    (refused,) = await settled(watcher.project.delete("wl_a"))
    (told,) = await settled(looking)

    assert (refused.reason, told.reason) == (Reason.RATE_LIMITED, Reason.RATE_LIMITED)
    assert len(watcher.platform.times("list")) == 1
    await asyncio.sleep(30.0)
    await anew(watcher.project)
    assert len(watcher.platform.times("list")) == 2


@virtual
async def test_a_refused_write_troubles_nobody_else() -> None:
    """A declaration that the platform does not take is that Workload's trouble."""
    watcher = Watcher(ScriptedPlatform())
    await watcher.project.look()
    watcher.platform.fails.append(REFUSED)
    await settled(watcher.project.create({"slug": "bad"}))

    assert watcher.project.trouble is None
    assert (await watcher.project.create({"slug": "good"})).slug == "good"


@virtual
async def test_one_write_without_an_answer_is_asked_about_at_once() -> None:
    """It may be its own fault: a list tells, before the next write, and without a wait."""
    watcher = Watcher(ScriptedPlatform())
    watcher.platform.takes = 3.0
    await watcher.project.look()
    watcher.platform.takes = 0.1
    watcher.platform.fails.append(LOST)
    await settled(watcher.project.create({"slug": "slow"}))
    await asyncio.sleep(0.001)
    at = now()

    made = await settled(*(watcher.project.create({"slug": f"s{number}"}) for number in range(10)))

    assert all(isinstance(each, LiveWorkload) for each in made)
    assert [name for _, name in watcher.platform.calls] == ["list", "create", "list", *["create"] * 10]
    assert watcher.platform.times("list")[1] == at
    assert now() < at + 1.0
    assert watcher.project.trouble is None


@pytest.mark.parametrize("late", ["create", "list"])
def test_a_later_failure_does_not_shorten_a_wait(late: str) -> None:
    """The platform wished for a minute; what was under way then and is lost now opens no gate."""

    @virtual
    async def check() -> None:
        platform = ScriptedPlatform(row("a"))
        watcher = Watcher(platform)
        await watcher.project.look()
        await asyncio.sleep(10)
        platform.takes = 1.0
        platform.fails.append(LOST)
        slow = asyncio.create_task(anew(watcher.project) if late == "list" else watcher.project.create({"slug": "c"}))
        await asyncio.sleep(0.5)
        platform.takes = 0.1
        platform.fails.append(limited(60.0))
        await settled(watcher.project.delete("wl_a"))
        await settled(slow)

        assert watcher.project.due_in(30.0) == pytest.approx(60.0 - 0.4)

    check()


@virtual
async def test_a_list_that_began_before_the_trouble_does_not_end_it() -> None:
    """Its success says nothing of a limit that was reached later."""
    platform = ScriptedPlatform(row("a"))
    watcher = Watcher(platform)
    await watcher.project.look()
    platform.takes = 2.0
    listing = asyncio.create_task(anew(watcher.project))
    await asyncio.sleep(1.0)
    platform.takes = 0.1
    platform.fails.append(limited(60.0))
    await settled(watcher.project.delete("wl_a"))
    await listing

    assert watcher.project.trouble is not None
    assert watcher.recovered == []
    assert isinstance((await settled(watcher.project.delete("wl_a")))[0], OperatorError)


@virtual
async def test_beginning_and_end_of_a_trouble_are_told_once() -> None:
    """However many lists fail in between; and the next trouble is one to speak of again."""
    watcher = Watcher(ScriptedPlatform(row("a")))
    await watcher.project.look()
    for number in (1, 2):
        watcher.platform.down = DOWN
        for _ in range(3):
            await asyncio.sleep(10)
            await watcher.project.refresh()
        assert (watcher.project.down, len(watcher.troubled)) == (True, number)
        watcher.platform.down = None
        for _ in range(3):
            await asyncio.sleep(10)
            await watcher.project.refresh()
        assert (watcher.project.down, watcher.project.trouble, len(watcher.recovered)) == (False, None, number)

    assert watcher.troubled == [Reason.PLATFORM_UNREACHABLE] * 2


@virtual
async def test_a_write_that_is_lost_is_no_outage() -> None:
    """Others can look as ever: only lists that fail are told of."""
    watcher = Watcher(ScriptedPlatform(row("a")))
    await watcher.project.look()
    watcher.platform.fails.append(LOST)
    await settled(watcher.project.delete("wl_a"))

    assert (watcher.project.down, watcher.troubled) == (False, [])


@virtual
async def test_a_list_that_is_none_closes_the_gate() -> None:
    """The rows that are known are not given up for an answer that cannot be read."""
    watcher = Watcher(ScriptedPlatform(row("a")))
    await watcher.project.look()
    watcher.platform.extra = [{"id": "x", "slug": "y", "name": "\ud800"}]
    whole = watcher.platform.list_workloads

    async def truncated(token: str, project: str) -> ListAnswer:
        return ListAnswer((await whole(token, project)).body[:-5])

    watcher.platform.list_workloads = truncated  # type: ignore[method-assign]
    with pytest.raises(PlatformFailure) as caught:
        await anew(watcher.project)

    assert caught.value.reason is Reason.PLATFORM_ERROR
    assert watcher.project.cache.by_slug("a") == row("a")
    assert watcher.project.due_in(30.0) > 0


@virtual
async def test_readiness_streams_wait_at_the_gate_too() -> None:
    """No storm of streams after an outage: a list goes ahead of them, too."""
    watcher = Watcher(ScriptedPlatform(row("a")))

    async def first() -> Phase:
        async with aclosing(watcher.project.phases("a")) as stream:
            return await anext(stream)

    assert await first() == Phase("ready")
    watcher.platform.down = DOWN
    await settled(watcher.project.look())
    assert isinstance((await settled(first()))[0], PlatformFailure)
    await asyncio.sleep(1.1)
    assert {type(each) for each in await settled(*(first() for _ in range(20)))} == {PlatformFailure}

    assert [name for _, name in watcher.platform.calls] == ["phases", "list", "list"]


# -- the rate ------------------------------------------------------------------------------------------------------


@virtual
async def test_a_bucket_lets_a_burst_pass_and_then_the_rate() -> None:
    """In the order in which they came."""
    bucket = Bucket(rate=10.0, burst=5.0)
    times: list[float] = []

    async def call() -> None:
        await bucket.take()
        times.append(round(now(), 6))

    await asyncio.gather(*(call() for _ in range(25)))
    assert times == [0.0] * 5 + [round(number / 10, 6) for number in range(1, 21)]

    await asyncio.sleep(0.25)
    times.clear()
    began = now()
    await asyncio.gather(*(call() for _ in range(4)))
    assert [round(at - began, 2) for at in times] == [0.0, 0.0, 0.05, 0.15]


@virtual
async def test_a_bucket_that_rested_holds_no_more_than_a_burst() -> None:
    """An hour of silence is no credit for a flood."""
    bucket = Bucket(rate=10.0, burst=5.0)
    await asyncio.sleep(1000)
    began = now()
    for _ in range(15):
        await bucket.take()

    assert now() == pytest.approx(began + 1.0)


@virtual
async def test_calls_of_one_credential_keep_the_rate() -> None:
    """Lists and writes together."""
    watcher = Watcher(ScriptedPlatform(), RateLimits(rate=5.0, burst=5.0))
    watcher.platform.takes = 0.01
    await watcher.project.look()
    await settled(*(watcher.project.create({"slug": f"s{number}"}) for number in range(24)))

    for first, *_, last in zip(*(watcher.platform.calls[number:] for number in range(11)), strict=False):
        assert last[0] - first[0] >= 1.0 - 1e-6


# -- the interval --------------------------------------------------------------------------------------------------


class Fleet:
    """All projects, over one platform per base URL."""

    def __init__(self, *, interval: float = 30.0) -> None:
        self.platform = ScriptedPlatform(row("a"))
        self.changed: list[set[str]] = []
        self.recovered: list[float] = []
        self.projects = Projects(
            lambda _: self.platform,
            RateLimits(interval=interval),
            changed=lambda _, slugs: self.changed.append(set(slugs)),
            recovered=lambda _: self.recovered.append(now()),
        )

    def use(self, user: str, token: str = TOKEN) -> Project:
        """The project that `user` has from here on."""
        return self.projects.use(user, PLATFORM, "prod", token)


@virtual
async def test_one_project_for_one_credential() -> None:
    """However many Workloads, and through however many Secrets; another token, project or platform is another."""
    fleet = Fleet()
    project = fleet.use("a")
    await project.look()

    assert fleet.use("b") is project
    assert fleet.use("a") is project
    others = [
        fleet.projects.use("c", PLATFORM, "prod", TOKEN.replace("a1", "b1")),
        fleet.projects.use("d", PLATFORM, "staging", TOKEN),
        fleet.projects.use("e", "https://eu.example.com", "prod", TOKEN),
    ]
    assert len({id(each) for each in [project, *others]}) == 4
    assert {id(each) for each in fleet.projects} == {id(each) for each in [project, *others]}
    assert (fleet.projects.of("b"), fleet.projects.of("nobody")) == (project, None)
    assert set(fleet.projects.users(project)) == {"a", "b"}
    assert fleet.projects.users(others[0]) == ("c",)


@virtual
async def test_a_project_without_rows_is_one_all_the_same() -> None:
    """A new project is empty: its gate and its list are shared from the first moment."""
    fleet = Fleet()
    fleet.platform.rows.clear()

    projects = [fleet.use(str(number)) for number in range(5)]
    await asyncio.gather(*(project.look() for project in projects))

    assert {id(project) for project in projects} == {id(fleet.use("0"))}
    assert len(fleet.platform.calls) == 1


@virtual
async def test_one_list_per_interval_however_many_workloads() -> None:
    """At the latest after the interval, and up to a tenth earlier, so that projects do not march in step."""
    fleet = Fleet()
    for number in range(200):
        await fleet.use(str(number)).look()
    await asyncio.sleep(1000)

    gaps = [later - earlier for earlier, later in pairwise(fleet.platform.times("list"))]
    assert len(gaps) >= 33
    assert all(27.0 - 0.2 <= gap <= 30.1 for gap in gaps)
    assert len({round(gap, 3) for gap in gaps}) > 1


@virtual
async def test_a_list_on_demand_counts_for_the_interval() -> None:
    """What was listed a moment ago is not listed again."""
    fleet = Fleet()
    project = fleet.use("a")
    for _ in range(20):
        await asyncio.sleep(20)
        await anew(project)

    assert len(fleet.platform.times("list")) == 20


@virtual
async def test_what_changes_is_seen_within_one_interval() -> None:
    """Out of band, without anybody asking."""
    fleet = Fleet()
    await fleet.use("a").look()
    fleet.changed.clear()
    await asyncio.sleep(5)
    fleet.platform.rows["a"] = row("a", model_name="theirs")
    await asyncio.sleep(30.3)

    assert fleet.changed == [{"a"}]


@virtual
async def test_back_in_control_within_one_interval() -> None:
    """After an outage of any length, with one probe at a time and no storm."""
    fleet = Fleet()
    await fleet.use("a").look()
    fleet.platform.down = DOWN
    await asyncio.sleep(600)
    probes = len(fleet.platform.calls)
    over = now()
    fleet.platform.down = None
    await asyncio.sleep(30.3)

    assert 10 < probes < 30
    assert fleet.platform.lists_together == 1
    assert len(fleet.recovered) == 1
    assert fleet.recovered[0] - over <= 30.2
    assert fleet.use("a").trouble is None


@virtual
async def test_who_needs_no_project_any_more_leaves_it() -> None:
    """The last one switches it off: no further list goes out. A rotated token leaves the old one as well."""
    fleet = Fleet()
    await fleet.use("a").look()
    fleet.use("b")
    fleet.projects.leave("a")
    await asyncio.sleep(100)
    calls = len(fleet.platform.calls)
    assert calls > 1

    fleet.projects.leave("b")
    fleet.projects.leave("b")
    await asyncio.sleep(300)

    assert len(fleet.platform.calls) == calls
    assert list(fleet.projects) == []
    old = fleet.use("a")
    with suppress(AssertionError):
        await fleet.use("a", TOKEN.replace("a1", "b1")).look()
    assert old not in list(fleet.projects)


@virtual
async def test_a_list_that_nobody_waits_for_any_more_is_dropped() -> None:
    """Whoever left is told of nothing that it finds."""
    fleet = Fleet()
    project = fleet.use("a")
    looking = asyncio.create_task(project.look())
    await asyncio.sleep(0.05)
    fleet.projects.leave("a")
    await settled(looking)
    await asyncio.sleep(300)

    assert (fleet.changed, project.proven, len(fleet.platform.calls)) == ([], False, 1)


@virtual
async def test_whoever_comes_back_begins_anew() -> None:
    """Rows of an hour ago prove nothing."""
    fleet = Fleet()
    await fleet.use("a").look()
    fleet.projects.leave("a")

    assert not fleet.use("a").proven


@virtual
async def test_what_is_proven_of_a_credential() -> None:
    """By a list that came, for this token, project and platform alone, and only while somebody uses it."""
    fleet = Fleet()
    assert not fleet.projects.proven(PLATFORM, "prod", TOKEN)
    fleet.platform.down = REJECTED
    with pytest.raises(PlatformFailure):
        await fleet.use("a").look()
    assert not fleet.projects.proven(PLATFORM, "prod", TOKEN)

    fleet.platform.down = None
    await asyncio.sleep(1000)
    await fleet.use("b").look()

    fleet.projects.leave("b")
    assert fleet.projects.proven(PLATFORM, "prod", TOKEN)
    assert not fleet.projects.proven(PLATFORM, "prod", TOKEN.replace("a1", "b1"))
    assert not fleet.projects.proven(PLATFORM, "staging", TOKEN)
    assert not fleet.projects.proven("https://eu.example.com", "prod", TOKEN)
    fleet.projects.leave("a")
    assert not fleet.projects.proven(PLATFORM, "prod", TOKEN)


@virtual
async def test_closed_is_closed() -> None:
    """At the end of the process nothing is asked any more."""
    fleet = Fleet()
    await fleet.use("a").look()
    fleet.projects.close()
    await asyncio.sleep(300)

    assert len(fleet.platform.calls) == 1


@virtual
async def test_an_unforeseen_error_does_not_end_the_interval() -> None:
    """A bug in the reading of one list must not blind a project for ever; nor may it become a hot loop."""
    fleet = Fleet()
    await fleet.use("a").look()
    fleet.platform.down = RuntimeError("unforeseen")
    await asyncio.sleep(300)
    tries = len(fleet.platform.calls)
    fleet.platform.down = None
    fleet.platform.rows["a"] = row("a", model_name="theirs")
    fleet.changed.clear()
    await asyncio.sleep(31)

    assert fleet.changed == [{"a"}]
    assert tries < 60


# -- rows that do not count ----------------------------------------------------------------------------------------


@virtual
async def test_a_row_that_is_listed_as_deleted_is_gone() -> None:
    """Its slug is free, and it is remembered that it was there; when it is no longer listed nothing moves."""
    watcher = Watcher(ScriptedPlatform(row("a"), row("b")))
    watcher.platform.extra = [{"id": "wl_c", "slug": "c", "deleted_at": "2026-03-02T10:41:32Z"}]
    project = watcher.project
    await project.look()

    assert (project.cache.by_slug("c"), project.cache.by_id("wl_c"), len(project.cache)) == (None, None, 2)
    assert project.cache.deleted == {"c"}
    assert project.cache.unreadable == frozenset()
    assert watcher.changed == [{"a", "b"}]

    watcher.platform.extra = []
    await anew(project)
    assert project.cache.deleted == frozenset()
    assert watcher.changed == [{"a", "b"}]


@virtual
async def test_a_row_that_becomes_deleted_is_news() -> None:
    """Whoever has it declared is told."""
    watcher = Watcher(ScriptedPlatform(row("a")))
    await watcher.project.look()
    del watcher.platform.rows["a"]
    watcher.platform.extra = [{"id": "wl_a", "slug": "a", "name": "a", "deleted_at": "2026-03-02T10:41:32Z"}]

    await anew(watcher.project)

    assert watcher.changed == [{"a"}, {"a"}]


@pytest.mark.parametrize("first", [True, False])
@virtual
async def test_a_row_of_another_project_has_no_slug_here(first: bool) -> None:
    """In whatever order: a platform that lists more than it was asked for takes nobody's slug. Its id is known."""
    ours, theirs = {"id": "wl_1", "slug": "a", "project_slug": "Prod"}, {"id": "wl_2", "slug": "a", "project_slug": "x"}
    watcher = Watcher(ScriptedPlatform())
    watcher.platform.extra = [ours, theirs] if first else [theirs, ours]
    watcher.platform.extra.append({"id": "wl_3", "slug": "a-1", "project_slug": "x"})
    project = watcher.project
    await project.look()

    found = project.cache.by_slug("a")
    assert found is not None
    assert found.id == "wl_1"
    assert [each.id for each in project.cache.all_of("a")] == ["wl_1"]
    assert [each.id for each in project.cache.workloads] == ["wl_1"]
    assert project.cache.by_id("wl_2") is not None


@virtual
async def test_two_rows_of_one_slug() -> None:
    """While a list lags there may be two; both are known."""
    watcher = Watcher(ScriptedPlatform())
    slugs = {"wl_1": "a", "wl_2": "a", "wl_3": "a-1", "wl_4": "a-12", "wl_5": "a-b", "wl_6": "a-1-1", "wl_7": "ab-1"}
    watcher.platform.extra = [{"id": each, "slug": slug} for each, slug in slugs.items()]
    await watcher.project.look()

    assert [each.id for each in watcher.project.cache.all_of("a")] == ["wl_1", "wl_2"]


# -- what several projects share ------------------------------------------------------------------------------------


class Credentials(ScriptedPlatform):
    """A platform that takes any token and any project."""

    async def list_workloads(self, token: str, project: str) -> ListAnswer:
        """The same rows for all."""
        return await super().list_workloads(TOKEN, "prod")


def projects_of(platform: ScriptedPlatform, pace: RateLimits) -> Projects:
    """All projects of a process."""
    return Projects(lambda _: platform, pace, changed=lambda *_: None, recovered=lambda _: None)


@virtual
async def test_the_rate_is_one_credentials_over_all_its_projects() -> None:
    """A credential that is good for many projects is limited as one; another one has a rate of its own."""
    platform = Credentials()
    projects = projects_of(platform, RateLimits(interval=3600.0, rate=1.0, burst=2.0))
    other = TOKEN.replace("a1", "b1")
    users = [projects.use(f"p{number}", PLATFORM, f"p{number}", TOKEN) for number in range(4)]

    await asyncio.gather(*(each.look() for each in users))
    assert sorted(platform.times("list")) == pytest.approx([0.0, 0.0, 1.0, 2.0])

    began = now()
    await projects.use("another", PLATFORM, "p0", other).look()
    assert platform.times("list")[-1] == pytest.approx(began)
    projects.close()


@virtual
async def test_a_rate_outlives_a_project_while_another_one_has_its_credential() -> None:
    """And goes with the last of them."""
    platform = Credentials()
    projects = projects_of(platform, RateLimits(interval=3600.0, rate=1.0, burst=1.0))
    first, second = (projects.use(name, PLATFORM, name, TOKEN) for name in ("p0", "p1"))
    await first.look()
    projects.leave("p0")
    await second.look()
    assert platform.times("list")[-1] == pytest.approx(1.0)
    assert len(projects._buckets) == 1

    projects.close()
    del first, second
    await asyncio.sleep(0)
    assert len(projects._buckets) == 0


@virtual
async def test_a_write_with_one_credential_is_known_with_all() -> None:
    """Two Secrets of one project: what was deleted with one is not listed as there with the other, though it lags."""
    platform = Credentials(row("a"))
    projects = projects_of(platform, RateLimits(interval=3600.0))
    one = projects.use("one", PLATFORM, "prod", TOKEN)
    other = projects.use("other", PLATFORM, "prod", TOKEN.replace("a1", "b1"))
    elsewhere = projects.use("elsewhere", PLATFORM, "staging", TOKEN)
    for each in (one, other, elsewhere):
        await each.look()
    await one.delete("wl_a")
    platform.rows["a"] = row("a")

    for each in (one, other, elsewhere):
        await anew(each)

    assert [each.cache.by_slug("a") for each in (one, other, elsewhere)] == [None, None, row("a")]
    await asyncio.sleep(RateLimits().lag)
    await anew(other)
    assert other.cache.by_slug("a") == row("a")
    projects.close()
