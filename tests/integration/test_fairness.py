"""One that is bad among sixty that are not: a credential, a Workload, a whole project that is slow; or several.

The same edits of the same good Workloads, some of each team, are made beside each evil. They ask of the platform what
they would ask alone, and none waits for a call about the bad ones. How long that takes is measured by `bench`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from secrets import token_hex

import pytest

from harness import operators
from harness.crowd import Crowd
from harness.operators import Operator
from harness.simulator import behaving
from harness.team import TOKEN_KEY
from harness.waiting import eventually
from inferencekey_operator.inferencekey.project import WRITES
from inferencekey_simulator.admin import Admin

TEAMS = 5
EACH = 12
EDITED = 8
"""Good Workloads of each team, and how many of them a run edits."""
SLOW = 200
"""Workloads of the slow project, or of all of them: more than are worked on at a time."""
LATENCY = 10.0
"""Seconds for each call about a slow project."""
HELD = 300.0
"""Seconds that a creation there takes: longer than a run may, so that a run that waits for one fails."""
WITHIN = 240.0
"""Seconds that a run may take, however slow the machine is."""


@pytest.fixture(scope="module")
def operator_options() -> tuple[str, ...]:
    """Calls of the slow project are slow, and not given up.

    A new leader waits for as long as a call may take, so the Lease must not be lost on a busy machine.
    """
    timeout = HELD + LATENCY + 2
    times = f"--client-timeout={timeout}s", f"--lease-duration={timeout + 60}s"
    return (*operators.USUAL, "--list-interval=2s", *times)


@pytest.fixture(scope="module", autouse=True)
def served_at_once(platform: Admin) -> Iterator[None]:
    """What is made serves, so that a run is over when all was done."""
    with behaving(platform, readiness={"scheduling": 0, "provisioning": 0, "bootstrapping": 0}):
        yield


class Good:
    """The Workloads that nothing is wrong with."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        self.teams = [crowd.team() for _ in range(TEAMS)]
        self._model = 0
        crowd.declare(*self._keys())
        self._until_ready()

    def run(self) -> None:
        """Edit some of them, and wait until all serve what is declared then: each edit is one PATCH, that succeeds."""
        self._model += 1
        since = self._crowd.platform.last()
        self._crowd.edit(*self._keys(EDITED), model=f"model-{self._model}")
        self._until_ready()
        edited = set(self._keys(EDITED))
        calls = [call for call in self._crowd.platform.requests(since) if (call["project"], call["slug"]) in edited]
        writes = [call for call in calls if call["operation"] in ("create", "update", "delete")]
        assert Counter(f"{call['operation']} {call['status']}" for call in writes) == {"update 200": TEAMS * EDITED}

    def _keys(self, each: int = EACH) -> Iterator[tuple[str, str]]:
        for team in self.teams:
            for number in range(each):
                yield team.name, f"bot-{number:02}"

    def _until_ready(self) -> None:
        def seen() -> Counter[str]:
            found = self._crowd.verdicts(*self.teams)
            return Counter(verdict for (_, name), verdict in found.items() if name.startswith("bot-"))

        eventually(seen, {"True Ready": TEAMS * EACH}.__eq__, within=WITHIN, poll=0.3)


@pytest.fixture(scope="module")
def good(crowd: Crowd) -> Good:
    """Sixty, in as many namespaces and projects as there are teams, all of them ready."""
    return Good(crowd)


def test_one_bad_credential(crowd: Crowd, good: Good) -> None:
    """Those that use it share its refusals, and nobody else is stopped."""
    bad = crowd.bare()
    bad.secret(**{TOKEN_KEY: f"ik_sdk_{token_hex(4)}_{token_hex(32)}"})
    for number in range(20):
        bad.declare(f"bad-{number:02}")
    good.run()
    eventually(lambda: Counter(crowd.verdicts(bad).values()), {"False TokenRejected": 20}.__eq__)
    calls = bad.calls()
    assert {call["operation"] for call in calls} == {"list"}
    seconds = calls[-1]["monotonic"] - calls[0]["monotonic"]
    assert len(calls) <= 3 + seconds, "those that are new at the same time share a call"


def test_one_bad_workload(crowd: Crowd, good: Good) -> None:
    """It fails in the middle of a project of good ones: each of them is served, and it is tried ever more slowly."""
    home = good.teams[0]
    crowd.platform.fault("respond", operation="create", project=home.name, slug="bad", status=500, times=None)
    crowd.platform.fault("cut_before", operation="create", project=home.name, slug="worse", times=None)
    for name in ("bad", "worse"):
        home.declare(name)
    good.run()
    for name in ("bad", "worse"):
        eventually(lambda name=name: home.verdict(name).split()[:1], ["False"].__eq__)  # type: ignore[misc]
        tries = [call["monotonic"] for call in home.calls("create") if call["slug"] == name]
        gaps = [later - earlier for earlier, later in pairwise(tries)]
        assert all(later > 1.3 * earlier for earlier, later in pairwise(gaps)), gaps
    crowd.platform.clear_faults()


@pytest.mark.parametrize("projects", [1, 8])
def test_slow_projects(projects: int, crowd: Crowd, good: Good, platform: Admin, operator: Operator) -> None:
    """Each has more Workloads than are worked on at a time, and its creations end after the run, not in it."""
    slow = [crowd.team() for _ in range(projects)]
    for team in slow:
        platform.fault("delay", operation="create", project=team.name, seconds=HELD, times=None)
    try:
        with behaving(platform, project_latency={team.name: LATENCY for team in slow}):
            crowd.declare(*((team.name, f"slow-{number:03}") for number in range(SLOW // projects) for team in slow))
            eventually(lambda: {len(team.calls("create")) for team in slow}, {WRITES}.__eq__, within=WITHIN)
            good.run()
            creations = [call for team in slow for call in team.calls("create")]
            assert [call["seconds"] for call in creations] == [None] * WRITES * projects
    finally:
        operator.kill()  # it would finish what is in work first, and that is slow
