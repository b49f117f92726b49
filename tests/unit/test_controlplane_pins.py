"""The pinned versions stand in go.mod alone, and a build is cached by all that goes into it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from controlplane import pins
from pods import binaries


def test_versions_are_read_from_go_mod() -> None:
    """The versions are those that the Go toolchain will use, and the server is told its own."""
    go_mod = (pins.MODULES / "kubernetes" / "go.mod").read_text()
    assert f"k8s.io/kubernetes {pins.kubernetes_version()} " in go_mod
    assert re.fullmatch(r"v3\.\d+\.\d+", pins.etcd_version())
    assert f"version.gitVersion={pins.kubernetes_version()}" in pins.recipes()[1].linker_flags


def test_staging_modules_are_of_the_same_release() -> None:
    """Kubernetes v1.X.Y is made of modules v0.X.Y; another mixture would compile, and be nobody's."""
    go_mod = (pins.MODULES / "kubernetes" / "go.mod").read_text()
    replaced = re.findall(r"^\s+(k8s\.io/\S+) => (\S+) (\S+)$", go_mod, re.MULTILINE)
    assert len(replaced) > 30
    expected = "v0" + pins.kubernetes_version().removeprefix("v1")
    assert [entry for entry in replaced if entry[0] != entry[1] or entry[2] != expected] == []


def test_a_node_is_of_the_same_release() -> None:
    """What `make e2e-pods` builds beside the control plane is of its Kubernetes, module by module."""
    ours, theirs = (
        re.findall(
            r"^go .+|^godebug .+|^\s+k8s\.io/kubernetes .+|.+ => .+", (module / "go.mod").read_text(), re.MULTILINE
        )
        for module in (binaries.MODULES, pins.MODULES / "kubernetes")
    )
    assert len(ours) > 30
    assert ours == theirs


def test_recipes_make_every_binary() -> None:
    """What is looked for in the cache is what is built."""
    made = [name for recipe in pins.recipes() for name in recipe.binaries]
    assert sorted(made) == sorted(pins.BINARIES)


@pytest.mark.parametrize("changed", ["kubernetes/go.sum", "etcd/go.sum", "etcd/go.mod"])
def test_cache_key_covers_every_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str) -> None:
    """Another checksum or dependency is another build, also under the same versions."""
    for module in ("kubernetes", "etcd"):
        shutil.copytree(pins.MODULES / module, tmp_path / module)
    monkeypatch.setattr(pins, "MODULES", tmp_path)
    before = pins.control_plane().cache_key()
    with (tmp_path / changed).open("a") as file:
        file.write("// changed\n")
    after = pins.control_plane().cache_key()
    assert before != after
    assert before.rpartition("-")[0] == after.rpartition("-")[0]


@pytest.mark.parametrize("name", pins.TOOLS)
def test_a_tool_is_told_the_version_that_is_pinned(name: str) -> None:
    """Each is a kit of its own, named after its version, which is stamped in."""
    kit = pins.tool(name)
    assert kit.binaries == (name,)
    assert kit.cache_key().startswith(f"{name}-{pins.tool_version(name)}-")
    assert kit.recipes[0].linker_flags.endswith(f"={pins.tool_version(name)}")


def test_missing_version_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A go.mod that pins no Kubernetes is an error that names the file."""
    (tmp_path / "kubernetes").mkdir()
    (tmp_path / "kubernetes" / "go.mod").write_text("module example\n")
    monkeypatch.setattr(pins, "MODULES", tmp_path)
    with pytest.raises(ValueError, match=r"kubernetes/go\.mod"):
        pins.kubernetes_version()
