"""The data plane's routes: what an application calls once its workload is serving.

Decides which routes there are, which kind of workload each is for, and how a refusal looks to an OpenAI
client. What is answered is decided in `answers`; who may call, and whether the workload is ready, by the
platform.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import BodyPartReader, web
from aiohttp.typedefs import Handler

from inferencekey_simulator import answers
from inferencekey_simulator.control_plane import bearer, json_object
from inferencekey_simulator.inventory import Row, to_json
from inferencekey_simulator.keys import PLATFORM
from inferencekey_simulator.refusal import RefusedError, bad_request

Serve = Callable[[web.Request, Row, int], Awaitable[web.StreamResponse]]
_ENDPOINT = "/endpoint/{project}/{slug}"


def add_data_plane(router: web.UrlDispatcher) -> None:
    """Add the routes; every one is the operation `data`."""
    synchronous: list[tuple[str, Serve, frozenset[str]]] = [
        ("chat/completions", _chat, frozenset({"text2text", "omni"})),
        ("embeddings", _embeddings, frozenset({"embedding"})),
        ("images/generations", _images, frozenset({"text2image", "image2image", "omni"})),
        ("audio/speech", _speech, frozenset({"text2audio", "omni"})),
        ("audio/transcriptions", _transcription, frozenset({"audio2text", "omni"})),
        ("rerank", _rerank, frozenset({"reranker"})),
    ]
    for path, serve, task_types in synchronous:
        router.add_post(f"{_ENDPOINT}/v1/{path}", _guarded(serve, task_types), name=_name(path))
    router.add_get(f"{_ENDPOINT}/v1/models", _guarded(_models, None), name="data.models", allow_head=False)
    router.add_post(f"{_ENDPOINT}/jobs", _guarded(_job, None), name="data.jobs")


def data_refusal(refused: RefusedError) -> web.Response:
    """Return a refusal as OpenAI's clients expect it."""
    kind = "invalid_request_error" if refused.status < 500 else "server_error"
    error = {"message": refused.message, "type": kind, "param": None, "code": refused.code}
    return web.json_response({"error": error}, status=refused.status)


def _name(path: str) -> str:
    return "data." + path.replace("/", ".")


def _guarded(serve: Serve, task_types: frozenset[str] | None) -> Handler:
    async def guarded(request: web.Request) -> web.StreamResponse:
        platform = request.app[PLATFORM]
        project, slug = request.match_info["project"], request.match_info["slug"]
        row = platform.serving(bearer(request), project, slug)
        task_type = str(row.fields["task_type"])
        if task_types is not None and task_type not in task_types:
            message = f"a {task_type} workload has no such route; jobs go to /endpoint/{project}/{slug}/jobs"
            raise RefusedError(400, "unsupported_task_type", message)
        try:
            return await serve(request, row, int(platform.clock.wall()))
        except (ValueError, TypeError) as error:
            raise bad_request(str(error)) from None

    return guarded


def _model(row: Row) -> str:
    return str(row.fields["model_name"])


async def _chat(request: web.Request, row: Row, created: int) -> web.StreamResponse:
    body = await json_object(request)
    if not body.get("stream"):
        return web.json_response(answers.chat(_model(row), body, created))
    chunks = list(answers.chat_chunks(_model(row), body, created))
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for chunk in chunks:
        await response.write(b"data: " + to_json(chunk) + b"\n\n")
    await response.write(b"data: [DONE]\n\n")
    await response.write_eof()
    return response


async def _embeddings(request: web.Request, row: Row, created: int) -> web.StreamResponse:
    return web.json_response(answers.embeddings(_model(row), await json_object(request)))


async def _images(request: web.Request, row: Row, created: int) -> web.StreamResponse:
    return web.json_response(answers.images(_model(row), await json_object(request), created))


async def _speech(request: web.Request, row: Row, created: int) -> web.StreamResponse:
    return web.Response(body=answers.speech(await json_object(request)), content_type="audio/wav")


async def _rerank(request: web.Request, row: Row, created: int) -> web.StreamResponse:
    return web.json_response(answers.rerank(_model(row), await json_object(request)))


async def _models(request: web.Request, row: Row, created: int) -> web.StreamResponse:
    return web.json_response(answers.models(_model(row), created))


async def _job(request: web.Request, row: Row, created: int) -> web.StreamResponse:
    body = await json_object(request)
    receipt = answers.job(_model(row), str(row.fields["task_type"]), body, created)
    return web.json_response(receipt, status=202)


async def _transcription(request: web.Request, row: Row, created: int) -> web.StreamResponse:
    name, size, form = await _upload(request)
    text = answers.transcription(_model(row), name, size)
    return web.Response(text=text + "\n") if form == "text" else web.json_response({"text": text})


async def _upload(request: web.Request) -> tuple[str, int, str]:
    """Return the uploaded file's name and size, and the wanted form of the answer."""
    if not request.content_type.startswith("multipart/"):
        raise bad_request("a file is expected as multipart/form-data")
    name, size, form = None, 0, "json"
    async for part in await request.multipart():
        if not isinstance(part, BodyPartReader):
            continue
        if part.name == "file":
            name, size = part.filename or "file", len(await part.read())
        elif part.name == "response_format":
            form = await part.text()
    if name is None:
        raise bad_request("file must not be empty")
    return name, size, form
