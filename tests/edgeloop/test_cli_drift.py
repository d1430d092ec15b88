"""What has moved, in words and for a program."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import dagster as dg
import msgspec
import pytest

from assets.delivery import publish_newest, step_rollout
from assets.drift import NOTHING, drift_asset
from assets.learning import train_next
from edgeloop.cli.output import out
from edgeloop.events import lake_schema
from tests.command import end_of
from tests.site import LOOP, START, fill_lake, make_site

DAY = timedelta(days=1)
LOOK = START + 45 * DAY


def test_a_person_reads_what_moved_and_a_program_gets_all_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(out, "width", 200)
    site = make_site(tmp_path)
    (tmp_path / "loop.toml").write_text(LOOP + '[drift]\nwindow = "10d"\n')
    command = ("fleet", "drift", tmp_path / "loop.toml", "--store", site.store.url, "--keys", tmp_path / "keys")
    command = (*command, "--at", f"{LOOK:%F}")
    assert "there is nothing to drift from" in end_of(monkeypatch, capsys, *command)[0]
    assert msgspec.json.decode(end_of(monkeypatch, capsys, *command, "--json")[0]) == {"drift": None, "alarms": []}

    fill_lake(site, 24 * 10)
    site.clock.now = START + 11 * DAY
    train_next(site.centre, site.config)
    publish_newest(site.centre, site.config)
    step_rollout(site.centre, site.config)
    fill_lake(site, 24 * 10, since=LOOK - 10 * DAY)
    moved = site.lake.connect(events=None).sql(
        f"SELECT * REPLACE (CASE WHEN ts >= TIMESTAMPTZ '{LOOK - 6 * DAY}' THEN f_a + 2 ELSE f_a END AS f_a) FROM events"
    )
    site.lake.overwrite("events", moved.to_arrow_table().cast(lake_schema(site.config.schema())))
    shown, said = end_of(monkeypatch, capsys, *command)
    title, _, first, *_ = (line.split() for line in shown.splitlines())
    assert title == ["drift", "from", "r0001,", "2024-02-05", "to", "2024-02-15"]
    assert (first[0], first[-1]) == ("a", "ALARM")
    assert shown.count("ALARM") == 1
    said = " ".join(said.split())
    assert "note a moved (PSI" in said
    assert "since 2024-02-09, its median went from" in said
    assert "All features together were not looked at. 3 devices have events in both periods, 4 are needed" in said
    _, said = end_of(monkeypatch, capsys, *command, "--at", f"{LOOK + 30 * DAY:%F}")
    assert "No event of this time is in the lake" in said
    assert "moved far" not in said
    site.clock.now = LOOK + 30 * DAY
    looked = dg.materialize([drift_asset(site.config)], resources={"centre": site.centre})
    (check,) = looked.get_asset_check_evaluations()
    assert (check.passed, check.description) == (True, NOTHING)
    found = msgspec.json.decode(end_of(monkeypatch, capsys, *command, "--json")[0])
    assert len(found["alarms"]) == 1
    assert next((f["feature"], f["alarm"]) for f in found["drift"]["features"]) == ("a", True)
    assert len(found["drift"]["devices"]) == 3 * 4
