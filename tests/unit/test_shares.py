"""Which shard a namespace is in, what a layout says, and what is a fair share: tables and properties."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferencekey_operator.election.leadership import lease_name
from inferencekey_operator.election.shards import Layout, pace, patience, shard_of, too_many, wanted
from inferencekey_operator.settings import MOST_SHARDS

NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=63)


@pytest.mark.parametrize(
    ("namespace", "shards"),
    [("default", (0, 1, 1, 1, 13, 61)), ("team-a", (0, 0, 0, 0, 4, 52)), ("team-b", (0, 0, 2, 2, 10, 42))],
)
def test_a_shard_never_changes(namespace: str, shards: tuple[int, ...]) -> None:
    """Two releases side by side, in a rollout, must agree: these are written down once and for all."""
    assert tuple(shard_of(namespace, count) for count in (1, 2, 3, 4, 16, 64)) == shards


@given(NAMES, st.integers(1, MOST_SHARDS))
def test_each_namespace_is_in_one_shard(namespace: str, shards: int) -> None:
    """Of those that there are."""
    assert 0 <= shard_of(namespace, shards) < shards


def test_namespaces_spread() -> None:
    """A thousand of them: no shard has twice what is fair, or less than half."""
    counts = Counter(shard_of(f"team-{number}", 8) for number in range(1000))
    assert all(125 / 2 < counts[shard] < 125 * 2 for shard in range(8))


LAYOUTS = st.builds(
    Layout,
    st.integers(1, MOST_SHARDS),
    st.integers(1, 100),
    st.text("0123456789abcdef", min_size=8, max_size=8),
    st.booleans(),
)


@given(LAYOUTS)
def test_a_layout_is_read_as_it_was_written(layout: Layout) -> None:
    """Settled or not."""
    assert Layout.parse(str(layout)) == layout
    assert Layout.parse(str(layout)).same(layout)


@pytest.mark.parametrize("text", [None, "", "4", "4/14", "four/14/ab", "4/x/ab", "4/14/", "-4/14/ab", "//"])
def test_whatever_else_stands_there_is_one_shard(text: str | None) -> None:
    """A single leader never wrote anything there."""
    assert Layout.parse(text) == Layout()
    assert str(Layout()) == ""


@pytest.mark.parametrize(
    ("layout", "shards", "duration", "serves"),
    [
        (Layout(), 1, 14.0, True),
        (Layout(), 4, 14.0, False),
        (Layout(4, 14, "a"), 4, 14.0, True),
        (Layout(4, 14, "a"), 4, 13.5, True),
        (Layout(4, 14, "a"), 4, 20.0, False),
        (Layout(4, 14, "a"), 3, 14.0, False),
        (Layout(4, 14, "a"), 1, 14.0, False),
        (Layout(1, 14, "a"), 1, 20.0, True),
        (Layout(4, 14, "a", settled=False), 4, 14.0, True),
    ],
)
def test_who_may_act_under_a_layout(layout: Layout, shards: int, duration: float, serves: bool) -> None:
    """As many shards, and no Lease that lasts longer than a change is waited for."""
    assert layout.serves(shards, duration) is serves


@given(LAYOUTS, st.integers(1, MOST_SHARDS), st.floats(1, 100), st.text("abcdef", min_size=8, max_size=8))
def test_what_takes_a_layouts_place(former: Layout, shards: int, duration: float, name: str) -> None:
    """It serves who wrote it, waits for the longest Lease of both, and nobody takes it for settled."""
    new = former.replaced(shards, duration, name)
    assert new.serves(shards, duration)
    assert new.lasts >= max(former.lasts, duration)
    assert not new.settled


@pytest.mark.parametrize(
    ("holders", "wants"),
    [
        ("aaaa", True),
        ("aaab", True),
        ("aabb", False),
        ("aaa ", False),
        ("aaabb", False),
        ("ccccb", True),
        ("cccbb", False),
    ],
)
def test_who_asks_for_the_first_shard(holders: str, wants: bool) -> None:
    """`b` does, of one who has two more; not while a shard is free, or its holder unknown."""
    assert wanted(0, {shard: holder.strip() for shard, holder in enumerate(holders)}, "b") is wants


@given(st.lists(st.integers(0, 12), min_size=2, max_size=8))
def test_moves_come_to_an_end(shares: list[int]) -> None:
    """Whoever asks whom: after so many moves the shares differ by one at most, and nobody asks any more."""
    for _ in range(sum(shares) * len(shares) + 1):
        giver, taker = shares.index(max(shares)), shares.index(min(shares))
        if not too_many(shares[giver], shares[taker]):
            break
        shares[giver], shares[taker] = shares[giver] - 1, shares[taker] + 1
    assert max(shares) - min(shares) <= 1


def test_the_more_one_has_the_longer_it_leaves_a_free_one() -> None:
    """But not for long; and many Leases are looked at more rarely."""
    assert [patience(mine) for mine in range(5)] == [0, 1, 2, 2, 2]
    assert [pace(shards) for shards in (1, 4, 8, 16, 64)] == [1, 1, 1, 2, 8]


@pytest.mark.parametrize("namespaces", [(), ("team-a",), ("team-b", "team-a")])
def test_no_two_leases_have_one_name(namespaces: tuple[str, ...]) -> None:
    """The first one's is that of a single leader; no shard's name is that of another scope."""
    names = [lease_name(namespaces, shard) for shard in range(MOST_SHARDS)]
    scopes = {(), ("team-a",), ("team-b", "team-a")} - {namespaces}
    others = [lease_name(scope, shard) for scope in scopes for shard in range(MOST_SHARDS)]
    assert names[0] == lease_name(namespaces)
    assert len({*names, *others}) == len(names) + len(others)
