"""The command line: settings, then the parts, then kopf."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence

from inferencekey_operator import settings as options
from inferencekey_operator.process import serve


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit code is for the shell: 0 done, 1 failed, 2 wrongly called."""
    parser = argparse.ArgumentParser(
        prog="inferencekey-operator",
        description="A Kubernetes operator for InferenceKey: makes the platform match what Workloads declare.",
    )
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
        from inferencekey_operator.schema import render  # not needed to run

        sys.stdout.write(render())
        return 0
    return asyncio.run(serve(options.read(run, given)))


if __name__ == "__main__":
    sys.exit(main())
