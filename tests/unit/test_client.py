"""The client over real sockets: against the simulator, and against a server that breaks the rules of HTTP."""

from __future__ import annotations

import asyncio
import datetime
import gzip
import json
import socket
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import pytest_asyncio

from harness.lines import open_http
from inferencekey_operator.errors import ConfigurationError, OperatorError, PlatformFailure, Reason
from inferencekey_operator.inferencekey.calls import unpacked
from inferencekey_operator.inferencekey.client import Deleted, PlatformClient, checked_base_url
from inferencekey_operator.inferencekey.connection_pool import ConnectionPool
from inferencekey_operator.inferencekey.listing import Reader
from inferencekey_operator.inferencekey.packed import PIECE
from inferencekey_simulator.app import serving
from inferencekey_simulator.faults import Fault
from inferencekey_simulator.platform import Platform
from unit.raw_server import RawServer, Script, aborts, raw_server, response, sends, stays_silent

SECRET = "0123456789abcdef" * 4
TOKEN = f"ik_sdk_a1b2c3d4_{SECRET}"
BODY = {
    "name": "Bot",
    "slug": "bot",
    "task_type": "text2text",
    "backend": "vllm",
    "model_name": "llama-3",
    "config": {"command": "serve — now"},
}
ROW = {"id": "wl_1", "slug": "bot"}
CREATED = response(json.dumps(ROW).encode(), status="201 Created")


class World:
    """A simulated platform and a client of it."""

    def __init__(self, platform: Platform, url: str, lines: ConnectionPool) -> None:
        self.platform = platform
        self.client = PlatformClient(url, lines, list_limit=1024 * 1024)
        self.hasty = PlatformClient(url, lines, write_deadline=0.2, list_deadline=0.2)
        self.token = platform.mint("team-a", token=TOKEN)

    def fault(self, action: str, **more: Any) -> None:
        """Let the next call go wrong."""
        self.platform.faults.add(Fault.model_validate({"action": action, **more}))

    @property
    def operations(self) -> list[str]:
        """What was asked of the platform, in order."""
        return [entry.call.operation for entry in self.platform.journal.since(0)]

    @property
    def slugs(self) -> list[str]:
        """What there is on the platform."""
        return [row.slug for row in self.platform.rows("team-a")]

    async def calls(self, client: PlatformClient | None = None) -> dict[str, Callable[[], Awaitable[object]]]:
        """Make a workload, and return one call of each kind about it."""
        made = await self.client.create(self.token, "team-a", BODY | {"slug": "made"})
        client = client or self.client
        return {
            "list": lambda: client.list_workloads(self.token, "team-a"),
            "create": lambda: client.create(self.token, "team-a", BODY),
            "update": lambda: client.update(self.token, made.id, {"model_name": "other"}),
            "delete": lambda: client.delete(self.token, made.id),
        }


OPERATIONS = ("list", "create", "update", "delete")


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    """Serve a platform with the project team-a, and open a client with short limits."""
    platform = Platform()
    async with serving(platform) as url, open_http(20.0) as lines:
        yield World(platform, url, lines)


@asynccontextmanager
async def against(
    script: Script, connections: int = 4, **limits: Any
) -> AsyncIterator[tuple[RawServer, PlatformClient]]:
    """Serve `script`, and open a client of it."""
    async with raw_server(script) as server, open_http(20.0, connections=connections) as lines:
        yield server, PlatformClient(server.url, lines, **limits)


async def failing(call: Awaitable[object]) -> PlatformFailure:
    """Return how a call failed; neither its text nor its traceback may show the secret."""
    with pytest.raises(PlatformFailure) as caught:
        await call
    assert SECRET[:12] not in "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    return caught.value


async def test_a_workload_is_created_listed_changed_and_deleted(world: World) -> None:
    """The four calls do what they say, and answer with the workload as the platform has it."""
    client, token = world.client, world.token
    created = await client.create(token, "team-a", BODY)
    assert (created.slug, created.config, created.execution_policy) == ("bot", BODY["config"], "fixed")
    assert Reader().read((await client.list_workloads(token, "team-a")).body).workloads == (created,)
    updated = await client.update(token, created.id, {"model_name": "llama-4"})
    assert (updated.id, updated.model_name) == (created.id, "llama-4")
    await client.delete(token, created.id)
    assert Reader().read((await client.list_workloads(token, "team-a")).body).workloads == ()
    assert world.operations == ["create", "list", "update", "delete", "list"]


