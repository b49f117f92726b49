"""Lists that lag: which change they show when, and what always sees the truth."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from inferencekey_simulator.inventory import to_json
from inferencekey_simulator.lag import Change, settled
from inferencekey_simulator.platform import Platform
from inferencekey_simulator.refusal import RefusedError
from inferencekey_simulator.settings import ListLag
from unit.manual_time import Time

PROJECT = "acme"
BODY = {"name": "Bot", "slug": "bot", "backend": "vllm", "model_name": "llama-3"}

Act = Callable[[Platform, str], object]


@pytest.fixture
def time() -> Time:
    """The time of the platform."""
    return Time()


@pytest.fixture
def platform(time: Time) -> Platform:
    """A platform without workloads."""
    return Platform(time.clock())


@pytest.fixture
def token(platform: Platform) -> str:
    """A token that may write."""
    return platform.mint(PROJECT)


def rows(platform: Platform, token: str) -> list[dict[str, Any]]:
    """Return the rows that a list answers."""
    found: list[dict[str, Any]] = json.loads(platform.list_workloads(token, PROJECT))
    return found


def shown(platform: Platform, token: str) -> str:
    """Return `slug=model_name` of each listed row."""
    return " ".join(f"{row['slug']}={row['model_name']}" for row in rows(platform, token))


def create(slug: str, model: str = "a") -> Act:
    """Return a POST."""
    return lambda platform, token: platform.create(token, PROJECT, BODY | {"slug": slug, "model_name": model})


def patch(slug: str, model: str) -> Act:
    """Return a PATCH."""
    return lambda platform, token: platform.update(token, platform.row(PROJECT, slug).id, {"model_name": model})


def delete(slug: str) -> Act:
    """Return a DELETE."""
    return lambda platform, token: platform.delete(token, platform.row(PROJECT, slug).id)


def added(slug: str, model: str = "a") -> Act:
    """Return a creation in the dashboard."""
    return lambda platform, _: platform.add(PROJECT, {"slug": slug, "model_name": model})


def edit(target: str, **changes: str) -> Act:
    """Return an edit in the dashboard."""
    return lambda platform, _: platform.edit(platform.row(PROJECT, target), changes)


def removed(slug: str) -> Act:
    """Return a removal in the dashboard."""
    return lambda platform, _: platform.remove(platform.row(PROJECT, slug))


def configure(**changes: Any) -> Act:
    """Return a change of settings."""
    return lambda platform, _: platform.configure(changes)


@pytest.mark.parametrize(
    ("lag", "acts", "seen"),
    [
        pytest.param({"create": 3}, {0: [create("x")]}, {0: "old=a", 2: "old=a", 3: "old=a x=a"}, id="create"),
        pytest.param({"create": 3}, {0: [added("x")]}, {2: "old=a", 3: "old=a x=a"}, id="create-in-the-dashboard"),
        pytest.param({"update": 3}, {0: [patch("old", "b")]}, {0: "old=a", 2: "old=a", 3: "old=b"}, id="update"),
        pytest.param({"update": 3}, {0: [edit("old", slug="new")]}, {2: "old=a", 3: "new=a"}, id="rename"),
        pytest.param(
            {"update": 3},
            {0: [patch("old", "b")], 1: [edit("old", model_name="c")], 2: [patch("old", "d")]},
            {2: "old=a", 3: "old=b", 4: "old=c", 5: "old=d"},
            id="quick-changes-appear-one-by-one",
        ),
        pytest.param({"delete": 3}, {0: [delete("old")]}, {0: "old=a", 2: "old=a", 3: ""}, id="delete"),
        pytest.param({"delete": 3}, {0: [removed("old")]}, {2: "old=a", 3: ""}, id="delete-in-the-dashboard"),
        pytest.param(
            {"delete": 3},
            {0: [delete("old"), create("old", "b")]},
            {0: "old=a old=b", 3: "old=b"},
            id="a-new-row-next-to-a-removed-one",
        ),
        pytest.param(
            {"create": 3}, {0: [create("x")], 1: [patch("x", "b")]}, {1: "old=a", 3: "old=a x=b"}, id="changed-unseen"
        ),
        pytest.param(
            {"create": 3, "update": 4},
            {0: [create("x")], 1: [patch("x", "b")]},
            {2: "old=a", 3: "old=a x=a", 5: "old=a x=b"},
            id="created-then-changed",
        ),
        pytest.param(
            {"create": 3}, {0: [create("x")], 1: [delete("x")]}, {1: "old=a", 3: "old=a"}, id="removed-unseen"
        ),
        pytest.param(
            {"create": 3, "delete": 4},
            {0: [create("x")], 1: [delete("x")]},
            {2: "old=a", 3: "old=a x=a", 5: "old=a"},
            id="removed-before-it-appeared",
        ),
        pytest.param(
            {"update": 4, "delete": 1},
            {0: [patch("old", "b")], 1: [delete("old")]},
            {1: "old=a", 2: "", 4: ""},
            id="removal-overtakes-a-change",
        ),
        pytest.param(
            {"update": 9},
            {0: [patch("old", "b")], 1: [configure(list_lag={"update": 2})]},
            {1: "old=a", 2: "old=b"},
            id="shorter-lag",
        ),
        pytest.param(
            {"create": 9, "update": 9, "delete": 9},
            {0: [patch("old", "b"), create("x")], 1: [configure(list_lag={"create": 0, "update": 0, "delete": 0})]},
            {0: "old=a", 1: "old=b x=a"},
            id="lag-switched-off",
        ),
        pytest.param(
            {"update": 1},
            {0: [patch("old", "b")], 2: [configure(list_lag={"update": 9}), patch("old", "c")]},
            {2: "old=b", 10: "old=b", 11: "old=c"},
            id="longer-lag-hides-nothing-again",
        ),
    ],
)
def test_lists_show_each_change_later(
    platform: Platform,
    token: str,
    time: Time,
    *,
    lag: dict[str, float],
    acts: dict[int, list[Act]],
    seen: dict[int, str],
) -> None:
    """Lists show a change of the API or of the dashboard when the lag of its kind is over."""
    create("old")(platform, token)
    platform.configure({"list_lag": lag})
    begin = time.now
    for second in range(max(seen) + 1):
        time.now = begin + second
        for act in acts.get(second, []):
            act(platform, token)
        if second in seen:
            assert shown(platform, token) == seen[second], second


def test_changes_that_no_list_watched(platform: Platform, token: str, time: Time) -> None:
    """A list shows the newest change that is due, even if no list showed the changes before it."""
    create("old")(platform, token)
    platform.configure({"list_lag": {"update": 3}})
    for model in "bcdef":
        patch("old", model)(platform, token)
        time.now += 1
    assert shown(platform, token) == "old=d"


def test_everything_but_lists_sees_the_truth(platform: Platform, token: str) -> None:
    """Answers, readiness, the uniqueness of slugs and the dashboard do not lag."""
    platform.configure({"list_lag": {"create": 60, "update": 60, "delete": 60}})
    row = platform.create(token, PROJECT, BODY)
    assert platform.readiness(token, PROJECT, "bot") is row
    assert platform.create(token, PROJECT, BODY).slug == "bot-1"
    assert json.loads(platform.update(token, row.id, {"name": "New"}).encoded)["name"] == "New"
    assert [each.fields["name"] for each in platform.rows(PROJECT)] == ["New", "Bot"]
    platform.delete(token, row.id)
    with pytest.raises(RefusedError):
        platform.delete(token, row.id)
    assert platform.create(token, PROJECT, BODY).slug == "bot"
    assert rows(platform, token) == []


def test_projects_lag_on_their_own(platform: Platform, token: str) -> None:
    """A row that lags in one project is in no other project's list."""
    stranger = platform.mint("other")
    create("old")(platform, token)
    platform.configure({"list_lag": {"delete": 60}})
    delete("old")(platform, token)
    assert json.loads(platform.list_workloads(stranger, "other")) == []
    assert shown(platform, token) == "old=a"


