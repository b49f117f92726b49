"""What seeds have found, told as scenes: each was a fault of the operator, and has a name now.

A scene sets the stage by hand, in the same world and before the same judge; how it ends is told by the judge, too.
"""

from __future__ import annotations

import asyncio

import pytest

from chaos.apiserver import Trouble
from chaos.clocks import now
from chaos.kubernetes import WORKLOADS, Change
from chaos.life import API_SERVER, Life
from chaos.scenes import asked, declare, fault, kill, notes, patches, played, posts, ready, slugs, theirs, until
from chaos.world import SETTINGS, World
from inferencekey_operator.api.workload import FINALIZER, ON_DRIFT


def test_a_deletion_that_a_proxy_answers_is_not_confirmed() -> None:
    """200 and a page of HTML: the finalizer stays until the platform itself confirms."""

    async def scene(world: World) -> None:
        workload = declare(world)
        await asyncio.sleep(20.0)
        fault(
            world, "respond", "delete", status=200, body="<html>a proxy</html>", headers={"Content-Type": "text/html"}
        )
        world.objects.delete(world.name(workload))
        await asyncio.sleep(20.0)

    assert slugs(played(scene)) == []


@pytest.mark.parametrize("how", ["cut_after", "wrong_content_type"])
def test_what_was_made_again_is_ours_though_the_answer_was_lost(how: str) -> None:
    """A workload that vanished is made again; it is not taken for found, and goes with its Workload."""

    async def scene(world: World) -> None:
        workload = declare(world)
        await asyncio.sleep(20.0)
        world.platform.remove(world.platform.row("prod", "alpha"))
        fault(world, how, "create")
        await asyncio.sleep(60.0)
        status = workload.body["status"]
        assert (status["workloadId"], status["adopted"]) == (world.platform.row("prod", "alpha").id, False)
        world.objects.delete(world.name(workload))

    assert slugs(played(scene)) == []


def test_a_deletion_waits_for_what_is_being_made_again() -> None:
    """The POST that makes it again is carried out after the Workload was deleted, and leaks nothing."""

    async def scene(world: World) -> None:
        workload = declare(world)
        await asyncio.sleep(20.0)
        fault(world, "delay", "create", seconds=18.0)
        world.platform.remove(world.platform.row("prod", "alpha"))
        while not any(entry.fault for entry in world.platform.journal.since(0)):
            assert now() < 120.0
            await asyncio.sleep(0.1)
        world.objects.delete(world.name(workload))

    world = played(scene)
    assert (slugs(world), posts(world)) == ([], 2)


def test_a_deletion_believes_no_list_whose_row_cannot_be_read() -> None:
    """A row with our slug and no id is no absence: nothing is let go while the platform cannot say what it has."""

    async def scene(world: World) -> None:
        workload = declare(world)
        await asyncio.sleep(20.0)
        fault(world, "respond", "list", status=200, body=[{"slug": "alpha"}], times=6)
        world.objects.delete(world.name(workload))
        await asyncio.sleep(60.0)

    assert slugs(played(scene)) == []


def test_a_creation_that_was_given_up_may_still_be_carried_out() -> None:
    """Long after the client's timeout: no second one is sent meanwhile."""

    async def scene(world: World) -> None:
        fault(world, "delay", "create", seconds=30.0)
        declare(world)
        await asyncio.sleep(120.0)

    world = played(scene)
    assert (slugs(world), posts(world)) == (["alpha"], 1)


@pytest.mark.parametrize("seed", [0, 1, 6])
def test_two_credentials_make_one_workload_for_a_slug(seed: int) -> None:
    """Two namespaces declare one identity at once, each with a token of its own: no twin, not even briefly."""

    async def scene(world: World) -> None:
        declare(world, "team-a")
        declare(world, "team-b")
        await asyncio.sleep(20.0)

    world = played(scene, seed)
    assert (slugs(world), posts(world)) == (["alpha"], 1)


def test_a_twin_goes_though_its_first_deletion_fails() -> None:
    """Somebody takes the slug in the last moment: what we made beside it is deleted, however often that is tried."""

    async def scene(world: World) -> None:
        def take(change: Change) -> None:
            if FINALIZER in (change.body["metadata"].get("finalizers") or ()) and not slugs(world):
                world.platform.add(
                    "prod", {"slug": "alpha", "name": "theirs", "model_name": "llama-3", "backend": "vllm"}
                )

        world.objects.watchers.append(take)
        fault(world, "respond", "delete", status=500, times=2)
        declare(world)
        await asyncio.sleep(20.0)

    world = played(scene)
    assert (slugs(world), posts(world)) == (["alpha"], 1)


