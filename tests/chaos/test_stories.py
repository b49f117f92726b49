"""What was seen to go wrong where the platform lags, clocks differ, and people interfere: each story has a scene."""

from __future__ import annotations

import asyncio

import pytest

from chaos.scenes import (
    PROJECT,
    SLUG,
    asked,
    declare,
    fault,
    kill,
    message,
    notes,
    patches,
    played,
    posts,
    ready,
    reasons_shown,
    slugs,
    theirs,
    until,
)
from chaos.world import SETTINGS, World
from inferencekey_operator.api.workload import FINALIZER, ON_DRIFT

NULL = {"status": 200, "body": {"workloads": None}}


# -- a list against a recorded id ------------------------------------------------------------------------------


def test_a_list_that_is_empty_does_not_release_a_workload() -> None:
    """The workload is deleted by its recorded id, though lists are null at that moment."""

    async def scene(world: World) -> None:
        workload = declare(world)
        await until(world, lambda: ready(workload) == "Ready")
        fault(world, "respond", "list", times=8, **NULL)
        world.objects.delete(world.name(workload))
        await asyncio.sleep(10.0)

    world = played(scene)
    assert slugs(world) == []
    assert notes(world, "Deleted") == ["Deleted wl_0001 from the platform"]


def test_six_at_once_are_deleted_by_their_ids() -> None:
    """A whole namespace goes while the list is empty: nothing is left."""

    async def scene(world: World) -> None:
        workloads = [declare(world, name=f"bot-{number}") for number in range(6)]
        await until(world, lambda: all(ready(each) == "Ready" for each in workloads))
        fault(world, "respond", "list", times=30, **NULL)
        await asyncio.sleep(60.0)
        for each in workloads:
            world.objects.delete(world.name(each))
        await until(world, lambda: all(each.gone_at is not None for each in workloads))

    world = played(scene)
    assert (slugs(world), posts(world)) == ([], 6)


def test_what_vanished_with_its_project_is_held_for_the_grace_time() -> None:
    """404 for all of a project at once, and empty lists: the Workloads are released only then, and it is told."""

    async def scene(world: World) -> None:
        workloads = [declare(world, name=f"bot-{number}") for number in range(6)]
        await until(world, lambda: all(ready(each) == "Ready" for each in workloads))
        await asyncio.sleep(2 * SETTINGS.uncertain_create_timeout)
        for row in list(world.platform.rows()):
            world.platform.remove(row)
        for each in workloads:
            world.objects.delete(world.name(each))
        await asyncio.sleep(SETTINGS.deletion_grace - 5.0)
        assert [ready(each) for each in workloads] == ["MassMissing"] * 6
        await until(world, lambda: all(each.gone_at is not None for each in workloads))

    assert len(notes(played(scene), "Orphaned")) == 6


@pytest.mark.parametrize("status", [422, 403])
def test_a_refused_creation_leaves_no_claim(status: int) -> None:
    """After the refusal somebody makes the slug by hand: it is found, neither patched nor deleted."""

    async def scene(world: World) -> None:
        fault(world, "respond", "create", status=status, body={"error": "quota"})
        workload = declare(world, adoptionPolicy="Never", deletionPolicy=None)
        await until(world, lambda: ready(workload) == "PlatformRefused")
        await asyncio.sleep(1.0)
        assert "creation" not in workload.body["status"]
        assert "platformURL" not in workload.body["status"]
        assert not workload.body["metadata"].get("finalizers")
        theirs(world)
        await until(world, lambda: ready(workload) == "AdoptionPending", within=300.0)
        world.objects.delete(world.name(workload))

    world = played(scene)
    assert (slugs(world), world.platform.writes) == ([SLUG], 0)


def test_whoever_takes_the_slug_meanwhile_keeps_it() -> None:
    """Our duplicate goes; theirs is found, not made: with Never it is neither patched nor deleted."""

    async def scene(world: World) -> None:
        fault(world, "delay", "create", seconds=3.0)
        workload = declare(world, adoptionPolicy="Never")
        await asked(world, "create")
        theirs(world)
        await until(world, lambda: ready(workload) == "AdoptionPending")
        assert workload.body["status"].get("adopted") is None
        world.objects.delete(world.name(workload))

    world = played(scene)
    assert (slugs(world), posts(world), patches(world)) == ([SLUG], 1, 0)


