from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from edgeloop.events import lake_schema
from edgeloop.manifest import Reference
from ingest.drift import drift, stability_index
from tests.site import START, fill_lake, make_site
from training.reference import make_reference
from training.rows import BEGINNING, pin, read_rows

DAY = timedelta(days=1)


def test_the_index_is_zero_for_the_same_and_known_for_a_shift() -> None:
    assert stability_index([0.25] * 4, [0.25] * 4) == 0
    # (0.7 - 0.5) ln(0.7 / 0.5) + (0.3 - 0.5) ln(0.3 / 0.5), by hand
    assert stability_index([0.5, 0.5], [0.7, 0.3]) == pytest.approx(0.2 * np.log(1.4) - 0.2 * np.log(0.6))
    assert np.isfinite(stability_index([1.0, 0.0], [0.0, 1.0]))


def test_rows_against_their_own_reference_do_not_drift_and_shifted_ones_do(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    fill_lake(site, 24 * 8)
    rows = read_rows(site.lake, site.config, pin(site.lake), START + 9 * DAY, since=BEGINNING)
    reference = make_reference(rows.X, site.config.schema())
    same = {
        r["feature"]: r["psi"]
        for r in drift(site.lake, site.config.schema(), reference, START + 9 * DAY, 30 * DAY).to_pylist()
    }
    assert max(same.values()) < 1e-9
    moved = Reference(tuple(e + 1.0 for e in reference["a"].edges), reference["a"].shares, 0.0)
    shifted = drift(site.lake, site.config.schema(), {"a": moved}, START + 9 * DAY, 30 * DAY).to_pylist()
    assert shifted[0]["psi"] > 0.25
    assert drift(site.lake, site.config.schema(), reference, START - DAY, DAY).to_pylist()[0]["psi"] is None


def test_a_sensor_that_died_is_a_shift(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    fill_lake(site, 24 * 8)
    rows = read_rows(site.lake, site.config, pin(site.lake), START + 9 * DAY, since=BEGINNING)
    reference = make_reference(rows.X, site.config.schema())
    fill_lake(site, 24 * 8, since=START + 30 * DAY)
    dead = site.lake.connect(events=None).sql("SELECT * REPLACE (NULL::FLOAT AS f_a) FROM events").to_arrow_table()
    site.lake.overwrite("events", dead.cast(lake_schema(site.config.schema())))
    found = drift(site.lake, site.config.schema(), reference, START + 40 * DAY, 15 * DAY).to_pylist()
    by_name = {row["feature"]: row for row in found}
    assert by_name["a"]["psi"] > 5
    assert by_name["a"]["missing"] == 1.0
    assert by_name["b"]["psi"] < 0.01
