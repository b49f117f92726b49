"""A further platform at an address that is known before it is there: until then, connections are refused.

Knows how such an address is kept free and the simulator started at it; nothing of who calls it.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

from controlplane.children import bound_to_us
from harness.waiting import eventually
from inferencekey_simulator.admin import Admin


class Elsewhere:
    """An address on this machine, and the platform that may come up there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kept = socket.socket()
        self._kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._kept.bind(("127.0.0.1", 0))  # bound and not listening: nobody else gets it, and who connects is refused
        self._port: int = self._kept.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where the platform is to be."""
        return f"http://127.0.0.1:{self._port}"

    def come_up(self, project: str, token: str) -> Admin:
        """Back when the platform answers there, with one project and its token."""
        self._kept.close()
        ready = self._folder / "elsewhere-url"
        command = [sys.executable, "-m", "inferencekey_simulator", "serve", f"--port={self._port}"]
        options = [f"--url-file={ready}", f"--project={project}", f"--token={token}", "--readiness-seconds=0"]
        with (self._folder / "elsewhere-log").open("wb") as log:
            self._process = subprocess.Popen(
                bound_to_us([*command, *options]), stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        eventually(ready.exists, within=120)
        return Admin(self.url)

    def close(self) -> None:
        """End it, if it was started."""
        self._kept.close()
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