def test_what_is_held_for_adoption_is_told_once() -> None:
    """A backup with our finalizer comes back beside a row that is older: no Event per look says that we made it."""

    async def scene(world: World) -> None:
        world.platform.add("prod", {"slug": "alpha", "name": "alpha", "model_name": "llama-3", "backend": "vllm"})
        await asyncio.sleep(120.0)
        declare(world, metadata={"finalizers": [FINALIZER]}, adoptionPolicy="Never")
        await asyncio.sleep(20.0)

    world = played(scene)
    assert not [line for line in world.trace if "the answer was lost" in line]


def test_one_refusal_of_a_token_does_not_decide_a_deletion() -> None:
    """401 once: the token is tried again within the grace time, and nothing is orphaned."""

    async def scene(world: World) -> None:
        workload = declare(world)
        await asyncio.sleep(20.0)
        fault(world, "respond", "delete", status=401, body={"error": "unauthenticated"})
        world.objects.delete(world.name(workload))
        await asyncio.sleep(2 * SETTINGS.deletion_grace)

    world = played(scene)
    assert slugs(world) == []
    assert not [line for line in world.trace if "Orphaned" in line]


# -- what the judge of leaks and duplicates found ------------------------------------------------------------------


def test_what_is_left_is_told_though_the_release_gets_no_answer() -> None:
    """The finalizer goes, and the answer is lost: the orphan was named before."""

    async def scene(world: World) -> None:
        workload = declare(world)
        await until(world, lambda: ready(workload) == "Ready")
        world.put_secret("team-a", f"ik_sdk_00000000_{'0' * 64}")
        kill(world)
        world.objects.delete(world.name(workload))
        await until(world, lambda: ready(workload) == "Deleting")
        world.api.troubles.append(Trouble("lost", WORKLOADS, writes=True))
        await until(world, lambda: workload.gone_at is not None)
        await asyncio.sleep(5.0)

    world = played(scene)
    assert "wl_0001" in notes(world, "Orphaned")[0]


@pytest.mark.parametrize("then", ["another process leads", "it is deleted as Orphan"])
def test_a_duplicate_that_comes_late_is_announced(then: str) -> None:
    """Someone takes the slug, and the creation is carried out after it was given up: nothing is concluded before."""

    async def scene(world: World) -> None:
        fault(world, "delay", "create", seconds=30.0)
        workload = declare(world, deletionPolicy="Orphan")
        await asked(world, "create")
        theirs(world)
        await asyncio.sleep(12.0)
        if then == "another process leads":
            leader = world.leader()
            assert leader is not None
            await leader.stop()
            await until(world, lambda: ready(workload) == "Ready", within=300.0)
        else:
            world.objects.delete(world.name(workload))
            await until(world, lambda: workload.gone_at is not None)

    world = played(scene)
    assert slugs(world) == ["alpha", "alpha-1"]
    duplicate = world.platform.row("prod", "alpha-1").id
    assert any(duplicate in note for note in notes(world, "DuplicateWorkload"))


def test_what_was_renamed_before_its_answer_came_is_announced() -> None:
    """The answer is lost, and somebody renames the workload at once: an Event names it, and the slug is made."""

    async def scene(world: World) -> None:
        fault(world, "cut_after", "create")
        declare(world)
        await until(world, lambda: slugs(world) == ["alpha"])
        world.platform.edit(world.platform.row("prod", "alpha"), {"slug": "renamed"})
        await asyncio.sleep(3 * SETTINGS.uncertain_create_timeout)

    world = played(scene)
    assert sorted(slugs(world)) == ["alpha", "renamed"]
    assert any("wl_0001" in note for note in notes(world, "DuplicateWorkload"))


