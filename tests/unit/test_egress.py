"""The way to the platform: the proxy that is taken, and certificates that are replaced while the operator runs."""

from __future__ import annotations

import base64
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from controlplane.certificates import Authority
from inferencekey_operator.errors import PlatformFailure, Reason
from inferencekey_operator.inferencekey.calls import open_http
from inferencekey_operator.inferencekey.client import PlatformClient
from inferencekey_operator.inferencekey.egress import Egress
from inferencekey_operator.network.proxies import Proxies
from inferencekey_operator.network.trust import Trust
from inferencekey_operator.network.variables import VariableError
from unit.raw_server import RawServer, raw_server, response, sends

SECRET = "0123456789abcdef" * 4
TOKEN = f"ik_sdk_a1b2c3d4_{SECRET}"
BODY = {"name": "Bot", "slug": "bot"}
LISTED = sends(response(b"[]"))


async def listed(client: PlatformClient) -> str:
    """`listed`, or what stands in the way; nothing else is raised."""
    try:
        await client.list_workloads(TOKEN, "team-a")
    except PlatformFailure as error:
        return error.message if error.reason == Reason.PLATFORM_UNREACHABLE else str(error.reason)
    return "listed"


# -- proxies -----------------------------------------------------------------------------------------------------------


async def test_a_proxy_is_honoured_and_its_refusal_is_certain(monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTPS goes through the proxy of the environment; when that says no, nothing reached the platform."""
    refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"
    async with raw_server(sends(refusal)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:hunter2@127.0.0.1:{proxy.port}")
        monkeypatch.setenv("NO_PROXY", "elsewhere.example,fd00::/8,[::1],10.0.0.0/8")
        async with open_http() as lines:
            with pytest.raises(PlatformFailure) as raised:
                await PlatformClient("https://ik.example", lines).create(TOKEN, "team-a", BODY)
        assert (raised.value.reason, raised.value.uncertain) == (Reason.PLATFORM_UNREACHABLE, False)
        assert "hunter2" not in raised.value.message
        head = proxy.requests[0]
        assert head.startswith(b"CONNECT ik.example:443 ")
        assert b"Proxy-Authorization: Basic " + base64.b64encode(b"me:hunter2") in head
        assert SECRET[:12].encode() not in b"".join(proxy.requests)


@pytest.mark.parametrize("no_proxy", ["192.0.2.0/24", "fd00::/8,192.0.2.7", "[::1],192.0.2.7:8080", "ik.example,*"])
async def test_an_exception_is_connected_to_without_the_proxy(no_proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks count, and an entry of IPv6 is no error; an address that no host has shows that nobody was asked."""
    async with raw_server(LISTED) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", no_proxy)
        async with open_http(0.2) as lines:
            assert "does not answer" in await listed(PlatformClient("http://192.0.2.7:8080", lines))
            assert proxy.requests == []
            if "*" not in no_proxy:
                assert await listed(PlatformClient("http://192.0.1.7:8080", lines)) == "listed"
                assert proxy.requests[0].startswith(b"GET http://192.0.1.7:8080/")


# -- certificates ------------------------------------------------------------------------------------------------------


class Bundle:
    """A file of certificates, as SSL_CERT_FILE names it, of one size whatever it holds."""

    SIZE = 4096

    def __init__(self, path: Path, *authorities: Authority) -> None:
        self.path = path
        self.write(*authorities)

    def write(self, *authorities: Authority) -> None:
        """In one step, as a ConfigMap's volume does it."""
        new = self.path.with_suffix(".new")
        new.write_text("".join(authority.certificate for authority in authorities).ljust(self.SIZE))
        new.replace(self.path)

    @property
    def egress(self) -> Egress:
        """Where it is what is trusted."""
        return Egress(Proxies(), Trust({"SSL_CERT_FILE": str(self.path)}))


@asynccontextmanager
async def platform_of(authority: Authority, folder: Path) -> AsyncIterator[RawServer]:
    """A platform with a certificate of this authority's."""
    pair, file = authority.serving(), folder / "serving.pem"
    file.write_text(pair.certificate + pair.key)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(file)
    async with raw_server(LISTED, tls) as server:
        yield server


async def test_a_private_authority_is_trusted_when_it_is_named(tmp_path: Path) -> None:
    """An unknown certificate is refused before the token is sent; SSL_CERT_FILE makes it known."""
    ours, other = Authority(), Authority()
    async with platform_of(ours, tmp_path) as server:
        async with open_http(egress=Bundle(tmp_path / "other.crt", other).egress) as lines:
            assert "certificate" in await listed(PlatformClient(server.url, lines))
        assert server.requests == []
        async with open_http(egress=Bundle(tmp_path / "ca.crt", other, ours).egress) as lines:
            assert await listed(PlatformClient(server.url, lines)) == "listed"


@pytest.mark.parametrize("same_look", [False, True])
async def test_a_bundle_that_is_extended_is_read_again(tmp_path: Path, same_look: bool) -> None:
    """By the very call that would have failed, even where the file's time, size and place say nothing of it."""
    ours, other = Authority(), Authority()
    bundle = Bundle(tmp_path / "ca.crt", other)
    async with platform_of(ours, tmp_path) as server, open_http(egress=bundle.egress) as lines:
        client = PlatformClient(server.url, lines)
        assert "certificate" in await listed(client)
        if same_look:
            before = os.stat(bundle.path)
            with bundle.path.open("r+") as file:
                file.write(ours.certificate.ljust(Bundle.SIZE))
            os.utime(bundle.path, ns=(before.st_atime_ns, before.st_mtime_ns))
        else:
            bundle.write(other, ours)
        assert await listed(client) == "listed"
        assert await listed(client) == "listed"
        assert server.connections == 1  # all that came about: it is kept


async def test_a_bundle_that_breaks_is_reported_once_and_the_old_one_stays(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a file is no reason to trust nobody; what comes after it counts again, also that an authority went."""
    ours, other = Authority(), Authority()
    monkeypatch.setattr("inferencekey_operator.network.trust.LOOK_EVERY", 0.0)
    bundle = Bundle(tmp_path / "ca.crt", ours)
    async with platform_of(ours, tmp_path) as server, open_http(egress=bundle.egress) as lines:
        client = PlatformClient(server.url, lines)
        bundle.path.write_text(ours.certificate[:200])
        assert [await listed(client) for _ in range(3)] == ["listed"] * 3
        assert caplog.text.count("SSL_CERT_FILE") == 1
        bundle.write(other)
        assert "certificate" in await listed(client)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read: No such file or directory"),
        ("", "holds no certificate in PEM"),
        ("nothing", "holds no certificate in PEM"),
        ("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", "holds no certificate in PEM"),
    ],
)
def test_a_file_without_certificates_ends_the_start(tmp_path: Path, content: str | None, said: str) -> None:
    """With the variable and the file in the message."""
    path = tmp_path / "ca.crt"
    if content is not None:
        path.write_text(content)
    with pytest.raises(VariableError, match="SSL_CERT_FILE") as raised:
        Trust({"SSL_CERT_FILE": str(path)})
    assert f'"{path}" {said}' in str(raised.value)


def test_a_directory_is_read_whatever_its_files_are_called(tmp_path: Path) -> None:
    """As Go does it; OpenSSL asks for names that are hashes. One without a certificate ends the start."""
    for folder in ("absent", "."):
        with pytest.raises(VariableError, match=r'SSL_CERT_DIR: ".*" holds no file with a certificate'):
            Trust({"SSL_CERT_DIR": str(tmp_path / folder)})
    (tmp_path / "README").write_text("no certificate")
    for name in ("a.crt", "b.pem"):
        (tmp_path / name).write_text(Authority().certificate)
    (tmp_path / "link.pem").symlink_to(tmp_path / "b.pem")
    more = Bundle(tmp_path.parent / "more.crt", Authority())
    both = {"SSL_CERT_DIR": f"{tmp_path}:{tmp_path / 'absent'}", "SSL_CERT_FILE": str(more.path)}
    assert Trust(both).context().cert_store_stats()["x509"] == 3
