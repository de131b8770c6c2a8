"""`python -m snug`: starts the program of this package, which uses the torch of this Python without importing it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

# The launcher, which finds libtorch and becomes `libexec/snug`.
PROGRAM = Path(__file__).resolve().parent / "snug"


def main() -> NoReturn:
    """Replaces this process."""
    # The launcher asks only this Python for torch. A user's `LIBTORCH` still comes first.
    os.environ["SNUG_PYTHON"] = sys.executable
    try:
        os.execv(PROGRAM, ["snug", *sys.argv[1:]])
    except OSError as error:
        print(f"error: cannot start `{PROGRAM}`: {error.strerror}", file=sys.stderr)
        print("hint: reinstall the wheel with `pip install --force-reinstall`", file=sys.stderr)
        raise SystemExit(1) from error


if __name__ == "__main__":
    main()
