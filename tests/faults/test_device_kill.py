"""kill -9 of devices at random instants, the short version of `python -m benchmarks.device_faults`; it holds for every instant."""

from __future__ import annotations

from pathlib import Path

from benchmarks.device_faults.campaign import campaign

KILLS = 25


def test_however_a_device_is_killed_the_books_close_and_it_runs_what_was_signed(tmp_path: Path) -> None:
    found = campaign(tmp_path, KILLS)
    assert found.kills == KILLS
    assert found.counted > 0
    assert not {what: times for what, times in found.never.items() if times}
