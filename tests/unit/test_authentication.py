"""Credentials for the API server that run out, are replaced or refused: plugins, tokens in files, certificates.

The API server is scripted; the plugins are programs, and run. Time passes where a test says so.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import ssl
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web
from cryptography.x509 import load_pem_x509_certificate

from controlplane.certificates import Authority, KeyPair
from inferencekey_operator.kube import authentication, execplugin
from inferencekey_operator.kube.client import Cluster
from inferencekey_operator.kube.errors import ClusterError
from inferencekey_operator.kube.official import incluster_config, kube_config
from inferencekey_operator.network.proxies import Proxies

API_VERSION = "client.authentication.k8s.io/v1"


@dataclass
class Kubernetes:
    """An API server that takes some credentials and refuses all others. A certificate is known by its serial number."""

    taken: set[str] = field(default_factory=set)
    seen: list[str] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        """To whatever is asked."""
        certificate = request.get_extra_info("peercert")
        who = request.headers.get("Authorization", certificate["serialNumber"] if certificate else "nobody")
        self.seen.append(who)
        if who in self.taken:
            return web.json_response({"kind": "Thing"})
        return web.json_response({"message": "Unauthorized"}, status=401)

    @asynccontextmanager
    async def serving(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
        """Its port."""
        runner = web.ServerRunner(web.Server(self.answer))  # type: ignore[arg-type]
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        try:
            yield runner.addresses[0][1]
        finally:
            await runner.cleanup()


class Clock:
    """The time for those who decide when credentials are renewed."""

    def __init__(self) -> None:
        self.passed = 0.0

    def time(self) -> float:
        """Of the day."""
        return time.time() + self.passed

    def monotonic(self) -> float:
        """Since whenever."""
        return time.monotonic() + self.passed


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """It goes on, and leaps when told to."""
    clock = Clock()
    monkeypatch.setattr(authentication, "time", SimpleNamespace(time=clock.time, monotonic=clock.monotonic))
    return clock


class Plugin:
    """A program that hands out what it is told to, and counts how often it was run."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._program, self._runs, self._says = folder / "plugin", folder / "runs", folder / "says"
        self._program.write_text(
            f"#!{sys.executable}\nimport os, sys, time\n"
            f"open({str(self._runs)!r}, 'a').write('x')\nexec(open({str(self._says)!r}).read())\n"
        )
        self._program.chmod(0o700)

    @property
    def runs(self) -> int:
        """How often it was started."""
        return len(self._runs.read_text()) if self._runs.exists() else 0

    def does(self, program: str) -> None:
        """From its next run on."""
        self._says.write_text(program)

    def hands_out(self, token: str, *, expires_at: float | None = None, after: str = "") -> None:
        """A token; once something else was done, if any."""
        handed: dict[str, str] = {"token": token}
        if expires_at is not None:
            handed["expirationTimestamp"] = datetime.fromtimestamp(expires_at, UTC).isoformat()
        self._prints(handed, after)

    def hands_out_certificate(self, pair: KeyPair) -> None:
        """With its key, as some do instead of a token."""
        self._prints({"clientCertificateData": pair.certificate, "clientKeyData": pair.key})

    def _prints(self, status: dict[str, str], after: str = "") -> None:
        credential = {"apiVersion": API_VERSION, "kind": "ExecCredential", "status": status}
        self.does(f"{after}\nprint({json.dumps(credential)!r})")

    @property
    def user(self) -> dict[str, Any]:
        """In a kubeconfig."""
        return {"exec": {"apiVersion": API_VERSION, "command": str(self._program), "interactiveMode": "Never"}}


@pytest.fixture
def plugin(tmp_path: Path) -> Plugin:
    """That hands out `first`, for as long as anybody cares."""
    plugin = Plugin(tmp_path)
    plugin.hands_out("first")
    return plugin


