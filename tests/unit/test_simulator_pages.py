"""Lists over HTTP that show one page only, and rows that are none of the project's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from inferencekey_simulator.admin import Admin
from inferencekey_simulator.app import background
from inferencekey_simulator.platform import Platform
from unit.simulated import client_of

PROJECT = "acme"
WORKLOADS = f"/api/projects/{PROJECT}/workloads"


@pytest.fixture
def platform() -> Platform:
    """The platform under test."""
    return Platform()


@pytest_asyncio.fixture
async def client(platform: Platform) -> AsyncIterator[httpx.AsyncClient]:
    """A client with a token that may read."""
    async with client_of(platform, platform.mint(PROJECT)) as client:
        yield client


def slugs(rows: list[dict[str, Any]]) -> str:
    """Return the slugs of rows."""
    return " ".join(row["slug"] for row in rows)


@pytest.mark.parametrize(
    ("pages", "cut", "fits"),
    [
        ("next_cursor", {"next_cursor": "after-2"}, {"next_cursor": None}),
        ("has_more", {"has_more": True}, {"has_more": False}),
        ("total", {"total": 3}, {"total": 2}),
    ],
)
@pytest.mark.parametrize("shape", ["array", "object", "null"])
async def test_the_first_page_in_an_object(
    client: httpx.AsyncClient, platform: Platform, *, pages: str, cut: dict[str, Any], fits: dict[str, Any], shape: str
) -> None:
    """A list with more rows than a page answers the first page and a mark; one that fits shows that it is whole."""
    platform.configure({"pages": pages, "list_shape": shape})
    for slug in "ab":
        platform.add(PROJECT, {"slug": slug})
    answer = (await client.get(WORKLOADS)).json()
    assert slugs(answer.pop("workloads")) == "a b"
    assert answer == fits
    platform.add(PROJECT, {"slug": "c"})
    answer = (await client.get(WORKLOADS)).json()
    assert slugs(answer.pop("workloads")) == "a b"
    assert answer == cut


async def test_the_first_page_with_a_link(client: httpx.AsyncClient, platform: Platform) -> None:
    """The body is a bare array, and only a list that is cut has the header that leads to the next page."""
    platform.configure({"pages": "link", "page_size": 1, "list_shape": "object"})
    answer = await client.get(WORKLOADS)
    assert (answer.json(), "Link" in answer.headers) == ([], False)
    platform.add(PROJECT, {"slug": "a"})
    answer = await client.get(WORKLOADS)
    assert (slugs(answer.json()), "Link" in answer.headers) == ("a", False)
    platform.add(PROJECT, {"slug": "b"})
    answer = await client.get(WORKLOADS)
    assert (slugs(answer.json()), answer.headers["Link"]) == ("a", f'<{WORKLOADS}?cursor=after-1>; rel="next"')
    assert answer.links["next"]["url"] == f"{WORKLOADS}?cursor=after-1"
    platform.configure({"pages": "off"})
    answer = await client.get(WORKLOADS)
    assert (slugs(answer.json()["workloads"]), "Link" in answer.headers) == ("a b", False)


async def test_pages_of_a_list_that_lags(client: httpx.AsyncClient, platform: Platform) -> None:
    """The page is cut from the rows that the list shows, not from those that there are."""
    for slug in "abc":
        platform.add(PROJECT, {"slug": slug})
    platform.configure({"pages": "total", "list_lag": {"create": 60, "delete": 60}})
    platform.add(PROJECT, {"slug": "d"})
    platform.remove(platform.row(PROJECT, "a"))
    answer = (await client.get(WORKLOADS)).json()
    assert (slugs(answer["workloads"]), answer["total"]) == ("a b", 3)


EXTRA = [{"slug": "x", "project_slug": "other"}, {"note": "neither id nor slug", "id": 7}, {}]


@pytest.mark.parametrize(
    ("settings", "empty", "full"),
    [
        ({}, EXTRA, ["a", *EXTRA]),
        ({"list_shape": "object"}, {"workloads": EXTRA}, {"workloads": ["a", *EXTRA]}),
        ({"list_shape": "null"}, EXTRA, ["a", *EXTRA]),
        ({"pages": "total"}, {"workloads": EXTRA[:2], "total": 3}, {"workloads": ["a", EXTRA[0]], "total": 4}),
        ({"extra_fields": {"region": "eu"}, "omit_null": True}, EXTRA, ["a", *EXTRA]),
    ],
)
async def test_extra_rows(
    client: httpx.AsyncClient, platform: Platform, settings: dict[str, Any], empty: object, full: object
) -> None:
    """Every list ends with them exactly as given, also one without other rows; they count as rows of a page."""
    platform.configure({"extra_rows": EXTRA, **settings})
    assert (await client.get(WORKLOADS)).json() == empty
    row = platform.add(PROJECT, {"slug": "a"})
    answer = (await client.get(WORKLOADS)).json()
    listed = answer["workloads"] if isinstance(answer, dict) else answer
    assert listed[0]["id"] == row.id
    listed[0] = "a"
    assert answer == full
    assert [each.slug for each in platform.rows()] == ["a"]


def test_what_lists_show_can_be_set_from_outside() -> None:
    """The admin client changes the settings at run time, one key of the lag at a time."""
    with background() as url:
        admin = Admin(url)
        headers = {"Authorization": f"Bearer {admin.mint(PROJECT)}"}
        admin.settings(list_lag={"create": 60}, pages="has_more")
        settings = admin.settings(list_lag={"delete": 60}, extra_rows=[{"id": None}])
        assert settings["list_lag"] == {"create": 60, "update": 0, "delete": 60}
        admin.add(PROJECT, "new")
        assert [each["slug"] for each in admin.workloads(PROJECT)] == ["new"]
        answer = httpx.get(f"{url}{WORKLOADS}", headers=headers).json()
        assert answer == {"workloads": [{"id": None}], "has_more": False}
        admin.edit(PROJECT, "new", slug="newer")
        assert admin.workloads(PROJECT)[0]["fields"]["workload_slug"] == "newer"
