"""What kopf sees: Workloads created, updated, annotated or deleted.

kopf discovers, lists, watches, reconnects and authenticates. Its low-level events put keys into the queue, and
`ensure()` runs for each: on create and update from here, on the timer from the projects' lists (see `controller`).
Only this module and `watching` know kopf.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import aiohttp
import kopf

from inferencekey_operator.api.workload import GROUP, PLURAL, VERSION
from inferencekey_operator.controller.controller import Controller

log = logging.getLogger(__name__)

WORKERS_STAY = 3.0
"""Seconds that kopf's worker of an object waits for its next event. When one begins, the watch is not read for a turn
or two of the loop, and those are long when there is much to do: with one second, almost each event of a thousand
creations had a worker of its own, and whoever declared something meanwhile was heard of three seconds later. With ten,
all of the thousand had theirs at once, which took ten MiB."""
ERROR_BACKOFFS = (1.0, 1.0, 2.0, 3.0, *[5.0] * 9)
"""Seconds. In kopf's own they grow to 21: for so long nobody would hear of an edit after the API server is back."""


def registry(
    controller: Controller, open_session: Callable[[], aiohttp.ClientSession], server: str, told: Callable[[], None]
) -> kopf.OperatorRegistry:
    """The handlers, bound to what they serve; `told` is called when the watch told something."""
    handlers = kopf.OperatorRegistry()

    @kopf.on.login(registry=handlers)
    async def login(**_: Any) -> kopf.AiohttpSession:
        return kopf.AiohttpSession(server=server, aiohttp_session=open_session())

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=handlers)
    async def seen(event: Any, **_: Any) -> None:
        """Created, updated, annotated, about to be deleted, or gone."""
        if not _tells_of_an_object(event):
            log.warning("ignored an event of the watch of Workloads that is not about one")
        elif event["type"] == "DELETED":
            controller.workload_gone(event["object"])
        else:
            controller.workload_seen(event["object"])
        told()

    return handlers


def settings() -> kopf.OperatorSettings:
    """kopf without what it would write: no annotations, no Events, no finalizer of its own."""
    chosen = kopf.OperatorSettings()
    chosen.persistence.finalizer = "kopf.invalid/unused"
    chosen.persistence.diffbase_storage = _NoDiffBase()
    chosen.persistence.progress_storage = _NoProgress()
    chosen.posting.enabled = False
    chosen.scanning.disabled = True
    chosen.queueing.idle_timeout = WORKERS_STAY
    chosen.watching.server_timeout = 300
    chosen.watching.client_timeout = 330
    chosen.watching.reconnect_backoff = 1.0
    chosen.networking.error_backoffs = ERROR_BACKOFFS
    chosen.process.ultimate_exiting_timeout = None
    return chosen


def _tells_of_an_object(event: Any) -> bool:
    metadata = event["object"].get("metadata", {})
    return all(part in metadata for part in ("namespace", "name", "uid", "resourceVersion"))


class _NoDiffBase(kopf.DiffBaseStorage):
    """Nothing is compared with what was: ensure() looks at what is. So nothing is copied for a comparison."""

    def build(self, **_: Any) -> Any:
        return {}

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        return None


class _NoProgress(kopf.ProgressStorage):
    """There are no handlers whose progress could be kept."""

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        return None

    def purge(self, **_: Any) -> None:
        return None

    def touch(self, **_: Any) -> None:
        return None

    def clear(self, *, essence: Any, **_: Any) -> Any:
        return essence
