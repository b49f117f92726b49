"""What differs, and who moved: the three-way comparison, leaf by leaf."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inferencekey_operator.api.status import AppliedField, DriftClass
from inferencekey_operator.plan.drift import (
    COMPARED,
    applied_records,
    canonical,
    compare,
    declared_document,
    declared_leaves,
    fingerprint,
    kept_by_platform,
    leaves,
    users_name,
)
from unit.builders import a_live, a_workload, answered

SPEC_CHANGE, OUT_OF_BAND, BOTH = DriftClass.SPEC_CHANGE, DriftClass.OUT_OF_BAND, DriftClass.BOTH

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6)
KEYS = st.text("ab.[]\"'", max_size=3)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=10,
)
OBJECTS = st.dictionaries(KEYS, JSON, max_size=4)
DECLARATIONS = st.fixed_dictionaries(
    {"model_name": st.text(min_size=1, max_size=3), "config": OBJECTS},
    optional={
        "description": st.text(max_size=3),
        "execution_policy": st.text(max_size=3),
        "execution_policy_config": OBJECTS,
    },
)
LIVES = st.builds(
    a_live,
    model_name=st.text(max_size=3),
    description=st.none() | st.text(max_size=3),
    config=OBJECTS,
    execution_policy=st.none() | st.text(max_size=3),
    execution_policy_config=OBJECTS,
)


def moved(declared: dict[str, Any], live: dict[str, Any], applied: tuple[AppliedField, ...] = ()) -> dict[str, str]:
    """Which fields differ, by the name that users know, and who moved each."""
    comparison = compare(declared, a_live(**live), applied)
    return {difference.leaf.field: difference.moved for difference in comparison.differences}


def shuffled(value: Any) -> Any:
    """The same JSON with the keys of each object in another order."""
    if isinstance(value, dict):
        return {key: shuffled(value[key]) for key in reversed(value)}
    return [shuffled(item) for item in value] if isinstance(value, list) else value


def floating(value: Any) -> Any:
    """The same JSON with each integer as the float that equals it."""
    if isinstance(value, dict):
        return {key: floating(item) for key, item in value.items()}
    if isinstance(value, list):
        return [floating(item) for item in value]
    exact = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53
    return float(value) if exact else value


def test_the_declaration_is_what_the_user_wrote_in_the_platforms_spelling() -> None:
    """Name and slug are always declared, command and vllmVersion are part of the config, and nothing else is added."""
    assert declared_document(a_workload()) == {
        "name": "support-bot",
        "slug": "support-bot",
        "backend": "vllm",
        "model_name": "llama-3",
    }
    full = {
        "name": "Support",
        "slug": "support",
        "project": "prod",
        "description": "d",
        "command": "run",
        "vllm_version": "0.11.0",
        "config": {"command": "loses", "vllm_version": "loses", "other": 1},
        "task_type": "embedding",
        "execution_policy": "fixed",
        "execution_policy_config": {"replicas": 1},
        "worker_id": "wrk_1",
        "gpu_resource_id": "gpu_1",
    }
    assert declared_document(a_workload(full)) == {
        "name": "Support",
        "slug": "support",
        "task_type": "embedding",
        "backend": "vllm",
        "model_name": "llama-3",
        "description": "d",
        "config": {"command": "run", "vllm_version": "0.11.0", "other": 1},
        "worker_id": "wrk_1",
        "gpu_resource_id": "gpu_1",
        "execution_policy": "fixed",
        "execution_policy_config": {"replicas": 1},
    }


def test_the_declared_config_is_not_changed_by_reading_it() -> None:
    """The command is laid over a copy: the Workload is a value that many looks share."""
    workload = a_workload({"command": "run", "config": {"other": 1}})

    declared_document(workload)

    assert workload.spec.config == {"other": 1}


THREE_WAY = [
    # declared then and answered then, declared now and live now, who moved, and why
    (("a", "a"), ("a", "a"), None, "nobody moved"),
    (("a", "a"), ("b", "a"), SPEC_CHANGE, "the declaration moved"),
    (("a", "a"), ("a", "b"), OUT_OF_BAND, "the platform moved"),
    (("a", "a"), ("b", "c"), BOTH, "both moved, to different places"),
    (("a", "a"), ("b", "b"), None, "both moved to the same place: nothing is left to do"),
    (("a", "A"), ("a", "A"), None, "the platform spells it its own way: settled"),
    (("a", "A"), ("a", "a"), None, "it spells it as declared by now"),
    (("a", "A"), ("a", "B"), OUT_OF_BAND, "what was normalised was changed"),
    (("a", "A"), ("b", "A"), SPEC_CHANGE, "what was normalised is declared anew"),
    (("a", "A"), ("b", "B"), BOTH, "normalised, then both moved"),
    (("a", "A"), ("A", "A"), None, "the declaration took the platform's spelling over"),
    (("a", None), ("a", None), None, "the platform does not keep it at all: settled"),
    (("a", "a"), ("a", None), OUT_OF_BAND, "the platform lost it"),
    (("a", None), ("a", "b"), OUT_OF_BAND, "the platform gained it"),
    ((1, 1), (1.0, 1), None, "an integer and the equal float are one value"),
    ((1, 2), (1.0, 2.0), None, "in a settled value, too"),
    ((1, 1), (True, 1), SPEC_CHANGE, "true is not 1"),
    (("1", "1"), ("1", 1), OUT_OF_BAND, "a number is not its text"),
    (([1, 2], [1, 2]), ([2, 1], [1, 2]), SPEC_CHANGE, "the order of an array is part of it"),
    (([1], [1]), ([1], [1, 2]), OUT_OF_BAND, "an array is compared whole: what is added counts"),
    (([], []), ([], None), OUT_OF_BAND, "an empty array is a value"),
    (([{"a": 1}], [{"a": 1}]), ([{"a": 1.0, "b": None}], [{"a": 1}]), None, "nulls and floats inside arrays, too"),
    (("", ""), ("", None), OUT_OF_BAND, "an empty text is a value"),
    (("a\n", "a\n"), ("a\n", "a"), None, "the answer echoed it, and the list shows it trimmed"),
    (("a\n", "a\n"), ("a\n", "b"), OUT_OF_BAND, "somebody changed more than the white space"),
    (("a\n", "a\n"), ("a\n", "A"), OUT_OF_BAND, "or the case, which may be another model"),
    (("a\n", "a\n"), ("a\n", "a a"), OUT_OF_BAND, "or the white space in the middle"),
    (("a", "a"), ("a\n", "a"), SPEC_CHANGE, "white space that is declared anew is sent once"),
    (("a\n", "a"), ("a\n", " a"), None, "white space that comes and goes"),
    (([" a", {"b": "c "}], [" a", {"b": "c "}]), ([" a", {"b": "c "}], ["a", {"b": "c"}]), None, "within arrays, too"),
]


@pytest.mark.parametrize(("then", "now", "who", "why"), THREE_WAY)
def test_three_way(then: tuple[Any, Any], now: tuple[Any, Any], who: DriftClass | None, why: str) -> None:
    """Each leaf remembers what was declared and what the platform made of it; whoever left that has moved."""
    applied = applied_records({"config": {"x": then[0]}}, a_live(config={"x": then[1]}))

    found = moved({"config": {"x": now[0]}}, {"config": {"x": now[1]}}, applied)

    assert found == ({"config.x": who} if who else {}), why


@pytest.mark.parametrize(("then", "now", "who", "why"), THREE_WAY)
def test_a_row_as_our_last_write_left_it(
    then: tuple[Any, Any], now: tuple[Any, Any], who: DriftClass | None, why: str
) -> None:
    """Whatever it shows, nobody else changed it: the platform spells it so, and that is settled from then on."""
    applied = applied_records({"config": {"x": then[0]}}, a_live(config={"x": then[1]}))
    declared, live = {"config": {"x": now[0]}}, a_live(config={"x": now[1]})

    comparison = compare(declared, live, applied, untouched=True)

    assert comparison.drift_class == (None if who is OUT_OF_BAND else who), why
    if comparison.restated:
        assert (who, comparison.restated) == (OUT_OF_BAND, ("config.x",))
        assert compare(declared, live, comparison.settled).differences == ()
        changed = compare(declared, a_live(config={"x": "theirs"}), comparison.settled)
        assert changed.drift_class is OUT_OF_BAND


@pytest.mark.parametrize(
    ("declared", "live", "who", "why"),
    [
        ("a", "a", None, "found as declared"),
        ("a", "b", SPEC_CHANGE, "found on the platform with differences, and nothing applied yet"),
    ],
)
def test_without_a_record(declared: str, live: str, who: DriftClass | None, why: str) -> None:
    """What was never applied is a declaration that was not applied."""
    assert moved({"model_name": declared}, {"model_name": live}) == ({"model": who} if who else {}), why


@pytest.mark.parametrize(
    ("classes", "whole", "why"),
    [
        ((), None, "no drift"),
        ((SPEC_CHANGE,), SPEC_CHANGE, "one"),
        ((OUT_OF_BAND, OUT_OF_BAND), OUT_OF_BAND, "two of a kind"),
        ((SPEC_CHANGE, OUT_OF_BAND), BOTH, "one field each"),
        ((BOTH, OUT_OF_BAND), BOTH, "one field both"),
    ],
)
def test_the_class_of_all_differences(classes: tuple[DriftClass, ...], whole: DriftClass | None, why: str) -> None:
    """Where the fields disagree on who moved, both did."""
    then: dict[str, Any] = {"config": {str(number): "then" for number in range(len(classes))}}
    declared = {str(n): "now" if who is not OUT_OF_BAND else "then" for n, who in enumerate(classes)}
    live = {str(n): "elsewhere" if who is not SPEC_CHANGE else "then" for n, who in enumerate(classes)}

    comparison = compare({"config": declared}, a_live(config=live), applied_records(then, answered(then)))

    assert tuple(difference.moved for difference in comparison.differences) == classes
    assert comparison.drift_class == whole, why


@pytest.mark.parametrize(
    ("declared", "live", "why"),
    [
        ({}, {"description": "x", "worker_id": "wrk_9"}, "fields that are not declared"),
        ({"config": {"a": 1}}, {"config": {"a": 1, "b": 2}}, "keys that the platform adds in config"),
        (
            {"execution_policy_config": {"workers": {"source": "cloud"}}},
            {"execution_policy_config": {"workers": {"source": "cloud", "cloud_pool": {}}, "min_workers": 1}},
            "keys that it adds deep in the policy's config",
        ),
        ({"config": {"a": None}}, {"config": {"a": 5}}, "null declares nothing"),
        ({"config": {"a": None}}, {}, "and does not need a null on the other side"),
        ({"config": {"a": {"b": None}}}, {"config": {"a": None}}, "nor does one that is deep"),
        ({"task_type": "embedding"}, {"task_type": "text2text"}, "the task type is no drift: it is a mismatch"),
        ({"slug": "a"}, {"slug": "b"}, "the slug is the identity"),
    ],
)
def test_what_is_not_declared_never_counts(declared: dict[str, Any], live: dict[str, Any], why: str) -> None:
    """The platform may fill in whatever nobody declared."""
    assert moved(declared, live) == {}, why


def test_a_field_that_is_declared_no_longer_goes_back_to_the_platform() -> None:
    """Its record is forgotten with it, whatever the platform makes of the field later."""
    then = {"model_name": "llama-3", "description": "d", "config": {"a": 1, "b": 2}}
    applied = applied_records(then, answered(then))
    now = {"model_name": "llama-3", "config": {"a": 1}}

    comparison = compare(now, a_live(description="other", config={"a": 1, "b": 9}), applied)

    assert comparison.differences == ()
    assert {record.field for record in comparison.settled} == {"model", "config.a"}


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (("model_name",), "model"),
        (("config", "command"), "command"),
        (("config", "vllm_version"), "vllmVersion"),
        (("config", "command", "x"), "command.x"),
        (("config", "sglang_version"), "config.sglang_version"),
        (("worker_id",), "workerId"),
        (("gpu_resource_id",), "gpuResourceId"),
        (("execution_policy",), "executionPolicy"),
        (("execution_policy_config", "max_workers"), "executionPolicyConfig.max_workers"),
        (("execution_policy_config", "workers", "source"), "executionPolicyConfig.workers.source"),
        (("description",), "description"),
        (("config", "a.b"), 'config["a.b"]'),
        (("config", "a", "b"), "config.a.b"),
        (("config", "a[0]"), 'config["a[0]"]'),
        (("config", 'say "x".'), 'config["say \\"x\\"."]'),
    ],
)
def test_names_are_the_users(path: tuple[str, ...], name: str) -> None:
    """A field is called what people write below spec, and keys with dots of their own stay apart."""
    assert users_name(path) == name


@given(st.lists(KEYS, min_size=1, max_size=3), st.lists(KEYS, min_size=1, max_size=3))
def test_two_paths_never_have_one_name(one: list[str], other: list[str]) -> None:
    """Records are kept by name: two leaves of one name would overwrite each other's."""
    same = users_name(("config", *one)) == users_name(("config", *other))

    assert same == (one == other)


