"""The result on a terminal, or as plain lines in a pipe."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.figures import Figure, contestants, figures, sizes
from bench.numbers import Result
from bench.wording import TITLES, circumstances, spread, verdict

_COLORS = {"met": "green", "not met": "red", "": ""}
_LEAST_WIDTH = 150
"""In a pipe, where nobody says how wide it is."""


def show(result: Result, console: Console) -> None:
    """One table per size."""
    if not console.is_terminal:
        console.width = max(console.width, _LEAST_WIDTH)
    for line in circumstances(result.conditions):
        console.print(Text(line, "dim"))
    for size in sizes(result):
        console.print(_table(result, size))
    for each in result.rounds:
        if each.gave_up:
            console.print(Text(f"{each.contestant}, N = {each.size}, gave up: {each.gave_up}", "yellow"))


def _table(result: Result, size: int) -> Table:
    names = contestants(result)
    table = Table(title=f"{size:,} Workloads", box=SIMPLE_HEAD, title_justify="left", pad_edge=False)
    table.add_column("figure", overflow="fold")
    for name in names:
        table.add_column(TITLES[name], justify="right")
    table.add_column("goal", justify="right")
    table.add_column("")
    section = ""
    for figure in figures(result, size):
        if figure.section != section:
            section = figure.section
            table.add_row(Text(section, "bold"))
        table.add_row(*_cells(figure, names))
    return table


def _cells(figure: Figure, names: list[str]) -> list[Text]:
    told = verdict(figure)
    values = [Text(spread(figure.cells.get(name), figure.digits)) for name in names]
    return [Text(f"  {figure.title}"), *values, Text(figure.goal, "dim"), Text(told, _COLORS[told])]