class Access:
    """A kubeconfig, which KUBECONFIG names, and the cluster that is connected to by it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, user: dict[str, Any], *servers: str, current: int = 0, **cluster: str) -> None:
        """One context for each server."""
        config = {
            "clusters": [{"name": each, "cluster": {"server": each, **cluster}} for each in servers],
            "users": [{"name": "me", "user": user}],
            "contexts": [{"name": each, "context": {"cluster": each, "user": "me"}} for each in servers],
            "current-context": servers[current],
        }
        self.path.write_text(json.dumps(config))

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Cluster]:
        """As the operator does it."""
        cluster = await Cluster.connect(Proxies())
        try:
            yield cluster
        finally:
            await cluster.close()


@pytest.fixture
def access(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Access:
    """With nothing in it yet."""
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    return Access(tmp_path / "kubeconfig")


async def outcome(cluster: Cluster) -> int:
    """Of one request: 200, or the status of what was raised."""
    try:
        await cluster.request("GET", "/version")
    except ClusterError as error:
        return error.status
    return 200


async def until(condition: Callable[[], bool]) -> None:
    """Waits for what goes on beside."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - what is waited for knows nothing of us
            await asyncio.sleep(0.01)


# -- plugins -----------------------------------------------------------------------------------------------------------


async def test_a_plugin_is_run_again_before_its_token_expires(clock: Clock, plugin: Plugin, access: Access) -> None:
    """Tokens of 40 s, as some hand them out: no request waits for the plugin, and none is refused."""
    kubernetes = Kubernetes({"Bearer first", "Bearer second"})
    async with kubernetes.serving() as port:
        plugin.hands_out("first", expires_at=clock.time() + 40)
        access.write(plugin.user, f"http://127.0.0.1:{port}")
        async with access.connected() as cluster:
            plugin.hands_out("second", expires_at=clock.time() + 400)
            clock.passed = 20.0
            assert (await outcome(cluster), plugin.runs) == (200, 1)
            clock.passed = 35.0
            assert await outcome(cluster) == 200
            await until(lambda: "second" in cluster.authentication.login.authorization)
            assert await outcome(cluster) == 200
    assert kubernetes.seen == ["Bearer first", "Bearer first", "Bearer second"]
    assert plugin.runs == 2


async def test_a_plugin_by_a_relative_path_is_beside_the_kubeconfig(plugin: Plugin, access: Access) -> None:
    """As for kubectl; a mere name is looked for in PATH."""
    beside = {**plugin.user["exec"], "command": "./plugin"}
    async with Kubernetes({"Bearer first"}).serving() as port:
        access.write({"exec": beside}, f"http://127.0.0.1:{port}")
        async with access.connected() as cluster:
            assert await outcome(cluster) == 200
        access.write({"exec": {**beside, "command": "plugin"}}, f"http://127.0.0.1:{port}")
        with pytest.raises(execplugin.PluginError):
            await Cluster.connect(Proxies())


async def test_a_token_that_has_expired_is_not_sent(clock: Clock, plugin: Plugin, access: Access) -> None:
    """As after a machine slept: the request waits for the plugin."""
    kubernetes = Kubernetes({"Bearer second"})
    async with kubernetes.serving() as port:
        plugin.hands_out("first", expires_at=clock.time() + 40)
        access.write(plugin.user, f"http://127.0.0.1:{port}")
        async with access.connected() as cluster:
            plugin.hands_out("second", expires_at=clock.time() + 4_000)
            clock.passed = 1_000.0
            assert await outcome(cluster) == 200
    assert kubernetes.seen == ["Bearer second"]


async def test_a_refused_token_is_replaced_within_the_request(plugin: Plugin, access: Access) -> None:
    """For each kind of request, of ours and of kopf's; the plugin runs once for all that are refused at a time."""
    kubernetes = Kubernetes({"Bearer second"})
    async with kubernetes.serving() as port:
        access.write(plugin.user, f"http://127.0.0.1:{port}")
        async with access.connected() as cluster, cluster.open_session() as kopf:
            plugin.hands_out("second")
            answer, *outcomes = await asyncio.gather(
                kopf.get(f"{cluster.server}/apis"),
                outcome(cluster),
                outcome(cluster),
                cluster.request("PUT", "/apis/coordination.k8s.io/v1/namespaces/a/leases/b", body={"a": 1}),
            )
            assert (answer.status, outcomes) == (200, [200, 200, {"kind": "Thing"}])
            assert cluster.authentication.trouble == ""
    assert plugin.runs == 2
    assert sorted(kubernetes.seen) == ["Bearer first"] * 4 + ["Bearer second"] * 4


