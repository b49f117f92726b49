"""More than anybody means, on a real API server: a condition, and neither memory nor time of a neighbour is taken."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.api import WORKLOADS
from harness.crowd import Crowd
from harness.operators import Operator
from harness.team import Team
from harness.waiting import equals, eventually
from integration.manifests import manifest

HUGE = {"objects": [{}] * 450_000}
"""1.4 MB, which the API server accepts; a hundred MiB of Python's objects in the making."""
ROOM = 96.0
"""MiB that all of them together take at most, at any moment: one page of a list and what is made of it."""


@pytest.fixture
def good(crowd: Crowd) -> Team:
    """A team that has nothing to do with it."""
    return crowd.team()


def peak(operator: Operator) -> float:
    """The most that its present life ever had in memory, in MiB."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{operator.pid}/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def test_half_a_million_empty_objects(crowd: Crowd, good: Team, module_operator: Operator) -> None:
    """Four such Workloads: declared while it runs, and listed by the next process; each says what to do.

    Each would take sixty MiB. There are no more of them, as the API server takes hundreds of MiB for each.
    """
    if not Path("/proc/self/status").exists():
        pytest.skip("memory is read as Linux accounts for it")
    evil, before = crowd.team(), peak(module_operator)
    names = [f"huge-{number}" for number in range(4)]
    for name in names[:3]:
        evil.api.create(f"{WORKLOADS}/namespaces/{evil.name}/workloads", manifest(name, config=HUGE))
    good.declare("beside")
    good.until_ready("beside")
    for name in names[:3]:
        evil.until(name, "False PlatformRefused")
    assert peak(module_operator) - before < ROOM
    assert "the spec 1,350," in evil.conditions(names[0])["Ready"]["message"]
    for name in names[3:]:
        evil.api.create(f"{WORKLOADS}/namespaces/{evil.name}/workloads", manifest(name, config=HUGE))
    module_operator.stop()
    module_operator.start()
    for name in names:
        evil.until(name, "False PlatformRefused", within=120)
    assert peak(module_operator) - before < ROOM
    good.declare("after")
    good.until_ready("after")
    assert evil.calls("create") == []
    evil.api.patch(f"{WORKLOADS}/namespaces/{evil.name}/workloads/{names[0]}", {"spec": {"config": None}})
    evil.until_ready(names[0])


def test_more_keys_than_anybody_means(crowd: Crowd) -> None:
    """What a schema can bound, the API server refuses."""
    evil = crowd.bare()
    for path in ("config", "executionPolicyConfig"):
        for count, refused in ((256, False), (257, True)):
            spec = {path: {f"key-{number}": number for number in range(count)}, "executionPolicy": "fixed"}
            said = evil.api.objection(f"{WORKLOADS}/namespaces/{evil.name}/workloads", manifest(**spec))
            assert bool(said) == refused, said


def test_deeper_than_any_reader_goes(crowd: Crowd, good: Team, module_operator: Operator) -> None:
    """Nested 5,000 levels deep, where the API server takes it: the list of all the others is read all the same."""
    evil = crowd.team()
    deep = '{"a":' + "[" * 5_000 + "]" * 5_000 + "}"
    body = (
        '{"apiVersion":"inferencekey.com/v1alpha1","kind":"Workload","metadata":{"name":"deep"},'
        f'"spec":{{"model":"llama-3","backend":"vllm","config":{deep}}}}}'
    )
    answer = evil.api.post(f"{WORKLOADS}/namespaces/{evil.name}/workloads", body.encode())
    if not answer.is_success:
        pytest.skip(f"the API server does not take it: {answer.status_code}")
    reason = "jsonpath={.status.conditions[?(@.type=='Ready')].reason}"  # for our reader of JSON it is too deep as well
    eventually(lambda: evil.kubectl("get", "ikw/deep", "-n", evil.name, "-o", reason).stdout, equals("PlatformRefused"))
    module_operator.stop()
    module_operator.start()
    good.declare("after-deep")
    good.until_ready("after-deep")


def test_what_a_secret_holds_for_others_is_not_kept(crowd: Crowd, module_operator: Operator) -> None:
    """Forty Secrets with 0.9 MB of other keys, and one that is changed while it is watched."""
    teams, before = [crowd.bare() for _ in range(40)], peak(module_operator)
    for team in teams:
        fat = {f"other-{number}": "x" * 90_000 for number in range(10)}
        team.secret(**fat)
        team.declare("bot")
    for team in teams:
        team.until_ready("bot", within=120)
    teams[0].secret(**{"other-0": "y" * 90_000}, INFERENCEKEY_SDK_TOKEN="spoiled")
    teams[0].until("bot", "False TokenMalformed")
    eventually(lambda: peak(module_operator) - before, lambda grown: grown < ROOM / 2, within=1.0)
