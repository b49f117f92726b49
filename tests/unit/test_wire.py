"""The platform's JSON and its errors, as values: what is read, what is skipped, what an answer means."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferencekey_operator.errors import Actor, PlatformFailure, Reason
from inferencekey_operator.inferencekey import wire
from inferencekey_operator.inferencekey.answers import LONGEST_WAIT, WRITES, Operation, failure, retry_after
from inferencekey_operator.inferencekey.listing import Listing, Reader

SECRET = "0123456789abcdef" * 4
TOKEN = f"ik_sdk_a1b2c3d4_{SECRET}"

FULL = {
    "id": "wl_1",
    "name": "Support bot",
    "description": "Answers",
    "slug": "support-bot",
    "project_id": "prj_1",
    "project_slug": "team-a",
    "workload_slug": "support-bot",
    "task_type": "text2text",
    "backend": "vllm",
    "model_name": "llama-3",
    "config": {"command": "vllm serve", "nested": {"a": [1, 2.0, None]}},
    "worker_id": "wrk_1",
    "gpu_resource_id": "gpu_1",
    "execution_policy": "fixed",
    "execution_policy_config": {"replicas": 1},
    "created_at": "2026-03-02T10:41:32Z",
    "updated_at": "2026-03-02T10:41:32Z",
}
READ = wire.LiveWorkload(
    id="wl_1",
    slug="support-bot",
    name="Support bot",
    backend="vllm",
    model_name="llama-3",
    description="Answers",
    config={"command": "vllm serve", "nested": {"a": [1, 2.0, None]}},
    worker_id="wrk_1",
    gpu_resource_id="gpu_1",
    task_type="text2text",
    execution_policy="fixed",
    execution_policy_config={"replicas": 1},
    project_slug="team-a",
    created_at=datetime(2026, 3, 2, 10, 41, 32, tzinfo=UTC),
)
BARE = wire.LiveWorkload("wl_1", "support-bot")

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
rows = st.fixed_dictionaries({}, optional={field: json_values | st.text(min_size=1) for field in [*FULL, "unknown"]})


DIFFERENT: list[Any] = [
    FULL,
    FULL | {"id": "wl_2", "slug": "second"},
    FULL | {"id": "wl_3", "slug": "third", "config": {}},
    FULL | {"id": None, "slug": "nameless"},
    5,
]
"""Rows, of which the last two are none."""


def encoded(document: Any) -> bytes:
    """Return a document as it is sent."""
    return json.dumps(document).encode()


def rows_of(body: bytes) -> tuple[wire.LiveWorkload, ...]:
    """The workloads of a list."""
    return Reader().read(body).workloads


def read_or_refused(body: bytes) -> Listing | str:
    """What a list is read as, or why it is not."""
    try:
        return Reader().read(body)
    except PlatformFailure as error:
        return error.message


@pytest.mark.parametrize(
    ("body", "workloads"),
    [
        (encoded([FULL]), (READ,)),
        (encoded({"workloads": [FULL]}), (READ,)),
        (encoded({"workloads": [FULL], "next": None}), (READ,)),
        (b"null", ()),
        (b"[]", ()),
        (b' {"workloads": null}\n', ()),
        (b"\xef\xbb\xbf[]", ()),
    ],
)
def test_a_list_comes_in_three_shapes(body: bytes, workloads: tuple[wire.LiveWorkload, ...]) -> None:
    """A bare array, an object with `workloads`, and null are all lists."""
    assert rows_of(body) == workloads


ENVELOPES = ("pagination", "page_info", "meta", "links")
CONTINUED = [
    {"next_cursor": "c2"},
    {"next_page": 2},
    {"next_page_token": "t"},
    {"next": "https://api.inferencekey.com/?page=2"},
    {"has_more": True},
    {"has_next": True},
    {"total": 2},
    {"total_count": 5},
]
WHOLE: list[dict[str, Any]] = [
    {"next_cursor": None},
    {"next_cursor": ""},
    {"next_page": 0},
    {"next": {}},
    {"has_more": False},
    {"total": 1},
    {"total": 0},
    {"total_count": "7"},
    {"total": True},
    {"total": 1.5},
    {"page": 1, "per_page": 50},
    {"anything": {"next": "x"}},
]


def paged(around: Any, rows: Any) -> list[bytes]:
    """An answer with something beside its rows: in each envelope, before and after, for either reader."""
    inside = [{name: around} for name in ENVELOPES]
    documents = [{"workloads": rows, **each} for each in (around, *inside)]
    documents += [{**each, "workloads": rows} for each in (around, *inside)]
    return [form for each in documents for form in (encoded(each), b"\xef\xbb\xbf" + encoded(each))]


@pytest.mark.parametrize("around", CONTINUED, ids=str)
def test_one_page_of_several_is_refused(around: dict[str, Any]) -> None:
    """What a page lacks is not absent: something would be created twice."""
    for body in paged(around, [FULL]):
        assert "one page of several" in str(read_or_refused(body)), body


@pytest.mark.parametrize("around", WHOLE, ids=str)
def test_a_list_that_says_it_is_whole(around: dict[str, Any]) -> None:
    """No next page, and no more rows than are there; what is no number counts nothing."""
    for body in paged(around, [FULL]):
        assert rows_of(body) == (READ,), body


def test_rows_that_a_page_does_not_count() -> None:
    """A total over an empty answer, or over null, is a page all the same."""
    for rows in ([], None):
        for body in paged({"total": 3}, rows):
            assert "one page of several" in str(read_or_refused(body)), body


@given(json_values)
def test_whatever_stands_beside_the_rows_both_readers_agree(around: Any) -> None:
    """The fast one and the patient one, with the same outcome; and neither stumbles."""
    bodies = paged(around if isinstance(around, dict) else {"meta": around}, [FULL])
    outcomes = [read_or_refused(body) for body in bodies]
    for fast, patient in zip(outcomes[::2], outcomes[1::2], strict=True):
        assert fast == patient


@pytest.mark.parametrize(
    ("value", "deleted"),
    [("2026-03-02T10:41:32Z", True), ("yesterday", True), (1, True), (True, True), (None, False), ("", False)],
)
def test_a_row_that_is_listed_as_deleted(value: Any, deleted: bool) -> None:
    """Whatever its time is: some platforms list what they have deleted for a while."""
    assert rows_of(encoded([FULL | {"deleted_at": value}])) == (replace(READ, deleted=deleted),)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"true",
        b'"text"',
        b"17",
        b'{"workloads": {}}',
        b'{"error": "internal"}',
        b"<html></html>",
        b"[NaN]",
        b'[{"id": "wl_1" "slug": "a"}]',
        b'[{"id": "wl_1", "config": NaN}]',
        b'[{"slug": "a", "x": NaN} {"slug": "b"}]',
        b'[{"slug": "a", "x": NaN},]',
        b'[{"slug": "a", "x": NaN}] []',
        b'[{"slug": "a", "x": [}]}, {"slug": "b"}]',
        b'[{"slug": "a", "x": NaN}, {"slug": "b]',
        b'{"workloads": [{"slug": "a", "x": NaN}], "next_cursor": "c2"}',
        b'{"workloads": [{"slug": "a", "x": NaN}], "meta": NaN}',
        b'{"workloads": {"slug": "a", "x": NaN}}',
        b'{"workloads": [{"slug": "a", "x": NaN}], 5}',
        b"\xff\xfe\xfd",
        b"[" * 100_000,
        b"[" + b"9" * 10_000 + b"]",
        encoded([FULL])[:-1],
    ],
)
def test_what_is_no_list_is_an_error_of_the_platform(body: bytes) -> None:
    """Anything else, invalid or truncated or too deep, is a PlatformError, and never an empty list."""
    with pytest.raises(PlatformFailure) as caught:
        rows_of(body)
    assert (caught.value.reason, caught.value.uncertain) == (Reason.PLATFORM_ERROR, False)


NO_READER_TAKES = {
    "NaN": "NaN",
    "infinity": "-Infinity",
    "an integer of 5,000 digits": "9" * 5_000,
    "20,000 levels": "[" * 20_000 + "]" * 20_000,
    "20,000 levels of objects": '{"a":' * 20_000 + "1" + "}" * 20_000,
    "a control character": '"\x01"',
}
FORMS = ("[%s]", '{"workloads": [%s], "total": 1}', "\ufeff [ %s ] ", '{"meta": {"a": "[{\\""}, "workloads": [%s]}')


@pytest.mark.parametrize("value", NO_READER_TAKES.values(), ids=NO_READER_TAKES)
@pytest.mark.parametrize("field", ["config", "unknown"])
@pytest.mark.parametrize("form", FORMS)
def test_a_row_that_no_reader_takes_spoils_no_other(field: str, value: str, form: str) -> None:
    """It counts as unreadable under its id and slug, which stand in its bytes; deeper ones are not its own."""
    inner = '{"slug": "other, \\"id\\": 5}", "id": "wl_9"}'
    bad = f'{{"id": "wl_2", "name": {inner}, "{field}": {value}, "workload_slug": "bad \\u00e9"}}'
    rows = [json.dumps(FULL), bad, json.dumps(FULL | {"id": "wl_3", "slug": "third"})]
    unread = replace(BARE, id="wl_2", slug="bad é", unread=True)
    others = (READ, replace(READ, id="wl_3", slug="third"))
    reader = Reader()
    for order, wanted in (
        (rows, (others[0], unread, others[1])),
        (rows[1:] + rows[:1], (unread, others[1], others[0])),
    ):
        listing = reader.read((form % ",".join(order)).replace('"total": 1', '"total": 3').encode())
        assert listing == Listing(wanted)


def test_a_row_that_no_reader_takes_and_that_has_no_id() -> None:
    """Its slug is taken. An id that cannot be written down is none, and the last of several slugs counts."""
    spoiled = '{"id": "x\\n", "slug": "a", "slug": "b", "unknown": NaN}'
    assert Reader().read(f"[{spoiled}]".encode()) == Listing((), 1, frozenset({"b"}))
    assert "not valid JSON" in str(read_or_refused(spoiled.replace('"b"', "7").replace('"a"', "7").join("[]").encode()))


@given(st.lists(rows | json_values, max_size=4), st.sampled_from(list(NO_READER_TAKES.values())[:3]))
def test_whatever_stands_beside_a_row_that_no_reader_takes(listed: list[Any], value: str) -> None:
    """The other rows are read as without it."""
    bad = f'{{"id": "wl_0", "slug": "bad", "unknown": {value}}}'
    without = Reader().read(encoded(listed))
    body = f"[{bad}, {json.dumps(listed)[1:-1]}]" if listed else f"[{bad}]"
    spoiled = Reader().read(body.encode())
    assert spoiled.workloads[0] == wire.LiveWorkload("wl_0", "bad", unread=True)
    assert replace(spoiled, workloads=spoiled.workloads[1:]) == without


def test_a_spoiled_list_is_cut_at_each_place() -> None:
    """Also where a whole row and its comma are all that came."""
    body = b'[{"id": "w1", "slug": "a"}, {"slug": "bad", "unknown": NaN}, {"slug": "b", "config": [1, {}]}]'
    assert len(rows_of(body)) == 1
    for cut in range(len(body)):
        with pytest.raises(PlatformFailure):
            rows_of(body[:cut])


@given(st.lists(rows, min_size=1, max_size=3), st.data())
def test_a_spoiled_list_that_was_cut_anywhere_is_an_error(listed: list[Any], data: st.DataObject) -> None:
    """No proper beginning of it passes for a shorter list."""
    body = f'[{json.dumps(listed)[1:-1]}, {{"slug": "bad", "unknown": NaN}}, {{"slug": "a"}}]'.encode()
    cut = data.draw(st.integers(0, len(body) - 1))
    with pytest.raises(PlatformFailure):
        rows_of(body[:cut])


@given(st.lists(rows, min_size=1, max_size=3), st.data())
def test_a_list_that_was_cut_anywhere_is_an_error(listed: list[Any], data: st.DataObject) -> None:
    """No proper beginning of a list passes for a shorter list."""
    body = encoded(listed)
    cut = data.draw(st.integers(0, len(body) - 1))
    with pytest.raises(PlatformFailure):
        rows_of(body[:cut])


@given(st.lists(rows | json_values, max_size=4))
def test_a_list_of_anything_is_read_as_far_as_it_can_be(listed: list[Any]) -> None:
    """Whatever the rows hold, those with an id and a slug are kept in order, and the others counted."""
    body = encoded([FULL, *listed, FULL])
    listing = Reader().read(body)
    assert listing.workloads[0] == listing.workloads[-1] == READ
    assert len(listing.workloads) + listing.skipped == len(listed) + 2
    assert all(isinstance(row.config, dict) and row.id and row.slug for row in listing.workloads)


@given(st.binary() | json_values.map(encoded))
def test_any_bytes_are_a_list_or_an_error(body: bytes) -> None:
    """No body makes the reader fail in another way."""
    with suppress(PlatformFailure):
        assert isinstance(Reader().read(body), Listing)


@given(st.lists(rows | json_values, max_size=4) | json_values)
def test_two_ways_of_reading_a_list_give_the_same(document: Any) -> None:
    """Row by row, as the fast reader does, and as a whole, which a mark of UTF-8 asks for."""
    for body in (encoded(document), encoded({"workloads": document})):
        assert read_or_refused(body) == read_or_refused(b"\xef\xbb\xbf" + body)


@given(st.lists(st.lists(st.sampled_from(DIFFERENT), max_size=6), max_size=4))
def test_lists_one_after_the_other_are_read_as_each_alone(lists: list[list[Any]]) -> None:
    """Whatever was read before: rows that stay, change, move, go, come back, stand twice, or are none."""
    reader = Reader()
    for listed in lists:
        assert reader.read(encoded(listed)) == Reader().read(encoded(listed))


def test_a_row_that_did_not_change_is_the_one_of_the_list_before() -> None:
    """Not read again, wherever it stands; also where a list between could not be read."""
    reader = Reader()
    before = reader.read(encoded(DIFFERENT[:3])).workloads
    after = reader.read(encoded({"workloads": [DIFFERENT[2], FULL, DIFFERENT[1] | {"name": "else"}]})).workloads
    assert after[0] is before[2]
    assert after[1] is before[0]
    assert after[2] == replace(before[1], name="else")
    with pytest.raises(PlatformFailure):
        reader.read(encoded(DIFFERENT)[:-9])
    assert reader.read(encoded(DIFFERENT[:3])).workloads == before


def test_optional_fields_may_be_missing_null_or_of_another_type() -> None:
    """Such a field is None, or empty; the row counts."""
    identity = {"id": "wl_1", "slug": "support-bot"}
    others = [field for field in FULL if field not in identity]
    for value in (None, 17, True, ["x"]):
        assert rows_of(encoded([identity | dict.fromkeys(others, value)])) == (BARE,)
    assert rows_of(encoded([identity | {"new_field": {"x": 1}}])) == (BARE,)


def test_rows_without_identity_are_skipped_and_told_of() -> None:
    """A row without id or slug spoils no other row; its slug is reported as taken."""
    listing = Reader().read(
        encoded([{"slug": "a"}, {"id": "", "slug": "b"}, {"id": "wl_3"}, 5, None, {"id": 1, "slug": 2}, FULL])
    )
    assert listing == Listing((READ,), skipped=6, slugs_without_id=frozenset({"a", "b"}))


def test_the_slug_may_come_as_workload_slug() -> None:
    """A row that only has `workload_slug` is known by it."""
    assert rows_of(encoded([{"id": "wl_1", "workload_slug": "support-bot"}])) == (BARE,)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-03-02T10:41:32Z", datetime(2026, 3, 2, 10, 41, 32, tzinfo=UTC)),
        ("2026-03-02T10:41:32.5+01:00", datetime(2026, 3, 2, 9, 41, 32, 500000, tzinfo=UTC)),
        ("2026-03-02T10:41:32", None),
        ("0001-01-01T00:00:00Z", None),
        ("2019-12-31T23:59:59Z", None),
        ("9999-12-31T23:59:59-23:59", None),
        ("2026-03-02T10:41:32.123456789Z", datetime(2026, 3, 2, 10, 41, 32, 123456, tzinfo=UTC)),
        ("yesterday", None),
        (1772448092, None),
    ],
)
def test_times_are_read_with_their_zone(text: Any, moment: datetime | None) -> None:
    """A time always has a zone. One without, one before the platform existed, and what is no time, are None."""
    assert rows_of(encoded([FULL | {"created_at": text}]))[0].created_at == moment


def test_strings_that_many_rows_share_are_held_once() -> None:
    """Ten thousand rows of one project share the names of their backend, model, project and policy."""
    first, second = rows_of(encoded([FULL, FULL | {"id": "wl_2"}]))
    for field in ("backend", "model_name", "project_slug", "task_type", "execution_policy"):
        assert getattr(first, field) is getattr(second, field)


def test_an_answer_to_a_write_is_a_workload() -> None:
    """The answer to a create or an update is read like a row."""
    assert wire.parse_workload(encoded(FULL)) == READ


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"{}", b'{"id": "wl_1"}', b'{"id": "wl_1", "sl'])
def test_an_unreadable_answer_to_a_write_leaves_it_uncertain(body: bytes) -> None:
    """The platform accepted the write, so a fresh list must tell what came of it."""
    with pytest.raises(PlatformFailure) as caught:
        wire.parse_workload(body)
    assert (caught.value.reason, caught.value.uncertain) == (Reason.PLATFORM_ERROR, True)


@pytest.mark.parametrize(
    ("project", "path"),
    [
        ("team-a", "/api/projects/team-a/workloads"),
        ("a/b", "/api/projects/a%2Fb/workloads"),
        ("é ?#%", "/api/projects/%C3%A9%20%3F%23%25/workloads"),
        ("..", "/api/projects/%2E%2E/workloads"),
    ],
)
def test_names_are_encoded_in_paths(project: str, path: str) -> None:
    """No name can reach another route than its own."""
    assert wire.workloads_path(project) == path
    assert wire.readiness_path(project, "a/b") == path + "/a%2Fb/readiness-events"


def test_an_id_is_encoded_in_its_path() -> None:
    """An id is the platform's word, and still no path."""
    assert wire.workload_path("wl_1/../../x") == "/api/workloads/wl_1%2F..%2F..%2Fx"