@pytest.mark.parametrize(
    ("config", "name", "who", "why"),
    [
        ({"a.b": 1, "a": {"b": 2}}, 'config["a.b"]', {"a.b": 9, "a": {"b": 2}}, "the key with the dot moved"),
        ({"a.b": 1, "a": {"b": 2}}, "config.a.b", {"a.b": 1, "a": {"b": 9}}, "the nested one moved"),
        ({"": 1}, "config.", {"": 2}, "an empty key is a key"),
    ],
)
def test_keys_that_look_like_paths(config: dict[str, Any], name: str, who: dict[str, Any], why: str) -> None:
    """Each leaf is compared with its own record."""
    then = {"config": config}

    assert moved(then, {"config": who}, applied_records(then, answered(then))) == {name: OUT_OF_BAND}, why


def test_leaves_come_in_the_order_of_the_sdk() -> None:
    """name, backend, model, description, config, pins, policy: the summary reads the same everywhere."""
    workload = a_workload(
        {
            "execution_policy_config": {"replicas": 1},
            "execution_policy": "fixed",
            "gpu_resource_id": "g",
            "worker_id": "w",
            "command": "run",
            "description": "d",
        }
    )

    found = [leaf.path[0] for leaf in leaves(declared_document(workload), a_live())]

    assert found == list(COMPARED)


