"""From a Secret to a token, a project and a platform; each way in which that can fail is a reason of its own.

Pure: the Secret's data comes in as text, None where there is no such Secret. Never falls back to another Secret,
another key or another platform: a token must not go where it was not meant to.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from inferencekey_operator.api.validation import CANONICAL_SLUG, CREDENTIAL
from inferencekey_operator.api.workload import RECONCILE_REQUESTED_AT, Workload
from inferencekey_operator.errors import Actor, ConfigurationError, OperatorError, Reason
from inferencekey_operator.inferencekey.address import is_base_url, origin
from inferencekey_operator.plan.plan import Identity
from inferencekey_operator.redaction import excerpt, printable, within_bytes

TOKEN_KEY = "INFERENCEKEY_SDK_TOKEN"  # noqa: S105 - the name of a key
PROJECT_KEY = "INFERENCEKEY_PROJECT"
BASE_URL_KEY = "INFERENCEKEY_BASE_URL"

OF_THE_TOKEN = frozenset(
    (Reason.TOKEN_REJECTED, Reason.PROJECT_MISMATCH, Reason.SCOPE_INSUFFICIENT, Reason.WRONG_CREDENTIAL_TYPE)
)
"""What the platform says of a token that another token would mend."""

_A_TOKEN = "<your ik_sdk_ token>"  # noqa: S105 - what stands in a message for one

LONGEST_PROJECT = 253
"""Characters of a project's slug, as in `spec.project`: the schema cannot look into a Secret."""

LONGEST_VALUE = 1024
"""Bytes of a value in a Secret: a token has 80, and an address fewer than this."""
TOO_LONG = "\x00too long"
"""Stands in the place of a longer one, which is not kept."""

_MOST_QUOTED = 64
"""Characters of a value in a message."""
_MOST_QUOTED_BYTES = 96
"""Bytes of it in UTF-8: the command at the end of the message must keep its place."""
_MOST_URL = 253
"""Characters of an address in a message."""
_MOST_READ = 4_096
"""Characters of a value that are searched for a token: more than `excerpt` reads."""

_SLUG = re.compile(CANONICAL_SLUG)
_CONTROL_TOKEN = re.compile(r"ik_sdk_[0-9a-f]{8}_[0-9a-f]{64}")
_TOKEN_ANYWHERE = re.compile(CREDENTIAL, re.IGNORECASE)
_MAY_BE_TOKEN = re.compile(f"{CREDENTIAL}|[0-9a-f]{{32}}", re.IGNORECASE)
"""A credential, or half of its secret: the prefix can be missing or misspelled."""


