"""The contract checks on what devices and label sources send, from cheap to dear.

Everything here is hostile until checked. A check that fails raises `DataError`, whose sentence goes to quarantine with the
file; it never stops the others. The order, which docs/formats.md tells and a test holds:

1. the place and the name, and the size, as they are listed: what fails there is not fetched;
2. the footer, and what it says of rows, columns and what they unpack to;
3. the words: version, loop, device, epoch, features;
4. the digest;
5. the headers of the pages;
6. the columns and their types, and then their values;
7. sequence numbers, ranges, times.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import sha256

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from edgeloop.clock import EARLIEST, EPOCH_0
from edgeloop.config import LoopConfig
from edgeloop.errors import DataError, EdgeloopError
from edgeloop.events import AGGREGATE_FIELDS, LABELS, batch_schema
from edgeloop.layout import BatchName, check_id, is_digest
from edgeloop.sketches import AGGREGATES, EVENTS
from ingest.checks.columns import cast_columns, decode_columns
from ingest.checks.footer import Footer, read_footer
from ingest.checks.pages import demand_bounded
from ingest.checks.windows import check_windows
from ingest.checks.words import HIGHEST_SEQ, check_words, time, upgrade, whole
from ingest.plan import AcceptedBatch

MAX_BYTES = 16 * 1024 * 1024
MAX_ROWS = 100_000
MAX_EXPANDED = 64 * 1024 * 1024
"""A file of a few hundred bytes can claim to unpack to gigabytes; the footer says so before anything is unpacked."""

TEXT = ("release", "prediction")
AGGREGATE_TEXT = ("release", "measure", "value", "sketch")
LABEL_TEXT = ("device", "label")

FUTURE = timedelta(days=1)


@dataclass(frozen=True)
class Opened:
    """A batch of which all but the values of its rows was checked. Of events, `rows` are as they stand in the file; of aggregates they
    were checked too. `unpacked` is the size of the file's pages, in bytes: there may be words in memory that no row has."""

    batch: AcceptedBatch
    rows: pa.Table
    unpacked: int


def check_batch(path: str, content: bytes, config: LoopConfig, now: datetime) -> AcceptedBatch:
    """Check a batch by everything that it says of itself.

    Raises:
        DataError: the first thing that is wrong.
    """
    (found,) = check_rows([open_batch(path, content, config, now)], config, now)
    if isinstance(found, DataError):
        raise found
    return found.batch


def open_batch(path: str, content: bytes, config: LoopConfig, now: datetime) -> Opened:
    """Check a batch by everything but the values of its events' rows. Raises `DataError`."""
    device, name = batch_place(path, config)
    with blamed_on_the_file():
        footer = _checked_footer(content, batch_schema(config.schema()).names)
        words = upgrade(footer.words)
        check_words(words, config, device, name)
        if sha256(content).hexdigest() != name.sha256:
            raise DataError("its content is not what its name says: damaged on the way or in the store.")
        unpacked = demand_bounded(content, footer.groups, MAX_ROWS, MAX_EXPANDED)
        kind, rows, events, last = _decode(content, words, config, name, now)
    batch = AcceptedBatch(
        path=path,
        device=device,
        epoch=name.epoch,
        first_seq=name.seq,
        last_seq=last,
        rows=events,
        sha256=name.sha256,
        bytes=len(content),
        shed=whole(words, "shed"),
        sealed_at=time(words, "sealed_at"),
        kind=kind,
    )
    return Opened(batch, rows, unpacked)


def _decode(
    content: bytes, words: dict[str, str], config: LoopConfig, name: BatchName, now: datetime
) -> tuple[str, pa.Table, int, int]:
    """The batch's kind, its rows, how many events they stand for, and the last sequence number of them, 0 if the rows tell."""
    kind = words.get("kind", EVENTS)
    if kind == EVENTS:
        rows = decode_columns(content, batch_schema(config.schema()), TEXT)
        return kind, rows, rows.num_rows, 0
    if kind == AGGREGATES:
        return kind, *_check_aggregates(content, words, config, name, now)
    raise DataError(f"it is of kind {kind[:80]!r}, this centre reads {EVENTS} and {AGGREGATES}.", remedy="Upgrade it.")


