"""A backtest on a real MinIO that is killed all the time, against one in a directory: the same findings, every event once."""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec

from edgeloop.config import read_loop
from edgeloop.lake import Lake
from edgeloop.store import open_store
from examples.minio import BUCKET, Minio, running

EXAMPLE = Path(__file__).parents[1] / "examples/gas_turbine"
STORE = f"s3://{BUCKET}/kills"


@dataclass
class Findings:
    """What a campaign found; `killed` and `undisturbed` are what `lasting` says of the two backtests."""

    kills: int
    killed: dict[str, Any]
    undisturbed: dict[str, Any]
    rows: int
    numbers: int

    @property
    def never(self) -> dict[str, int]:
        """What is to be 0 of each."""
        events = self.killed["events"]
        return {
            "events missing from the books": events["missing"],
            "events produced that are in no column of the books": events["produced"]
            - sum(events[column] for column in ("ingested", "shed", "missing")),
            "events doubled at the centre": self.rows - self.numbers,
            "rows in the lake against the books": abs(self.rows - events["ingested"]),
        }


def campaign(directory: Path, loop: Path, data: Path, seed: int, pause: float) -> Findings:
    """Play `data` in a directory, and on a MinIO that runs for 0 to 2 × `pause` seconds between kills."""
    undisturbed = finding(started(loop, data, directory / "directory", str(directory / "store")))
    with running(directory / "minio") as minio, patch.dict(os.environ, minio.environment):
        play = started(loop, data, directory / "killed", STORE)
        kills = killed_while(play, minio, random.Random(seed), pause)
        killed, config = finding(play), read_loop(loop)
        rows, numbers = (
            Lake(open_store(STORE), config.layout)
            .connect(events=None)
            .execute("SELECT count(*), count(DISTINCT (device, epoch, seq)) FROM events")
            .fetchall()[0]
        )
    return Findings(kills, killed, undisturbed, rows, numbers)


def killed_while(play: subprocess.Popen[str], minio: Minio, draw: random.Random, pause: float) -> int:
    """Kill and start the server, again and again, until `play` ends; how often."""
    kills = 0
    while True:
        try:
            play.wait(draw.uniform(0, 2 * pause))
        except subprocess.TimeoutExpired:
            minio.kill()
            time.sleep(draw.uniform(0, 2))
            minio.start()
            kills += 1
        else:
            return kills


def started(loop: Path, data: Path, work: Path, store: str) -> subprocess.Popen[str]:
    arguments = "backtest", str(loop), str(data), "--store", store, "--workdir", str(work), "--json"
    command = [sys.executable, "-c", "from edgeloop.cli import main; main()", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def finding(play: subprocess.Popen[str]) -> dict[str, Any]:
    """What a backtest found, when it has ended."""
    out, _ = play.communicate()
    if play.returncode:
        raise SystemExit(f"the backtest ended with {play.returncode}")
    return lasting(msgspec.json.decode(out))


def lasting(summary: dict[str, Any]) -> dict[str, Any]:
    """Of what a backtest prints, what hangs on nothing measured: a manifest has a measured memory in it, and from its digest it is
    drawn which devices get that release first."""
    scores = {f"{of} {score}": summary[score][of] for score in ("accuracy", "macro_f1") for of in ("static", "ceiling")}
    verdicts = [(rollout["verdict"], rollout["reason"]) for rollout in summary["rollouts"]]
    return {"events": summary["events"], "verdicts": verdicts, **scores}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.store_kills")
    parser.add_argument("--pause", type=float, default=5.0, help="seconds between kills, on the average")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        data = EXAMPLE / "gas_turbine.parquet"
        found = campaign(Path(name), EXAMPLE / "loop.toml", data, options.seed, options.pause)
    print(f"MinIO was killed {found.kills} times; {found.killed['events']}")
    others = [name for name in found.undisturbed if found.killed[name] != found.undisturbed[name]]
    print("all findings are those in a directory" if not others else f"others than in a directory: {', '.join(others)}")
    for what, number in found.never.items():
        print(f"{number:6} {what}")
    sys.exit(any(found.never.values()) or not found.kills)


if __name__ == "__main__":
    main()
