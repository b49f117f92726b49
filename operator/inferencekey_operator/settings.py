"""What the operator can be told at its start: every option as a flag and as an environment variable.

A flag wins over its variable, `INFERENCEKEY_OPERATOR_` and the flag's name. Durations are written `30`, `30s`, `10m`,
`1h` or `500ms`. A value that makes no sense ends the start with a message, before anything is touched.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from inferencekey_operator.api.workload import OnDrift
from inferencekey_operator.inferencekey.address import is_base_url, is_private, origin

MOST_SHARDS = 64
"""Each replica asks for each Lease that it does not hold, over and over."""
DEFAULT_BASE_URL = "https://api.inferencekey.com"
PREFIX = "INFERENCEKEY_OPERATOR_"
LEASE_OUTLASTS_CALLS = 2.0
"""Seconds by which a Lease is longer than a call at least: a leader that cannot renew must have stopped by its end."""
LEASE_RENEWED_WITHIN = 10.0
"""Seconds by which it is longer by default: nearly so long may an API server, or a process that gets no processor, take
to renew it before the leader gives up. Other controllers allow as much."""


@dataclass(frozen=True, slots=True)
class Settings:
    """One value per option; durations in seconds."""

    base_url: str = DEFAULT_BASE_URL
    allow_base_url: tuple[str, ...] = ()
    allow_insecure_base_url: tuple[str, ...] = ()
    namespace: tuple[str, ...] = ()
    secret_name: tuple[str, ...] = ("inferencekey",)
    on_drift: OnDrift = OnDrift.RECONCILE
    list_interval: float = 30.0
    readiness_interval: float = 600.0
    resync_period: float = 600.0
    deletion_grace: float = 600.0
    client_timeout: float = 10.0
    uncertain_create_timeout: float = 40.0
    lease_namespace: str | None = None
    lease_duration: float = 20.0
    shards: int = 1
    bind_address: str | None = None
    log_level: str = "info"
    log_format: str = "text"


def duration(text: str) -> float:
    """Seconds of `30`, `30s`, `10m`, `1h`, `500ms`; `0` is nothing."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|min|h)?\s*", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration: write 30s, 10m or 1h")
    return float(match[1]) * {"ms": 0.001, "m": 60.0, "min": 60.0, "h": 3600.0}.get(match[2] or "s", 1.0)


def positive(text: str) -> float:
    """A duration of more than nothing."""
    seconds = duration(text)
    if seconds <= 0:
        raise argparse.ArgumentTypeError("must be more than 0")
    return seconds


def shards(text: str) -> int:
    """A number of shards."""
    if not re.fullmatch(r"[0-9]{1,3}", text.strip()) or not 1 <= int(text) <= MOST_SHARDS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {MOST_SHARDS}")
    return int(text)


def policy(text: str) -> OnDrift:
    """One of the five drift policies."""
    found = OnDrift.parse(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not one of {', '.join(OnDrift)}")
    return found


def url(text: str) -> str:
    """An http or https base URL."""
    try:
        plain = origin(text) if is_base_url(text) else ""
    except ValueError:
        plain = ""
    if not plain:
        raise argparse.ArgumentTypeError("must be an http or https URL, without user, query or fragment")
    return plain


def name(text: str) -> str:
    """The name of a namespace or a Secret."""
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", text.strip()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a name: use lower-case letters, digits, - and .")
    return text.strip()


def address(text: str) -> str:
    """`[HOST]:PORT`."""
    port = text.rpartition(":")[2]
    if not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is not an address: write :8080 or 127.0.0.1:8080")
    return text


@dataclass(frozen=True, slots=True)
class _Option:
    name: str
    parse: Callable[[str], Any]
    metavar: str
    help: str
    repeatable: bool = False
    choices: tuple[str, ...] | None = None


