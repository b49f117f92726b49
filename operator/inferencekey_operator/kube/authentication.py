"""Keeps the login to the API server current, for all that talks to it: requests, watches, kopf, and the Lease.

It is read again, which runs a kubeconfig's plugin again, when one of its files changed, when four fifths of its time
are over, and when the API server refuses it. Requests use the old one meanwhile, unless that has expired. One
attempt is under way at a time, in a task of its own, since a plugin can take longer than the request that noticed.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from dataclasses import replace

from inferencekey_operator.kube.login import Login, Source
from inferencekey_operator.network.files import Stamps
from inferencekey_operator.redaction import excerpt

log = logging.getLogger(__name__)

LOOK_EVERY = 1.0
"""Seconds between two looks at the files."""
SHORTEST, LONGEST = 1.0, 60.0
"""Seconds between two attempts; they grow until a login is accepted. A file that changes ends the wait."""
SOONEST = 10.0
"""Seconds after which a login is renewed before it expires: where clocks differ, it seems to have expired at once."""
COMPLAIN_EVERY = 60.0
"""Seconds."""


class Authentication:
    """Ask for `current` before each request, and say what became of it. Without a source the login stays as it is."""

    def __init__(self, login: Login, source: Source | None = None) -> None:
        self._source = source
        self._files: Stamps = login.files
        """As they were at the last attempt."""
        self._look_at = self._not_before = -math.inf
        self._pause = SHORTEST
        self._renewal: asyncio.Task[None] | None = None
        self._refused, self._failed = "", ""
        self._complaints: dict[str, float] = {}
        self._take(login)

    @property
    def trouble(self) -> str:
        """What is wrong now, empty where nothing is: the API server refuses the login, and there is no other."""
        if not self._refused:
            return ""
        return f"{self._refused}{f'; {self._failed}' if self._failed else ''}"

    @property
    def origin(self) -> str:
        """Where the credentials come from, and the kubeconfig's context."""
        context = getattr(self._source, "context", None)
        return f"{self._source or 'this process'}" + (f', context "{context}"' if context else "")

    @property
    def login(self) -> Login:
        """The newest."""
        return self._login

    async def current(self) -> Login:
        """For the next request."""
        now = time.monotonic()
        if self._source is not None and now >= self._look_at:
            self._look_at = now + LOOK_EVERY
            if self._files_changed or time.time() >= self._renew_at:
                self._begin(at_once=self._files_changed)
        if self._renewal is not None and time.time() >= self._expires_at:
            await asyncio.shield(self._renewal)
        return self._login

    async def refused(self, login: Login, tls: Exception | None = None) -> bool:
        """The API server answered 401, or no TLS connection came about; whether there is another login by now."""
        if login is self._login:
            self._begin(at_once=self._files_changed)
            if self._renewal is not None:
                await asyncio.shield(self._renewal)
        if login is self._login:
            self._refused = f"the API server refuses the credentials of {self._source or 'this process'} (401)"
            if tls is not None:
                self._refused = f"the certificates of {self._source} and of the API server do not match ({tls})"
            self._complain("refused", f"{self._refused}: nothing is read or written until they are replaced")
        return login is not self._login

    def accepted(self, login: Login) -> None:
        """The API server took it."""
        if login is not self._login:
            return
        self._pause = SHORTEST
        if self._refused:
            self._refused = ""
            self._complaints.clear()
            log.info("the API server accepts the credentials of %s again", self._source)

    async def close(self) -> None:
        """End what is under way."""
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.wait({self._renewal})

    @property
    def _files_changed(self) -> bool:
        return self._source is not None and self._source.stamps() != self._files

    def _begin(self, *, at_once: bool = False) -> None:
        if self._renewal is None and self._source is not None and (at_once or time.monotonic() >= self._not_before):
            self._renewal = asyncio.create_task(self._renew(self._source), name="login")

    async def _renew(self, source: Source) -> None:
        self._files = source.stamps()
        try:
            self._adopt(await source.login())
            if self._failed:
                log.info("read the credentials of %s for the API server again", source)
            self._failed = ""
        except Exception as error:  # those of files, plugins, TLS and the official client have no common type
            self._failed = f"they cannot be read again: {excerpt(str(error) or type(error).__name__, 512)}"
            self._complain("failed", f"the credentials of {source} for the API server: {self._failed}")
        finally:
            self._not_before = time.monotonic() + self._pause
            self._pause = min(2 * self._pause, LONGEST)
            self._renewal = None

    def _adopt(self, login: Login) -> None:
        """What is the same stays the same object: connections are kept, and what was refused is not sent once more."""
        old = self._login
        if login.configuration.host != old.configuration.host:
            raise ValueError(
                f"they are for another server now, {login.configuration.host}: restart the operator to use it"
            )
        self._files = login.files
        if login.certificates == old.certificates:
            login = replace(login, rest=old.rest, configuration=old.configuration)
            if login.authorization == old.authorization:
                self._time(login)
                return
        else:
            log.info("reloaded the certificates of %s for the API server", self._source)
        self._take(login)

    def _take(self, login: Login) -> None:
        self._login = login
        self._time(login)

    def _time(self, login: Login) -> None:
        now, self._expires_at = time.time(), login.expires_at
        self._renew_at = now + max(0.8 * (login.expires_at - now), SOONEST)

    def _complain(self, kind: str, message: str) -> None:
        now = time.monotonic()
        if now >= self._complaints.get(kind, -math.inf) + COMPLAIN_EVERY:
            self._complaints[kind] = now
            log.warning("%s", message)
