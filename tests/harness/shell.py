"""Runs what a page has people type: a block of shell, as somebody with a kubeconfig, kubectl and this project would.

Knows nothing of what is typed. What it writes goes into a folder of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from controlplane.access import Cluster

_ROOT = Path(__file__).parents[2]
_SHOWN = ("charts", "crds", "examples")


class Shell:
    """A shell in a folder that looks like the project's, with a namespace as the kubeconfig's own."""

    def __init__(self, cluster: Cluster, namespace: str, folder: Path, **environment: str) -> None:
        self.folder = folder / "project"
        commands, kubeconfig = folder / "bin", folder / "kubeconfig"
        for path in (self.folder, commands):
            path.mkdir()
        for name in _SHOWN:
            (self.folder / name).symlink_to(_ROOT / name)
        (self.folder / ".venv").symlink_to(sys.prefix)
        (commands / "kubectl").symlink_to(cluster.kubectl_path)
        kubeconfig.write_text(cluster.kubectl("config", "view", "--raw", "--flatten").stdout, encoding="utf-8")
        cluster.kubectl("config", "set-context", "--current", f"--namespace={namespace}", kubeconfig=kubeconfig)
        self._environment = {
            "PATH": f"{commands}:{os.environ['PATH']}",
            "HOME": str(folder),
            "KUBECONFIG": str(kubeconfig),
            "KUBERC": "off",
            **environment,
        }

    def run(self, text: str, *, check: bool = True, seconds: float = 150) -> str:
        """What it printed, errors included; AssertionError where a command of it failed, unless not `check`."""
        done = subprocess.run(
            ["bash", "-eu", "-o", "pipefail", "-c", text],
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert not check or done.returncode == 0, f"{text}\n{done.stdout}"
        return done.stdout
