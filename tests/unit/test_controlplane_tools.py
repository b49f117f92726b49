"""In which order the ways to helm and kubeconform are tried, and what is said where there is none.

The tools on PATH are tiny scripts; PATH holds nothing else, so that this machine's own do not matter.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from controlplane import kept, pins, tools
from controlplane.progress import Progress

GO = """
import pathlib, sys
if sys.argv[1] == "env":
    print("go1.99.0")
elif sys.argv[1] == "build":
    output = pathlib.Path(next(argument[3:] for argument in sys.argv if argument.startswith("-o=")))
    output.write_text("#!/bin/sh")
    output.chmod(0o755)
"""


class Machine:
    """A machine with nothing on it; each method adds one thing."""

    def __init__(self, root: Path) -> None:
        self.path = root / "bin"
        self.path.mkdir()
        self.environment = {"PATH": str(self.path), "HOME": str(root), "XDG_CACHE_HOME": str(root / "cache")}
        self.said = io.StringIO()

    def tool(self, name: str, code: str) -> Path:
        """Add a command to PATH that runs some Python."""
        path = self.path / name
        path.write_text(f"#!{sys.executable} -S\n{code}\n")
        path.chmod(0o755)
        return path

    def find(self, name: str = "helm") -> Path:
        """What is found there."""
        return tools.find(name, self.environment, Progress(self.said))

    def error(self) -> str:
        """What is said where nothing is found."""
        with pytest.raises(tools.NoToolError) as caught:
            self.find()
        return str(caught.value)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine with nothing on it."""
    return Machine(tmp_path)


@pytest.mark.parametrize("name", pins.TOOLS)
def test_built_once_and_found_again(machine: Machine, name: str) -> None:
    """With Go alone it is built, which is told with its cost; the second time there is nothing to do."""
    machine.tool("go", GO)
    built = machine.find(name)
    kit = pins.tool(name)
    assert built == kept.folder(kit, machine.environment) / name
    assert kit.cost in machine.said.getvalue()
    (machine.path / "go").unlink()
    assert machine.find(name) == built


@pytest.mark.parametrize("version", ["v4.0.1+g1234567", "v4.9.9", "v5.0.0-rc.1"])
def test_helm_on_path_of_the_same_major_or_a_newer_one_will_do(machine: Machine, version: str) -> None:
    """Nothing is built where somebody has it already."""
    mine = machine.tool("helm", f"print({version!r})")
    machine.tool("go", "raise SystemExit(1)")
    assert machine.find() == mine


@pytest.mark.parametrize(
    ("helm", "said"),
    [
        (None, "(no `helm` on PATH)"),
        ("print('v3.19.0+g3d8990f')", "helm is v3.19.0+g3d8990f)"),
        ("raise SystemExit(1)", "does not tell its version)"),
    ],
)
def test_without_any_way_the_error_says_each(machine: Machine, helm: str | None, said: str) -> None:
    """What is there and does not count is named, and the Go that would build it."""
    if helm is not None:
        machine.tool("helm", helm)
    error = machine.error()
    assert said in error
    assert "Go 1." in error
    assert "no `go` on PATH" in error
