"""Workloads as last seen: never an older one for a newer one, and only news wake anybody."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from inferencekey_operator.api.keys import Key
from inferencekey_operator.api.workload import FINALIZER
from inferencekey_operator.cache.workloads import MOST_GONE, Memory, Store, key_of
from unit.virtual_time import virtual

KEY = Key("team-a", "support-bot")


def body(version: int | str, spec: dict[str, Any] | None = None, status: Any = None, **metadata: Any) -> dict[str, Any]:
    """A Workload in the API's JSON form, at this resourceVersion."""
    whole = {
        "namespace": KEY.namespace,
        "name": KEY.name,
        "uid": "u-1",
        "generation": 1,
        "creationTimestamp": "2026-03-02T10:41:32Z",
        "resourceVersion": str(version),
    }
    found = {"metadata": whole | metadata, "spec": {"model": "llama-3", "backend": "vllm", **(spec or {})}}
    return found if status is None else found | {"status": status}


def version(store: Store) -> str | None:
    """The resourceVersion that is held."""
    workload = store.get(KEY)
    return workload.resource_version if workload else None


@virtual
async def test_what_is_new_is_worth_a_look() -> None:
    """The first sight of a Workload."""
    store = Store()

    assert store.observe(body(5))
    assert (len(store), [workload.name for workload in store], version(store)) == (1, ["support-bot"], "5")
    assert key_of(body(5)) == KEY
    assert store.key_of_uid("u-1") == KEY


NEWS: list[tuple[dict[str, Any], bool, str]] = [
    ({}, False, "nothing but the version: managed fields, say"),
    ({"annotations": {"example.com/x": "y"}}, False, "an annotation of somebody else's"),
    ({"labels": {"a": "b"}}, False, "a label"),
    ({"generation": 2}, True, "the spec was edited"),
    ({"annotations": {"inferencekey.com/on-drift": "Warn"}}, True, "an annotation of ours"),
    ({"deletionTimestamp": "2026-03-02T11:00:00Z"}, True, "a deletion began"),
    ({"finalizers": [FINALIZER]}, True, "somebody edited the finalizers"),
    ({"status": {"workloadId": "wl_9"}}, True, "somebody edited the status"),
    ({"status": {"observedGeneration": -1}}, False, "a status that says nothing"),
    ({"uid": "u-2"}, True, "a successor of the same name"),
]


@pytest.mark.parametrize(("changes", "news", "why"), NEWS)
def test_what_is_news(changes: dict[str, Any], news: bool, why: str) -> None:
    """What is declared, asked for, or was written by another hand; not what others keep beside it."""

    @virtual
    async def check() -> None:
        store = Store()
        store.observe(body(5))
        status = changes.get("status")
        metadata = {key: value for key, value in changes.items() if key != "status"}

        assert store.observe(body(6, status=status, **metadata)) is news, why
        assert version(store) == "6"

    check()


@virtual
async def test_the_echo_of_our_own_write_wakes_nobody() -> None:
    """The answer to the write comes first and is taken over; the event of the same version is old news."""
    store = Store()
    store.observe(body(5))
    store.observe(body(6, status={"workloadId": "wl_1"}))

    assert not store.observe(body(6, status={"workloadId": "wl_1"}))


@virtual
async def test_an_older_event_never_replaces_a_newer_object() -> None:
    """Versions are numbers: 9 is older than 10."""
    store = Store()
    store.observe(body(10, generation=2))

    assert not store.observe(body(9, generation=1))
    assert version(store) == "10"


@virtual
async def test_versions_that_are_no_numbers_are_taken_as_they_come() -> None:
    """The API promises nothing of their form."""
    store = Store()
    store.observe(body("abc"))

    assert store.observe(body("abb", generation=2))
    assert not store.observe(body("abb", generation=2))


@virtual
async def test_what_went_is_forgotten() -> None:
    """With all that was remembered of it."""
    store = Store()
    store.observe(body(5))
    store.memory(KEY).absent_since = 1.0

    assert store.forget(KEY, "u-1")
    assert (store.get(KEY), len(store), store.key_of_uid("u-1")) == (None, 0, None)
    assert store.memory(KEY).absent_since is None
    assert not store.forget(KEY, "u-1")