def test_a_differing_leaf_keeps_its_record_and_a_settled_one_is_renewed() -> None:
    """What is held today must be told apart tomorrow, so what was agreed on is not forgotten with the drift."""
    then = {"model_name": "llama-3", "config": {"a": 1, "b": 1}}
    applied = applied_records(then, answered(then))
    now = {"model_name": "llama-4", "config": {"a": 1, "b": 1}}

    comparison = compare(now, answered(then, config={"a": 1, "b": 2}), applied)

    assert comparison.settled == applied


def test_a_record_is_renewed_when_the_platform_comes_round() -> None:
    """It normalised once and has the declared value now: going back to its own spelling is a change of its own."""
    declared = {"model_name": "llama-3"}
    normalised = applied_records(declared, a_live(model_name="LLAMA-3"))

    agreed = compare(declared, a_live(model_name="llama-3"), normalised).settled

    assert agreed == applied_records(declared, a_live(model_name="llama-3"))
    assert moved(declared, {"model_name": "LLAMA-3"}, agreed) == {"model": OUT_OF_BAND}


def test_what_the_platform_keeps_of_its_own_is_named() -> None:
    """After a write: each declared field that the answer spells otherwise, whatever it adds."""
    declared = {"model_name": "llama-3", "description": "d", "config": {"a": 1, "b": {"c": 2}}}

    answer = a_live(model_name="LLAMA-3", description="D", config={"a": 1.0, "b": {"c": 3, "own": 1}})

    assert kept_by_platform(declared, answer, {"model_name", "config"}) == ("model", "config.b.c")
    assert kept_by_platform(declared, answered(declared), declared) == ()