def failed(status: int, body: Any = b"", operation: Operation = "create", **headers: str) -> PlatformFailure:
    """Return what an answer means; the body is bytes, or a document to be encoded."""
    raw = body if isinstance(body, bytes) else encoded(body)
    lowered = {name.replace("_", "-"): value for name, value in headers.items()}
    return failure(status, lowered, raw, operation=operation, project="team-a", token="ik_sdk_a1b2c3d4…")


NO = {"error": "no"}


@pytest.mark.parametrize(
    ("status", "on_list", "on_create", "uncertain", "why"),
    [
        (301, Reason.PLATFORM_UNREACHABLE, Reason.PLATFORM_UNREACHABLE, True, "never followed"),
        (400, Reason.PLATFORM_REFUSED, Reason.PLATFORM_REFUSED, False, "the declaration is refused"),
        (401, Reason.TOKEN_REJECTED, Reason.TOKEN_REJECTED, False, "the token is unknown"),
        (402, Reason.PLATFORM_REFUSED, Reason.PLATFORM_REFUSED, False, "somebody must pay"),
        (403, Reason.TOKEN_REJECTED, Reason.PLATFORM_REFUSED, False, "a code that nobody knows"),
        (404, Reason.PLATFORM_REFUSED, Reason.PLATFORM_REFUSED, False, "no such project"),
        (408, Reason.PLATFORM_UNREACHABLE, Reason.PLATFORM_UNREACHABLE, True, "it waited for us"),
        (409, Reason.PLATFORM_ERROR, Reason.PLATFORM_REFUSED, False, "a conflict; of a read that means nothing"),
        (422, Reason.PLATFORM_REFUSED, Reason.PLATFORM_REFUSED, False, "the declaration is refused"),
        (423, Reason.PLATFORM_ERROR, Reason.PLATFORM_ERROR, False, "another operation is in progress"),
        (425, Reason.PLATFORM_ERROR, Reason.PLATFORM_ERROR, False, "too early"),
        (429, Reason.RATE_LIMITED, Reason.RATE_LIMITED, False, "not carried out"),
        (500, Reason.PLATFORM_ERROR, Reason.PLATFORM_ERROR, True, "it may have failed half-way"),
        (501, Reason.PLATFORM_ERROR, Reason.PLATFORM_ERROR, True, "any failure of the platform"),
        (502, Reason.PLATFORM_UNREACHABLE, Reason.PLATFORM_UNREACHABLE, True, "the proxy lost the answer"),
        (503, Reason.PLATFORM_UNREACHABLE, Reason.PLATFORM_UNREACHABLE, True, "the proxy has no backend"),
        (504, Reason.PLATFORM_UNREACHABLE, Reason.PLATFORM_UNREACHABLE, True, "the proxy gave up waiting"),
        (522, Reason.PLATFORM_UNREACHABLE, Reason.PLATFORM_UNREACHABLE, True, "a proxy's own status"),
    ],
)
def test_statuses_by_table(status: int, on_list: Reason, on_create: Reason, uncertain: bool, why: str) -> None:
    """Each status has its reason; a write is uncertain where it may have been carried out, a list never."""
    listing, create = failed(status, NO, operation="list"), failed(status, NO)
    assert (listing.reason, create.reason) == (on_list, on_create), why
    assert (listing.uncertain, create.uncertain) == (False, uncertain), why
    assert listing.status == create.status == status


