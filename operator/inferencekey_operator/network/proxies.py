"""Which proxy a connection goes through, from `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`.

The rules are those of Go's programs, such as kubectl, so that one setting serves both:

- The upper-case name wins over the lower-case one. `ALL_PROXY` is curl's: it serves a scheme without its own proxy.
- `localhost` and loopback addresses are never behind a proxy.
- `NO_PROXY` holds hosts, addresses, networks in CIDR notation, each host or address with or without a port, or `*`.
  `example.com` covers itself and every name below it; `.example.com` and `*.example.com` only the names below it.

What Go passes over in silence (an entry that can never match, a proxy that is none) is an error here. Pure.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from inferencekey_operator.network.variables import VariableError, first_set

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_DEFAULT_PORTS = {"http": 80, "https": 443}
_PORT = re.compile(r"[0-9]{1,5}")
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*", re.ASCII)
_LONGEST_NAME = 253

_EXAMPLES = (
    "Write entries such as example.com, .example.com, 10.0.0.0/8, fd00::/8 or [fd00::1]:6443, with commas between."
)


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy, reached over plain HTTP or TLS. The URL holds no credentials."""

    url: str
    user: str | None = field(default=None, repr=False)
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class _Exception:
    """One entry of `NO_PROXY`: a network, an address or a name, the latter two with a port or for any."""

    network: _Network | None = None
    address: _Address | None = None
    below: str = ""
    """A suffix with its leading dot."""
    itself: bool = False
    """Whether the name without that dot is covered too."""
    port: int | None = None

    def covers(self, host: str, address: _Address | None, port: int) -> bool:
        if self.network is not None:
            return address is not None and address in self.network
        if self.port not in (None, port):
            return False
        if self.address is not None:
            return address == self.address
        return address is None and (host.endswith(self.below) or (self.itself and host == self.below[1:]))


@dataclass(frozen=True, slots=True)
class Proxies:
    """What the environment says about proxies."""

    http: Proxy | None = None
    https: Proxy | None = None
    exceptions: tuple[_Exception, ...] = ()
    never: bool = False
    """`NO_PROXY` holds `*`."""

    @classmethod
    def read(cls, environ: Mapping[str, str] = os.environ) -> Proxies:
        """Raises VariableError for a variable that has no meaning, or one that is not supported."""
        name, text = first_set(environ, "NO_PROXY", "no_proxy")
        entries = list(filter(None, re.split(r"[,\s]+", text)))
        return cls(
            http=_proxy(*first_set(environ, "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")),
            https=_proxy(*first_set(environ, "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")),
            exceptions=tuple(_exception(name, entry) for entry in entries if entry != "*"),
            never="*" in entries,
        )

    def of(self, scheme: str, host: str, port: int | None = None) -> Proxy | None:
        """The proxy on the way to a server, None for none; `host` without brackets."""
        proxy = self.https if scheme == "https" else self.http
        if proxy is None or self.never:
            return None
        host = host.lower().rstrip(".")
        address = _address(host)
        if is_loopback(host):
            return None
        at = port or _DEFAULT_PORTS.get(scheme, 0)
        return None if any(each.covers(host, address, at) for each in self.exceptions) else proxy

    def of_url(self, url: str) -> Proxy | None:
        """The proxy on the way to the server of a URL."""
        parts = urlsplit(url)
        return self.of(parts.scheme, parts.hostname or "", parts.port)


def is_loopback(host: str) -> bool:
    """Whether a host, without brackets, is this machine."""
    address = _address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def proxy(name: str, text: str) -> Proxy:
    """The proxy that a setting names. Raises VariableError where it names none, or one of an unsupported kind."""
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "http", text
    if scheme.lower().startswith("socks"):
        raise VariableError(
            name, _quoted(text), "is a SOCKS proxy, which is not supported. Name an HTTP proxy, or unset it."
        )
    found = _parsed(scheme.lower(), rest)
    if found is None:
        wanted = "is not the URL of a proxy. Write http://host:port or http://user:password@host:port, percent-encoded."
        raise VariableError(name, _quoted(text), wanted)
    return found


def _proxy(name: str, text: str) -> Proxy | None:
    return proxy(name, text) if text else None


def _parsed(scheme: str, rest: str) -> Proxy | None:
    if scheme not in _DEFAULT_PORTS or not rest.isprintable() or " " in rest:
        return None
    try:
        parts = urlsplit(f"{scheme}://{rest}")
        port = _port(str(parts.port)) if parts.port is not None else _DEFAULT_PORTS[scheme]
    except ValueError:
        return None
    host, user = parts.hostname or "", unquote(parts.username or "")
    address = _address(host)
    more = parts.path not in ("", "/") or parts.query or parts.fragment
    if port is None or more or ":" in user or not (address or _is_name(host)):
        return None
    url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
    return Proxy(url, user if parts.username is not None else None, unquote(parts.password or ""))


def _quoted(text: str) -> str:
    """A proxy's URL with nothing after a colon that is not a port: it could be a password whose host was forgotten."""
    scheme, separator, rest = text.rpartition("://")
    if "@" in text:
        return text
    return scheme + separator + re.sub(r"^([^:/\[]*):(?![0-9]{1,5}(?:/|$)).*", r"\1:…", rest, flags=re.DOTALL)


def _exception(name: str, entry: str) -> _Exception:
    """One entry of `NO_PROXY`."""
    if "://" in entry:
        raise VariableError(name, entry, "is a URL. Write the host alone, such as example.com or example.com:8443.")
    if "/" in entry:
        return _Exception(network=_network(name, entry))
    if (address := _address(entry)) is not None:  # with its colons, and no port
        return _Exception(address=address)
    host, port = _split(entry.lower())
    number = None if port is None else _port(port)
    if port is not None and number is None:
        raise VariableError(name, entry, "has no valid port: ports are from 1 to 65535.")
    if (address := _address(re.sub(r"^\[(.*)\]$", r"\1", host))) is not None:
        return _Exception(address=address, port=number)
    bare = re.sub(r"^(\*?\.)", "", host).rstrip(".")
    if not _is_name(bare):
        raise VariableError(name, entry, f"is neither a host, nor an address, nor a network. {_EXAMPLES}")
    return _Exception(below=f".{bare}", itself=not host.startswith((".", "*")), port=number)


def _network(name: str, entry: str) -> _Network:
    address, _, bits = entry.partition("/")
    try:
        if re.fullmatch(r"[0-9]{1,3}", bits):
            return ipaddress.ip_network(f"{address}/{bits}", strict=False)
    except ValueError:
        pass
    raise VariableError(name, entry, "is not a network. Write it in CIDR notation, such as 10.0.0.0/8 or fd00::/8.")


def _split(entry: str) -> tuple[str, str | None]:
    """`host:port`, `[address]:port`, or either without a port."""
    host, colon, port = entry.rpartition(":")
    if entry.endswith("]") or not colon:
        return entry, None
    return host, port


def _address(host: str) -> _Address | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _port(text: str) -> int | None:
    return int(text) if _PORT.fullmatch(text) and 0 < int(text) <= 65_535 else None


def _is_name(host: str) -> bool:
    """Whether it can be a host's name: not, for one, `10.0.0.` or `10.*`, which are meant for addresses."""
    fits = len(host) <= _LONGEST_NAME and _NAME.fullmatch(host)
    return bool(fits) and not host.rpartition(".")[2].isdecimal()
