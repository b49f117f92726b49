"""What a serving workload answers: canned, deterministic, and in the shape that OpenAI's clients accept.

Decides the content of the data plane's answers. Pure: a request's fields in, an answer out. Every answer
names the model, so that whoever reads it can tell which workload it came from.
"""

from __future__ import annotations

import base64
import hashlib
import io
import struct
import wave
import zlib
from collections.abc import Iterator
from typing import Any

from inferencekey_simulator.refusal import bad_request

Json = dict[str, Any]
DIMENSIONS = 8


def chat(model: str, body: Json, created: int) -> Json:
    """Return a chat completion that repeats the last message of the user."""
    text = reply(model, body)
    message = {"role": "assistant", "content": text, "refusal": None}
    return {
        "id": _id("chatcmpl", text),
        "object": "chat.completion",
        "created": created,
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}],
        "usage": _usage(body, text),
    }


def chat_chunks(model: str, body: Json, created: int) -> Iterator[Json]:
    """Return the same completion in pieces: the role, the words, the end, and the usage if asked for."""
    text = reply(model, body)
    frame = {
        "id": _id("chatcmpl", text),
        "object": "chat.completion.chunk",
        "created": created,
        "model": model,
    }
    words = text.split(" ")
    deltas = [
        {"role": "assistant", "content": ""},
        {"content": words[0]},
        *({"content": f" {word}"} for word in words[1:]),
    ]
    for delta in deltas:
        yield frame | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    yield frame | {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    if (body.get("stream_options") or {}).get("include_usage"):
        yield frame | {"choices": [], "usage": _usage(body, text)}


def reply(model: str, body: Json) -> str:
    """Return what the simulated model says: its name and what the user said last."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise bad_request("messages must not be empty")
    said = [each for each in messages if isinstance(each, dict) and each.get("role") == "user"]
    return f"[{model}] You said: {_text(said[-1].get('content')) if said else ''}"


def embeddings(model: str, body: Json) -> Json:
    """Return a unit vector per input, derived from its text; `encoding_format: base64` is honoured."""
    given = body.get("input")
    inputs = [given] if isinstance(given, str) else given
    if not isinstance(inputs, list) or not inputs:
        raise bad_request("input must not be empty")
    size = int(body.get("dimensions") or DIMENSIONS)
    packed = body.get("encoding_format") == "base64"
    data = [
        {"object": "embedding", "index": index, "embedding": _encoded(vector(str(text), size), packed)}
        for index, text in enumerate(inputs)
    ]
    tokens = sum(len(str(text).split()) for text in inputs)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "model": model, "data": data, "usage": usage}


def vector(text: str, size: int) -> list[float]:
    """Return a unit vector that depends on nothing but the text."""
    seed = hashlib.shake_256(text.encode()).digest(2 * size)
    raw = [value / 32768 - 1 for value in struct.unpack(f"<{size}H", seed)]
    length = sum(value * value for value in raw) ** 0.5
    return [value / length for value in raw]


def images(model: str, body: Json, created: int) -> Json:
    """Return `n` PNG images of one colour, which depends on the prompt."""
    prompt = _prompt(body, "prompt")
    picture = base64.b64encode(png(prompt)).decode()
    url = body.get("response_format") == "url"
    image = {"url": f"data:image/png;base64,{picture}"} if url else {"b64_json": picture}
    image["revised_prompt"] = f"[{model}] {prompt}"
    return {"created": created, "data": [image] * int(body.get("n") or 1)}


def png(prompt: str) -> bytes:
    """Return a PNG of 16 by 16 pixels."""
    row = b"\0" + hashlib.sha256(prompt.encode()).digest()[:3] * 16
    header = struct.pack(">IIBBBBB", 16, 16, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(row * 16)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in parts)


def speech(body: Json) -> bytes:
    """Return a WAV of silence, a tenth of a second per word."""
    words = len(_prompt(body, "input").split())
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(b"\0\0" * 800 * words)
    return buffer.getvalue()


def transcription(model: str, name: str, size: int) -> str:
    """Return the text that was heard in an uploaded file."""
    return f"[{model}] {size} bytes of {name}"


def rerank(model: str, body: Json) -> Json:
    """Return the documents scored by the words they share with the query, best first."""
    query, documents = _prompt(body, "query"), body.get("documents")
    if not isinstance(documents, list) or not documents:
        raise bad_request("documents must not be empty")
    words = set(query.lower().split())
    shares = [len(words & set(str(each).lower().split())) / len(words) for each in documents]
    order = sorted(range(len(shares)), key=lambda index: -shares[index])
    results = [{"index": index, "relevance_score": shares[index]} for index in order]
    return {"model": model, "results": results[: body.get("top_n")]}


def models(model: str, created: int) -> Json:
    """Return the one model a workload serves."""
    entry = {"id": model, "object": "model", "created": created, "owned_by": "inferencekey"}
    return {"object": "list", "data": [entry]}


def job(model: str, task_type: str, body: Json, created: int) -> Json:
    """Return the receipt of a job."""
    number = _id("job", f"{created}{body}")
    return {"id": number, "object": "job", "status": "queued", "task_type": task_type, "model": model}


def _usage(body: Json, text: str) -> Json:
    prompt = sum(len(_text(each.get("content")).split()) for each in body["messages"] if isinstance(each, dict))
    answer = len(text.split())
    return {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}


def _text(content: Any) -> str:
    if isinstance(content, list):
        return " ".join(str(part.get("text", "")) for part in content if isinstance(part, dict)).strip()
    return "" if content is None else str(content)


def _prompt(body: Json, name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value.strip():
        raise bad_request(f"{name} must not be empty")
    return value


def _encoded(values: list[float], packed: bool) -> list[float] | str:
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode() if packed else values


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _id(prefix: str, text: str) -> str:
    return f"{prefix}-{hashlib.sha256(text.encode()).hexdigest()[:24]}"