def test_an_answer_proves_nothing_of_what_was_not_sent() -> None:
    """Somebody else may have moved it in the meantime: its record stays as it is."""
    declared = {"model_name": "llama-3", "description": "d", "config": {"a": 1}}

    records = applied_records(declared, a_live(description="theirs"), {"model_name", "config"})

    assert [record.field for record in records] == ["model", "config.a"]


MANY = {f"k{number:03}": number for number in range(257)}


class TestManyLeaves:
    """Where the leaves are too many for a small status, each top-level key is remembered as one."""

    @pytest.mark.parametrize(
        ("leaves", "records", "why"),
        [
            ({f"k{number}": number for number in range(40)}, 40, "a usual declaration is remembered leaf by leaf"),
            (MANY, 1, "more than 256 leaves are one record"),
            ({f"{number:0200}": number for number in range(40)}, 1, "long names count as many"),
            ({f"{number:0100}é": number for number in range(26)}, 26, "these just fit"),
            ({f"{number:050}{'𝄞' * 20}": number for number in range(26)}, 1, "it is bytes that count"),
        ],
    )
    def test_records_are_bounded(self, leaves: dict[str, Any], records: int, why: str) -> None:
        """What is remembered takes less than a third of what a status may be."""
        declared = {"model_name": "llama-3", "config": leaves}

        kept = applied_records(declared, answered(declared))

        assert len(kept) == records + 1, why
        written = [{"field": r.field, "declared": r.declared, "answered": r.answered} for r in kept]
        assert len(json.dumps(written, ensure_ascii=False, separators=(",", ":")).encode()) < 16 * 1024 / 3

    def test_scalars_stay_by_themselves(self) -> None:
        """A top-level scalar is never hidden in a bundle."""
        declared = {"model_name": "llama-3", "config": MANY, "execution_policy_config": {"replicas": 1}}

        fields = [record.field for record in applied_records(declared, answered(declared))]

        assert fields == ["model", "config", "executionPolicyConfig"]

    def test_a_bundle_is_settled_as_a_leaf_is(self) -> None:
        """A value that the platform normalised stays settled inside the bundle."""
        declared = {"config": MANY}
        live = answered(declared, config=MANY | {"k000": "zero", "added": True})

        assert compare(declared, live, applied_records(declared, live)).differences == ()

    @pytest.mark.parametrize(
        ("declared", "live", "who"),
        [("k001", "", SPEC_CHANGE), ("", "k002", OUT_OF_BAND), ("k001", "k002", BOTH)],
    )
    def test_a_bundle_says_who_moved_and_names_only_what_differs(
        self, declared: str, live: str, who: DriftClass
    ) -> None:
        """The class is the bundle's; the fields are the leaves."""
        applied = applied_records({"config": MANY}, answered({"config": MANY}))
        now, there = ({**MANY, key: "moved"} if key else MANY for key in (declared, live))

        found = moved({"config": now}, {"config": there}, applied)

        assert found == {f"config.{key}": who for key in (declared, live) if key}

    def test_a_declaration_that_outgrows_the_bound_is_not_taken_for_drift(self) -> None:
        """The record changes its shape; what agrees agrees."""
        few = {"config": dict(list(MANY.items())[:10])}
        applied = applied_records(few, answered(few))

        comparison = compare({"config": MANY}, answered({"config": MANY}), applied)

        assert comparison.differences == ()
        assert [record.field for record in comparison.settled] == ["config"]


