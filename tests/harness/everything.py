"""Everything that an operator ever does for a team in Kubernetes, for those who want to know what it takes.

Knows what makes it use each of its permissions; judges nothing.
"""

from __future__ import annotations

from harness.team import Team
from harness.waiting import equals, eventually


def happens_to(team: Team) -> None:
    """All of it, in one namespace."""
    comes_and_goes(team)
    _conflict_over_a_config_map(team)
    _another_config_map(team)
    _repeated_event(team)


def comes_and_goes(team: Team) -> None:
    """A Workload from its creation to its deletion."""
    team.declare("passing")
    team.until_ready("passing")
    team.kubectl("delete", "ikw", "passing", "--timeout=30s")


def _conflict_over_a_config_map(team: Team) -> None:
    """One that has its name already is read, to see whose it is."""
    team.kubectl("create", "configmap", "support-bot-endpoint")
    team.declare("support-bot")
    team.until("support-bot", "False ConfigMapConflict")


def _another_config_map(team: Team) -> None:
    """The former one is deleted; an edited one is patched."""
    team.edit("support-bot", endpoint={"configMapName": "first"})
    team.until_ready("support-bot")
    team.edit("support-bot", endpoint={"configMapName": "second"})
    eventually(lambda: team.config_map("first"), lambda found: found is None)
    team.kubectl("patch", "configmap", "second", "--type=merge", "-p", '{"data":{"OPENAI_MODEL":"mine"}}')
    eventually(lambda: (team.config_map("second") or {})["data"]["OPENAI_MODEL"] == "llama-3")


def _repeated_event(team: Team) -> None:
    """The same repair twice is one Event that counts two."""
    for count in (1, 2):
        team.platform.edit(team.name, "support-bot", model_name="another")
        eventually(lambda: team.live("support-bot")["model_name"] == "llama-3")
        eventually(lambda: _repairs_told(team), equals([count]))


def _repairs_told(team: Team) -> list[int]:
    """How often each Event about a repair was counted."""
    return [told.count for told in team.events("support-bot") if told.reason == "DriftRepaired"]