CODES = {
    "wrong_credential_type": Reason.WRONG_CREDENTIAL_TYPE,
    "project_scope_mismatch": Reason.PROJECT_MISMATCH,
    "scope_insufficient": Reason.SCOPE_INSUFFICIENT,
}


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("operation", get_args(Operation))
def test_a_403_is_told_apart_by_its_code_in_each_form(code: str, operation: Operation) -> None:
    """The code counts wherever it stands: as the error, inside it, or as plain text."""
    bodies: list[Any] = [
        {"error": code},
        {"error": {"code": code, "message": "No."}},
        {"error": code, "message": "No."},
        code.encode(),
        f"{code}: No.".encode(),
    ]
    assert {failed(403, body, operation).reason for body in bodies} == {CODES[code]}
    assert failed(400, bodies[0], operation).reason is Reason.PLATFORM_REFUSED


@pytest.mark.parametrize(
    "body",
    [
        {"error": "max_hourly_cost_usd must be greater than zero"},
        {"error": {"code": "invalid", "message": "max_hourly_cost_usd must be greater than zero"}},
        {"error": {"message": "max_hourly_cost_usd must be greater than zero"}},
        {"error": "invalid", "message": "max_hourly_cost_usd must be greater than zero"},
        {"error": "invalid", "detail": "max_hourly_cost_usd must be greater than zero"},
        b"max_hourly_cost_usd must be greater than zero",
        b"bad_request: max_hourly_cost_usd must be greater than zero",
    ],
)
def test_a_refusal_quotes_the_platform(body: Any) -> None:
    """What the platform said of a declaration stands in the message, in whichever form."""
    message = failed(422, body).message
    assert "max_hourly_cost_usd must be greater than zero" in message
    assert message.startswith('The platform refused to create the workload in project "team-a" (422')
    assert message.endswith("Correct the spec. The operator sends it again when it changes.")


