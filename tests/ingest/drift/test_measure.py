from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

from edgeloop.config import Drift
from edgeloop.duration import Duration
from edgeloop.events import lake_schema
from edgeloop.manifest import Reference
from ingest.drift.alarms import alarms_of
from ingest.drift.measure import DriftReport, FeatureDrift, measure_drift
from tests.ingest.drifting import SHA, trained
from tests.site import START, Site, fill_lake, make_site
from training.reference import make_reference, make_said
from training.rows import BEGINNING, pin, read_rows

DAY = timedelta(days=1)
TRAINED = START + 8 * DAY


def reference_of(site: Site) -> dict[str, Reference]:
    rows = read_rows(site.lake, site.config, pin(site.lake), TRAINED + DAY, since=BEGINNING)
    return make_reference(rows.X, site.config.schema())


def look(site: Site, reference: dict[str, Reference], now: datetime, days: int = 15, **said: Reference) -> DriftReport:
    rule = Drift(window=Duration(days=days))
    return measure_drift(site.lake, trained(site, reference, said=said), SHA, rule, now)


def by_feature(report: DriftReport) -> dict[str, FeatureDrift]:
    return {f.feature: f for f in report.features}


def change(site: Site, what: str) -> None:
    """The events again, with `SELECT * REPLACE (…)`."""
    changed = site.lake.connect(events=None).sql(f"SELECT * REPLACE ({what}) FROM events").to_arrow_table()
    site.lake.overwrite("events", changed.cast(lake_schema(site.config.schema())))


