"""Three operators, one of which works: how the work changes hands while people go on declaring Workloads.

They are real processes under one ServiceAccount. A moment in which none works costs a moment; what must never be is
that two work, so nothing is made twice, and nothing is forgotten on the way.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count

import pytest

from harness import operators
from harness.crowd import Crowd
from harness.operators import Operator
from harness.simulator import behaving
from harness.team import Team
from harness.waiting import eventually
from inferencekey_simulator.admin import Admin

LATENCY = 0.2
"""Seconds that each call takes, so that many a change of hands falls into one."""
PACE = 0.4
"""Seconds between two Workloads that somebody declares."""
LEASE = 10.0
"""Seconds that a Lease lasts which nobody gives up."""
BOUND = 90.0


@pytest.fixture(scope="module")
def operator_options() -> tuple[str, ...]:
    """With a Lease that can be waited for."""
    return (*operators.USUAL, f"--lease-duration={LEASE}s")


@pytest.fixture(scope="module", autouse=True)
def taking_its_time(platform: Admin) -> Iterator[None]:
    """Each call takes a moment, and what is made serves at once."""
    with behaving(platform, latency=LATENCY, readiness={"scheduling": 0, "provisioning": 0, "bootstrapping": 0}):
        yield


class People:
    """Somebody who declares one Workload after the other, all the time."""

    def __init__(self, team: Team) -> None:
        self.team = team
        self.declared: list[str] = []
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._declare, daemon=True)

    def __enter__(self) -> People:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self._thread.join()

    def see_another_served(self) -> None:
        """Back when a Workload is served that was declared after this moment."""
        after = len(self.declared)
        eventually(lambda: self._served() & set(self.declared[after:]), within=BOUND)

    def _served(self) -> set[str]:
        return set(self.team.slugs())

    def _declare(self) -> None:
        for number in count():
            if self._enough.wait(PACE):
                return
            self.team.declare(f"bot-{number:04}")
            self.declared.append(f"bot-{number:04}")


@pytest.fixture
def three(operator: Operator) -> Iterator[list[Operator]]:
    """One that works and two that wait."""
    others = [operator.twin("second"), operator.twin("third")]
    for other in others:
        other.stand_by()
    yield [operator, *others]
    for other in others:
        other.close()


def test_the_work_changes_hands(crowd: Crowd, three: list[Operator]) -> None:
    """By SIGTERM, by SIGSTOP for longer than the Lease, by SIGKILL: each is made once, and none is forgotten."""
    first = three[0]
    assert _leader(three) is first
    with People(crowd.team()) as people:
        people.see_another_served()

        assert first.stop() == 0
        successor = _succeeded(first, three)
        people.see_another_served()

        successor.pause()
        last = _succeeded(successor, three)
        people.see_another_served()
        successor.resume()
        people.see_another_served()
        assert _leader(three) is last, "one that woke up took the work back"

        last.kill()
        assert _succeeded(last, three) is successor
        people.see_another_served()
    _expect_each_once(crowd, people)


def _leader(of: list[Operator]) -> Operator | None:
    return next((each for each in of if each.running and each.leads), None)


def _succeeded(former: Operator, of: list[Operator]) -> Operator:
    found = eventually(lambda: _leader(of), _another_than(former), within=BOUND)
    assert found is not None
    return found


def _another_than(former: Operator) -> Callable[[Operator | None], bool]:
    return lambda found: found not in (None, former)


def _expect_each_once(crowd: Crowd, people: People) -> None:
    team = people.team
    wanted = {(team.name, name): "True Ready" for name in people.declared}
    eventually(lambda: crowd.verdicts(team), wanted.__eq__, within=BOUND, poll=0.3)
    assert Counter(team.slugs()) == Counter(people.declared)
    made = Counter(call["slug"] for call in team.calls("create") if call["status"] == 201)
    assert made == Counter(people.declared), "one was made again, or made as another's twin"
    assert not [item for item in team.api.workloads(team.name) if item["status"]["adopted"]]