@pytest.mark.parametrize("code", ["scope_insufficient", "project_scope_mismatch"])
def test_a_refusal_too_long_to_be_read_whole_is_one_all_the_same(code: str) -> None:
    """A platform that repeats what it was sent is still the platform."""
    body = encoded({"error": {"code": code, "message": "x" * 70_000}})[:65_536]
    assert failed(403, body).reason is CODES[code]
    assert 'It said: "' in failed(422, body).message
    assert failed(422, encoded({"error": "x" * 70_000})[:65_536]).reason is Reason.PLATFORM_REFUSED


FOREIGN: dict[str, Any] = {
    "nothing": b"",
    "a web page": b"<html><h1>403 Forbidden</h1></html>",
    "a page of Go": b"404 page not found\n",
    "a word": b"Forbidden",
    "a small word": b"unauthorized",
    "a service mesh": b"RBAC: access denied",
    "a firewall": b"error code: 1020",
    "an API gateway": {"message": "Forbidden"},
    "a framework": {"detail": "Not Found"},
    "an error that says nothing": {"error": None, "message": "no"},
    "an error of no words": {"error": {}},
    "an empty error": {"error": " "},
    "a list": ["no"],
    "what nobody can read": b"[" * 100_000,
}
"""What load balancers, proxies and firewalls say, and the platform never."""


