"""What a list shows: the rows as they are, or as they were, and rows that no project has.

Decides which rows a list has, in which state and order, and whose turn it is where replicas of the platform
alternate. Knows nothing of credentials or HTTP.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from inferencekey_simulator import pages
from inferencekey_simulator.clock import Clock
from inferencekey_simulator.inventory import Fields, Inventory, Row, to_json
from inferencekey_simulator.lag import Change, Kind, Lagging
from inferencekey_simulator.settings import ListLag, Settings

Encode = Callable[[Fields], bytes]


class Lists:
    """The lists of one platform's projects.

    `cursor` leads to the rows that the list answered last left out; None when it had all of them.
    """

    def __init__(self, inventory: Inventory, clock: Clock) -> None:
        self.cursor: str | None = None
        self._inventory = inventory
        self._clock = clock
        self._lagging = Lagging()
        self._asked: Counter[str] = Counter()

    def note(self, row: Row, kind: Kind, before: Fields | None, after: Fields | None, lag: ListLag) -> None:
        """Record a change that lists show only after the lag; `after` is None for a row that was removed."""
        self._lagging.note(row, Change(self._clock.monotonic(), kind, after), before, lag)

    def answer(self, project: str, settings: Settings, encode: Encode) -> bytes:
        """Return a project's rows as JSON; `encode` writes a row that lists show in another state."""
        past = self._past(project, settings)
        if past or settings.extra_rows or settings.pages != "off" or _restated(settings):
            answer = pages.answer(self._rows(project, past, settings, encode), settings)
        else:
            answer = pages.whole(self._inventory.listing(project), settings)
        self.cursor = answer.cursor
        return answer.body

    def configured(self, before: Settings, settings: Settings) -> None:
        """Follow a change of settings: what lists show already stays shown, and replicas begin with the fresh one."""
        if settings.list_lag != before.list_lag:
            self._lagging.settle(self._clock.monotonic(), before.list_lag)
        if not settings.list_lag.is_set:
            self._lagging.clear()
        if settings.stale_replicas != before.stale_replicas:
            self._asked.clear()

    def _past(self, project: str, settings: Settings) -> dict[Row, Fields | None]:
        """Return the rows that this list shows in an earlier state."""
        if settings.stale_replicas:
            self._asked[project] += 1
            if self._asked[project] % 2:
                return {}
        return self._lagging.view(project, self._clock.monotonic(), settings.list_lag)

    def _rows(self, project: str, past: dict[Row, Fields | None], settings: Settings, encode: Encode) -> list[bytes]:
        """Return the JSON of each row, oldest first, the extra ones last."""
        rows = sorted({*self._inventory.listed(project), *past}, key=lambda row: row.number)
        anew = _restated(settings)
        now = {row: encode(row.fields) if anew else row.encoded for row in rows if row not in past}
        then = {row: encode(fields) for row, fields in past.items() if fields is not None}
        shown = now | then
        return [shown[row] for row in rows if row in shown] + [to_json(row) for row in settings.extra_rows]


def _restated(settings: Settings) -> bool:
    """Return whether lists spell values in another way than the answers to writes."""
    return any(rule.lists_only for rule in settings.normalise)