async def test_what_is_refused_for_good_is_reported_and_tried_less_and_less(
    clock: Clock, plugin: Plugin, access: Access, caplog: pytest.LogCaptureFixture
) -> None:
    """Each run hands out another token, and all are refused; once one is taken, all is well without a restart."""
    caplog.set_level(logging.INFO)
    kubernetes = Kubernetes()
    async with kubernetes.serving() as port:
        access.write(plugin.user, f"http://127.0.0.1:{port}")
        async with access.connected() as cluster:
            for second in range(300):
                clock.passed = float(second)
                plugin.hands_out(f"token-{second}")
                assert await outcome(cluster) == 401
            assert 5 <= plugin.runs <= 12  # after 1, 2, 4 … 60 seconds
            assert "refuses the credentials of the kubeconfig" in cluster.authentication.trouble
            assert 3 <= caplog.text.count("refuses the credentials") <= 6  # a line a minute
            plugin.hands_out("good")
            kubernetes.taken.add("Bearer good")
            clock.passed += 60.0
            assert await outcome(cluster) == 200
            assert cluster.authentication.trouble == ""
            assert "accepts the credentials of the kubeconfig" in caplog.text
    assert "token-" not in caplog.text


async def test_clocks_that_differ_make_no_hot_loop(clock: Clock, plugin: Plugin, access: Access) -> None:
    """By our clock each token has expired when it is handed out; the API server takes it."""
    kubernetes = Kubernetes({"Bearer first"})
    async with kubernetes.serving() as port:
        plugin.hands_out("first", expires_at=clock.time() - 3_600)
        access.write(plugin.user, f"http://127.0.0.1:{port}")
        async with access.connected() as cluster:
            for second in range(60):
                clock.passed = float(second)
                assert await outcome(cluster) == 200
    assert plugin.runs <= 8


async def test_a_request_that_is_given_up_does_not_end_the_plugin(
    plugin: Plugin, access: Access, tmp_path: Path
) -> None:
    """A renewal of the Lease has three seconds, and some plugins take five: the next one finds the token."""
    kubernetes = Kubernetes({"Bearer second"})
    done = tmp_path / "done"
    async with kubernetes.serving() as port:
        access.write(plugin.user, f"http://127.0.0.1:{port}")
        async with access.connected() as cluster:
            plugin.hands_out("second", after=f"while not os.path.exists({str(done)!r}): time.sleep(0.01)")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await outcome(cluster)
            await until(lambda: plugin.runs == 2)
            done.touch()
            assert await outcome(cluster) == 200
    assert plugin.runs == 2


