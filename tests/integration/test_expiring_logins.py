"""Credentials for the API server that end while the operator runs: it says so, and works on once there are others.

The control plane refuses them for real: a client certificate that is over, a token whose Secret is gone.
"""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from controlplane.access import Cluster
from controlplane.cluster import ControlPlane
from harness import operators, permissions
from harness.api import Api
from harness.operators import Operator, Surroundings
from harness.scrape import Scrape, free_port
from harness.team import Team
from harness.waiting import eventually
from inferencekey_simulator.admin import Admin

API_VERSION = "client.authentication.k8s.io/v1"
YEAR = timedelta(days=365)
MOMENT = timedelta(seconds=3)
PLUGIN = """#!{python}
import json
open({runs!r}, "a").write("x")
status = {{"token": open({token!r}).read().strip()}}
print(json.dumps({{"apiVersion": "{version}", "kind": "ExecCredential", "status": status}}))
"""


class Kubeconfig:
    """A kubeconfig of one's own for the operator's ServiceAccount, and what it names."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self._cluster, self._folder = cluster, folder
        self.path = folder / "kubeconfig"
        (folder / "ca.crt").write_text(cluster.ca_pem)

    def names(self, **user: Any) -> None:
        """The credentials of the one user in it."""
        config = {
            "clusters": [{"name": "a", "cluster": {"server": self._cluster.server, "certificate-authority": "ca.crt"}}],
            "users": [{"name": "a", "user": user}],
            "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
            "current-context": "a",
        }
        self.path.write_text(json.dumps(config))

    def put(self, name: str, content: str, mode: int = 0o600) -> Path:
        """A file beside it, replaced in one step."""
        new, path = self._folder / f"{name}.new", self._folder / name
        new.write_text(content)
        new.chmod(mode)
        return new.replace(path)


@pytest.fixture
def kubeconfig(control_plane: Cluster, service_account: Path, tmp_path: Path) -> Kubeconfig:
    """With nobody in it yet; the ServiceAccount and its permissions are there."""
    return Kubeconfig(control_plane, tmp_path)


class Installed:
    """An operator that is reached by that kubeconfig, and its probes."""

    def __init__(self, operator: Operator, scrape: Scrape) -> None:
        self.operator, self._scrape = operator, scrape

    def readiness(self) -> str:
        """What its probe says of the credentials."""
        _, said = self._scrape.probe("readyz")
        return next((line for line in said.splitlines() if "credentials" in line), "")


@pytest.fixture
def installed(api: Api, platform: Admin, kubeconfig: Kubeconfig, tmp_path: Path) -> Iterator[Installed]:
    """Not started yet; it must not end by itself."""
    scrape = Scrape(free_port())
    around = Surroundings(api, kubeconfig.path, platform.url, tmp_path / "log")
    operator = Operator(around, *operators.USUAL, scrape.option)
    operator.forget_lease()
    yield Installed(operator, scrape)
    operator.close()


def test_a_client_certificate_that_expires_is_reported_and_its_successor_used(
    control_plane: Cluster, kubeconfig: Kubeconfig, installed: Installed, team: Team
) -> None:
    """By the same process, though its Lease could not be renewed meanwhile; what was declared then is reconciled."""
    if not isinstance(control_plane, ControlPlane):
        pytest.skip("this cluster is not our own, and its authority signs nothing for us")
    operator = installed.operator

    def hold_for(lifetime: timedelta) -> None:
        pair = control_plane.client_certificate(permissions.USER, lifetime)
        kubeconfig.put("client.pem", pair.certificate + pair.key)

    kubeconfig.names(**{"client-certificate": "client.pem", "client-key": "client.pem"})
    hold_for(YEAR)
    operator.start()
    eventually(installed.readiness, "[+] credentials".__eq__)
    process = operator.pid

    hold_for(MOMENT)
    eventually(operator.log, lambda log: "refuses the credentials of the kubeconfig" in log, within=120)
    assert "(401)" in eventually(installed.readiness, lambda line: line.startswith("[-]"))
    eventually(operator.log, lambda log: "was not renewed: 401" in log or "could not get the Lease" in log, within=120)
    team.declare("late")

    hold_for(YEAR)
    eventually(installed.readiness, "[+] credentials".__eq__, within=120)
    eventually(operator.log, lambda log: "accepts the credentials of the kubeconfig" in log)
    team.until_ready("late", within=120)
    assert (operator.pid, operator.running) == (process, True)


def test_a_plugin_is_run_again_when_its_token_is_refused(
    control_plane: Cluster, kubeconfig: Kubeconfig, installed: Installed, team: Team, tmp_path: Path
) -> None:
    """Within the request that was refused: the Lease is never lost, and nothing else is refused."""
    operator, runs = installed.operator, tmp_path / "runs"
    bound = [f"token-{uuid.uuid4().hex[:8]}" for _ in range(2)]

    def hand_out(secret: str) -> None:
        """A token that is good for as long as this Secret is there."""
        control_plane.kubectl("-n", permissions.NAMESPACE, "create", "secret", "generic", secret)
        options = "--bound-object-kind=Secret", f"--bound-object-name={secret}", "--duration=1h"
        made = control_plane.kubectl("-n", permissions.NAMESPACE, "create", "token", permissions.NAME, *options)
        kubeconfig.put("token", made.stdout)

    token = tmp_path / "token"
    plugin = PLUGIN.format(python=sys.executable, runs=str(runs), token=str(token), version=API_VERSION)
    command = str(kubeconfig.put("plugin", plugin, 0o700))
    kubeconfig.names(exec={"apiVersion": API_VERSION, "command": command, "interactiveMode": "Never"})
    hand_out(bound[0])
    operator.start()
    term = operator.lease()
    assert runs.read_text() == "x"

    hand_out(bound[1])
    control_plane.kubectl("-n", permissions.NAMESPACE, "delete", "secret", bound[0])
    eventually(runs.read_text, "xx".__eq__, within=120)  # the API server remembers for ten seconds whom it knew
    team.declare("late")
    team.until_ready("late", within=120)
    now = operator.lease()
    assert term is not None
    assert now is not None
    assert now["spec"]["acquireTime"] == term["spec"]["acquireTime"]
    assert operator.leads
    for trouble in ("401", "WARNING", "refuse"):
        assert trouble not in operator.log()
    control_plane.kubectl("-n", permissions.NAMESPACE, "delete", "secret", bound[1])
