"""Waiting for what has to come, with a bound, and showing what there was instead where it does not come.

Knows nothing of what is waited for.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pprint import pformat
from typing import TypeVar

_Seen = TypeVar("_Seen")

LONG = 120.0
"""Seconds that are waited for what takes one on a quiet machine: far below the full round of ten minutes, which would
mend whatever was missed."""
POLL = 0.05
"""Seconds between two looks, at least; they grow with what was waited already, for looks cost what is looked at."""
_LONGER = 0.08
_LONGEST = 0.5


def eventually(
    look: Callable[[], _Seen], holds: Callable[[_Seen], object] = bool, *, within: float = LONG, poll: float = POLL
) -> _Seen:
    """The first value of `look` for which `holds` is true; AssertionError with the last one after `within` seconds.

    A comparison that does not know what it was given, as `"x".__eq__` of None, says NotImplemented: that is no yes. Nor
    is a part that is not there yet, as a field of a status that nobody has written.
    """
    began = time.monotonic()
    while True:
        last: object
        try:
            last = seen = look()
            held = holds(seen)
            if held is not NotImplemented and held:
                return seen
        except LookupError as missing:
            last = missing
        waited = time.monotonic() - began
        if waited > within:
            raise AssertionError(f"not within {within:g} s; at last there was:\n{pformat(last, width=120)}")
        time.sleep(max(poll, min(waited * _LONGER, _LONGEST)))


def equals(wanted: object) -> Callable[[object], bool]:
    """For `eventually`: whether what is seen is this."""
    return lambda seen: seen == wanted
