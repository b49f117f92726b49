"""What pages have people type, typed: on the real API server, with the operator at work and the platform behind it.

Each block is run as it stands on the page, but for the namespace's name.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from controlplane.access import Cluster
from harness.drifting import until_policy
from harness.shell import Shell
from harness.team import PROJECT_KEY, TOKEN_KEY, Team
from unit.pages import Page, page

BRINGING_IN = page("docs/bringing-in.md")
README = page("README.md")

pytestmark = pytest.mark.usefixtures("operator")


@pytest.fixture
def shell(control_plane: Cluster, team: Team, tmp_path: Path) -> Shell:
    """A shell of the team's, with the file that its Secret is made of; the Secret itself is for the pages to make."""
    team.drop_secret()
    made = Shell(control_plane, team.name, tmp_path, INFERENCEKEY_BASE_URL=team.platform.url)
    lines = f"{TOKEN_KEY}={team.token}\n{PROJECT_KEY}={team.name}\n"
    (made.folder / "platform.env").write_text(lines, encoding="utf-8")
    return made


def typed(page: Page, words: str) -> str:
    """The one block for a shell that has these words in it."""
    (block,) = (block.text for block in page.blocks if block.language == "sh" and words in block.text)
    return block


def test_the_first_minutes(shell: Shell, team: Team) -> None:
    """What the README has newcomers type: a Workload that serves, and one of which nothing is written unapproved."""
    shell.run(typed(README, "examples/chat/workload.yaml"))
    assert team.slugs() == ["chat"]
    told = shell.run(typed(README, "approve-plan"))
    assert "PlanPending" in told
    assert team.slugs() == ["chat", "reviewed"]
    assert team.verdict("reviewed") == "True Ready"


def test_bringing_in_what_exists(shell: Shell, team: Team) -> None:
    """The page, step by step: adopted without a write, differences withheld, one taken over and one approved."""
    config = {"command": "vllm serve Qwen/Qwen3-8B", "max_model_len": 4096}
    team.platform.add(team.name, "chat", name="The chat", model_name="Qwen/Qwen3-8B", backend="vllm", config=config)
    team.platform.add(team.name, "search", model_name="bge-m3", backend="ollama", task_type="embedding")
    since = team.platform.last()

    shell.run(typed(BRINGING_IN, "on-drift=DryRun").replace("team-a", team.name))
    shell.run(typed(BRINGING_IN, "manifests.py"))
    for name in ("chat", "search"):
        team.until_ready(name)
        assert team.status(name)["adopted"]
        until_policy(team, name, "DryRun", within=120)
    declared = yaml.safe_load_all((shell.folder / "workloads.yaml").read_text(encoding="utf-8"))
    chat, search = (document["spec"] for document in declared)
    assert (chat["name"], chat["command"], chat["config"]) == ("The chat", config["command"], {"max_model_len": 4096})
    assert (search["model"], search["backend"], search["taskType"]) == ("bge-m3", "ollama", "embedding")
    assert "name" not in search, "it is the slug, as it would be without"
    assert "DryRun" in shell.run("kubectl get ikw")

    team.edit("chat", model="Qwen/Qwen3-0.6B")
    team.edit("search", model="bge-large")
    for name in ("chat", "search"):
        team.until(name, "False PlanPending")
    told = shell.run(typed(BRINGING_IN, "{range .status.drift.fields[*]}"))
    assert "chat\n  model: declared Qwen/Qwen3-0.6B, live Qwen/Qwen3-8B\n" in told
    shell.run(typed(BRINGING_IN, "kubectl patch ikw/chat"))
    team.until_ready("chat")
    assert team.platform_writes(since) == []
    release = typed(BRINGING_IN, "on-drift=Reconcile").replace("team-a", team.name)
    assert "annotated" not in shell.run(release, check=False), "a plan was left"
    shell.run(typed(BRINGING_IN, "approve-plan"))
    team.until_ready("search")
    assert team.live("search")["model_name"] == "bge-large"
    shell.run(release)
    until_policy(team, "chat", "Reconcile", within=120)

    shell.run(typed(BRINGING_IN, "delete ikw --all"))
    assert team.slugs() == ["chat", "search"]
    assert team.platform_writes(since) == ["update search"]


def test_a_token_that_may_only_read_is_enough_to_look(shell: Shell, team: Team) -> None:
    """As the page says: under DryRun what exists is adopted, and what differs is told, with the scope to read."""
    team.platform.add(team.name, "chat", model_name="Qwen/Qwen3-8B", backend="vllm")
    team.token = team.platform.mint(team.name, scopes=["workload:read"])
    team.secret()
    team.declare("chat", {"inferencekey.com/on-drift": "DryRun"}, model="Qwen/Qwen3-0.6B")
    team.until("chat", "False PlanPending")
    assert [each["field"] for each in team.status("chat")["drift"]["fields"]] == ["model"]
    assert team.platform_writes() == []


ASKED = re.compile(r"^\$ (kubectl auth can-i .+)\n(yes|no)$", re.MULTILINE)


@pytest.mark.parametrize("name", ["docs/security.md", "README.md"])
def test_what_the_operator_may_do_is_what_the_page_says(shell: Shell, name: str) -> None:
    """Each `kubectl auth can-i` of the page has the answer that stands below it."""
    (block,) = (each.text for each in page(name).blocks if "can-i" in each.text)
    operator = re.findall(r"^\$ (operator=.+)$", block, re.MULTILINE)
    asked = ASKED.findall(block)
    assert len(asked) == block.count("can-i") >= 4, "each question has its answer below it"
    script = "\n".join([*operator, *(f"{command} 2>/dev/null || true" for command, _ in asked)])
    assert shell.run(script).split() == [answer for _, answer in asked]
