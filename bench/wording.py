"""How numbers, contestants and circumstances are worded, alike on the terminal and on the page. Pure."""

from __future__ import annotations

import math

from bench.figures import Figure, Spread
from bench.numbers import Conditions

TITLES = {"operator": "operator", "plain": "plain kopf", "limit": "limit, 3 writes", "same": "limit, same writes"}
BUSY = 0.3
"""A load average per core before the run above which times mean little."""


def number(value: float, digits: int) -> str:
    """With thousands apart; `-0` is no number."""
    text = f"{value:,.{digits}f}"
    return text.removeprefix("-") if float(text.replace(",", "")) == 0 else text


def rounded(value: float) -> str:
    """To two figures: more would be a claim."""
    if value <= 0:
        return "0"
    digits = 1 - math.floor(math.log10(value))
    return number(round(value, digits), max(0, digits))


def spread(of: Spread | None, digits: int) -> str:
    """The median, and what it varied between where it did."""
    if of is None:
        return ""
    middle, low, high = (number(value, digits) for value in (of.median, of.low, of.high))
    return middle if low == high else f"{middle} ({low}–{high})"


def verdict(figure: Figure) -> str:
    """Of the operator's goal."""
    return {True: "met", False: "not met", None: ""}[figure.met]


def circumstances(of: Conditions) -> list[str]:
    """Where and when, as sentences."""
    versions = ", ".join(f"{name} {version}" for name, version in of.versions.items())
    load = f"load average {of.load_before:g} before the run"
    if of.load_before > BUSY * of.cores:
        load += ": the machine was busy with other things, so that its times say little, and its counts all"
    rounds = "one round" if of.rounds == 1 else f"{of.rounds} rounds"
    return [
        f"{of.date}, commit {of.commit}, {rounds} at an interval of {of.interval:g} s.",
        f"{of.machine}, {of.cores} cores for everything, {load}.",
        f"{versions}.",
    ]
