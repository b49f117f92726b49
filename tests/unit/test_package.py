"""The wheel: built from the tree, it installs and works where there is no tree, and the image is made of the same."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

from inferencekey_operator.crd.schema import crd

ROOT = Path(__file__).parents[2]
UV = Path(sys.executable).with_name("uv")
SECONDS = 300.0


def test_it_tells_its_version() -> None:
    """The one of the distribution, which images and bug reports go by."""
    told = _run([sys.executable, "-m", "inferencekey_operator", "--version"], cwd=ROOT)
    assert told.strip() == f"inferencekey-operator {version('inferencekey-operator')}"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built by the pinned backend, which the image's build stage has too."""
    folder = tmp_path_factory.mktemp("wheel")
    _run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)], cwd=ROOT)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def commands(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The console scripts of a fresh environment: the wheel with the dependencies of the image, and nothing else."""
    home = tmp_path_factory.mktemp("environment")
    _run([str(UV), "venv", "--quiet", "--python", sys.executable, str(home / "venv")], cwd=home)
    into = ["--quiet", "--python", str(home / "venv" / "bin" / "python")]
    _run([str(UV), "pip", "sync", *into, "--require-hashes", str(ROOT / "requirements-run.lock")], cwd=home)
    _run([str(UV), "pip", "install", *into, "--no-deps", str(wheel)], cwd=home)
    return home / "venv" / "bin"


def _run(command: list[str], cwd: Path) -> str:
    """Without what this process was told of where the tree is."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    result = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert result.returncode == 0, f"{command}: {result.stderr}"
    return result.stdout


def test_the_wheel_holds_the_two_packages_alone(wheel: Path) -> None:
    """No test, no chart, no file that only the tree has."""
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    packages = {"inferencekey_operator", "inferencekey_simulator"}
    assert {top for top in tops if not top.endswith(".dist-info")} == packages
    assert f"{next(top for top in tops if top.endswith('.dist-info'))}/licenses/LICENSE" in names


def test_the_code_that_runs_is_the_wheels(commands: Path, tmp_path: Path) -> None:
    """It is not the tree's, which this environment has in editable form."""
    asked = "import inferencekey_operator; print(inferencekey_operator.__file__)"
    found = Path(_run([str(commands / "python"), "-c", asked], cwd=tmp_path).strip())
    assert found.is_relative_to(commands.parent)


def test_the_crd_comes_out_of_the_wheel(commands: Path, tmp_path: Path) -> None:
    """Without the source tree, the same CRD."""
    assert yaml.safe_load(_run([str(commands / "inferencekey-operator"), "crd"], cwd=tmp_path)) == crd()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["inferencekey-operator", "--help"], "makes the platform match"),
        (["inferencekey-operator", "run", "--help"], "INFERENCEKEY_OPERATOR_SECRET_NAME"),
        (["inferencekey-simulator", "serve", "--help"], "--port"),
    ],
)
def test_its_commands_explain_themselves(commands: Path, tmp_path: Path, command: list[str], said: str) -> None:
    """Each console script is there."""
    name, *arguments = command
    assert said in _run([str(commands / name), *arguments], cwd=tmp_path)


def pins(name: str) -> dict[str, str]:
    """Package and version of each line of a lock file."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return dict(re.findall(r"^([\w.-]+)==([^\s;]+)", text, re.MULTILINE))


def test_the_image_has_what_was_tested() -> None:
    """The locks of image and build are parts of the one that the tests run with; no tool of theirs is in the image."""
    tested, run, build = pins("requirements.lock"), pins("requirements-run.lock"), pins("requirements-build.lock")
    assert run.items() <= tested.items()
    assert build.items() <= tested.items()
    assert {"kopf", "kubernetes", "httpx", "pydantic"} <= set(run)
    assert not {"pytest", "mypy", "uv", "kubernetes-validate", "hatchling"} & set(run)


def test_every_file_of_the_locks_is_named_by_its_hash() -> None:
    """As `--require-hashes` demands it."""
    for name in ("requirements-run.lock", "requirements-build.lock"):
        text = (ROOT / name).read_text(encoding="utf-8")
        for entry in re.split(r"\n(?=\S)", text.strip()):
            assert "--hash=sha256:" in entry, entry


def test_the_image_gets_what_its_ignore_file_lets_through() -> None:
    """Each file that the Dockerfile copies is let through, and nothing else is."""
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    let_through = {line.removeprefix("!") for line in lines if line.startswith("!")}
    assert {name for names in copied for name in names.split()} == let_through
    assert all((ROOT / name).exists() for name in let_through)