def test_a_record_that_hands_remove_is_written_again() -> None:
    """The status is wiped while the creation is on its way, and another process leads: there is one, not two."""

    async def scene(world: World) -> None:
        fault(world, "delay", "create", seconds=20.0)
        workload = declare(world)
        await asked(world, "create")
        world.wipe_status(workload)
        await until(world, lambda: "creation" in workload.body["status"])
        leader = world.leader()
        assert leader is not None
        await leader.stop()
        await until(world, lambda: ready(workload) == "Ready", within=300.0)

    world = played(scene)
    assert (slugs(world), posts(world)) == (["alpha"], 1)


def test_what_was_renamed_is_left_though_a_list_lacks_it() -> None:
    """Lists are empty for a moment when the Workload is deleted: that it was renamed is in its status."""

    async def scene(world: World) -> None:
        workload = declare(world)
        await until(world, lambda: ready(workload) == "Ready")
        world.platform.edit(world.platform.row("prod", "alpha"), {"slug": "renamed"})
        await until(world, lambda: ready(workload) == "IdentityChanged")
        world.platform.lies += [b"[]", b"[]"]
        world.objects.delete(world.name(workload))

    assert slugs(played(scene)) == ["renamed"]


# -- what was known too early, or for too long ----------------------------------------------------------------------


def two_replicas(world: World) -> tuple[Life, Life]:
    """The leader, and the replica that waits to lead."""
    leader = world.leader()
    assert leader is not None
    return leader, next(each for each in world.running() if each is not leader)


def sent(world: World, operation: str) -> int:
    """How many calls of this kind the platform was asked, whatever came of them."""
    return sum(entry.call.operation == operation for entry in world.platform.journal.since(0))


def test_a_suspended_workload_gets_its_finalizer_back() -> None:
    """Hands remove it: a suspended Workload that is deleted later leaks nothing all the same."""

    async def scene(world: World) -> None:
        workload = declare(world)
        await until(world, lambda: ready(workload) == "Ready")
        world.patch(workload, {"spec": {"suspend": True}})
        await asyncio.sleep(5.0)
        world.patch(workload, {"metadata": {"finalizers": None}})
        await until(world, lambda: FINALIZER in workload.body["metadata"].get("finalizers", ()))
        kill(world)
        world.objects.delete(world.name(workload))

    assert slugs(played(scene)) == []


def test_a_wiped_status_is_looked_up_when_the_platform_answers_again() -> None:
    """503 for the one list that is asked before the release: it is asked again, and what is left is named."""

    async def scene(world: World) -> None:
        workload = declare(world)
        await until(world, lambda: ready(workload) == "Ready")
        kill(world)
        world.wipe_status(workload)
        world.objects.delete(world.name(workload))
        fault(world, "respond", "list", status=503)
        await until(world, lambda: workload.gone_at is not None, within=300.0)

    world = played(scene)
    assert slugs(world) == ["alpha"]
    assert any("wl_0001" in note for note in notes(world, "Orphaned"))


def test_a_deletion_waits_for_the_creation_though_it_deleted_something() -> None:
    """Someone else's row has the slug and goes, as declared; the creation that is still on its way goes, too."""

    async def scene(world: World) -> None:
        fault(world, "delay", "create", seconds=30.0)
        workload = declare(world, deletionPolicy="Delete")
        await asked(world, "create")
        theirs(world)
        await asyncio.sleep(12.0)
        world.objects.delete(world.name(workload))
        await until(world, lambda: workload.gone_at is not None, within=300.0)

    world = played(scene)
    assert all(any(row.id in line for line in world.oracle.named) for row in world.platform.rows())


@pytest.mark.parametrize("how", ["refused for long", "suspended meanwhile"])
def test_a_creation_that_never_was_claims_nothing_for_ever(how: str) -> None:
    """What is made in the dashboard long after is found, though it looks like what the record of the POST says."""

    async def scene(world: World) -> None:
        if how == "refused for long":
            fault(world, "respond", "create", status=429, headers={"Retry-After": "900"})
        else:
            fault(world, "cut_before", "create")
        workload = declare(world)
        await until(world, lambda: sent(world, "create"))
        await asyncio.sleep(1.0)
        if how == "refused for long":
            await asyncio.sleep(300.0)
            kill(world)
        else:
            world.patch(workload, {"spec": {"suspend": True}})
            await asyncio.sleep(3600.0)
        theirs(world, name="alpha", model_name="llama-3")
        await asyncio.sleep(30.0)
        world.patch(workload, {"spec": {"suspend": None}})
        await until(world, lambda: ready(workload) == "Ready", within=1000.0)
        world.objects.delete(world.name(workload))

    assert slugs(played(scene)) == ["alpha"]


