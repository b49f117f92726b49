"""A collection, listed and then watched for ever; its handlers see the truth once and each change after.

Decides how trouble with the API server is waited out: never by ending, never by asking at once again. Must not know
what is watched.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing

from inferencekey_operator.kube.backoff import Backoff
from inferencekey_operator.kube.client import Cluster
from inferencekey_operator.kube.errors import ClusterError
from inferencekey_operator.kube.reading import Body

log = logging.getLogger(__name__)

LONGEST_PAUSE = 5.0
"""Seconds. It has grown to that when an API server comes back after an outage, and for so long nothing is heard."""
_SAME_PLACE = frozenset({0, 429, 500, 502, 503})
"""What says nothing against the place where a watch had got to; after anything else a list is made anew."""


class Reflector:
    """`replaced` gets the whole collection after each complete list, `changed` each object that was added or modified,
    `deleted` each that went. A broken watch is opened again from where it was, an expired one begins with a list.
    """

    def __init__(self, cluster: Cluster, path: str, *, accept: str = "application/json", **query: str) -> None:
        self._cluster, self._path, self._accept, self._query = cluster, path, accept, query
        self._version = ""
        """Where the watch has got to; empty where a list is due."""
        self._reported = ""
        """The last trouble that was logged as a warning, until the watch receives an event: it is logged once."""
        self._backoff = Backoff(shortest=0.5, longest=LONGEST_PAUSE, steady=30.0)
        self.listed = asyncio.Event()
        """Set once the first list is complete."""

    def kept(self, item: Body) -> Body:
        """What is needed of an object of a list: all of them are held at once until the list is complete."""
        return item

    async def replaced(self, items: list[Body]) -> None:
        """The whole collection."""

    async def changed(self, item: Body) -> None:
        """One object was added or modified."""

    async def deleted(self, item: Body) -> None:
        """One object went."""

    def has_told(self, resource_version: str) -> bool:
        """Whether all that happened up to there was told: an answer of that age is no news, and may be outdated."""
        try:
            return int(resource_version) <= int(self._version)
        except ValueError:
            return False

    async def run(self) -> None:
        """Never returns; trouble with the API server is waited out."""
        while True:
            self._backoff.begin()
            at_least, before = 0.0, self._version
            try:
                await self._follow()
            except ClusterError as error:
                self._report(error)
                at_least = error.retry_after or 0.0
                if error.status not in _SAME_PLACE:
                    self._version = ""
                if error.expired and before:
                    self._backoff.hear()  # the server answers: the list that is due need not wait
            except Exception:  # whatever it was, one that never hears again of its Secrets is worse off
                log.exception("unexpected error in the watch of %s; listing again", self._path)
                self._version = ""
            await self._backoff.pause(at_least)

    def _report(self, error: ClusterError) -> None:
        level = logging.DEBUG if str(error) == self._reported else logging.WARNING
        log.log(level, "reopening the watch of %s: %s", self._path, error)
        self._reported = str(error)

    async def _follow(self) -> None:
        """Until the stream ends or breaks."""
        self._version = self._version or await self._list()
        stream = self._cluster.watch(self._path, self._version, accept=_single(self._accept), **self._query)
        async with aclosing(stream):
            async for event in stream:
                self._backoff.hear()
                self._reported = ""
                await self._dispatch(event)
                self._version = event["object"]["metadata"]["resourceVersion"]

    async def _list(self) -> str:
        items: list[Body] = []
        version = ""
        async for page in self._cluster.pages(self._path, accept=self._accept, **self._query):
            items.extend(map(self.kept, page["items"]))
            version = page["metadata"]["resourceVersion"]
        await self.replaced(items)
        self.listed.set()
        return version

    async def _dispatch(self, event: Body) -> None:
        if event["type"] in ("ADDED", "MODIFIED"):
            await self.changed(event["object"])
        elif event["type"] == "DELETED":
            await self.deleted(event["object"])


def _single(accept: str) -> str:
    """The media type of the watch that goes with a list's."""
    return accept.replace("PartialObjectMetadataList", "PartialObjectMetadata")
