"""The contestants beside the operator: how the programs in `peers/` are started, under which name, and with what.

What they do is theirs. They may do everything in the cluster, as permissions are not what is measured.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import ClassVar

from bench.contestant import Contestant
from bench.sample import Sample
from bench.stage import ROOT, Stage
from demo.children import Child
from harness.team import Team

_PEERS = Path(__file__).parent / "peers"


class _Program(Contestant):
    """A program with a ServiceAccount of its own."""

    def __init__(self, stage: Stage, command: list[str], environment: dict[str, str]) -> None:
        account = f"bench-{self.name}"
        self.user = f"system:serviceaccount:default:{account}"
        usual = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        kubeconfig = {"KUBECONFIG": str(_account(stage, account, self.user)), "PYTHONPATH": str(ROOT)}
        self._child = Child(self.name, command, stage.folder / f"{self.name}.log", usual | kubeconfig | environment)

    @property
    def pid(self) -> int:
        """Of its present life."""
        assert self._child.pid is not None, "it was never started"  # noqa: S101 - a mistake of ours
        return self._child.pid

    def start(self) -> None:
        """It tells nobody when it is ready: the warm-up shows it."""
        self._child.start()

    def stop(self) -> None:
        """SIGTERM; killed where it takes long."""
        self._child.stop()

    def check(self) -> None:
        """It ends only when it is asked to."""
        self._child.check()

    def close(self) -> None:
        """What it logs is its own affair."""
        self.stop()


class Plain(_Program):
    """kopf's handlers with default settings around the official SDK, for one team."""

    name: ClassVar[str] = "plain"
    rests: ClassVar[bool] = False
    many_teams: ClassVar[bool] = False

    def __init__(self, stage: Stage, team: Team, interval: float) -> None:
        self._stage = stage
        self._lists_before = 0
        platform = {
            "INFERENCEKEY_BASE_URL": stage.admin.url,
            "INFERENCEKEY_PROJECT": team.name,
            "INFERENCEKEY_SDK_TOKEN": team.token,
            "CHECK_SECONDS": str(interval),
        }
        command = [sys.executable, "-m", "kopf", "run", "--all-namespaces", "--standalone", str(_PEERS / "plain.py")]
        super().__init__(stage, command, platform)

    def start(self) -> None:
        """Back at once."""
        self._lists_before = self._stage.admin.counters()["list"]
        super().start()

    def looked(self) -> int:
        """Each ensure() is a list."""
        return self._stage.admin.counters()["list"] - self._lists_before


class Limit(_Program):
    """What the API server takes from a bare client: three writes for each Workload."""

    name: ClassVar[str] = "limit"
    reconciles: ClassVar[bool] = False

    def __init__(self, stage: Stage, sample: Sample) -> None:
        template = stage.folder / f"{self.name}.json"
        template.write_text(json.dumps(self._writes(sample)))
        super().__init__(stage, [sys.executable, str(_PEERS / "limit.py"), str(template)], {})

    def _writes(self, sample: Sample) -> dict[str, object]:
        return sample.three()

    def looked(self) -> int:
        """Never."""
        return 0


class Same(Limit):
    """The same bare client with all writes that the operator made: Events and further statuses, too."""

    name: ClassVar[str] = "same"

    def _writes(self, sample: Sample) -> dict[str, object]:
        return sample.all()


def _account(stage: Stage, name: str, user: str) -> Path:
    """A kubeconfig for a ServiceAccount that may do everything."""
    kubectl = stage.plane.kubectl
    if kubectl("create", "serviceaccount", name, "-n", "default", check=False).returncode == 0:
        kubectl("create", "clusterrolebinding", name, "--clusterrole=cluster-admin", f"--serviceaccount=default:{name}")
    token = kubectl("create", "token", name, "-n", "default", "--duration=4h").stdout.strip()
    return stage.plane.kubeconfig_for_token(user, token)