@pytest.mark.parametrize("body", FOREIGN.values(), ids=FOREIGN)
@pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 405, 409, 422, 423, 500])
def test_an_answer_that_is_not_the_platforms_is_trouble_on_the_way(status: int, body: Any) -> None:
    """It says nothing of the token, the project or the declaration, and a write may have reached the platform."""
    for operation in get_args(Operation):
        error = failed(status, body, operation, retry_after="7")
        assert error.reason is Reason.PLATFORM_UNREACHABLE
        assert (error.uncertain, error.retry_after) == (operation in WRITES, 7.0)
        assert not error.not_found
        assert f"({status})" in error.message
        assert "The operator retries automatically" in error.message


def test_a_redirect_is_trouble_on_the_way_whatever_it_says() -> None:
    """A maintenance page, say; the platform refuses nothing with a redirect."""
    assert failed(302, NO).reason is Reason.PLATFORM_UNREACHABLE


@pytest.mark.parametrize(
    ("words", "passes"),
    [
        ("another operation is in progress", True),
        ("operation_in_progress", True),
        ("The workload is locked by a deployment", True),
        ("Resource busy", True),
        ("temporarily unavailable", True),
        ("Please try again.", True),
        ("busy", True),
        ("max_retries must be greater than zero", False),
        ("the worker is taken", False),
        ("slug_taken", False),
        ("quota exceeded", False),
    ],
)
def test_a_refusal_that_says_it_passes(words: str, passes: bool) -> None:
    """Whatever its status, but where it is about who asks, or about what is not there."""
    for body in ({"error": words}, {"error": {"code": "no", "message": words}}):
        for status in (400, 409, 422):
            error = failed(status, body)
            assert (error.reason is Reason.PLATFORM_ERROR, error.uncertain) == (passes, False)
            assert passes is ("The operator retries automatically" in error.message)
        assert [failed(status, body).reason.actor for status in (401, 403, 404)] == [Actor.PERSON] * 3


