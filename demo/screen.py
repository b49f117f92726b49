"""What people see: plain lines anywhere, and on a terminal the same story above a live table.

Decides how things look, and nothing about what happens. `Screen` is the plain one and imports no more than it needs;
`Terminal` draws with rich.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TextIO

from rich.console import Console, Group
from rich.padding import Padding
from rich.rule import Rule
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from demo.counters import Counters
from demo.region import Region
from demo.watch import Workload

_ENDPOINT_COLUMNS = 120
"""A terminal narrower than this has no room for the endpoints, which all begin alike."""
_BEAT_SECONDS = 2.0


@dataclass(frozen=True)
class Scene:
    """What the live part shows, asked for as it is drawn."""

    workloads: Callable[[], Sequence[Workload]]
    counters: Counters


@dataclass
class Screen:
    """Plain lines, each with the seconds since the start; no escape sequence, whatever the stream is."""

    stream: TextIO
    began: float = field(default_factory=time.monotonic)
    scene: Scene | None = None
    _told: dict[str, str] = field(default_factory=dict, init=False)
    _table: list[str] = field(default_factory=list, init=False)

    stays = False
    """Whether somebody is there to look on when the story is over."""

    def heading(self, title: str) -> None:
        """A new chapter."""
        self._line("")
        self._line(title, "bold")

    def say(self, text: str, style: str = "") -> None:
        """A line of the story."""
        self._line(f"  {text}", style)

    def command(self, text: str) -> None:
        """A command that is run, as people would type it."""
        self._line(f"  $ {text}", "cyan")

    def done(self, text: str, seconds: float) -> None:
        """Something that was waited for was seen."""
        self._line(f"  ok   {text}  ({seconds:.1f} s)")

    def failed(self, text: str) -> None:
        """The story ends here."""
        for line in f"FAILED: {text}".splitlines():
            self._line(line, "red")

    @contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        """While something is waited for."""
        yield

    def beat(self) -> None:
        """A moment for people to look at what there is to see; nobody else needs it."""

    def changed(self, name: str, workload: Workload | None) -> None:
        """A Workload came, moved or went."""
        brief = workload.brief if workload else "gone"
        if self._told.get(name) != brief:
            self._told[name] = brief
            with suppress(OSError):  # whoever tells the story will notice that nobody listens
                self._line(f"  {name}: {brief}")

    def sum_up(self) -> None:
        """The table, if it is another one by now, and the counters."""
        if self.scene is not None:
            table = list(_plain_table(self.scene.workloads()))
            for row in table if table != self._table else ():
                self._line(f"  {row}")
            self._table = table
            self.scene.counters.look()
            self._line(f"  {describe(self.scene.counters)}")

    def open(self) -> None:
        """From now on all output goes through this."""

    def end(self, text: str, work: Callable[[], None]) -> None:
        """The last thing that is done: what is on the screen stays there."""
        self._line("")
        self._line(text)
        work()

    def _line(self, text: str, style: str = "") -> None:
        seconds = f"{time.monotonic() - self.began:6.1f} s  " if text else ""
        print(f"{seconds}{text}".rstrip(), file=self.stream, flush=True)


class Terminal(Screen):
    """The story scrolls by above a live part, which is drawn by a thread of its own."""

    stays = True

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._console = Console(file=stream, highlight=False)
        self._waiting: tuple[str, float] | None = None
        self._spinner = Spinner("dots", style="cyan")
        self._region = Region(self._console, self._frame)

    def heading(self, title: str) -> None:
        """After a moment for the end of the chapter before."""
        if self.scene is not None:
            self.beat()
        self._region.print(Text.assemble((f"\n {title}", "bold cyan"), (f"   {self._clock()}", "dim")))

    def command(self, text: str) -> None:
        """Not wrapped by us: a command must come out whole when it is copied."""
        self._region.print(Text.assemble(("   $ ", "dim"), (text, "bold")), whole=True)

    def done(self, text: str, seconds: float) -> None:
        """Takes the place of the line that told of the waiting."""
        self._print(Text.assemble(("✔ ", "green"), text, (f"  {seconds:.1f} s", "dim")))

    def failed(self, text: str) -> None:
        """What was expected, and then the rest."""
        first, *rest = text.splitlines()
        self._print(Text.assemble(("✘ ", "red"), (first, "bold red")))
        for line in rest:
            self._print(Text(line))

    @contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        """Turns below the table, with the seconds that it lasts."""
        self._waiting = (text, time.monotonic())
        try:
            yield
        finally:
            self._waiting = None

    def beat(self) -> None:
        """Long enough to find in the table what has moved."""
        time.sleep(_BEAT_SECONDS)

    def changed(self, name: str, workload: Workload | None) -> None:
        """The table shows it."""

    def sum_up(self) -> None:
        """The table is there all the time."""

    def open(self) -> None:
        """Begin to draw."""
        self._region.start()

    def end(self, text: str, work: Callable[[], None]) -> None:
        """The table stays as it was last."""
        with self.waiting(text):
            work()
        self._region.stop()

    def _line(self, text: str, style: str = "") -> None:
        words = text.lstrip()
        self._print(Text(words, style), indent=len(text) - len(words) + 1)

    def _print(self, text: Text, indent: int = 3) -> None:
        self._region.print(Padding(text, (0, 1, 0, indent)))

    def _clock(self) -> str:
        minutes, seconds = divmod(int(time.monotonic() - self.began), 60)
        return f"{minutes}:{seconds:02d}"

    def _frame(self) -> Group:
        parts: list[Text | Rule | Table | Padding] = [Text()]
        if self.scene is not None and (workloads := self.scene.workloads()):
            parts += [Rule(style="dim"), _table(workloads, self._console.width), Rule(style="dim")]
            parts.append(Text(f" {describe(self.scene.counters)}", no_wrap=True, overflow="ellipsis"))
        if self._waiting is not None:
            text, since = self._waiting
            self._spinner.update(text=Text.assemble(text, (f"  {time.monotonic() - since:.0f} s", "dim")))
            parts.append(Padding(self._spinner, (0, 0, 0, 1)))
        return Group(*parts)


def describe(counters: Counters) -> str:
    """The counters in one line."""
    now = counters.now
    kubernetes = "not counted" if not counters.audited else f"{now.kubernetes_writes} writes"
    quiet = counters.quiet_seconds
    rest = f" · no write for {quiet:.0f} s" if quiet >= 2 else ""
    return f"Platform: {now.lists} lists, {now.platform_writes} writes · Kubernetes: {kubernetes}{rest}"


def _columns(workload: Workload) -> tuple[str, ...]:
    return (
        workload.name,
        workload.ready or "-",
        workload.reason,
        workload.drift,
        workload.policy,
        workload.backend,
        workload.model,
        _path(workload.endpoint),
    )


# Columns that keep their width while the words in them change.
_LEAST_WIDTHS = {"READY": 5, "REASON": 13, "POLICY": 9, "ENDPOINT": 33}
_RATIOS = {"DRIFT": 2, "MODEL": 3}
_TITLES = ("NAME", "READY", "REASON", "DRIFT", "POLICY", "BACKEND", "MODEL", "ENDPOINT")


def _table(workloads: Sequence[Workload], width: int) -> Table:
    shown = len(_TITLES) if width >= _ENDPOINT_COLUMNS else len(_TITLES) - 1
    table = Table(box=None, expand=True, pad_edge=True, padding=(0, 1), header_style="dim")
    for title in _TITLES[:shown]:
        table.add_column(
            title, no_wrap=True, overflow="ellipsis", min_width=_LEAST_WIDTHS.get(title), ratio=_RATIOS.get(title)
        )
    for workload in workloads:
        name, ready, *others = _columns(workload)[:shown]
        table.add_row(Text(name, "bold"), Text(ready, _color(workload)), *(Text(other) for other in others))
    return table


def _plain_table(workloads: Sequence[Workload]) -> Iterator[str]:
    rows = [_TITLES, *(_columns(each) for each in workloads)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _color(workload: Workload) -> str:
    if workload.ready == "True":
        return "yellow" if workload.drift else "green"
    return "red" if workload.stalled else "yellow"


def _path(url: str) -> str:
    """Without the platform, which is the same for all."""
    return "/" + url.split("/", 3)[3] if url.count("/") >= 3 else url
