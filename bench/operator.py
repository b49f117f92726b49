"""The operator as a contestant: under its ServiceAccount, with its defaults but for the interval that is asked for."""

from __future__ import annotations

from typing import ClassVar

from bench.contestant import Contestant
from bench.stage import Stage
from harness import permissions
from harness.lives import executed
from harness.operators import Operator, Surroundings
from harness.scrape import Scrape, free_port


class Ours(Contestant):
    """`inferencekey-operator run`."""

    name: ClassVar[str] = "operator"

    def __init__(self, stage: Stage, interval: float) -> None:
        self.user = permissions.USER
        self._scrape = Scrape(free_port())
        log = stage.folder / "operator.log"
        around = Surroundings(stage.api, stage.service_account, stage.admin.url, log, begin=executed)
        self._operator = Operator(around, f"--list-interval={interval}s", self._scrape.option)

    @property
    def pid(self) -> int:
        """Of its present life."""
        return self._operator.pid

    def start(self) -> None:
        """Back when it leads."""
        self._operator.start()

    def stop(self) -> None:
        """It gives up its Lease."""
        if self._operator.running and (code := self._operator.stop()) != 0:
            raise RuntimeError(f"the operator ended with exit code {code}:\n{self._operator.tail()}")

    def looked(self) -> int:
        """By its own metric."""
        return round(self._scrape.looks())

    def check(self) -> None:
        """It ends only when it is asked to."""
        if not self._operator.running:
            raise RuntimeError(f"the operator has ended by itself:\n{self._operator.tail()}")

    def close(self) -> None:
        """Neither tracebacks nor tokens were logged."""
        self._operator.close()
