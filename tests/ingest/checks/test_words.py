"""What devices of every version have sealed is read as ever: `sealed/` has files as the code of each version made them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edgeloop.config import parse_loop
from edgeloop.errors import DataError
from edgeloop.schema import EVENT_SCHEMA
from edgeloop.sketches import AGGREGATES
from ingest.checks.check import check_batch, read_aggregates, read_batch
from ingest.checks.words import UPGRADES, upgrade
from ingest.derived.sketches import quantiles
from ingest.plan import AcceptedBatch

SEALED = Path(__file__).parent / "sealed"
CONFIG = parse_loop((SEALED / "loop.toml").read_text())
START = datetime(2024, 1, 1, tzinfo=UTC)
FOLDERS = sorted(folder.name for folder in SEALED.iterdir() if folder.is_dir())


def taken(folder: str) -> tuple[AcceptedBatch, bytes]:
    (file,) = (SEALED / folder).iterdir()
    content = file.read_bytes()
    return check_batch(f"{CONFIG.layout.inbox}/d1/{file.name}", content, CONFIG, START + timedelta(days=1)), content


def event(n: int) -> dict[str, object]:
    """The nth event of every file."""
    seen = n > 3
    return {
        "seq": n if n < 20 else n + 100,
        "ts": START + timedelta(minutes=n, microseconds=n),
        "release": "ab" * 32 if seen else None,
        "prediction": ("good", "bad")[n % 2] if seen else None,
        "confidence": pytest.approx(0.5 + n / 100) if seen else None,
        "latency_us": 3.5 + n if seen else None,
        "weight": 1.0 if n % 5 else 4.0,
        "f_a": n / 8,
        "f_b": None if n % 3 == 0 else -1.5 * n,
        "f_mode": float(n % 2),
        "f_hour": 0.0,
    }


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_batch_of_any_version_says_what_it_said(folder: str) -> None:
    batch, content = taken(folder)
    assert (batch.device, batch.epoch, batch.rows, batch.shed) == ("d1", 7, 30, 100)
    assert (batch.first_seq, batch.last_seq, batch.sealed_at) == (1, 130, START + timedelta(hours=1))
    if batch.kind == AGGREGATES:
        rows = {(r["measure"], r["value"], r["release"]): r for r in read_aggregates(content).to_pylist()}
        assert sum(row["events"] for (measure, *_), row in rows.items() if measure == "event") == 30
        assert rows["prediction", "bad", "ab" * 32]["events"] == 13
        assert rows["f_a", None, "ab" * 32]["weight"] == 27 + 6 * 3
        assert quantiles(rows["f_a", None, "ab" * 32]["sketch"], [0, 1]) == [4 / 8, 30 / 8]
    else:
        assert read_batch(content, CONFIG).to_pylist() == [event(n) for n in range(1, 31)]


def test_no_version_is_without_a_file_of_its_own_and_a_way_to_this_one() -> None:
    versions = set(range(1, EVENT_SCHEMA + 1))
    assert set(UPGRADES) == versions - {EVENT_SCHEMA}
    assert {int(folder.split("-")[0]) for folder in FOLDERS} == versions


def test_of_version_1_every_word_has_a_prefix_and_of_the_next_none() -> None:
    assert upgrade({"edgeloop.schema": "1", "edgeloop.loop": "pump"}) == {"edgeloop.schema": "1", "loop": "pump"}
    said = {"edgeloop.schema": "2", "loop": "pump", "edgeloop.loop": "other"}
    assert upgrade(said) == said


@pytest.mark.parametrize(
    ("said", "word"), [("0", "never was"), (str(EVENT_SCHEMA + 1), "Upgrade the centre"), ("", "no")]
)
def test_a_version_that_is_none_is_refused(said: str, word: str) -> None:
    with pytest.raises(DataError, match=word):
        upgrade({"edgeloop.schema": said})
