"""The picture in the README: taken of what a terminal shows, and still of what the demo does."""

from __future__ import annotations

import re
from html import unescape
from io import StringIO
from pathlib import Path

import yaml

from demo.picture import Camera
from demo.story import CHANGES, CHAPTERS
from unit.pages import ROOT, page

PICTURE = ROOT / "docs/images/demo.svg"
MOMENT = "5/7 Somebody changes workloads in the dashboard"


def words(svg: str) -> str:
    """The text of a picture, a line for each piece."""
    pieces = re.findall(r"<text[^>]*>(.*?)</text>", svg)
    return "\n".join(unescape(piece).replace("\xa0", " ") for piece in pieces)


def test_it_is_taken_at_the_first_beat_of_its_chapter(tmp_path: Path) -> None:
    """What was said in that chapter so far is on it; what came before and after is not."""
    camera = Camera(StringIO(), tmp_path / "picture.svg")
    camera.heading("4/7 Nothing happens")
    camera.say("before")
    camera.beat()
    camera.heading(MOMENT)
    camera.command("kubectl get ikw")
    camera.beat()
    camera.say("after")
    camera.beat()
    told = words((tmp_path / "picture.svg").read_text(encoding="utf-8"))
    assert MOMENT in told
    assert "kubectl get ikw" in told
    assert not {"before", "after", "4/7"} & set(told.split())


def test_it_fetches_nothing() -> None:
    """No font and no image from elsewhere: a page that shows it tells nobody."""
    svg = PICTURE.read_text(encoding="utf-8")
    assert set(re.findall(r"https?:[^\s\"']+", svg)) == {"http://www.w3.org/2000/svg"}
    assert "url(" not in svg.replace("url(#", "")


def test_it_shows_what_the_demo_does() -> None:
    """Its chapter, each change and each Workload is there; if not, take another one: `make picture`."""
    told = words(PICTURE.read_text(encoding="utf-8"))
    assert MOMENT.partition(" ")[2] in [title for title, _ in CHAPTERS]
    assert MOMENT in told
    for change in CHANGES:
        assert f"{change.name}, {change.policy}: " in told
        assert all(f"{field} = {value}" in told for field, value in change.live.items())
    (kustomization,) = yaml.safe_load_all((ROOT / "examples/kustomization.yaml").read_text(encoding="utf-8"))
    for name in kustomization["resources"]:
        (workload,) = yaml.safe_load_all((ROOT / "examples" / name).read_text(encoding="utf-8"))
        assert workload["metadata"]["name"] in map(str.strip, told.splitlines())


def test_the_readme_shows_it() -> None:
    """Near the top, with words for those who do not see it."""
    found = re.search(r"!\[([^\]]{40,})\]\(docs/images/demo.svg\)", page("README.md").text)
    assert found is not None
    assert found.start() < 500
