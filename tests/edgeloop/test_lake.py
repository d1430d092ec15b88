from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from threading import Thread

import pyarrow as pa
import pytest

from edgeloop.errors import StoreError
from edgeloop.lake import Lake
from edgeloop.layout import Layout
from edgeloop.store import open_store


def test_a_store_that_is_away_is_an_error_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
    with pytest.raises(StoreError, match="table events could not be read"):
        Lake(open_store("s3://edgeloop"), Layout("pump")).version("events")


def test_a_long_query_draws_nothing_on_stdout() -> None:
    # `python -c` is what DuckDB takes for a notebook.
    asked = "SELECT current_setting('enable_progress_bar')"
    code = f"from edgeloop.lake import open_duckdb; print(open_duckdb().execute({asked!r}).fetchone()[0])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_a_table_that_two_make_at_once_is_there_for_both(tmp_path: Path) -> None:
    """deltalake says of the one that came second that it failed."""
    schema = pa.schema([("n", pa.int64())])
    versions = list[int]()

    def make(lake: Lake, name: str) -> None:
        versions.append(lake.ensure(name, schema).version())

    for attempt in range(10):
        lake = Lake(open_store(tmp_path), Layout("pump"))
        crew = [Thread(target=make, args=(lake, f"table{attempt}")) for _ in range(6)]
        for one in crew:
            one.start()
        for one in crew:
            one.join()
    assert len(versions) == 60
