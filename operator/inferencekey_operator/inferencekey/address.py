"""The address of a platform, in one spelling. Pure."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit


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


def is_private(url: str) -> bool:
    """Whether nobody on the way can read what is sent to a base URL: by https, or on this machine."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        local = ip_address(host).is_loopback
    except ValueError:
        local = host == "localhost" or host.endswith(".localhost")
    return parts.scheme == "https" or local
