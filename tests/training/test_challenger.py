from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from assets.learning import train_next
from edgeloop.config import Gate, parse_loop
from edgeloop.errors import DataError
from edgeloop.manifest import DOCUMENT_LIMIT, ReleaseManifest
from ingest.tables import LABEL_ROWS
from tests.site import LOOP, START, Site, fill_lake, make_site
from training.boosting import DEFAULTS, BoostedTrees, round_thresholds, train
from training.challenger import Champion, train_challenger
from training.evaluation import Metrics
from training.gates import judge
from training.paired import paired_comparison
from training.parity import ParityProof, prove
from training.rows import Pin, pin, read_rows
from training.sets import build_set

GAS = Path(__file__).parents[2] / "examples/gas_turbine/gas_turbine.parquet"
DAY = timedelta(days=1)


def challenge(site: Site, day: float, champion: Champion | None = None, number: int = 1):  # type: ignore[no-untyped-def]
    return train_challenger(
        site.lake, site.config, champion=champion, as_of=START + day * DAY, number=number, code_version="test"
    )


def gas() -> tuple[np.ndarray, np.ndarray]:
    table = duckdb.sql(f"SELECT * FROM '{GAS}' ORDER BY year(time), turbine, time").to_arrow_table()
    X = np.column_stack([table[c].to_numpy() for c in ("at", "ap", "ah", "afdp", "gtep", "tit", "tat", "tey", "cdp")])
    return X.astype(np.float32), (table["nox"].to_numpy() > 65.542).astype(np.int64)


def test_onnx_answers_as_lightgbm_on_all_of_the_gas_turbine() -> None:
    # Its values lie on a coarse grid, so that thresholds rounded to the nearest float32 sent rows the other way.
    X, y = gas()
    trained = train(X[:7000], y[:7000], np.ones(7000, np.float32), ("low", "high"), {}, 7)
    proof = prove(trained, trained.to_onnx(), X, 1e-5)
    assert proof.holds
    assert proof.rows == len(X)


def test_another_process_gives_the_same_bytes() -> None:
    # Whatever order it has its sets in.
    code = (
        "import hashlib, numpy as np; from training.boosting import train;"
        "X = np.arange(400, dtype=np.float32).reshape(-1, 2); y = (X[:, 0] > 99).astype(np.int64);"
        "model = train(X, y, np.ones(200, np.float32), ('a', 'b'), {'trees': 2}, 7).to_onnx();"
        "print(hashlib.sha256(model).hexdigest())"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "20")  # of these the second turned them round
    }
    assert len(found) == 1


def test_a_model_that_answers_otherwise_is_no_proof() -> None:
    X, y = gas()
    one, other = (
        train(X[:3000], y[:3000], np.ones(3000, np.float32), ("low", "high"), {"trees": n}, 7) for n in (10, 11)
    )
    assert prove(one, one.to_onnx(), X[:2000], 1e-5).holds
    assert not prove(one, other.to_onnx(), X[:2000], 1e-5).holds


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=5))
@settings(deadline=None)
def test_a_rounded_threshold_keeps_every_float32_on_its_side(thresholds: list[float]) -> None:
    text = "threshold=" + " ".join(repr(t) for t in thresholds)
    rounded = [float(v) for v in round_thresholds(text).removeprefix("threshold=").split()]
    for before, after in zip(thresholds, rounded, strict=True):
        assert after == np.float32(after)
        near = np.float32(before)
        for x in (near, np.nextafter(near, np.float32(np.inf)), np.nextafter(near, np.float32(-np.inf))):
            assert (float(x) <= before) == (x <= np.float32(after))


def test_a_class_that_no_row_has_keeps_its_place() -> None:
    X = np.random.default_rng(0).normal(size=(400, 3)).astype(np.float32)
    trained = train(X, (X[:, 0] > 0) * 2, np.ones(400, np.float32), ("a", "b", "c"), {"trees": 3}, 7)
    assert isinstance(trained, BoostedTrees)
    assert trained.predict_proba(X).shape == (400, 3)
    assert prove(trained, trained.to_onnx(), X, 1e-5).holds


