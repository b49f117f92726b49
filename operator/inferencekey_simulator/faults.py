"""What goes wrong on demand.

Decides which fault, if any, meets a call, and how often. What a fault then does to a connection is
`interference`'s.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveInt

Action = Literal[
    "respond",
    "delay",
    "delay_after",
    "cut_before",
    "cut_after",
    "truncate",
    "wrong_content_type",
    "enormous",
    "drop",
]


@dataclass(frozen=True)
class Call:
    """One request as the platform understands it, before anything is done about it.

    `operation` is list, create, update, delete, readiness, data, or unknown. `project` and `slug` are
    filled in also where the path only names an id. `credential` is what may be shown of it.
    """

    operation: str
    method: str
    path: str
    project: str | None
    slug: str | None
    credential: str | None


class Fault(BaseModel):
    """Which calls go wrong, how often, and how.

    A call is met when every one of `operation`, `method`, `project`, `slug` and `path` (with `*` wildcards)
    that is given fits. `times` is how many calls are met before the fault is used up; None is for ever.
    `seconds` passes first under every action (for `delay_after`: last).

    - respond: answers `status`, `headers` and `body` (an object or array as JSON, a string as it is);
    nothing is done.
    - delay: handled as usual, only later. delay_after: handled at once, the answer comes later.
    - cut_before: the connection is cut and nothing is done. cut_after: it is done, and the answer is lost.
    - truncate: it is done, and half of the answer's body arrives.
    - wrong_content_type: it is done, and the answer says it is HTML.
    - enormous: nothing is done, and the answer is a JSON array of about `size` bytes.
    - drop: a readiness stream ends after `after_events` events, without a terminal one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    action: Action
    operation: str | None = None
    method: str | None = None
    project: str | None = None
    slug: str | None = None
    path: str | None = None
    times: PositiveInt | None = 1
    seconds: NonNegativeFloat = 0.0
    status: int = Field(default=503, ge=200, le=599)
    body: Any = None
    headers: dict[str, str] = Field(default_factory=dict)
    size: PositiveInt = 64 * 1024 * 1024
    after_events: NonNegativeInt = 1

    def meets(self, call: Call) -> bool:
        """Return whether this fault is about this call."""
        wanted = (self.operation, self.method, self.project, self.slug)
        found = (call.operation, call.method, call.project, call.slug)
        if any(want is not None and want != have for want, have in zip(wanted, found, strict=True)):
            return False
        return self.path is None or fnmatchcase(call.path, self.path)


@dataclass(eq=False)
class _Armed:
    number: int
    fault: Fault
    used: int = 0

    @property
    def spent(self) -> bool:
        return self.fault.times is not None and self.used >= self.fault.times


class Faults:
    """The faults that are armed, in the order they were added; the first that fits is used."""

    def __init__(self) -> None:
        self._armed: list[_Armed] = []
        self._numbers = itertools.count(1)

    def add(self, fault: Fault) -> int:
        """Arm a fault and return its number."""
        armed = _Armed(next(self._numbers), fault)
        self._armed.append(armed)
        return armed.number

    def take(self, call: Call) -> Fault | None:
        """Return the fault that meets this call and count it as used, or None."""
        for armed in self._armed:
            if not armed.spent and armed.fault.meets(call):
                armed.used += 1
                return armed.fault
        return None

    def clear(self, number: int | None = None) -> int:
        """Disarm one fault, or all; return how many went."""
        before = len(self._armed)
        self._armed = [armed for armed in self._armed if number is not None and armed.number != number]
        return before - len(self._armed)

    def listed(self) -> list[dict[str, Any]]:
        """Return every fault with its number and how often it was used, spent ones too."""
        return [{"id": armed.number, "used": armed.used, **armed.fault.model_dump()} for armed in self._armed]