async def test_a_create_sends_the_body_as_it_is_given(world: World) -> None:
    """Nothing is added, dropped or changed on the way, and the sender names itself."""
    await world.client.create(world.token, "team-a", BODY)
    (entry,) = world.platform.journal.since(0)
    assert entry.body == BODY
    assert (entry.user_agent or "").startswith("inferencekey-operator/0")


async def test_a_taken_slug_comes_back_as_the_duplicate_it_became(world: World) -> None:
    """The caller can see that the platform gave another slug than the wanted one."""
    slugs = [(await world.client.create(world.token, "team-a", BODY)).slug for _ in range(2)]
    assert slugs == ["bot", "bot-1"]


class Forbidden(Exception):
    """What somebody raises who may not write any more."""


class Permit:
    """Lets so many steps of writes pass."""

    def __init__(self, steps: float) -> None:
        self.steps = steps

    def __call__(self) -> None:
        """One step more."""
        self.steps -= 1
        if self.steps < 0:
            raise Forbidden


@pytest.mark.parametrize("steps", [0, 1], ids=["before-the-head", "before-the-body"])
async def test_a_forbidden_write_is_not_carried_out(world: World, steps: int) -> None:
    """Also one that is forbidden when half of it is out; reading is free."""
    made = await world.client.create(world.token, "team-a", BODY)
    async with open_http(20.0) as lines:
        client = PlatformClient(world.client.base_url, lines, permit=Permit(0))
        for write in (client.update(world.token, made.id, {"model_name": "x"}), client.delete(world.token, made.id)):
            with pytest.raises(Forbidden):
                await write
        with pytest.raises(Forbidden):
            await PlatformClient(client.base_url, lines, permit=Permit(steps)).create(world.token, "team-a", BODY)
        assert Reader().read((await client.list_workloads(world.token, "team-a")).body).workloads == (made,)


async def test_who_waited_for_a_connection_asks_again() -> None:
    """What was allowed when the call was made, and is not when its turn comes, is not sent."""
    permit, turn = Permit(2), asyncio.Event()

    async def slow(writer: asyncio.StreamWriter) -> None:
        await turn.wait()
        writer.write(CREATED)

    async with against(slow, connections=1, permit=permit) as (server, client):
        first = asyncio.create_task(client.create(TOKEN, "team-a", BODY))
        await server.arrived.wait()
        second = asyncio.create_task(client.create(TOKEN, "team-a", BODY))
        await asyncio.sleep(0.05)
        turn.set()
        assert (await first).slug == "bot"
        with pytest.raises(Forbidden):
            await second
    assert len(server.requests) == 1


async def test_an_unchanged_list_has_the_same_bytes(world: World) -> None:
    """Digests of two lists can be compared, so that reading can be skipped."""
    await world.client.create(world.token, "team-a", BODY)
    first, second = [await world.client.list_workloads(world.token, "team-a") for _ in range(2)]
    assert first.body == second.body


async def test_deleting_what_is_gone_is_no_error(world: World) -> None:
    """The second deletion finds nothing, which is told apart from a deletion that the platform confirmed."""
    created = await world.client.create(world.token, "team-a", BODY)
    outcomes = [await world.client.delete(world.token, created.id) for _ in range(2)]
    assert outcomes == [Deleted.CONFIRMED, Deleted.UNKNOWN]
    assert world.operations == ["create", "delete", "delete"]


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", Deleted.CONFIRMED),
        (response(b"", status="202 Accepted"), Deleted.ACCEPTED),
        (response(b'{"status": "deleting"}', status="202 Accepted"), Deleted.ACCEPTED),
        (response(b"", status="200 OK", kind="text/html"), Deleted.ACCEPTED),
        (response(b'{"deleted": true}'), Deleted.ACCEPTED),
        (response(b'{"error": "not found"}', status="404 Not Found"), Deleted.UNKNOWN),
        (response(b"<html>", status="404 Not Found", kind="text/html"), Deleted.UNKNOWN),
    ],
)
async def test_what_a_deletion_comes_to(answer: bytes, outcome: Deleted) -> None:
    """Only 204 confirms it; any other success was accepted, and a 404 says that there is no such workload."""
    async with against(sends(answer)) as (_, client):
        assert await client.delete(TOKEN, "wl_1") is outcome


@pytest.mark.parametrize(
    "answer",
    [
        response(b"<html>Log in</html>", kind="text/html"),
        response(b"{}", status="500 Internal Server Error"),
        response(b"{}", status="504 Gateway Timeout"),
    ],
)
async def test_a_deletion_that_something_else_answered_is_uncertain(answer: bytes) -> None:
    """A login page with a 200 confirms nothing; after a 5xx the workload may be gone, or not."""
    async with against(sends(answer)) as (_, client):
        assert (await failing(client.delete(TOKEN, "wl_1"))).uncertain


