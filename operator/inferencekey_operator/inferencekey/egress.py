"""The way to a platform: through which proxy, and which certificates are trusted on it.

Both are asked for each request, as certificates can be replaced while the operator runs. Knows nothing of what is sent.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass

import httpx

from inferencekey_operator.network.proxies import Proxies, Proxy
from inferencekey_operator.network.trust import Trust


@dataclass(frozen=True, slots=True)
class Egress:
    """What the environment says about the way out."""

    proxies: Proxies
    trust: Trust

    @classmethod
    def read(cls) -> Egress:
        """Raises VariableError for a variable that cannot be used."""
        return cls(Proxies.read(), Trust())


class Transport(httpx.AsyncBaseTransport):
    """A connection of one line, opened anew where the proxy or the trusted certificates are no longer those it has.

    httpx reads `NO_PROXY` by itself, but knows no networks, and fails for each request on an entry that is one of IPv6.
    """

    def __init__(self, egress: Egress, limits: httpx.Limits) -> None:
        self._egress, self._limits = egress, limits
        self._way: tuple[Proxy | None, ssl.SSLContext] | None = None
        self._transport: httpx.AsyncHTTPTransport | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """A certificate is refused before anything is sent: so there is one more try, if others are trusted by then."""
        try:
            return await (await self._current(request.url)).handle_async_request(request)
        except httpx.ConnectError as error:
            if not (_refused_certificate(error) and self._egress.trust.renewed()):
                raise
        return await (await self._current(request.url)).handle_async_request(request)

    async def aclose(self) -> None:
        """Close what is open."""
        transport, self._transport, self._way = self._transport, None, None
        if transport is not None:
            await transport.aclose()

    async def _current(self, url: httpx.URL) -> httpx.AsyncHTTPTransport:
        proxy = self._egress.proxies.of(url.scheme, url.raw_host.decode("ascii"), url.port)
        way = proxy, self._egress.trust.context()
        if self._transport is None or self._way != way:
            await self.aclose()
            self._way, self._transport = way, _opened(*way, self._limits)
        return self._transport


def _opened(proxy: Proxy | None, trust: ssl.SSLContext, limits: httpx.Limits) -> httpx.AsyncHTTPTransport:
    through = None
    if proxy is not None:
        auth = None if proxy.user is None else (proxy.user, proxy.password)
        tls = trust if proxy.url.startswith("https") else None
        through = httpx.Proxy(proxy.url, auth=auth, ssl_context=tls)
    return httpx.AsyncHTTPTransport(verify=trust, limits=limits, proxy=through, trust_env=False)


def _refused_certificate(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    return error is not None
