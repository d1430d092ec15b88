from __future__ import annotations

import random
import threading
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import starmap
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import edge_runtime.groups
from edge_runtime.groups import Event, unpack
from edge_runtime.sealing import seal_batch
from edge_runtime.settings import DeviceSettings
from edge_runtime.spool import Spool
from edgeloop.config import DeviceSection
from edgeloop.errors import DataError
from edgeloop.schema import Feature, FeatureSchema
from tests.site import START

SCHEMA = FeatureSchema((Feature("a"),))
SETTINGS = DeviceSettings(1, "pump", "d", "memory://", SCHEMA, DeviceSection())


def open_spool(directory: Path, **section: object) -> Spool:
    return Spool(directory / "state.sqlite", DeviceSection(**{"flush_events": 7, "batch_events": 10, **section}), START)  # type: ignore[arg-type]


def record(spool: Spool, count: int) -> list[int]:
    return [spool.record(spool.produced * 1000 + i, "r", "good", 0.9, 1.0, [float(i)]) for i in range(count)]


@given(st.lists(st.sampled_from(["record", "flush", "ship", "reopen", "crash"]), max_size=30))
@settings(max_examples=60, deadline=None)
def test_numbers_have_no_gap_and_no_event_ships_twice(steps: list[str]) -> None:
    with TemporaryDirectory() as name:
        directory, shipped = Path(name), []
        spool = open_spool(directory)
        for step in steps:
            if step == "record":
                before = spool.produced + spool.buffered
                assert record(spool, 5) == list(range(before + 1, before + 6))
            elif step == "flush":
                spool.flush()
            elif step == "ship":
                spool.flush()
                shipped += ship_all(spool)
            elif step == "reopen":
                spool.close()
                spool = open_spool(directory)
            else:  # a crash: what is in memory is gone, the file is as it is
                spool._state.close()
                spool = open_spool(directory)
        spool.flush()
        shipped += ship_all(spool)
        assert shipped == list(range(1, spool.produced + 1))
        assert spool.acked == spool.produced
        assert spool.spooled == 0
        spool.close()


def test_one_thread_records_while_another_ships(tmp_path: Path) -> None:
    spool, shipped, done = open_spool(tmp_path), list[int](), threading.Event()

    def ship_until_done() -> None:
        while not done.is_set():
            spool.flush()
            shipped.extend(ship_all(spool))
            produced, acked, shed = spool.books
            assert 0 <= acked <= produced
            assert shed == 0

    with ThreadPoolExecutor(1) as other:
        working = other.submit(ship_until_done)
        numbers = [number for _ in range(40) for number in record(spool, 100)]
        done.set()
        working.result()
    spool.flush()
    shipped += ship_all(spool)
    assert shipped == numbers == list(range(1, 4001))
    spool.close()


def ship_all(spool: Spool) -> list[int]:
    """Seal and acknowledge everything, the oldest first; the sequence numbers, read back from the batches."""
    found: list[int] = []
    while events := spool.oldest(10):
        found += ship_batch(spool, events)
    return found


def ship_batch(spool: Spool, events: list[Event]) -> list[int]:
    batch = seal_batch(events, SETTINGS, spool.epoch, spool.shed, START)
    assert batch.content == seal_batch(events, SETTINGS, spool.epoch, spool.shed, START).content
    assert spool.seal(batch, events)
    waiting = spool.waiting()
    assert waiting == batch
    spool.acknowledge(waiting)
    found: list[int] = pq.read_table(pa.BufferReader(waiting.content))["seq"].to_pylist()
    return found


@given(st.lists(st.sampled_from(["record", "newest", "oldest", "crash"]), max_size=40), st.sampled_from([0.001, 50.0]))
@settings(max_examples=80, deadline=None)
def test_batches_of_the_newest_and_the_oldest_never_overlap(steps: list[str], spool_mb: float) -> None:
    with TemporaryDirectory() as name:
        directory, batches = Path(name), list[list[int]]()
        spool = open_spool(directory, spool_mb=spool_mb)
        for step in [*steps, *["newest", "oldest"] * 1000]:
            if step == "record":
                record(spool, 25)
                spool.flush()
            elif step == "crash":
                spool._state.close()
                spool = open_spool(directory, spool_mb=spool_mb)
            elif events := spool.newest(10) if step == "newest" else spool.oldest(10):
                batches.append(ship_batch(spool, events))
                assert spool._bytes == spool._stored_bytes()
            elif step == "oldest" and not spool.newest(1):
                break
        spool.flush()
        numbers = [number for batch in sorted(batches) for number in batch]
        assert numbers == sorted(set(numbers))  # each rises, and begins behind the end of the one before
        assert len(numbers) == spool.acked == spool.produced - spool.shed
        assert spool.shed == 0 or spool_mb < 1
        spool.close()


