"""All Workloads of the cluster as the API server tells of them, with the moment at which each became what it is.

A thread follows a watch. It notes what it sees, and concludes nothing.
"""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

from bench.writer import Key
from harness.api import WORKLOADS, Api, Json

_PATH = f"{WORKLOADS}/workloads?watch=true&timeoutSeconds=86400&allowWatchBookmarks=true"


@dataclass(slots=True)
class Sight:
    """One Workload."""

    generation: int = 0
    answered: float | None = None
    """When its status first told of this generation; None while it does not."""
    ready: bool = False
    phase: tuple[str, str] = ("", "")
    """And the step within it."""
    phases: int = 0
    """How often a status that was there told of another phase, or of another step of it."""
    uid: str = ""

    def take(self, workload: Json, now: float) -> None:
        """As it is now."""
        meta, status = workload["metadata"], workload.get("status", {})
        if meta["generation"] != self.generation or meta["uid"] != self.uid:
            self.generation, self.uid, self.answered = meta["generation"], meta["uid"], None
        told = self.answered is not None
        if not told and status.get("observedGeneration") == self.generation:
            self.answered = now
        self.ready = any((each["type"], each["status"]) == ("Ready", "True") for each in status.get("conditions", ()))
        readiness = status.get("readiness", {})
        phase = (readiness.get("phase", ""), readiness.get("step", ""))
        if phase != self.phase:
            self.phases += told
            self.phase = phase


class Sights:
    """Kept current from entering the context to leaving it."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._known: dict[Key, Sight] = {}
        self._version = ""
        """Where to go on: whoever begins anew with 10,000 is too slow for the API server, and cut off again."""
        self._socket: socket.socket | None = None
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="sights", daemon=True)

    def present(self) -> list[Key]:
        """All that are there."""
        return list(self._known)

    def count(self, keys: Iterable[Key]) -> int:
        """How many of these are there."""
        return sum(key in self._known for key in keys)

    def answered(self, keys: Iterable[Key], generation: int = 1) -> int:
        """How many of these have a status that tells of this generation."""
        return sum(
            (sight := self._known.get(key)) is not None
            and sight.generation >= generation
            and sight.answered is not None
            for key in keys
        )

    def ready(self, keys: Iterable[Key]) -> int:
        """How many of these are Ready."""
        return sum((sight := self._known.get(key)) is not None and sight.ready for key in keys)

    def moments(self, keys: Iterable[Key]) -> dict[Key, float]:
        """When the status of each first told of what is declared now."""
        return {key: at for key in keys if (at := self._known[key].answered) is not None}

    def phases(self, keys: Iterable[Key]) -> int:
        """How often a status told of another phase of readiness than before, or of another step of it."""
        return sum(self._known[key].phases for key in keys)

    def __enter__(self) -> Self:
        self._begin()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing = True
        with suppress(OSError):  # there is none, or it is closed already
            if self._socket is not None:
                self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()

    def _begin(self) -> None:
        """With all that is there now."""
        page = self._api.get(f"{WORKLOADS}/workloads")
        self._known.clear()
        for workload in page["items"]:
            self._see(workload)
        self._version = page["metadata"]["resourceVersion"]

    def _run(self) -> None:
        while not self._closing:
            try:
                self._follow()
            except (OSError, http.client.HTTPException, httpx.HTTPError, AssertionError, ValueError):
                time.sleep(0.1)  # it goes on from where it was

    def _follow(self) -> None:
        address = urlsplit(self._api.server).netloc
        connection = http.client.HTTPSConnection(address, context=self._api.tls)
        connection.request("GET", f"{_PATH}&resourceVersion={self._version}", headers=self._api.headers)
        self._socket = connection.sock
        with connection.getresponse() as response:
            for line in response:
                self._take(json.loads(line))

    def _take(self, event: dict[str, Any]) -> None:
        if event["type"] not in ("ADDED", "MODIFIED", "DELETED", "BOOKMARK"):
            self._begin()  # what came since then is not known any more
            raise ValueError(event["type"])
        found = event["object"]
        self._version = found["metadata"]["resourceVersion"]
        if event["type"] == "DELETED":
            self._known.pop(_key(found), None)
        elif event["type"] != "BOOKMARK":
            self._see(found)

    def _see(self, workload: Json) -> None:
        self._known.setdefault(_key(workload), Sight()).take(workload, time.monotonic())


def _key(workload: Json) -> Key:
    return workload["metadata"]["namespace"], workload["metadata"]["name"]
