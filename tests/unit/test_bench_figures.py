"""From what a bench counted to what it shows: ratios, medians, goals, the page and its charts."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench import page, results
from bench.__main__ import main, parser
from bench.charts import Chart
from bench.figures import Figure, Spread, figures
from bench.measures import Goal
from bench.numbers import (
    Conditions,
    Creation,
    Deletion,
    Quantiles,
    Rest,
    Restart,
    Result,
    Round,
    Span,
    Storm,
    Teams,
)
from bench.procfs import Memory, cpu_seconds, memory
from bench.wording import circumstances, number, spread

SIZE = 1000
QUANTILES = Quantiles(4, 0.1, 0.2, 0.5, 0.6)


def a_span(**changes: object) -> Span:
    """Three writes and two Events for each of a thousand."""
    writes = {
        "patch workloads": SIZE,
        "create configmaps": SIZE,
        "patch workloads/status": SIZE,
        "create events": 2 * SIZE,
    }
    usual = Span(10.0, 2.0, 5.0, 1.0, 0.5, writes, {}, {}, {"list": 5, "create": SIZE}, 2**20, Memory(90.0, 80.0, 95.0))
    return replace(usual, **changes)  # type: ignore[arg-type]


def a_round(contestant: str = "operator", number: int = 1, *, seconds: float = 10.0, size: int = SIZE) -> Round:
    """One creation that took so long."""
    return Round(contestant, size, number, Creation(seconds, QUANTILES, a_span(), phases=0, rows=size))


def a_result(*rounds: Round, interval: float = 30.0, teams: tuple[Teams, ...] = ()) -> Result:
    """What a quiet machine with two cores has measured."""
    versions = {"python": "3.11"}
    conditions = Conditions("2026-01-31 12:00 UTC", "abc", "a machine", 2, 0.1, versions, interval, (SIZE,), 3)
    return Result(conditions, list(rounds), list(teams))


def shown(result: Result, title: str, size: int = SIZE) -> Figure:
    """One line of the table."""
    return next(figure for figure in figures(result, size) if figure.title == title)


def test_a_figure_is_the_median_and_what_it_varied_between() -> None:
    """Of the rounds of one contestant at one size; another size is another line."""
    rounds = [a_round(number=each, seconds=seconds) for each, seconds in enumerate((10.0, 20.0, 8.0), 1)]
    found = shown(a_result(*rounds, a_round(size=10)), "Workloads/s until every status is written")
    assert found.cells == {"operator": Spread(100.0, 50.0, 125.0)}


def test_the_share_of_the_limit_is_taken_within_a_round() -> None:
    """The limit of the same round counts, as the machine may have been slow in it."""
    rounds = [a_round(seconds=10.0), a_round("same", seconds=9.0)]
    rounds += [a_round(number=2, seconds=20.0), a_round("same", 2, seconds=16.0), a_round(number=3)]
    found = shown(a_result(*rounds), "share of the limit, the same writes")
    assert found.cells["operator"] == Spread(pytest.approx(0.85), 0.8, 0.9)
    assert (found.goal, found.met) == ("≥ 0.85", True)


def test_a_time_is_judged_by_its_median_and_a_count_by_its_worst() -> None:
    """One slow round is the machine's, one duplicate is ours."""
    slow = replace(a_round(), restart=Restart(60.0, a_span(writes={})))
    usual = [replace(a_round(number=each), restart=Restart(5.0, a_span(writes={}))) for each in (2, 3)]
    assert shown(a_result(slow, *usual), "seconds until each was looked at").met is True
    twin = Round("operator", SIZE, 4, Creation(1.0, QUANTILES, a_span(), phases=0, rows=SIZE + 1))
    assert shown(a_result(*usual, twin), "duplicates on the platform").met is False


def test_writes_that_are_not_foreseen_are_those_beyond_phases() -> None:
    """Four for each, one per phase that a status told of, and Events: what is more is told."""
    more = a_span(writes={**a_span().writes, "patch workloads/status": 2 * SIZE + 700})
    for phases, beyond in ((700, 0.0), (600, 0.1), (900, 0.0)):
        made = Round("operator", SIZE, 1, Creation(1.0, QUANTILES, more, phases=phases, rows=SIZE))
        found = shown(a_result(made), "of these not foreseen")
        assert found.cells["operator"].median == pytest.approx(beyond)
        assert found.met is (beyond == 0)


