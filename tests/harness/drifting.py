"""What tests of drift do again and again: look, wait for a class, approve, and tell what was sent and said.

Reads what users read: the status, the Events, the journal of the platform. Decides nothing.
"""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

from harness.api import Json
from harness.team import APPROVE_PLAN, LOOK_NOW, Team
from harness.waiting import LONG, equals, eventually

_moments = itertools.count(1)


def drift(team: Team, name: str) -> Json:
    """`status.drift` of a Workload; empty before the first comparison."""
    found: Json = team.status(name).get("drift", {})
    return found


def until_drift(team: Team, name: str, drift_class: str | None, within: float = LONG) -> Json:
    """`status.drift`, once it is of this class; None: once there is none."""
    return eventually(
        lambda: drift(team, name), lambda seen: "policy" in seen and seen.get("class") == drift_class, within=within
    )


def until_policy(team: Team, name: str, policy: str, within: float = LONG) -> Json:
    """`status.drift`, once this policy is in force: long before a full round."""
    return eventually(lambda: drift(team, name), lambda seen: seen.get("policy") == policy, within=within)


def until_plan(team: Team, name: str, besides: str = "") -> str:
    """The id of the plan that is withheld, once there is another one than `besides`."""
    seen = eventually(lambda: drift(team, name), lambda seen: seen.get("planId", besides) != besides)
    return str(seen["planId"])


def approve(team: Team, name: str, plan: str) -> None:
    """Approve a plan, and wait until that was heeded, whatever came of it."""
    team.annotate(name, {APPROVE_PLAN: plan})
    eventually(lambda: handled(team, name), lambda seen: seen.get("planId") == plan)


def handled(team: Team, name: str) -> Json:
    """`status.lastHandledApproval`; empty where there is none."""
    found: Json = team.status(name).get("lastHandledApproval", {})
    return found


def look(team: Team, name: str, times: int = 1) -> None:
    """Ask for a look at the platform, and wait until it was taken: each needs a new list."""
    for _ in range(times):
        moment = f"moment-{next(_moments)}"
        team.annotate(name, {LOOK_NOW: moment})
        eventually(lambda: team.status(name).get("lastHandledReconcileAt"), equals(moment))


def sent(team: Team, since: int = 0) -> list[Any]:
    """The bodies of what was sent to change the platform, in order; None for a deletion."""
    return [call["body"] for call in team.calls("create", "update", "delete", since=since)]


def told(team: Team, name: str, before: Counter[str] | None = None) -> Counter[str]:
    """How often `Warning DriftDetected` and the like were told, those of `before` left out; folded or not."""
    events: Counter[str] = Counter()
    for event in team.events(name):
        events[f"{event.type} {event.reason}"] += event.count
    return events - (before or Counter())


def until_told(team: Team, name: str, *words: str, before: Counter[str] | None = None) -> None:
    """Back once exactly these were told, beside those of `before`: Events come a moment after the status."""
    eventually(lambda: told(team, name, before), equals(Counter(words)))


def version(team: Team, name: str) -> str:
    """What moves with every write to a Workload."""
    found: str = team.workload(name)["metadata"]["resourceVersion"]
    return found
