"""Puts results into docs/cost.md, docs/scale.md and README.md: figures, charts, outlook; and keeps them beside these.

Only what stands between the two marks of a page is replaced, and only whole. The pages' words are people's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bench import results
from bench.charts import Chart
from bench.figures import cell, contestants, figures, sizes
from bench.measures import MEASURES, Measure
from bench.numbers import Result
from bench.outlook import AHEAD, outlook
from bench.wording import TITLES, circumstances, rounded, spread, verdict

ROOT = Path(__file__).parents[1]
PAGE = Path("docs") / "cost.md"
OUTLOOK = Path("docs") / "scale.md"
README = Path("README.md")
FOLDER = Path("docs") / "cost"
RESULT = "result-{}.json"
"""The first is 1."""

_BLOCK = re.compile(r"(?<=<!-- figures -->\n).*?(?=<!-- end of figures -->)", re.DOTALL)
_CHARTS = {
    "cpu": ("Created at once", "CPU, ms each"),
    "platform": ("Created at once", "MiB from the platform"),
    "rest": ("At rest", "MiB from the platform per interval"),
    "memory": ("At rest", "resident memory, MiB"),
}
_QUOTED_OF = ("operator", "plain")
_QUOTED = (
    "lists of the platform per interval",
    "MiB from the platform per interval",
    "Kubernetes writes per interval",
    "CPU per 1,000, % of a core",
)
"""At rest: what a fleet costs for most of its life."""


def publish(found: Sequence[Result], root: Path = ROOT) -> None:
    """Rewrites the pages' blocks, the charts and the results in `root`."""
    blocks = {root / path: text for path, text in pages(found).items()}
    for path in blocks:
        if not _BLOCK.search(path.read_text(encoding="utf-8")):
            raise ValueError(f"{path} has no block of figures")
    folder = root / FOLDER
    folder.mkdir(exist_ok=True)
    for former in folder.glob(RESULT.format("*")):
        former.unlink()
    for number, result in enumerate(found, 1):
        results.write(result, folder / RESULT.format(number))
    for name, chart in charts(found).items():
        (folder / f"{name}.svg").write_text(chart.svg(), encoding="utf-8")
    for path, figured in blocks.items():
        text = path.read_text(encoding="utf-8")
        path.write_text(_BLOCK.sub(lambda _, figured=figured: figured, text), encoding="utf-8")  # type: ignore[misc]


def published(root: Path = ROOT) -> list[Result]:
    """The results that the pages in `root` show."""
    return [results.read(path) for path in sorted((root / FOLDER).glob(RESULT.format("*")))]


def pages(found: Sequence[Result]) -> dict[Path, str]:
    """What stands between the marks of each page."""
    return {PAGE: block(found), OUTLOOK: prospects(found), README: quoted(found)}


def quoted(found: Sequence[Result]) -> str:
    """What the README says of the first result that has handlers to compare with: some of its lines, word for word."""
    compared = next((each for each in found if {*_QUOTED_OF} <= {*contestants(each)}), found[0])
    size = sizes(compared)[-1]
    lines = [_row([f"{size:,} Workloads at rest", *(TITLES[name] for name in _QUOTED_OF)]), "| --- | ---: | ---: |"]
    for figure in figures(compared, size):
        if figure.section == "At rest" and figure.title in _QUOTED:
            values = [spread(figure.cells.get(name), figure.digits) for name in _QUOTED_OF]
            lines.append(_row([figure.title, *values]))
    return "\n".join(["", *lines, "", ""])


def prospects(found: Sequence[Result]) -> str:
    """All that stands between the marks of the outlook."""
    result = _together(found)
    heads = ["Workloads", *(f"{size:,}" for size in AHEAD), "with S shards"]
    lines = [_row(heads), _row(["---", *["---:"] * len(AHEAD), "---"])]
    lines += [_row([each.title, *map(rounded, each.values), each.shards]) for each in outlook(result)]
    measured = " and ".join(f"{size:,}" for size in sizes(result))
    return "\n".join(["", *lines, "", f"Computed from what was measured with {measured} Workloads.", "", ""])


def block(found: Sequence[Result]) -> str:
    """All that stands between the marks: each result under its own circumstances, and charts of all."""
    parts = []
    for result in found:
        parts += ["\n", *(f"{line}\n" for line in circumstances(result.conditions)), "\n"]
        parts += [_table(result, size) for size in sizes(result)]
    shown = " ".join(f"![{chart.title}]({FOLDER.name}/{name}.svg)" for name, chart in charts(found).items())
    return "".join([*parts, f"{shown}\n\n"])


def _together(found: Sequence[Result]) -> Result:
    rounds = [each for result in found for each in result.rounds]
    return replace(found[0], rounds=rounds, teams=[each for result in found for each in result.teams])


def charts(found: Sequence[Result]) -> dict[str, Chart]:
    """By the names of their files; those that have something to show."""
    result, drawn = _together(found), {}
    for name, (section, title) in _CHARTS.items():
        measure = next(each for each in MEASURES if (each.section, each.title) == (section, title))
        lines = {TITLES[one]: _line(result, measure, one) for one in contestants(result)}
        drawn[name] = Chart(f"{section}: {title}", {one: points for one, points in lines.items() if points})
    return {name: chart for name, chart in drawn.items() if chart.lines}


def _line(result: Result, measure: Measure, contestant: str) -> list[tuple[float, float]]:
    found = ((size, cell(result, size, measure, contestant)) for size in sizes(result))
    return [(float(size), spread.median) for size, spread in found if spread is not None]


def _table(result: Result, size: int) -> str:
    names = contestants(result)
    heads = ["", *(TITLES[name] for name in names), "goal", ""]
    lines = [f"### {size:,} Workloads", "", _row(heads), _row(["---", *["---:"] * (len(names) + 1), "---"])]
    section = ""
    for figure in figures(result, size):
        if figure.section != section:
            section = figure.section
            lines.append(_row([f"**{section}**", *[""] * (len(heads) - 1)]))
        values = [spread(figure.cells.get(name), figure.digits) for name in names]
        lines.append(_row([figure.title, *values, figure.goal, verdict(figure)]))
    return "\n".join([*lines, "", ""])


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