def test_what_does_not_know_the_platform_has_no_duplicates() -> None:
    """The bare client creates nothing there."""
    bare = Round("limit", SIZE, 1, Creation(1.0, QUANTILES, a_span(calls={}), phases=0, rows=0))
    found = shown(a_result(a_round(), bare), "duplicates on the platform")
    assert set(found.cells) == {"operator"}


def test_rest_is_judged_at_the_usual_interval() -> None:
    """CPU per thousand at 30 s has a goal; at another interval, or of few, it has none."""
    idle = Rest(3, a_span(seconds=90.0, cpu=0.18, writes={}, calls={"list": 3}))
    for interval, size, met in ((30.0, SIZE, True), (1.0, SIZE, None), (30.0, 20, None)):
        found = shown(
            a_result(replace(a_round(size=size), rest=idle), interval=interval), "CPU per 1,000, % of a core", size
        )
        assert found.cells["operator"].median == pytest.approx(0.2 * SIZE / size)
        assert found.met is met


def test_lists_per_interval_go_by_the_distance_between_them() -> None:
    """Four lists in three intervals are one per interval, where they are 28 s apart."""
    idle = Rest(3, a_span(calls={"list": 4}), list_seconds=84.0)
    found = shown(a_result(replace(a_round(), rest=idle)), "lists of the platform per interval")
    assert found.cells["operator"].median == pytest.approx(30 / 28)
    assert (found.goal, found.met) == ("≤ 1.12", True)
    twice = Rest(3, a_span(calls={"list": 7}), list_seconds=90.0)
    assert shown(a_result(replace(a_round(), rest=twice)), "lists of the platform per interval").met is False


def test_repairs_leftovers_and_deletion() -> None:
    """The counts of a storm, and what a deletion takes against the creation of the same round."""
    storm, gone = Storm(5.0, 1, a_span(calls={"update": SIZE})), Deletion(8.0, 0, a_span())
    result = a_result(replace(a_round(), storm=storm, deletion=gone))
    assert shown(result, "all on the platform: repairs each").cells["operator"].median == 1
    assert shown(result, "time, against that of their creation").cells["operator"].median == pytest.approx(0.8)
    assert shown(result, "left on the platform").met is True


def test_teams_are_compared_with_themselves() -> None:
    """Their latency beside those in trouble, against that beside others that are well."""
    teams = Teams(SIZE, 1, 20, 50, 1, 1, QUANTILES, replace(QUANTILES, p99=0.7))
    found = shown(a_result(a_round(), teams=(teams,)), "p99 latency of the others, as a ratio")
    assert found.cells["operator"].median == pytest.approx(1.4)
    assert (found.met, found.section) == (
        False,
        "20 projects with 50 Workloads each, 1 with a slow platform, 1 with bad tokens",
    )


def test_growth_is_against_the_next_smaller_fleet() -> None:
    """Ten times as many in eleven times the time is the goal's end."""
    result = a_result(a_round(seconds=10.0), a_round(seconds=110.0, size=10 * SIZE))
    found = shown(result, "time per Workload, against that of 1,000", 10 * SIZE)
    assert found.cells["operator"].median == pytest.approx(1.1)
    assert found.met is True
    assert not [each for each in figures(result, SIZE) if each.title.startswith("time per Workload")]


def test_goals_have_no_floating_point_in_them() -> None:
    """A value that is the bound but for the last bit is within it."""
    assert Goal("≤", 1.1).holds(110.00000000000001 / 100)
    assert not Goal("≤", 1.1).holds(1.11)
    assert Goal("≥", 0.85).holds(0.8499999999999999)


@pytest.mark.parametrize(
    ("of", "digits", "words"),
    [
        (Spread(1234.5, 1234.5, 1234.5), 0, "1,234"),
        (Spread(2.0, 1.5, 2.5), 1, "2.0 (1.5–2.5)"),
        (Spread(2.001, 2.0, 2.002), 1, "2.0"),
        (None, 1, ""),
    ],
)
def test_spreads_in_words(of: Spread | None, digits: int, words: str) -> None:
    """What it varied between is told where it shows."""
    assert spread(of, digits) == words


