"""Our access to an API server that is none: for what a real one would take long to be brought to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from kubernetes.aio import client

from inferencekey_operator.kube.client import Cluster
from unit.raw_server import RawServer, Script, raw_server


@asynccontextmanager
async def answering(script: Script) -> AsyncIterator[tuple[Cluster, RawServer]]:
    """A cluster whose API server does what `script` does."""
    async with raw_server(script) as server:
        configuration = client.Configuration()
        configuration.host = server.url
        cluster = Cluster(configuration)
        try:
            yield cluster, server
        finally:
            await cluster.close()
