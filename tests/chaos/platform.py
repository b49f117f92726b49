"""The simulator, told apart by who acts: what the control plane is asked for, and what hands do in the dashboard.

Keeps the truth about each row: who made it and when, and which lists lied. Judges nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol

from chaos.clocks import START, now
from inferencekey_simulator.clock import Clock
from inferencekey_simulator.faults import Call, Fault, Faults
from inferencekey_simulator.inventory import Fields, Row, to_json
from inferencekey_simulator.journal import Entry, Journal
from inferencekey_simulator.platform import Platform
from inferencekey_simulator.readiness import Reading
from inferencekey_simulator.settings import ReadinessSettings, Settings


@dataclass
class Birth:
    """How a row came to be."""

    at: float
    by_operator: bool
    wanted: str
    """The slug that was asked for."""
    body: Fields
    made_as: str
    """The slug that the platform gave it."""
    answer_lost: bool = False
    """Whether the answer to the POST did not arrive as it should."""


IN_FRONT: tuple[Fields, ...] = (
    {"status": 403, "body": "<html>403 Forbidden</html>", "headers": {"Content-Type": "text/html"}},
    {"status": 404, "body": "404 page not found", "headers": {"Content-Type": "text/plain"}},
    {"status": 302, "body": "", "headers": {"Location": "https://sorry.example/"}},
    {"status": 401},
)
"""What something answers that stands in front of the platform, and reaches it no more."""


def some_fault(which: int, how: int, **matching: Any) -> Fault:
    """A fault: refused, for good or not, late, cut before or after, spoiled, or answered by something else."""
    slow = (1.0, 5.0, 12.0, 30.0)[how % 4]
    faults: tuple[Fields, ...] = (
        {"action": "respond", "status": (500, 502, 503, 504)[how % 4], "body": {"error": f"request {how}"}},
        {"action": "respond", "status": 429, "headers": {"Retry-After": str(how % 20)}},
        {"action": "respond", "status": 200, "body": "<html>a proxy</html>", "headers": {"Content-Type": "text/html"}},
        {"action": "delay", "seconds": slow},
        {"action": "delay_after", "seconds": slow},
        {"action": "cut_before"},
        {"action": "cut_after"},
        {"action": "truncate"},
        {"action": "wrong_content_type"},
        {"action": "cut_after"},
        {"action": "respond", "status": (401, 403, 404, 409, 422, 423, 425)[how % 7], "body": {"error": "no"}},
        {"action": "respond", "status": 409, "body": {"error": "another operation is in progress"}},
        {"action": "respond", **IN_FRONT[how % len(IN_FRONT)]},
    )
    return Fault.model_validate({**faults[which % len(faults)], **matching})


class Weather(Faults):
    """The faults that are armed and, in a storm, one of any kind for some of the other calls."""

    def __init__(self, rng: Random) -> None:
        super().__init__()
        self._rng = rng
        self.until = self.chance = 0.0

    def take(self, call: Call) -> Fault | None:
        """The fault that meets this call."""
        armed = super().take(call)
        if armed is None and now() < self.until and self._rng.random() < self.chance:
            return some_fault(self._rng.randrange(1000), self._rng.randrange(1000))
        return armed


ARRIVED: ContextVar[float | None] = ContextVar("arrived", default=None)
"""When the request arrived that is handled: each has a task of its own."""


def _arrived() -> float:
    arrived = ARRIVED.get()
    return now() if arrived is None else arrived


class _Journal(Journal):
    def __init__(self, clock: Clock, tell: Callable[[str], None]) -> None:
        super().__init__(clock)
        self._tell = tell

    def open(self, call: Call, user_agent: str | None, body: Any) -> Entry:
        ARRIVED.set(now())
        return super().open(call, user_agent, body)

    def close(self, entry: Entry, status: int | None, bytes_out: int) -> None:
        super().close(entry, status, bytes_out)
        body = f" {entry.body}" if entry.body else ""
        self._tell(f"api: {entry.call.method} {entry.call.path} {status or 'cut'} {entry.fault or ''}{body}")


class Witness(Protocol):
    """Is told of each change that the control plane was asked for, at the moment it is made."""

    arrived: float | None
    """When the request arrived."""

    def created(self, row: Row, birth: Birth, taken_by: Row | None) -> None:
        """A POST was carried out; `taken_by` had the wanted slug already."""

    def updated(self, row: Row, before: Fields, body: Fields) -> None:
        """A PATCH was carried out."""

    def deleted(self, row: Row) -> None:
        """A DELETE was carried out."""


class WatchedPlatform(Platform):
    """A platform with a witness."""

    def __init__(self, witness: Witness, rng: Random, tell: Callable[[str], None]) -> None:
        clock = Clock(monotonic=now, wall=lambda: START.timestamp() + now())
        super().__init__(clock, Settings(readiness=ReadinessSettings.lasting(3.0)))
        self.faults = self.weather = Weather(rng)
        self._witness, self._tell = witness, tell
        self.journal = _Journal(clock, tell)
        self.births: dict[str, Birth] = {}
        self.lies: list[bytes | None] = []
        """What the next lists are, whatever there is: None is half of what there is."""
        self.lied_at = float("-inf")
        self.edited: dict[str, float] = {}
        """Ids of rows that hands changed."""
        self.written_at: dict[str, float] = {}
        """By id: when the last POST or PATCH of a row arrived that was carried out."""
        self.told_ready: dict[str, float] = {}
        """By id: when a readiness stream last told that a row is ready."""
        self.writes = 0
        """How many changes the control plane was asked for and made."""
        self._asked: Fields | None = None

    def list_workloads(self, token: str | None, project: str) -> bytes:
        """As ever, or a lie."""
        listing = super().list_workloads(token, project)
        if self.settings.list_lag.is_set:
            self.lied_at = now()
        if self.lies and listing != b"[]":
            self.lied_at = now()
            lie = self.lies.pop()
            return self._half(listing) if lie is None else lie
        return listing

    def _half(self, listing: bytes) -> bytes:
        rows = json.loads(listing)
        return to_json(rows[::2]) if isinstance(rows, list) else listing

    def create(self, token: str | None, project: str, body: Fields) -> Row:
        """A POST."""
        taken_by = self.inventory.lookup(project, str(body.get("slug")))
        self._asked = body
        try:
            row = super().create(token, project, body)
        finally:
            self._asked = None
        self.writes += 1
        self.written_at[row.id] = _arrived()
        birth = self.births[row.id]
        birth.answer_lost = any(
            entry.fault
            for entry in self.journal.since(self.journal.last - 40)
            if entry.status is None and entry.body == body
        )
        self._tell(f"row: {row.id} {row.slug} made by the control plane")
        self._witness.arrived = ARRIVED.get()
        self._witness.created(row, birth, taken_by)
        return row

    def update(self, token: str | None, identifier: str, body: Fields) -> Row:
        """A PATCH."""
        found = self.inventory.find(identifier)
        before = dict(found.fields) if found else {}
        row = super().update(token, identifier, body)
        self.writes += 1
        self.written_at[row.id] = _arrived()
        self._witness.arrived = ARRIVED.get()
        self._witness.updated(row, before, body)
        return row

    def delete(self, token: str | None, identifier: str) -> None:
        """A DELETE."""
        found = self.inventory.find(identifier)
        super().delete(token, identifier)
        assert found is not None
        self.writes += 1
        self._tell(f"row: {found.id} {found.slug} deleted by the control plane")
        self._witness.arrived = ARRIVED.get()
        self._witness.deleted(found)

    def add(self, project: str, fields: Fields) -> Row:
        """A row, of a POST or of hands; ids are counted, so that a seed repeats them."""
        row = super().add(project, {"id": f"wl_{len(self.births) + 1:04d}"} | fields)
        wanted = str((self._asked or fields)["slug"])
        self.births[row.id] = Birth(now(), self._asked is not None, wanted, dict(self._asked or fields), row.slug)
        return row

    def edit(self, row: Row, changes: Fields) -> Row:
        """Hands in the dashboard."""
        self.edited[row.id] = now()
        return super().edit(row, changes)

    def reading(self, row: Row) -> Reading:
        """What a readiness stream tells now."""
        reading = super().reading(row)
        if reading.phase == "ready":
            self.told_ready[row.id] = now()
        return reading

    def unheard(self, identifier: str, slug: str) -> bool:
        """Whether no stream told since the last write that this row is ready, though it has to run.

        Streams are asked for by slug: whoever was not shown yet that the row has another one hears of its successor.
        """
        row = self.inventory.find(identifier)
        if row is None or row.slug != slug or row.fields["execution_policy"] in ("scheduled", "autoscaling"):
            return False
        return self.told_ready.get(identifier, float("-inf")) <= self.written_at.get(identifier, float("-inf"))

    def live(self) -> dict[str, Row]:
        """All rows by id."""
        return {row.id: row for row in self.rows()}
