"""The admin API under `/simulator/`: how tests, the demo and benchmarks control the platform from outside.

Decides only the routes and their JSON; `admin.Admin` is its client in Python. It asks for no credentials,
which is why the simulator listens on the loopback address unless told otherwise. Its own requests are not
recorded.

GET    requests?since=N&operation=&project=   the recorded requests after sequence number N, and `last`
GET    counters?project=                      counts by operation and status, bytes sent, streams open
GET    workloads?project=                     [{id, project, slug, phase, message, step, fields}]
POST   workloads                              add one {project, slug, …fields}, or {"workloads": […]}
PATCH  workloads/TARGET                       change any fields; "config.command" reaches inside one
DELETE workloads/TARGET                       remove
POST   workloads/TARGET/phase                 {phase, message?, step?}; a null phase begins anew
POST   streams/drop                           {project?, slug?, cut?}: end open readiness streams
GET    faults                                 the faults, each with its `id` and how often it was `used`
POST   faults                                 arm one, see `faults.Fault`
DELETE faults, faults/ID                      disarm all, or one
GET    credentials                            the known ones, without secrets
POST   credentials                            mint a control token: {project, scopes?, token?}
DELETE credentials/PUBLIC                     revoke at once, by the public identifier
POST   keys                                   mint an ik_live_ key: {project, slug}
GET    settings                               see `settings.Settings`
PATCH  settings                               change some

TARGET is a workload's id, or PROJECT/SLUG. `workloads` does not show a soft-deleted workload (see the setting
`deletion`), but its id is still a TARGET, for example to remove it. Errors are 400 or 404 with
{"error": message}.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from inferencekey_simulator.control_plane import json_object
from inferencekey_simulator.credentials import DEFAULT_SCOPES
from inferencekey_simulator.faults import Fault
from inferencekey_simulator.inventory import Row
from inferencekey_simulator.keys import PLATFORM, STREAMS
from inferencekey_simulator.platform import Platform
from inferencekey_simulator.readiness import PHASES
from inferencekey_simulator.refusal import RefusedError, not_found


def add_admin_api(router: web.UrlDispatcher) -> None:
    """Add the routes."""
    routes: list[tuple[str, str, Handler]] = [
        ("GET", "requests", _requests),
        ("GET", "counters", _counters),
        ("GET", "workloads", _workloads),
        ("POST", "workloads", _add),
        ("POST", "streams/drop", _drop),
        ("GET", "faults", _faults),
        ("POST", "faults", _arm),
        ("DELETE", "faults", _disarm),
        ("DELETE", "faults/{id}", _disarm),
        ("GET", "credentials", _credentials),
        ("POST", "credentials", _mint),
        ("DELETE", "credentials/{public}", _revoke),
        ("POST", "keys", _mint_key),
        ("GET", "settings", _settings),
        ("PATCH", "settings", _configure),
    ]
    for target in ("workloads/{id}", "workloads/{project}/{slug}"):
        routes += [
            ("PATCH", target, _edit),
            ("DELETE", target, _remove),
            ("POST", f"{target}/phase", _phase),
        ]
    for method, path, handler in routes:
        router.add_route(method, f"/simulator/{path}", _reporting(handler))


def _reporting(handler: Handler) -> Handler:
    async def reported(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except RefusedError as refused:
            return web.json_response({"error": refused.message}, status=refused.status)
        except ValueError as error:
            return web.json_response({"error": str(error)}, status=400)
        except KeyError as error:
            return web.json_response({"error": f"missing: {error}"}, status=400)

    return reported


async def _requests(request: web.Request) -> web.Response:
    journal = request.app[PLATFORM].journal
    operation, project = request.query.get("operation"), request.query.get("project")
    found = [
        entry.shown()
        for entry in journal.since(int(request.query.get("since", "0")))
        if operation in (None, entry.call.operation) and project in (None, entry.call.project)
    ]
    return web.json_response({"requests": found, "last": journal.last})


async def _counters(request: web.Request) -> web.Response:
    totals = request.app[PLATFORM].journal.totals(request.query.get("project"))
    return web.json_response(totals | {"streams_open": request.app[STREAMS].count()})


async def _workloads(request: web.Request) -> web.Response:
    platform = request.app[PLATFORM]
    return web.json_response([_shown(platform, row) for row in platform.rows(request.query.get("project"))])


async def _add(request: web.Request) -> web.Response:
    platform = request.app[PLATFORM]
    body = await json_object(request)
    many = body.get("workloads")
    rows = [_added(platform, each) for each in (many if many is not None else [body])]
    return web.json_response([_shown(platform, row) for row in rows], status=201)


async def _edit(request: web.Request) -> web.Response:
    platform = request.app[PLATFORM]
    row = platform.edit(_target(request), await json_object(request))
    return web.json_response(_shown(platform, row))


async def _remove(request: web.Request) -> web.Response:
    request.app[PLATFORM].remove(_target(request))
    return web.Response(status=204)


async def _phase(request: web.Request) -> web.Response:
    platform = request.app[PLATFORM]
    body = await json_object(request)
    row = _target(request)
    if body["phase"] not in (*PHASES, None):
        raise ValueError(f"phase must be one of {', '.join(PHASES)}, or null")
    platform.set_phase(row, body["phase"], body.get("message"), body.get("step"))
    return web.json_response(_shown(platform, row))


async def _drop(request: web.Request) -> web.Response:
    body = await json_object(request)
    dropped = request.app[STREAMS].drop(body.get("project"), body.get("slug"), bool(body.get("cut")))
    return web.json_response({"dropped": dropped})


async def _faults(request: web.Request) -> web.Response:
    return web.json_response(request.app[PLATFORM].faults.listed())


async def _arm(request: web.Request) -> web.Response:
    fault = Fault.model_validate(await json_object(request))
    return web.json_response({"id": request.app[PLATFORM].faults.add(fault)}, status=201)


async def _disarm(request: web.Request) -> web.Response:
    number = request.match_info.get("id")
    cleared = request.app[PLATFORM].faults.clear(int(number) if number else None)
    return web.json_response({"cleared": cleared})


async def _credentials(request: web.Request) -> web.Response:
    known = request.app[PLATFORM].keyring.all()
    return web.json_response(
        [
            {"id": each.public, "project": each.project, "scopes": each.scopes, "workload": each.workload}
            for each in known
        ]
    )


async def _mint(request: web.Request) -> web.Response:
    platform = request.app[PLATFORM]
    body = await json_object(request)
    project, scopes = str(body["project"]), body.get("scopes")
    scopes = DEFAULT_SCOPES if scopes is None else scopes
    token = platform.mint(project, scopes, body.get("token"))
    return web.json_response({"token": token, "project": project, "scopes": list(scopes)}, status=201)


async def _revoke(request: web.Request) -> web.Response:
    platform = request.app[PLATFORM]
    return web.json_response({"revoked": platform.revoke(request.match_info["public"])})


async def _mint_key(request: web.Request) -> web.Response:
    platform = request.app[PLATFORM]
    body = await json_object(request)
    return web.json_response({"key": platform.mint_key(str(body["project"]), str(body["slug"]))}, status=201)


async def _settings(request: web.Request) -> web.Response:
    return web.json_response(request.app[PLATFORM].settings.model_dump(mode="json"))


async def _configure(request: web.Request) -> web.Response:
    settings = request.app[PLATFORM].configure(await json_object(request))
    return web.json_response(settings.model_dump(mode="json"))


def _target(request: web.Request) -> Row:
    platform = request.app[PLATFORM]
    identifier = request.match_info.get("id")
    if identifier is None:
        return platform.row(request.match_info["project"], request.match_info["slug"])
    row = platform.inventory.find(identifier)
    if row is None:
        raise not_found(f"there is no workload {identifier!r}")
    return row


def _added(platform: Platform, body: dict[str, Any]) -> Row:
    fields = {name: value for name, value in body.items() if name != "project"}
    return platform.add(str(body["project"]), {"name": fields["slug"], **fields})


def _shown(platform: Platform, row: Row) -> dict[str, Any]:
    reading = platform.reading(row)
    return {
        "id": row.id,
        "project": row.project,
        "slug": row.slug,
        "phase": reading.phase,
        "message": reading.message,
        "step": reading.step,
        "fields": row.fields,
    }
