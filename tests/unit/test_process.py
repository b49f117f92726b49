"""The process as a shell sees it: how it ends, and what it says, where its environment is odd."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from unit.raw_server import raw_server, sends

REFUSAL = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"
KUBECONFIG = """
apiVersion: v1
kind: Config
clusters: [{name: a, cluster: {server: "%s"}}]
users: [{name: a, user: %s}]
contexts: [{name: a, context: {cluster: a, user: a}}]
current-context: a
"""


async def started(folder: Path, server: str, user: str = "{}", **variables: str) -> asyncio.subprocess.Process:
    """The operator, with these variables and no others."""
    (folder / "kubeconfig").write_text(KUBECONFIG % (server, user))
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "inferencekey_operator", "run"),
        env={"PATH": os.environ["PATH"], "KUBECONFIG": str(folder / "kubeconfig"), **variables},
        stderr=asyncio.subprocess.PIPE,
    )


async def ended(
    folder: Path, server: str = "https://127.0.0.1:1", user: str = "{}", **variables: str
) -> tuple[int, str]:
    """The exit code of the operator with these variables, and what it said."""
    process = await started(folder, server, user, **variables)
    async with asyncio.timeout(60):
        _, said = await process.communicate()
    assert process.returncode is not None
    assert b"Traceback" not in said, said.decode()
    return process.returncode, said.decode()


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("ALL_PROXY", "socks5://me:hunter2@127.0.0.1:1080", 'ALL_PROXY: "socks5://…@127.0.0.1:1080" is a SOCKS proxy'),
        ("NO_PROXY", "localhost,10.0.0.0/33", 'NO_PROXY: "10.0.0.0/33" is not a network'),
        ("SSL_CERT_FILE", "/nowhere/ca.crt", 'SSL_CERT_FILE: "/nowhere/ca.crt" cannot be read'),
        ("SSL_CERT_DIR", "/nowhere", 'SSL_CERT_DIR: "/nowhere" holds no file with a certificate'),
    ],
)
async def test_a_variable_that_cannot_be_used_ends_the_start(
    tmp_path: Path, variable: str, value: str, said: str
) -> None:
    """With 1 and one line that quotes it."""
    code, log = await ended(tmp_path, **{variable: value})
    assert (code, len(log.splitlines())) == (1, 1)
    assert said in log
    assert "hunter2" not in log


@pytest.mark.parametrize(
    ("user", "said"),
    [
        ("{token: hunter2}", "the API server refuses the credentials of the kubeconfig"),
        (
            "{exec: {apiVersion: client.authentication.k8s.io/v1, command: no-such-plugin}}",
            'no usable kubeconfig: the credential plugin "no-such-plugin" cannot be run: No such file or directory',
        ),
    ],
)
async def test_credentials_that_are_none_end_the_start(tmp_path: Path, user: str, said: str) -> None:
    """With 1, and whose they are; not with what they are."""
    refusal = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"
    async with raw_server(sends(refusal)) as server:
        code, log = await ended(tmp_path, server.url, user)
    assert code == 1
    assert said in log.splitlines()[-1]
    assert "hunter2" not in log


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "{} does not exist"),
        ("", "{} is not a kubeconfig"),
        ("just words", "{} is not a kubeconfig"),
        ("{", "{} is not a kubeconfig: it is not YAML"),
        ("clusters: 5", "{} is not a kubeconfig"),
        (
            (KUBECONFIG % ("https://127.0.0.1:1", "{}")).replace("user: a}", "user: b}"),
            'the context "a" of {} names "b", which is not in its users',
        ),
    ],
)
async def test_a_kubeconfig_that_is_none_ends_the_start(tmp_path: Path, content: str | None, said: str) -> None:
    """With 1, and its name."""
    file = tmp_path / "other"
    if content is not None:
        file.write_text(content)
    code, log = await ended(tmp_path, KUBECONFIG=str(file))
    assert code == 1
    assert f"no usable kubeconfig: {said.format(file)}. Set KUBECONFIG, or run in a cluster." in log.splitlines()[-1]
    assert len(log.splitlines()) == 2


async def test_the_first_lines_say_what_runs_where(tmp_path: Path) -> None:
    """Version, API server, context, platform, namespaces, policy and interval."""
    answers = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
    async with raw_server(sends(answers)) as server:
        process = await started(tmp_path, server.url, INFERENCEKEY_OPERATOR_NAMESPACE="a,b")
        assert process.stderr is not None
        async with asyncio.timeout(60):
            first = [(await process.stderr.readline()).decode().strip().partition("INFO    ")[2] for _ in range(3)]
        process.kill()
        await process.wait()
    assert first[0].startswith("inferencekey-operator 0")
    assert first[1] == f'API server: {server.url}, by the kubeconfig {tmp_path / "kubeconfig"}, context "a"'
    assert first[2] == (
        "platform: https://api.inferencekey.com; namespaces: a, b; drift policy: Reconcile; a list of each project "
        "every 30 s"
    )


async def test_an_api_server_of_ipv6_is_not_behind_the_proxy_of_the_chart(tmp_path: Path) -> None:
    """In the words that the chart sets. Its proxy hears of it only where it is not excepted, and is quoted then."""
    async with raw_server(sends(REFUSAL)) as proxy:
        behind = {"HTTPS_PROXY": f"http://me:hunter2@127.0.0.1:{proxy.port}"}
        excepted = {"NO_PROXY": "fd00:10:96::1,localhost,127.0.0.1,.svc,.cluster.local"}
        code, log = await ended(tmp_path, "https://[fd00:10:96::1]:6443", **behind, **excepted)
        assert (code, proxy.requests) == (1, [])
        assert "no Kubernetes cluster answers" in log
        code, log = await ended(tmp_path, "https://[fd00:10:96::2]:6443", **behind, **excepted)
        assert code == 1
        assert proxy.requests[0].startswith(b"CONNECT [fd00:10:96::2]:6443 ")
        assert "407" in log
        assert "hunter2" not in log
