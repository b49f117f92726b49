"""What the operator finds around it, and nobody checked: variables about proxies, and what a credential plugin prints.

What is wrong is an error on one line, without a password or a token; what is right can be used.
"""

from __future__ import annotations

from typing import Any

import aiohttp
import httpx
from hypothesis import strategies as st
from yarl import URL

from hostile.material import mutated, texts, values, written
from hostile.shown import fit
from inferencekey_operator.kube import execplugin
from inferencekey_operator.network.proxies import Proxies
from inferencekey_operator.network.variables import VariableError

SECRET = "hunter2hunter2"

_HANDED = {
    "token": SECRET,
    "clientCertificateData": SECRET,
    "clientKeyData": SECRET,
    "expirationTimestamp": "2026-03-02T10:41:32Z",
}
_WORDS = (
    "http:// HTTPS:// socks5:// me @ : :: 3128 99999 / // [ ] fd00::1 fd00::/8 10.0.0.0 /33 /8 %40 %25eth0 % é * *. . "
    "example.com , ? # $(KUBERNETES_SERVICE_HOST) localhost ::ffff:10.0.0.1 0 - _ { \u0660 xn--"
)
_PIECES = st.sampled_from([*_WORDS.split(), " ", "\n", "\x00", "a" * 64])
_MADE = st.lists(_PIECES, max_size=8).map("".join) | texts().map(lambda text: text[:2_000])
_WITH_A_PASSWORD = st.builds(
    lambda scheme, before, after, host: f"{scheme}me:{before}{SECRET}{after}@{host}",
    st.sampled_from(["", "http://", "https://", "socks5://", "ftp://", "://"]),
    _MADE,
    _MADE,
    _MADE,
)
_NAMES = [name for upper in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY") for name in (upper, upper.lower())]

VARIABLES = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(_NAMES, _MADE | _WITH_A_PASSWORD) | dict.fromkeys(("NO_PROXY", "no_proxy"), _MADE)
)
_HOSTS = st.sampled_from(
    ["10.1.2.3", "fd00::1", "::1", "example.com", "a.example.com.", "LOCALHOST", "xn--bcher-kva.de"]
)
GIVEN = st.tuples(VARIABLES, st.sampled_from(["http", "https"]), _HOSTS, st.sampled_from([None, 1, 6443]))


def proxies_are_read(given: tuple[dict[str, str], str, str, int | None]) -> None:
    """An error that can be shown, or a proxy that can be used."""
    variables, scheme, host, port = given
    try:
        proxies = Proxies.read(variables)
    except VariableError as error:
        _can_be_shown(str(error))
        return
    for found in (proxies.of(scheme, host, port), proxies.http, proxies.https):
        if found is not None:
            assert SECRET not in f"{found!r} {found.url}"
            used: Any = httpx.Proxy(found.url, auth=None if found.user is None else (found.user, found.password))
            assert used.url.host
            assert URL(found.url).port
            assert found.user is None or aiohttp.BasicAuth(found.user, found.password, "utf-8").encode()


def _can_be_shown(message: str) -> None:
    fit(message, 400)
    assert SECRET not in message


PRINTED = st.one_of(
    mutated({"apiVersion": "v1", "kind": "ExecCredential", "status": _HANDED}).map(written),
    values().map(written),
    texts().map(lambda text: text.encode()[:4_000]),
)


def plugin_is_read(printed: bytes) -> None:
    """What a kubeconfig's plugin printed: credentials that can be sent, or an error that shows none of it."""
    try:
        credential = execplugin._read(printed, "v1")
    except execplugin.PluginError as error:
        _can_be_shown(str(error))
        return
    assert credential.token or (credential.certificate and credential.key)
    assert SECRET not in repr(credential)
    assert isinstance(credential.expires_at, float)