@pytest.mark.parametrize("status", [404, 308])
def test_a_project_that_is_gone_holds_no_deletion_for_ever(status: int) -> None:
    """The finalizer goes after the grace time, and an Event says so."""

    async def scene(world: World) -> None:
        workload = declare(world)
        await until(world, lambda: ready(workload) == "Ready")
        for row in list(world.platform.rows()):
            world.platform.remove(row)
        fault(world, "respond", "list", status=status, body={"error": "project not found"}, times=None)
        fault(world, "respond", "delete", status=404, times=None)
        world.objects.delete(world.name(workload))
        await until(world, lambda: workload.gone_at is not None, within=3 * SETTINGS.deletion_grace)

    assert notes(played(scene), "Orphaned")


def test_a_token_that_is_replaced_during_its_list_has_not_proven_itself() -> None:
    """The list's answer is of the former token: the deletion uses that, not the one that never worked."""

    async def scene(world: World) -> None:
        workload = declare(world)
        await until(world, lambda: ready(workload) == "Ready")
        await asyncio.sleep(30.0)
        fault(world, "delay", "list", seconds=4.0)
        await asked(world, "list")
        world.put_secret("team-a", f"ik_sdk_00000000_{'0' * 64}")
        await asyncio.sleep(20.0)
        world.put_secret("team-a", None)
        await asyncio.sleep(5.0)
        world.objects.delete(world.name(workload))
        await until(world, lambda: workload.gone_at is not None, within=3 * SETTINGS.deletion_grace)

    assert slugs(played(scene)) == []


def test_a_project_of_what_vanished_is_listed_no_longer() -> None:
    """The workload is deleted, and nothing is left to ask the platform about."""

    async def scene(world: World) -> None:
        workload = declare(world)
        await until(world, lambda: ready(workload) == "Ready")
        world.tear_away(workload)
        await until(world, lambda: slugs(world) == [])
        await asyncio.sleep(60.0)
        before = sent(world, "list")
        await asyncio.sleep(3600.0)
        assert sent(world, "list") == before

    played(scene)


@pytest.mark.parametrize("then", ["deleted", "kept"])
def test_a_refusal_of_a_former_term_says_nothing_of_what_was_sent_since(then: str) -> None:
    """Its own POST was refused; then another replica led, sent one, and died before its answer."""

    async def scene(world: World) -> None:
        world.replicas = 2
        world.start()
        await asyncio.sleep(5.0)
        former, other = two_replicas(world)
        fault(world, "respond", "create", status=429, headers={"Retry-After": "40"})
        workload = declare(world)
        await until(world, lambda: sent(world, "create"))
        await asyncio.sleep(0.5)
        fault(world, "delay", "create", seconds=38.0)
        former.process.cut_off(API_SERVER, now() + 40.0)
        await until(world, lambda: sent(world, "create") == 2, within=300.0)
        world.replicas = 1
        other.process.kill()
        await until(world, lambda: former.leads, within=60.0)
        await asyncio.sleep(1.0)
        if then == "deleted":
            world.objects.delete(world.name(workload))
            await until(world, lambda: workload.gone_at is not None, within=300.0)

    assert slugs(played(scene)) == (["alpha"] if then == "kept" else [])


@pytest.mark.parametrize("then", ["deleted at once", "deleted when it is ready"])
def test_an_id_of_a_former_term_is_not_what_is_there_now(then: str) -> None:
    """Another replica led meanwhile, made the workload again, and died before its answer: that one is deleted."""

    async def scene(world: World) -> None:
        world.replicas = 2
        world.start()
        await asyncio.sleep(5.0)
        former, other = two_replicas(world)
        workload = declare(world)
        await until(world, lambda: ready(workload) == "Ready")
        former.process.cut_off(API_SERVER, now() + 40.0)
        await until(world, lambda: other.leads, within=60.0)
        world.platform.remove(world.platform.row("prod", "alpha"))
        fault(world, "cut_after", "create")
        await until(world, lambda: sent(world, "create") == 2, within=600.0)
        await asyncio.sleep(0.1)
        world.replicas = 1
        other.process.kill()
        if then == "deleted when it is ready":
            await until(world, lambda: former.leads, within=60.0)
            await until(world, lambda: ready(workload) == "Ready", within=600.0)
        world.objects.delete(world.name(workload))
        await until(world, lambda: workload.gone_at is not None, within=600.0)

    assert slugs(played(scene)) == []