SECRET = "a-token-that-nobody-may-see"


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("print('who are you?', file=sys.stderr)\nsys.exit(3)", "exited with 3: who are you?"),
        ("sys.exit(1)", "exited with 1: without a message"),
        (f"print('{SECRET}')", "printed no ExecCredential"),
        (f"""print('{{"kind": "ExecCredential", "status": {{"token": "{SECRET}"}}}}')""", "printed no ExecCredential"),
        ("import signal\nos.kill(os.getpid(), signal.SIGKILL)", "exited with -9"),
        ("time.sleep(60)", "did not end within"),
    ],
)
async def test_what_a_plugin_did_wrong_is_reported(  # noqa: PLR0917 - fixtures
    program: str,
    said: str,
    clock: Clock,
    plugin: Plugin,
    access: Access,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """At the start it ends it, with the plugin's name; later it is a warning, and the old token is used meanwhile."""
    monkeypatch.setattr(execplugin, "LONGEST", 2.0 if "sleep" in program else 30.0)
    kubernetes = Kubernetes({"Bearer first"})
    async with kubernetes.serving() as port:
        plugin.hands_out("first", expires_at=clock.time() + 40)
        access.write(plugin.user, f"http://127.0.0.1:{port}")
        async with access.connected() as cluster:
            plugin.does(program)
            clock.passed = 35.0
            assert await outcome(cluster) == 200
            await until(lambda: "cannot be read again" in caplog.text)
            assert (await outcome(cluster), cluster.authentication.trouble) == (200, "")
        with pytest.raises(execplugin.PluginError) as raised:
            await Cluster.connect(Proxies())
    for text in (str(raised.value), caplog.text):
        assert said in text
        assert f'the credential plugin "{plugin.user["exec"]["command"]}"' in text
        assert SECRET not in text


# -- files -------------------------------------------------------------------------------------------------------------


def tls_of(serving: Authority, clients: Authority, folder: Path) -> ssl.SSLContext:
    """What an API server asks of its clients: a certificate, if they have one."""
    pair, file = serving.serving(), folder / "serving.pem"
    file.write_text(pair.certificate + pair.key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=clients.certificate)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_cert_chain(file)
    return context


def replaced(path: Path, text: str) -> None:
    """In one step, as the kubelet does it."""
    new = path.with_name(path.name + ".new")
    new.write_text(text)
    new.replace(path)


class Pod:
    """The files of a ServiceAccount, and the variables of a pod."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.token, self.authority = folder / "token", folder / "ca.crt"
        self._monkeypatch = monkeypatch
        monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(self.token))
        monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(self.authority))

    @asynccontextmanager
    async def connected(self, port: int) -> AsyncIterator[Cluster]:
        """As the operator does it in a pod."""
        self._monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
        self._monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(port))
        async with Access(Path("/nowhere")).connected() as cluster:
            yield cluster


@pytest.fixture
def pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pod:
    """Around the operator."""
    return Pod(tmp_path, monkeypatch)


async def test_a_projected_token_is_read_again_when_it_is_rotated(clock: Clock, pod: Pod, tmp_path: Path) -> None:
    """Within a second, without a refusal; and at once where the old one is refused already. A line break is no part."""
    authority = Authority()
    kubernetes = Kubernetes({"bearer first", "bearer second"})
    pod.token.write_text("first\n")
    pod.authority.write_text(authority.certificate)
    async with kubernetes.serving(tls_of(authority, authority, tmp_path)) as port, pod.connected(port) as cluster:
        assert await outcome(cluster) == 200
        replaced(pod.token, "second\n")
        clock.passed = 2.0
        assert await outcome(cluster) == 200
        await until(lambda: "second" in cluster.authentication.login.authorization)
        kubernetes.taken = {"bearer third"}
        replaced(pod.token, "third")
        assert await outcome(cluster) == 200
    assert kubernetes.seen[-2:] == ["bearer second", "bearer third"]


async def test_a_new_authority_of_the_api_server_is_read_again(pod: Pod, tmp_path: Path) -> None:
    """By the request that does not know its certificate."""
    old, new = Authority(), Authority()
    kubernetes = Kubernetes({"bearer first"})
    pod.token.write_text("first")
    pod.authority.write_text(old.certificate)
    async with kubernetes.serving(tls_of(new, new, tmp_path)) as port, pod.connected(port) as cluster:
        assert await outcome(cluster) == 0
        assert "the certificates of the ServiceAccount and of the API server" in cluster.authentication.trouble
        replaced(pod.authority, old.certificate + new.certificate)
        await until_it_is_taken(cluster)
        assert cluster.authentication.trouble == ""


async def until_it_is_taken(cluster: Cluster) -> None:
    """Requests, one after the other, as the Lease makes them."""
    async with asyncio.timeout(30):
        while await outcome(cluster) != 200:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.05)


async def test_a_client_certificate_that_is_replaced_is_used_for_new_connections(
    access: Access, tmp_path: Path
) -> None:
    """The old one stays on the connections that were opened with it, so those are not used any more."""
    authority = Authority()
    certificate, key = tmp_path / "client.crt", tmp_path / "client.key"
    serials = []
    for _ in range(2):
        pair = authority.client("me")
        serials.append((pair, serial(pair.certificate)))
    kubernetes = Kubernetes({serials[0][1]})
    certificate.write_text(serials[0][0].certificate)
    key.write_text(serials[0][0].key)
    (tmp_path / "ca.crt").write_text(authority.certificate)
    async with kubernetes.serving(tls_of(authority, authority, tmp_path)) as port:
        user = {"client-certificate": certificate.name, "client-key": key.name}
        access.write(user, f"https://127.0.0.1:{port}", **{"certificate-authority": "ca.crt"})
        async with access.connected() as cluster:
            assert await outcome(cluster) == 200
            kubernetes.taken = {serials[1][1]}
            assert await outcome(cluster) == 401
            assert "refuses the credentials" in cluster.authentication.trouble
            replaced(certificate, serials[1][0].certificate)  # for a moment it is beside the other's key
            assert await outcome(cluster) == 401
            replaced(key, serials[1][0].key)
            await until_it_is_taken(cluster)
            assert cluster.authentication.trouble == ""


async def test_the_server_may_have_another_name_than_its_host(access: Access, tmp_path: Path) -> None:
    """`tls-server-name`: behind a tunnel, the certificate is for the name that the server has there."""
    authority = Authority()
    (tmp_path / "ca.crt").write_text(authority.certificate)
    async with Kubernetes({"Bearer good"}).serving(tls_of(authority, authority, tmp_path)) as port:
        trusted = {"certificate-authority": "ca.crt"}
        for name, comes_through in (("kubernetes", True), ("elsewhere.example", False)):
            access.write({"token": "good"}, f"https://127.0.0.1:{port}", **trusted, **{"tls-server-name": name})
            async with access.connected() as cluster:
                assert (await outcome(cluster) == 200) is comes_through


async def test_a_plugin_may_hand_out_certificates(plugin: Plugin, access: Access, tmp_path: Path) -> None:
    """The next one is used within the request that was refused; no key of either stays in a file."""
    authority = Authority()
    first, second = authority.client("me"), authority.client("me")
    kubernetes = Kubernetes({serial(first.certificate)})
    (tmp_path / "ca.crt").write_text(authority.certificate)
    async with kubernetes.serving(tls_of(authority, authority, tmp_path)) as port:
        plugin.hands_out_certificate(first)
        access.write(plugin.user, f"https://127.0.0.1:{port}", **{"certificate-authority": "ca.crt"})
        async with access.connected() as cluster:
            assert await outcome(cluster) == 200
            kubernetes.taken = {serial(second.certificate)}
            plugin.hands_out_certificate(second)
            assert await outcome(cluster) == 200
    assert kubernetes.seen[-2:] == [serial(first.certificate), serial(second.certificate)]
    assert kube_config._temp_files == {}


def serial(certificate: str) -> str:
    """Its number, as ssl shows it."""
    number = f"{load_pem_x509_certificate(certificate.encode()).serial_number:X}"
    return number.zfill(len(number) + len(number) % 2)


async def test_another_context_is_not_ours_and_another_server_gets_no_credentials(
    clock: Clock, access: Access, caplog: pytest.LogCaptureFixture
) -> None:
    """A person works on with the same kubeconfig, even with a broken context: this process stays where it was."""
    ours, theirs = Kubernetes({"Bearer mine", "Bearer other"}), Kubernetes()
    async with ours.serving() as port, theirs.serving() as other:
        servers = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{other}"
        access.write({"token": "mine"}, *servers)
        async with access.connected() as cluster:
            access.write({"token": "other"}, *servers, current=1)
            config = json.loads(access.path.read_text())
            config["contexts"][1]["context"]["cluster"] = "gone"
            access.path.write_text(json.dumps(config))
            clock.passed = 2.0
            assert await outcome(cluster) == 200
            await until(lambda: "other" in cluster.authentication.login.authorization)
            config = json.loads(access.path.read_text())
            config["clusters"][0]["cluster"]["server"] = servers[1]
            config["users"][0]["user"]["token"] = "theirs"
            replaced(access.path, json.dumps(config))
            clock.passed = 4.0
            assert await outcome(cluster) == 200
            await until(lambda: "for another server now" in caplog.text)
            assert await outcome(cluster) == 200
    assert set(ours.seen) <= ours.taken
    assert theirs.seen == []


async def test_a_kubeconfig_that_is_half_written_stands_in_nobodys_way(clock: Clock, access: Access) -> None:
    """What was read before is used until it can be read again."""
    kubernetes = Kubernetes({"Bearer mine"})
    async with kubernetes.serving() as port:
        access.write({"token": "mine"}, f"http://127.0.0.1:{port}")
        async with access.connected() as cluster:
            for number, text in enumerate(("", "{", "users: [{name: me, user: {token: other}}]", "\x00", "[1]")):
                access.path.write_text(text)
                clock.passed = 100.0 * (number + 1)
                assert await outcome(cluster) == 200
                await until(lambda: cluster.authentication._renewal is None)
            os.remove(access.path)
            clock.passed += 100.0
            assert await outcome(cluster) == 200
    assert set(kubernetes.seen) == {"Bearer mine"}
