"""The platform itself: state and rules, without HTTP.

Decides what each call of the contract does: who may make it, what it changes, what it answers. Time comes
from a `Clock`; JSON comes and goes as dictionaries. Knows nothing of requests, connections or files.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from inferencekey_simulator import rules
from inferencekey_simulator.clock import Clock
from inferencekey_simulator.credentials import DEFAULT_SCOPES, READ_SCOPES, WRITE_SCOPES, Keyring
from inferencekey_simulator.faults import Faults
from inferencekey_simulator.fields import created_at, edited, shape
from inferencekey_simulator.inventory import Fields, Inventory, Row, to_json
from inferencekey_simulator.journal import Journal
from inferencekey_simulator.lag import Kind
from inferencekey_simulator.lists import Lists
from inferencekey_simulator.readiness import Held, Progress, Readiness, Reading
from inferencekey_simulator.refusal import RefusedError, not_found
from inferencekey_simulator.settings import Phase, Settings


class Platform:
    """One simulated platform: projects, workloads, credentials, faults, and the record of requests.

    Not safe for threads: it belongs to one event loop. `on_change` is called after every change of what a
    state file keeps.
    """

    def __init__(self, clock: Clock | None = None, settings: Settings | None = None) -> None:
        self.clock = clock or Clock()
        self.settings = settings or Settings()
        self.keyring = Keyring()
        self.faults = Faults()
        self.journal = Journal(self.clock)
        self.inventory = Inventory()
        self.lists = Lists(self.inventory, self.clock)
        self.on_change: Callable[[], None] = lambda: None

    # The control plane. `token` is the bearer token as it came, or None.

    def list_workloads(self, token: str | None, project: str) -> bytes:
        """Return a project's workloads as JSON, as the settings have lists show them."""
        project = self._allowed(token, project, READ_SCOPES)
        return self.lists.answer(project, self.settings, self._listed)

    def create(self, token: str | None, project: str, body: Fields) -> Row:
        """Create a workload. A slug that is taken is no refusal: the new one gets `-1`, `-2`, … behind it."""
        project = self._allowed(token, project, WRITE_SCOPES)
        return self.add(project, rules.created(body, self.settings))

    def update(self, token: str | None, identifier: str, body: Fields) -> Row:
        """Change the fields of a workload that the body names."""
        row = self._owned(token, identifier)
        fields = rules.updated(row.fields, body, self.settings)
        if self.settings.readiness.restart_on_update:
            row.readiness = self._beginning()
        return self._changed(row, {**fields, "updated_at": self._timestamp()})

    def delete(self, token: str | None, identifier: str) -> None:
        """Delete a workload in the way that is set; its data-plane keys go with it."""
        row = self._owned(token, identifier)
        if self.settings.deletion == "now":
            self.remove(row)
        elif self.settings.deletion == "later":
            loop = asyncio.get_running_loop()
            loop.call_later(self.settings.deletion_seconds, self._remove_unless_deleted, row)
        elif self.settings.deletion == "soft":
            self._retire(row)

    def readiness(self, token: str | None, project: str, slug: str) -> Row:
        """Return the row whose readiness may be streamed."""
        return self.row(self._allowed(token, project, READ_SCOPES), slug)

    def serving(self, key: str | None, project: str, slug: str) -> Row:
        """Return the row that a data-plane key opens, if it is serving."""
        credential = self.keyring.data(key)
        row = self.row(self._named(project), slug)
        if credential.workload != row.id:
            raise RefusedError(403, "scope_insufficient", "the key belongs to another workload")
        reading = self.reading(row)
        if reading.phase != "ready":
            message = f"the workload {slug!r} is not ready: {reading.phase} ({reading.message})"
            raise RefusedError(503, "workload_not_ready", message)
        return row

    # What people do in the dashboard: no credentials, no validation.

    def add(self, project: str, fields: Fields) -> Row:
        """Add a workload with these fields as they are; what is missing gets the usual value."""
        slug = self._free_slug(project, str(fields["slug"]))
        now = self._timestamp()
        created = created_at(now, self.settings.created_at)
        identity = {"id": f"wl_{secrets.token_hex(10)}", "created_at": created, "updated_at": now}
        place = {"project_id": project_id(project), "project_slug": project}
        complete = shape() | place | identity | fields | {"slug": slug, "workload_slug": slug}
        row = Row(project, slug, complete, self._beginning())
        self.inventory.put(row, self._encoded)
        self.lists.note(row, "create", None, complete, self.settings.list_lag)
        self.on_change()
        return row

    def edit(self, row: Row, changes: Fields) -> Row:
        """Change any fields, `config.command` naming one inside another.

        A new slug is also the `workload_slug`, unless that is given. ValueError for a slug that is taken and for
        another id.
        """
        fields = edited({**row.fields, "updated_at": self._timestamp()}, changes)
        if fields["id"] != row.id:
            raise ValueError("the id of a workload cannot be changed")
        slug = str(fields["slug"])
        if slug != row.slug and self.inventory.lookup(row.project, slug) is not None:
            raise ValueError(f"the slug {fields['slug']!r} is taken")
        return self._changed(row, fields)

    def remove(self, row: Row) -> None:
        """Take a workload away, whoever wants it."""
        self.inventory.remove(row)
        self.lists.note(row, "delete", row.fields, None, self.settings.list_lag)
        self.keyring.forget_keys(row.id)
        row.notify()
        self.on_change()

    def set_phase(self, row: Row, phase: Phase | None, message: str | None = None, step: str | None = None) -> None:
        """Hold a workload in a phase; None lets it begin anew and go on by itself."""
        row.readiness = self._beginning() if phase is None else Held(phase, message, step)
        row.notify()
        self.on_change()

    def mint(self, project: str, scopes: Iterable[str] = DEFAULT_SCOPES, token: str | None = None) -> str:
        """Make a control token for a project, and the project with it; see Keyring.mint."""
        minted = self.keyring.mint(project, scopes, token)
        self.inventory.open(project)
        self.on_change()
        return minted

    def mint_key(self, project: str, slug: str) -> str:
        """Make a data-plane key for a workload."""
        key = self.keyring.mint_key(project, self.row(project, slug).id)
        self.on_change()
        return key

    def revoke(self, public: str) -> int:
        """Take back every credential with this public identifier, at once; return how many there were."""
        revoked = self.keyring.revoke(public)
        self.on_change()
        return revoked

    def configure(self, changes: dict[str, Any]) -> Settings:
        """Change settings; raises ValueError for what does not fit."""
        before, self.settings = self.settings, self.settings.patched(changes)
        self.lists.configured(before, self.settings)
        if {"omit_null", "extra_fields"} & changes.keys():
            self.inventory.encode_again(self._encoded)
        return self.settings

    # Reading.

    def row(self, project: str, slug: str) -> Row:
        """Return a workload by its slug, or refuse with 404."""
        row = self.inventory.lookup(project, slug)
        if row is None:
            raise not_found(f"there is no workload {slug!r} in the project {project!r}")
        return row

    def reading(self, row: Row) -> Reading:
        """Return where a workload stands now."""
        return row.readiness.read(self.clock.monotonic())

    def restore(self, project: str, fields: Fields, readiness: Readiness, removed: bool = False) -> None:
        """File a row that a state file kept, exactly as it was."""
        row = Row(project, str(fields["slug"]), fields, readiness, removed=removed)
        self.inventory.put(row, self._encoded)

    def rows(self, project: str | None = None) -> Iterator[Row]:
        """Go through the workloads of a project, or of all."""
        return self.inventory.rows(project)

    def _allowed(self, token: str | None, project: str, scopes: frozenset[str]) -> str:
        project = self._named(project)
        self.keyring.control(token, scopes, project)
        self.inventory.open(project)
        return project

    def _named(self, reference: str) -> str:
        """Return the slug of a project that was named by slug or by id."""
        if not reference.startswith("prj_"):
            return reference
        by_id = {project_id(project): project for project in self.inventory.projects()}
        return by_id.get(reference, reference)

    def _owned(self, token: str | None, identifier: str) -> Row:
        self.keyring.control(token, WRITE_SCOPES)
        row = self.inventory.find(identifier)
        if row is None or row.removed:
            raise not_found(f"there is no workload {identifier!r}")
        self.keyring.control(token, WRITE_SCOPES, row.project)
        return row

    def _free_slug(self, project: str, slug: str) -> str:
        candidate, number = slug, 0
        while self.inventory.lookup(project, candidate):
            number += 1
            candidate = f"{slug}-{number}"
        return candidate

    def _changed(self, row: Row, fields: Fields, kind: Kind = "update") -> Row:
        before, row.fields = row.fields, fields
        self.inventory.put(row, self._encoded)
        self.lists.note(row, kind, before, fields, self.settings.list_lag)
        row.notify()
        self.on_change()
        return row

    def _retire(self, row: Row) -> None:
        """Soft-delete a workload: lists keep it, with `deleted_at`."""
        self.inventory.retire(row)
        self.keyring.forget_keys(row.id)
        self._changed(row, {**row.fields, "deleted_at": self._timestamp()}, "delete")

    def _remove_unless_deleted(self, row: Row) -> None:
        if not row.removed:
            self.remove(row)

    def _timestamp(self) -> str:
        return self.clock.timestamp(self.settings.clock_skew)

    def _beginning(self) -> Progress:
        return Progress(self.clock.monotonic(), self.settings.readiness)

    def _listed(self, fields: Fields) -> bytes:
        return self._encoded(rules.listed(fields, self.settings))

    def _encoded(self, fields: Fields) -> bytes:
        shown = fields | self.settings.extra_fields
        if self.settings.omit_null:
            shown = {name: value for name, value in shown.items() if value is not None}
        return to_json(shown)


def project_id(project: str) -> str:
    """Return the identifier of a project, always the same for the same slug."""
    return f"prj_{hashlib.sha256(project.encode()).hexdigest()[:16]}"
