"""Which Workload an identity belongs to, when two declare the same."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferencekey_operator.claims import Claims
from inferencekey_operator.keys import Key
from inferencekey_operator.plan import Identity
from inferencekey_operator.workload import FINALIZER, Workload
from unit.builders import BORN, IDENTITY, PLATFORM, a_workload

ELSEWHERE = Identity(PLATFORM, "staging", "support-bot")
A, B, C = (Key(namespace, "support-bot") for namespace in ("team-a", "team-b", "team-c"))


def claimant(key: Key, *, recorded: bool = False, age: int = 0, **metadata: Any) -> Workload:
    """A Workload that declares the slug; `age` in minutes."""
    workload = a_workload(
        namespace=key.namespace,
        name=key.name,
        **{"uid": f"uid-of-{key.namespace}", "creation_timestamp": BORN - timedelta(minutes=age), **metadata},
    )
    return replace(workload, status=replace(workload.status, workload_id="wl_1")) if recorded else workload


def winner(claims: Claims, *keys: Key) -> list[Key]:
    """Those that nobody stands before."""
    return [key for key in keys if claims.rival(key) is None]


ORDER: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("a recorded workload wins", {"recorded": True}, {"age": 9}),
    ("also over one whose creation may be under way", {"recorded": True}, {"age": 9, "finalizers": (FINALIZER,)}),
    ("a creation that may be under way wins over age", {"finalizers": (FINALIZER,)}, {"age": 9}),
    ("then the older", {"age": 9, "uid": "z"}, {"uid": "a"}),
    ("also of two that are recorded", {"age": 9, "recorded": True}, {"recorded": True}),
    ("then the smaller uid", {"uid": "a"}, {"uid": "b"}),
]


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(("why", "stronger", "weaker"), ORDER)
def test_the_stronger_claim(why: str, stronger: dict[str, Any], weaker: dict[str, Any], first: bool) -> None:
    """In whatever order they come, one holds the slug and the other is told who."""
    claims = Claims()
    staked = [claimant(A, **stronger), claimant(B, **weaker)]
    for workload in staked if first else reversed(staked):
        claims.stake(workload, IDENTITY, proven=True)

    rival = claims.rival(B)

    assert claims.rival(A) is None, why
    assert rival is not None
    assert rival.key == A


def test_a_claim_counts_once_it_is_proven() -> None:
    """A junk token must not squat a slug: until the platform took its credential, the older one stops nobody."""
    claims = Claims()
    claims.stake(claimant(A, age=9), IDENTITY, proven=False)
    claims.stake(claimant(B), IDENTITY, proven=True)
    assert claims.rival(B) is None

    claims.stake(claimant(A, age=9), IDENTITY, proven=True)

    assert winner(claims, A, B) == [A]


def test_what_is_not_proven_does_not_learn_who_holds_the_slug() -> None:
    """The winner's name is told between proven claims only; whoever asks has been proven before."""
    claims = Claims()
    claims.stake(claimant(A), IDENTITY, proven=False)
    claims.stake(claimant(B, age=9), IDENTITY, proven=False)

    assert winner(claims, A, B) == [A, B]


def test_a_recorded_workload_was_proven_before() -> None:
    """After a restart, what the status records counts before the first call."""
    claims = Claims()
    claims.stake(claimant(A, recorded=True), IDENTITY, proven=False)
    claims.stake(claimant(B, age=9), IDENTITY, proven=True)

    assert winner(claims, A, B) == [A]


def test_when_the_winner_goes_the_others_are_told() -> None:
    """Each of them may now have it, and the strongest has."""
    freed: list[Key] = []
    claims = Claims(freed.append)
    for key, age in ((A, 9), (B, 5), (C, 7)):
        claims.stake(claimant(key, age=age), IDENTITY, proven=True)

    claims.release(A)

    assert sorted(freed) == [B, C]
    assert winner(claims, B, C) == [C]
    assert claims.rival(A) is None


def test_the_last_one_goes_quietly() -> None:
    """Nobody is left to be told; whoever never claimed can go as well."""
    freed: list[Key] = []
    claims = Claims(freed.append)
    claims.stake(claimant(A), IDENTITY, proven=True)

    claims.release(A)
    claims.release(A)
    claims.release(B)

    assert freed == []
    assert list(claims.holders(PLATFORM, "prod", ["support-bot"])) == []


def test_a_claim_that_moves_frees_the_place_it_had() -> None:
    """Before anything is created a Secret may name another project: who waited for the slug is told."""
    freed: list[Key] = []
    claims = Claims(freed.append)
    claims.stake(claimant(A, age=9), IDENTITY, proven=True)
    claims.stake(claimant(B), IDENTITY, proven=True)

    claims.stake(claimant(A, age=9), ELSEWHERE, proven=True)

    assert freed == [B]
    assert winner(claims, A, B) == [A, B]


def test_staking_again_frees_nobody() -> None:
    """Each look stakes; that is no news."""
    freed: list[Key] = []
    claims = Claims(freed.append)
    for _ in range(3):
        claims.stake(claimant(A), IDENTITY, proven=True)
        claims.stake(claimant(B), IDENTITY, proven=True)

    assert freed == []


def test_holders_are_found_by_slug() -> None:
    """The rows of a list name the Workloads to look at: all that claim a slug, winners or not."""
    claims = Claims()
    claims.stake(claimant(A), IDENTITY, proven=True)
    claims.stake(claimant(B), IDENTITY, proven=False)
    claims.stake(claimant(C), ELSEWHERE, proven=True)

    assert set(claims.holders(PLATFORM, "prod", ["other", "support-bot"])) == {A, B}
    assert set(claims.holders(PLATFORM, "staging", ["support-bot"])) == {C}
    assert list(claims.holders("https://elsewhere", "prod", ["support-bot"])) == []


STAKES = st.tuples(
    st.sampled_from([A, B, C]),
    st.sampled_from([IDENTITY, ELSEWHERE]),
    st.booleans(),
    st.booleans(),
    st.integers(0, 2),
)


@given(st.lists(STAKES | st.sampled_from([A, B, C]), max_size=12))
def test_of_all_that_are_proven_exactly_one_holds_the_slug(events: list[Any]) -> None:
    """Whatever comes and goes: among the proven claims on an identity one has no rival, and it is the others' rival."""
    claims = Claims()
    staked: dict[Key, tuple[Identity, bool]] = {}
    for event in events:
        if isinstance(event, Key):
            claims.release(event)
            staked.pop(event, None)
        else:
            key, identity, proven, recorded, age = event
            claims.stake(claimant(key, recorded=recorded, age=age), identity, proven=proven)
            staked[key] = (identity, proven or recorded)
    for identity in (IDENTITY, ELSEWHERE):
        proven = [key for key, stake in staked.items() if stake == (identity, True)]
        holding = winner(claims, *proven)
        assert len(holding) == bool(proven)
        rivals = [claims.rival(key) for key in proven if key not in holding]
        assert all(rival is not None and rival.key == holding[0] for rival in rivals)