# -- clocks ----------------------------------------------------------------------------------------------------

CLOCKS = {
    "90 s behind": {"clock_skew": -90.0},
    "five minutes behind": {"clock_skew": -300.0},
    "ten minutes ahead": {"clock_skew": 600.0},
    "Date is right, created_at is not": {"clock_skew": -90.0, "date_header": "true"},
    "no Date": {"clock_skew": -90.0, "date_header": "none"},
    "no zone": {"created_at": "naive"},
    "year 1": {"created_at": "year_1"},
    "no time": {"created_at": "missing"},
}


@pytest.mark.parametrize("clock", CLOCKS.values(), ids=CLOCKS)
@pytest.mark.parametrize("how", ["the answer is lost", "the operator is killed"])
def test_what_we_made_is_ours_whatever_the_clocks_say(clock: dict[str, object], how: str) -> None:
    """Platform time is compared with platform time: it is not taken for found, and goes with its Workload."""

    async def scene(world: World) -> None:
        world.platform.configure(clock)
        await asyncio.sleep(3.0)
        if how == "the answer is lost":
            fault(world, "cut_after", "create")
        else:
            fault(world, "delay_after", "create", seconds=5.0)
        workload = declare(world)
        if how == "the operator is killed":
            await until(world, lambda: slugs(world) == [SLUG])
            kill(world)
        await until(world, lambda: ready(workload) == "Ready", within=300.0)
        assert workload.body["status"]["adopted"] is False
        world.objects.delete(world.name(workload))

    world = played(scene)
    assert (slugs(world), posts(world)) == ([], 1)


def test_the_grace_time_needs_no_clock_of_another_machine() -> None:
    """The API server's clock is an hour behind ours: a deletion without a token still waits for one."""

    async def scene(world: World) -> None:
        workload = declare(world)
        await until(world, lambda: ready(workload) == "Ready")
        world.put_secret("team-a", f"ik_sdk_00000000_{'0' * 64}")
        kill(world)
        world.clock_behind = 3600.0
        world.objects.delete(world.name(workload))
        await asyncio.sleep(40.0)
        assert workload.gone_at is None
        world.give_token("team-a")

    assert slugs(played(scene)) == []


# -- Secrets that move -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("deleted", [False, True], ids=["it stays", "it is deleted"])
def test_a_creation_stays_in_its_project(deleted: bool) -> None:
    """The answer is lost, and the Secret moves to another project: no second workload there, and the first is known."""

    async def scene(world: World) -> None:
        fault(world, "cut_after", "create")
        workload = declare(world)
        await until(world, lambda: slugs(world) == [SLUG])
        world.move_secret("team-a", "lab")
        await until(world, lambda: ready(workload) == "IdentityChanged", within=300.0)
        assert "prod" in message(workload)
        if deleted:
            world.objects.delete(world.name(workload))
            await until(world, lambda: workload.gone_at is not None)
        world.give_token("team-a")

    world = played(scene)
    assert (slugs(world), posts(world)) == ([] if deleted else [SLUG], 1)


# -- rows of others --------------------------------------------------------------------------------------------


def test_a_row_of_another_project_is_not_ours() -> None:
    """The list shows one with our slug: it is neither patched nor deleted, and ours is made."""

    async def scene(world: World) -> None:
        row = {"id": "wl_foreign", "slug": SLUG, "project_slug": "another", "model_name": "m", "backend": "vllm"}
        world.platform.configure({"extra_rows": [row]})
        workload = declare(world)
        await until(world, lambda: ready(workload) == "Ready")
        world.objects.delete(world.name(workload))

    world = played(scene)
    assert (slugs(world), posts(world), patches(world)) == ([], 1, 0)