def test_a_refusal_shows_the_code_once() -> None:
    """A code is part of the status, and the sentence beside it is quoted."""
    assert "(409 slug_taken)" in failed(409, {"error": "slug_taken"}).message
    both = failed(409, {"error": {"code": "slug_taken", "message": "Taken."}}).message
    assert '(409 slug_taken). It said: "Taken."' in both


def test_a_code_is_shown_only_if_it_is_one() -> None:
    """A code of another shape, or that looks like a token, is not part of the status."""
    for code in ("", "two words", "x" * 65, "4711", "a\nb"):
        assert "(500)" in failed(500, {"error": {"code": code, "message": "x"}}).message
    assert "(500 ik…)" in failed(500, {"error": {"code": "ik_abc", "message": "x"}}).message


def test_a_redirect_names_the_host_and_nothing_else_of_the_target() -> None:
    """A person learns where the base URL leads, and what the target's query carries stays out."""
    message = failed(302, location="https://user:pw@login.example/x?token=abc").message
    assert "https://login.example (302)" in message
    assert not {"pw", "abc", "user"} & set(message.replace("@", " ").replace("=", " ").split())
    assert "another path" in failed(307, location="/elsewhere").message
    assert "another place" in failed(307, location="http://[bad").message


def test_messages_tell_a_person_what_to_do() -> None:
    """Each failure that waits for a person names the remedy; each other says that it is retried."""
    assert "Mint a new ik_sdk_ token" in failed(401, NO).message
    assert "ik_sdk_a1b2c3d4…" in failed(401, NO).message
    assert "spec.project" in failed(403, {"error": "project_scope_mismatch"}).message
    assert "assignment:write" in failed(403, {"error": "scope_insufficient"}).message
    assert "ik_live_" in failed(403, {"error": "wrong_credential_type"}).message
    assert 'does not know project "team-a" (404 no)' in failed(404, NO, operation="list").message
    assert "not on the platform (404 no)" in failed(404, NO, operation="update").message
    for status in (429, 500, 503):
        assert failed(status, NO).message.endswith("The operator retries automatically.")