class TestDeclaredLeaves:
    """What a suspended Workload is judged by: the leaves of a declaration, without a look at the platform."""

    def test_what_is_declared_and_nothing_else(self) -> None:
        """By the names that users know, in the order of a comparison; the platform's side is empty."""
        declared = {"name": "a", "config": {"b": None, "command": [1]}, "description": None, "model_name": "m"}

        found = declared_leaves(declared | {"execution_policy_config": {"x": {"y": 1}}, "slug": "a"})

        assert [(leaf.field, leaf.declared, leaf.live) for leaf in found] == [
            ("name", "a", None),
            ("model", "m", None),
            ("command", [1], None),
            ("executionPolicyConfig.x.y", 1, None),
        ]

    def test_many_leaves(self) -> None:
        """A bundle stands for them, as in the records, whatever their order."""
        declared = {"config": MANY}
        bundle, moved_on = (declared_leaves(each) for each in (declared, {"config": {**MANY, "k000": "moved"}}))

        assert [leaf.field for leaf in bundle] == ["config"]
        assert declared_leaves(shuffled(declared)) == bundle
        assert fingerprint(moved_on[0].declared) != fingerprint(bundle[0].declared)

    @given(DECLARATIONS, LIVES)
    @settings(deadline=None)
    def test_as_it_is_remembered(self, declared: dict[str, Any], answer: Any) -> None:
        """Whatever the platform answers to a declaration, its records name the same leaves with the same hashes."""
        remembered = [(record.field, record.declared) for record in applied_records(declared, answer)]

        assert [(leaf.field, fingerprint(leaf.declared)) for leaf in declared_leaves(declared)] == remembered


