"""The log: one line per thing, with what it is about in fields of their own, and never a token's secret."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from inferencekey_operator.api.keys import Key
from inferencekey_operator.logs import about, formatter, unforeseen
from unit.builders import SECRET_HALF, TOKEN

KEY = Key("team-a", "support-bot")


def a_record(message: str, *arguments: object, error: BaseException | None = None, **extra: Any) -> logging.LogRecord:
    """What a module hands to logging."""
    info = None if error is None else (type(error), error, error.__traceback__)
    record = logging.LogRecord("here", logging.WARNING, "here.py", 1, message, arguments, info)
    record.__dict__.update(extra)
    return record


def raised(message: str) -> BaseException:
    """An error that was raised, so that it has a traceback."""
    try:
        raise ValueError(message)
    except ValueError:
        error = sys.exc_info()[1]
        assert error is not None
        return error


def test_json_says_what_it_is_about() -> None:
    """Namespace, name, slug and reason are fields, beside the words."""
    line = formatter("json").format(a_record("moved", **about(KEY, slug="bot", reason="DriftDetected")))
    shown = json.loads(line)
    assert shown.pop("time").endswith("+00:00")
    assert shown == {
        "level": "warning",
        "message": "moved",
        "kind": "Workload",
        "namespace": "team-a",
        "name": "support-bot",
        "slug": "bot",
        "reason": "DriftDetected",
        "logger": "here",
    }


def test_what_is_not_known_is_no_field() -> None:
    """A line about an object whose slug and reason are not known has neither."""
    shown = json.loads(formatter("json").format(a_record("gone", **about(KEY))))
    assert {"slug", "reason"}.isdisjoint(shown)


@pytest.mark.parametrize("form", ["text", "json"])
def test_one_line_per_thing(form: str) -> None:
    """Foreign words with line breaks in them make no second line; nor does a traceback, in JSON."""
    error = raised("two\nlines") if form == "json" else None
    line = formatter(form).format(a_record("it said: %s", "two\r\nlines\u2028here", error=error))
    assert len(line.splitlines()) == 1 or (form == "json" and "\n" not in line)


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_token(form: str) -> None:
    """Not in the words, not in an argument, not in a field, not in a traceback."""
    record = a_record(f"{TOKEN} %s", TOKEN, error=raised(TOKEN), **about(Key("team-a", TOKEN), reason=TOKEN))
    line = formatter(form).format(record)
    assert SECRET_HALF not in line
    assert "ik_sdk_a1b2c3d4…" in line


def test_a_stream_that_will_not_end_with_the_process_is_no_news(caplog: pytest.LogCaptureFixture) -> None:
    """Left in the midst of an event, as kopf's watch is; any other error that nobody waited for is told."""

    async def stubborn() -> AsyncGenerator[int, None]:
        try:
            yield 1
        finally:
            raise RuntimeError("generator didn't stop")

    async def left() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(unforeseen)
        kept.append(stubborn())
        await anext(kept[0])
        loop.call_exception_handler({"message": "an error that nobody waited for"})

    kept: list[AsyncGenerator[int, None]] = []
    asyncio.run(left())
    assert [record.getMessage() for record in caplog.records if record.levelno > logging.DEBUG] == [
        "an error that nobody waited for"
    ]


@pytest.mark.parametrize("form", ["text", "json"])
def test_what_others_wrote_draws_nothing_on_a_terminal(form: str) -> None:
    """No colours, no cursor that moves, no text that runs backwards: not in words, fields or tracebacks."""
    evil = "a\x1b[31mb\x9b2Jc\u202ed\x00e\x07\rf\x85g"
    record = a_record("said %s", evil, error=raised(evil), **about(Key("team-a", evil), slug=evil))
    line = formatter(form).format(record)
    assert all(
        part.isprintable()
        for part in (line.split("\n") if form == "text" else json.loads(line)["traceback"].split("\n"))
    )
    assert form == "text" or line.isprintable()


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_line_has_a_bound(form: str) -> None:
    """Whatever it quotes."""
    assert len(formatter(form).format(a_record("said %s", "x" * 1_000_000))) < 5_000
