"""`python -m demo`, which is `make demo`.

Imports late: whoever interrupts while Python is still loading need not see a traceback.
"""

from __future__ import annotations

import sys


def main() -> int:
    """Returns the exit code."""
    try:
        from demo.show import run

        return run()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