def test_what_is_held_in_doubt_is_announced() -> None:
    """Never adopts it, and it may be ours all the same: an Event names it, so that somebody looks."""

    async def scene(world: World) -> None:
        fault(world, "cut_after", "create")
        workload = declare(world, adoptionPolicy="Never")
        await until(world, lambda: slugs(world) == ["alpha"])
        world.platform.edit(world.platform.row("prod", "alpha"), {"name": "Renamed"})
        await until(world, lambda: ready(workload) == "AdoptionPending", within=300.0)

    assert any("wl_0001" in note for note in notes(played(scene), "DuplicateWorkload"))


def test_beside_a_recorded_id_nothing_else_is_deleted() -> None:
    """The answer was lost and the workload found; people replace it by one that looks the same: that one is theirs."""

    async def scene(world: World) -> None:
        fault(world, "cut_after", "create")
        workload = declare(world, deletionPolicy="Delete")
        await until(world, lambda: ready(workload) == "Ready", within=300.0)
        world.platform.remove(world.platform.row("prod", "alpha"))
        theirs(world, name="alpha", model_name="llama-3")
        world.objects.delete(world.name(workload))
        await until(world, lambda: workload.gone_at is not None, within=300.0)

    world = played(scene)
    assert slugs(world) == ["alpha"]
    assert any("wl_0002" in note for note in notes(world, "Orphaned"))


@pytest.mark.parametrize("then", ["the status is wiped", "the process dies"])
def test_what_was_found_stays_found_though_it_looks_like_ours_by_now(then: str) -> None:
    """It was adopted in doubt and updated, so that it has the name and model of a creation that never was."""

    async def scene(world: World) -> None:
        fault(world, "cut_before", "create")
        workload = declare(world, adoptionPolicy="Always")
        await until(world, lambda: sent(world, "create"))
        await asyncio.sleep(1.0)
        theirs(world, name="alpha")
        if then == "the process dies":
            fault(world, "delay", "update", seconds=1.0)
            await asked(world, "update")
            await asyncio.sleep(0.9)
            world.platform.edit(world.platform.row("prod", "alpha"), {"model_name": "llama-3"})
            kill(world)
        else:
            await until(world, lambda: ready(workload) == "Ready", within=300.0)
            world.wipe_status(workload)
        await asyncio.sleep(5.0)
        await until(world, lambda: ready(workload) == "Ready", within=300.0)
        world.objects.delete(world.name(workload))

    assert slugs(played(scene)) == ["alpha"]


def test_who_waited_for_a_slug_waits_for_the_creation_that_is_on_its_way() -> None:
    """The first Workload is torn away while its POST is unanswered: the second one sends no other meanwhile."""

    async def scene(world: World) -> None:
        first = declare(world)
        second = declare(world, "team-b")
        fault(world, "delay", "create", seconds=8.0)
        await asked(world, "create")
        world.tear_away(first)
        await until(world, lambda: ready(second) == "Ready", within=300.0)

    assert slugs(played(scene)) == ["alpha"]


def test_a_wiped_status_and_an_empty_list_release_nothing_silently() -> None:
    """The status names nothing and the list shows nothing: the readiness route still knows the slug."""

    async def scene(world: World) -> None:
        workload = declare(world)
        await until(world, lambda: ready(workload) == "Ready")
        kill(world)
        world.wipe_status(workload)
        world.objects.delete(world.name(workload))
        world.platform.lies += [b"[]", b"[]"]
        await until(world, lambda: workload.gone_at is not None, within=300.0)

    assert any("alpha was not deleted" in note for note in notes(played(scene), "Orphaned"))


def test_a_deletion_is_on_its_way_when_etcd_is_restored() -> None:
    """What Kubernetes has forgotten since cannot be called back: the Workload is there again, and is made anew."""

    async def scene(world: World) -> None:
        workload = declare(world, deletionPolicy="Delete")
        await until(world, lambda: ready(workload) == "Ready")
        await asyncio.sleep(300.0)
        fault(world, "delay", "delete", seconds=0.15)
        world.objects.delete(world.name(workload))
        await asked(world, "delete")
        world.restore_etcd(10.0)

    assert slugs(played(scene)) == ["alpha"]


