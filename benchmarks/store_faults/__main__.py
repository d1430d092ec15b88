"""Faults of a store and of the way to it: a real MinIO behind a proxy that does wrong, devices, and books that must balance."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.store_faults.campaign import campaign


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.store_faults")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        found = campaign(Path(name), options.seconds, options.seed)
    print(f"{found.requests} requests, {found.met.total()} met a fault: ", end="")
    print(", ".join(f"{fault} {number}" for fault, number in sorted(found.met.items()) if fault))
    print(f"{found.releases} releases offered; {found.events} events = {found.ingested} ingested + {found.shed} shed")
    print(f"slowest prediction meanwhile: {found.slowest * 1000:.0f} ms")
    for what, number in found.never.items():
        print(f"{number:6} {what}")
    sys.exit(any(found.never.values()) or found.events != found.ingested + found.shed)


if __name__ == "__main__":
    main()
