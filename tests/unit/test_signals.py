"""A signal before the start is over: in the midst of the imports, and while the API server is silent."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

from unit.raw_server import raw_server, stays_silent
from unit.test_process import started

HELD = """
import os, sys

class Hold:
    def find_spec(self, name, path=None, target=None):
        if name in ("inferencekey_operator.settings", "inferencekey_operator.app.process"):
            os.write(1, b"importing")
            os.read(0, 1)

sys.meta_path.insert(0, Hold())
from inferencekey_operator.__main__ import main
sys.exit(main(["run"]))
"""
"""The command with an import that lasts for as long as standard input is silent."""


def as_pid_1() -> list[str]:
    """A command that runs what follows as PID 1 of a namespace, where this machine lets us; the signal passes by it."""
    return (
        ["unshare", "--fork", "--pid", "--kill-child=SIGTERM"] if shutil.which("unshare") and os.getuid() == 0 else []
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("in_a_namespace", [False, True])
async def test_a_signal_in_the_midst_of_the_imports_ends_the_process(
    number: signal.Signals, in_a_namespace: bool
) -> None:
    """At once, with 0 and without a word: as PID 1 too, to which the kernel hands no signal that has no handler."""
    around = as_pid_1() if in_a_namespace else []
    if in_a_namespace and not around:
        pytest.skip("a PID namespace takes unshare and root")
    process = await asyncio.create_subprocess_exec(
        *(*around, sys.executable, "-c", HELD),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    async with asyncio.timeout(60):
        await process.stdout.readexactly(len(b"importing"))
        os.kill(_child_of(process.pid) if around else process.pid, number)
        _, said = await process.communicate()
    assert (process.returncode, said) == (0, b"")


def _child_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


async def test_a_signal_while_the_api_server_is_silent_ends_the_start(tmp_path: Path) -> None:
    """Also at once: nobody waits until its first answer is overdue."""
    async with raw_server(stays_silent) as server:
        process = await started(tmp_path, server.url)
        async with asyncio.timeout(60):
            await server.arrived.wait()
            process.terminate()
            _, said = await process.communicate()
        assert process.returncode == 0
        assert b"stopped during startup" in said
