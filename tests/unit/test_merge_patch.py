"""Merge patches: applied as RFC 7386 says, they turn what was seen into what is wanted."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferencekey_operator.kube.merge_patch import merge_patch

SCALARS = st.booleans() | st.integers(-2, 2) | st.sampled_from([0.5, 1.0]) | st.text("ab", max_size=2)
KEYS = st.sampled_from("abc")
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner | st.none(), max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=3)


def apply(target: Any, patch: Any) -> Any:
    """The algorithm of RFC 7386, section 2, as it stands there."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = apply(result.get(name), value)
    return result


def spelled(value: Any) -> Any:
    """A form in which true and 1 differ, as they do in JSON, while 1 and 1.0 are one number."""
    if isinstance(value, dict):
        return {name: spelled(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [spelled(inner) for inner in value]
    return (isinstance(value, bool), value)


@given(seen=OBJECTS, wanted=OBJECTS)
def test_applying_the_patch_to_what_was_seen_gives_what_is_wanted(seen: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Whatever stands there, the patch leads to what is wanted, and is None exactly when nothing differs."""
    patch = merge_patch(seen, wanted)

    assert spelled(apply(seen, patch or {})) == spelled(wanted)
    assert (patch is None) == (spelled(seen) == spelled(wanted))


@given(seen=OBJECTS, wanted=OBJECTS)
def test_a_patch_says_nothing_that_holds_already(seen: dict[str, Any], wanted: dict[str, Any]) -> None:
    """No key of the patch can be left out: without it the result is another."""
    patch = merge_patch(seen, wanted) or {}

    for name in patch:
        smaller = {key: value for key, value in patch.items() if key != name}
        assert spelled(apply(seen, smaller)) != spelled(wanted)


@pytest.mark.parametrize(
    ("seen", "wanted", "patch"),
    [
        ({"a": 1}, {"a": 1}, None),
        ({"a": 1}, {}, {"a": None}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}}, {"a": {"c": None}}),
        ({"a": [1, 2]}, {"a": [2]}, {"a": [2]}),
        ({"a": True}, {"a": 1}, {"a": 1}),
        ({"a": 1}, {"a": 1.0}, None),
        ({"a": {}}, {"a": []}, {"a": []}),
        ({}, {"a": {}}, {"a": {}}),
    ],
)
def test_patches_by_example(seen: dict[str, Any], wanted: dict[str, Any], patch: dict[str, Any] | None) -> None:
    """What goes is null, lists go whole, true is not 1, and equal numbers are equal in any spelling."""
    assert merge_patch(seen, wanted) == patch
