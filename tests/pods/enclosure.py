"""Namespaces in which a node is put up, so that nothing of the machine changes; they end with their first process.

Run as a module, this file is that process where a node is: it lays out network and file system, and runs a command.
Knows nothing of Kubernetes but the three networks, and where a kubelet and a container runtime write.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

FOLDER = "PODS_FOLDER"
"""The variable that names the enclosure's folder to what runs in it; unset where there is none."""
NODE_ADDRESS = "10.1.0.1"
POD_NETWORK = "10.244.0.0/24"
_SERVICE_NETWORK = "10.0.0.0/24"
_LAY_OVER_USR = 'mount -t overlay overlay -o "lowerdir=$0/usr:/usr" /usr && exec "$@"'
_SYSCTLS = (
    "kernel/keys/root_maxbytes",
    "kernel/keys/root_maxkeys",
    "kernel/panic",
    "kernel/panic_on_oops",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
)
"""What a kubelet sets for all of the machine: it gets files instead."""


def enclosed(packages: Path, command: list[str]) -> list[str]:
    """The command with packages laid over /usr, on the machine's network; what it starts and mounts ends with it."""
    spaces = ["--mount", "--pid", "--ipc", "--propagation=private", "--fork", "--kill-child", "--mount-proc"]
    return ["unshare", *spaces, "sh", "-c", _LAY_OVER_USR, str(packages), *command]


def secluded(packages: Path, folder: Path, command: list[str]) -> list[str]:
    """The same on a network of its own, laid out for a node whose files are in `folder`."""
    first = [sys.executable, "-m", "pods.enclosure", str(folder), *command]
    return ["unshare", "--net", "--uts", *enclosed(packages, first)]


def _lay_out(folder: Path) -> None:
    _run("ip", "link", "set", "lo", "up")
    _run("ip", "link", "add", "node0", "type", "bridge")
    _run("ip", "address", "add", f"{NODE_ADDRESS}/32", "dev", "node0")
    _run("ip", "link", "set", "node0", "up")
    _run("ip", "route", "add", _SERVICE_NETWORK, "dev", "node0")
    for path in ("/run", "/var/log"):
        _run("mount", "-t", "tmpfs", "tmpfs", path)
    state = folder / "var-lib"
    state.mkdir()
    _run("mount", "--bind", str(state), "/var/lib")
    for number, name in enumerate(_SYSCTLS):
        real, ours = Path("/proc/sys") / name, folder / f"sysctl-{number}"
        ours.write_text(real.read_text())
        _run("mount", "--bind", str(ours), str(real))


def _run(*command: str) -> None:
    subprocess.run(command, check=True)


def _outlive(command: list[str]) -> int:
    """Run the command, and bury whatever loses its parent meanwhile; its exit code."""
    process = subprocess.Popen(command)
    while True:
        with suppress(KeyboardInterrupt):  # it hears of Ctrl-C, too
            pid, status = os.wait()
            if pid == process.pid:
                return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    _lay_out(Path(sys.argv[1]))
    sys.exit(_outlive(sys.argv[2:]))
