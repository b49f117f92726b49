"""The plan of a round of `make chaos-processes`: out of a seed alone, and never more than the operator promises for."""

from __future__ import annotations

from itertools import groupby, pairwise

import pytest

from chaos.processes import plan
from chaos.processes.plan import (
    CABLES,
    CERTIFICATES,
    EXPIRE,
    KILL,
    OPERATORS,
    PLATFORM,
    PROCESSES,
    RESET,
    STOP,
    Fault,
    kinds,
    planned,
)
from chaos.processes.stage import CREATE_SETTLE, LEASE

ROUNDS = [planned(7, number) for number in range(60)]
FAULTS = [fault for each in ROUNDS for fault in each.faults]


def test_a_seed_and_a_number_are_a_plan() -> None:
    """The same again is the same; another number or seed is another."""
    assert planned(7, 3) == ROUNDS[3]
    assert len({planned(seed, number) for seed in (7, 8) for number in range(5)}) == 10


def test_everything_is_hit_in_every_way() -> None:
    """Each process is killed and stopped, each cable broken in each way, and each certificate expires."""
    assert {fault.target for fault in FAULTS} == {*PROCESSES, *CABLES, *CERTIFICATES}
    assert {fault.kind for fault in FAULTS if fault.target in CERTIFICATES} == {EXPIRE}
    for target in PROCESSES:
        assert {fault.kind for fault in FAULTS if fault.target == target} == {KILL, STOP}
    for target in CABLES:
        assert {fault.kind for fault in FAULTS if fault.target == target} == {
            plan.RESET,
            plan.REFUSE,
            plan.SWALLOW,
            plan.HOLD,
        }


def test_what_is_taken_is_given_back_before_it_is_taken_again() -> None:
    """The faults of one target do not overlap."""
    for each in ROUNDS:
        by_target = sorted(each.faults, key=lambda fault: (fault.target, fault.at))
        for _, faults in groupby(by_target, key=lambda fault: fault.target):
            assert all(one.at + one.seconds < other.at for one, other in pairwise(faults))


def test_no_call_is_held_up_for_longer_than_a_creation_settles() -> None:
    """By the cable and the platform together: past that, a second creation is nobody's fault."""
    longest = {name: max(fault.seconds for fault in FAULTS if fault.target == name) for name in (PLATFORM, CABLES[2])}
    assert sum(longest.values()) < CREATE_SETTLE


def test_now_and_then_an_operator_sleeps_past_its_lease() -> None:
    """Else nobody would ever wake up a leader no more."""
    asleep = [fault.seconds for fault in FAULTS if fault.target in OPERATORS and fault.kind == STOP]
    assert max(asleep) > LEASE


def test_happenings_are_in_order() -> None:
    """Faults and acts, by time."""
    times = [each.at for each in ROUNDS[0].happenings()]
    assert times == sorted(times)
    assert len(times) == len(ROUNDS[0].faults) + len(ROUNDS[0].acts)


@pytest.mark.parametrize(
    ("target", "told"), [("operator-2", "stop operator"), ("etcd", "stop etcd"), (CABLES[0], "reset cable")]
)
def test_faults_are_counted_by_kind(target: str, told: str) -> None:
    """Both operators together, and all cables."""
    kind = RESET if target in CABLES else STOP
    assert kinds([Fault(0.0, target, kind, 1.0)] * 2) == {told: 2}
