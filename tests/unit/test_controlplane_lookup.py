"""In which order the ways to a control plane are tried, and what is said when there is none.

The tools on PATH are tiny scripts; PATH holds nothing else, so that this machine's own do not matter.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from controlplane import cache, lookup
from controlplane.pins import BINARIES, control_plane
from controlplane.progress import Progress

WAYS = ("DEMO_KUBECONFIG", "KUBEBUILDER_ASSETS", "cache", "kind")


class Machine:
    """A machine with nothing on it; each method adds one thing."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.tools = root / "bin"
        self.tools.mkdir()
        (root / "cache").mkdir()
        self.environment = {
            "PATH": str(self.tools),
            "HOME": str(root),
            "XDG_CACHE_HOME": str(root / "cache"),
            "KUBECONFIG": str(self.file("production.kubeconfig")),
        }

    @property
    def built(self) -> Path:
        """Where a build of the pinned versions would be cached."""
        return cache.cache_root(self.environment) / control_plane().cache_key()

    def file(self, name: str) -> Path:
        """Add an empty file."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
        return path

    def tool(self, name: str, code: str = "") -> None:
        """Add a command to PATH that runs some Python, by default nothing."""
        path = self.tools / name
        path.write_text(f"#!{sys.executable} -S\n{code}\n")
        path.chmod(0o755)

    def folder(self, folder: Path, *names: str) -> Path:
        """Add a folder of executable files."""
        for name in names:
            path = self.file(str((folder / name).relative_to(self.root)))
            path.chmod(0o755)
        return folder

    def add(self, way: str) -> None:
        """Add one of WAYS, whole."""
        match way:
            case "DEMO_KUBECONFIG":
                self.tool("kubectl")
                self.environment[way] = str(self.file("demo.kubeconfig"))
            case "KUBEBUILDER_ASSETS":
                self.environment[way] = str(self.folder(self.root / "assets", *lookup.NEEDED_BINARIES))
            case "cache":
                self.folder(self.built, *BINARIES)
            case "kind":
                for name in ("kind", "docker", "kubectl"):
                    self.tool(name)

    def find(self) -> lookup.Found:
        """What is found there."""
        return lookup.find(self.environment, Progress(io.StringIO()))

    def error(self) -> str:
        """What is said where nothing is found."""
        with pytest.raises(lookup.NoControlPlaneError) as caught:
            self.find()
        return str(caught.value)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine with nothing on it."""
    return Machine(tmp_path)


def _name(found: lookup.Found) -> str:
    match found:
        case lookup.Existing():
            return "DEMO_KUBECONFIG"
        case lookup.Kind():
            return "kind"
        case lookup.Binaries(origin="a cached build"):
            return "cache"
        case lookup.Binaries(origin=origin):
            return origin


@pytest.mark.parametrize("first", range(len(WAYS)))
def test_first_way_that_is_there_wins(machine: Machine, first: int) -> None:
    """With all later ways there too, the first one of the order is taken."""
    for way in WAYS[first:]:
        machine.add(way)
    assert _name(machine.find()) == WAYS[first]


def test_ambient_kubeconfig_is_never_used(machine: Machine) -> None:
    """KUBECONFIG, which may be production, is no way to a control plane even where it is the only one."""
    machine.tool("kubectl")
    assert "KUBECONFIG is never used" in machine.error()


def test_demo_kubeconfig_that_does_not_exist_is_an_error(machine: Machine) -> None:
    """What was set by hand and is wrong is said, though a later way is there."""
    machine.add("cache")
    machine.environment["DEMO_KUBECONFIG"] = str(machine.root / "absent")
    assert f"DEMO_KUBECONFIG names {machine.root / 'absent'}" in machine.error()


def test_demo_kubeconfig_needs_kubectl(machine: Machine) -> None:
    """An existing cluster is of no use without kubectl, which is said."""
    machine.environment["DEMO_KUBECONFIG"] = str(machine.file("demo.kubeconfig"))
    assert "kubectl on PATH" in machine.error()


def test_assets_that_lack_a_binary_are_an_error(machine: Machine) -> None:
    """The error names what the folder lacks; a file that cannot be executed does not count."""
    machine.add("KUBEBUILDER_ASSETS")
    (machine.root / "assets" / "etcd").unlink()
    (machine.root / "assets" / "kubectl").chmod(0o644)
    assert "lacks etcd and kubectl" in machine.error()


def test_assets_need_no_controller_manager(machine: Machine) -> None:
    """A folder as setup-envtest makes it, without kube-controller-manager, is enough."""
    machine.add("KUBEBUILDER_ASSETS")
    assert not (machine.root / "assets" / "kube-controller-manager").exists()
    assert machine.find() == lookup.Binaries(machine.root / "assets", "KUBEBUILDER_ASSETS")


@pytest.mark.parametrize(
    ("tools", "said"),
    [
        ({}, "(not on PATH: kind, docker, kubectl)"),
        ({"kind": "", "kubectl": ""}, "(not on PATH: docker)"),
        ({"kind": "", "kubectl": "", "docker": "raise SystemExit(1)"}, "(`docker info` does not answer)"),
        ({"kind": "raise SystemExit(1)", "kubectl": "", "docker": ""}, "(`kind version` does not answer)"),
    ],
)
def test_kind_counts_only_where_it_and_docker_answer(machine: Machine, tools: dict[str, str], said: str) -> None:
    """A kind without a running Docker is passed over, and the error says why."""
    for name, code in tools.items():
        machine.tool(name, code)
    assert said in machine.error()


@pytest.mark.parametrize(
    ("go", "said"),
    [
        (None, "(no `go` on PATH)"),
        ("print('go1.19.3')", "(go1.19.3 on PATH is too old"),
        (
            "import sys; sys.exit('go.mod: unknown directive: tool')",
            "failed: go.mod: unknown directive: tool)",
        ),
    ],
)
def test_without_any_way_the_error_lists_all(machine: Machine, go: str | None, said: str) -> None:
    """One clear error: each way, where it was looked for, and the Go that it would take."""
    if go is not None:
        machine.tool("go", go)
    error = machine.error()
    needed = ".".join(map(str, control_plane().go_version()))
    for part in ("DEMO_KUBECONFIG", "KUBEBUILDER_ASSETS", str(machine.built), "kind", f"Go {needed}", said):
        assert part in error


def test_half_a_cached_build_is_none(machine: Machine) -> None:
    """A cached folder somebody removed a binary from is not taken for a build."""
    machine.add("cache")
    (machine.built / "etcd").unlink()
    assert "a cached build" in machine.error()


@pytest.mark.parametrize("stated", ["", "relative/cache"])
def test_cache_is_in_home_unless_xdg_says_otherwise(stated: str) -> None:
    """XDG_CACHE_HOME counts only as an absolute path, as its specification wants."""
    root = cache.cache_root({"XDG_CACHE_HOME": stated, "HOME": "/home/someone"})
    assert root == Path("/home/someone/.cache/inferencekey-operator/controlplane")