@pytest.mark.parametrize("late", [4, 5, 6])
def test_what_went_does_not_come_back(late: int) -> None:
    """The answer to a write of ours may be read after the event of the deletion: it is the past."""

    @virtual
    async def check() -> None:
        store = Store()
        store.observe(body(5))
        store.forget(KEY, "u-1")

        assert not store.observe(body(late, status={"workloadId": "wl_1"}))
        assert store.get(KEY) is None

    check()


@virtual
async def test_only_so_many_that_went_are_remembered() -> None:
    """Memory is bounded; the newest are kept."""
    store = Store()
    for number in range(MOST_GONE + 1):
        store.observe(body(number + 1, uid=f"u-{number}"))
        store.forget(KEY)

    assert not store.observe(body(9_999, uid=f"u-{MOST_GONE}"))
    assert store.observe(body(9_999, uid="u-0"))


@virtual
async def test_a_late_goodbye_does_not_take_the_successor() -> None:
    """Deleted and made anew under one name: the event of the first one's end is not about the second."""
    store = Store()
    store.observe(body(5))
    store.observe(body(8, uid="u-2"))

    assert not store.forget(KEY, "u-1")
    assert version(store) == "8"
    assert (store.key_of_uid("u-1"), store.key_of_uid("u-2")) == (None, KEY)
    assert store.forget(KEY)


@virtual
async def test_a_successor_begins_without_memories() -> None:
    """What was missing, uncertain or repaired was another object's."""
    store = Store()
    store.observe(body(5))
    store.memory(KEY).repairs = (1.0,)
    store.memory(KEY).uncertain_since = 1.0

    store.observe(body(6, uid="u-2"))

    assert (store.memory(KEY).repairs, store.memory(KEY).uncertain_since) == ((), None)


@virtual
async def test_when_a_declaration_was_first_seen() -> None:
    """Whatever is created for it needs a newer list; a status or a finalizer declares nothing."""
    store = Store()
    store.observe(body(5))
    seen = [store.memory(KEY).seen]
    then: list[dict[str, Any]] = [{"finalizers": [FINALIZER]}, {"generation": 2}, {"uid": "u-2"}]
    for number, changes in enumerate(then, start=6):
        await asyncio.sleep(10)
        store.observe(body(number, **changes))
        seen.append(store.memory(KEY).seen)

    assert seen == [0.0, 0.0, 20.0, 30.0]


@virtual
async def test_what_cannot_be_read_is_left_alone() -> None:
    """A value that only a later release knows: nobody acts on what is declared no longer."""
    store = Store()
    store.observe(body(5))

    assert not store.observe(body(6, {"deletionPolicy": "Retain"}, generation=2))
    assert store.get(KEY) is None
    assert store.observe(body(7, generation=3))


@virtual
async def test_a_value_is_current_until_the_declaration_moves() -> None:
    """What was decided for a former declaration is not sent any more; a status alone is no other declaration."""
    store = Store()
    store.observe(body(5))
    workload = store.get(KEY)
    assert workload is not None
    assert store.current(workload)

    store.observe(body(6, status={"workloadId": "wl_1"}))
    assert store.current(workload)

    policy = {"inferencekey.com/on-drift": "Fail"}
    then: list[dict[str, Any]] = [{"generation": 2}, {"annotations": policy}, {"uid": "u-2"}]
    for number, changes in enumerate(then, start=7):
        store.observe(body(number, **changes))
        assert not store.current(workload)
    store.forget(KEY)
    assert not store.current(workload)


@virtual
async def test_a_look_that_outlives_its_workload_leaves_nothing_behind() -> None:
    """It went while it was looked at: what is noted then is neither kept for ever nor believed of a successor."""
    store = Store()
    store.observe(body(5))
    store.forget(KEY, "u-1")
    store.memory(KEY).duplicate = "wl_1"
    assert store.memory(KEY).duplicate is None

    store.observe(body(9, uid="u-2"))
    assert store.memory(KEY).duplicate is None
    store.memory(KEY).duplicate = "wl_2"
    assert store.memory(KEY).duplicate == "wl_2"