async def test_a_deletion_is_permitted_before_its_headers_alone(world: World) -> None:
    """It has no body: once the headers are out the platform carries it out, and forbidding it would only hide that."""
    made = await world.client.create(world.token, "team-a", BODY)
    async with open_http(20.0) as lines:
        permit = Permit(1)
        client = PlatformClient(world.client.base_url, lines, permit=permit)
        assert await client.delete(world.token, made.id) is Deleted.CONFIRMED
        assert permit.steps == 0


@pytest.mark.parametrize("operation", OPERATIONS[1:])
async def test_how_often_a_write_asks_for_its_permit(world: World, operation: str) -> None:
    """Before its headers and, where it has one, before its body."""
    async with open_http(20.0) as lines:
        permit = Permit(10)
        call = (await world.calls(PlatformClient(world.client.base_url, lines, permit=permit)))[operation]
        await call()
        assert 10 - permit.steps == (1 if operation == "delete" else 2)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        ("200 OK", b""),
        ("404 Not Found", b'{"error": "not_found"}'),
        ("404 Not Found", b"404 page not found"),
        ("401 Unauthorized", b'{"error": "unauthenticated"}'),
        ("500 Internal Server Error", b""),
    ],
)
async def test_whether_the_readiness_route_knows_a_slug(status: str, body: bytes) -> None:
    """A stream says that it does, the platform's 404 that it does not; any other answer says neither."""
    async with against(sends(response(body, status=status, kind="text/event-stream"))) as (server, client):
        if status[0] == "2" or b"not_found" in body:
            assert await client.exists(TOKEN, "team-a", "a/b") is (status == "200 OK")
        else:
            assert not (await failing(client.exists(TOKEN, "team-a", "a/b"))).uncertain
        assert server.requests[0].startswith(b"GET /api/projects/team-a/workloads/a%2Fb/readiness-events ")


async def test_a_login_page_knows_no_slug() -> None:
    """A 200 that is no stream of events is not the platform's."""
    async with against(sends(response(b"<html>", kind="text/html"))) as (_, client):
        assert (await failing(client.exists(TOKEN, "team-a", "bot"))).reason is Reason.PLATFORM_ERROR


# -- the head of a list --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("link", "refused"),
    [
        ('<https://x/?page=2>; rel="next"', True),
        ('<https://x/?page=1>; rel="prev", <https://x/?page=3>; rel="next"', True),
        ("<https://x/?page=2>; rel=next", True),
        ('<https://x/?page=1>; rel="first"', False),
        ("", False),
    ],
)
async def test_a_list_with_a_next_page_is_refused(link: str, refused: bool) -> None:
    """Its `Link` header says so: what one page of several lacks is not absent."""
    async with against(sends(response(b"[]", f"Link: {link}"))) as (_, client):
        if refused:
            error = await failing(client.list_workloads(TOKEN, "team-a"))
            assert error.reason is Reason.PLATFORM_ERROR
            assert "one page of several" in error.message
        else:
            assert (await client.list_workloads(TOKEN, "team-a")).body == b"[]"


@pytest.mark.parametrize(
    ("date", "moment"),
    [
        ("Mon, 02 Mar 2026 10:41:32 GMT", datetime.datetime(2026, 3, 2, 10, 41, 32, tzinfo=datetime.UTC)),
        ("Mon, 02 Mar 2026 11:41:32 +0100", datetime.datetime(2026, 3, 2, 10, 41, 32, tzinfo=datetime.UTC)),
        ("Mon, 02 Mar 2026 10:41:32 -0000", datetime.datetime(2026, 3, 2, 10, 41, 32, tzinfo=datetime.UTC)),
        ("yesterday", None),
        ("", None),
        ("Fri, 31 Dec 9999 23:59:59 -2359", None),
        ("Mon, 02 Mar 2026 10:41:32 +99999999", None),
        ("Mon, 02 Mar 99999999999999999999 10:41:32 GMT", None),
    ],
)
async def test_the_platforms_time_comes_with_a_list(date: str, moment: datetime.datetime | None) -> None:
    """A `Date` that cannot be read is none, and costs no list."""
    async with against(sends(response(b"[]", f"Date: {date}"))) as (_, client):
        assert (await client.list_workloads(TOKEN, "team-a")).date == moment


async def test_a_list_without_a_date(world: World) -> None:
    """Nothing is known of the platform's clock; the simulator tells the time."""
    async with against(sends(response(b"[]"))) as (_, client):
        assert (await client.list_workloads(TOKEN, "team-a")).date is None
    told = (await world.client.list_workloads(world.token, "team-a")).date
    assert told is not None
    assert abs((datetime.datetime.now(datetime.UTC) - told).total_seconds()) < 60