def test_a_slug_that_is_renamed_is_not_missing() -> None:
    """The recorded id under another slug: no creation, and both slugs are named; a deletion leaves it, and says so."""

    async def scene(world: World) -> None:
        workload = declare(world)
        await until(world, lambda: ready(workload) == "Ready")
        world.platform.edit(world.platform.row(PROJECT, SLUG), {"slug": "renamed"})
        await until(world, lambda: ready(workload) == "IdentityChanged")
        assert SLUG in message(workload)
        assert "renamed" in message(workload)
        await asyncio.sleep(2 * SETTINGS.uncertain_create_timeout)
        world.objects.delete(world.name(workload))

    world = played(scene)
    assert (slugs(world), posts(world)) == (["renamed"], 1)
    assert "wl_0001" in notes(world, "Orphaned")[0]


# -- what is queued --------------------------------------------------------------------------------------------

HOLDS = {
    "suspended": {"spec": {"suspend": True}},
    "held by its policy": {"metadata": {"annotations": {ON_DRIFT: "DryRun"}}},
}


@pytest.mark.parametrize("hold", HOLDS.values(), ids=HOLDS)
def test_a_creation_that_is_queued_does_not_overtake(hold: dict[str, object]) -> None:
    """Of 24 creations that take 3.5 s each, those in the queue are not sent once their Workloads are held."""

    async def scene(world: World) -> None:
        fault(world, "delay", "create", seconds=3.5, times=None)
        workloads = [declare(world, name=f"bot-{number}") for number in range(24)]
        await asked(world, "create")
        await asyncio.sleep(0.5)
        for each in workloads:
            world.patch(each, hold)
        await asyncio.sleep(0.5)
        sent = sum(e.call.operation == "create" for e in world.platform.journal.since(0))
        assert sent < 24
        await asyncio.sleep(20.0)
        assert sum(e.call.operation == "create" for e in world.platform.journal.since(0)) == sent
        world.platform.faults.clear()

    played(scene)


def test_a_deletion_overtakes_what_is_queued() -> None:
    """Nothing is created for a Workload whose deletion was acknowledged."""

    async def scene(world: World) -> None:
        fault(world, "delay", "create", seconds=3.5, times=None)
        workloads = [declare(world, name=f"bot-{number}") for number in range(24)]
        await asked(world, "create")
        await asyncio.sleep(0.5)
        for each in workloads:
            world.objects.delete(world.name(each))
        await asyncio.sleep(0.5)
        sent = sum(e.call.operation == "create" for e in world.platform.journal.since(0))
        await asyncio.sleep(20.0)
        assert sum(e.call.operation == "create" for e in world.platform.journal.since(0)) == sent
        world.platform.faults.clear()

    assert slugs(played(scene)) == []


# -- duplicates ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("then", ["is killed", "is suspended", "is deleted as Orphan"])
def test_a_duplicate_is_not_forgotten(then: str) -> None:
    """Its first deletion fails with 503; whatever comes next, it goes."""

    async def scene(world: World) -> None:
        fault(world, "delay", "create", seconds=3.0)
        fault(world, "respond", "delete", status=503, times=3)
        workload = declare(world)
        await asked(world, "create")
        theirs(world)
        await until(world, lambda: "duplicateWorkloadId" in workload.body["status"])
        assert f"{SLUG}-1" in slugs(world)
        if then == "is killed":
            kill(world)
        elif then == "is suspended":
            world.patch(workload, {"spec": {"suspend": True}})
        else:
            world.patch(workload, {"spec": {"deletionPolicy": "Orphan"}})
            world.objects.delete(world.name(workload))
        await until(world, lambda: f"{SLUG}-1" not in slugs(world), within=300.0)

    world = played(scene)
    assert (slugs(world), posts(world)) == ([SLUG], 1)


def test_a_duplicate_whose_deletion_is_answered_with_404_is_not_forgotten() -> None:
    """A list has to confirm that it is gone."""

    async def scene(world: World) -> None:
        fault(world, "delay", "create", seconds=3.0)
        fault(world, "respond", "delete", status=404, times=2)
        declare(world)
        await asked(world, "create")
        theirs(world)
        await asyncio.sleep(4 * SETTINGS.uncertain_create_timeout)

    assert slugs(played(scene)) == [SLUG]


