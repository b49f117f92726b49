"""The data plane against its clients: `openai`, and the SDK's own."""

from __future__ import annotations

import io
import wave
from base64 import b64decode

import httpx
import openai
import pytest
from inferencekey import DataClient
from inferencekey.clients import Endpoint
from inferencekey.errors import ApiError, PermissionDenied
from openai import OpenAI
from openai.types.chat import ChatCompletionMessageParam

from conformance.declarations import PROJECT
from inferencekey_simulator.admin import Admin

MODEL = "acme/model-7b"
SLUG = "app"
HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Good morning"}]


@pytest.fixture
def key(admin: Admin) -> str:
    """The key of a workload that serves text; other tests change what it does."""
    admin.settings(readiness={"scheduling": 0, "provisioning": 0, "bootstrapping": 0})
    admin.add(PROJECT, SLUG, model_name=MODEL)
    return admin.mint_key(PROJECT, SLUG)


@pytest.fixture
def client(url: str, key: str) -> OpenAI:
    """OpenAI's client with nothing but a base URL and a key."""
    return OpenAI(base_url=f"{url}/endpoint/{PROJECT}/{SLUG}/v1", api_key=key, max_retries=0)


@pytest.fixture
def endpoint(url: str, key: str) -> Endpoint:
    """The SDK's client for the same workload."""
    return DataClient(base_url=url, project=PROJECT).endpoint(SLUG, api_key=key)


def serve(admin: Admin, task_type: str) -> None:
    """Make the workload one of another kind."""
    admin.edit(PROJECT, SLUG, task_type=task_type)