async def test_changing_what_is_gone_is_told_by_the_status(world: World) -> None:
    """An update of a workload that is gone fails with status 404."""
    error = await failing(world.client.update(world.token, "wl_gone", {"name": "x"}))
    assert (error.reason, error.status, error.uncertain) == (Reason.PLATFORM_REFUSED, 404, False)


@pytest.mark.parametrize("form", ["object", "string", "text"])
async def test_credentials_fail_by_kind_in_each_error_form(world: World, form: str) -> None:
    """Unknown, of the wrong kind, of another project, without the scope: each is told apart."""
    platform, client = world.platform, world.client
    created = await client.create(world.token, "team-a", BODY)
    platform.configure({"error_form": form})
    unknown = "ik_sdk_00000000_" + "f" * 64
    key, reader = platform.mint_key("team-a", "bot"), platform.mint("team-a", ["workload:read"])
    reasons = {
        (await failing(client.list_workloads(unknown, "team-a"))).reason: Reason.TOKEN_REJECTED,
        (await failing(client.list_workloads(key, "team-a"))).reason: Reason.WRONG_CREDENTIAL_TYPE,
        (await failing(client.create(world.token, "team-b", BODY))).reason: Reason.PROJECT_MISMATCH,
        (await failing(client.update(reader, created.id, BODY))).reason: Reason.SCOPE_INSUFFICIENT,
    }
    assert all(found is wanted for found, wanted in reasons.items())
    assert len(reasons) == 4


@pytest.mark.parametrize("form", ["object", "string", "text"])
async def test_a_refused_declaration_says_what_the_platform_said(world: World, form: str) -> None:
    """A 400's sentence reaches the message, in each error form."""
    world.platform.configure({"error_form": form})
    error = await failing(world.client.create(world.token, "team-a", {"slug": "bot"}))
    assert (error.reason, error.status) == (Reason.PLATFORM_REFUSED, 400)
    assert "name must not be empty" in error.message


async def test_a_revoked_token_is_named_by_its_public_form(world: World) -> None:
    """A person can see which token was refused, and learns what to do."""
    world.platform.revoke("ik_sdk_a1b2c3d4")
    error = await failing(world.client.list_workloads(world.token, "team-a"))
    assert error.reason is Reason.TOKEN_REJECTED
    assert "ik_sdk_a1b2c3d4…" in error.message
    assert "dashboard" in error.message


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("action", ["cut_before", "cut_after"])
async def test_a_call_that_was_cut_is_never_repeated(world: World, operation: str, action: str) -> None:
    """A cut connection is a failure at once; a write may have been carried out, which the caller is told."""
    call = (await world.calls())[operation]
    world.fault(action, operation=operation)
    error = await failing(call())
    assert (error.reason, error.status) == (Reason.PLATFORM_UNREACHABLE, None)
    assert error.uncertain is (operation != "list")
    assert world.operations == ["create", operation]


async def test_a_create_that_was_cut_may_have_made_a_workload(world: World) -> None:
    """Both outcomes look the same from here: that is what uncertain means."""
    for action, slugs in (("cut_before", []), ("cut_after", ["bot"])):
        world.fault(action)
        assert (await failing(world.client.create(world.token, "team-a", BODY))).uncertain
        assert world.slugs == slugs


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(("status", "reason"), [(500, Reason.PLATFORM_ERROR), (504, Reason.PLATFORM_UNREACHABLE)])
async def test_a_failure_of_the_platform_leaves_writes_uncertain(
    world: World, operation: str, status: int, reason: Reason
) -> None:
    """A 5xx is the same for each call, but that only writes can have had an effect."""
    call = (await world.calls())[operation]
    world.fault("respond", operation=operation, status=status, body={"error": "internal"})
    error = await failing(call())
    assert (error.reason, error.status) == (reason, status)
    assert error.uncertain is (operation != "list")


async def test_a_rate_limit_comes_with_the_platforms_wish(world: World) -> None:
    """Retry-After is heard in seconds and as a date."""
    later = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 60))
    for value, low, high in (("7", 7.0, 7.0), (later, 50.0, 60.0)):
        world.fault("respond", status=429, headers={"Retry-After": value})
        error = await failing(world.client.create(world.token, "team-a", BODY))
        assert (error.reason, error.uncertain) == (Reason.RATE_LIMITED, False)
        assert error.retry_after is not None
        assert low <= error.retry_after <= high


