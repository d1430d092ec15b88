"""A site without a network: events come and releases go on sticks, by the commands, and a bad stick does no harm."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from edge_runtime.device import Device
from edgeloop.events import LABELS
from edgeloop.layout import RELEASE_METADATA, RELEASE_TARGETS
from edgeloop.stick import open_stick
from ingest.carry import Carried, carry
from ingest.run import ingest
from tests.command import end_of
from tests.ingest.batches import events, seal
from tests.integration.test_trust import predict, release_to_everyone
from tests.integration.test_trust import site as released
from tests.site import LOOP, START, Site, make_site, readings

__all__ = ["released"]

NOW = START + timedelta(hours=2)
Edgeloop = Callable[..., dict[str, Any]]


@pytest.fixture
def stick(tmp_path: Path) -> Path:
    (tmp_path / "stick").mkdir()
    return tmp_path / "stick"


@pytest.fixture
def edgeloop(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Edgeloop:
    """Runs a command; what it prints as JSON, or what it says under `says` where it ends with another code than 0."""

    def run(*arguments: object, code: int = 0) -> dict[str, Any]:
        out, err = end_of(monkeypatch, capsys, *arguments, "--json", code=code)
        found: dict[str, Any] = {**(msgspec.json.decode(out) if out else {}), "says": " ".join(err.split())}
        return found

    return run


def label_file(device: str, label: str) -> bytes:
    sink = pa.BufferOutputStream()
    row = {"device": device, "ts": START, "label": label, "known_at": START}
    pq.write_table(pa.Table.from_pylist([row], schema=LABELS), sink)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def put(directory: Path, path: str, content: bytes) -> Path:
    (directory / path).parent.mkdir(parents=True, exist_ok=True)
    (directory / path).write_bytes(content)
    return directory / path


def carry_and_ingest(site: Site, directory: Path) -> Carried:
    with open_stick(directory) as stick:
        carried = carry(stick, site.store, site.lake, site.config, NOW)
    ingest(site.store, site.lake, site.config, NOW)
    return carried


def test_events_and_labels_come_on_a_stick_and_once(tmp_path: Path, stick: Path, edgeloop: Edgeloop) -> None:
    site = make_site(tmp_path)
    (tmp_path / "loop.toml").write_text(LOOP)
    centre = ("ingest", tmp_path / "loop.toml", "--store", site.store.url)
    with site.open("dev") as device:
        for reading in readings(120):
            device.predict(reading)
        assert "another process runs the device" in edgeloop("device", "export", device.home, stick, code=2)["says"]
    found = edgeloop("device", "export", device.home, stick)
    assert (found["events"], found["waiting"]) == (120, 0)
    assert edgeloop("device", "export", device.home, stick)["events"] == 0
    put(stick, "loops/pump/labels/scada/monday.parquet", label_file("dev", "good"))
    found = edgeloop(*centre, "--from", stick, "--dry-run")
    assert (len(found["carried"]["batches"]), found["ingested"]) == (3, None)
    assert not list(site.store.list("loops"))
    for move, carried in ((), (3, 1, 1, 0)), ((), (0, 0, 0, 5)), (("--move",), (0, 0, 0, 5)), ((), (0, 0, 0, 0)):
        found = edgeloop(*centre, "--from", stick, *move)
        assert tuple(len(found["carried"][k]) for k in ("batches", "labels", "statuses", "known")) == carried
    assert not [path for path in stick.rglob("*") if path.is_file()]
    for table, rows in ("events", 120), ("labels", 1):
        assert site.lake.connect(**{table: None}).execute(f"SELECT count(*) FROM {table}").fetchall() == [(rows,)]
    fleet = edgeloop("fleet", "status", tmp_path / "loop.toml", "--store", site.store.url)
    assert fleet["devices"]["dev"]["acked"] == 120
    assert fleet["clock_slow_seconds"] == {}  # the days that a stick is under way are not its clock's
    assert "Name it with --from" in edgeloop(*centre, "--move", code=2)["says"]


def test_a_hostile_stick_is_left_with_a_reason_for_each_file(tmp_path: Path, stick: Path) -> None:
    site, inbox = make_site(tmp_path), "loops/pump/inbox"
    path, content = seal(site, events(1, 5))
    put(stick, path, content)
    torn_path, torn = seal(site, events(6, 5))
    other = put(tmp_path, "outside/" + torn_path.rpartition("/")[2], torn)
    (stick / inbox / "linked").symlink_to(other.parent)
    (stick / inbox / "d1" / other.name).symlink_to(other)
    digest = sha256(b"").hexdigest()
    with site.open("dev") as device:
        evil = msgspec.structs.replace(device.status(), device="../../d3")
    bad = [
        put(stick, torn_path.replace("/d1/", "/d2/"), torn[:-9]),
        put(stick, f"{inbox}/..d/000001-000000000001-{digest}.parquet".replace("..d", "d..d"), b""),
        put(stick, f"{inbox}/d1/notes.txt", b"x"),
        put(stick, f"{inbox}/d1/" + os.fsdecode(b"\xff.parquet"), b"x"),
        put(stick, "loops/pump/labels/a b/x.parquet", label_file("d1", "good")),
        put(stick, "loops/pump/labels/a/x\x1b.parquet", label_file("d1", "good")),
        put(stick, "loops/pump/status/d1.json", b"{"),
        put(stick, "loops/pump/status/d3.json", evil.encode()),
        put(stick, "loops/pump/status/d2.json", b"x" * 70_000),
    ]
    carried = carry_and_ingest(site, stick)
    assert carried.batches == [path]
    assert (carried.labels, carried.statuses, carried.known) == ([], [], [])
    assert len(carried.refused) == len(bad)
    msgspec.json.encode(carried)
    assert {file.path.split("/")[2] for file in site.store.list("loops")} == {"lake", "plans"}
    assert all(file.exists() for file in bad)


def test_what_the_centre_quarantined_is_not_brought_again(tmp_path: Path, stick: Path) -> None:
    site = make_site(tmp_path)
    for file, content in seal(site, events(1, 5, weight=0.5)), ("loops/pump/labels/a/x.parquet", b"junk"):
        put(stick, file, content)
    assert len(carry_and_ingest(site, stick).batches) == 1
    before = sorted(file.path for file in site.store.list("loops"))
    assert len(carry_and_ingest(site, stick).known) == 2
    assert sorted(file.path for file in site.store.list("loops")) == before


def test_another_file_that_waits_under_its_name_is_kept(tmp_path: Path, stick: Path) -> None:
    site, path = make_site(tmp_path), "loops/pump/labels/a/x.parquet"
    site.store.create(path, label_file("d1", "bad"))
    put(stick, path, label_file("d1", "good"))
    carried = carry_and_ingest(site, stick)
    assert "waits in the store" in carried.refused[path]
    assert carry_and_ingest(site, stick).labels == [path]


def test_only_a_newer_status_is_taken_and_none_of_a_time_to_come(tmp_path: Path, stick: Path) -> None:
    site, path = make_site(tmp_path), "loops/pump/status/dev.json"
    with site.open("dev") as device:
        for hours, taken in (1, True), (0, False), (2, True), (72, False):
            status = msgspec.structs.replace(device.status(), time=START + timedelta(hours=hours))
            put(stick, path, status.encode())
            assert bool(carry_and_ingest(site, stick).statuses) == taken
        put(stick, "loops/pump/status/other.json", status.encode())
    assert "time to come" in carry_and_ingest(site, stick).refused[path]
    assert "another place" in carry_and_ingest(site, stick).refused["loops/pump/status/other.json"]
    assert b"T02:00:00" in site.store.read(path)


def export(site: Site, edgeloop: Edgeloop, stick: Path, *options: str) -> int:
    found = edgeloop("fleet", "export", stick, "--store", site.store.url, *options)
    files: int = found["files"]
    return files


def imported(site: Site, stick: Path) -> tuple[str, str, str]:
    """Poll from a stick as the command does, on the site's clock; then predict: state, reason, the release it runs."""
    home = site.directory / "devices/dev"
    with open_stick(stick) as opened, Device.visit(home, opened, clock=site.clock) as device:
        device.poll()
        status = device.status()
    with site.open("dev") as device:
        assert predict(device, 40) > 30
    return status.update.state, status.update.reason, status.release_id