FORGED = {"platformURL": "http://elsewhere.example", "projectSlug": "lab", "workloadSlug": "beta"}


@pytest.mark.parametrize("then", ["it runs", "it is killed before", "it is deleted at once"])
@pytest.mark.parametrize("pin", FORGED)
def test_a_pin_that_hands_change_is_set_right(pin: str, then: str) -> None:
    """It names another place than the endpoint beside it: nothing is asked there, and nothing is left behind."""

    async def scene(world: World) -> None:
        workload = declare(world)
        await until(world, lambda: ready(workload) == "Ready")
        was = workload.body["status"][pin]
        if then == "it is killed before":
            kill(world)
        world.patch(workload, {"status": {pin: FORGED[pin]}}, status=True)
        if then == "it is deleted at once":
            world.objects.delete(world.name(workload))
            await until(world, lambda: workload.gone_at is not None)
            assert (slugs(world), notes(world, "Orphaned")) == ([], [])
            return
        await until(world, lambda: workload.body["status"][pin] == was)
        assert notes(world, "IdentityChanged") == []
        assert not [entry for entry in world.platform.journal.since(0) if entry.call.project == "lab"]

    played(scene)


def test_what_is_renamed_while_its_deletion_is_on_its_way_is_deleted() -> None:
    """The platform carries it out half a minute later: nothing can call it back."""

    async def scene(world: World) -> None:
        workload = declare(world, deletionPolicy="Delete")
        await until(world, lambda: ready(workload) == "Ready")
        fault(world, "delay", "delete", seconds=30.0)
        world.objects.delete(world.name(workload))
        await asked(world, "delete")
        world.platform.edit(world.platform.row("prod", "alpha"), {"slug": "renamed"})
        await asyncio.sleep(60.0)

    assert slugs(played(scene)) == []


@pytest.mark.parametrize("for_good", [False, True])
def test_a_deletion_by_id_needs_one_list_that_could_show_a_rename(for_good: bool) -> None:
    """Everybody was suspended since the operator started, and lists are web pages; where that is so for good, the
    deletion grace ends the wait.
    """

    async def scene(world: World) -> None:
        workload = declare(world)
        await until(world, lambda: ready(workload) == "Ready")
        world.patch(workload, {"spec": {"suspend": True}})
        await asyncio.sleep(5.0)
        kill(world)
        await until(world, lambda: world.leader() is not None)
        if not for_good:
            world.platform.edit(world.platform.row("prod", "alpha"), {"slug": "renamed"})
        html = {"Content-Type": "text/html"}
        pages = 1000 if for_good else 1
        fault(world, "respond", "list", status=200, body="<html>a proxy</html>", headers=html, times=pages)
        world.objects.delete(world.name(workload))
        await asyncio.sleep(SETTINGS.deletion_grace / 2)
        assert slugs(world) == (["alpha"] if for_good else ["renamed"])
        if for_good:
            await until(world, lambda: not slugs(world))

    assert slugs(played(scene)) == ([] if for_good else ["renamed"])


def test_two_installations_do_not_fight_over_a_duplicate() -> None:
    """The one that made it waits for lists, and the other one believes its 404; neither undoes the other's writes."""

    async def scene(world: World) -> None:
        def take(change: Change) -> None:
            if "creation" in (change.body.get("status") or {}) and not slugs(world):
                theirs(world)

        world.install_another()
        await asyncio.sleep(10.0)
        world.objects.watchers.append(take)
        fault(world, "cut_after", "delete")
        workload = declare(world)
        await until(world, lambda: "duplicateWorkloadId" in workload.body["status"])
        await until(world, lambda: "duplicateWorkloadId" not in workload.body["status"])
        await asyncio.sleep(60.0)

    assert slugs(played(scene)) == ["alpha"]