_OPTIONS = (
    _Option("namespace", name, "NAME", "a namespace to watch; repeatable (default: all)", True),
    _Option(
        "secret-name",
        name,
        "NAME",
        "a name of Secrets that the operator can read; repeatable (default: inferencekey)",
        True,
    ),
    _Option("allow-base-url", url, "ORIGIN", "a further platform that a Secret can name; repeatable", True),
    _Option(
        "allow-insecure-base-url",
        url,
        "ORIGIN",
        "a platform on another host that can be called with http, which sends tokens in clear text; repeatable",
        True,
    ),
    _Option(
        "on-drift",
        policy,
        "POLICY",
        f"the drift policy if no annotation sets one: {', '.join(OnDrift)} (default: {OnDrift.RECONCILE})",
    ),
    _Option(
        "list-interval",
        positive,
        "DURATION",
        "how often to list each project: the longest time a drift can go unnoticed (default: 30s)",
    ),
    _Option(
        "readiness-interval",
        duration,
        "DURATION",
        "how often to re-check Workloads that are serving; 0: never (default: 10m)",
    ),
    _Option(
        "resync-period",
        positive,
        "DURATION",
        "how often to reconcile every Workload, in case a change was missed (default: 10m)",
    ),
    _Option(
        "deletion-grace",
        duration,
        "DURATION",
        "how long to wait for a token before releasing a deleted Workload without deleting it on the platform "
        "(default: 10m)",
    ),
    _Option("client-timeout", positive, "DURATION", "how long a call to the platform can take (default: 10s)"),
    _Option(
        "uncertain-create-timeout",
        duration,
        "DURATION",
        "how long the platform can take to carry out a write whose answer was lost, and lists to show a write "
        "(default: client timeout + 30s)",
    ),
    _Option("lease-namespace", str, "NAME", "the namespace of the Lease (default: the pod's, else default)"),
    _Option(
        "lease-duration",
        positive,
        "DURATION",
        "how long until a killed leader is replaced (default: client timeout + 10s)",
    ),
    _Option(
        "shards",
        shards,
        "NUMBER",
        f"the number of shards that the replicas share, at most {MOST_SHARDS}; with 1, one replica works (default: 1)",
    ),
    _Option("bind-address", address, "[HOST]:PORT", "serve /metrics, /healthz and /readyz there (default: off)"),
    _Option(
        "log-level",
        str.lower,
        "LEVEL",
        "debug, info, warning or error (default: info)",
        choices=("debug", "info", "warning", "error"),
    ),
    _Option("log-format", str.lower, "FORMAT", "text or json (default: text)", choices=("text", "json")),
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """All options, each with its variable in its help."""
    for option in _OPTIONS:
        parser.add_argument(
            f"--{option.name}",
            type=option.parse,
            metavar=option.metavar,
            choices=option.choices,
            action="append" if option.repeatable else "store",
            help=f"{option.help} [{_variable(option)}]",
        )


def read(
    parser: argparse.ArgumentParser, arguments: argparse.Namespace, environ: Mapping[str, str] = os.environ
) -> Settings:
    """The settings of these arguments and this environment; ends the program with a message where one is wrong."""
    values: dict[str, Any] = {}
    for option in _OPTIONS:
        attribute = option.name.replace("-", "_")
        given = getattr(arguments, attribute)
        if given is None:
            given = _from_environment(parser, option, environ)
        if given is not None:
            values[attribute] = tuple(given) if option.repeatable else given
    try:
        values["base_url"] = url(environ.get("INFERENCEKEY_BASE_URL") or DEFAULT_BASE_URL)
    except argparse.ArgumentTypeError as error:
        parser.error(f"INFERENCEKEY_BASE_URL: {error}")
    chosen = _follow_client_timeout(Settings(**values), values)
    _refuse_clear_text(parser, chosen)
    if chosen.lease_duration < chosen.client_timeout + LEASE_OUTLASTS_CALLS:
        parser.error(f"--lease-duration must be longer than --client-timeout by {LEASE_OUTLASTS_CALLS:g}s or more")
    return chosen


def _refuse_clear_text(parser: argparse.ArgumentParser, chosen: Settings) -> None:
    """A token goes over http to this machine only, unless that is allowed."""
    for stated, address in (
        ("INFERENCEKEY_BASE_URL", chosen.base_url),
        *(("--allow-base-url", each) for each in chosen.allow_base_url),
    ):
        if not is_private(address) and address not in chosen.allow_insecure_base_url:
            parser.error(
                f"{stated}: {address} would send tokens in clear text; use https, or allow it with "
                f"--allow-insecure-base-url {address}"
            )


def _follow_client_timeout(chosen: Settings, given: Mapping[str, Any]) -> Settings:
    """What was not given is as long as the calls to the platform ask for."""
    if "uncertain_create_timeout" not in given:
        chosen = replace(chosen, uncertain_create_timeout=chosen.client_timeout + 30.0)
    if "lease_duration" not in given:
        chosen = replace(chosen, lease_duration=chosen.client_timeout + LEASE_RENEWED_WITHIN)
    return chosen


def _from_environment(
    parser: argparse.ArgumentParser, option: _Option, environ: Mapping[str, str]
) -> Sequence[Any] | Any | None:
    text = environ.get(_variable(option))
    if not text:
        return None
    words = text.split(",") if option.repeatable else [text]
    try:
        parsed = [option.parse(word) for word in words]
    except argparse.ArgumentTypeError as error:
        parser.error(f"{_variable(option)}: {error}")
    if option.choices and parsed[0] not in option.choices:
        parser.error(f"{_variable(option)}: {text!r} is not one of {', '.join(option.choices)}")
    return parsed if option.repeatable else parsed[0]


def _variable(option: _Option) -> str:
    return PREFIX + option.name.upper().replace("-", "_")
