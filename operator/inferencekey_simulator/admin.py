"""The admin API's client: control a simulator that runs in another process or thread.

Synchronous and built on the standard library alone, so that any test or script can use it. Decides nothing:
what the calls do is told in `admin_api`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, urlencode
from urllib.request import Request, urlopen

Json = dict[str, Any]


class AdminError(Exception):
    """The simulator refused an admin call; the message is its own."""


class Admin:
    """A simulator at a URL.

    Every method is one call. It raises AdminError when that is refused, and OSError when nobody answers.
    """

    def __init__(self, url: str, timeout: float = 30.0) -> None:
        self.url = url.rstrip("/")
        self._timeout = timeout

    # Credentials.

    def mint(self, project: str, scopes: Iterable[str] | None = None, token: str | None = None) -> str:
        """Make a control token of a project (and the project), and return it; default scopes can write."""
        body = {"project": project, "scopes": list(scopes) if scopes is not None else None, "token": token}
        return str(self._call("POST", "credentials", body)["token"])

    def mint_key(self, project: str, slug: str) -> str:
        """Make an `ik_live_` key of a workload, and return it."""
        return str(self._call("POST", "keys", {"project": project, "slug": slug})["key"])

    def revoke(self, token: str) -> int:
        """Revoke a token or key, given whole or by its public identifier; return how many there were."""
        public = "_".join(token.split("_")[:3])
        return int(self._call("DELETE", f"credentials/{quote(public, safe='')}")["revoked"])

    # What was asked of the platform.

    def requests(self, since: int = 0, operation: str | None = None, project: str | None = None) -> list[Json]:
        """Return the recorded requests after a sequence number, oldest first; see `journal.Entry`."""
        found = self._call("GET", "requests", query={"since": since, "operation": operation, "project": project})
        requests: list[Json] = found["requests"]
        return requests

    def last(self) -> int:
        """Return the sequence number of the newest request, to be given as `since` later."""
        return int(self._call("GET", "requests", query={"since": 2**62})["last"])

    def counters(self, project: str | None = None) -> dict[str, int]:
        """Return how many requests there were by operation: list, create, update, delete, readiness, data."""
        operations: dict[str, int] = self.totals(project)["operations"]
        return operations

    def totals(self, project: str | None = None) -> Json:
        """Return `operations` (of a project, or all), `statuses`, `bytes_out` and `streams_open`."""
        totals: Json = self._call("GET", "counters", query={"project": project})
        return totals

    # The dashboard.

    def workloads(self, project: str | None = None) -> list[Json]:
        """Return `{id, project, slug, phase, message, step, fields}` of the workloads, oldest first."""
        found: list[Json] = self._call("GET", "workloads", query={"project": project})
        return found

    def workload(self, project: str, slug: str) -> Json | None:
        """Return one of `workloads`, or None."""
        return next((each for each in self.workloads(project) if each["slug"] == slug), None)

    def add(self, project: str, slug: str, **fields: Any) -> Json:
        """Add a workload as somebody in the dashboard would, and return it."""
        added: list[Json] = self._call("POST", "workloads", {"project": project, "slug": slug, **fields})
        return added[0]

    def add_many(self, project: str, rows: Iterable[Json]) -> int:
        """Add many workloads in one call, each given by its fields (`slug` at least); return how many."""
        body = {"workloads": [{"project": project, **row} for row in rows]}
        return len(self._call("POST", "workloads", body))

    def edit(self, project: str, slug: str, /, **fields: Any) -> Json:
        """Change fields unchecked and return the workload; `**{"config.command": …}` reaches inside a field."""
        edited: Json = self._call("PATCH", _workload(project, slug), fields)
        return edited

    def remove(self, project: str, slug: str) -> None:
        """Delete a workload."""
        self._call("DELETE", _workload(project, slug))

    def phase(
        self, project: str, slug: str, phase: str | None, message: str | None = None, step: str | None = None
    ) -> None:
        """Hold a workload in a phase; None lets it begin anew and go on by itself."""
        body = {"phase": phase, "message": message, "step": step}
        self._call("POST", f"{_workload(project, slug)}/phase", body)

    def drop_streams(self, project: str | None = None, slug: str | None = None, cut: bool = False) -> int:
        """End open readiness streams without a terminal event, cleanly or by cutting; return how many."""
        body = {"project": project, "slug": slug, "cut": cut}
        return int(self._call("POST", "streams/drop", body)["dropped"])

    # Trouble and behaviour.

    def fault(self, action: str, **matching: Any) -> int:
        """Arm a fault and return its number; `matching` and what the actions do is told in `faults.Fault`.

        It happens once unless `times` says otherwise; None is for ever.
        """
        return int(self._call("POST", "faults", {"action": action, **matching})["id"])

    def faults(self) -> list[Json]:
        """Return the faults with their `id` and how often each was `used`."""
        found: list[Json] = self._call("GET", "faults")
        return found

    def clear_faults(self, number: int | None = None) -> int:
        """Disarm one fault, or all; return how many went."""
        return int(self._call("DELETE", "faults" if number is None else f"faults/{number}")["cleared"])

    def settings(self, **changes: Any) -> Json:
        """Change settings, if any are given, and return them all; see `settings.Settings`."""
        if not changes:
            return dict(self._call("GET", "settings"))
        return dict(self._call("PATCH", "settings", changes))

    def _call(self, method: str, path: str, body: Any = None, query: Json | None = None) -> Any:
        url = f"{self.url}/simulator/{path}"
        if query:
            url += "?" + urlencode({name: value for name, value in query.items() if value is not None})
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = Request(url, data=data, method=method, headers=headers)  # noqa: S310 (the caller's own URL)
        try:
            with urlopen(request, timeout=self._timeout) as response:  # noqa: S310
                answer = response.read()
        except HTTPError as error:
            with error:
                raise AdminError(f"{method} {path}: {error.code} {error.read().decode()}") from None
        return json.loads(answer) if answer else None


def _workload(project: str, slug: str) -> str:
    return f"workloads/{quote(project, safe='')}/{quote(slug, safe='')}"