def test_the_same_rows_give_the_same_release(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    fill_lake(site, 24 * 8)
    one, two = challenge(site, 8), challenge(site, 8)
    assert one.model == two.model
    assert one.manifest.sha256 == two.manifest.sha256
    assert one.verdict.passed
    lineage = one.manifest.lineage
    assert (lineage.events_version, lineage.labels_version) == (1, 1)
    assert lineage.rows + one.metrics.rows == 3 * 24 * 8


def test_no_row_is_seen_before_its_label_is_known_and_the_last_word_counts(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    fill_lake(site, 48, devices=1)
    pinned = pin(site.lake)
    early = read_rows(site.lake, site.config, pinned, START + 1.5 * DAY)
    assert len(early) == 36
    correction = {
        "device": "d0",
        "ts": START,
        "known_at": START + 10 * DAY,
        "source": "lab",
        "ingested_at": START + 10 * DAY,
    }
    was = site.config.label.classes[early.y[0]]
    other = "good" if was == "bad" else "bad"
    table = site.lake.table("labels")
    assert table is not None
    site.lake.append(
        "labels", pa.Table.from_pylist([{**correction, "label": other}], schema=pa.schema(table.schema().to_arrow()))
    )
    for as_of, pinned_now, expected in ((9, pin(site.lake), was), (10, pin(site.lake), other), (10, pinned, was)):
        rows = read_rows(site.lake, site.config, pinned_now, START + as_of * DAY)
        assert site.config.label.classes[rows.y[0]] == expected


def test_a_worse_challenger_is_stopped_and_says_why(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    fill_lake(site, 24 * 6)
    champion = challenge(site, 6)
    fill_lake(site, 24 * 12, wrong=0.95, since=START + 6 * DAY)  # labels go bad, so what is learned is worse …
    fill_lake(site, 24 * 3, since=START + 18 * DAY)  # … and the validation window is good again
    worse = train_challenger(
        site.lake,
        site.config,
        champion=Champion(champion.manifest, champion.model),
        as_of=START + 21 * DAY,
        number=2,
        code_version="test",
    )
    assert not worse.verdict.passed
    assert "neither may lose more than 0.000" in worse.verdict.reason
    paired = paired_comparison(
        site.lake, site.config, champion.model, worse.model, since=START + 18 * DAY, as_of=START + 21 * DAY
    )
    assert paired.rows > 200
    assert paired.difference < 0
    assert paired.low <= paired.difference <= paired.high


def test_every_gate_can_fail_by_itself(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    fill_lake(site, 24 * 8)
    manifest = challenge(site, 8).manifest
    assert manifest.models[0].memory > 0
    large = replace(manifest, models=(replace(manifest.models[0], length=2_000_001),))
    long = replace(manifest, metrics={"x" * DOCUMENT_LIMIT: 1.0})
    good = Metrics(500, 0.8, 0.7, 0.5, {"d1": 0.9, "d2": 0.7})
    proof = ParityProof(500, 1e-7, 0, 1e-5)
    rules = Gate(min_rows=100, min_accuracy=0.5, max_regression=0.01, worst_device=0.05)

    def failed(
        challenger: Metrics = good, parity: ParityProof = proof, manifest: ReleaseManifest = manifest
    ) -> list[str]:
        verdict = judge(manifest, challenger, good, {"d1": 250, "d2": 250}, parity, rules, 2.0, START)
        assert verdict.passed == all(c.passed for c in verdict.checks)
        return [c.name for c in verdict.checks if not c.passed]

    assert failed() == []
    assert failed(parity=ParityProof(500, 1e-3, 0, 1e-5)) == ["parity"]
    assert failed(manifest=large) == failed(manifest=long) == ["size"]
    assert failed(Metrics(50, 0.8, 0.7, 0.5, good.by_device)) == ["enough rows"]
    assert failed(Metrics(500, 0.8, 0.6, 0.5, good.by_device)) == ["no regression"]
    assert failed(Metrics(500, 0.8, 0.7, 0.5, {"d1": 0.8, "d2": 0.9})) == ["worst device"]
    assert failed(Metrics(500, 0.4, 0.7, 0.5, good.by_device)) == ["minimum", "no regression"]


def tell(site: Site, source: str, label: str, known: float, ingested: float, ts: datetime = START) -> None:
    """A label for the event of `d0`, of days `known` and `ingested`."""
    row = {"device": "d0", "ts": ts, "label": label, "known_at": START + known * DAY, "source": source}
    site.lake.append(
        "labels", pa.Table.from_pylist([{**row, "ingested_at": START + ingested * DAY}], schema=LABEL_ROWS)
    )


def test_no_label_is_seen_before_it_was_taken_in_however_long_it_was_known(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    fill_lake(site, 48, devices=1)
    before = pin(site.lake)
    was, *_ = read_rows(site.lake, site.config, before, START + 3 * DAY).y
    other = site.config.label.classes[1 - was]
    tell(site, "lab", other, known=1, ingested=10)
    for pinned, day, seen in ((before, 11, was), (pin(site.lake), 3, was), (pin(site.lake), 11, 1 - was)):
        assert read_rows(site.lake, site.config, pinned, START + day * DAY).y[0] == seen


def test_a_release_is_explained_by_the_precedence_that_it_was_trained_with(tmp_path: Path) -> None:
    loop = LOOP.replace("[label]", '[label]\nsources = ["lab", "t"]')
    site = make_site(tmp_path, loop)
    fill_lake(site, 24 * 8)
    was, *_ = read_rows(site.lake, site.config, pin(site.lake), START + 8 * DAY).y
    other = site.config.label.classes[1 - was]
    tell(site, "lab", other, known=1, ingested=1)
    for weaker in ("t", "guess"):
        tell(site, weaker, site.config.label.classes[was], known=2, ingested=2)
    lineage = challenge(site, 8).manifest.lineage
    assert lineage.label_sources == ("lab", "t")

    today = dataclasses.replace(site, config=parse_loop(loop.replace('"lab", "t"', '"guess"')))
    pinned = Pin(lineage.events_version, lineage.labels_version, lineage.label_sources)
    for how, seen in ((pin(today.lake), was), (pinned, 1 - was)):
        rows = read_rows(today.lake, today.config, how, START + 8 * DAY)
        assert rows.y[0] == seen
        rows = rows.take(rows.ts <= np.datetime64(lineage.trained_until.replace(tzinfo=None)))
        assert (rows.sha256 == lineage.rows_sha256) == (how == pinned)


def test_a_device_has_no_more_weight_than_its_share_of_rows(tmp_path: Path) -> None:
    site = make_site(tmp_path, LOOP.replace("[training]", "[training]\nmax_rows_per_device = 100"))
    fill_lake(site, 24 * 8, devices=1)
    fill_lake(site, 24 * 3, devices=3)
    found = build_set(site.lake, site.config, START + 8 * DAY).train
    devices, rows = np.unique(found.device, return_counts=True)
    assert dict(zip(devices, rows, strict=True)) == {"d0": 100, "d1": 72, "d2": 72}
    assert found.ts[found.device == "d0"].max() > np.datetime64((START + 5 * DAY).replace(tzinfo=None))


def test_too_little_to_learn_from_is_said(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    with pytest.raises(DataError, match="no events yet"):
        challenge(site, 1)
    fill_lake(site, 3, devices=1)
    with pytest.raises(DataError, match=r"class\(es\)|labelled rows"):
        challenge(site, 0.1)


def test_the_lineage_names_everything_that_a_release_was_made_with(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    fill_lake(site, 24 * 8)
    site.clock.now = START + 8 * DAY
    lineage = train_next(site.centre, site.config).manifest.lineage
    assert lineage.parameters == {**DEFAULTS, "trees": 8, "leaves": 7}
    assert lineage.seed == site.config.training.seed
    assert lineage.validated_from
    assert lineage.trained_until < lineage.validated_from
    assert re.fullmatch(r"\d+\.\d+\.\d+\+[0-9a-f]{12}", lineage.code_version)
