"""Where a control plane is to be had on this machine, in a fixed order; the first way that is there wins.

What somebody set by hand is never passed over in silence: a wrong DEMO_KUBECONFIG or KUBEBUILDER_ASSETS is an
error, not a reason to try the next way. An ambient KUBECONFIG is never looked at: it may be production. Needs
the standard library alone and starts no cluster (cluster.py does).
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from shutil import which

from controlplane import build, cache, kept
from controlplane.pins import Kit, control_plane
from controlplane.progress import Progress

NEEDED_BINARIES = ("etcd", "kube-apiserver", "kubectl")
"""Without kube-controller-manager, which envtest's folders lack, there is no garbage collection."""

_ANSWER_SECONDS = 10.0
_FASTER = (
    "Faster, after Ctrl-C: KUBEBUILDER_ASSETS=<folder with kube-apiserver, etcd and kubectl>,\n"
    "such as setup-envtest fetches in seconds, or kind with a running Docker."
)


class NoControlPlaneError(Exception):
    """No control plane is to be had; the message says every way to get one."""


@dataclass(frozen=True)
class Existing:
    """A cluster that runs already and belongs to somebody: it is neither started nor stopped."""

    kubeconfig: Path
    kubectl: Path


@dataclass(frozen=True)
class Binaries:
    """A folder with the binaries to start; `origin` says how it came about."""

    folder: Path
    origin: str


@dataclass(frozen=True)
class Kind:
    """kind and Docker both answer."""

    kind: Path
    kubectl: Path


Found = Existing | Binaries | Kind


def find(environment: Mapping[str, str] = os.environ, progress: Progress | None = None) -> Found:
    """The way to a control plane; builds the binaries if nothing else is there, which takes minutes.

    What it does is told on `progress` (standard error unless given). Raises NoControlPlaneError and
    build.BuildFailedError.
    """
    progress = progress or Progress(sys.stderr)
    kit = control_plane()
    found = _existing(environment) or _assets(environment) or _cached(kit, environment)
    if found is not None:
        return found
    kind = docker_kind(environment)
    if isinstance(kind, Kind):
        return kind
    go = build.go_problem(kit, environment)
    if go is not None:
        raise NoControlPlaneError(_all_ways(kit, kept.folder(kit, environment), kind, go))
    return Binaries(kept.build(kit, environment, progress, _FASTER), "built from the pinned Go modules")


def _existing(environment: Mapping[str, str]) -> Existing | None:
    stated = environment.get("DEMO_KUBECONFIG")
    if not stated:
        return None
    kubeconfig = Path(stated).expanduser().absolute()
    if not kubeconfig.is_file():
        raise NoControlPlaneError(f"DEMO_KUBECONFIG names {kubeconfig}, and there is no such file.")
    kubectl = which("kubectl", path=environment.get("PATH"))
    if kubectl is None:
        raise NoControlPlaneError("DEMO_KUBECONFIG is set, and to use that cluster takes kubectl on PATH.")
    return Existing(kubeconfig, Path(kubectl))


def _assets(environment: Mapping[str, str]) -> Binaries | None:
    stated = environment.get("KUBEBUILDER_ASSETS")
    if not stated:
        return None
    folder = Path(stated).expanduser().absolute()
    missing = cache.missing_from(folder, NEEDED_BINARIES)
    if missing:
        raise NoControlPlaneError(
            f"KUBEBUILDER_ASSETS names {folder}, which lacks {' and '.join(missing)} (as executable files). "
            f"Unset it, or name a folder that holds {', '.join(NEEDED_BINARIES)}."
        )
    return Binaries(folder, "KUBEBUILDER_ASSETS")


def _cached(kit: Kit, environment: Mapping[str, str]) -> Binaries | None:
    built = kept.found(kit, environment)
    return Binaries(built, "a cached build") if built is not None else None


def docker_kind(environment: Mapping[str, str]) -> Kind | str:
    """Kind, or what of it does not answer."""
    paths = {name: which(name, path=environment.get("PATH")) for name in ("kind", "docker", "kubectl")}
    absent = [name for name, path in paths.items() if path is None]
    if absent:
        return f"not on PATH: {', '.join(absent)}"
    for question in (["kind", "version"], ["docker", "info"]):
        if not _answers(question, environment):
            return f"`{' '.join(question)}` does not answer"
    return Kind(Path(str(paths["kind"])), Path(str(paths["kubectl"])))


def _answers(command: list[str], environment: Mapping[str, str]) -> bool:
    try:
        subprocess.run(
            [str(which(command[0], path=environment.get("PATH"))), *command[1:]],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            timeout=_ANSWER_SECONDS,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return True


def _all_ways(kit: Kit, built: Path, kind: str, go: str) -> str:
    needed = ".".join(map(str, kit.go_version()))
    return f"""There is no Kubernetes control plane on this machine. Any one of these gives one:
  DEMO_KUBECONFIG=<kubeconfig>   an existing cluster to try things on; KUBECONFIG is never used (not set)
  KUBEBUILDER_ASSETS=<folder>    with {", ".join(NEEDED_BINARIES)}, such as setup-envtest fetches (not set)
  a cached build                 in {built} (none there)
  kind with Docker               ({kind})
  Go {needed} or newer            builds it once: {kit.cost} ({go})"""
