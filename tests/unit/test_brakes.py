"""What keeps a reconciler from doing harm fast."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from inferencekey_operator import conditions
from inferencekey_operator.brakes import Brakes
from inferencekey_operator.conditions import Report
from inferencekey_operator.errors import Reason
from inferencekey_operator.inferencekey.roster import Pace, Roster
from inferencekey_operator.store import Store
from inferencekey_operator.workload import Workload
from inferencekey_operator.world import AskedAgainError
from unit.builders import NOW, PLATFORM, TOKEN, a_workload, agreed, annotated, redeclared
from unit.scripted_platform import ScriptedPlatform, now, row
from unit.virtual_time import virtual


def stopped(workload: Workload, reason: Reason) -> Workload:
    """`workload` with this reason in its status."""
    return replace(workload, status=conditions.status(workload, Report(reason, "words"), NOW))


class Fleet:
    """So many Workloads of a project that were made, and the platform that they are on."""

    def __init__(self, count: int = 1, *, elsewhere: int = 0) -> None:
        self.store = Store()
        self.brakes = Brakes(self.store)
        self.platform = ScriptedPlatform()
        self.roster = Roster(
            self.platform, PLATFORM, "prod", TOKEN, Pace(), changed=lambda *_: None, recovered=lambda _: None
        )
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
        await self.roster.look(now() - 1e-9)

    async def lose(self, count: int) -> None:
        """A list that lacks the first `count`."""
        await self.list_without(*(each.name for each in self.workloads[:count]))


def asked_again(call: Callable[[], object]) -> float:
    """In how many seconds the key comes back."""
    with pytest.raises(AskedAgainError) as caught:
        call()
    return caught.value.seconds


# -- absence -------------------------------------------------------------------------------------------------------


@virtual
async def test_absence_is_believed_after_a_second_list() -> None:
    """That began two seconds after the first one which lacked it, or later."""
    fleet = Fleet()
    (workload,) = fleet.workloads
    await fleet.lose(1)

    def gone() -> bool:
        return fleet.brakes.missing(workload, fleet.roster, present=False)

    assert asked_again(gone) == pytest.approx(2.0)
    assert asked_again(gone) == pytest.approx(2.0)
    first = fleet.roster.began
    await asyncio.sleep(1.0)
    await fleet.roster.look(now() - 1e-9)
    assert asked_again(gone) == pytest.approx(2.0 - (fleet.roster.began - first))
    await fleet.roster.look(first + 2.0 - 1e-9)

    assert gone()
    assert gone()


@virtual
async def test_a_row_that_returns_begins_anew() -> None:
    """The next absence needs two lists of its own."""
    fleet = Fleet()
    (workload,) = fleet.workloads
    await fleet.lose(1)
    asked_again(lambda: fleet.brakes.missing(workload, fleet.roster, present=False))
    await fleet.list_without()

    assert not fleet.brakes.missing(workload, fleet.roster, present=True)

    await fleet.lose(1)
    assert asked_again(lambda: fleet.brakes.missing(workload, fleet.roster, present=False)) == pytest.approx(2.0)


@virtual
async def test_what_was_never_there_is_not_missing() -> None:
    """A Workload without a recorded id is not created yet."""
    fleet = Fleet()
    await fleet.lose(1)

    assert not fleet.brakes.missing(a_workload(), fleet.roster, present=False)


# -- fleets --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("known", "lost", "elsewhere", "brake", "why"),
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
def test_a_fleet_that_vanishes(known: int, lost: int, elsewhere: int, brake: bool, why: str) -> None:
    """At least five known Workloads, and over half of a project, at once."""

    @virtual
    async def check() -> None:
        fleet = Fleet(known, elsewhere=elsewhere)
        await fleet.lose(lost)

        assert [fleet.brakes.vanished_en_masse(each, fleet.roster) for each in fleet.workloads[:lost]] == [
            brake
        ] * lost, why

    check()


@virtual
async def test_each_list_is_counted_anew() -> None:
    """One that has the rows again ends it for those that were not told yet."""
    fleet = Fleet(6)
    await fleet.lose(6)
    assert fleet.brakes.vanished_en_masse(fleet.workloads[0], fleet.roster)

    await fleet.lose(1)

    assert not fleet.brakes.vanished_en_masse(fleet.workloads[0], fleet.roster)


@virtual
async def test_what_was_told_holds_until_somebody_decides() -> None:
    """The status says MassMissing: fewer that are missing by now do not release the rest one after the other."""
    fleet = Fleet(6)
    await fleet.lose(2)
    told = stopped(fleet.workloads[0], Reason.MASS_MISSING)

    assert fleet.brakes.vanished_en_masse(told, fleet.roster)
    asked = annotated(told, reconcile_requested_at="now")
    assert not fleet.brakes.vanished_en_masse(asked, fleet.roster)
    handled = replace(asked, status=replace(asked.status, last_handled_reconcile_at="now"))
    assert fleet.brakes.vanished_en_masse(handled, fleet.roster)


@virtual
async def test_a_look_that_is_requested_releases_at_once() -> None:
    """Also where the brake was not told yet."""
    fleet = Fleet(6)
    await fleet.lose(6)

    assert not fleet.brakes.vanished_en_masse(annotated(fleet.workloads[0], reconcile_requested_at="now"), fleet.roster)


@virtual
async def test_one_event_for_a_fleet() -> None:
    """Whoever comes first tells it; and the next time, somebody again."""
    fleet = Fleet(6)
    for _ in range(2):
        await fleet.lose(6)
        assert fleet.brakes.vanished_en_masse(fleet.workloads[0], fleet.roster)
        assert [fleet.brakes.first_of_the_mass(fleet.roster) for _ in range(6)] == [True] + [False] * 5
        await fleet.list_without()
        told = stopped(fleet.workloads[0], Reason.MASS_MISSING)
        fleet.brakes.missing(told, fleet.roster, present=True)


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
            fleet.brakes.repaired(workload)

        assert fleet.brakes.contested(workload) is contested, why

    check()


@virtual
async def test_a_contest_lasts_until_somebody_decides() -> None:
    """Written into the status, it outlives the ten minutes and the process; an edit or a request ends it."""
    fleet = Fleet()
    (workload,) = fleet.workloads
    told = stopped(workload, Reason.CONTESTED)

    assert fleet.brakes.contested(told)
    assert not fleet.brakes.contested(redeclared(told, model="other"))
    assert not fleet.brakes.contested(annotated(told, reconcile_requested_at="now"))


@virtual
async def test_a_request_forgives_the_repairs_of_before() -> None:
    """Otherwise the next repair would be the fourth."""
    fleet = Fleet()
    (workload,) = fleet.workloads
    for _ in range(3):
        fleet.brakes.repaired(workload)
    assert fleet.brakes.contested(workload)

    assert not fleet.brakes.contested(annotated(workload, reconcile_requested_at="now"))
    fleet.brakes.repaired(workload)

    assert not fleet.brakes.contested(workload)


@virtual
async def test_each_workload_has_its_own_contest() -> None:
    """One that is fought over is no reason to leave the others."""
    fleet = Fleet(2)
    for _ in range(3):
        fleet.brakes.repaired(fleet.workloads[0])

    assert [fleet.brakes.contested(each) for each in fleet.workloads] == [True, False]