@pytest.mark.parametrize("operation", ["list", "create", "update"])
@pytest.mark.parametrize("action", ["truncate", "wrong_content_type"])
async def test_an_answer_that_is_broken_is_no_answer(world: World, operation: str, action: str) -> None:
    """Half a body, or one that says it is HTML, is a failure that passes; a write may have been done."""
    call = (await world.calls())[operation]
    world.fault(action, operation=operation)
    error = await failing(call())
    assert error.reason in {Reason.PLATFORM_ERROR, Reason.PLATFORM_UNREACHABLE}
    assert error.uncertain is (operation != "list")


async def test_an_enormous_list_is_refused_and_not_swallowed(world: World) -> None:
    """Reading stops at the limit, long before the end."""
    world.fault("enormous", size=256 * 1024 * 1024)
    error = await failing(world.client.list_workloads(world.token, "team-a"))
    assert (error.reason, error.uncertain) == (Reason.PLATFORM_ERROR, False)
    assert "1048576 bytes" in error.message
    assert Reader().read((await world.client.list_workloads(world.token, "team-a")).body).workloads == ()


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_a_slow_call_ends_at_its_deadline(world: World, operation: str) -> None:
    """No call outlasts its limit; a write may have been carried out all the same."""
    calls = await world.calls(world.hasty)
    world.fault("delay_after", operation=operation, seconds=30)
    started = time.monotonic()
    error = await failing(calls[operation]())
    assert time.monotonic() - started < 30
    assert (error.reason, error.uncertain) == (Reason.PLATFORM_UNREACHABLE, operation != "list")
    assert "no answer in time" in error.message


async def test_one_slow_project_does_not_hold_up_another(world: World) -> None:
    """Calls travel side by side."""
    other = world.platform.mint("team-b")
    world.platform.configure({"project_latency": {"team-a": 300.0}})
    slow = asyncio.create_task(world.client.list_workloads(world.token, "team-a"))
    async with asyncio.timeout(60):
        assert (await world.client.list_workloads(other, "team-b")).body == b"[]"
    slow.cancel()


@pytest.mark.parametrize("project", ["a/b", "é ?#%2F", "..", "team-a/../team-b", "%2e%2e"])
async def test_a_project_of_any_name_stays_one_segment(world: World, project: str) -> None:
    """A name from a Secret cannot lead to another route: the platform sees exactly that name."""
    await failing(world.client.list_workloads(world.token, project))
    (entry,) = world.platform.journal.since(0)
    assert (entry.call.operation, entry.call.project) == ("list", project)


# What the simulator cannot do.