def test_an_earlier_state_has_the_form_of_today(platform: Platform, token: str) -> None:
    """A row that is listed in its previous state has the fields that the settings add now."""
    create("old")(platform, token)
    platform.configure({"list_lag": {"update": 60}})
    patch("old", "b")(platform, token)
    platform.configure({"extra_fields": {"region": "eu"}, "omit_null": True})
    assert [(row["model_name"], row["region"], "worker_id" in row) for row in rows(platform, token)] == [
        ("a", "eu", False)
    ]


def test_every_second_list_lags(platform: Platform, token: str) -> None:
    """With replicas of which one is stale, the lists of each project alternate, and the first one is fresh."""
    stranger = platform.mint("other")
    create("old")(platform, token)
    platform.configure({"list_lag": {"create": 60, "delete": 60}, "stale_replicas": True})
    create("new")(platform, token)
    delete("old")(platform, token)
    assert [shown(platform, token) for _ in range(2)] == ["new=a", "old=a"]
    platform.list_workloads(stranger, "other")
    assert [shown(platform, token) for _ in range(3)] == ["new=a", "old=a", "new=a"]
    platform.configure({"stale_replicas": False})
    assert [shown(platform, token) for _ in range(2)] == ["old=a"] * 2
    platform.configure({"stale_replicas": True})
    assert shown(platform, token) == "new=a"


def test_lists_that_show_everything_again_are_joined_once_per_change(
    platform: Platform, token: str, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When all changes are shown, a lag costs nothing: no JSON is made for a list."""
    platform.configure({"list_lag": {"create": 1, "update": 1, "delete": 1}})
    for act in (create("x"), create("y"), patch("x", "b"), delete("y")):
        act(platform, token)
    time.now += 1
    assert shown(platform, token) == "x=b"
    made: list[object] = []
    monkeypatch.setattr("inferencekey_simulator.platform.to_json", lambda value: made.append(value) or to_json(value))
    assert platform.list_workloads(token, PROJECT) is platform.list_workloads(token, PROJECT)
    assert made == []


def test_changes_that_are_shown_are_not_kept() -> None:
    """The history of a row has the newest change that lists show, and those that they do not show yet."""
    changes = [Change(float(second), "update", {"at": second}) for second in range(10)]
    left = settled(changes, 10.0, ListLag(update=3))
    assert left == [Change(7.0, None, {"at": 7}), *changes[8:]]
    assert settled(left, 10.0, ListLag(update=60)) == left
