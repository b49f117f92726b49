"""Where the token comes from: each way in which that can fail says so, says how to mend it, and is mended by that."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex

import pytest
import yaml

from controlplane.access import Cluster
from harness.operators import Operator
from harness.team import BASE_URL_KEY, PROJECT_KEY, SECRET, TOKEN_KEY, Team, Told
from harness.waiting import eventually
from inferencekey_simulator.admin import Admin

SOON = 60.0
"""Seconds in which a Secret takes effect: far below the round that looks at everything."""

PLACEHOLDER = re.compile(r"<[^>]*>")


@dataclass(frozen=True)
class Trouble:
    """A Secret that will not do: what its keys are instead, what is said of it, and whether the platform is asked."""

    verdict: str
    keys: Callable[[Admin, str], dict[str, str | None]]
    says: str
    calls: set[str] = field(default_factory=set)


def _other_project(platform: Admin, project: str) -> str:
    return platform.mint(f"{project}-other")


TROUBLES = [
    Trouble("False SecretKeyNotFound", lambda *_: {TOKEN_KEY: None}, f"has no key {TOKEN_KEY}"),
    Trouble("False SecretKeyNotFound", lambda *_: {TOKEN_KEY: " \n"}, "or it is empty"),
    Trouble("False WrongCredentialType", lambda *_: {TOKEN_KEY: f"ik_live_{token_hex(4)}_{token_hex(32)}"}, "ik_sdk_"),
    Trouble("False TokenMalformed", lambda *_: {TOKEN_KEY: f"ik_sdk_{token_hex(4)}_{token_hex(31)}"}, "Copy the token"),
    Trouble("False ProjectNotSet", lambda *_: {PROJECT_KEY: None}, "names a project"),
    Trouble("False TokenRejected", lambda *_: {TOKEN_KEY: f"ik_sdk_{token_hex(4)}_{token_hex(32)}"}, "", {"list"}),
    Trouble("False ProjectMismatch", lambda *at: {TOKEN_KEY: _other_project(*at)}, "", {"list"}),
    Trouble(
        "False ScopeInsufficient",
        lambda platform, project: {TOKEN_KEY: platform.mint(project, ["workload:read"])},
        "workload:write",
        {"list", "create"},
    ),
]


@pytest.mark.usefixtures("operator")
@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: trouble.verdict.split()[1])
def test_what_is_wrong_is_said_and_mended_as_said(bare: Team, trouble: Trouble, tmp_path: Path) -> None:
    """Each trouble has its reason and a message with a command; once that was typed, the Workload is served."""
    bare.secret(**trouble.keys(bare.platform, bare.name))
    bare.declare("support-bot")
    bare.until("support-bot", trouble.verdict)
    ready = bare.conditions("support-bot")["Ready"]
    assert trouble.says in ready["message"]
    assert {call["operation"] for call in bare.calls()} == trouble.calls
    assert bare.slugs() == []
    _type(bare, ready["message"], tmp_path)
    bare.until_ready("support-bot", within=SOON)


@pytest.mark.usefixtures("operator")
def test_the_message_leads_from_nothing_to_serving(bare: Team, tmp_path: Path) -> None:
    """Whoever applies a Workload before anything else needs only to type what the message says."""
    bare.declare("support-bot")
    bare.until("support-bot", "False SecretNotFound")
    assert "Reconciling" in bare.conditions("support-bot")
    assert bare.calls() == []
    _type(bare, bare.conditions("support-bot")["Ready"]["message"], tmp_path)
    bare.until_ready("support-bot", within=SOON)


@pytest.mark.usefixtures("operator")
def test_trouble_is_told_once(bare: Team) -> None:
    """An Event says what the condition says, and is not repeated while nothing changes."""
    bare.secret(**{TOKEN_KEY: None})
    bare.declare("support-bot")
    message = bare.until("support-bot", "False SecretKeyNotFound")["status"]["conditions"][0]["message"]
    told = eventually(lambda: [event for event in bare.events("support-bot") if event.reason == "SecretKeyNotFound"])
    assert told == [Told("Warning", "SecretKeyNotFound", message, 1)]


@pytest.mark.usefixtures("operator")
def test_another_secret_is_not_read(team: Team) -> None:
    """A name that the operator was not started with is refused, and the Secret of that name is of no use."""
    body = {"metadata": {"name": "mine"}, "stringData": {TOKEN_KEY: team.token, PROJECT_KEY: team.name}}
    team.api.create(f"/api/v1/namespaces/{team.name}/secrets", body)
    team.declare("support-bot", tokenSecretRef={"name": "mine"})
    team.until("support-bot", "False SecretNotAllowed")
    assert "--secret-name mine" in team.conditions("support-bot")["Stalled"]["message"]
    assert team.calls() == []
    team.edit("support-bot", tokenSecretRef=None)
    team.until_ready("support-bot")


@pytest.mark.usefixtures("operator")
def test_a_token_does_not_go_to_another_platform(bare: Team) -> None:
    """A base URL that the operator does not call is refused, and its own is no substitute for it."""
    bare.secret(**{BASE_URL_KEY: "https://elsewhere.example"})
    bare.declare("support-bot")
    bare.until("support-bot", "False BaseURLNotAllowed")
    assert "--allow-base-url" in bare.conditions("support-bot")["Stalled"]["message"]
    assert bare.calls() == []
    bare.secret()
    bare.until_ready("support-bot", within=SOON)


@pytest.mark.usefixtures("operator")
def test_a_token_in_the_spec_goes_nowhere(team: Team) -> None:
    """Where the schema cannot look, below keys it does not know, the operator does: no call is made."""
    team.declare("support-bot", config={"env": [{"name": "TOKEN", "value": f"x {team.token}"}]})
    team.until("support-bot", "False SecretInSpec")
    message = team.conditions("support-bot")["Stalled"]["message"]
    assert "config.env[0].value" in message
    assert team.calls() == []
    team.edit("support-bot", config={"env": None})
    team.until_ready("support-bot")


@pytest.mark.usefixtures("operator")
def test_a_key_of_another_name_is_used(bare: Team) -> None:
    """tokenSecretRef.key says under which key of the Secret the token is."""
    bare.secret(**{TOKEN_KEY: None, "MY_TOKEN": bare.token})
    bare.declare("support-bot", tokenSecretRef={"key": "MY_TOKEN"})
    bare.until_ready("support-bot")


@pytest.mark.usefixtures("operator")
def test_a_rotated_token_takes_over(team: Team) -> None:
    """Within seconds the platform is called with the new one alone, and nothing else changes."""
    team.declare("support-bot")
    before = team.until_ready("support-bot")["status"]
    new = team.platform.mint(team.name)
    team.secret(**{TOKEN_KEY: new})
    eventually(lambda: _credentials(team), lambda used: new[:15] in used, within=SOON)
    team.platform.revoke(team.token)
    since = team.platform.last()
    team.edit("support-bot", model="llama-4")
    team.until_ready("support-bot")
    assert team.live("support-bot")["model_name"] == "llama-4"
    assert team.platform_writes(since) == ["update support-bot"]
    assert team.status("support-bot")["workloadId"] == before["workloadId"]


@pytest.mark.usefixtures("operator")
def test_a_revoked_token_is_replaced(team: Team) -> None:
    """What a revoked token stopped goes on within seconds of the Secret's change."""
    team.declare("support-bot")
    team.until_ready("support-bot")
    team.platform.revoke(team.token)
    team.edit("support-bot", model="llama-4")
    team.until("support-bot", "False TokenRejected")
    team.secret(**{TOKEN_KEY: team.platform.mint(team.name)})
    team.until_ready("support-bot", within=SOON)
    assert team.live("support-bot")["model_name"] == "llama-4"


