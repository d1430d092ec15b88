"""Every kind of hostile file by itself, beside good ones: where it ended, for what reason, and what it took. Or a fuzzer."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.hostile import fuzz
from benchmarks.hostile.campaign import campaign


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hostile")
    parser.add_argument("kinds", nargs="*", help="names of kinds; all, if none is given")
    parser.add_argument("--fuzz", type=float, metavar="SECONDS", help="change good files at random instead")
    parser.add_argument("--seed", type=int, default=0, help="of the fuzzer's draws")
    options = parser.parse_args()
    if options.fuzz:
        sys.exit(not fuzz.campaign(options.fuzz, options.seed))
    with tempfile.TemporaryDirectory() as name:
        sys.exit(bool(campaign(Path(name), options.kinds)))


if __name__ == "__main__":
    main()