def test_a_duplicate_whose_answer_was_lost_is_announced() -> None:
    """Somebody took the slug, and the answer was lost: an Event names the duplicate's id."""

    async def scene(world: World) -> None:
        fault(world, "delay", "create", seconds=3.0)
        workload = declare(world)
        await asked(world, "create")
        theirs(world)
        world.loop.call_later(1.0, kill, world)
        await until(world, lambda: ready(workload) == "Ready", within=300.0)

    world = played(scene)
    assert slugs(world) == [SLUG, f"{SLUG}-1"]
    duplicate = world.platform.row(PROJECT, f"{SLUG}-1").id
    assert any(duplicate in note for note in notes(world, "DuplicateWorkload"))


def test_a_platform_that_spells_slugs_in_its_own_way_is_not_asked_again_and_again() -> None:
    """It makes upper case of a slug: one workload, which is deleted, and a message that names the slug."""

    async def scene(world: World) -> None:
        world.platform.configure({"slug_form": "upper"})
        workload = declare(world)
        await asyncio.sleep(3 * SETTINGS.resync_period)
        assert ready(workload) == "PlatformRefused"
        assert "ALPHA" in message(workload)
        assert posts(world) <= 2
        world.platform.configure({"slug_form": "as_sent"})
        world.objects.delete(world.name(workload))

    assert slugs(played(scene)) == []


# -- lists that lag --------------------------------------------------------------------------------------------

LAGS = {
    "5 s": {"list_lag": {"create": 5.0, "update": 5.0, "delete": 5.0}},
    "25 s": {"list_lag": {"create": 25.0, "update": 25.0, "delete": 25.0}},
    "90 s": {"list_lag": {"create": 90.0, "update": 90.0, "delete": 90.0}},
    "25 s, one replica": {"list_lag": {"create": 25.0, "update": 25.0, "delete": 25.0}, "stale_replicas": True},
}


@pytest.mark.parametrize("lag", LAGS.values(), ids=LAGS)
def test_lists_that_lag_cost_no_duplicate(lag: dict[str, object]) -> None:
    """Ten Workloads at once, then an edit each, then their deletion: one creation, one or two updates each."""

    async def scene(world: World) -> None:
        world.platform.configure(lag)
        workloads = [declare(world, name=f"bot-{number}") for number in range(10)]
        await until(world, lambda: all(ready(each) == "Ready" for each in workloads))
        await asyncio.sleep(150.0)
        assert (posts(world), patches(world)) == (10, 0)
        for each in workloads:
            world.patch(each, {"spec": {"model": "llama-4"}})
        await asyncio.sleep(300.0)
        assert (posts(world), len(slugs(world))) == (10, 10)
        assert patches(world) <= (20 if lag["list_lag"]["create"] < SETTINGS.uncertain_create_timeout else 30)  # type: ignore[index]
        for each in workloads:
            shown = list(reasons_shown(each))
            assert "Contested" not in shown
            assert "PlatformError" not in shown[shown.index("Ready") :] or lag["list_lag"]["create"] > 40  # type: ignore[index]
            world.objects.delete(world.name(each))
        await asyncio.sleep(150.0)

    world = played(scene)
    assert (slugs(world), posts(world)) == ([], 10)


def test_lists_that_are_empty_for_a_while_change_nothing() -> None:
    """Four Workloads, twelve seconds: no second creation, and Ready stays."""

    async def scene(world: World) -> None:
        workloads = [declare(world, name=f"bot-{number}") for number in range(4)]
        await until(world, lambda: all(ready(each) == "Ready" for each in workloads))
        await asyncio.sleep(60.0)
        world.platform.faults.clear()
        fault(world, "respond", "list", times=3, **NULL)
        await asyncio.sleep(60.0)
        assert {ready(each) for each in workloads} == {"Ready"}
        assert all(list(reasons_shown(each))[-1] == "Ready" for each in workloads)

    world = played(scene)
    assert posts(world) == 4


