"""What keeps a reconciler from doing harm fast."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferencekey_operator.api.workload import Workload
from inferencekey_operator.cache.workloads import Memory
from inferencekey_operator.errors import PlatformFailure, Reason
from inferencekey_operator.inferencekey.project import Project
from inferencekey_operator.plan import conditions
from inferencekey_operator.plan.conditions import Report
from inferencekey_operator.reconcile.context import RequeueAfter
from inferencekey_operator.reconcile.safeguards import (
    CONFIRM_AFTER,
    Safeguards,
    confirm_absence,
    newest_needed,
    refuse_the_unlisted,
)
from unit.builders import NOW, a_workload, agreed, annotated, redeclared
from unit.place import Place
from unit.scripted_platform import now, row
from unit.virtual_time import virtual


def stopped(workload: Workload, reason: Reason) -> Workload:
    """`workload` with this reason in its status."""
    return replace(workload, status=conditions.status(workload, Report(reason, "words"), NOW))


class Fleet:
    """So many Workloads of a project that were made, and the platform that they are on."""

    def __init__(self, count: int = 1, *, elsewhere: int = 0) -> None:
        self.place = Place(list_interval=30.0, uncertain_create_timeout=40.0)
        self.context, self.store, self.platform = self.place.context, self.place.store, self.place.platform
        self.safeguards = Safeguards(self.context)
        self.platform.rows.clear()
        self.project = self.place.project()
        self.workloads = [self._made(f"w{number}", "prod") for number in range(count)]
        for number in range(elsewhere):
            self._made(f"e{number}", "staging")

    def _made(self, name: str, project: str) -> Workload:
        workload = agreed(a_workload(name=name, uid=f"uid-{name}"), workload_id=f"wl_{name}", project_slug=project)
        body = {
            "metadata": {
                "namespace": workload.namespace,
                "name": name,
                "uid": workload.uid,
                "resourceVersion": "1",
                "generation": 1,
                "creationTimestamp": "2026-03-01T10:41:32Z",
            },
            "spec": {"model": "llama-3", "backend": "vllm"},
            "status": workload.status.to_wire(),
        }
        self.store.observe(body)
        self.platform.rows[name] = row(name)
        return workload

    async def list_without(self, *names: str) -> None:
        """A list that lacks these, and has all others of the project."""
        self.platform.rows = {each.name: row(each.name) for each in self.workloads if each.name not in names}
        await asyncio.sleep(10)
        await self.project.look(now() - 1e-9)

    async def lose(self, count: int) -> None:
        """A list that lacks the first `count`."""
        await self.list_without(*(each.name for each in self.workloads[:count]))


def asked_again(call: Callable[[], object]) -> float:
    """In how many seconds the key comes back."""
    with pytest.raises(RequeueAfter) as caught:
        call()
    return caught.value.seconds


# -- absence -------------------------------------------------------------------------------------------------------

SETTLE, INTERVAL = 40.0, 30.0
APART = 0.9 * INTERVAL


@virtual
async def test_absence_is_believed_after_a_second_list() -> None:
    """Two lists, most of an interval apart, both begun long enough after the term: another process may have written."""
    fleet = Fleet()
    (workload,) = fleet.workloads

    def gone() -> bool:
        return fleet.safeguards.missing(workload, fleet.project, present=False)

    await fleet.lose(1)
    assert fleet.project.began < SETTLE
    assert asked_again(gone) == pytest.approx(SETTLE - now(), abs=0.02)
    assert asked_again(gone) == pytest.approx(SETTLE - now(), abs=0.02)

    await fleet.project.look(SETTLE)
    first = fleet.project.began
    assert asked_again(gone) == pytest.approx(first + APART - now(), abs=0.02)
    await fleet.project.look(first + APART - 1.0)
    assert asked_again(gone) == pytest.approx(first + APART - now(), abs=0.02)

    await fleet.project.look(first + APART)
    assert gone()
    assert gone()


@virtual
async def test_what_we_wrote_ourselves_puts_the_first_list_off() -> None:
    """A list that began before our write could have been shown contradicts nothing."""
    fleet = Fleet()
    (workload,) = fleet.workloads
    await fleet.project.look(SETTLE + 10.0)
    fleet.place.memory(workload).written_at = written = now()
    await fleet.lose(1)
    assert fleet.project.began > written

    assert asked_again(lambda: fleet.safeguards.missing(workload, fleet.project, present=False)) == pytest.approx(
        written + SETTLE - now(), abs=0.02
    )
    assert fleet.place.memory(workload).absent_since is None


@virtual
async def test_a_row_that_returns_begins_anew() -> None:
    """The next absence needs two lists of its own."""
    fleet = Fleet()
    (workload,) = fleet.workloads
    await fleet.project.look(SETTLE)
    await fleet.lose(1)
    asked_again(lambda: fleet.safeguards.missing(workload, fleet.project, present=False))
    await fleet.list_without()

    assert not fleet.safeguards.missing(workload, fleet.project, present=True)
    assert fleet.place.memory(workload).recheck_from is None

    await fleet.lose(1)
    first = fleet.project.began
    again = asked_again(lambda: fleet.safeguards.missing(workload, fleet.project, present=False))
    assert again == pytest.approx(first + APART - now(), abs=0.02)


@virtual
async def test_what_was_never_there_is_not_missing() -> None:
    """A Workload without a recorded id is not created yet."""
    fleet = Fleet()
    await fleet.lose(1)

    assert not fleet.safeguards.missing(a_workload(), fleet.project, present=False)


@dataclass(frozen=True)
class Timing:
    """When the term began, when we last wrote, when the workload was missed, and when other lists come."""

    interval: float
    settle: float
    term: float
    written: float | None
    missed: float
    ticks: list[float]


TIMINGS = st.builds(
    Timing,
    interval=st.floats(1.0, 120.0),
    settle=st.floats(1.0, 120.0),
    term=st.floats(0.0, 300.0),
    written=st.none() | st.floats(0.0, 300.0),
    missed=st.floats(0.0, 600.0),
    ticks=st.lists(st.floats(0.1, 60.0), max_size=6),
)


@given(TIMINGS)
def test_an_absence_is_confirmed_without_a_hot_loop(timing: Timing) -> None:
    """Whatever lists come by the way: each time that the key comes back a newer list is there, and few suffice.

    What is confirmed then was confirmed by two lists that are late enough and far enough apart.
    """

    @virtual
    async def check() -> None:
        place = Place(list_interval=timing.interval, uncertain_create_timeout=timing.settle)
        place.platform.rows.clear()
        place.context.terms.of_shard[0].began = timing.term
        workload = replace(agreed(a_workload()), resource_version="2")
        place.stands(workload)
        await asyncio.sleep(timing.missed)
        project, memory = place.project(), place.memory(workload)
        memory.seen, memory.written_at = timing.missed, timing.written
        others = asyncio.create_task(lists_by_the_way(project, timing.ticks))
        judged: list[float] = []
        while True:
            await project.look(newest_needed(memory))
            assert not judged or project.began > judged[-1], "the key came back, and nothing new was to be seen"
            judged.append(project.began)
            wait = seconds_until_asked_again(place, workload, project)
            if wait is None:
                break
            assert len(judged) <= 4, judged
            assert wait >= 0.01
            await asyncio.sleep(wait)
        others.cancel()
        place.context.projects.close()

        late_enough = max(timing.term, timing.written or 0.0) + timing.settle
        assert memory.absent_since is not None
        assert memory.absent_since >= late_enough
        assert project.began >= memory.absent_since + max(CONFIRM_AFTER, 0.9 * timing.interval)

    check()


def seconds_until_asked_again(place: Place, workload: Workload, project: Project) -> float | None:
    """None once the absence is confirmed."""
    try:
        confirm_absence(place.context, workload, project)
    except RequeueAfter as later:
        return later.seconds
    return None


async def lists_by_the_way(project: Project, ticks: list[float]) -> None:
    """Lists that other Workloads of the project ask for."""
    for tick in ticks:
        await asyncio.sleep(tick)
        await project.look(now() - 1e-9)


@pytest.mark.parametrize(
    ("memory", "at", "needed"),
    [
        ({"seen": 5.0}, 100.0, 5.0),
        ({"seen": 5.0, "denied_since": 50.0}, 100.0, 50.0),
        ({"seen": 60.0, "denied_since": 50.0}, 100.0, 60.0),
        ({"seen": 5.0, "recheck_from": 90.0}, 100.0, 90.0),
        ({"seen": 95.0, "recheck_from": 90.0}, 100.0, 95.0),
        ({"seen": 5.0, "recheck_from": 110.0}, 100.0, 5.0),
    ],
)
@virtual
async def test_how_new_a_list_must_be(memory: dict[str, float], at: float, needed: float) -> None:
    """Newer than the declaration and than a denial; and than the moment to check again, once that has come."""
    await asyncio.sleep(at)
    assert newest_needed(Memory(**memory)) == needed


@virtual
async def test_a_slug_that_only_the_readiness_route_knows() -> None:
    """A list that lacks it is wrong, or the route is: nothing is sent while they disagree."""
    fleet = Fleet()
    await fleet.project.look()
    with pytest.raises(PlatformFailure, match="does not show w0, but its readiness route answers for it"):
        await refuse_the_unlisted(fleet.project, "w0")
    fleet.platform.rows.clear()
    await refuse_the_unlisted(fleet.project, "w0")


# -- fleets --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("known", "lost", "elsewhere", "believed_gone", "why"),
    [
        (5, 5, 0, True, "five of five"),
        (9, 5, 0, True, "five of nine: over half"),
        (10, 5, 0, False, "five of ten: not over half"),
        (10, 6, 0, True, "six of ten"),
        (4, 4, 0, False, "four are no fleet"),
        (1, 1, 0, False, "one is one"),
        (5, 5, 100, True, "other projects do not count"),
        (100, 5, 0, False, "few of many"),
    ],
)
def test_a_fleet_that_vanishes(known: int, lost: int, elsewhere: int, believed_gone: bool, why: str) -> None:
    """At least five known Workloads, and over half of a project, at once."""

    @virtual
    async def check() -> None:
        fleet = Fleet(known, elsewhere=elsewhere)
        await fleet.lose(lost)

        assert [fleet.safeguards.vanished_en_masse(each, fleet.project) for each in fleet.workloads[:lost]] == [
            believed_gone
        ] * lost, why

    check()


@virtual
async def test_each_list_is_counted_anew() -> None:
    """One that has the rows again ends it for those that were not told yet."""
    fleet = Fleet(6)
    await fleet.lose(6)
    assert fleet.safeguards.vanished_en_masse(fleet.workloads[0], fleet.project)

    await fleet.lose(1)

    assert not fleet.safeguards.vanished_en_masse(fleet.workloads[0], fleet.project)


@virtual
async def test_what_was_told_holds_until_somebody_decides() -> None:
    """The status says MassMissing: fewer that are missing by now do not release the rest one after the other."""
    fleet = Fleet(6)
    await fleet.lose(2)
    told = stopped(fleet.workloads[0], Reason.MASS_MISSING)

    assert fleet.safeguards.vanished_en_masse(told, fleet.project)
    asked = annotated(told, reconcile_requested_at="now")
    assert not fleet.safeguards.vanished_en_masse(asked, fleet.project)
    handled = replace(asked, status=replace(asked.status, last_handled_reconcile_at="now"))
    assert fleet.safeguards.vanished_en_masse(handled, fleet.project)


@virtual
async def test_a_look_that_is_requested_releases_at_once() -> None:
    """Also where the status does not say MassMissing yet."""
    fleet = Fleet(6)
    await fleet.lose(6)

    assert not fleet.safeguards.vanished_en_masse(
        annotated(fleet.workloads[0], reconcile_requested_at="now"), fleet.project
    )


@virtual
async def test_one_event_for_a_fleet() -> None:
    """Whoever comes first tells it; and the next time, somebody again."""
    fleet = Fleet(6)
    for _ in range(2):
        await fleet.lose(6)
        assert fleet.safeguards.vanished_en_masse(fleet.workloads[0], fleet.project)
        assert [fleet.safeguards.first_of_the_mass(fleet.project) for _ in range(6)] == [True] + [False] * 5
        await fleet.list_without()
        told = stopped(fleet.workloads[0], Reason.MASS_MISSING)
        fleet.safeguards.missing(told, fleet.project, present=True)


@virtual
async def test_what_the_operator_deleted_itself_did_not_vanish() -> None:
    """A team that deletes its Workloads is no riddle: accepted deletions do not count, nor those that were lost."""
    fleet = Fleet(6)
    await fleet.lose(6)
    assert fleet.safeguards.vanished_en_masse(fleet.workloads[0], fleet.project)
    for workload in fleet.workloads[:2]:
        fleet.place.memory(workload).deletion_sent = True
    fleet.place.memory(fleet.workloads[2]).deletion_accepted = "wl_w2", now()
    await fleet.list_without(*(each.name for each in fleet.workloads))

    assert not fleet.safeguards.vanished_en_masse(fleet.workloads[3], fleet.project)


# -- repairs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("repairs", "contested", "why"),
    [
        ([], False, "nothing was repaired"),
        ([0, 10], False, "twice may be chance"),
        ([0, 10, 20], True, "three times within ten minutes is somebody else's will"),
        ([0, 299, 590], True, "just within"),
        ([0, 300, 601], False, "spread over more than that"),
        ([0, 300, 601, 650], True, "three of the last ten minutes"),
        ([0, 10, 20, 700], False, "long ago"),
    ],
)
def test_contested(repairs: list[int], contested: bool, why: str) -> None:
    """Our repair undone three times within ten minutes: two clusters with one slug, say."""

    @virtual
    async def check() -> None:
        fleet = Fleet()
        (workload,) = fleet.workloads
        began = now()
        for at in repairs:
            await asyncio.sleep(began + at - now())
            fleet.safeguards.repaired(workload)

        assert fleet.safeguards.contested(workload) is contested, why

    check()


@virtual
async def test_a_contest_lasts_until_somebody_decides() -> None:
    """Written into the status, it outlives the ten minutes and the process; an edit or a request ends it."""
    fleet = Fleet()
    (workload,) = fleet.workloads
    told = stopped(workload, Reason.CONTESTED)

    assert fleet.safeguards.contested(told)
    assert not fleet.safeguards.contested(redeclared(told, model="other"))
    assert not fleet.safeguards.contested(annotated(told, reconcile_requested_at="now"))


@virtual
async def test_a_request_forgives_the_repairs_of_before() -> None:
    """Otherwise the next repair would be the fourth."""
    fleet = Fleet()
    (workload,) = fleet.workloads
    for _ in range(3):
        fleet.safeguards.repaired(workload)
    assert fleet.safeguards.contested(workload)

    assert not fleet.safeguards.contested(annotated(workload, reconcile_requested_at="now"))
    fleet.safeguards.repaired(workload)

    assert not fleet.safeguards.contested(workload)


@virtual
async def test_each_workload_has_its_own_contest() -> None:
    """One that is fought over is no reason to leave the others."""
    fleet = Fleet(2)
    for _ in range(3):
        fleet.safeguards.repaired(fleet.workloads[0])

    assert [fleet.safeguards.contested(each) for each in fleet.workloads] == [True, False]