def test_a_batch_of_which_events_were_shed_meanwhile_is_not_sealed(tmp_path: Path) -> None:
    spool = open_spool(tmp_path, spool_mb=0.004)
    record(spool, 200)
    spool.flush()
    for pick in (spool.oldest, spool.newest):
        events = pick(70)
        batch = seal_batch(events, SETTINGS, spool.epoch, spool.shed, START)
        spool._section = DeviceSection(spool_mb=0.001)
        while {event.seq for event in events} <= {event.seq for event in spool.oldest(1000)}:
            record(spool, 7)
        spool._section, before = DeviceSection(), spool.oldest(1000)
        assert not spool.seal(batch, events)
        assert spool.oldest(1000) == before
        assert spool.waiting() is None
    numbers = ship_all(spool)
    assert len(numbers) + spool.shed == spool.produced
    assert spool.spooled == 0
    spool.close()


def test_over_the_budget_a_sample_stays_whose_weights_add_up(tmp_path: Path) -> None:
    spool = open_spool(tmp_path, spool_mb=0.05, flush_events=500)
    record(spool, 60_000)
    spool.flush()
    kept = spool.oldest(10**9)
    assert 0 < spool.shed == 60_000 - len(kept)
    assert spool._bytes <= 50_000
    weights = [event.weight for event in kept]
    # A pair loses nothing of its weight; what is left without a partner at a thinning may, and there are few of those.
    assert sum(weights) == pytest.approx(60_000, abs=8 * max(weights))
    # The beginning of the outage is there as much as its end: no weight is far over that of an even sample.
    assert max(weights) <= 4 * 60_000 / len(kept)
    assert [event.seq for event in kept] == sorted(event.seq for event in kept)
    assert spool.produced == spool.spooled + spool.shed
    spool.close()
    assert open_spool(tmp_path).shed == spool.shed


