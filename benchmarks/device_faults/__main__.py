"""The command: `python -m benchmarks.device_faults [--kills N] [--seed N] [--json]`; fails if anything happened that must not."""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from benchmarks.device_faults.campaign import campaign
from benchmarks.device_faults.findings import Findings


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.device_faults")
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0, help="of the draws; instants are the machine's all the same")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        found = campaign(Path(name), options.kills, options.seed)
    print(json.dumps(vars(found)) if options.json else _text(found))
    raise SystemExit(any(found.never.values()))


def _text(found: Findings) -> str:
    fell = ", ".join(f"{stage} {times}" for stage, times in found.fell.most_common())
    lines = [
        f"{found.kills} kills in {found.seconds:.0f} s, {found.kills / found.seconds:.1f} a second",
        f"where the two threads of a device were: {fell}",
        f"{found.offers} offers, {found.activations} activations, {found.answered} readings answered, {found.counted} counted",
        f"{'events lost within the flush window':50}{found.lost_within_window:6}",
        *(f"{what:50}{times:6}" for what, times in found.never.items()),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
