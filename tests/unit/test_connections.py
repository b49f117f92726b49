"""What waits for a connection to the API server, and what does not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from inferencekey_operator.kube.client import Cluster
from inferencekey_operator.kube.reading import Body
from inferencekey_operator.kube.transport import CONNECTIONS
from unit.raw_cluster import answering
from unit.raw_server import RawServer, response

SLOW = "/slow"


async def watch(cluster: Cluster, number: int) -> Body:
    """The first event of one watch."""
    return await anext(cluster.watch(SLOW, "1", fieldSelector=f"metadata.name={number}"))


async def ask(cluster: Cluster, number: int) -> Body:
    """One request that is not answered."""
    return await cluster.request("GET", f"{SLOW}/{number}")


@asynccontextmanager
async def beside(many: Callable[[Cluster, int], Coroutine[Any, Any, Body]], arrive: int) -> AsyncIterator[Cluster]:
    """A cluster of which more is asked at once than there are connections for requests; so many of it arrive."""
    servers: list[RawServer] = []

    async def answers(writer: Any) -> None:
        if servers[0].requests[-1].partition(b"\r\n")[0].split()[1].startswith(SLOW.encode()):
            await asyncio.Event().wait()
        writer.write(response(b'{"kind":"Thing"}'))

    async with answering(answers) as (cluster, server), asyncio.timeout(60):
        servers.append(server)
        asked = [asyncio.create_task(many(cluster, number)) for number in range(CONNECTIONS + 8)]
        while len(server.requests) < arrive:
            server.arrived.clear()
            await server.arrived.wait()
        try:
            yield cluster
        finally:
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)


async def answered(call: Awaitable[Body], within: float = 60.0) -> bool:
    """Whether it waits for nothing else: what else there is goes on for ever."""
    try:
        async with asyncio.timeout(within):
            return await call == {"kind": "Thing"}
    except TimeoutError:
        return False


async def test_watches_take_no_connection_from_requests() -> None:
    """There may be some for each of many namespaces, and each lasts for minutes."""
    async with beside(watch, CONNECTIONS + 8) as cluster:
        assert await answered(cluster.request("GET", "/version"))


async def test_a_renewal_of_the_lease_waits_for_no_other_request() -> None:
    """While the API server is slow, all connections may be in use, and there are seconds left to renew."""
    async with beside(ask, CONNECTIONS) as cluster:
        assert not await answered(cluster.request("GET", "/version"), within=1.0)
        assert await answered(cluster.request("GET", "/apis/coordination.k8s.io/v1/namespaces/x/leases/y"))