@pytest.mark.usefixtures("operator")
def test_a_secret_that_goes_and_comes_back(team: Team) -> None:
    """The Workload says so within seconds, the platform keeps what it has, and all is well when the Secret is back."""
    team.declare("support-bot")
    team.until_ready("support-bot")
    since = team.platform.last()
    team.drop_secret()
    team.until("support-bot", "False SecretNotFound", within=SOON)
    team.secret()
    team.until_ready("support-bot", within=SOON)
    assert team.platform_writes(since) == []


@pytest.mark.usefixtures("operator")
def test_a_deletion_needs_no_secret_any_more(team: Team) -> None:
    """The last token that was good is enough to remove what was made."""
    team.declare("support-bot")
    team.until_ready("support-bot")
    team.drop_secret()
    team.until("support-bot", "False SecretNotFound")
    team.kubectl("delete", "ikw", "support-bot", "--timeout=30s")
    assert team.slugs() == []


def test_no_other_secret_is_readable(team: Team, operator: Operator, control_plane: Cluster) -> None:
    """With the operator's token: by that name in any namespace, and nothing besides."""
    team.api.create(f"/api/v1/namespaces/{team.name}/secrets", {"metadata": {"name": "other"}})

    def answer(*arguments: str) -> str:
        result = control_plane.kubectl(*arguments, kubeconfig=operator.kubeconfig, check=False)
        return result.stderr.lower() if result.returncode else "allowed"

    assert answer("get", "secrets", "-A", f"--field-selector=metadata.name={SECRET}") == "allowed"
    assert answer("get", "secrets", "-n", team.name, f"--field-selector=metadata.name={SECRET}") == "allowed"
    for forbidden in (
        ("get", "secret", "other", "-n", team.name),
        ("get", "secrets", "-n", team.name),
        ("get", "secrets", "-A"),
        ("get", "secrets", "-A", "--field-selector=metadata.name=other"),
        ("get", "secrets", "-A", "-l", "app=any"),
        ("create", "secret", "generic", SECRET, "-n", "default"),
        ("patch", "secret", SECRET, "-n", team.name, "-p", "{}"),
        ("delete", "secret", SECRET, "-n", team.name),
        ("create", "token", "default", "-n", team.name),
    ):
        assert "forbidden" in answer(*forbidden), forbidden


def _type(team: Team, message: str, folder: Path) -> None:
    """Write the file and run the command that a message gives, with this team's values for what it leaves open."""
    assert "kubectl " in message, f"no command to type: {message}"
    open_ends = {"<your ik_sdk_ token>": team.token, "<project slug>": team.name}
    lines = [f"{key}={open_ends[value]}\n" for key, value in re.findall(r"the line (\w+)=(<.*?>)", message)]
    file = folder / "platform.env"
    file.write_text("".join(lines))
    command = message[message.index("kubectl ") :].partition(". ")[0].rstrip(".")
    assert f"-n {team.name}" in command
    assert team.token not in command
    filled = PLACEHOLDER.sub(lambda found: open_ends[found[0]], command).replace("platform.env", str(file))
    document = None
    for part in filled.split(" | "):
        said = team.kubectl(*shlex.split(part)[1:], document=document).stdout
        document = yaml.safe_load(said) if "yaml" in part else None


def _credentials(team: Team) -> set[str]:
    """The public identifiers of the tokens that the last calls were made with."""
    return {call["credential"].rstrip("…") for call in team.calls("list")[-3:]}
