"""The show from end to end: where it is shown, the story, and leaving nothing behind however it ends.

Exit code 0 when every step was seen to happen, 1 when one was not, 130 when it was interrupted before.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from types import FrameType

from controlplane.access import KubectlFailedError
from controlplane.build import BuildFailedError
from controlplane.cluster import ComponentFailedError
from controlplane.lookup import NoControlPlaneError, find
from controlplane.processes import ProcessError
from controlplane.progress import Progress
from demo.children import ChildEndedError
from demo.picture import camera
from demo.screen import Screen, Terminal
from demo.stage import Stage, StepFailedError, set_up
from demo.story import CHAPTERS, what_next
from inferencekey_simulator.admin import AdminError

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_EXPECTED = (
    AdminError,
    BuildFailedError,
    ChildEndedError,
    ComponentFailedError,
    KubectlFailedError,
    NoControlPlaneError,
    OSError,
    ProcessError,
    StepFailedError,
    subprocess.TimeoutExpired,
)


def run(picture: Path | None = None) -> int:
    """Tell the story, and take a picture of it where one is wanted; returns the exit code."""
    os.chdir(Path(__file__).parents[1])  # so that the commands that are shown are those that are run
    for name in ("no_proxy", "NO_PROXY"):
        os.environ[name] = ",".join(filter(None, (os.environ.get(name), "127.0.0.1,localhost")))
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, _interrupt)
    screen, stack = camera(picture) if picture else _screen(), ExitStack()
    code = 130
    try:
        stage = _tell(screen, stack)
        code = 0
        if screen.stays:
            _stay(stage)
    except KeyboardInterrupt:
        pass
    except _EXPECTED as error:
        code = 1
        with suppress(OSError):
            screen.failed(str(error))
    finally:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)  # nobody need ask twice
        _end(screen, stack)
    return code


def _end(screen: Screen, stack: ExitStack) -> None:
    """Also where there is no terminal any more, or nobody reads the pipe."""
    try:
        screen.end("stopping, and cleaning up", stack.close)
    except OSError:
        stack.close()


def _screen() -> Screen:
    """Live only where somebody looks on."""
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    unattended = os.environ.get("CI") or os.environ.get("TERM") == "dumb" or not sys.stdout.isatty()
    return Screen(sys.stdout) if unattended else Terminal(sys.stdout)


def _tell(screen: Screen, stack: ExitStack) -> Stage:
    of = len(CHAPTERS) + 1
    screen.heading(f"1/{of} Starting everything")
    found = find(progress=Progress(sys.stdout))
    screen.open()
    stage = set_up(found, screen, stack)
    try:
        for number, (title, chapter) in enumerate(CHAPTERS, 2):
            screen.heading(f"{number}/{of} {title}")
            chapter(stage)
            screen.sum_up()
    except (AdminError, KubectlFailedError, StepFailedError) as error:
        raise StepFailedError(f"{error}\n{stage.operator.tail()}") from error
    screen.heading("All of it was seen to happen")
    if screen.stays:
        what_next(stage)
    else:
        screen.say("To try things yourself: make demo in a terminal, where all of it stays up.")
    return stage


def _stay(stage: Stage) -> None:
    """Until somebody interrupts, or something ends that should not."""
    while True:
        stage.check()
        time.sleep(0.5)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
