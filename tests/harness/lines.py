"""The way out of the tests: no proxy, and one file of certificates, which is read once for each process.

Reading a machine's certificates takes longer than most tests.
"""

from __future__ import annotations

from functools import cache

import certifi

from inferencekey_operator.inferencekey import client
from inferencekey_operator.inferencekey.client import CONNECTIONS
from inferencekey_operator.inferencekey.egress import Egress
from inferencekey_operator.inferencekey.lines import Lines
from inferencekey_operator.proxies import Proxies
from inferencekey_operator.trust import FILE, Trust


@cache
def egress() -> Egress:
    """The same for all."""
    return Egress(Proxies.read({}), Trust({FILE: certifi.where()}))


def open_http(timeout: float = 10.0, *, connections: int = CONNECTIONS) -> Lines:
    """As the operator's, by that way."""
    return client.open_http(timeout, egress=egress(), connections=connections)
