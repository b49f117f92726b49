"""A new Workload while many others are there: how long until the platform is asked for it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from bench.fleet import Fleet
from bench.numbers import Quantiles
from bench.writer import Key


def beside_idle(fleet: Fleet) -> Quantiles:
    """Of the same project, one after the other, while the fleet stands idle; they are gone afterwards."""
    new = fleet.named("new", fleet.options.samples)
    since = fleet.team.platform.last()
    sent = new.create(pace=fleet.options.pace)
    latencies = _latencies(new, sent, since)
    new.until_answered()
    _take_away(new)
    return latencies


def beside_busy(fleet: Fleet) -> Quantiles:
    """Of another project, one after the other, while many are created at once in a third one.

    What serves one project alone has all of them in that one.
    """
    stage, options, own = fleet.stage, fleet.options, fleet.team
    apart = fleet.contestant.many_teams
    new = fleet.of(stage.team(f"{own.name}-new") if apart else own, "newcomer", options.samples)
    crowd = stage.team(f"{own.name}-crowd") if apart else own
    others = fleet.of(crowd, "other", min(fleet.size, options.at_once))
    since = own.platform.last()

    async def both() -> dict[Key, float]:
        creating = asyncio.create_task(stage.writer.create(others.keys))
        sent = await stage.writer.create(new.keys, options.pace)
        await creating
        return sent

    latencies = _latencies(new, asyncio.run(both()), since)
    for each in (new, others):
        each.until_answered()
        _take_away(each)
    return latencies


def _latencies(new: Fleet, sent: Mapping[Key, float], since: int) -> Quantiles:
    """The first creation of each counts, from its arrival at the platform."""
    new.until("asked for", lambda: len(_asked(new, since)), new.size, poll=0.25)
    asked = _asked(new, since)
    return Quantiles.of([asked[name] - at for (_, name), at in sent.items()])


def _asked(new: Fleet, since: int) -> dict[str, float]:
    calls = new.team.platform.requests(since, "create", new.team.name)
    return {call["slug"]: call["monotonic"] for call in reversed(calls) if call["slug"] in new.names}


def _take_away(fleet: Fleet) -> None:
    for namespace, name in fleet.keys:
        fleet.team.delete(name)
        assert namespace == fleet.team.name  # noqa: S101 - or another team's would go
    fleet.until_gone()
    fleet.settle()
