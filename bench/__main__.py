"""The command line: `python -m bench run`, which is `make bench`; `show` and `docs` of a result that is there.

Exit code 0 when all was measured, whatever it was; 1 when it could not be, with a message; 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

import httpx
from rich.console import Console

from bench import page, results, table
from bench.figures import OURS
from bench.options import PEERS, QUICK, Options
from bench.run import run
from controlplane.access import KubectlFailedError
from controlplane.build import BuildFailedError
from controlplane.cluster import ComponentFailedError
from controlplane.lookup import NoControlPlaneError
from controlplane.processes import ProcessError
from controlplane.progress import Progress
from demo.children import ChildEndedError
from inferencekey_operator.settings import positive
from inferencekey_simulator.admin import AdminError

RESULTS = Path(__file__).parent / "results"
_EXPECTED = (
    AdminError,
    AssertionError,
    BuildFailedError,
    ChildEndedError,
    ComponentFailedError,
    KubectlFailedError,
    NoControlPlaneError,
    OSError,
    ProcessError,
    RuntimeError,
    ValueError,
    httpx.HTTPError,
    subprocess.TimeoutExpired,
)


def parser() -> argparse.ArgumentParser:
    """Of the command line."""
    top = argparse.ArgumentParser("python -m bench", description=__doc__.partition("\n")[0])
    commands = top.add_subparsers(dest="command", required=True)
    measure = commands.add_parser("run", help="measure, and show what was found")
    measure.add_argument("--quick", action="store_true", help="few Workloads, once: to see that it works")
    measure.add_argument("-n", "--sizes", type=_sizes, metavar="N,…", help="Workloads (default: 1000)")
    measure.add_argument("--rounds", type=_count, metavar="COUNT", help="repetitions (default: 3)")
    measure.add_argument("--peers", type=_peers, metavar="NAME,…", help=f"of {', '.join(PEERS)}; none (default: all)")
    measure.add_argument("--peers-up-to", type=_count, metavar="N", help="plain only so far (default: 1000)")
    measure.add_argument("--interval", type=positive, metavar="DURATION", help="between two looks (default: 30s)")
    measure.add_argument("--output", type=Path, metavar="FILE", help="the result (default: bench/results/DATE.json)")
    commands.add_parser("show", help="the table of a result").add_argument("result", type=Path, metavar="RESULT")
    pages = commands.add_parser("docs", help="put results into README.md, docs/cost.md and docs/scale.md")
    pages.add_argument("results", type=Path, metavar="RESULT", nargs="+")
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    given = parser().parse_args(arguments)
    for name in ("no_proxy", "NO_PROXY"):
        os.environ[name] = ",".join(filter(None, (os.environ.get(name), "127.0.0.1,localhost")))
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        _do(given)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except _EXPECTED as error:
        print(f"\nerror: {error}", file=sys.stderr)
        return 1
    return 0


def _do(given: argparse.Namespace) -> None:
    if given.command == "docs":
        page.publish([results.read(path) for path in given.results])
    elif given.command == "show":
        table.show(results.read(given.result), Console())
    else:
        path = given.output or RESULTS / f"{datetime.now(UTC):%Y-%m-%dT%H%M%S}.json"
        found = run(_options(given), path, Progress(sys.stderr))
        table.show(found, Console())
        print(f"{path}\nTo put it into the page: python -m bench docs {path}")
        if any(each.gave_up for each in found.rounds if each.contestant == OURS):
            raise RuntimeError(
                "the operator has not come to the end of all scenarios; what it came to is in the result"
            )


def _options(given: argparse.Namespace) -> Options:
    chosen = QUICK if given.quick else Options()
    names = ("sizes", "rounds", "peers", "peers_up_to", "interval")
    return replace(chosen, **{name: value for name in names if (value := getattr(given, name)) is not None})


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(sorted(_count(word) for word in text.split(",")))


def _count(text: str) -> int:
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text} is none")
    return value


def _peers(text: str) -> tuple[str, ...]:
    named = () if text == "none" else tuple(text.split(","))
    if unknown := set(named) - set(PEERS):
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: there are {', '.join(PEERS)}, or none")
    return named


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
