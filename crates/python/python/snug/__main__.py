"""`python -m snug`: starts the program of this package with the torch of this Python, which is not imported."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from pathlib import Path
from typing import NoReturn

# The launcher, which finds libtorch and becomes `libexec/snug`.
PROGRAM = Path(__file__).resolve().parent / "snug"
TORCH = "2.11.0"


def main() -> NoReturn:
    """Replaces this process."""
    # The launcher looks nowhere else if `LIBTORCH` is set. A user's own value stays.
    if not os.environ.get("LIBTORCH"):
        os.environ["LIBTORCH"] = str(_torch())
    if not PROGRAM.is_file():
        _refuse(f"`{PROGRAM}` is missing", "install the wheel again: `pip install --force-reinstall snug`")
    os.execv(PROGRAM, [str(PROGRAM), *sys.argv[1:]])


def _torch() -> Path:
    """The folder of this Python's torch."""
    install = f"run `{sys.executable} -m pip install torch=={TORCH}`, or set `LIBTORCH` to a libtorch {TORCH}"
    # `python -m` puts the current folder first; nothing is to be found there.
    if sys.path[:1] in ([""], [os.getcwd()]):
        del sys.path[0]
    spec = importlib.util.find_spec("torch")
    if spec is None or not spec.submodule_search_locations:
        _refuse(f"`{sys.executable}` has no torch installed", install)
    folder = Path(spec.submodule_search_locations[0])
    try:
        text = (folder / "version.py").read_text(encoding="utf-8")
    except OSError as error:
        _refuse(f"cannot read the version of torch: {error}", install)
    found = re.search(r"^__version__\s*=\s*['\"](.+?)['\"]", text, re.MULTILINE)
    version = found[1] if found else "unknown"
    if not re.fullmatch(re.escape(TORCH) + r"(\+.*|\.post.*)?", version):
        _refuse(f"the version of `{folder}` is {version}, not {TORCH}", install)
    return folder


def _refuse(message: str, hint: str) -> NoReturn:
    print(f"error: {message}\nhint: {hint}", file=sys.stderr)
    raise SystemExit(1)


if __name__ == "__main__":
    main()
