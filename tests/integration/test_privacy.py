"""The loop closes over features that the centre never sees as they are: one dropped, one rounded, one hashed."""

from __future__ import annotations

import random
from datetime import timedelta
from pathlib import Path

import duckdb

from edgeloop.config import Drift, parse_loop
from edgeloop.duration import Duration
from edgeloop.lake import Lake
from edgeloop.store import open_store
from fleet.keys import Keys
from fleet.releases import list_releases
from ingest.drift.measure import measure_drift
from tests.integration.test_loop import backtest
from tests.site import LOOP, START

LOOP = LOOP.replace('numbers = ["a", "b"]', 'numbers = ["temp", "place"]\nhashed = ["badge"]\nmissing = {temp = 20.0}')
LOOP = LOOP.partition("[features.categories]")[0] + LOOP.partition('mode = ["slow", "fast"]')[2]
LOOP += '[privacy]\ndrop = ["place"]\nround = { temp = 0.5 }\n'

DAYS = 12
PEOPLE = [f"badge-of-{name}" for name in ("ada", "ben", "cleo", "dan", "eve", "finn")]


def history(path: Path) -> Path:
    """Whoever works the machine decides how it fares; every tenth temperature is lacking."""
    draw, lines = random.Random(1), ["device,time,temp,place,badge,state"]
    for device in ("d1", "d2"):
        for hour in range(24 * DAYS):
            who = draw.randrange(len(PEOPLE))
            temp = "" if hour % 10 == 0 else f"{draw.uniform(10, 30):.3f}"
            ts = (START + timedelta(hours=hour)).isoformat()
            lines.append(f"{device},{ts},{temp},{draw.uniform(47, 48):.6f},{PEOPLE[who]},{('good', 'bad')[who % 2]}")
    path.write_text("\n".join(lines))
    return path


def test_a_loop_learns_from_what_it_may_see_and_from_nothing_else(tmp_path: Path) -> None:
    loop = tmp_path / "loop.toml"
    loop.write_text(LOOP)
    summary = backtest(loop, history(tmp_path / "history.csv"), tmp_path)
    assert summary["events"]["ingested"] == 2 * 24 * DAYS
    assert summary["accuracy"]["loop"] > 0.9  # pseudonyms tell people apart

    work, store = tmp_path / "work", open_store(tmp_path / "store")
    (key,) = {path.read_bytes() for path in work.glob("devices/*/hash.key")}
    assert len(key) >= 16
    events = f"'{tmp_path}/store/loops/pump/lake/events/**/*.parquet'"
    places, people, odd, imputed = duckdb.sql(
        f"SELECT count(f_place), count(DISTINCT f_badge), count(*) FILTER (WHERE f_temp % 0.5 <> 0 OR f_temp IS NULL),"
        f" count(*) FILTER (WHERE f_temp = 20.0) FROM {events}"
    ).fetchall()[0]
    assert (places, people, odd) == (0, len(PEOPLE), 0)
    assert imputed >= 2 * 24 * DAYS / 10
    written = [path for root in (tmp_path / "store", work / "report", work / "devices") for path in root.rglob("*")]
    assert not [path for path in written if path.is_file() and b"badge-of-" in path.read_bytes()]

    config = parse_loop(LOOP)
    manifest = list_releases(store, Keys(work / "keys"), "pump")[0].manifest
    assert manifest.schema == config.schema()
    assert set(manifest.reference) == {"temp", "badge", "hour"}  # there is nothing to hold a dropped one against
    now = START + timedelta(days=DAYS)
    rule = Drift(window=Duration(days=DAYS))
    found = measure_drift(Lake.of(store, config), manifest, manifest.sha256, rule, now).features
    assert {f.feature: f.psi < 0.25 for f in found if not f.said} == dict.fromkeys(manifest.reference, True)
