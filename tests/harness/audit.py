"""What the API server saw somebody do, out of its audit log.

Reads on from where it was. Knows who the operator is only by the user name it is given.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from uuid import uuid4

from harness.api import Api
from harness.waiting import eventually

READS = frozenset({"get", "list", "watch"})
_LONGEST = 1024 * 1024
"""Bytes of one line, at most."""


class Request(NamedTuple):
    """One request that was answered."""

    verb: str
    group: str
    resource: str
    """With the subresource: `workloads/status`."""
    namespace: str
    name: str
    code: int
    allowed: bool
    """By RBAC; admission and validation come after."""
    query: str = ""
    """What stands behind the question mark."""

    def __str__(self) -> str:
        return f"{self.verb} {self.resource} {self.namespace}/{self.name} {self.code}"

    @property
    def writes(self) -> bool:
        """Whether it would change something."""
        return self.verb not in READS


class Audit:
    """The requests of one user, but for those that a test makes in its name with kubectl."""

    def __init__(self, log: Path, api: Api, user: str) -> None:
        self._log, self._api, self._user = log, api, user

    def mark(self) -> int:
        """A place in the log: everything that was answered before it is in front of it."""
        self._settle()
        return _end_of_lines(self._log)

    def requests(self, since: int = 0) -> list[Request]:
        """What the user asked of Kubernetes objects since a mark, Leases included."""
        self._settle()
        return [_request(event) for event in self._events(since) if self._is_ours(event)]

    def writes(self, since: int = 0, namespace: str | None = None) -> list[Request]:
        """The writes among them, of Leases none; of one namespace if it is given."""
        return [
            request
            for request in self.requests(since)
            if request.writes and request.resource != "leases" and namespace in (None, request.namespace)
        ]

    def _settle(self) -> None:
        """Until a request of our own is in the log: those that were answered before it are, too."""
        marker = uuid4().hex
        before = self._log.stat().st_size
        self._api.get("/version", marker=marker)
        eventually(lambda: marker in _text(self._log, before), within=10)

    def _events(self, since: int) -> Iterable[dict[str, Any]]:
        return map(json.loads, _text(self._log, since).splitlines())

    def _is_ours(self, event: dict[str, Any]) -> bool:
        if event["user"].get("username") != self._user or "objectRef" not in event:
            return False
        return not str(event.get("userAgent", "")).startswith("kubectl")


def _end_of_lines(log: Path) -> int:
    """Where the last whole line ends: the API server may be in the midst of another one."""
    with log.open("rb") as file:
        begin = file.seek(max(0, log.stat().st_size - _LONGEST))
        return begin + file.read().rfind(b"\n") + 1


def _text(log: Path, since: int) -> str:
    with log.open("rb") as file:
        file.seek(since)
        whole, _, _ = file.read().rpartition(b"\n")
        return whole.decode()


def _request(event: dict[str, Any]) -> Request:
    thing = event["objectRef"]
    subresource = f"/{thing['subresource']}" if "subresource" in thing else ""
    return Request(
        verb=event["verb"],
        group=thing.get("apiGroup", ""),
        resource=thing["resource"] + subresource,
        namespace=thing.get("namespace", ""),
        name=thing.get("name", ""),
        code=event.get("responseStatus", {}).get("code", 0),
        allowed=event["annotations"]["authorization.k8s.io/decision"] == "allow",
        query=urlsplit(event["requestURI"]).query,
    )
