"""Readings: those that are none are skipped or said to be, and the others go on."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from edge_runtime.readings import parse_reading, read_file, read_lines
from edgeloop.errors import ConfigError, DataError


@pytest.mark.parametrize("payload", [b"", b"\xff", b"[" * 10**6, b"null", b'{"ts": 3}'])
def test_a_payload_that_is_no_reading_is_said_so(payload: bytes) -> None:
    with pytest.raises(DataError, match="no reading"):
        parse_reading(payload)


def test_lines_that_are_no_readings_are_skipped() -> None:
    bad: list[str] = []
    lines = '{"a": 1, "ts": "2024-01-01T00:00:00"}\nnot json\n[1]\n{"ts": "yesterday"}\n\n{"a": 2}\n'
    found = list(read_lines(io.StringIO(lines), bad.append))
    assert [reading for _, reading in found] == [{"a": 1}, {"a": 2}]
    assert found[0][0] is not None
    assert len(bad) == 3


def test_a_file_of_readings_that_cannot_be_read_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("ts,a\n2024-01-01T00:00:00Z,1\nyesterday,2\n")
    with pytest.raises(DataError, match=r"row 2 .* 'yesterday', which is no time"):
        list(read_file(tmp_path / "x.csv"))
    (tmp_path / "y.csv").write_text("time,a\n1,2\n")
    with pytest.raises(ConfigError, match="no column 'ts'"):
        list(read_file(tmp_path / "y.csv"))
    with pytest.raises(DataError, match="cannot be read"):
        list(read_file(tmp_path / "none.parquet"))


def test_a_device_without_arrow_says_what_a_file_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError, match="need pyarrow") as caught:
        list(read_file(tmp_path / "x.csv"))
    assert "edgeloop[replay]" in caught.value.remedy
