"""The secret part of a token is in the Secret, and nowhere else: not after success, and not after any trouble."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from pathlib import Path

import pytest

from controlplane.access import Cluster
from harness.audit import Audit
from harness.operators import USUAL, Operator
from harness.simulator import log_of
from harness.team import LOOK_NOW, ON_DRIFT, SECRET, TOKEN_KEY, Team
from harness.waiting import eventually


@pytest.fixture(scope="module")
def operator_options() -> tuple[str, ...]:
    """As talkative as it can be."""
    return (*USUAL, "--log-level=debug", "--log-format=json")


class Told:
    """The tokens that were in use, and the search for the secret parts of them."""

    def __init__(self, *tokens: str) -> None:
        secrets = [token.rpartition("_")[2] for token in tokens]
        assert all(len(secret) == 64 for secret in secrets)
        halves = [half for secret in secrets for half in (secret[:32], secret[32:])]
        self._forms = re.compile("|".join(form for half in halves for form in _forms(half)))

    def found(self, text: str) -> bool:
        """Whether half a secret is in a text, in clear, in hexadecimal or in base64, whatever stands before it."""
        return self._forms.search(text) is not None


def test_the_secret_of_a_token_is_nowhere(
    team: Team, operator: Operator, platform_folder: Path, control_plane: Cluster, audit: Audit
) -> None:
    """In all that Kubernetes stored, the operator logged and the platform saw beside the Authorization header."""
    platform, retired = team.platform, team.token
    echo: dict[str, object] = {"error": {"code": "bad_request", "message": f"Bearer {retired} may not; {retired!r}"}}
    _live_a_little(team)
    _meet_trouble(team, echo)
    rotated = platform.mint(team.name)
    team.secret(**{TOKEN_KEY: rotated})
    team.until_ready("plain")
    told = Told(retired, rotated)
    holders = [
        f"{each['kind']} {each['metadata'].get('namespace')}/{each['metadata']['name']}"
        for each in team.api.everything()
        if told.found(json.dumps(each))
    ]
    assert holders == [f"Secret {team.name}/{SECRET}"]
    assert retired[:15] in operator.log()
    assert not told.found(operator.log())
    assert not told.found(json.dumps(platform.requests()))
    assert not told.found(json.dumps(platform.workloads()))
    assert not told.found(log_of(platform_folder).read_text())
    audit.mark()
    assert control_plane.audit_log is not None
    assert not told.found(control_plane.audit_log.read_text())
    assert not any(told.found(path.read_text(errors="replace")) for path in control_plane.directory.glob("*.log"))


def test_the_search_would_find_it(team: Team) -> None:
    """Every form that is searched for is found where it is, so that finding nothing means something."""
    told = Told(team.token)
    secret = team.token.rpartition("_")[2]
    for text in (
        team.token,
        secret[:32],
        b64encode(team.token.encode()).decode(),
        b64encode(f"x{team.token}".encode()).decode(),
        b64encode(f"xy{team.token}".encode()).decode(),
        team.token.encode().hex(),
    ):
        assert told.found(f"before {text} after"), text
    assert not told.found(team.token[:-64])


def _live_a_little(team: Team) -> None:
    """Creations, an edit, drift that is repaired and drift that is reported, a deletion."""
    for name, policy in (("plain", "Reconcile"), ("watched", "DryRun"), ("gone", "Reconcile")):
        team.declare(name, {ON_DRIFT: policy}, taskType="text2text", description=f"{name} of the tests")
    team.until_ready("plain")
    team.until("watched", "False PlanPending")
    team.until_ready("gone")
    team.edit("plain", model="llama-4")
    team.until_ready("plain")
    team.platform.edit(team.name, "plain", description=f"set by hand to {team.token}")
    eventually(lambda: team.live("plain")["description"] == "plain of the tests")
    team.kubectl("delete", "ikw", "gone", "--timeout=30s")


def _meet_trouble(team: Team, echo: dict[str, object]) -> None:
    """Refusals that repeat the token, drift that holds it, a token in a spec, a rejected one, and no Secret at all."""
    refused = {"status": 400, "body": echo, "operation": "create", "project": team.name, "slug": "refused"}
    team.platform.fault("respond", times=None, **refused)
    team.declare("refused")
    team.until("refused", "False PlatformRefused")
    team.platform.fault("respond", times=None, **{**refused, "slug": "broken", "status": 500, "body": str(echo)})
    team.declare("broken")
    team.until("broken", "False PlatformUnreachable")  # no JSON, so it may be anyone's
    team.declare("held", {ON_DRIFT: "Fail"})
    team.until_ready("held")
    team.platform.edit(team.name, "held", model_name=f"model of {team.token}")
    team.until("held", "False DriftDetected")
    team.platform.phase(team.name, "plain", "error", f"it died with {team.token}", step=team.token)
    team.annotate("plain", {LOOK_NOW: "now"})
    team.until("plain", "False PlatformError")
    team.platform.phase(team.name, "plain", "ready")
    team.platform.edit(team.name, "held", model_name="llama-3")
    team.platform.clear_faults()
    team.platform.revoke(team.token)
    team.edit("plain", description="and another")
    team.until("plain", "False TokenRejected")
    team.drop_secret()
    team.until("plain", "False SecretNotFound")


def _forms(text: str) -> list[str]:
    """A text as it is, in hexadecimal, and in base64 for each of the three ways in which it can be cut into bytes."""
    encoded = text.encode()
    shifted = [b64encode(b" " * skip + encoded).decode() for skip in range(3)]
    cut = [form[4 if skip else 0 : -4] for skip, form in enumerate(shifted)]
    return [text, encoded.hex(), *map(re.escape, cut)]
