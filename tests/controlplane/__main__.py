"""`python -m controlplane`: find or build the binaries, and print the folder that holds them.

Standard output carries that one line; everything else goes to standard error. Exit code 1 where there is no
control plane to be had, 130 after Ctrl-C.
"""

from __future__ import annotations

import signal
import sys
from types import FrameType

from controlplane.build import BuildFailedError
from controlplane.lookup import Binaries, Existing, NoControlPlaneError, find


def main() -> int:
    """Print the folder; returns the exit code."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, _interrupt)
    try:
        found = find()
    except (NoControlPlaneError, BuildFailedError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; nothing half-built is left behind", file=sys.stderr)
        return 130
    if isinstance(found, Binaries):
        print(found.folder)
    else:
        which = "the cluster of DEMO_KUBECONFIG" if isinstance(found, Existing) else "kind"
        print(f"{which} is used: there is no folder of binaries to print", file=sys.stderr)
    return 0


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
