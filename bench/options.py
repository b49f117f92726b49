"""How much is measured: one value, made from the command line.

Decides the defaults, and what the quick form is.
"""

from __future__ import annotations

from dataclasses import dataclass

PEERS = ("plain", "limit", "same")


@dataclass(frozen=True)
class Options:
    """What is run, and how often."""

    sizes: tuple[int, ...] = (1000,)
    rounds: int = 3
    peers: tuple[str, ...] = PEERS
    peers_up_to: int = 1000
    """Plain handlers list N rows for each of N Workloads: beyond some size they do not come to an end."""
    interval: float = 30.0
    rest_intervals: int = 3
    samples: int = 40
    """Single Workloads whose latency is measured."""
    pace: float = 0.25
    """Seconds between two of them."""
    at_once: int = 1000
    """At most so many others are created beside them."""
    teams: bool = True
    slow: float = 10.0
    """Seconds after which a slow platform answers."""
    quiet: float = 2.0
    """Seconds without a write, after which a contestant counts as done."""
    tidy: bool = True
    """Wait until the controllers have emptied one contestant's namespaces, before the next one is measured."""
    peers_briefly: bool = False
    """Peers create, rest and delete, and nothing else."""

    def projects(self, size: int) -> int:
        """How many teams share as many Workloads."""
        return max(4, size // 50)

    def in_trouble(self, size: int) -> int:
        """How many of them have a slow platform; as many have bad tokens."""
        return max(1, self.projects(size) // 40)


QUICK = Options(
    sizes=(10,),
    rounds=1,
    interval=1.0,
    rest_intervals=3,
    samples=4,
    pace=0.05,
    at_once=5,
    slow=2.0,
    quiet=0.5,
    tidy=False,
    peers_briefly=True,
)
"""To see that all of it works; its times say nothing."""