@pytest.mark.parametrize("restart", [False, True], ids=["same process", "restarted"])
@pytest.mark.parametrize("model", ["llama-3", "qwen-3"])
@pytest.mark.parametrize("policy", ["Reconcile", "Warn", "Fail"])
def test_what_was_deleted_is_not_adopted_from_a_list_that_lags(policy: str, model: str, *, restart: bool) -> None:
    """Deleted and applied again, as it was or not: the row that is still listed is dead, and a new workload is made."""

    async def scene(world: World) -> None:
        world.platform.configure({"list_lag": {"delete": 90.0}})
        workload = declare(world)
        await until(world, lambda: ready(workload) == "Ready")
        world.objects.delete(world.name(workload))
        await until(world, lambda: workload.gone_at is not None)
        if restart:
            world.running()[0].process.kill()
        again = declare(world, metadata={"annotations": {ON_DRIFT: policy}}, model=model)
        await until(world, lambda: ready(again) == "Ready", within=180.0)
        await asyncio.sleep(120.0)
        assert ready(again) == "Ready"

    world = played(scene)
    assert (slugs(world), posts(world)) == ([SLUG], 2)


@pytest.mark.parametrize("form", ["next_cursor", "has_more", "total", "link"])
def test_one_page_of_several_is_no_list(form: str) -> None:
    """Nothing is created from the first page alone."""

    async def scene(world: World) -> None:
        for name in ("a", "b", "c"):
            theirs(world, slug=name, name=name)
        theirs(world)
        world.platform.configure({"pages": form, "page_size": 2})
        workload = declare(world)
        await asyncio.sleep(45.0)
        assert ready(workload) == "PlatformError"
        assert posts(world) == 0
        world.platform.configure({"pages": "off"})

    world = played(scene)
    assert posts(world) == 0


# -- deletions that take their time ----------------------------------------------------------------------------


def test_a_deletion_that_is_accepted_is_not_confirmed() -> None:
    """202, carried out later: the finalizer stays until then."""

    async def scene(world: World) -> None:
        world.platform.configure({"deletion": "later", "deletion_seconds": 20.0})
        workload = declare(world)
        await until(world, lambda: ready(workload) == "Ready")
        world.objects.delete(world.name(workload))
        await asyncio.sleep(15.0)
        assert workload.gone_at is None
        assert "accepted" in message(workload)

    assert slugs(played(scene)) == []


def test_a_deletion_that_is_never_carried_out_is_not_believed() -> None:
    """202 and nothing more: the Workload stays, and says so."""

    async def scene(world: World) -> None:
        world.platform.configure({"deletion": "never"})
        workload = declare(world)
        await until(world, lambda: ready(workload) == "Ready")
        world.objects.delete(world.name(workload))
        await asyncio.sleep(4 * SETTINGS.uncertain_create_timeout)
        assert workload.gone_at is None
        assert slugs(world) == [SLUG]
        world.platform.configure({"deletion": "now"})

    assert slugs(played(scene)) == []


def test_what_is_listed_as_deleted_is_gone() -> None:
    """A row with deleted_at: Ready does not stay True, and it is not adopted when the Workload is applied again."""

    async def scene(world: World) -> None:
        world.platform.configure({"deletion": "soft"})
        workload = declare(world)
        await until(world, lambda: ready(workload) == "Ready")
        world.objects.delete(world.name(workload))
        await until(world, lambda: workload.gone_at is not None)
        again = declare(world)
        await until(world, lambda: ready(again) == "Ready")
        assert again.body["status"]["workloadId"] != "wl_0001"

    world = played(scene)
    assert (slugs(world), posts(world)) == ([SLUG], 2)


# -- what people do in Kubernetes ------------------------------------------------------------------------------


def test_a_forged_finalizer_proves_nothing() -> None:
    """A Workload with our finalizer and no record finds a row that somebody made: it is found, and stays."""

    async def scene(world: World) -> None:
        theirs(world)
        workload = declare(world, metadata={"finalizers": [FINALIZER]}, adoptionPolicy="Never")
        await until(world, lambda: ready(workload) == "AdoptionPending")
        world.objects.delete(world.name(workload))
        await until(world, lambda: workload.gone_at is not None)

    world = played(scene)
    assert (slugs(world), world.platform.writes) == ([SLUG], 0)


def test_a_finalizer_that_is_stripped_before_the_deletion() -> None:
    """Both in one moment: the workload goes by its id, an Event tells of it."""

    async def scene(world: World) -> None:
        workload = declare(world)
        await until(world, lambda: ready(workload) == "Ready")
        world.tear_away(workload)
        await asyncio.sleep(20.0)

    world = played(scene)
    assert slugs(world) == []
    assert any("without being released" in note for note in notes(world, "Deleting"))