@pytest.mark.parametrize("together", [1, 2, 5])
def test_small_groups_are_joined_before_an_event_is_shed(tmp_path: Path, together: int) -> None:
    spool = open_spool(tmp_path, spool_mb=0.05, flush_events=500)
    for number in range(3000 // together):
        record(spool, together)
        spool.flush()
        if number % 100 == 99:  # what is between two batches is joined as well
            ship_batch(spool, spool.newest(10))
    groups = list(starmap(unpack, spool._state.rows("SELECT first_seq, content FROM groups ORDER BY first_seq")))
    kept = [event for group in groups for event in group]
    assert (spool.shed, {event.weight for event in kept}) == (0, {1.0})
    assert [event.seq for event in kept] == sorted(event.seq for event in kept)
    assert len(kept) == spool.spooled > 1500
    assert len(groups) < len(kept) / together / 2
    spool.close()


def test_rare_classes_and_low_confidence_go_last_and_the_weights_still_add_up(tmp_path: Path) -> None:
    spool, draw = open_spool(tmp_path, spool_mb=0.2, flush_events=500), random.Random(0)
    produced = Counter[str]()
    for i in range(60_000):
        rare, unsure = draw.random() < 0.02, draw.random() < 0.02
        label, confidence = ("bad" if rare else "good"), (0.5 + 0.05 * draw.random() if unsure else 0.95)
        produced[f"{label} {confidence > 0.6}"] += 1
        spool.record(i, "r" * 64, label, confidence, 8.0, [draw.random(), 0.0])
    spool.flush()
    kept = spool.oldest(10**9)
    by_kind = defaultdict[str, list[float]](list)
    for event in kept:
        by_kind[f"{event.prediction} {event.confidence > 0.6}"].append(event.weight)
    shares = {kind: len(weights) / produced[kind] for kind, weights in by_kind.items()}
    assert min(shares["bad True"], shares["good False"]) > 3 * shares["good True"], shares
    for kind, weights in by_kind.items():  # a class's own estimate is as good as its lots: within four standard errors
        assert sum(weights) == pytest.approx(produced[kind], abs=4 * sum(w * (w - 1) for w in weights) ** 0.5)
    spool.close()


def test_no_event_waits_for_more_shedding_than_a_few_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool, read = open_spool(tmp_path, spool_mb=0.05, flush_events=100), [0]

    def counted(first_seq: int, content: bytes) -> list[Event]:
        events = unpack(first_seq, content)
        read[-1] += len(events)
        return events

    monkeypatch.setattr(edge_runtime.groups, "unpack", counted)
    for _ in range(20_000):
        read.append(0)
        record(spool, 1)
        assert spool._bytes <= 52_000
    assert spool.shed
    assert max(read) <= 8 * 100
    assert spool._bytes == spool._stored_bytes()
    spool.close()


def test_the_budget_is_what_the_file_takes_also_of_single_events(tmp_path: Path) -> None:
    spool, draw = open_spool(tmp_path, spool_mb=0.5, durability="event", flush_events=500), random.Random(0)
    spool._state._connection.execute("PRAGMA synchronous = OFF")  # it is about bytes, and quicker
    for i in range(15_000):
        spool.record(i * 1000, f"{draw.random()}", "good", draw.random(), 1.0, [draw.random()])
    assert spool.shed  # joined they are still too many
    assert spool._bytes == spool._stored_bytes()
    spool.close()
    assert (tmp_path / "state.sqlite").stat().st_size < 1.1 * 500_000


def test_a_damaged_group_or_batch_is_set_aside_and_declared_shed_and_the_rest_ships(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    record(spool, 35)  # groups of 7
    first = seal_batch(spool.oldest(7), SETTINGS, spool.epoch, 0, START)
    assert spool.seal(first, spool.oldest(7))
    rot(spool, "UPDATE batches SET content = substr(content, 2)")
    rot(spool, "UPDATE groups SET content = substr(content, 2) WHERE first_seq = 15")
    assert ship_all(spool) == [*range(8, 15), *range(22, 36)]
    assert spool.books == (35, 21, 14)
    assert spool.spooled == 0
    assert "declared shed" in spool.set_aside
    assert {f.name for f in tmp_path.glob("*.damaged-*")} == {
        f"state.sqlite.damaged-batches-{first.name}",
        "state.sqlite.damaged-groups-15",
    }
    spool.close()
    assert open_spool(tmp_path).books == (35, 21, 14)


def test_a_damaged_group_stops_no_shedding_and_no_prediction(tmp_path: Path) -> None:
    spool = open_spool(tmp_path, spool_mb=0.02, flush_events=50)
    record(spool, 100)
    rot(spool, "UPDATE groups SET content = x'746f726e' WHERE first_seq = 1")
    record(spool, 10_000)
    assert spool.shed > 50
    assert spool._bytes == spool._stored_bytes() <= 20_000
    assert spool.produced == 10_100 == len(spool.oldest(10**9)) + spool.shed
    spool.close()


def rot(spool: Spool, statement: str) -> None:
    with spool._state.transaction() as connection:
        connection.execute(statement)


def test_a_batch_whose_name_is_damaged_is_set_aside_too(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    record(spool, 14)
    assert spool.seal(seal_batch(spool.oldest(7), SETTINGS, spool.epoch, 0, START), spool.oldest(7))
    rot(spool, "UPDATE batches SET name = replace(name, '.', '/')")
    assert ship_all(spool) == list(range(8, 15))
    assert spool.books == (14, 7, 7)
    assert len(list(tmp_path.glob("*.damaged-batches-*_parquet"))) == 1
    spool.close()


def test_a_state_file_of_before_is_read(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    record(spool, 14)
    with spool._state.transaction() as connection:
        connection.execute("ALTER TABLE groups DROP COLUMN events")
        connection.execute("ALTER TABLE meta DROP COLUMN checksum")
    spool._state.close()
    with closing(Spool(tmp_path / "state.sqlite", DeviceSection(), START, read_only=True)) as looked:
        assert looked.produced == 14
    again = open_spool(tmp_path)
    record(again, 7)
    assert ship_all(again) == [*range(1, 22)]
    again.close()


@pytest.mark.parametrize("damage", [b"", b"not a database at all, but long enough to be looked at" * 100])
def test_a_damaged_file_is_set_aside_and_the_epoch_rises(tmp_path: Path, damage: bytes) -> None:
    spool = open_spool(tmp_path)
    record(spool, 20)
    spool.close()
    (tmp_path / "state.sqlite").write_bytes(damage)
    with pytest.raises(DataError, match="cannot be read"):
        Spool(tmp_path / "state.sqlite", DeviceSection(), START, read_only=True)
    assert (tmp_path / "state.sqlite").read_bytes() == damage
    again = open_spool(tmp_path)
    assert again.epoch == spool.epoch + 1
    assert again.produced == 0
    if damage:
        assert "set aside" in again.set_aside
        assert list(tmp_path.glob("*.damaged-1"))
    again.close()


@pytest.mark.parametrize("key", ["epoch", "next_seq", "refused", "uploaded"])
def test_a_value_with_a_bit_turned_over_is_a_damaged_file(tmp_path: Path, key: str) -> None:
    """Another number would give numbers twice; what is none would let no device start."""
    spool = open_spool(tmp_path)
    record(spool, 20)
    spool.put(committed="a" * 64, refused="{}", uploaded=123)
    spool.close()
    file = tmp_path / "state.sqlite"
    content = bytearray(file.read_bytes())
    content[content.rindex(key.encode()) + len(key)] ^= 1
    file.write_bytes(content)
    with pytest.raises(DataError, match=f"its value of {key} is damaged"):
        Spool(file, DeviceSection(), START, read_only=True)
    again = open_spool(tmp_path)
    assert f"its value of {key} is damaged" in again.set_aside
    assert (again.epoch, again.produced, again.get("committed")) == (spool.epoch + 1, 0, "a" * 64)
    again.close()


def test_what_is_copied_for_a_lost_state_is_copied_once_the_disk_takes_it(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    (tmp_path / "slots.part").mkdir()
    assert spool.put(committed="a" * 64)
    (tmp_path / "slots.part").rmdir()
    record(spool, 7)
    assert "a" * 64 in (tmp_path / "slots").read_text()
    spool.close()


def test_a_clock_in_1970_still_raises_the_epoch(tmp_path: Path) -> None:
    first = open_spool(tmp_path)
    first.close()
    (tmp_path / "state.sqlite").unlink()
    second = Spool(tmp_path / "state.sqlite", DeviceSection(), START.replace(year=1970))
    assert second.epoch == first.epoch + 1
    second.close()