@pytest.mark.parametrize("lost", [False, True])
def test_what_one_token_made_is_known_to_the_next_of_its_project(lost: bool) -> None:
    """Two namespaces with tokens of their own; the list of the second is older than what the first made and left."""

    async def scene(world: World) -> None:
        if lost:
            fault(world, "cut_after", "create")
        else:
            fault(world, "delay", "create", seconds=3.0)
        first = declare(world, deletionPolicy="Orphan")
        if not lost:
            await asked(world, "create")
        second = declare(world, namespace="team-b")
        await until(world, lambda: ready(second) == "SlugConflict")
        await until(world, lambda: "workloadId" in first.body["status"])
        world.objects.delete(world.name(first))
        await until(world, lambda: "workloadId" in second.body["status"])

    world = played(scene)
    assert (slugs(world), posts(world)) == (["alpha"], 1)


@pytest.mark.parametrize("seed", range(1, 7))
def test_two_workloads_do_not_adopt_the_same(seed: int) -> None:
    """Declared while nobody led, with tokens of their own: the one whose token is accepted first has it, or the older
    one, and the other one changes nothing.
    """

    async def scene(world: World) -> None:
        kill(world)
        await asyncio.sleep(0.1)
        older = declare(world, namespace="team-b", model="older")
        await asyncio.sleep(0.1)
        younger = declare(world, model="younger")
        theirs(world)
        both = (older, younger)
        await until(world, lambda: all(ready(each) for each in both))
        await until(world, lambda: sorted(map(str, map(ready, both))) == ["Ready", "SlugConflict"])

    assert patches(played(scene, seed)) == 1


@pytest.mark.parametrize("date", ["none", "platform"])
def test_two_installations_repeat_a_creation_once(date: str) -> None:
    """Both have just begun, under a record that neither wrote, and wait for equally long; the platform may tell no time
    that the record could show.
    """

    async def scene(world: World) -> None:
        world.platform.configure({"date_header": date})
        fault(world, "respond", "create", status=404, body="nobody", headers={"Content-Type": "text/plain"}, times=100)
        workload = declare(world)
        await until(world, lambda: ready(workload) == "PlatformUnreachable")
        kill(world)
        world.platform.faults.clear()
        await until(world, lambda: world.leader() is not None)
        world.install_another()
        fault(world, "delay", "create", seconds=3.0, times=2)
        await until(world, lambda: "workloadId" in workload.body["status"])

    world = played(scene)
    assert (slugs(world), posts(world)) == (["alpha"], 1)


def test_the_readiness_of_a_former_workload_says_nothing_of_another() -> None:
    """Someone deletes the workload and makes another one with its slug, which is adopted: Ready waits for an answer."""

    async def scene(world: World) -> None:
        workload = declare(world, metadata={"annotations": {ON_DRIFT: "Ignore"}})
        await until(world, lambda: ready(workload) == "Ready")
        await asyncio.sleep(3 * SETTINGS.uncertain_create_timeout)
        world.platform.remove(world.platform.row("prod", "alpha"))
        other = theirs(world)
        world.platform.set_phase(other, "provisioning")
        await until(world, lambda: workload.body["status"]["workloadId"] == other.id)

    played(scene)


def test_two_tokens_of_which_neither_deletes_are_not_tried_without_end() -> None:
    """The one in the Secret is another project's, and the one that was good before may only read."""

    async def scene(world: World) -> None:
        workload = declare(world)
        await until(world, lambda: ready(workload) == "Ready")
        world.give_token("team-a", ("workload:read",))
        await asyncio.sleep(2 * SETTINGS.list_interval)
        world.move_secret("team-a", "lab")
        await asyncio.sleep(1.0)
        before = sent(world, "list")
        world.objects.delete(world.name(workload))
        await asyncio.sleep(SETTINGS.deletion_grace / 2)
        assert sent(world, "list") < before + 20

    played(scene)


def test_a_duplicate_is_announced_while_its_workload_is_ready() -> None:
    """Someone makes what looks like ours while our creation is on its way: once a list shows both, an Event tells."""

    async def scene(world: World) -> None:
        fault(world, "delay", "create", seconds=30.0)
        workload = declare(world)
        await asked(world, "create")
        theirs(world, name="alpha", model_name="llama-3")
        await until(world, lambda: "alpha-1" in slugs(world))
        assert ready(workload) == "Ready"
        await until(
            world,
            lambda: notes(world, "DuplicateWorkload"),
            within=SETTINGS.uncertain_create_timeout + SETTINGS.list_interval,
        )

    played(scene)