def test_a_release_goes_on_a_stick(released: Site, stick: Path, edgeloop: Edgeloop) -> None:
    release_to_everyone(released, 9)
    files = export(released, edgeloop, stick, "--dry-run")
    assert not list(stick.iterdir())
    assert export(released, edgeloop, stick) == files > 8
    assert export(released, edgeloop, stick) == 0
    assert imported(released, stick)[::2] == ("probation", "r0002")
    assert imported(released, stick)[::2] == ("up-to-date", "r0002")


def test_old_and_mixed_sticks_are_refused(released: Site, stick: Path, tmp_path: Path, edgeloop: Edgeloop) -> None:
    export(released, edgeloop, stick)
    old = shutil.copytree(stick, tmp_path / "old")
    release_to_everyone(released, 9)
    export(released, edgeloop, stick)
    cut = shutil.copytree(stick, tmp_path / "cut")
    shutil.copy(old / RELEASE_METADATA / "timestamp.json", cut / RELEASE_METADATA)
    # Pulled out before the timestamp was written: the old state, whole.
    assert imported(released, cut)[::2] == ("up-to-date", "r0001")
    mixed = shutil.copytree(stick, tmp_path / "mixed")
    first, *_, last = sorted((mixed / RELEASE_METADATA).glob("*.snapshot.json"))
    shutil.copy(first, last)
    state, reason, running = imported(released, mixed)
    assert (state, running) == ("refused-metadata", "r0001")
    assert "version" in reason
    empty = shutil.copytree(stick, tmp_path / "empty")
    for model in (empty / RELEASE_TARGETS).rglob("*.onnx"):
        model.unlink()
        model.symlink_to("/etc/hostname")
    state, reason, running = imported(released, empty)
    assert (state, running) == ("no-store", "r0001")
    assert "is a link" in reason
    assert imported(released, stick)[2] == "r0002"
    state, reason, running = imported(released, old)
    assert (state, running) == ("refused-metadata", "r0002")
    assert "version" in reason


