"""The contract checks on what devices and label sources send, from cheap to dear.

Everything here is hostile until checked. A check that fails raises `DataError`, whose sentence goes to quarantine with the
file; it never stops the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from edgeloop.clock import EARLIEST, EPOCH_0
from edgeloop.config import LoopConfig
from edgeloop.errors import DataError, EdgeloopError
from edgeloop.events import AGGREGATE_FIELDS, LABELS, batch_schema
from edgeloop.layout import BatchName, check_id, is_digest
from edgeloop.schema import EVENT_SCHEMA
from edgeloop.sketches import AGGREGATES, EVENTS
from ingest.pages import demand_bounded
from ingest.plan import AcceptedBatch
from ingest.sketches import LONGEST
from ingest.windows import check_windows

MAX_BYTES = 16 * 1024 * 1024
MAX_ROWS = 100_000
MAX_EXPANDED = 64 * 1024 * 1024
"""A file of a few hundred bytes can claim to unpack to gigabytes; the footer says so before anything is unpacked."""

TEXT = ("release", "prediction")
AGGREGATE_TEXT = ("release", "measure", "value", "sketch")
LONGEST_TEXT = 256

LABEL_TEXT = ("device", "label")

FUTURE = timedelta(days=1)

HIGHEST_SEQ = 10**12 - 1
"""A batch's name has twelve digits for a sequence number."""


def check_batch(path: str, content: bytes, config: LoopConfig, now: datetime) -> AcceptedBatch:
    """Check a batch by everything that it says of itself.

    Raises:
        DataError: the first thing that is wrong.
    """
    device, name = batch_place(path, config)
    if sha256(content).hexdigest() != name.sha256:
        raise DataError("its content is not what its name says: damaged on the way or in the store.")
    with blamed_on_the_file():
        file = _open(content)
        demand_bounded(content, MAX_ROWS, MAX_EXPANDED)
        words = read_words(file)
        _check_words(words, config, device, name)
        kind, rows, last = _judge(content, words, config, name, now)
    return AcceptedBatch(
        path=path,
        device=device,
        epoch=name.epoch,
        first_seq=name.seq,
        last_seq=last,
        rows=rows,
        sha256=name.sha256,
        bytes=len(content),
        shed=_whole(words, "shed"),
        sealed_at=_time(words, "sealed_at"),
        kind=kind,
    )


def _judge(
    content: bytes, words: dict[str, str], config: LoopConfig, name: BatchName, now: datetime
) -> tuple[str, int, int]:
    """The batch's kind, how many events it stands for, and the last sequence number of them."""
    kind = words.get("kind", EVENTS)
    if kind == EVENTS:
        rows = read_batch(content, config)
        return kind, rows.num_rows, _check_rows(rows, config, name, now)
    if kind == AGGREGATES:
        return kind, *_check_aggregates(content, words, config, name, now)
    raise DataError(f"it is of kind {kind[:80]!r}, this centre reads {EVENTS} and {AGGREGATES}.", remedy="Upgrade it.")


def _check_aggregates(
    content: bytes, words: dict[str, str], config: LoopConfig, name: BatchName, now: datetime
) -> tuple[int, int]:
    events, last = _whole(words, "events"), _whole(words, "last_seq")
    if not 1 <= events <= MAX_ROWS or not 1 <= name.seq <= last - events + 1 or last > HIGHEST_SEQ:
        raise DataError(f"it says that it is of {events} events from {name.seq} to {last}.")
    rows = read_aggregates(content)
    for column in ("hour", "until"):
        _check_times(rows[column], now, column)
    _check_releases(rows)
    check_windows(rows, config, events)
    return events, last


@contextmanager
def blamed_on_the_file() -> Iterator[None]:
    """Whatever a reader raises over a hostile file is that file's fault: a reason for quarantine, and no end of the ingest."""
    try:
        yield
    except EdgeloopError:
        raise
    except Exception as error:
        raise DataError(f"it cannot be read: {_first_line(error)}.") from error


def read_batch(content: bytes, config: LoopConfig) -> pa.Table:
    """The rows of a batch, with exactly the columns of `batch_schema`. Raises `DataError`."""
    return _read_columns(content, batch_schema(config.schema()), TEXT)


def read_aggregates(content: bytes) -> pa.Table:
    """The rows of a batch of aggregates, with exactly the columns of `AGGREGATE_FIELDS`. Raises `DataError`."""
    return _read_columns(content, pa.schema(AGGREGATE_FIELDS), AGGREGATE_TEXT)


def _read_columns(content: bytes, expected: pa.Schema, text: tuple[str, ...]) -> pa.Table:
    file = _open(content, text)
    if file.schema_arrow.names != expected.names:
        odd = sorted(set(file.schema_arrow.names) ^ set(expected.names))
        raise DataError(f"its columns differ from the loop's: {', '.join(odd[:8]) or 'another order'}.")
    for field in expected:
        found = file.schema_arrow.field(field.name).type
        if (field.name in text) != _is_text(found):
            raise DataError(f"its column {field.name} is {found}, expected {field.type}.")
    with blamed_on_the_file():
        table = file.read()
        if table.num_rows != file.metadata.num_rows:
            raise DataError(f"it has {table.num_rows} rows and says that it has {file.metadata.num_rows}.")
        _demand_short_text(table, text)
        table = _through_float64(table, expected).cast(expected)
        table.validate(full=True)  # text is UTF-8
        return table


def _through_float64(table: pa.Table, expected: pa.Schema) -> pa.Table:
    # A device writes 18.1 as 181 tenths. From there straight to float32 is by arithmetic of that width, whose last digit is another one.
    fields = [
        field.with_type(pa.float64()) if pa.types.is_decimal(field.type) and pa.types.is_float32(wanted.type) else field
        for field, wanted in zip(table.schema, expected, strict=True)
    ]
    return table.cast(pa.schema(fields))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_dictionary(kind))


