"""The simulator's command line as a process, and the file it can keep its state in."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from inferencekey_simulator.admin import Admin
from inferencekey_simulator.clock import Clock
from inferencekey_simulator.credentials import generated
from inferencekey_simulator.platform import Platform
from inferencekey_simulator.state_file import restore, saved

BODY = {"name": "Bot", "slug": "bot", "backend": "vllm", "model_name": "llama-3"}
BOUND = 60.0


class Process:
    """A simulator that runs as a process of its own, in a folder of its own."""

    def __init__(self, folder: Path, *options: str) -> None:
        folder.mkdir()
        self.url_file = folder / "url"
        self.env_file = folder / "env"
        command = [sys.executable, "-m", "inferencekey_simulator", "serve", "--port", "0"]
        files = ["--url-file", str(self.url_file), "--env-file", str(self.env_file)]
        self.process = subprocess.Popen(
            [*command, *files, *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def url(self) -> str:
        """Return the URL, once there is one."""
        wait_for(lambda: self.url_file.exists() or self.process.poll() is not None)
        return self.url_file.read_text().strip()

    def token(self) -> str:
        """Return the token out of the file for scripts."""
        lines = dict(line.split("=", 1) for line in self.env_file.read_text().splitlines())
        return lines["INFERENCEKEY_SDK_TOKEN"]

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str, str]:
        """Send a signal, and return the exit code and what was printed."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=BOUND)
        return self.process.returncode, out, err


Start = Callable[..., Process]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start simulators that are gone after the test, whatever happens."""
    processes: list[Process] = []

    def started(*options: str) -> Process:
        processes.append(Process(tmp_path / str(len(processes)), *options))
        return processes[-1]

    yield started
    for each in processes:
        each.process.kill()
        each.process.communicate()


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds, and fail when it does not within the bound."""
    deadline = time.monotonic() + BOUND
    while not condition():
        assert time.monotonic() < deadline, "the condition was not met in time"
        time.sleep(0.02)


def create(url: str, token: str) -> httpx.Response:
    """Create a workload."""
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.post(f"{url}/api/projects/demo/workloads", json=BODY, headers=headers)


def test_serve_and_end(start: Start) -> None:
    """It serves at the URL it wrote, takes the token it wrote, and ends cleanly without its URL file."""
    simulator = start("--verbose")
    url, token = simulator.url(), simulator.token()
    assert create(url, token).status_code == 201
    assert simulator.env_file.stat().st_mode & 0o777 == 0o600
    code, out, err = simulator.end()
    assert code == 0
    assert not simulator.url_file.exists()
    assert url in out
    assert "kubectl create secret generic inferencekey --from-env-file" in out
    assert "POST /api/projects/demo/workloads 201" in err
    assert token[16:] not in out + err


def test_an_interrupt_is_a_clean_end(start: Start) -> None:
    """Ctrl-C leaves no traceback."""
    simulator = start()
    simulator.url()
    code, _, err = simulator.end(signal.SIGINT)
    assert (code, err) == (0, "")


def test_the_end_of_standard_input_is_the_end(start: Start) -> None:
    """With --exit-with-stdin the process goes when its parent does."""
    simulator = start("--exit-with-stdin")
    simulator.url()
    simulator.process.communicate(timeout=BOUND)
    assert simulator.process.returncode == 0


def test_options(start: Start) -> None:
    """Projects, a fixed token and durations are taken from the command line."""
    token = generated("ik_sdk")
    options = ["--project", "demo", "--project", "two", "--token", token, "--readiness-seconds", "0"]
    simulator = start(*options, "--latency", "0.2")
    admin = Admin(simulator.url())
    assert simulator.token() == token
    begun = time.monotonic()
    assert create(simulator.url(), token).status_code == 201
    assert time.monotonic() - begun >= 0.2
    assert [each["phase"] for each in admin.workloads()] == ["ready"]
    assert "projects: demo, two" in simulator.end()[1]


@pytest.mark.parametrize("options", [["--token", "hunter2"], ["--host", "256.0.0.1"], ["--state-file", "/"]])
def test_what_cannot_start_says_why(start: Start, options: list[str]) -> None:
    """One line on standard error, no traceback, exit code 1."""
    simulator = start(*options)
    _, err = simulator.process.communicate(timeout=BOUND)
    assert simulator.process.returncode == 1
    assert err.startswith("inferencekey-simulator: ")
    assert err.count("\n") == 1


def test_a_restart_with_a_state_file(start: Start, tmp_path: Path) -> None:
    """Workloads, ids and credentials are there again; the file holds no secret."""
    state = tmp_path / "state.json"
    first = start("--state-file", str(state))
    url, token = first.url(), first.token()
    identifier = create(url, token).json()["id"]
    Admin(url).phase("demo", "bot", "bootstrapping", "by hand")
    assert first.end()[0] == 0
    assert token[16:] not in state.read_text()
    second = start("--state-file", str(state))
    found = Admin(second.url()).workloads("demo")
    assert [(each["id"], each["message"]) for each in found] == [(identifier, "by hand")]
    assert create(second.url(), token).json()["slug"] == "bot-1"


def test_a_state_file_survives_a_kill(start: Start, tmp_path: Path) -> None:
    """A change is in the file soon after it happened, whole, without an orderly end."""
    state = tmp_path / "state.json"
    simulator = start("--state-file", str(state))
    create(simulator.url(), simulator.token())
    wait_for(lambda: len(json.loads(state.read_bytes())["workloads"]) == 1)
    simulator.end(signal.SIGKILL)
    assert [path.name for path in tmp_path.glob(".state*")] == []
    again = start("--state-file", str(state))
    assert [each["slug"] for each in Admin(again.url()).workloads()] == ["bot"]
    assert state.stat().st_mode & 0o777 == 0o600


def test_state_is_restored_as_it_was() -> None:
    """What is saved and restored lists the same, and a workload on its way goes on from where it was."""
    now = [100.0]
    platform = Platform(Clock(monotonic=lambda: now[0], wall=lambda: now[0]))
    token = platform.mint("demo")
    platform.configure({"readiness": {"scheduling": 10}})
    row = platform.create(token, "demo", BODY)
    key = platform.mint_key("demo", "bot")
    now[0] += 4
    content = saved(platform)
    later = Platform(Clock(monotonic=lambda: now[0] + 1000, wall=lambda: now[0] + 1000))
    restore(later, content)
    assert later.list_workloads(token, "demo") == platform.list_workloads(token, "demo")
    assert later.reading(later.row("demo", "bot")).changes_in == pytest.approx(6)
    later.set_phase(later.row("demo", "bot"), "ready")
    assert later.serving(key, "demo", "bot").id == row.id


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"version": 99}'])
def test_a_file_that_is_something_else_is_refused(content: bytes) -> None:
    """A file that this simulator did not write is not taken for state."""
    with pytest.raises(ValueError, match=r".+"):
        restore(Platform(), content)


def test_the_environment_file_is_what_scripts_source(start: Start) -> None:
    """A shell that sources it has what the SDK looks for."""
    simulator = start()
    url = simulator.url()
    script = f'set -a; . "{simulator.env_file}"; echo "$INFERENCEKEY_BASE_URL $INFERENCEKEY_PROJECT"'
    shell = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True, env=dict(os.environ))
    assert shell.stdout.strip() == f"{url} demo"