def test_chat(client: OpenAI) -> None:
    """A completion names the model and repeats what was said."""
    answer = client.chat.completions.create(model=MODEL, messages=HELLO)
    assert answer.model == MODEL
    assert answer.choices[0].message.content == f"[{MODEL}] You said: Good morning"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_chat_in_a_stream(client: OpenAI) -> None:
    """The pieces of a stream make up the same text, and the usage comes last if it was asked for."""
    stream = client.chat.completions.create(
        model=MODEL,
        messages=HELLO,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == f"[{MODEL}] You said: Good morning"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage is not None


def test_embeddings(client: OpenAI, admin: Admin) -> None:
    """Equal texts have equal vectors of length one, different texts different ones."""
    serve(admin, "embedding")
    answer = client.embeddings.create(model=MODEL, input=["a", "b", "a"], dimensions=16, encoding_format="float")
    first, second, third = (each.embedding for each in answer.data)
    assert first == third != second
    assert len(first) == 16
    assert sum(value * value for value in first) == pytest.approx(1)


def test_embeddings_as_the_client_asks_by_itself(client: OpenAI, admin: Admin) -> None:
    """Without a wish for an encoding the client asks for base64 and decodes it."""
    serve(admin, "embedding")
    answer = client.embeddings.create(model=MODEL, input="a")
    assert sum(value * value for value in answer.data[0].embedding) == pytest.approx(1, abs=1e-5)


def test_images(client: OpenAI, admin: Admin) -> None:
    """As many PNG images as were asked for."""
    serve(admin, "text2image")
    answer = client.images.generate(model=MODEL, prompt="a red square", n=2)
    assert answer.data is not None
    assert len(answer.data) == 2
    assert b64decode(answer.data[0].b64_json or "").startswith(b"\x89PNG\r\n\x1a\n")


def test_speech(client: OpenAI, admin: Admin) -> None:
    """A sound file that lasts longer the more is said."""
    serve(admin, "text2audio")
    content = client.audio.speech.create(model=MODEL, voice="alloy", input="one two three").content
    with wave.open(io.BytesIO(content)) as sound:
        assert sound.getnframes() / sound.getframerate() == pytest.approx(0.3)


def test_transcription(client: OpenAI, admin: Admin) -> None:
    """An uploaded file is told by its name and size, as JSON or as plain text."""
    serve(admin, "audio2text")
    file = ("hello.wav", b"x" * 1234)
    expected = f"[{MODEL}] 1234 bytes of hello.wav"
    assert client.audio.transcriptions.create(model=MODEL, file=file).text == expected
    plain = client.audio.transcriptions.create(model=MODEL, file=file, response_format="text")
    assert plain.strip() == expected


def test_models(client: OpenAI) -> None:
    """The workload lists its one model."""
    assert [model.id for model in client.models.list()] == [MODEL]


def test_a_workload_that_is_not_ready_says_so(client: OpenAI, admin: Admin) -> None:
    """503 with the phase in the message."""
    admin.phase(PROJECT, SLUG, "provisioning", "waiting for an A100")
    with pytest.raises(openai.InternalServerError, match=r"provisioning \(waiting for an A100\)") as raised:
        client.chat.completions.create(model=MODEL, messages=HELLO)
    assert raised.value.status_code == 503
    assert raised.value.code == "workload_not_ready"


def test_an_unknown_key_is_refused(url: str, key: str) -> None:
    """401 for a key nobody minted."""
    stranger = OpenAI(base_url=f"{url}/endpoint/{PROJECT}/{SLUG}/v1", api_key=f"{key[:-1]}!", max_retries=0)
    with pytest.raises(openai.AuthenticationError):
        stranger.models.list()


def test_a_control_token_is_the_wrong_credential_type(url: str, key: str, token: str) -> None:
    """403 for an ik_sdk_ token on the data plane."""
    client = OpenAI(base_url=f"{url}/endpoint/{PROJECT}/{SLUG}/v1", api_key=token, max_retries=0)
    with pytest.raises(openai.PermissionDeniedError, match="ik_sdk_ token") as raised:
        client.models.list()
    assert raised.value.code == "wrong_credential_type"


def test_a_key_opens_one_workload_only(url: str, key: str, admin: Admin) -> None:
    """403 for the key of another workload, 401 once its own is deleted."""
    admin.add(PROJECT, "other", model_name=MODEL)
    other = OpenAI(base_url=f"{url}/endpoint/{PROJECT}/other/v1", api_key=key, max_retries=0)
    with pytest.raises(openai.PermissionDeniedError):
        other.models.list()
    admin.remove(PROJECT, SLUG)
    with pytest.raises(openai.AuthenticationError):
        other.models.list()


def test_an_async_only_workload_takes_jobs(url: str, client: OpenAI, key: str, admin: Admin) -> None:
    """A classification workload has no synchronous route and gives a receipt for a job."""
    serve(admin, "classification")
    with pytest.raises(openai.BadRequestError, match="jobs"):
        client.chat.completions.create(model=MODEL, messages=HELLO)
    jobs = f"{url}/endpoint/{PROJECT}/{SLUG}/jobs"
    headers = {"Authorization": f"Bearer {key}"}
    response = httpx.post(jobs, json={"input": "is this spam?"}, headers=headers)
    assert response.status_code == 202
    receipt = response.json()
    assert receipt["id"].startswith("job-")
    assert (receipt["status"], receipt["task_type"]) == ("queued", "classification")


def test_the_sdk_chats(endpoint: Endpoint, admin: Admin) -> None:
    """The SDK sends the workload's slug as the model, and gets the model's name back."""
    answer = endpoint.generate_text(prompt="Good morning")
    assert (answer.text, answer.model) == (f"[{MODEL}] You said: Good morning", MODEL)
    assert admin.requests(operation="data")[-1]["body"]["model"] == SLUG


def test_the_sdk_streams(endpoint: Endpoint) -> None:
    """The SDK's stream ends with a reason."""
    chunks = list(endpoint.generate_text_stream(messages=HELLO))
    assert "".join(chunk.text for chunk in chunks) == f"[{MODEL}] You said: Good morning"
    assert chunks[-1].finish_reason == "stop"


def test_the_sdk_embeds(endpoint: Endpoint, admin: Admin) -> None:
    """One vector per input."""
    serve(admin, "embedding")
    assert len(endpoint.embed(input=["a", "b"]).embeddings) == 2


def test_the_sdk_reranks(endpoint: Endpoint, admin: Admin) -> None:
    """The SDK has a synchronous route for rerankers: documents that share words with the query come first."""
    serve(admin, "reranker")
    result = endpoint.rerank(query="red car", documents=["blue house", "red car", "red house"], top_n=2)
    assert [item.index for item in result.results] == [1, 2]


def test_the_sdk_errors(endpoint: Endpoint, admin: Admin) -> None:
    """A workload that is not ready, and one that is gone."""
    admin.phase(PROJECT, SLUG, "scheduling")
    with pytest.raises(ApiError, match="not ready"):
        endpoint.generate_text(prompt="x")
    admin.remove(PROJECT, SLUG)
    with pytest.raises(PermissionDenied):
        endpoint.generate_text(prompt="x")
