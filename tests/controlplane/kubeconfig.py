"""Kubeconfig files: who somebody is, and at which server.

Decides their shape and their mode (0600: they hold credentials). Knows no cluster.
"""

from __future__ import annotations

import base64
import json
import os
from dataclasses import dataclass
from pathlib import Path

from controlplane.certificates import KeyPair


@dataclass(frozen=True)
class Server:
    """Where an API server listens, and the authority (PEM) that its certificate is signed by."""

    url: str
    ca_pem: str


def with_certificate(path: Path, server: Server, user: str, pair: KeyPair) -> Path:
    """Write a kubeconfig for the holder of a client certificate; returns `path`."""
    credentials = {
        "client-certificate-data": _encode(pair.certificate),
        "client-key-data": _encode(pair.key),
    }
    return _write(path, server, user, credentials)


def with_file(path: Path, server: Server, user: str, certificate: Path) -> Path:
    """Write a kubeconfig for the holder of the certificate and key (PEM) in a file; returns `path`."""
    return _write(path, server, user, {"client-certificate": str(certificate), "client-key": str(certificate)})


def with_token(path: Path, server: Server, user: str, token: str) -> Path:
    """Write a kubeconfig for the bearer of a token; returns `path`."""
    return _write(path, server, user, {"token": token})


def _write(path: Path, server: Server, user: str, credentials: dict[str, str]) -> Path:
    cluster = {"server": server.url, "certificate-authority-data": _encode(server.ca_pem)}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "controlplane", "cluster": cluster}],
        "users": [{"name": user, "user": credentials}],
        "contexts": [{"name": "controlplane", "context": {"cluster": "controlplane", "user": user}}],
        "current-context": "controlplane",
    }
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(config, file, indent=2)  # JSON is YAML
    return path


def _encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
