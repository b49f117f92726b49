"""`python -m demo`, which is `make demo`.

Imports late: whoever interrupts while Python is still loading need not see a traceback.
"""

from __future__ import annotations

import sys


def main() -> int:
    """Returns the exit code."""
    try:
        import argparse
        from pathlib import Path

        from demo.show import run

        parser = argparse.ArgumentParser(prog="python -m demo", description="The main job, to watch.")
        parser.add_argument("--picture", metavar="FILE", type=Path, help="take a picture of it, as SVG")
        return run(parser.parse_args().picture)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
