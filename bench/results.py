"""A result as a file: JSON, written whole after each round, and read again by what shows it."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from pydantic import TypeAdapter

from bench.numbers import Conditions, Result
from bench.options import Options
from controlplane.pins import etcd_version, kubernetes_version

_RESULT = TypeAdapter(Result)
_PACKAGES = ("inferencekey-operator", "kopf", "aiohttp", "httpx", "pydantic", "inferencekey")


def conditions(options: Options) -> Conditions:
    """Of a run that begins now."""
    return Conditions(
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        commit=_commit(),
        machine=f"{_processor()}, {_memory_gib():.0f} GiB, {platform.system()}",
        cores=len(os.sched_getaffinity(0)),
        load_before=round(os.getloadavg()[0], 2),
        versions={
            "python": platform.python_version(),
            "Kubernetes": kubernetes_version(),
            "etcd": etcd_version(),
            **{name: version(name) for name in _PACKAGES},
        },
        interval=options.interval,
        sizes=options.sizes,
        rounds=options.rounds,
    )


def write(result: Result, path: Path) -> None:
    """In one step: whoever interrupts finds the one before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".new")
    beside.write_bytes(_RESULT.dump_json(result, indent=1) + b"\n")
    beside.replace(path)


def read(path: Path) -> Result:
    """What `write` wrote; raises ValueError where it is something else."""
    return _RESULT.validate_json(path.read_bytes())


def _commit() -> str:
    """With a sign where files differ from it; `unknown` outside a checkout."""
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent,
    )
    return described.stdout.strip() or "unknown"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