class TestProperties:
    """Of any declaration and any platform."""

    @given(DECLARATIONS, LIVES)
    @settings(deadline=None)
    def test_a_write_that_was_answered_is_settled(self, declared: dict[str, Any], answer: Any) -> None:
        """Whatever the platform made of it, there is no second write: no loop, ever."""
        applied = applied_records(declared, answer)
        comparison = compare(declared, answer, applied)

        assert comparison.differences == ()
        assert comparison.settled == applied

    @given(DECLARATIONS, LIVES, LIVES)
    @settings(deadline=None)
    def test_order_and_spelling_never_matter(self, declared: dict[str, Any], answer: Any, live: Any) -> None:
        """Neither the order of keys nor integers written as floats change what differs, or its record."""
        again = {key: floating(shuffled(value)) for key, value in declared.items()}
        applied = applied_records(declared, answer)
        one, other = compare(declared, live, applied), compare(again, live, applied_records(again, answer))

        assert [difference.leaf.field for difference in one.differences] == [
            difference.leaf.field for difference in other.differences
        ]
        assert one.drift_class == other.drift_class
        assert one.settled == other.settled

    @given(DECLARATIONS, LIVES, OBJECTS)
    @settings(deadline=None)
    def test_what_the_platform_adds_never_matters(
        self, declared: dict[str, Any], live: Any, extra: dict[str, Any]
    ) -> None:
        """Keys beside the declared ones are the platform's own."""
        added = {**extra, **live.config}
        known = {key: value for key, value in added.items() if key in declared["config"] and key in live.config}
        bare = replace(live, config=known)
        rich = replace(live, config={**{k: v for k, v in added.items() if k not in declared["config"]}, **known})

        assert compare(declared, bare, ()) == compare(declared, rich, ())

    @given(DECLARATIONS, LIVES)
    @settings(deadline=None)
    def test_what_is_as_declared_never_differs(self, declared: dict[str, Any], live: Any) -> None:
        """Whatever was applied before: a platform that has the declaration has no drift."""
        records = applied_records(declared, live)

        assert compare(declared, answered(declared), records).differences == ()

    @given(DECLARATIONS, LIVES)
    @settings(deadline=None)
    def test_each_difference_is_one(self, declared: dict[str, Any], live: Any) -> None:
        """What is reported does differ, is declared, and is named once."""
        differences = compare(declared, live, ()).differences

        assert all(not difference.leaf.equal for difference in differences)
        assert all(difference.leaf.declared is not None for difference in differences)
        names = [difference.leaf.field for difference in differences]
        assert len(set(names)) == len(names)

    @given(JSON)
    def test_the_canonical_form_is_canonical(self, value: Any) -> None:
        """One text, and one hash of 16 hex, for all spellings of a value."""
        assert canonical(value) == canonical(shuffled(value)) == canonical(floating(value))
        assert fingerprint(value) == fingerprint(shuffled(floating(value)))
        assert len(fingerprint(value)) == 16


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": 1, "a": 2}, '{"a":2,"b":1}'),
        ({"a": None}, "{}"),
        ([None], "[null]"),
        (1.0, "1"),
        (1e3, "1000"),
        (-0.0, "0"),
        (1.5, "1.5"),
        (True, "true"),
        ("é", '"é"'),
        ((1, 2), "[1,2]"),
    ],
)
def test_canonical_json(value: Any, text: str) -> None:
    """Sorted keys, no white space, no null keys, integral floats as integers."""
    assert canonical(value) == text


def test_half_a_surrogate_pair_has_a_hash() -> None:
    """JSON can carry one, so the platform may."""
    assert len(fingerprint("\ud800")) == 16
