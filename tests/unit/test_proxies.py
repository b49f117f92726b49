"""Which proxy a server is behind, as Go and curl have it; and what a variable says that makes no sense."""

from __future__ import annotations

import re

import pytest

from inferencekey_operator.network.proxies import Proxies, Proxy, proxy
from inferencekey_operator.network.variables import VariableError

PROXY = "http://proxy.corp:3128"


def behind(url: str, no_proxy: str = "", **variables: str) -> bool:
    """Whether a server is behind the proxy, with this exception."""
    environ = {"HTTPS_PROXY": PROXY, "HTTP_PROXY": PROXY, "NO_PROXY": no_proxy, **variables}
    found = Proxies.read(environ).of_url(url)
    assert found in (None, Proxy(PROXY))
    return found is not None


@pytest.mark.parametrize(
    ("no_proxy", "direct", "proxied"),
    [
        ("example.com", ["https://example.com", "https://a.b.EXAMPLE.com:8443"], ["https://notexample.com"]),
        (".example.com", ["https://a.example.com"], ["https://example.com"]),
        ("*.example.com", ["https://a.example.com"], ["https://example.com"]),
        ("example.com.", ["https://example.com"], ["https://example.org"]),
        ("example.com:8443", ["https://example.com:8443", "https://a.example.com:8443"], ["https://example.com"]),
        ("example.com:443", ["https://example.com"], ["http://example.com", "https://example.com:8443"]),
        ("10.0.0.0/8", ["https://10.1.2.3", "https://10.255.0.1:6443"], ["https://11.0.0.1", "https://ten.example"]),
        ("10.1.2.3/8", ["https://10.200.0.1"], ["https://11.0.0.1"]),
        ("fd00::/8", ["https://[fd00:10:96::1]:443", "https://[fdff::1]"], ["https://[fe80::1]", "https://10.0.0.1"]),
        ("fd00:10:96::1", ["https://[fd00:10:96::1]:443"], ["https://[fd00:10:96::2]:443"]),
        ("[fd00:10:96::1]", ["https://[FD00:10:96:0::1]:443"], ["https://[fd00:10:96::2]:443"]),
        ("[fd00::1]:6443", ["https://[fd00::1]:6443"], ["https://[fd00::1]"]),
        ("10.1.2.3", ["https://10.1.2.3:6443", "https://[::ffff:10.1.2.3]"], ["https://10.1.2.4"]),
        ("10.1.2.3:6443", ["https://10.1.2.3:6443"], ["https://10.1.2.3"]),
        ("a.example, ,b.example c.example,", ["https://a.example", "https://b.example", "https://c.example"], []),
        ("a.example,*", ["https://anything.example", "http://10.0.0.1"], []),
        ("[::1]", ["https://[::1]:8443"], ["https://example.com"]),
        ("", ["https://localhost:8443", "http://127.0.0.1:1", "http://127.9.9.9", "https://[::1]"], ["https://a.b"]),
        (".svc,.cluster.local", ["https://kubernetes.default.svc", "https://a.b.svc.cluster.local"], ["https://svc.a"]),
    ],
)
def test_an_exception_covers_what_it_covers_for_go(no_proxy: str, direct: list[str], proxied: list[str]) -> None:
    """Hosts with what is below them, addresses in any spelling, networks; each with a port or for any."""
    assert [url for url in direct if behind(url, no_proxy)] == []
    assert [url for url in proxied if not behind(url, no_proxy)] == []


def test_a_scheme_has_its_own_proxy_and_upper_case_wins() -> None:
    """As in Go; what curl's ALL_PROXY says is for a scheme that has no other."""
    both = Proxies.read({"https_proxy": "lower:1", "HTTPS_PROXY": "upper:2", "all_proxy": "all:3"})
    assert both == Proxies(https=Proxy("http://upper:2"), http=Proxy("http://all:3"))
    assert Proxies.read({"https_proxy": " lower:1\n", "HTTPS_PROXY": " "}).https == Proxy("http://lower:1")
    assert not behind("https://a.example", NO_PROXY="a.example", no_proxy="b.example")
    assert behind("https://b.example", NO_PROXY="a.example", no_proxy="b.example")
    assert Proxies.read({}).of_url("https://example.com") is None


