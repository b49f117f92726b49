"""How the operator speaks to whoever reads its log: one line per thing, text or JSON, never a token's secret."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

from inferencekey_operator.redaction import redact


class StartError(Exception):
    """The operator cannot start; the message says what to do."""


class _Text(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", "%Y-%m-%dT%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": super().format(record),
        }
        return redact(json.dumps(line, ensure_ascii=False))


def configure(level: str, form: str) -> None:
    """Everything goes to standard error, redacted; libraries speak up only when something is wrong."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if form == "json" else _Text())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for library in ("kopf", "httpx", "httpcore", "aiohttp", "kubernetes", "asyncio"):
        logging.getLogger(library).setLevel(max(logging.WARNING, getattr(logging, level.upper())))
