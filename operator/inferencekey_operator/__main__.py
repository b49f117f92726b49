"""The command line: signals, then settings, then the parts, then kopf.

Importing the parts takes a second. The kernel ignores a SIGTERM to PID 1 of a container that has no handler for it, so
the handler comes first; what is imported above it takes milliseconds.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit code is for the shell: 0 done, 1 failed, 2 wrongly called."""
    before = {number: signal.signal(number, _end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        return _run(arguments)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(*_: object) -> None:
    """There is nothing to stop or to give up yet. An exception could be caught by what is being imported."""
    os._exit(0)


def _run(arguments: Sequence[str] | None) -> int:
    import argparse
    import asyncio
    from importlib.metadata import version

    from inferencekey_operator import settings as options
    from inferencekey_operator.app.process import serve

    parser = argparse.ArgumentParser(
        prog="inferencekey-operator",
        description="A Kubernetes operator for InferenceKey: makes the platform match what Workloads declare.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('inferencekey-operator')}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser(
        "run",
        help="reconcile Workloads, in a cluster or against the current kubeconfig",
        description="Reconcile Workloads against the current kubeconfig, or in a cluster. All it needs is the CRD "
        "(inferencekey-operator crd | kubectl apply --server-side -f -). INFERENCEKEY_BASE_URL is the platform. Each "
        "option can be given as a flag or as the variable in brackets.",
    )
    options.add_options(run)
    commands.add_parser("crd", help="print the CustomResourceDefinition")
    given = parser.parse_args(arguments)
    if given.command == "crd":
        from inferencekey_operator.crd.schema import render  # not needed to run

        sys.stdout.write(render())
        return 0
    return asyncio.run(serve(options.read(run, given)))


if __name__ == "__main__":
    sys.exit(main())
