"""Runs the credential plugin of a kubeconfig, as EKS, GKE and AKS have them, and reads what it hands out.

The official client reads the plugin's configuration; but it logs a failure and continues without credentials, and waits
without limit for a plugin that hangs. What a plugin prints to standard output is secret, and is in no error.
"""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from inferencekey_operator.kube.official import exec_provider
from inferencekey_operator.redaction import excerpt

LONGEST = 30.0
"""Seconds that a plugin may take: some ask a person's browser, which nobody watches here."""


class PluginError(Exception):
    """A plugin handed out nothing that could be used; the message says which plugin, and why."""


@dataclass(frozen=True, slots=True)
class ExecCredential:
    """What a plugin handed out."""

    token: str = field(default="", repr=False)
    certificate: str = field(default="", repr=False)
    key: str = field(default="", repr=False)
    expires_at: float = float("inf")
    """In seconds since the epoch."""


async def run(configuration: Any, folder: str) -> ExecCredential:
    """Run it once. As for kubectl, a relative path, unlike a mere name, is one from the kubeconfig's `folder`.

    Raises PluginError, or the official client's error for a configuration that is none.
    """
    plugin = exec_provider.ExecProvider(configuration)  # type: ignore[no-untyped-call]
    if os.path.dirname(str(plugin.args[0])):
        plugin.args[0] = os.path.join(folder, str(plugin.args[0]))
    name = excerpt(str(plugin.args[0]), 128)
    info = {"apiVersion": plugin.api_version, "kind": "ExecCredential", "spec": {"interactive": False}}
    environment = {**plugin.env, "KUBERNETES_EXEC_INFO": json.dumps(info)}
    try:
        return _read(await _output(plugin.args, environment), plugin.api_version)
    except PluginError as error:
        raise PluginError(f'the credential plugin "{name}" {error}') from None


async def _output(command: list[str], environment: dict[str, str]) -> bytes:
    pipes = {"stdin": asyncio.subprocess.DEVNULL, "stdout": asyncio.subprocess.PIPE, "stderr": asyncio.subprocess.PIPE}
    try:
        process = await asyncio.create_subprocess_exec(*map(str, command), env=environment, **pipes)  # type: ignore[arg-type]
    except OSError as error:
        raise PluginError(f"cannot be run: {error.strerror}") from error
    try:
        async with asyncio.timeout(LONGEST):
            output, said = await process.communicate()
    except TimeoutError:
        raise PluginError(f"did not end within {LONGEST:.0f} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        last = said.decode(errors="replace").strip().rpartition("\n")[2]
        raise PluginError(f"exited with {process.returncode}: {excerpt(last, 256) or 'without a message'}")
    return output


def _read(output: bytes, api_version: str) -> ExecCredential:
    try:
        printed = json.loads(output)
        status = printed["status"] if printed["kind"] == "ExecCredential" else None
    except (ValueError, KeyError, TypeError, RecursionError):
        status = None
    if not isinstance(status, dict) or printed.get("apiVersion") != api_version:
        raise PluginError(f"printed no ExecCredential of {excerpt(api_version, 64)}")
    token, certificate, key = (status.get(name) or "" for name in ("token", "clientCertificateData", "clientKeyData"))
    if not all(isinstance(each, str) for each in (token, certificate, key)) or bool(certificate) != bool(key):
        raise PluginError("printed an ExecCredential that cannot be read")
    if not (token or certificate):
        raise PluginError("handed out neither a token nor a client certificate")
    return ExecCredential(token, certificate, key, _moment(status.get("expirationTimestamp")))


def _moment(text: object) -> float:
    if text is None:
        return float("inf")
    try:
        moment = datetime.fromisoformat(str(text))
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise PluginError("printed an expirationTimestamp that cannot be read") from None
