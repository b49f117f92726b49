"""A circuit breaker for one credential in one project: closed while the platform answers, open while it does not.

Decides who may call while the platform is in trouble, and how long the others wait. Must not know what a call is for.
"""

from __future__ import annotations

import asyncio
import random

from inferencekey_operator.errors import Actor, OperatorError, PlatformFailure, Reason

FIRST_BACKOFF = 1.0
REFUSED_INTERVALS = 4.0
"""How many intervals the longest pause between two tries of a refused credential lasts. A new token has a `Project` of
its own, and is tried at once."""


class CircuitBreaker:
    """`trip` it with what the platform answered instead of a list; `reset` it with a list that was answered.

    `interval` is that of the lists, in seconds: the longest pause between two probes.
    """

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self.trouble: OperatorError | None = None
        """What the platform last answered instead of a list, while it does."""
        self.tripped_at = self.open_until = float("-inf")
        """When it was last tripped, and from when a probe may go out."""
        self.refused_since: float | None = None
        """Since when, in the loop's time, the platform refuses what a person has to mend, the credential perhaps."""
        self._failures = 0

    @property
    def refusal(self) -> OperatorError | None:
        """What a person has to mend before the platform lists this project again; None while it does."""
        if self.trouble is None or self.trouble.reason.actor is not Actor.PERSON:
            return None
        return _again(self.trouble, max(0.0, self.open_until - asyncio.get_running_loop().time()))

    @property
    def unreadable(self) -> bool:
        """Whether lists fail since they are answered, but not as the contract has it: writes may work."""
        error = self.trouble
        return (
            isinstance(error, PlatformFailure)
            and error.reason is Reason.PLATFORM_ERROR
            and (error.status is None or error.status < 300)
        )

    def trip(self, error: OperatorError) -> None:
        """Nobody calls before the platform's wish, or a growing wait, is over."""
        self.trouble = error
        self._failures += 1
        refused = error.reason.actor is Actor.PERSON
        longest = self._interval * (REFUSED_INTERVALS if refused else 1.0)
        grown = min(FIRST_BACKOFF * 2.0 ** min(self._failures - 1, 16), longest)
        wait = max(grown * random.uniform(0.9, 1.0), error.retry_after or 0.0)  # noqa: S311 - jitter
        self.tripped_at = asyncio.get_running_loop().time()
        self.refused_since = (self.refused_since or self.tripped_at) if refused else None
        self.open_until = max(self.open_until, self.tripped_at + wait)

    def doubt(self, error: OperatorError) -> None:
        """One write got no answer, which may be its own fault: a list tells, at once, before anybody writes again."""
        self.trouble = self.trouble or error
        self.tripped_at = asyncio.get_running_loop().time()
        self.open_until = max(self.open_until, self.tripped_at)

    def reset(self, began: float) -> bool:
        """The platform answered a list that began at `began`: the trouble is over, unless it came after that; whether
        it was.
        """
        if self.trouble is None or began < self.tripped_at:
            return False
        self.trouble, self._failures, self.open_until, self.refused_since = None, 0, float("-inf"), None
        return True

    def raise_while_open(self) -> None:
        """The same error for everybody, with what is left of the wait."""
        left = self.open_until - asyncio.get_running_loop().time()
        if self.trouble is not None and left > 0:
            raise _again(self.trouble, left)

    def pause_before_probe(self, after: float) -> float:
        """Seconds until a list newer than `after` may be tried; raises while it is open.

        What a person has to mend may be mended by the time of a later need: then one probe goes out for all that
        came meanwhile, and no sooner than a moment after the last one.
        """
        if self.trouble is None or self.trouble.reason.actor is not Actor.PERSON or after <= self.tripped_at:
            self.raise_while_open()
            return 0.0
        return self.tripped_at + FIRST_BACKOFF - asyncio.get_running_loop().time()


def _again(error: OperatorError, left: float) -> OperatorError:
    """The same error for somebody else, with what is left of the wait."""
    if isinstance(error, PlatformFailure):
        return PlatformFailure(error.reason, error.message, status=error.status, retry_after=left)
    return OperatorError(error.reason, error.message, retry_after=left)
