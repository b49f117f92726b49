"""The pinned versions, read from the go.mod files beside this module, and how the binaries are compiled.

The go.mod files are the only place where a version stands. This module turns them into kits, what is built together,
and into the key under which each is cached; it starts nothing and looks at no machine but its kind.
"""

from __future__ import annotations

import hashlib
import platform
import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

MODULES = Path(__file__).parent
BINARIES = ("etcd", "kube-apiserver", "kube-controller-manager", "kubectl")
"""Those of the control plane."""
TOOLS = ("helm", "kubeconform", "kube-score", "promtool")
"""Those that the tests of the chart, and of what Prometheus reads, need; each a kit of its own."""

_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
_VERSION_PACKAGE = "k8s.io/component-base/version"
_TAGS = "grpcnotrace"


@dataclass(frozen=True)
class Recipe:
    """One call of `go build`: the tools module it runs in, its packages and the binaries they become."""

    module: Path
    packages: tuple[str, ...]
    binaries: tuple[str, ...]
    linker_flags: str
    tags: str = ""

    def compile_flags(self) -> list[str]:
        """Flags that `go build` and `go list` must share to speak of the same packages."""
        return ["-mod=readonly", *([f"-tags={self.tags}"] if self.tags else [])]

    def build_flags(self) -> list[str]:
        """Flags of `go build` alone: no paths, no commit, no debugging tables, and the version stamped in."""
        return [*self.compile_flags(), "-trimpath", "-buildvcs=false", f"-ldflags={self.linker_flags}"]


@dataclass(frozen=True)
class Kit:
    """Binaries that are built together, and kept in one folder."""

    title: str
    name: str
    cost: str
    recipes: tuple[Recipe, ...]

    @property
    def binaries(self) -> tuple[str, ...]:
        """What the folder holds."""
        return tuple(name for recipe in self.recipes for name in recipe.binaries)

    def go_version(self) -> tuple[int, ...]:
        """The oldest Go that can build all of it, such as `(1, 26, 0)`."""
        directives = (_find(r"^go (\d[\d.]*)$", recipe.module) for recipe in self.recipes)
        return max(tuple(map(int, version.split("."))) for version in directives)

    def cache_key(self) -> str:
        """Name of the folder of a build: versions, platform, and a digest of all that goes into it."""
        digest = hashlib.sha256()
        for recipe in self.recipes:
            digest.update(repr((recipe.packages, recipe.build_flags())).encode())
            sources = [recipe.module / "go.mod", recipe.module / "go.sum", *sorted(recipe.module.rglob("*.go"))]
            for source in sources:
                digest.update(source.read_bytes())
        machine = platform.machine().lower()
        system = platform.system().lower()
        return "-".join((self.name, system, _MACHINES.get(machine, machine), digest.hexdigest()[:12]))


class _Tool(NamedTuple):
    module: str
    package: str
    version_variable: str
    cost: str
    tags: str = ""


_TOOLS = {
    "helm": _Tool(
        module="helm.sh/helm/v4",
        package="helm.sh/helm/v4/cmd/helm",
        version_variable="helm.sh/helm/v4/internal/version.version",
        cost="about 2 minutes on 2 cores, 1 GB in Go's own caches, 90 MB kept",
    ),
    "kubeconform": _Tool(
        module="github.com/yannh/kubeconform",
        package="github.com/yannh/kubeconform/cmd/kubeconform",
        version_variable="main.version",
        cost="some seconds, 10 MB kept",
    ),
    "kube-score": _Tool(
        module="github.com/zegl/kube-score",
        package="github.com/zegl/kube-score/cmd/kube-score",
        version_variable="main.version",
        cost="about a minute on 2 cores, 20 MB kept",
    ),
    "promtool": _Tool(
        module="github.com/prometheus/prometheus",
        package="github.com/prometheus/prometheus/cmd/promtool",
        version_variable="github.com/prometheus/common/version.Version",
        cost="about 4 minutes on 2 cores, 1 GB in Go's own caches, 55 MB kept",
        tags="remove_all_sd",  # what finds targets in two dozen clouds is of no use here
    ),
}


def control_plane() -> Kit:
    """Kubernetes and its etcd."""
    return Kit(
        title=f"Kubernetes {kubernetes_version()} and etcd {etcd_version()}",
        name=f"kubernetes-{kubernetes_version()}-etcd-{etcd_version()}",
        cost="about 6 minutes on 2 cores, some 5 GB in Go's own caches, 260 MB kept",
        recipes=recipes(),
    )


def tool(name: str) -> Kit:
    """One of TOOLS."""
    pinned, version = _TOOLS[name], tool_version(name)
    stamp = f"-s -w -X {pinned.version_variable}={version}"
    recipe = Recipe(MODULES / name, (pinned.package,), (name,), stamp, pinned.tags)
    return Kit(f"{name} {version}", f"{name}-{version}", pinned.cost, (recipe,))


def tool_version(name: str) -> str:
    """The pinned version of one of TOOLS, such as `v4.2.4`."""
    return _required_version(MODULES / name, _TOOLS[name].module)


def kubernetes_version() -> str:
    """The pinned Kubernetes, such as `v1.37.2`."""
    return _required_version(MODULES / "kubernetes", "k8s.io/kubernetes")


def etcd_version() -> str:
    """The pinned etcd, such as `v3.6.16`."""
    return _required_version(MODULES / "etcd", "go.etcd.io/etcd/server/v3")


def recipes() -> tuple[Recipe, ...]:
    """What the control plane is built from, in order: the short one first, so that a broken set-up shows early."""
    etcd = Recipe(MODULES / "etcd", ("go.etcd.io/etcd/server/v3",), ("etcd",), "-s -w", _TAGS)
    return etcd, of_kubernetes(MODULES / "kubernetes", "kube-apiserver", "kube-controller-manager", "kubectl")


def of_kubernetes(module: Path, *commands: str) -> Recipe:
    """Commands of the pinned Kubernetes, built in a module that requires them."""
    packages = tuple(f"k8s.io/kubernetes/cmd/{command}" for command in commands)
    return Recipe(module, packages, commands, f"-s -w {_version_stamp()}", _TAGS)


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
