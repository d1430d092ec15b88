"""What must not leave a device is in none of its files, nor in anything that it put into the store."""

from __future__ import annotations

import io
import sqlite3
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from edge_runtime.device import Device
from edgeloop.errors import StoreError
from tests.site import HASH_KEY, LOOP, BentStore, Site, link_down, make_site

PRIVATE = LOOP.replace('numbers = ["a", "b"]', 'numbers = ["a", "b", "place"]\nhashed = ["badge"]') + (
    '\n[privacy]\ndrop = ["place", "mode"]\nround = { b = 0.5 }\n'
)
BADGE, NUMBER, PLACE, ROUGH, SHOWN = "Σ-4711-Müller", 80316.4711, 47.128345, 3.14159265, 2.718281828


@pytest.fixture(params=["group", "event"])
def site(tmp_path: Path, request: pytest.FixtureRequest) -> Site:
    return make_site(tmp_path, PRIVATE.replace("[device]", f'[device]\ndurability = "{request.param}"'))


def feed(device: Device) -> None:
    """Readings by name, in a row and in a batch, that all hold what is private."""
    reading = {"a": SHOWN, "b": ROUGH, "place": PLACE, "mode": "fast", "badge": BADGE}
    row = np.array([SHOWN, ROUGH, PLACE, 1.0, NUMBER, 0.0])
    for values in (reading, row):
        device.predict(values)
        device.predict_many([values, values])
    device.flush()


def contents(folder: Path) -> Iterator[bytes]:
    """All that can be read from the files under a folder, unpacked: what is compressed hides nothing."""
    for file in folder.rglob("*"):
        if not file.is_file() or file.name == "hash.key":
            continue
        yield file.read_bytes()
        if file.name == "state.sqlite":
            with sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True) as connection:
                groups = connection.execute("SELECT content FROM groups").fetchall()
                batches = connection.execute("SELECT content FROM batches").fetchall()
            connection.close()
            yield from (zlib.decompress(group) for (group,) in groups)
            yield from (found for (batch,) in batches for found in unpacked(batch))
        if file.suffix == ".parquet":
            yield from unpacked(file.read_bytes())


def unpacked(batch: bytes) -> Iterator[bytes]:
    for column in pq.read_table(io.BytesIO(batch)).columns:
        for value in column.to_pylist():
            yield spellings(value)[-1] if isinstance(value, float) else str(value).encode()


def spellings(value: float | str) -> list[bytes]:
    """As it may be written: text, and as float64 and float32 in either order of bytes."""
    if isinstance(value, str):
        return [value.encode(), value.encode("utf-16-le"), value.encode("unicode_escape")]
    return [repr(value).encode(), *(struct.pack(form, value) for form in ("<d", ">d", ">f", "<f"))]


def found(folder: Path, value: float | str) -> bool:
    return any(spelling in content for content in contents(folder) for spelling in spellings(value))


def test_no_file_of_a_device_holds_what_it_keeps_to_itself(site: Site) -> None:
    home, store = site.home("dev"), site.directory / "store"

    def told() -> list[bool]:
        assert not any(found(place, secret) for place in (home, store) for secret in (BADGE, NUMBER, PLACE, ROUGH))
        assert not any(HASH_KEY in content for place in (home, store) for content in contents(place))
        return [found(home, SHOWN), found(store, SHOWN)]

    with Device.open(home, clock=site.clock, store=BentStore(site.store, before=link_down)) as device:
        feed(device)
        assert told() == [True, False]  # in groups
        with pytest.raises(StoreError):
            device.ship()
        assert told() == [True, False]  # sealed
    with site.open("dev") as device:
        assert device.exchange()
    assert told()[1]


def test_a_batch_has_pseudonyms_multiples_and_nothing_of_what_is_dropped(site: Site) -> None:
    for name in ("one", "other"):
        with site.open(name) as device:
            feed(device)
            device.ship()
    tables = [pq.read_table(path) for path in sorted((site.directory / "store/loops/pump/inbox").rglob("*.parquet"))]
    one, other = (table.to_pydict() for table in tables)
    assert one["f_place"] == one["f_mode"] == [None] * 6
    assert one["f_b"] == [3.0] * 6
    assert one["f_badge"] == other["f_badge"]
    assert len(set(one["f_badge"])) == 2
    assert all(value == int(value) for value in one["f_badge"])