def _demand_short_text(table: pa.Table, names: Sequence[str]) -> None:
    # One long value in a dictionary is small in the file and in memory, and huge once every row has a copy of its own.
    for name in names:
        for chunk in table[name].chunks:
            longest = pc.max(pc.binary_length(chunk.dictionary)).as_py() or 0
            limit = LONGEST if name == "sketch" else LONGEST_TEXT
            if longest > limit:
                raise DataError(f"its column {name} has a value of {longest} bytes, at most {limit} are taken.")


def check_labels(content: bytes, config: LoopConfig, now: datetime) -> pa.Table:
    """The rows of a label file, with the columns of `LABELS`. Raises `DataError`."""
    with blamed_on_the_file():
        file = _open(content, LABEL_TEXT)
        demand_bounded(content, MAX_ROWS, MAX_EXPANDED)
        rows = _read_labels(file)
        _check_labels(rows, config, now)
        return rows


def _read_labels(file: pq.ParquetFile) -> pa.Table:
    names = file.schema_arrow.names
    missing = [name for name in LABELS.names if name not in names]
    if missing:
        raise DataError(
            f"it has no column {', '.join(missing)}.", remedy=f"A label file has {', '.join(LABELS.names)}."
        )
    odd = [name for name in LABELS.names if names.count(name) > 1]
    odd += [name for name in LABEL_TEXT if not _is_text(file.schema_arrow.field(name).type)]
    if odd:
        raise DataError(f"its column {odd[0]} is there twice, or no text.")
    table = file.read(columns=LABELS.names)
    _demand_short_text(table, LABEL_TEXT)
    rows = table.select(LABELS.names).cast(LABELS)
    rows.validate(full=True)
    return rows


def _check_labels(rows: pa.Table, config: LoopConfig, now: datetime) -> None:
    if any(rows[name].null_count for name in LABELS.names):
        raise DataError("it has empty values.", remedy="Leave a row out while its label is unknown.")
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


def _open(content: bytes, read_dictionary: tuple[str, ...] = ()) -> pq.ParquetFile:
    try:
        file = pq.ParquetFile(pa.BufferReader(content), read_dictionary=list(read_dictionary))
        groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
        expanded = sum(group.total_byte_size for group in groups)
    except KeyError as error:
        raise DataError(
            f"its column {error.args[0].decode(errors='replace')} is not there or nested, not text."
        ) from error
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"it is no Parquet file: {_first_line(error)}.") from error
    if not 0 < file.metadata.num_rows <= MAX_ROWS:
        raise DataError(f"it has {file.metadata.num_rows} rows, 1 to {MAX_ROWS} are taken.")
    if expanded > MAX_EXPANDED:
        raise DataError(f"it unpacks to {expanded} bytes, at most {MAX_EXPANDED} are taken.")
    return file


def read_words(file: pq.ParquetFile) -> dict[str, str]:
    """What the file says of itself, without the prefix that all keys had in version 1."""
    found = {
        key.decode(errors="replace"): value.decode(errors="replace")
        for key, value in (file.metadata.metadata or {}).items()
    }
    return {key.removeprefix("edgeloop."): value for key, value in found.items()}


def _check_words(words: dict[str, str], config: LoopConfig, device: str, name: BatchName) -> None:
    if _whole(words, "schema") > EVENT_SCHEMA:
        raise DataError(
            f"it is of event schema {words['schema']}, this centre reads up to {EVENT_SCHEMA}.",
            remedy="Upgrade the centre.",
        )
    expected = {
        "loop": config.name,
        "device": device,
        "epoch": str(name.epoch),
        "features": config.schema().digest,
    }
    for key, wanted in expected.items():
        if words.get(key) != wanted:
            raise DataError(f"its {key} is {words.get(key, 'missing')[:80]!r}, expected {wanted!r}.")


def _check_rows(table: pa.Table, config: LoopConfig, name: BatchName, now: datetime) -> int:
    seq = table["seq"].to_numpy()
    if seq[0] != name.seq or (seq[1:] <= seq[:-1]).any():
        raise DataError("its sequence numbers do not rise from the one in its name.")
    if seq[0] < 1 or seq[-1] > HIGHEST_SEQ:
        raise DataError(f"its sequence numbers run from {seq[0]} to {seq[-1]}, 1 to {HIGHEST_SEQ} are taken.")
    _check_times(table["ts"], now, "ts")
    weight = table["weight"].to_numpy()
    if not ((weight >= 1) & (weight < 1e9)).all():
        raise DataError("it has weights under 1 or without end.")
    confidence = table["confidence"].drop_null().to_numpy()
    if not ((confidence >= 0) & (confidence <= 1.0001)).all():
        raise DataError("it has confidences outside 0 to 1.")
    for column in config.schema().columns:
        if pc.any(pc.is_inf(table[column])).as_py():
            raise DataError(f"its column {column} has values without end.")
    strangers = set(pc.unique(table["prediction"]).to_pylist()) - {None, *config.label.classes}
    if strangers:
        raise DataError(f"it predicts what is no class of the loop: {sorted(map(str, strangers))[:5]}.")
    _check_releases(table)
    return int(seq[-1])


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


def _whole(words: dict[str, str], key: str) -> int:
    text = words.get(key, "")
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        raise DataError(f"its {key} is {text[:20]!r}, not a whole number.")
    return int(text)


def _time(words: dict[str, str], key: str) -> datetime:
    try:
        found = datetime.fromisoformat(words.get(key, ""))
    except ValueError as error:
        raise DataError(f"its {key} is no time.") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:160]
