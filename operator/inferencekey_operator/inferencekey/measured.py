"""How a call to the platform went: its route, its status, its reason, and how long it took.

Decides nothing, and keeps nothing of what was asked or answered.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from inferencekey_operator.errors import OperatorError
from inferencekey_operator.inferencekey.answers import Operation
from inferencekey_operator.metrics import CALL_SECONDS, CALLS, NONE

CANCELLED = "cancelled"
"""What a call came to that was given up before an answer, as this process ends, say."""


@dataclass(slots=True)
class Measurement:
    """One call that goes on."""

    clock: Callable[[], float]
    code: str = NONE
    seconds: float | None = None
    began: float = field(init=False)

    def __post_init__(self) -> None:
        self.began = self.clock()

    def answered(self, status: int, *, whole: bool) -> None:
        """A status came; `whole` where nothing that follows is part of the answer's time."""
        self.code = str(status)
        if whole:
            self.seconds = self.clock() - self.began


@contextmanager
def measured(route: Operation, clock: Callable[[], float] = time.monotonic) -> Iterator[Measurement]:
    """Counts one call when it is over."""
    call = Measurement(clock)
    result = CANCELLED
    try:
        yield call
        result = "ok"
    except OperatorError as error:
        result = error.reason
        raise
    except BaseException:
        result = CANCELLED if call.code == NONE else "ok"
        raise
    finally:
        CALLS.labels(route, call.code, result).inc()
        CALL_SECONDS.labels(route).observe(clock() - call.began if call.seconds is None else call.seconds)