async def test_a_refused_connection_is_certain() -> None:
    """Where nothing was sent, nothing was done: a create may be tried again without a look."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        async with open_http() as lines:
            client = PlatformClient(f"http://127.0.0.1:{port}", lines)
            error = await failing(client.create(TOKEN, "team-a", BODY))
    assert (error.reason, error.uncertain) == (Reason.PLATFORM_UNREACHABLE, False)
    assert f"http://127.0.0.1:{port}" in error.message


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (aborts, "reset"),
        (sends(close=True), "closed without an answer"),
        (sends(b"HTTP/1.1 201 Cre", close=True), "closed within the status line"),
        (sends(b"\x16\x03\x01 no HTTP at all\r\n\r\n", close=True), "garbage"),
        (sends(b"HTTP/1.1 201 Created\r\nContent-Length: x\r\n\r\n", close=True), "a broken header"),
        (sends(CREATED[:-4], close=True), "closed within the body"),
    ],
)
async def test_a_create_without_a_whole_answer_is_uncertain(script: Script, why: str) -> None:
    """However the answer is lost after the request was sent, it is sent once and may have been done."""
    async with against(script) as (server, client):
        error = await failing(client.create(TOKEN, "team-a", BODY))
        assert error.uncertain, why
        assert error.reason is Reason.PLATFORM_UNREACHABLE
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    "answer",
    [
        response(b"{}", status="201 Created"),
        response(b"null"),
        response(b"", status="204 No Content"),
        response(b'{"id": "wl_1"'),
        response(b"\x1f\x8b no gzip", "Content-Encoding: gzip"),
        response(json.dumps(ROW | {"description": "x" * 5_000_000}).encode()),
    ],
)
async def test_a_create_that_was_accepted_in_other_words_is_uncertain(answer: bytes) -> None:
    """A success that cannot be read is an error of the platform, and there may be a workload."""
    async with against(sends(answer)) as (_, client):
        error = await failing(client.create(TOKEN, "team-a", BODY))
        assert (error.reason, error.uncertain) == (Reason.PLATFORM_ERROR, True)


async def test_an_answer_that_dribbles_ends_at_the_deadline() -> None:
    """A byte now and then keeps no call alive beyond its limit."""
    async with against(sends(*[bytes([each]) for each in CREATED], pause=0.05), write_deadline=0.3) as (_, client):
        started = time.monotonic()
        error = await failing(client.create(TOKEN, "team-a", BODY))
        assert time.monotonic() - started < 0.05 * len(CREATED), "it was read to its end"
        assert error.uncertain


async def test_a_refusal_whose_body_was_cut_is_still_a_refusal() -> None:
    """The status says enough: nothing was created."""
    answer = response(b'{"error": {"message": "no"}}', status="422 Unprocessable Entity")
    async with against(sends(answer[:-9], close=True)) as (_, client):
        error = await failing(client.create(TOKEN, "team-a", BODY))
        assert (error.reason, error.status, error.uncertain) == (Reason.PLATFORM_REFUSED, 422, False)


async def test_an_endless_refusal_is_not_read_to_its_end() -> None:
    """Only the beginning of an error's body is read, and then the connection is given up."""

    async def endless(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 500 X\r\nContent-Type: text/plain\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()

    async with against(endless, connections=1) as (server, client):
        for count in (1, 2):
            async with asyncio.timeout(60):
                error = await failing(client.list_workloads(TOKEN, "team-a"))
            assert (error.reason, error.status) == (Reason.PLATFORM_UNREACHABLE, 500)
            assert server.connections == count


async def test_an_answer_of_the_wrong_type_is_not_read() -> None:
    """A web page is refused by its type, and its connection is given up."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 1000\r\n\r\n"
    async with against(sends(head), connections=1) as (_, client):
        for _ in range(2):
            error = await failing(client.list_workloads(TOKEN, "team-a"))
            assert error.reason is Reason.PLATFORM_ERROR
            assert 'of type "text/html"' in error.message


async def test_a_redirect_is_not_followed_and_the_token_goes_nowhere() -> None:
    """The other place is never called."""
    async with raw_server(sends(CREATED)) as elsewhere:
        moved = response(b"", f"Location: {elsewhere.url}/api", status="307 Temporary Redirect")
        async with against(sends(moved)) as (server, client):
            error = await failing(client.create(TOKEN, "team-a", BODY))
            assert (error.reason, error.status, error.uncertain) == (Reason.PLATFORM_UNREACHABLE, 307, True)
            assert "set the base URL" in error.message
            assert (len(server.requests), elsewhere.connections) == (1, 0)


async def test_a_token_that_the_platform_repeats_is_redacted() -> None:
    """An answer with the token in it gets into no message."""
    said = json.dumps({"error": {"code": "bad", "message": f"no {TOKEN} here"}}).encode()
    async with against(sends(response(said, status="400 Bad Request"))) as (_, client):
        error = await failing(client.create(TOKEN, "team-a", BODY))
        assert 'It said: "no ik_sdk_a1b2c3d4… here"' in error.message


@pytest.mark.parametrize("token", [TOKEN + "\n", f"\r\nX: {TOKEN}", TOKEN[:-1] + "é", "", " "])
async def test_a_token_that_fits_no_header_is_not_sent(token: str) -> None:
    """A token with a line break or the like is a fault of the Secret, and no call is made."""
    async with against(sends(CREATED)) as (server, client):
        with pytest.raises(ConfigurationError) as caught:
            await client.list_workloads(token, "team-a")
        assert caught.value.reason is Reason.TOKEN_MALFORMED
        assert SECRET[:12] not in "".join(traceback.format_exception(caught.value))
        assert server.connections == 0


async def test_no_cookie_is_kept() -> None:
    """What one credential was given does not travel with the next call."""
    async with against(sends(response(b"[]", "Set-Cookie: session=abc; Path=/"))) as (server, client):
        for _ in range(2):
            await client.list_workloads(TOKEN, "team-a")
        assert len(server.requests) == 2
        assert not any(b"cookie" in request.lower() for request in server.requests)


async def test_calls_share_a_connection() -> None:
    """One call after the other opens one connection."""
    async with against(sends(CREATED)) as (server, client):
        for _ in range(3):
            await client.create(TOKEN, "team-a", BODY)
        assert (len(server.requests), server.connections) == (3, 1)


async def test_a_request_carries_what_it_should() -> None:
    """The path below the base URL's own, the token as a bearer, JSON both ways."""
    async with raw_server(sends(CREATED)) as server, open_http() as lines:
        await PlatformClient(server.url + "/ik/", lines).create(TOKEN, "team-a", {"name": "é"})
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    assert lines[0] == b"post /ik/api/projects/team-a/workloads http/1.1"
    assert f"authorization: bearer {TOKEN}".encode() in lines
    assert b"content-type: application/json" in lines
    assert b"accept: application/json" in lines
    assert json.loads(body) == {"name": "é"}


@pytest.mark.parametrize("cut", [1, 30, 10_000])
@pytest.mark.parametrize("end", [b"", b"\0" * 64], ids=["", "padded"])
async def test_a_list_that_was_packed_in_several_members_is_read(cut: int, end: bytes) -> None:
    """As proxies pack what comes in pieces; wherever the connection cuts it, and whatever zeros follow."""
    rows = json.dumps([{**ROW, "description": "x" * 1000 + str(number)} for number in range(20)]).encode()
    packed = b"".join(gzip.compress(piece) for piece in (rows[:7], rows[7:5000], b"", rows[5000:])) + end
    pieces = [packed[at : at + cut] for at in range(0, len(packed), cut)]
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(packed)}\r\n"
    async with against(sends(head.encode() + b"Content-Encoding: gzip\r\n\r\n", *pieces)) as (_, client):
        assert (await client.list_workloads(TOKEN, "team-a")).body == rows