def test_rows_against_their_own_reference_do_not_drift_and_shifted_ones_do(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    fill_lake(site, 24 * 8)
    reference = reference_of(site)
    same = look(site, reference, TRAINED, 8)
    assert {f.feature for f in same.features} == {"a", "b", "hour", "mode"}
    assert max(f.psi for f in same.features) < 1e-6
    assert max(f.ks for f in same.features) < 1e-4
    assert (same.alarms, alarms_of(same)) == ((), [])
    moved = Reference(tuple(e + 1.0 for e in reference["a"].edges), reference["a"].shares, 0.0)
    (shifted,) = look(site, {"a": moved}, TRAINED, 8).features
    assert shifted.psi > 0.25
    assert shifted.alarm
    assert shifted.ks > 0.3
    assert look(site, reference, START - DAY).features == ()


def test_a_manifest_of_before_with_ten_bins_is_measured_as_well(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    fill_lake(site, 24 * 8)
    edges = tuple(float(e) for e in np.linspace(-1.2, 1.2, 9))
    (found,) = look(site, {"a": Reference(edges, (0.1,) * 10, 0.0)}, TRAINED, 8).features
    assert (found.alarm, found.events) == (False, 3 * 24 * 8)
    assert found.psi < 0.1


def test_a_sensor_that_died_is_a_shift_with_its_day(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    fill_lake(site, 24 * 8)
    reference = reference_of(site)
    fill_lake(site, 24 * 15, since=START + 30 * DAY)
    change(site, f"CASE WHEN ts >= TIMESTAMPTZ '{START + 40 * DAY}' THEN NULL ELSE f_a END AS f_a")
    report = look(site, reference, START + 45 * DAY)
    found = by_feature(report)
    assert found["a"].alarm
    assert (round(found["a"].missing, 3), found["a"].missing_before) == (0.333, 0.0)
    assert found["a"].missing_p < 0.01
    assert found["a"].since == START + 40 * DAY
    assert not found["b"].alarm
    (said,) = alarms_of(report)[:1]
    assert said == f"a moved (PSI {found['a'].psi:.2f}) since 2024-02-10, 33% of its values are missing, 0% were."


def test_too_few_events_are_no_alarm_however_far_they_are(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    fill_lake(site, 24 * 8)
    reference = reference_of(site)
    fill_lake(site, 3, devices=1, since=START + 30 * DAY)
    change(site, f"CASE WHEN ts >= TIMESTAMPTZ '{START + 30 * DAY}' THEN 9.0 ELSE f_a END AS f_a")
    found = by_feature(look(site, reference, START + 31 * DAY))
    assert found["a"].psi > 2
    assert not found["a"].alarm


def test_one_device_that_moves_is_told_from_a_fleet_that_moves(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    fill_lake(site, 24 * 8, devices=6)
    reference = reference_of(site)
    fill_lake(site, 24 * 15, devices=6, since=START + 30 * DAY)
    fill_lake(site, 24 * 15, devices=7, since=START + 30 * DAY)  # d6 is new
    later = f"ts >= TIMESTAMPTZ '{START + 30 * DAY}'"
    change(site, f"CASE WHEN {later} THEN f_a + 2 ELSE f_a END AS f_a")
    change(site, f"CASE WHEN {later} AND device = 'd2' THEN f_b + 2 ELSE f_b END AS f_b")
    report = look(site, reference, START + 45 * DAY)
    assert by_feature(report)["a"].alarm
    assert [(d.device, d.feature) for d in report.devices if d.alarm] == [("d2", "b")]
    assert report.new == ("d6",)
    assert len(report.devices) == 6 * 4
    assert any(s.startswith("b of d2 moved unlike that of its peers") for s in alarms_of(report))


def test_two_features_that_no_longer_go_together_are_seen_by_both_alone(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    fill_lake(site, 24 * 8, devices=8)
    fill_lake(site, 24 * 15, devices=8, since=START + 30 * DAY)
    later = f"ts >= TIMESTAMPTZ '{START + 30 * DAY}'"
    change(site, f"f_a + CASE WHEN {later} THEN -f_b ELSE f_b END AS f_a")  # a went with b, now it goes against it
    rows = read_rows(site.lake, site.config, pin(site.lake), TRAINED + DAY, since=BEGINNING)
    report = look(site, make_reference(rows.X, site.config.schema()), START + 45 * DAY)
    assert report.joint.auc is not None
    assert report.joint.devices == 8
    assert report.joint.alarm, report.joint
    assert not any(f.alarm for f in report.features), report.features
    assert "a classifier tells them apart" in alarms_of(report)[-1]


def test_what_the_release_says_is_held_against_its_validation(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    fill_lake(site, 24 * 15)
    draw = np.random.default_rng(0)
    sure = draw.uniform(0.6, 1.0, 1000)
    classes = draw.random(1000) < 0.5
    said = make_said(np.where(classes[:, None], np.c_[sure, 1 - sure], np.c_[1 - sure, sure]).astype(np.float32))
    assert said["prediction"].shares == (0.534, 0.466)

    def tell(release: str, prediction: str, confidence: str) -> dict[str, FeatureDrift]:
        change(site, f"'{release}' AS release, {prediction} AS prediction, {confidence}::FLOAT AS confidence")
        return by_feature(look(site, {}, START + 15 * DAY, **said))

    alike = "CASE WHEN hash(device, seq) % 2 = 0 THEN 'good' ELSE 'bad' END"
    spread = "0.6 + 0.4 * (hash(seq, device) % 1000) / 1000"
    found = tell(SHA, alike, spread)
    assert {name: f.alarm for name, f in found.items()} == {"prediction": False, "confidence": False}
    assert found["prediction"].said
    found = tell(SHA, "'bad'", "0.55")
    assert {name: f.alarm for name, f in found.items()} == {"prediction": True, "confidence": True}
    assert tell("b" * 64, "'bad'", "0.55") == {}, "another release said it"


def test_weights_of_events_count_and_their_size_is_doubt(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    fill_lake(site, 24 * 8)
    reference = reference_of(site)
    change(site, "3.0::FLOAT AS weight")
    assert by_feature(look(site, reference, TRAINED, 8))["a"].events == 3 * 3 * 24 * 8


def test_events_of_another_schema_have_what_is_there(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    fill_lake(site, 24)
    rows = site.lake.connect(events=None).sql("SELECT * EXCLUDE f_b FROM events").to_arrow_table()
    schema = pa.schema([field for field in lake_schema(site.config.schema()) if field.name != "f_b"])
    other = make_site(tmp_path / "other")
    other.lake.append("events", rows.cast(schema), ["month"])
    reference = {name: Reference((0.0,), (0.5, 0.5), 0.0) for name in ("a", "b")}
    assert {f.feature for f in look(other, reference, START + DAY, 1).features} == {"a"}