statuses = st.integers(300, 599)
operations = st.sampled_from(get_args(Operation))
bodies = (
    st.binary(max_size=600)
    | json_values.map(encoded)
    | st.builds(lambda code, text: encoded({"error": {"code": code, "message": text}}), st.text(), st.text())
)


@given(statuses, operations, bodies, st.sampled_from(["application/json", "text/html", ""]), st.text())
def test_any_answer_becomes_a_failure_fit_for_a_status(
    status: int, operation: Operation, body: bytes, content_type: str, retry: str
) -> None:
    """Whatever the platform answers, the message is short and printable, and only writes are uncertain."""
    headers = {"content-type": content_type, "retry-after": retry, "location": retry}
    error = failure(status, headers, body, operation=operation, project="team-a")
    assert len(error.message) < 1024
    assert error.message.isprintable()
    assert error.status == status
    assert operation in WRITES or not error.uncertain
    assert error.retry_after is None or 0 <= error.retry_after <= LONGEST_WAIT


@given(statuses, st.sampled_from(["{}", '"{}"', '{{"error": "{}"}}', '{{"error": {{"code": "{}"}}}}']))
def test_a_token_in_an_answer_is_never_shown(status: int, form: str) -> None:
    """A platform that repeats the token in its error does not get it into a status."""
    for text in (TOKEN, f"token {TOKEN} is bad", "x" * 230 + TOKEN):
        message = failed(status, form.format(text).encode(), location=f"https://{TOKEN[:60]}/").message
        assert not any(SECRET[at : at + 12] in message for at in range(16))