async def test_members_that_go_on_for_ever_are_not_swallowed() -> None:
    """Each is small; all together are measured as one body. What follows the last one and is none is an error."""
    bomb = gzip.compress(b" " * 100_000) * 20
    for packed, why in ((bomb, "larger than"), (gzip.compress(b"[]") + b"no gzip", "cannot be unpacked")):
        answer = response(packed, "Content-Encoding: gzip")
        async with against(sends(answer), list_limit=1_000_000) as (_, client):
            error = await failing(client.list_workloads(TOKEN, "team-a"))
            assert error.reason is Reason.PLATFORM_ERROR
            assert why in error.message


async def test_a_packed_list_is_unpacked_and_measured_unpacked() -> None:
    """gzip is understood, and the limit holds for what comes out of it."""
    for size, fits in ((1000, True), (3_000_000, False)):
        body = b"[" + b" " * size + b"]"
        answer = response(gzip.compress(body), "Content-Encoding: gzip")
        async with against(sends(answer), list_limit=1_000_000) as (_, client):
            if fits:
                assert (await client.list_workloads(TOKEN, "team-a")).body == body
            else:
                assert (await failing(client.list_workloads(TOKEN, "team-a"))).reason is Reason.PLATFORM_ERROR


async def test_a_list_without_a_content_type_is_read() -> None:
    """A missing header is no reason to refuse; one with parameters or in capitals neither."""
    for header in ("", "Content-Type: Application/JSON; charset=utf-8\r\n"):
        answer = f"HTTP/1.1 200 OK\r\n{header}Content-Length: 2\r\n\r\n[]".encode()
        async with against(sends(answer)) as (_, client):
            assert (await client.list_workloads(TOKEN, "team-a")).body == b"[]"


async def test_without_a_free_connection_a_write_was_certainly_not_sent() -> None:
    """A call that found no place in the pool fails in half of the time limit, and for certain."""
    async with raw_server(stays_silent) as server, open_http(0.6, connections=1) as lines:
        client = PlatformClient(server.url, lines)
        first = asyncio.create_task(failing(client.create(TOKEN, "team-a", BODY)))
        await server.arrived.wait()
        second = await failing(client.create(TOKEN, "team-a", BODY))
        assert (second.uncertain, (await first).uncertain) == (False, True)
        assert "all connections are in use" in second.message


async def test_a_cancelled_call_gives_its_connection_back() -> None:
    """Calls that are given up leave no hole in the pool."""
    async with raw_server(stays_silent) as server, open_http(30, connections=1) as lines:
        client = PlatformClient(server.url, lines)
        for count in range(1, 4):
            server.arrived.clear()
            task = asyncio.create_task(client.create(TOKEN, "team-a", BODY))
            async with asyncio.timeout(60):
                await server.arrived.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert server.connections == count


@pytest.mark.parametrize("url", ["https://ik.example", "http://127.0.0.1:8080/", "https://ik.example/a/b/"])
def test_a_base_url_may_have_a_port_and_a_path(url: str) -> None:
    """A base URL is used as it is, without the slash at its end."""
    assert checked_base_url(url) == url.rstrip("/")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ik.example",
        "ftp://ik.example",
        "https://",
        "https:///path",
        "https://user:pw@ik.example",
        "https://ik.example?x=1",
        "https://ik.example#x",
        "https://ik.example:port",
        "https://ik.example\n",
        "https://ik.exa mple",
    ],
)
def test_what_is_no_plain_url_is_refused(url: str) -> None:
    """A base URL that would send the token to nobody knows where is a fault of the configuration."""
    with pytest.raises(ConfigurationError) as caught:
        checked_base_url(url)
    assert caught.value.reason is Reason.BASE_URL_NOT_ALLOWED
    assert "pw" not in caught.value.message


