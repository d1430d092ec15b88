from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq

from tests.pipelines.test_history import rows
from tests.site import LOOP, hear_ctrl_c


def test_ctrl_c_ends_a_backtest_with_130_and_leaves_no_process(tmp_path: Path) -> None:
    pq.write_table(rows(2000), tmp_path / "x.parquet")
    (tmp_path / "loop.toml").write_text(LOOP)
    command = "from edgeloop.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", command, "backtest", "loop.toml", "x.parquet", "--workdir", str(tmp_path / "work")],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hear_ctrl_c,
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("work/store/loops/*/inbox/*")) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    left = subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True, text=True, check=False).stdout
    assert left == ""