def test_nothing_has_no_sign() -> None:
    """A small negative number is 0."""
    assert number(-0.001, 1) == "0.0"


def test_a_busy_machine_is_told() -> None:
    """Whoever reads times must know."""
    quiet = a_result().conditions
    assert "busy" not in " ".join(circumstances(quiet))
    assert "busy" in " ".join(circumstances(replace(quiet, load_before=3.0)))


def test_quantiles_are_of_the_values() -> None:
    """By the nearest rank."""
    found = Quantiles.of([float(value) for value in range(100)])
    assert found == Quantiles(100, 50.0, 90.0, 99.0, 99.0)


def test_a_process_is_measured() -> None:
    """Ours has used some time and some memory."""
    assert cpu_seconds(os.getpid()) > 0
    held = memory(os.getpid())
    assert 1 < held.proportional <= held.resident <= held.peak


def test_a_result_comes_back_from_its_file(tmp_path: Path) -> None:
    """As it was, with what is not there."""
    result = a_result(a_round(), replace(a_round("plain"), creation=None, gave_up="it took too long"))
    results.write(result, tmp_path / "new" / "result.json")
    assert results.read(tmp_path / "new" / "result.json") == result


def test_what_is_no_result_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With a message and no traceback."""
    (tmp_path / "other.json").write_text("{}")
    assert main(["show", str(tmp_path / "other.json")]) == 1
    assert main(["docs", str(tmp_path / "missing.json")]) == 1
    assert capsys.readouterr().err.count("error: ") == 2


@pytest.mark.parametrize("words", ["run -n 0", "run -n few", "run --peers other", "run --rounds 0", "run --interval 0"])
def test_options_that_make_no_sense(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The run ends before anything is started."""
    with pytest.raises(SystemExit):
        parser().parse_args(words.split())
    assert "error: argument" in capsys.readouterr().err


def test_a_chart_is_a_drawing_with_a_line_for_each() -> None:
    """Also of a single point; what cannot be shown on its axes is left out."""
    chart = Chart("a < b", {"one": [(10, 0.5), (1000, 50)], "two": [(10, 3)], "nothing": [(10, 0)]})
    root = ElementTree.fromstring(chart.svg())  # noqa: S314 - it is ours
    space = "{http://www.w3.org/2000/svg}"
    assert len(root.findall(f"{space}polyline")) == 2
    assert len(root.findall(f"{space}circle")) == 3
    texts = [each.text for each in root.findall(f"{space}text")]
    assert {"a < b", "one", "two", "1,000", "0.1"} <= set(texts)
    assert "nothing" not in texts


def test_the_page_shows_the_results_that_are_checked_in() -> None:
    """docs/cost.md, its charts and the README's table are what `python -m bench docs` makes of the results."""
    found = page.published()
    for path in (page.PAGE, page.README):
        assert page.pages(found)[path] in (page.ROOT / path).read_text(encoding="utf-8")
    drawn = page.charts(found)
    assert sorted(path.stem for path in (page.ROOT / page.FOLDER).glob("*.svg")) == sorted(drawn)
    for name, chart in drawn.items():
        assert (page.ROOT / page.FOLDER / f"{name}.svg").read_text(encoding="utf-8") == chart.svg()


def test_the_readme_quotes_the_largest_fleet_beside_handlers() -> None:
    """Of the first result that has handlers; four lines, each with both."""
    alone, beside = a_result(a_round()), a_result(a_round(), replace(a_round("plain"), size=a_round().size))
    shown = page.quoted([alone, beside])
    assert "| operator | plain kopf |" in shown
    assert f"| {beside.rounds[0].size:,} Workloads at rest |" in shown


def test_several_results_are_shown_one_after_the_other() -> None:
    """Each under its own circumstances; the charts and the outlook have all of it."""
    one, other = a_result(replace(a_round(), size=1000)), a_result(replace(a_round(), size=10_000))
    other = replace(other, conditions=replace(other.conditions, date="another day"))
    shown = page.block([one, other])
    places = [shown.index(words) for words in (one.conditions.date, "### 1,000 Work", "another day", "### 10,000 Work")]
    assert places == sorted(places)
    assert all(len(points) == 2 for chart in page.charts([one, other]).values() for points in chart.lines.values())
    assert "1,000 and 10,000 Workloads" in page.prospects([one, other])
