"""The way out of the tests: no proxy, and one file of certificates, which is read once for each process.

Reading a machine's certificates takes longer than most tests.
"""

from __future__ import annotations

from functools import cache

import certifi

from inferencekey_operator.inferencekey import calls
from inferencekey_operator.inferencekey.calls import CONNECTIONS
from inferencekey_operator.inferencekey.connection_pool import ConnectionPool
from inferencekey_operator.inferencekey.egress import Egress
from inferencekey_operator.network.proxies import Proxies
from inferencekey_operator.network.trust import FILE, Trust


@cache
def egress() -> Egress:
    """The same for all."""
    return Egress(Proxies.read({}), Trust({FILE: certifi.where()}))


def open_http(timeout: float = 10.0, *, connections: int = CONNECTIONS) -> ConnectionPool:
    """As the operator's, by that way."""
    return calls.open_http(timeout, egress=egress(), connections=connections)