@given(statuses, operations, st.text(), st.text())
def test_what_heals_by_itself_says_the_same_each_time(
    status: int, operation: Operation, first: str, second: str
) -> None:
    """A retried failure's message does not depend on the platform's sentence, which may name a request."""
    errors = [
        failed(status, {"error": {"code": "internal", "message": f"request {text}"}}, operation)
        for text in (first, second)
    ]
    if errors[0].reason.actor is Actor.PLATFORM:
        assert errors[0].message == errors[1].message


NOW = "Mon, 02 Mar 2026 10:00:00 GMT"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        (" 0 ", 0.0),
        ("1.5", 1.5),
        ("86400", LONGEST_WAIT),
        ("9" * 400, LONGEST_WAIT),
        ("Mon, 02 Mar 2026 10:00:30 GMT", 30.0),
        ("Mon, 02 Mar 2026 09:59:00 GMT", 0.0),
        ("Tue, 03 Mar 2026 10:00:00 GMT", LONGEST_WAIT),
        ("Monday, 02-Mar-26 10:00:30 GMT", 30.0),
        ("-5", None),
        ("soon", None),
        ("", None),
        ("1e3", 1000.0),
        ("12 apples", None),
    ],
)
def test_retry_after_by_table(value: str, seconds: float | None) -> None:
    """Seconds and dates are understood and bounded; anything else is no wish."""
    assert retry_after({"retry-after": value, "date": NOW}) == seconds


def test_a_date_without_the_answers_own_is_measured_from_now() -> None:
    """Without a Date header the clock of this machine has to do."""
    then = datetime.now(timezone(timedelta(hours=5))) + timedelta(seconds=100)
    wish = retry_after({"retry-after": then.astimezone(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")})
    assert wish is not None
    assert 90 <= wish <= 100


def test_a_wish_is_heard_where_waiting_helps() -> None:
    """A Retry-After counts for 429 and 503, and not where a person must act."""
    assert [failed(status, NO, retry_after="7").retry_after for status in (429, 503, 400)] == [7.0, 7.0, None]


def nested(levels: int, inner: str = "1") -> str:
    """JSON of so many objects, each in the other."""
    return '{"a":' * levels + inner + "}" * levels


@pytest.mark.parametrize(
    "config",
    [
        nested(101),
        nested(600),
        '{"a": 1e999}',
        '{"a": [[-1e999]]}',
        '{"a": [' + "0," * 20_001 + "0]}",
    ],
    ids=["deep", "deeper than a stack", "a number without end", "and one within lists", "endless"],
)
@pytest.mark.parametrize("field", ["config", "execution_policy_config"])
def test_a_configuration_beyond_reason_is_not_read(field: str, config: str) -> None:
    """The row is known by its id and slug, and what would break whoever walks it, or sends it back, is not kept."""
    row = '{"id": "wl_1", "slug": "support-bot", "%s": %s}' % (field, config)  # noqa: UP031 - braces in both
    assert rows_of(f"[{row}]".encode()) == (replace(BARE, unread=True),)
    with pytest.raises(PlatformFailure) as caught:
        wire.parse_workload(row.encode())
    assert (caught.value.reason, caught.value.uncertain) == (Reason.PLATFORM_ERROR, True)


def test_a_configuration_that_is_only_large_is_read() -> None:
    """A hundred levels, and thousands of values."""
    for config in (nested(100), '{"a": [' + "0," * 9_000 + "0]}", '{"a": 1e308}'):
        row = rows_of(('[{"id": "wl_1", "slug": "a", "config": %s}]' % config).encode())[0]  # noqa: UP031
        assert (row.unread, row.config) == (False, json.loads(config))


@pytest.mark.parametrize("identifier", ["x" * 257, "wl_1\n", "wl_\ud800", "wl_\x1b[31m", "wl_\u202e1", "\x00"])
def test_an_id_that_cannot_be_written_down_is_none(identifier: str) -> None:
    """It would stand in a status, in Events and in a path; the slug is known to be taken."""
    listing = Reader().read(encoded([{"id": identifier, "slug": "a"}]))
    assert listing == Listing((), skipped=1, slugs_without_id=frozenset({"a"}))


@pytest.mark.parametrize("piece", [b"[],", b"{},", b"0,"])
def test_an_answer_of_countless_values_is_not_read(piece: bytes) -> None:
    """Its letters have room, and what Python makes of them has not."""
    with pytest.raises(PlatformFailure, match="1000000 values"):
        Reader().read(b"[" + piece * 1_000_001 + b"0]")
