"""Who may do what: the control tokens (`ik_sdk_`) and the data-plane keys (`ik_live_`).

Decides whether a credential is known, which project or workload it belongs to and which scopes it carries.
Keeps only digests: like the platform, the simulator cannot give a secret back once it was shown. Knows
nothing of HTTP.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from inferencekey_simulator.refusal import RefusedError

CONTROL = "ik_sdk"
DATA = "ik_live"
DEFAULT_SCOPES = ("workload:write", "assignment:write")
SCOPES = frozenset({"workload:read", *DEFAULT_SCOPES})
READ_SCOPES = frozenset({"workload:read", "workload:write"})
WRITE_SCOPES = frozenset({"workload:write"})

_SHAPE = re.compile(r"(ik_(?:sdk|live)_[0-9a-f]{8})_[0-9a-f]{64}")
_ANYWHERE = re.compile(r"(ik_(?:sdk|live)_[0-9a-f]{8})_[0-9a-f]+")


@dataclass(frozen=True)
class Credential:
    """One known token: its public identifier and what it is good for.

    `workload` is the id of the only workload a data-plane key opens; it is None for a control token.
    """

    public: str
    digest: str
    project: str
    scopes: tuple[str, ...] = ()
    workload: str | None = None


def shown(token: str | None) -> str | None:
    """Return what may be shown of a token: prefix and public identifier, or `ik…` for any other shape."""
    if token is None:
        return None
    match = _SHAPE.fullmatch(token)
    return f"{match[1]}…" if match else "ik…"


def redacted(text: str) -> str:
    """Return the text with the secret of every token in it left out."""
    return _ANYWHERE.sub(r"\1…", text)


def generated(kind: str) -> str:
    """Return a fresh token of a kind (`ik_sdk` or `ik_live`)."""
    return f"{kind}_{secrets.token_hex(4)}_{secrets.token_hex(32)}"


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


class Keyring:
    """The credentials that are valid now. A revoked one is gone at once."""

    def __init__(self) -> None:
        self._known: dict[str, Credential] = {}

    def mint(self, project: str, scopes: Iterable[str] = DEFAULT_SCOPES, token: str | None = None) -> str:
        """Make a control token of one project known, and return it: the only time it can be seen.

        `token` fixes its value. ValueError when it is not of the shape `ik_sdk_<8 hex>_<64 hex>`, or for an
        unknown scope.
        """
        if not SCOPES.issuperset(scopes := tuple(scopes)):
            raise ValueError(f"scopes are {', '.join(sorted(SCOPES))}")
        return self._keep(CONTROL, token, project, scopes, None)

    def mint_key(self, project: str, workload: str) -> str:
        """Make a data-plane key for one workload (by id) known, and return it."""
        return self._keep(DATA, None, project, (), workload)

    def revoke(self, public: str) -> int:
        """Forget the credentials with this public identifier, `ik_sdk_a1b2c3d4`; return how many."""
        gone = [digest for digest, known in self._known.items() if known.public == public.rstrip("…")]
        for digest in gone:
            del self._known[digest]
        return len(gone)

    def forget_keys(self, workload: str) -> None:
        """Forget the keys of a workload that was deleted."""
        for digest in [digest for digest, known in self._known.items() if known.workload == workload]:
            del self._known[digest]

    def control(self, token: str | None, scopes: frozenset[str], project: str | None = None) -> Credential:
        """Return the control credential behind a token, or refuse.

        At least one of `scopes` must be carried; when `project` is given, it must be the token's own.
        Raises RefusedError: 401 for what is unknown, 403 with one of the three codes otherwise.
        """
        if token is not None and token.startswith(f"{DATA}_"):
            raise RefusedError(403, "wrong_credential_type", "an ik_live_ key cannot be used on the control plane")
        credential = self._find(token)
        if project is not None and credential.project != project:
            message = f"the token belongs to another project than {project!r}"
            raise RefusedError(403, "project_scope_mismatch", message)
        if not scopes.intersection(credential.scopes):
            message = f"the token lacks the scope {' or '.join(sorted(scopes))}"
            raise RefusedError(403, "scope_insufficient", message)
        return credential

    def data(self, token: str | None) -> Credential:
        """Return the data-plane credential behind a key, or refuse as `control` does."""
        if token is not None and token.startswith(f"{CONTROL}_"):
            raise RefusedError(403, "wrong_credential_type", "an ik_sdk_ token cannot be used on the data plane")
        return self._find(token)

    def all(self) -> list[Credential]:
        """Return every valid credential, oldest first."""
        return list(self._known.values())

    def saved(self) -> list[dict[str, Any]]:
        """Return what a state file keeps: digests, never secrets."""
        return [asdict(known) for known in self._known.values()]

    def restore(self, saved: Iterable[dict[str, Any]]) -> None:
        """Take back what `saved` returned."""
        for entry in saved:
            credential = Credential(**{**entry, "scopes": tuple(entry["scopes"])})
            self._known[credential.digest] = credential

    def _find(self, token: str | None) -> Credential:
        known = self._known.get(_digest(token)) if token else None
        if known is None:
            raise RefusedError(401, "unauthenticated", "missing or unknown credentials")
        return known

    def _keep(self, kind: str, token: str | None, project: str, scopes: tuple[str, ...], workload: str | None) -> str:
        token = token or generated(kind)
        shape = _SHAPE.fullmatch(token)
        if shape is None or not token.startswith(f"{kind}_"):
            raise ValueError(f"a token must have the form {kind}_<8 hex>_<64 hex>")
        self._known[_digest(token)] = Credential(shape[1], _digest(token), project, scopes, workload)
        return token
