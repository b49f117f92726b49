"""The command line: `inferencekey-simulator serve`.

Decides the options, what is written for scripts and for people, and when the process ends. Never logs a
secret; the token is shown on the terminal once, and only when no file was named to put it into.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import shlex
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from inferencekey_simulator.app import serving
from inferencekey_simulator.platform import Platform
from inferencekey_simulator.settings import ReadinessSettings, Settings
from inferencekey_simulator.state_file import kept_in, write_whole

_DESCRIPTION = """\
Serve a simulated InferenceKey platform: the control plane and the data plane, without an account and
without GPUs. Point the InferenceKey SDK or the operator at it with INFERENCEKEY_BASE_URL.
"""
_EPILOG = """\
The platform is controlled from outside under /simulator/ (faults, drift, readiness, the record of requests):
see inferencekey_simulator.admin_api, and inferencekey_simulator.admin.Admin for its client in Python.
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    raw = argparse.RawDescriptionHelpFormatter
    top = argparse.ArgumentParser(
        "inferencekey-simulator", description=_DESCRIPTION, epilog=_EPILOG, formatter_class=raw
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    serve = commands.add_parser(
        "serve",
        help="serve the platform until it is interrupted",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=raw,
    )
    _add_platform_options(serve)
    _add_process_options(serve)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return 0 after a clean end, 1 when it could not start."""
    options = parser().parse_args(arguments)
    logging.basicConfig(
        level=logging.INFO if options.verbose else logging.WARNING,
        format="%(asctime)s %(message)s",
        stream=sys.stderr,
    )
    try:
        asyncio.run(_serve(options))
    except (OSError, ValueError) as error:
        sys.stderr.write(f"inferencekey-simulator: {error}\n")
        return 1
    return 0


def _add_platform_options(serve: argparse.ArgumentParser) -> None:
    serve.add_argument(
        "--project",
        action="append",
        metavar="SLUG",
        help="a project to make, with a token of its own; repeatable (default: demo)",
    )
    serve.add_argument(
        "--token",
        help="the control token of the first project, ik_sdk_<8 hex>_<64 hex> (default: a new one)",
    )
    serve.add_argument(
        "--state-file",
        type=Path,
        metavar="FILE",
        help="keep workloads and credentials in this file, so that they survive a restart",
    )
    serve.add_argument(
        "--latency",
        type=_seconds,
        default=0.0,
        metavar="SECONDS",
        help="how long every request waits before it is handled (default: 0)",
    )
    serve.add_argument(
        "--readiness-seconds",
        type=_seconds,
        default=1.5,
        metavar="SECONDS",
        help="how long a new workload takes until it serves; 0 is at once (default: 1.5)",
    )


def _add_process_options(serve: argparse.ArgumentParser) -> None:
    serve.add_argument(
        "--host",
        default="127.0.0.1",
        help="the address to listen on (default: 127.0.0.1); whoever reaches it controls the simulator",
    )
    serve.add_argument(
        "--port", type=_port, default=8700, help="the port to listen on; 0 picks a free one (default: 8700)"
    )
    serve.add_argument(
        "--url-file",
        "--ready-file",
        type=Path,
        metavar="FILE",
        help="write the URL here once requests are answered; removed at the end",
    )
    serve.add_argument(
        "--env-file",
        type=Path,
        metavar="FILE",
        help="write the base URL, the first project and its token here, readable by you alone, as"
        " INFERENCEKEY_… variables, for kubectl create secret generic --from-env-file",
    )
    serve.add_argument(
        "--exit-with-stdin",
        action="store_true",
        help="end when standard input is closed, as it is when the parent process is gone",
    )
    serve.add_argument("--verbose", action="store_true", help="log every request to standard error")


async def _serve(options: argparse.Namespace) -> None:
    stop = _stop_event(options.exit_with_stdin)
    readiness = ReadinessSettings.lasting(options.readiness_seconds)
    if options.url_file:
        options.url_file.unlink(missing_ok=True)  # one that a killed predecessor left would be believed
    platform = Platform(settings=Settings(latency=options.latency, readiness=readiness))
    projects: list[str] = options.project or ["demo"]
    async with AsyncExitStack() as stack:
        if options.state_file:
            await stack.enter_async_context(kept_in(options.state_file, platform))
        fixed = [options.token, *[None] * len(projects)]
        tokens = {name: platform.mint(name, token=token) for name, token in zip(projects, fixed, strict=False)}
        url = await stack.enter_async_context(serving(platform, options.host, options.port))
        if options.url_file:
            stack.callback(options.url_file.unlink, missing_ok=True)
        _announce(options, url, tokens)
        await stop.wait()


def _announce(options: argparse.Namespace, url: str, tokens: dict[str, str]) -> None:
    project, token = next(iter(tokens.items()))
    environment = _environment(url, project, token)
    if options.env_file:
        write_whole(options.env_file, environment.encode())
    sys.stdout.write(_welcome(url, tokens, options.env_file) + "\n")
    sys.stdout.flush()
    if options.url_file:
        write_whole(options.url_file, f"{url}\n".encode(), mode=0o644)


def _environment(url: str, project: str, token: str) -> str:
    return f"INFERENCEKEY_BASE_URL={url}\nINFERENCEKEY_PROJECT={project}\nINFERENCEKEY_SDK_TOKEN={token}\n"


def _welcome(url: str, tokens: dict[str, str], env_file: Path | None) -> str:
    if env_file:
        path = shlex.quote(str(env_file.absolute()))
        sdk = f"  set -a; . {path}; set +a"
        secret = f"  kubectl create secret generic inferencekey --from-env-file={path}"
    else:
        sections = [_environment(url, project, token).splitlines() for project, token in tokens.items()]
        sdk = "\n\n".join("\n".join(f"  export {line}" for line in section) for section in sections)
        create = "kubectl create secret generic inferencekey --from-env-file=/dev/stdin"
        secret = f"  env | grep '^INFERENCEKEY_' | {create}"
    return (
        f"InferenceKey platform simulator at {url}, projects: {', '.join(tokens)}\n\n"
        f"For the InferenceKey SDK (and for the operator, which takes the base URL from it):\n{sdk}\n\n"
        f"For the operator's Workloads, in each namespace that has some:\n{secret}\n\n"
        f"What was asked of it:  curl {url}/simulator/requests\nCtrl-C ends it."
    )


def _stop_event(with_stdin: bool) -> asyncio.Event:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    if with_stdin:
        threading.Thread(target=_watch_stdin, args=[loop, stop], daemon=True).start()
    return stop


def _watch_stdin(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    while os.read(0, 4096):
        pass
    loop.call_soon_threadsafe(stop.set)


def _port(text: str) -> int:
    value = int(text)
    if not 0 <= value <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is not a port")
    return value


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds")
    return value


if __name__ == "__main__":
    sys.exit(main())