def test_a_stick_that_is_long_under_way_is_signed_for_that_and_the_store_is_not(
    released: Site, stick: Path, monkeypatch: pytest.MonkeyPatch, edgeloop: Edgeloop
) -> None:
    monkeypatch.setattr("edgeloop.cli.fleet.system_clock", released.clock)
    release_to_everyone(released, 9)
    keys = ("--keys", released.directory / "keys")
    command = ("fleet", "export", stick, "--store", released.store.url, "--good-for")
    found = edgeloop(*command, "30d", *keys)
    assert datetime.fromisoformat(found["expires"]) == released.clock() + timedelta(days=30)
    assert "--keys" in edgeloop(*command, "30d", code=2)["says"]
    assert "180d" in edgeloop(*command, "1000d", *keys, code=2)["says"]
    released.clock.now += timedelta(days=20)
    with released.open("dev") as device:
        device.poll()
        assert device.status().update.state == "refused-metadata"  # the store's own lives three days
    assert imported(released, stick)[::2] == ("probation", "r0002")
    released.clock.now += timedelta(days=20)
    assert imported(released, stick)[0] == "refused-metadata"


def test_the_command_says_why_a_stick_is_refused(released: Site, stick: Path, edgeloop: Edgeloop) -> None:
    home = released.directory / "devices/dev"
    assert edgeloop("device", "import", home, stick, code=4)["update"]["state"] == "no-store"
    export(released, edgeloop, stick)
    found = edgeloop("device", "import", home, stick, code=5)  # by this machine's clock it has long expired
    assert found["update"]["state"] == "refused-metadata"
    assert "expired" in found["update"]["reason"]
    assert found["release_id"] == "r0001"


def test_imports_that_are_killed_blame_no_release_on_probation(released: Site, stick: Path, edgeloop: Edgeloop) -> None:
    export(released, edgeloop, stick)
    release_to_everyone(released, 9)
    with released.open("dev") as device:
        device.poll()
        assert device.status().on_probation
    for _ in range(5):  # more than the crash limit
        with pytest.raises(ZeroDivisionError), open_stick(stick) as opened:  # noqa: SIM117
            with Device.visit(device.home, opened, clock=released.clock):
                raise ZeroDivisionError
    with released.open("dev") as device:
        assert device.status().on_probation