@pytest.mark.parametrize(
    ("text", "url", "user", "password"),
    [
        ("proxy.corp", "http://proxy.corp:80", None, ""),
        ("proxy.corp:3128", "http://proxy.corp:3128", None, ""),
        ("http://proxy.corp:3128/", "http://proxy.corp:3128", None, ""),
        ("HTTPS://Proxy.Corp", "https://proxy.corp:443", None, ""),
        ("http://[fd00::1]:3128", "http://[fd00::1]:3128", None, ""),
        ("http://me:p%40ss%3A%2F@proxy.corp:3128", "http://proxy.corp:3128", "me", "p@ss:/"),
        ("me:p@ss@proxy.corp:3128", "http://proxy.corp:3128", "me", "p@ss"),
        ("http://m%C3%A9@10.0.0.1:3128", "http://10.0.0.1:3128", "mé", ""),
    ],
)
def test_a_proxy_is_read_with_its_credentials(text: str, url: str, user: str | None, password: str) -> None:
    """The URL that is used, and could be shown, holds none of them; nor does a repr."""
    found = proxy("HTTPS_PROXY", text)
    assert (found.url, found.user, found.password) == (url, user, password)
    assert repr(found) == f"Proxy(url='{url}')"


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("ALL_PROXY", "socks5://127.0.0.1:1080", 'ALL_PROXY: "socks5://127.0.0.1:1080" is a SOCKS proxy'),
        ("https_proxy", "socks5h://me:hunter2@p:1", 'https_proxy: "socks5h://…@p:1" is a SOCKS proxy'),
        ("HTTPS_PROXY", "ftp://proxy:21", 'HTTPS_PROXY: "ftp://proxy:21" is not the URL of a proxy'),
        ("HTTPS_PROXY", "http://", '"http://" is not the URL of a proxy'),
        ("HTTPS_PROXY", "http://proxy:99999", '"http://proxy:99999" is not'),
        ("HTTPS_PROXY", "http://proxy/wpad.pac", '"http://proxy/wpad.pac" is not'),
        ("HTTPS_PROXY", "http://proxy:80/?key=hunter2", '"http://proxy:80/?…" is not'),
        ("HTTPS_PROXY", "http://fd00::1:3128", '"http://fd00:…" is not'),
        ("HTTPS_PROXY", "http://[fd00::1", '"http://[fd00::1" is not'),
        ("HTTPS_PROXY", "http://a b:3128", '"http://a b:3128" is not'),
        ("HTTPS_PROXY", "http://me:hun/ter2@proxy:3128", '"http://…@proxy:3128" is not'),
        ("HTTPS_PROXY", "http://me:hun#ter2@proxy:3128", '"http://…@proxy:3128" is not'),
        ("HTTPS_PROXY", "http://me:hunter2", '"http://me:…" is not'),
        ("HTTPS_PROXY", "http://me:hunter2%40proxy:3128", '"http://me:…" is not'),
        ("HTTPS_PROXY", "http://me:hunter2@", '"http://…@" is not'),
        ("HTTPS_PROXY", "http://a%3Ab:hunter2@proxy:1", '"http://…@proxy:1" is not'),
        ("NO_PROXY", "a.example,10.0.0.0/33", 'NO_PROXY: "10.0.0.0/33" is not a network'),
        ("no_proxy", "fd00::/129", 'no_proxy: "fd00::/129" is not a network'),
        ("NO_PROXY", "10.0.0.0/255.0.0.0", '"10.0.0.0/255.0.0.0" is not a network'),
        ("NO_PROXY", "[fd00::]/8", '"[fd00::]/8" is not a network'),
        ("NO_PROXY", "https://me:hunter2@a.example", '"https://…@a.example" is a URL'),
        ("NO_PROXY", "a.example:99999", '"a.example:99999" has no valid port'),
        ("NO_PROXY", "a.example:", '"a.example:" has no valid port'),
        ("NO_PROXY", "[::1", '"[::1" is neither a host'),
        ("NO_PROXY", "10.0.0.", '"10.0.0." is neither a host'),
        ("NO_PROXY", "10.*", '"10.*" is neither a host'),
        ("NO_PROXY", "*example.com", '"*example.com" is neither a host'),
        ("NO_PROXY", ":6443", '":6443" is neither a host'),
        ("NO_PROXY", "$(KUBERNETES_SERVICE_HOST)", '"$(KUBERNETES_SERVICE_HOST)" is neither a host'),
        ("NO_PROXY", "bücher.example", '"bücher.example" is neither a host'),
    ],
)
def test_what_makes_no_sense_is_quoted_without_a_password(variable: str, value: str, said: str) -> None:
    """Each message names the variable and the value, and no secret of a proxy's."""
    with pytest.raises(VariableError, match=re.escape(said)) as raised:
        Proxies.read({variable: value})
    assert "hunter" not in str(raised.value)
    assert "ter2" not in str(raised.value)


def test_what_is_not_used_is_not_judged() -> None:
    """ALL_PROXY beside a proxy of each scheme has no meaning, so it stops nobody."""
    environ = {"HTTP_PROXY": PROXY, "HTTPS_PROXY": PROXY, "ALL_PROXY": "socks5://127.0.0.1:1080"}
    assert Proxies.read(environ) == Proxies(http=Proxy(PROXY), https=Proxy(PROXY))
