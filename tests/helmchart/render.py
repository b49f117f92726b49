"""helm, as tests and `make manifests` call it: it neither reads nor leaves anything of the user's.

Decides nothing about the chart.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "inferencekey-operator"
RELEASE = "inferencekey-operator"
NAMESPACE = "inferencekey-system"
SECONDS = 120.0

Json = dict[str, Any]


class HelmFailedError(Exception):
    """helm ended with another exit code than 0; the message is what it wrote to standard error."""


class Helm:
    """One helm, with a home of its own; a kubeconfig where it is to talk to a cluster."""

    def __init__(self, path: Path, home: Path, kubeconfig: Path | None = None) -> None:
        self._path = path
        self._environment = {
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(home),
            "KUBECONFIG": str(kubeconfig or home / "no-kubeconfig"),
            "HELM_CACHE_HOME": str(home / "cache"),
            "HELM_CONFIG_HOME": str(home / "config"),
            "HELM_DATA_HOME": str(home / "data"),
        }

    def run(self, *arguments: str | Path, stdin: str = "", timeout: float = SECONDS) -> str:
        """What it wrote to standard output. Raises HelmFailedError."""
        result = self.start(*arguments, stdin=stdin, timeout=timeout)
        if result.returncode != 0:
            raise HelmFailedError(result.stderr.strip() or result.stdout.strip())
        return result.stdout

    def start(
        self, *arguments: str | Path, stdin: str = "", timeout: float = SECONDS
    ) -> subprocess.CompletedProcess[str]:
        """How it ended, however that was."""
        return subprocess.run(
            self.command(*arguments),
            env=self._environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def command(self, *arguments: str | Path) -> list[str]:
        """The whole command, for a call that somebody else makes in `environment`."""
        return [str(self._path), *map(str, arguments)]

    @property
    def environment(self) -> dict[str, str]:
        """The variables that it is called with."""
        return dict(self._environment)

    def template(self, *options: str | Path, release: str = RELEASE, namespace: str = NAMESPACE) -> str:
        """The chart, rendered."""
        return self.run("template", release, CHART, f"--namespace={namespace}", *options)


def rendered_once(path: Path, *options: str | Path) -> str:
    """The chart under its usual name, rendered by this helm, with nothing left behind."""
    with tempfile.TemporaryDirectory() as home:
        return Helm(path, Path(home)).template(*options)


def documents(text: str) -> list[Json]:
    """The objects of a text of several YAML documents."""
    return [document for document in yaml.safe_load_all(text) if document]


def of_kind(objects: Iterable[Json], *kinds: str) -> list[Json]:
    """Those of these kinds, in their order."""
    return [each for each in objects if each["kind"] in kinds]


def the_one(objects: Iterable[Json], kind: str) -> Json:
    """The only one of its kind."""
    (found,) = of_kind(objects, kind)
    return found
