"""The address of a platform, in one spelling. Pure."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from inferencekey_operator.network.proxies import is_loopback

_GRAMMAR = re.compile(r"(?i:https?)://[^/\s?#@]+(/[^\s?#]*)?")


def origin(url: str) -> str:
    """A base URL in one spelling: lower-case scheme and host, no default port, no slash at the end.

    Raises ValueError where it carries what no base URL has: a user, a query or a fragment.
    """
    parts = urlsplit(url.strip())
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("a user, a query or a fragment")
    scheme, host = parts.scheme.lower(), (parts.hostname or "").lower()
    host = f"[{host}]" if ":" in host else host
    default = {"http": 80, "https": 443}.get(scheme)
    port = f":{parts.port}" if parts.port not in (None, default) else ""
    return f"{scheme}://{host}{port}{parts.path.rstrip('/')}"


def is_base_url(text: str) -> bool:
    """Whether it has the form of one: http or https, a host, and no user, query or fragment."""
    return _GRAMMAR.fullmatch(text) is not None


def is_private(url: str) -> bool:
    """Whether no one on the network can read what is sent: the URL has https, or names this machine."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return parts.scheme == "https" or is_loopback(host) or host.endswith(".localhost")
