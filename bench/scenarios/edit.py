"""One field of every spec is changed at once, until every status tells of it."""

from __future__ import annotations

import asyncio

from bench.fleet import Fleet
from bench.numbers import Edit

MODEL = "llama-4"


def edit(fleet: Fleet) -> Edit:
    """The platform has the new model in each of them."""
    meter = fleet.meter()
    asyncio.run(fleet.stage.writer.edit(fleet.keys, model=MODEL))
    fleet.until_answered(generation=2)
    seconds = max(fleet.stage.sights.moments(fleet.keys).values()) - meter.began
    fleet.settle()
    return Edit(seconds, meter.stop())
