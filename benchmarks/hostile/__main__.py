"""Every kind of hostile file by itself, beside good ones: where it ended, for what reason, and what it took."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.hostile.campaign import campaign


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hostile")
    parser.add_argument("kinds", nargs="*", help="names of kinds; all, if none is given")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        wrong = campaign(Path(name), options.kinds)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
