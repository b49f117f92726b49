"""Where the application keeps its parts. Decides nothing else."""

from __future__ import annotations

from aiohttp import web

from inferencekey_simulator.platform import Platform
from inferencekey_simulator.streams import Streams

PLATFORM = web.AppKey("platform", Platform)
STREAMS = web.AppKey("streams", Streams)