def _check_aggregates(
    content: bytes, words: dict[str, str], config: LoopConfig, name: BatchName, now: datetime
) -> tuple[pa.Table, int, int]:
    events, last = whole(words, "events"), whole(words, "last_seq")
    if not 1 <= events <= MAX_ROWS or not 1 <= name.seq <= last - events + 1 or last > HIGHEST_SEQ:
        raise DataError(f"it says that it is of {events} events from {name.seq} to {last}.")
    rows = read_aggregates(content)
    for column in ("hour", "until"):
        _check_times(rows[column], now, column)
    _check_releases(rows)
    check_windows(rows, config, events)
    return rows, events, last


def check_rows(group: Sequence[Opened], config: LoopConfig, now: datetime) -> list[Opened | DataError]:
    """Of each batch its rows, of one schema and checked, or the first thing that is wrong with them.

    Those of all are checked at once, for a batch is so small that a check takes longer to call than to do. If something is wrong with
    them, each half is checked by itself, and so on: one that is wrong is found by what it is refused for alone.
    """
    events = [opened for opened in group if opened.batch.kind == EVENTS]
    done = iter(_check_events(events, config, now) if events else [])
    return [next(done) if opened.batch.kind == EVENTS else opened for opened in group]


def _check_events(group: Sequence[Opened], config: LoopConfig, now: datetime) -> list[Opened | DataError]:
    batches = [opened.batch for opened in group]
    ends = np.cumsum([batch.rows for batch in batches])
    try:
        with blamed_on_the_file():
            rows = cast_columns([opened.rows for opened in group], batch_schema(config.schema()))
            _check_sequence(rows["seq"].to_numpy(), ends, [batch.first_seq for batch in batches])
            _check_values(rows, config, now)
    except DataError as error:
        if len(group) == 1:
            return [error]
        half = len(group) // 2
        return _check_events(group[:half], config, now) + _check_events(group[half:], config, now)
    last = rows["seq"].to_numpy()[ends - 1].tolist()
    return [
        replace(
            opened, batch=msgspec.structs.replace(batch, last_seq=seq), rows=rows.slice(end - batch.rows, batch.rows)
        )
        for opened, batch, seq, end in zip(group, batches, last, ends.tolist(), strict=True)
    ]


@contextmanager
def blamed_on_the_file() -> Iterator[None]:
    """Whatever a reader raises over a hostile file is that file's fault: a reason for quarantine, and no end of the ingest."""
    try:
        yield
    except EdgeloopError:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"it cannot be read: {_first_line(error)}.") from error
    except Exception as error:  # of a number where a list should be, of an end that came too soon
        raise DataError("it is damaged: its footer or its pages are not what they should be.") from error


def _checked_footer(content: bytes, columns: Sequence[str] = ()) -> Footer:
    footer = read_footer(content, columns)
    if not 0 < footer.rows <= MAX_ROWS:
        raise DataError(f"it has {footer.rows} rows, 1 to {MAX_ROWS} are taken.")
    if footer.unpacked > MAX_EXPANDED:
        raise DataError(f"it unpacks to {footer.unpacked} bytes, at most {MAX_EXPANDED} are taken.")
    return footer


def read_batch(content: bytes, config: LoopConfig) -> pa.Table:
    """The rows of a batch, with exactly the columns of `batch_schema`. Raises `DataError`."""
    schema = batch_schema(config.schema())
    with blamed_on_the_file():
        return cast_columns([decode_columns(content, schema, TEXT)], schema)


def read_aggregates(content: bytes) -> pa.Table:
    """The rows of a batch of aggregates, with exactly the columns of `AGGREGATE_FIELDS`. Raises `DataError`."""
    schema = pa.schema(AGGREGATE_FIELDS)
    with blamed_on_the_file():
        return cast_columns([decode_columns(content, schema, AGGREGATE_TEXT)], schema)


def check_labels(content: bytes, config: LoopConfig, now: datetime) -> pa.Table:
    """The rows of a label file, with the columns of `LABELS`. Raises `DataError`."""
    with blamed_on_the_file():
        footer = _checked_footer(content)
        demand_bounded(content, footer.groups, MAX_ROWS, MAX_EXPANDED)
        rows = cast_columns([decode_columns(content, LABELS, LABEL_TEXT, others=True)], LABELS)
        _check_labels(rows, config, now)
        return rows