# -- what is left of a Workload that vanished -----------------------------------------------------------------------


def left_behind(store: Store) -> tuple[Key, Memory]:
    """The object went, and what is left of it is kept with what was remembered."""
    workload, memory = store.get(KEY), store.memory(KEY)
    assert workload is not None
    store.forget(KEY, "u-1")
    left = replace(workload, vanished=True)
    store.keep_the_vanished(left, memory)
    return left.key, memory


@virtual
async def test_what_is_left_of_one_that_vanished() -> None:
    """It is found under a key that has its uid, with its memory, and is none of the Workloads."""
    store = Store()
    store.observe(body(5, status={"workloadId": "wl_1"}))
    store.memory(KEY).duplicate = "wl_2"
    key, memory = left_behind(store)

    left = store.get(key)
    assert left is not None
    assert left.vanished
    assert key == Key("team-a", "support-bot/u-1")
    assert store.memory(key) is memory
    assert memory.duplicate == "wl_2"
    assert store.vanished == (key,)
    assert (store.get(KEY), len(store), list(store), list(store.with_id("wl_1"))) == (None, 0, [], [])
    assert store.current(left)


@virtual
async def test_a_successor_has_nothing_of_one_that_vanished() -> None:
    """It has the name, and neither the memory nor the key; either may go without the other."""
    store = Store()
    store.observe(body(5))
    store.memory(KEY).made = "wl_1"
    key, memory = left_behind(store)
    store.observe(body(9, uid="u-2"))

    assert store.memory(KEY) is not memory
    assert store.memory(KEY).made is None
    store.drop_the_vanished(key)
    assert (store.get(key), store.vanished) == (None, ())
    assert store.get(KEY) is not None
    assert store.memory(key).made is None


@virtual
async def test_two_that_vanished_one_after_the_other() -> None:
    """Each is seen to."""
    store = Store()
    store.observe(body(5))
    first, _ = left_behind(store)
    store.observe(body(9, uid="u-2"))
    workload = store.get(KEY)
    assert workload is not None
    memory = store.memory(KEY)
    store.forget(KEY, "u-2")
    store.keep_the_vanished(replace(workload, vanished=True), memory)

    assert store.vanished == (first, Key("team-a", "support-bot/u-2"))


@virtual
async def test_the_newest_version_that_was_seen() -> None:
    """It never grows smaller, whatever goes."""
    store = Store()
    assert store.newest == 0
    store.observe(body(9))
    store.observe(body(5, name="another", uid="u-2"))
    store.observe(body("opaque", name="third", uid="u-3"))
    store.forget(KEY)
    assert store.newest == 9


@virtual
async def test_a_record_that_someone_else_wrote_is_dated() -> None:
    """By when it was first seen; what was known of a former record says nothing of it."""
    store = Store()
    store.observe(body(5))
    await asyncio.sleep(10)
    memory = store.memory(KEY)
    memory.posted = memory.void = True
    store.observe(body(6, status={"workloadId": "wl_1"}))
    assert (memory.record_seen, memory.posted, memory.void) == (None, True, True)

    store.observe(body(7, status={"creation": {"sent": "0123456789abcdef"}}))
    assert (memory.record_seen, memory.posted, memory.void) == (10.0, False, False)

    await asyncio.sleep(10)
    memory.posted = True
    store.observe(body(8, status={"creation": {"sent": "0123456789abcdef"}, "plansApplied": 1}))
    assert (memory.record_seen, memory.posted) == (10.0, True)


@virtual
async def test_that_our_finalizer_was_seen_is_remembered() -> None:
    """Whoever takes it off leaves the operator with the work that it stood for."""
    store = Store()
    store.observe(body(5))
    assert not store.memory(KEY).guarded
    store.observe(body(6, finalizers=[FINALIZER]))
    store.observe(body(7))
    assert store.memory(KEY).guarded
