"""The bench's quick form: all contestants and all scenarios with few Workloads. Counts alone, never times.

What a thousand cost is held in test_scale.py; here it is the bench that is tested. It stands on the control plane and
the platform of all tests.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench import page, results
from bench.__main__ import main
from bench.numbers import Result, Round
from bench.options import QUICK
from bench.run import go_through
from bench.stage import ROOT, on_top_of
from controlplane.access import Cluster
from controlplane.cluster import ControlPlane
from controlplane.progress import Progress
from harness.api import Api
from inferencekey_simulator.admin import Admin

SIZE = QUICK.sizes[0]

pytestmark = pytest.mark.tools


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the result is written."""
    return tmp_path_factory.mktemp("bench") / "result.json"


@pytest.fixture(scope="module")
def result(control_plane: Cluster, api: Api, platform: Admin, service_account: Path, file: Path) -> Iterator[Result]:
    """One round of everything."""
    if not isinstance(control_plane, ControlPlane):
        pytest.skip("this cluster is not our own: its processes cannot be measured")
    empty = Result(results.conditions(QUICK))
    with (
        _progress(file).open("w", encoding="utf-8") as stream,
        on_top_of(
            control_plane,
            api,
            platform,
            service_account=service_account,
            folder=file.parent,
            progress=Progress(stream, plain_seconds=0.0),
        ) as stage,
    ):
        yield go_through(stage, QUICK, empty, file, size=SIZE, number=1)


def _progress(file: Path) -> Path:
    """What is told meanwhile, to no terminal."""
    return file.with_name("progress")


def _round(result: Result, contestant: str) -> Round:
    found = next(each for each in result.rounds if each.contestant == contestant)
    assert found.gave_up is None
    return found


def test_the_operator_goes_through_everything(result: Result) -> None:
    """One creation, repair and deletion each; nothing is written at rest and at a restart."""
    ours = _round(result, "operator")
    assert ours.creation
    assert ours.rest
    assert ours.restart
    assert ours.storm
    assert ours.edit
    assert ours.deletion
    assert (ours.creation.rows, ours.creation.span.calls["create"]) == (SIZE, SIZE)
    writes = ours.creation.span.writes
    assert (writes["patch workloads"], writes["create configmaps"], writes["create events"]) == (SIZE, SIZE, 2 * SIZE)
    assert writes["patch workloads/status"] <= 2 * SIZE + ours.creation.phases  # record, id, phases
    assert (ours.rest.span.writes, ours.restart.span.writes) == ({}, {})
    assert ours.rest.span.calls["list"] >= 1
    assert ours.edit.span.calls["update"] == SIZE
    assert (ours.storm.span.calls["update"], ours.storm.most_repairs) == (SIZE, 1)
    assert (ours.deletion.span.calls["delete"], ours.deletion.left) == (SIZE, 0)
    latencies = (ours.beside_idle, ours.beside_busy, ours.drift)
    assert [seen and seen.count for seen in latencies] == [QUICK.samples] * 3


def test_the_peers_do_what_they_are_for(result: Result) -> None:
    """Plain handlers list for each Workload; the bare client makes three writes for each, and nothing else."""
    plain, limit = _round(result, "plain"), _round(result, "limit")
    assert plain.creation
    assert plain.deletion
    assert plain.creation.rows >= SIZE
    assert plain.creation.span.calls["list"] >= SIZE
    assert plain.creation.span.cpu > 0
    assert limit.creation
    assert limit.creation.span.writes == {
        "patch workloads": SIZE,
        "create configmaps": SIZE,
        "patch workloads/status": SIZE,
    }


def test_many_teams_are_measured_twice(result: Result) -> None:
    """The latencies of those that are well, without and with trouble beside them."""
    teams = result.teams[0]
    assert (teams.projects, teams.slow, teams.bad) == (4, 1, 1)
    assert teams.healthy.count == teams.troubled.count == 2 * teams.each


def test_it_is_told(result: Result, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Progress in plain lines, and the table of the file that was written; no token in any of it."""
    assert results.read(file) == result
    assert main(["show", str(file)]) == 0
    table = capsys.readouterr().out
    for words in ("Workloads/s until every status is written", "plain kopf", "limit, 3 writes", "not met", "met"):
        assert words in table
    progress = _progress(file).read_text(encoding="utf-8")
    assert "operator, creation: statuses written" in progress
    for text in (table, progress, file.read_text()):
        assert "ik_sdk_" not in text
        assert "\x1b" not in text


def test_it_can_be_put_into_the_pages(result: Result, tmp_path: Path) -> None:
    """The figures stand between the marks, what is around them stays, and the charts are drawings."""
    (tmp_path / "docs").mkdir()
    blocks = page.pages([result])
    before = {path: (ROOT / path).read_text(encoding="utf-8") for path in blocks}
    for path in blocks:
        shutil.copy(ROOT / path, tmp_path / path)
    page.publish([result], tmp_path)
    page.publish([result], tmp_path)
    for path, block in blocks.items():
        after = (tmp_path / path).read_text(encoding="utf-8")
        assert block in after
        assert after.partition("<!-- figures -->")[0] == before[path].partition("<!-- figures -->")[0]
        assert after.partition("<!-- end of figures -->")[2] == before[path].partition("<!-- end of figures -->")[2]
    charts = sorted((tmp_path / page.FOLDER).glob("*.svg"))
    assert [path.stem for path in charts] == sorted(page.charts([result]))
    for path in charts:
        assert ElementTree.parse(path).getroot().tag.endswith("svg")  # noqa: S314 - we have just written it
    assert page.published(tmp_path) == [result]
