"""The questions of docs/lake.md, each as it stands there, on what a small loop left; and its tables by the code of others alone."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from deltalake import DeltaTable

from assets.trainings import newest_training, read_training
from edgeloop.lake import Lake
from edgeloop.layout import Layout
from edgeloop.store import Store, open_store
from ingest.derived.completeness import completeness
from tests.command import end_of
from tests.site import LOOP

TEXT = (Path(__file__).parents[2] / "docs/lake.md").read_text()
PARTS = TEXT.partition("## Questions")[2].split("```sql\n")
QUESTIONS = {
    before.partition("?")[0].rpartition("\n")[2]: after.partition("```")[0] for before, after in pairwise(PARTS)
}
LAYOUT = Layout("pump")
TABLES = ("batches", "decisions", "device_hourly", "events", "feature_hourly", "labels", "release_hourly", "sketches")
Ask = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a backtest left of three weeks of three devices: one sent a damaged batch, and not everything has a label. Its lake has had
    its upkeep."""
    directory = tmp_path_factory.mktemp("loop")
    start = datetime(2024, 1, 1, tzinfo=UTC)
    rows = [
        f"d{d},{start + timedelta(hours=i):%Y-%m-%d %H:%M},{a},{b},slow,{'' if i % 9 == d == 2 else 'bad' if a + b > 0 else 'good'}"
        for d in range(3)
        for i in range(24 * 20)
        for a, b in [((i * 7 + d) % 11 - 5, (i * 3 + d) % 7 - 3)]
    ]
    table, loop, work = (directory / name for name in ("table.csv", "loop.toml", "work"))
    table.write_text("\n".join(["device,time,a,b,mode,state", *rows]))
    loop.write_text(LOOP + '[backtest.faults]\ncorrupt = ["d1@12d"]\n')
    run("backtest", loop, table, "--workdir", work)
    done = run("upkeep", loop, "--store", work / "store", "--keys", work / "keys")["tables"]
    assert {tended["table"] for tended in done if tended["joined"] > tended["into"]} >= {"events", "labels", "batches"}
    return work


def run(*command: object) -> dict[str, Any]:
    main = [sys.executable, "-c", "from edgeloop.cli import main; main()"]
    found = subprocess.run([*main, *map(str, command), "--json"], check=True, capture_output=True).stdout
    return dict(json.loads(found))


@pytest.fixture
def store(work: Path) -> Store:
    return open_store(work / "store")


@pytest.fixture
def ask(work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ask:
    def asked(query: str, *arguments: str) -> list[dict[str, Any]]:
        command = ("sql", work / "loop.toml", "--store", work / "store", "--json", *arguments, "-c", query)
        found = json.loads(end_of(monkeypatch, capsys, *command)[0])
        return [dict(zip(found["columns"], row, strict=True)) for row in found["rows"]]

    return asked


def about(words: str) -> str:
    (query,) = (query for question, query in QUESTIONS.items() if words in question)
    return query


def test_every_question_is_asked() -> None:
    assert len(QUESTIONS) == TEXT.count("```sql\n") == 13


@pytest.mark.parametrize("question", [question for question in QUESTIONS if "trained on" not in question])
def test_a_question_has_an_answer(ask: Ask, question: str) -> None:
    assert ask(QUESTIONS[question])


def test_what_a_release_was_trained_on_is_what_it_says(ask: Ask, store: Store) -> None:
    number = newest_training(store, LAYOUT)
    assert number
    manifest = read_training(store, LAYOUT, number).manifest
    lineage = manifest.lineage
    times = {"created": manifest.created, "trained_from": lineage.trained_from, "trained_until": lineage.trained_until}
    given = "".join(f"SET VARIABLE {name} = TIMESTAMPTZ '{at}';\n" for name, at in times.items())
    pinned = ("--at", f"events={lineage.events_version}", "--at", f"labels={lineage.labels_version}")
    found = ask(given + about("trained on"), *pinned)
    assert sum(row["rows"] for row in found) == lineage.rows
    assert {row["devices"] for row in found} == {lineage.devices}


def test_answers_agree_with_each_other_and_with_the_books(ask: Ask, store: Store) -> None:
    books = completeness(store, Lake(store, LAYOUT), LAYOUT).to_pylist()
    found = ask(about("Is everything here"))
    assert sum(row["missing"] for row in found) == sum(row["missing"] for row in books) == 48  # of the damaged batch
    assert {(row["device"], row["ingested"]) for row in found} == {(row["device"], row["ingested"]) for row in books}
    assert [row["device"] for row in ask(about("refused"))] == ["d1"]
    events, labelled = (
        sum(row[name] for row in ask(about("How good is each device"))) for name in ("events", "labelled")
    )
    assert events == sum(row["ingested"] for row in books)
    assert events - labelled == sum(row["waiting"] for row in ask(about("no label yet")))
    assert labelled == sum(row["events"] for row in ask(about("taken for what")))


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_read_by_code_that_is_not_ours(ask: Ask, work: Path, name: str) -> None:
    path = work / "store/loops/pump/lake" / name
    connection = duckdb.connect(":memory:")
    connection.register("found", DeltaTable(path).to_pyarrow_dataset())
    ((by_duckdb,),) = connection.execute("SELECT count(*) FROM found").fetchall()
    by_polars = pl.scan_delta(str(path)).select(pl.len()).collect().item()
    ((by_us,),) = (row.values() for row in ask(f"SELECT count(*) FROM {name}"))
    assert by_duckdb == by_polars == by_us
    assert by_us or name == "sketches"
