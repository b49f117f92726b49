"""A workload that is gone from the platform: believed when a second list says so, and not when too many go at once.

Only lists count that began some time after the operator's own last write. A list that hides what is there stands for a
platform that answers wrongly; what it hides is never created again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from harness import operators
from harness.drifting import approve, drift, look, told, until_drift, until_plan, until_policy, until_told, version
from harness.operators import Operator
from harness.team import ON_DRIFT, Team
from harness.waiting import equals, eventually

pytestmark = pytest.mark.usefixtures("operator")

HELD = ("Fail", "DryRun", "Warn", "Ignore")
CONFIRMED_AFTER = 2.0
"""Seconds that lie at least between the list that first lacked it and the one that confirms that."""
SETTLE = 1.0
"""Seconds after the operator's last write from which lists count."""


@pytest.fixture(scope="module")
def operator_options() -> tuple[str, ...]:
    """Lists soon count as newer than a write."""
    return (*operators.USUAL, f"--uncertain-create-timeout={SETTLE}s")


def _serve(team: Team, count: int) -> list[str]:
    """So many Workloads, served."""
    names = _names(count)
    for name in names:
        team.declare(name)
    for name in names:
        team.until_ready(name)
        until_told(team, name, "Normal Created", "Normal Ready")
    return names


def _until_lists_count(team: Team) -> None:
    """Back when the platform has answered a list that began long enough after the operator's last write."""
    write = team.calls("create", "update", "delete")[-1]
    counts_from = write["monotonic"] + write["seconds"] + SETTLE
    eventually(lambda: team.calls("list")[-1]["monotonic"] > counts_from)


def _names(count: int) -> list[str]:
    return [f"bot-{number}" for number in range(count)]


@contextmanager
def _hidden(team: Team, *names: str) -> Iterator[None]:
    """The platform's lists lack these for as long as the context lasts; all of them go at one moment."""
    rows = [row["fields"] for row in team.platform.workloads(team.name) if row["slug"] not in names]
    fault = team.platform.fault("respond", operation="list", project=team.name, status=200, body=rows, times=None)
    yield
    team.platform.clear_faults(fault)


def _remove(team: Team, *names: str) -> None:
    """These are gone from the platform, all at one moment."""
    with _hidden(team, *names):
        for name in names:
            team.platform.remove(team.name, name)


def _told_of(team: Team, names: list[str], reason: str) -> int:
    """How often this was told of all of them together."""
    every: Counter[str] = Counter()
    for name in names:
        every += told(team, name)
    return sum(count for words, count in every.items() if words.endswith(f" {reason}"))


def _verdicts(team: Team, names: list[str]) -> Counter[str]:
    return Counter(team.verdict(name) for name in names)


# -- one ---------------------------------------------------------------------------------------------------------


def test_one_list_proves_nothing(team: Team) -> None:
    """A row that a single list lacks is not missing: nothing is created, written or told."""
    _serve(team, 1)
    _until_lists_count(team)
    before, events = version(team, "bot-0"), told(team, "bot-0")
    since = team.platform.last()
    team.platform.fault("respond", operation="list", project=team.name, status=200, body=[], times=1)
    eventually(lambda: [call for call in team.calls("list", since=since) if call["fault"] == "respond"])
    team.pass_intervals(9)
    assert team.platform_writes(since) == []
    assert (version(team, "bot-0"), told(team, "bot-0")) == (before, events)


def test_a_second_list_confirms_it(team: Team) -> None:
    """At least two seconds after the first that lacked it; then it is created again, under a new id, and served."""
    _serve(team, 1)
    _until_lists_count(team)
    first = team.status("bot-0")["workloadId"]
    team.platform.remove(team.name, "bot-0")
    since = team.platform.last()
    team.until_made_anew("bot-0", first)
    team.until_ready("bot-0")
    calls = team.calls("list", "create", since=since)
    created = next(number for number, call in enumerate(calls) if call["operation"] == "create")
    lacking = [call["monotonic"] for call in calls[:created]]
    assert lacking[-1] - lacking[0] >= CONFIRMED_AFTER / 2
    team.pass_intervals(2)
    assert team.platform_writes(since) == ["create bot-0"]
    assert team.status("bot-0")["adopted"] is False
    assert team.live("bot-0")["id"] == team.status("bot-0")["workloadId"]


def test_what_is_withheld_is_created_on_approval(team: Team) -> None:
    """Under each policy the plan says how to create it again; the endpoint's ConfigMap stays meanwhile."""
    for name, policy in zip(_serve(team, 4), HELD, strict=True):
        team.annotate(name, {ON_DRIFT: policy})
        until_policy(team, name, policy)
    since = team.platform.last()
    for name in _names(4):
        team.platform.remove(team.name, name)
    for name in _names(4):
        until_drift(team, name, "Missing")
        ready = team.conditions(name)["Ready"]
        assert "The workload is missing on the platform. To create it again: kubectl annotate" in ready["message"]
        assert team.config_map(f"{name}-endpoint") is not None
        approve(team, name, until_plan(team, name))
    for name in _names(4):
        team.until_ready(name)
    team.pass_intervals(1)
    assert sorted(team.platform_writes(since)) == [f"create {name}" for name in _names(4)]