def _check_labels(rows: pa.Table, config: LoopConfig, now: datetime) -> None:
    strangers = set(pc.unique(rows["label"]).to_pylist()) - set(config.label.classes)
    if strangers:
        raise DataError(f"it has labels that are no class of the loop: {', '.join(sorted(strangers)[:5])}.")
    for column in ("ts", "known_at"):
        _check_times(rows[column], now, column)


def batch_place(path: str, config: LoopConfig) -> tuple[str, BatchName]:
    """The device and the name of the batch at `path`. Raises `DataError` if that is no place for one."""
    parts = path.removeprefix(f"{config.layout.inbox}/").split("/")
    if len(parts) != 2:
        raise DataError("it is not at inbox/<device>/<batch>.")
    return check_id("device id", parts[0]), BatchName.parse(parts[1])


def label_source(path: str, config: LoopConfig) -> str:
    """The source of the label file at `path`. Raises `DataError` if that is no place for one."""
    parts = path.removeprefix(f"{config.layout.labels}/").split("/")
    if len(parts) != 2:
        raise DataError("it is not at labels/<source>/<file>.")
    return check_id("label source", parts[0])


def _check_sequence(seq: NDArray[np.int64], ends: NDArray[np.int64], firsts: Sequence[int]) -> None:
    """Check the sequence numbers of batches one after the other, by where each ends and the number in its name."""
    starts = np.append(0, ends[:-1])
    rises = np.append(True, seq[1:] > seq[:-1])
    rises[starts] = seq[starts] == firsts
    if not rises.all():
        raise DataError("its sequence numbers do not rise from the one in its name.")
    if seq.min() < 1 or seq.max() > HIGHEST_SEQ:
        raise DataError(f"its sequence numbers run from {seq[0]} to {seq[-1]}, 1 to {HIGHEST_SEQ} are taken.")


def _check_values(table: pa.Table, config: LoopConfig, now: datetime) -> None:
    weight = table["weight"].to_numpy()
    if not ((weight >= 1) & (weight < 1e9)).all():
        raise DataError("it has weights under 1 or without end.")
    confidence = table["confidence"].drop_null().to_numpy()
    if not ((confidence >= 0) & (confidence <= 1.0001)).all():
        raise DataError("it has confidences outside 0 to 1.")
    latency = table["latency_us"].drop_null().to_numpy()
    if not ((latency >= 0) & np.isfinite(latency)).all():
        raise DataError("it has latencies under 0 or without end.")
    for column in config.schema().columns:
        if not np.isfinite(table[column].drop_null().to_numpy()).all():
            raise DataError(f"its column {column} has values without end, or NaN for a missing one, which is null.")
    strangers = set(pc.unique(table["prediction"]).to_pylist()) - {None, *config.label.classes}
    if strangers:
        raise DataError(f"it predicts what is no class of the loop: {sorted(map(str, strangers))[:5]}.")
    _check_releases(table)
    _check_times(table["ts"], now, "ts")


def _check_releases(table: pa.Table) -> None:
    if odd := [r for r in pc.unique(table["release"]).to_pylist() if r is not None and not is_digest(r)]:
        raise DataError(f"its release {odd[0][:80]!r} is not the digest of a manifest.")


def _check_times(times: pa.ChunkedArray, now: datetime, column: str) -> None:
    # As whole numbers: Arrow's times reach much farther than Python's.
    first, last = pc.min_max(times.cast(pa.int64())).as_py().values()
    if first < _micros(EARLIEST) or last > _micros(now + FUTURE):
        raise DataError(
            f"its {column} runs from {_say_time(first)} to {_say_time(last)}, outside 2000 to now plus a day.",
            remedy="Set the device's clock.",
        )


def _micros(time: datetime) -> int:
    return (time - EPOCH_0) // timedelta(microseconds=1)


def _say_time(micros: int) -> str:
    try:
        return f"{EPOCH_0 + timedelta(microseconds=micros):%Y-%m-%d %H:%M}"
    except OverflowError:
        return f"{micros} µs from 1970"


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:160].rstrip(".")