async def test_representations_show_no_token(world: World) -> None:
    """Neither the client nor an error of it holds the token where a log could find it."""
    await world.client.create(world.token, "team-a", BODY)
    assert SECRET[:12] not in repr(world.client) + repr(vars(world.client))


async def test_httpx_errors_do_not_leave_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever httpx raises becomes an error of the one tree; a write is uncertain unless it never left."""

    def every(kind: type[httpx.HTTPError]) -> list[type[httpx.HTTPError]]:
        return [kind, *(each for below in kind.__subclasses__() for each in every(below))]

    kinds = [kind for kind in every(httpx.RequestError) if kind is not httpx.RequestError]
    assert len(kinds) > 10
    async with open_http() as lines:
        client = PlatformClient("http://127.0.0.1:9", lines)
        for kind in kinds:

            async def send(*_: Any, kind: type[httpx.HTTPError] = kind, **__: Any) -> None:
                raise kind(TOKEN)

            monkeypatch.setattr(httpx.AsyncClient, "send", send)
            with pytest.raises(OperatorError) as caught:
                await client.create(TOKEN, "team-a", BODY)
            assert SECRET[:12] not in str(caught.value), kind


@pytest.mark.parametrize(
    "location",
    ["http://xn--a/", "http://xn--zzzzzzzzz.com", "mailto:x", "http://[::1", "//xn--ls8h=.la/", "http://a:b", "\x7f"],
)
@pytest.mark.parametrize("write", [False, True])
async def test_a_redirect_to_what_is_no_address_is_an_error_of_the_platform(location: str, write: bool) -> None:
    """Nobody goes there, and reading it is no reason to fail in another way."""
    answer = response(b"", f"Location: {location}", status="302 Found")
    async with against(sends(answer)) as (_, client):
        call = client.create(TOKEN, "team-a", BODY) if write else client.list_workloads(TOKEN, "team-a")
        assert (await failing(call)).reason in (Reason.PLATFORM_REFUSED, Reason.PLATFORM_UNREACHABLE)


async def test_no_cookie_is_even_read(recwarn: pytest.WarningsRecorder) -> None:
    """Python's own reader warns with a traceback of a year that has thousands of digits."""
    cookie = f"Set-Cookie: a=b; expires=01 Jan {'9' * 5_000} 00:00:00 GMT"
    async with against(sends(response(b"[]", cookie))) as (_, client):
        assert (await client.list_workloads(TOKEN, "team-a")).body == b"[]"
    assert not [warning for warning in recwarn if "cookie" in str(warning.message)]


@pytest.mark.parametrize("coding", ["gzip, gzip", "br", "zstd", "deflate", "gzip;q=1", "x" * 999])
async def test_what_is_packed_in_another_way_is_not_unpacked(coding: str) -> None:
    """gzip is what was asked for; what was packed twice would be a gigabyte out of a kilobyte."""
    answer = response(gzip.compress(gzip.compress(b"[]")), f"Content-Encoding: {coding}")
    async with against(sends(answer)) as (server, client):
        assert "cannot be unpacked" in (await failing(client.list_workloads(TOKEN, "team-a"))).message
        assert b"accept-encoding: gzip\r\n" in server.requests[0].lower()


async def test_what_unpacks_to_a_thousand_times_its_size_is_unpacked_in_pieces() -> None:
    """So the limit holds before there is much more than it, for a list, and for what explains a refusal."""
    packed = gzip.compress(b" " * 50_000_000)
    request = httpx.Request("GET", "http://platform")
    answer = httpx.Response(200, headers={"Content-Encoding": "gzip"}, content=once(packed), request=request)
    sizes = [len(piece) async for piece in unpacked(answer)]
    assert (sum(sizes), max(sizes)) == (50_000_000, PIECE)


async def once(content: bytes) -> AsyncIterator[bytes]:
    """As one chunk."""
    yield content


async def test_a_path_longer_than_an_address_is_not_sent() -> None:
    """A project of many letters, each of which takes three times its size."""
    async with against(sends(response(b"[]"))) as (server, client):
        with pytest.raises(ConfigurationError):
            await client.list_workloads(TOKEN, "é" * 30_000)
        assert server.requests == []