def test_a_row_that_returns_is_the_same_workload(team: Team) -> None:
    """What was missing and is there again under its id is neither adopted nor created."""
    _serve(team, 1)
    team.annotate("bot-0", {ON_DRIFT: "Warn"})
    since = team.platform.last()
    with _hidden(team, "bot-0"):
        team.until("bot-0", "False WorkloadMissing")
    team.until_ready("bot-0")
    assert (drift(team, "bot-0"), team.status("bot-0")["adopted"]) == ({"policy": "Warn", "summary": "none"}, False)
    assert team.platform_writes(since) == []


def test_a_list_right_after_a_write_proves_nothing(team: Team) -> None:
    """The platform may lag behind its own answers: a list this soon after a write shows no absence."""
    _serve(team, 1)
    first = team.status("bot-0")["workloadId"]
    team.edit("bot-0", model="llama-4")
    team.until_ready("bot-0")
    team.platform.remove(team.name, "bot-0")
    team.until_made_anew("bot-0", first)
    written, created = team.calls("update")[-1], team.calls("create")[-1]
    answered = written["monotonic"] + written["seconds"]
    assert created["monotonic"] - answered >= SETTLE + CONFIRMED_AFTER


# -- many --------------------------------------------------------------------------------------------------------


def test_many_at_once_are_not_created_again(team: Team) -> None:
    """At least five and more than half: none is created, one Event tells of each time, and nobody is Stalled."""
    names = _serve(team, 9)
    since = team.platform.last()
    with _hidden(team, *names[:5]):
        eventually(lambda: _verdicts(team, names), equals({"False MassMissing": 5, "True Ready": 4}))
        conditions = team.conditions(names[0])
        assert not {"Stalled", "Reconciling"} & set(conditions)
        assert "missing at once" in conditions["Ready"]["message"]
        eventually(lambda: _told_of(team, names, "MassMissing"))
        team.pass_intervals(9)
        assert _verdicts(team, names) == {"False MassMissing": 5, "True Ready": 4}
    eventually(lambda: _verdicts(team, names), equals({"True Ready": 9}))
    assert team.platform_writes(since) == []
    assert _told_of(team, names, "MassMissing") == 1
    with _hidden(team, *names[:6]):
        eventually(lambda: _verdicts(team, names), equals({"False MassMissing": 6, "True Ready": 3}))
        eventually(lambda: _told_of(team, names, "MassMissing"), equals(2))
    eventually(lambda: _verdicts(team, names), equals({"True Ready": 9}))
    assert team.platform_writes(since) == []


def test_they_come_back_one_by_one_as_asked(team: Team, operator: Operator) -> None:
    """An approved plan creates its one, a look the one it is asked for; the others, few as they are, wait on."""
    names = _serve(team, 6)
    since = team.platform.last()
    _remove(team, *names)
    eventually(lambda: _verdicts(team, names), equals({"False MassMissing": 6}))
    approve(team, names[0], until_plan(team, names[0]))
    team.until_ready(names[0])
    look(team, names[1])
    team.until_ready(names[1])
    assert operator.stop() == 0
    operator.start()
    team.pass_intervals(12)
    assert sorted(team.platform_writes(since)) == [f"create {names[0]}", f"create {names[1]}"]
    assert _verdicts(team, names) == {"True Ready": 2, "False MassMissing": 4}
    assert _told_of(team, names, "MassMissing") == 1


@pytest.mark.parametrize(("there", "gone"), [(4, 4), (10, 5)], ids=["fewer-than-five", "half-of-them"])
def test_fewer_are_created_again(team: Team, there: int, gone: int) -> None:
    """Four are not many, and five of ten are not more than half."""
    names = _serve(team, there)
    since = team.platform.last()
    _remove(team, *names[:gone])
    eventually(lambda: sorted(team.platform_writes(since)), equals([f"create {name}" for name in names[:gone]]))
    eventually(lambda: _verdicts(team, names), equals({"True Ready": there}))
    assert _told_of(team, names, "MassMissing") == 0


def test_the_brake_is_for_what_would_be_created(team: Team) -> None:
    """Those of the other policies say what they always say, and create nothing either."""
    names = _serve(team, 6)
    policies = ["Reconcile", "Fail", "DryRun", "Warn", "Ignore", "Reconcile"]
    for name, policy in zip(names, policies, strict=True):
        team.annotate(name, {ON_DRIFT: policy})
        until_policy(team, name, policy)
    since = team.platform.last()
    _remove(team, *names)
    expected = {"False MassMissing": 2, "False WorkloadMissing": 3, "False PlanPending": 1}
    eventually(lambda: _verdicts(team, names), equals(expected))
    team.pass_intervals(2)
    assert team.platform_writes(since) == []
