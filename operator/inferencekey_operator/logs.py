"""How the operator speaks to whoever reads its log: one line per thing, text or JSON, never a token's secret.

What is logged of an object says which one in fields of its own, as `about` makes them; JSON shows them, text has them
in its words. Levels mean: `error`, somebody must look at the operator; `warning`, at what the line names; `info`,
something happened; `debug`, what was tried again, and why.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

from inferencekey_operator.redaction import excerpt, printable, redact

MOST_CHARACTERS = 4_096
"""Of a message; and what cannot be printed is left out: what others wrote may hold lines and colours of its own."""

_TOLD_BY_US = ("kopf._core.reactor.running", "kopf._core.reactor.orchestration", "kopf._cogs.clients.api")
"""Here kopf calls an error what it tries again, and shows the traceback of what ends it. It is begun anew then, and why
is one line of ours."""


class StartError(Exception):
    """The operator cannot start; the message says what to do."""


def about(key: tuple[str, str], *, kind: str = "Workload", slug: str = "", reason: str = "") -> dict[str, Any]:
    """For `extra`: which object a line is about, by namespace and name, and the reason's word."""
    namespace, name = key
    fields = {"kind": kind, "namespace": namespace, "name": name, "slug": slug, "reason": reason}
    return {"about": {field: value for field, value in fields.items() if value}}


class _Text(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", "%Y-%m-%dT%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        record.message = excerpt(record.message, MOST_CHARACTERS)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's own name
        return "\n".join(map(printable, super().formatException(ei).splitlines()))

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": excerpt(record.getMessage(), MOST_CHARACTERS),
            **{field: printable(str(value)) for field, value in getattr(record, "about", {}).items()},
            "logger": record.name,
        }
        if record.exc_info:
            line["traceback"] = "\n".join(map(printable, self.formatException(record.exc_info).splitlines()))
        return redact(json.dumps(line, ensure_ascii=False, default=str))


def configure(level: str, form: str) -> None:
    """Everything goes to standard error, redacted; libraries speak up only when something is wrong."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(form))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for library in ("kopf", "httpx", "httpcore", "aiohttp", "kubernetes", "asyncio"):
        logging.getLogger(library).setLevel(max(logging.WARNING, getattr(logging, level.upper())))
    for part in _TOLD_BY_US:
        logging.getLogger(part).setLevel(logging.CRITICAL if level.upper() != "DEBUG" else logging.DEBUG)


def unforeseen(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """The loop's exception handler. How a stream took it that the process ends in the midst of it is nobody's concern:
    kopf's says so with two tracebacks.
    """
    if "asyncgen" in context:
        logging.getLogger(__name__).debug("a stream ended with the process: %s", context["exception"])
    else:
        loop.default_exception_handler(context)


def formatter(form: str) -> logging.Formatter:
    """Of `text` or `json`."""
    return _Json() if form == "json" else _Text()
