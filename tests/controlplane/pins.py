"""The pinned versions, read from the go.mod files beside this module, and how the binaries are compiled.

The go.mod files are the only place where a version stands. This module turns them into the build recipe and
into the key under which a build is cached; it starts nothing and looks at no machine but its kind.
"""

from __future__ import annotations

import hashlib
import platform
import re
from dataclasses import dataclass
from pathlib import Path

MODULES = Path(__file__).parent
BINARIES = ("etcd", "kube-apiserver", "kube-controller-manager", "kubectl")

_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
_VERSION_PACKAGE = "k8s.io/component-base/version"


@dataclass(frozen=True)
class Recipe:
    """One call of `go build`: the tools module it runs in, its packages and the binaries they become."""

    module: Path
    packages: tuple[str, ...]
    binaries: tuple[str, ...]
    linker_flags: str

    def compile_flags(self) -> list[str]:
        """Flags that `go build` and `go list` must share to speak of the same packages."""
        return ["-mod=readonly", "-tags=grpcnotrace"]

    def build_flags(self) -> list[str]:
        """Flags of `go build` alone: no paths, no commit, no debugging tables, and the version stamped in."""
        return [*self.compile_flags(), "-trimpath", "-buildvcs=false", f"-ldflags={self.linker_flags}"]


def kubernetes_version() -> str:
    """The pinned Kubernetes, such as `v1.37.2`."""
    return _required_version(MODULES / "kubernetes", "k8s.io/kubernetes")


def etcd_version() -> str:
    """The pinned etcd, such as `v3.6.16`."""
    return _required_version(MODULES / "etcd", "go.etcd.io/etcd/server/v3")


def go_version() -> tuple[int, ...]:
    """The oldest Go that can build all modules, such as `(1, 26, 0)`."""
    directives = (_find(r"^go (\d[\d.]*)$", recipe.module) for recipe in recipes())
    return max(tuple(map(int, version.split("."))) for version in directives)


def recipes() -> tuple[Recipe, ...]:
    """What to build, in order: the short one first, so that a broken set-up shows early."""
    etcd = Recipe(MODULES / "etcd", ("go.etcd.io/etcd/server/v3",), ("etcd",), "-s -w")
    commands = ("kube-apiserver", "kube-controller-manager", "kubectl")
    packages = tuple(f"k8s.io/kubernetes/cmd/{command}" for command in commands)
    return etcd, Recipe(MODULES / "kubernetes", packages, commands, f"-s -w {_version_stamp()}")


def cache_key() -> str:
    """Name of the folder of a build: versions, platform, and a digest of all that goes into it."""
    digest = hashlib.sha256()
    for recipe in recipes():
        digest.update(repr((recipe.packages, recipe.build_flags())).encode())
        for name in ("go.mod", "go.sum"):
            digest.update((recipe.module / name).read_bytes())
    machine = platform.machine().lower()
    return "-".join(
        (
            f"kubernetes-{kubernetes_version()}",
            f"etcd-{etcd_version()}",
            platform.system().lower(),
            _MACHINES.get(machine, machine),
            digest.hexdigest()[:12],
        )
    )


def _version_stamp() -> str:
    """Unstamped, the API server calls itself v0.0.0, and no chart's `kubeVersion` accepts that."""
    version = kubernetes_version()
    major, minor, _ = version.removeprefix("v").split(".", 2)
    stamp = {
        "gitVersion": version,
        "gitMajor": major,
        "gitMinor": minor,
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
    }
    return " ".join(f"-X {_VERSION_PACKAGE}.{name}={value}" for name, value in stamp.items())


def _required_version(module: Path, path: str) -> str:
    return _find(rf"^(?:require)?\s+{re.escape(path)} (v\S+)", module)


def _find(pattern: str, module: Path) -> str:
    found = re.search(pattern, (module / "go.mod").read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise ValueError(f"{module / 'go.mod'} has no line like {pattern}")
    return found.group(1)