@dataclass(frozen=True, slots=True)
class Credential:
    """What one Secret gives: a token, shown to nobody, and where it goes."""

    token: str = field(repr=False)
    project: str
    base_url: str
    names_platform: bool = False
    """Whether the Secret names the platform; else it is the operator's own."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """What the operator was started with: its platform, and which Secrets and further platforms it accepts."""

    base_url: str
    secret_names: Collection[str]
    base_urls: Collection[str] = ()


def credential(workload: Workload, secret: Mapping[str, str] | None, allowed: Allowed) -> Credential:
    """The credential of `workload`; raises ConfigurationError with the command that mends it."""
    ref = workload.spec.token_secret_ref
    if ref.name not in allowed.secret_names:
        names = sorted(allowed.secret_names)
        flags = " ".join(f"--secret-name {name}" for name in (*names, ref.name))
        raise ConfigurationError(
            Reason.SECRET_NOT_ALLOWED,
            f"Secret {ref.name} is not one that this operator may read ({', '.join(names)}). Use one of those "
            f"({workload.command_to_set(tokenSecretRef={'name': names[0]})}), or start the operator with {flags}",
        )
    if secret is None:
        raise ConfigurationError(
            Reason.SECRET_NOT_FOUND,
            f"There is no Secret {ref.name} in namespace {workload.namespace}. Put the line {ref.key}={_A_TOKEN} "
            + ("" if workload.spec.project else f"and the line {PROJECT_KEY}=<project slug> ")
            + f"into a file platform.env, and run: {_create_secret(workload)}",
        )
    token, base_url = _token(workload, secret), _base_url(workload, secret, allowed)
    return Credential(token, _project(workload, secret), base_url, bool(secret.get(BASE_URL_KEY, "").strip()))


def identity(workload: Workload, credential: Credential) -> Identity:
    """Who this Workload is on the platform; raises where that is no longer what it was.

    Pins and `endpoint.url` are written together. Where only the URL is right, hands changed the pins: they do not
    count, and the next status corrects them.
    """
    current = Identity(credential.base_url, credential.project, workload.effective_slug)
    pinned = pinned_identity(workload)
    if pinned is None or pinned == current or workload.status.endpoint.url == current.url:
        return current
    moved = [
        f"{what} was {old}, is {new}"
        for what, old, new in (
            ("platform", pinned.platform_url, current.platform_url),
            ("project", pinned.project, current.project),
            ("slug", pinned.slug, current.slug),
        )
        if old != new
    ]
    raise ConfigurationError(
        Reason.IDENTITY_CHANGED,
        f"The identity of a workload cannot change: {'; '.join(moved)}. Nothing was called. "
        f"{_way_back(workload, credential, pinned, current)}To move for good, declare a new Workload for the new "
        f"place, and delete this one: kubectl delete {workload.argument}",
    )


def _way_back(workload: Workload, credential: Credential, pinned: Identity, current: Identity) -> str:
    """What sets it back, and whose setting that is: what the spec says of an identity cannot be changed any more."""
    if pinned.platform_url != current.platform_url and not credential.names_platform:
        return (
            f"This operator calls {current.platform_url}, because its INFERENCEKEY_BASE_URL says so. If that is wrong, "
            f"start it with INFERENCEKEY_BASE_URL={pinned.platform_url}. If both are right, start it with "
            f"--allow-base-url {pinned.platform_url}, and name the platform in the Secret: "
            f"{_patch(workload, BASE_URL_KEY, pinned.platform_url)}. "
        )
    if pinned.platform_url != current.platform_url:
        return f"To set the Secret back, run: {_patch(workload, BASE_URL_KEY, pinned.platform_url)}. "
    if pinned.project != current.project and not workload.spec.project:
        return f"To set the Secret back, run: {_patch(workload, PROJECT_KEY, pinned.project)}. "
    return ""


def pinned_identity(workload: Workload) -> Identity | None:
    """The identity that was used first, out of the status."""
    status = workload.status
    if status.platform_url and status.project_slug and status.workload_slug:
        return Identity(status.platform_url, status.project_slug, status.workload_slug)
    return None


def pins(who: Identity | None) -> dict[str, str | None]:
    """The fields of a status that pin an identity, by attribute name; without one, that remove it."""
    place = (who.platform_url, who.project, who.slug) if who is not None else (None, None, None)
    return dict(zip(("platform_url", "project_slug", "workload_slug"), place, strict=True))


def refuse_secrets(declared: Mapping[str, Any]) -> None:
    """Raises where anything that looks like a token stands anywhere in the declaration, keys included."""
    for path, text in _texts(declared, ""):
        if _TOKEN_ANYWHERE.search(text):
            raise ConfigurationError(
                Reason.SECRET_IN_SPEC,
                f"The declaration holds what looks like a token, at {path or 'a key'}. Nothing was sent. Take it out, "
                "and revoke it in the dashboard: whoever can read this Workload has seen it.",
            )


def _token(workload: Workload, secret: Mapping[str, str]) -> str:
    ref = workload.spec.token_secret_ref
    token = secret.get(ref.key, "").strip()
    if token == TOO_LONG:
        raise ConfigurationError(
            Reason.TOKEN_MALFORMED,
            f"Key {ref.key} of Secret {ref.name} holds more than {LONGEST_VALUE:,} bytes, and a token has 80. Copy the "
            f"token again. {_set_token(workload)}",
        )
    if not token:
        raise ConfigurationError(
            Reason.SECRET_KEY_NOT_FOUND,
            f"Secret {ref.name} has no key {ref.key}, or it is empty. {_set_token(workload)}",
        )
    if token.startswith("ik_live_"):
        raise ConfigurationError(
            Reason.WRONG_CREDENTIAL_TYPE,
            f"Key {ref.key} of Secret {ref.name} holds an ik_live_ key, which serves requests. The operator needs an "
            f"ik_sdk_ token. Mint one in the dashboard. {_set_token(workload)}",
        )
    if not _CONTROL_TOKEN.fullmatch(token):
        raise ConfigurationError(
            Reason.TOKEN_MALFORMED,
            f"Key {ref.key} of Secret {ref.name} is not of the form ik_sdk_<8 hex>_<64 hex>: {_flaw(token)}. Copy the "
            f"token again. {_set_token(workload)}",
        )
    return token


def _flaw(token: str) -> str:
    """What is wrong with its form, without a part of it."""
    if token[:1] in "\"'`" or token[-1:] in "\"'`":
        return "it is in quotes"
    if any(character.isspace() for character in token):
        return "it has white space in it"
    if not token.startswith("ik_sdk_"):
        return "it does not begin with ik_sdk_"
    public, _, secret = token.removeprefix("ik_sdk_").partition("_")
    for digits, of in ((public, 8), (secret, 64)):
        if len(digits) != of:
            return f"{len(digits)} of {of} digits are there"
    return "it has characters that are not lower-case hexadecimal digits"


def _project(workload: Workload, secret: Mapping[str, str]) -> str:
    ref = workload.spec.token_secret_ref
    project = workload.spec.project or secret.get(PROJECT_KEY, "").strip()
    if not project:
        raise ConfigurationError(
            Reason.PROJECT_NOT_SET,
            f"Neither spec.project nor the key {PROJECT_KEY} of Secret {ref.name} names a project. To set one, run: "
            + _patch(workload, PROJECT_KEY, "<project slug>"),
        )
    if len(project) <= LONGEST_PROJECT and _SLUG.fullmatch(project):
        return project
    if workload.spec.project:
        where = "The project of this Workload is"
        remedy = "A Workload cannot change its project. To replace it, declare another one, and delete this one: "
        command = f"kubectl delete {workload.argument}"
    else:
        where, remedy = f"Key {PROJECT_KEY} of Secret {ref.name} holds", "To set it, run: "
        command = _patch(workload, PROJECT_KEY, "<project slug>")
    raise ConfigurationError(
        Reason.PROJECT_NOT_SET,
        f"{where} {quoted(project)}, which is not a project slug. Nothing was called. A slug has lower-case ASCII "
        f"letters and digits with single dashes between them, at most {LONGEST_PROJECT} characters, as in team-a. "
        f"{remedy}{command}",
    )


def quoted(text: str) -> str:
    """The beginning of `text` in quotes; never what may be a token, even a token that is cut, split or misspelled."""
    if text == TOO_LONG:
        return f"more than {LONGEST_VALUE:,} bytes"
    if _MAY_BE_TOKEN.search("".join(printable(text[:_MOST_READ]).split())):
        return "what looks like a token"
    return f'"{within_bytes(excerpt(text, _MOST_QUOTED), _MOST_QUOTED_BYTES)}"'


def _base_url(workload: Workload, secret: Mapping[str, str], allowed: Allowed) -> str:
    own = origin(allowed.base_url)
    stated = secret.get(BASE_URL_KEY, "").strip()
    if not stated:
        return own
    try:
        wanted = origin(stated)
    except ValueError:
        wanted = ""
    if wanted and wanted in {own, *map(origin, allowed.base_urls)}:
        return wanted
    ref = workload.spec.token_secret_ref
    known = is_base_url(wanted) and not _MAY_BE_TOKEN.search(wanted)
    shown = excerpt(wanted, _MOST_URL) if known else "what is no base URL"
    allow = f"To allow it, start the operator with --allow-base-url {shown}. " if known else ""
    raise ConfigurationError(
        Reason.BASE_URL_NOT_ALLOWED,
        f"This operator calls {own}, and key {BASE_URL_KEY} of Secret {ref.name} names {shown}, which it may not call. "
        f"Nothing was called. {allow}To correct the key, run: {_patch(workload, BASE_URL_KEY, own)}",
    )


def with_remedy(workload: Workload, error: OperatorError) -> OperatorError:
    """`error` with the command that mends it, where who raised it knew nothing of this Workload or of its Secret."""
    if error.reason.actor is not Actor.PERSON or "kubectl" in error.message:
        return error
    return ConfigurationError(error.reason, f"{error.message} {_remedy(workload, error)}")


def _remedy(workload: Workload, error: OperatorError) -> str:
    if error.reason in OF_THE_TOKEN:
        return _set_token(workload)
    if error.reason is not Reason.PLATFORM_REFUSED or "the spec" in error.message:
        return f"kubectl edit {workload.argument}"
    again = f"{RECONCILE_REQUESTED_AT}=$(date +%s)"
    return f"Then have it tried again: kubectl annotate {workload.argument} --overwrite {again}"


def _set_token(workload: Workload) -> str:
    """How to set the token, and no other key, without a token on a command line."""
    return (
        f"Put the line {workload.spec.token_secret_ref.key}={_A_TOKEN} into a file platform.env, and run: "
        f"{_create_secret(workload)} --dry-run=client -o yaml | kubectl apply --server-side --force-conflicts -f -"
    )


def _create_secret(workload: Workload) -> str:
    name = workload.spec.token_secret_ref.name
    return f"kubectl create secret generic {name} -n {workload.namespace} --from-env-file=platform.env"


def _patch(workload: Workload, key: str, value: str) -> str:
    """The command. What others wrote is quoted, as it may be pasted into a shell."""
    name, namespace = workload.spec.token_secret_ref.name, workload.namespace
    patch = json.dumps({"stringData": {key: value}}, separators=(",", ":"), ensure_ascii=False).replace("'", "'\\''")
    return f"kubectl patch secret {name} -n {namespace} --type merge -p '{patch}'"


def _texts(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield path, str(key)
            yield from _texts(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from _texts(item, f"{path}[{number}]")
