"""The contract checks on what devices and label sources send, from cheap to dear.

Everything here is hostile until checked. A check that fails raises `DataError`, whose sentence goes to quarantine with the
file; it never stops the others.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from edgeloop.config import LoopConfig
from edgeloop.errors import DataError
from edgeloop.events import LABELS, batch_schema
from edgeloop.layout import BatchName, check_id
from edgeloop.schema import EVENT_SCHEMA
from ingest.plan import AcceptedBatch

MAX_BYTES = 16 * 1024 * 1024
MAX_ROWS = 100_000
MAX_EXPANDED = 64 * 1024 * 1024
"""A file of a few hundred bytes can claim to unpack to gigabytes; the footer says so before anything is unpacked."""

TEXT = ("release", "prediction")
LONGEST_TEXT = 256

EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
FUTURE = timedelta(days=1)


def check_batch(path: str, content: bytes, config: LoopConfig, now: datetime) -> AcceptedBatch:
    """Check a batch by everything that it says of itself.

    Raises:
        DataError: the first thing that is wrong.
    """
    device, name = _place(path, config)
    if sha256(content).hexdigest() != name.sha256:
        raise DataError("its content is not what its name says: damaged on the way or in the store.")
    file = _open(content)
    words = {k.decode(): v.decode(errors="replace") for k, v in (file.metadata.metadata or {}).items()}
    _check_words(words, config, device, name)
    table = read_batch(content, config)
    last = _check_rows(table, config, name, now)
    return AcceptedBatch(
        path=path,
        device=device,
        epoch=name.epoch,
        first_seq=name.seq,
        last_seq=last,
        rows=table.num_rows,
        sha256=name.sha256,
        bytes=len(content),
        shed=_whole(words, "edgeloop.shed"),
        sealed_at=_time(words, "edgeloop.sealed_at"),
    )


def read_batch(content: bytes, config: LoopConfig) -> pa.Table:
    """The rows of a batch, with exactly the columns of `batch_schema`. Raises `DataError`."""
    expected = batch_schema(config.schema())
    file = _open(content, TEXT)
    if file.schema_arrow.names != expected.names:
        odd = sorted(set(file.schema_arrow.names) ^ set(expected.names))
        raise DataError(f"its columns differ from the loop's: {', '.join(odd[:8]) or 'another order'}.")
    for field in expected:
        if pa.types.is_string(field.type) != _is_text(file.schema_arrow.field(field.name).type):
            raise DataError(
                f"its column {field.name} is {file.schema_arrow.field(field.name).type}, expected {field.type}."
            )
    try:
        table = file.read()
        _demand_short_text(table)
        return table.cast(expected)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"its columns cannot be read as the loop's types: {_first_line(error)}.") from error


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_dictionary(kind))


def _demand_short_text(table: pa.Table) -> None:
    # One long value in a dictionary is small in the file and in memory, and huge once every row has a copy of its own.
    for name in TEXT:
        for chunk in table[name].chunks:
            longest = pc.max(pc.binary_length(chunk.dictionary)).as_py() or 0
            if longest > LONGEST_TEXT:
                raise DataError(f"its column {name} has a value of {longest} bytes, at most {LONGEST_TEXT} are taken.")


def check_labels(content: bytes, config: LoopConfig, now: datetime) -> pa.Table:
    """The rows of a label file, with the columns of `LABELS`. Raises `DataError`."""
    file = _open(content)
    missing = sorted(set(LABELS.names) - set(file.schema_arrow.names))
    if missing:
        raise DataError(
            f"it has no column {', '.join(missing)}.", remedy=f"A label file has {', '.join(LABELS.names)}."
        )
    try:
        rows = file.read(columns=LABELS.names).select(LABELS.names).cast(LABELS)
        rows.validate(full=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"its columns cannot be read: {_first_line(error)}.") from error
    if any(rows[name].null_count for name in LABELS.names):
        raise DataError("it has empty values.", remedy="Leave a row out while its label is unknown.")
    strangers = set(pc.unique(rows["label"]).to_pylist()) - set(config.label.classes)
    if strangers:
        raise DataError(f"it has labels that are no class of the loop: {', '.join(sorted(strangers)[:5])}.")
    for column in ("ts", "known_at"):
        _check_times(rows[column], now, column)
    return rows


def _place(path: str, config: LoopConfig) -> tuple[str, BatchName]:
    parts = path.removeprefix(f"{config.layout.inbox}/").split("/")
    if len(parts) != 2:
        raise DataError("it is not at inbox/<device>/<batch>.")
    return check_id("device id", parts[0]), BatchName.parse(parts[1])


def _open(content: bytes, read_dictionary: tuple[str, ...] = ()) -> pq.ParquetFile:
    try:
        file = pq.ParquetFile(pa.BufferReader(content), read_dictionary=list(read_dictionary))
        groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
        expanded = sum(group.total_byte_size for group in groups)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"it is no Parquet file: {_first_line(error)}.") from error
    if not 0 < file.metadata.num_rows <= MAX_ROWS:
        raise DataError(f"it has {file.metadata.num_rows} rows, 1 to {MAX_ROWS} are taken.")
    if expanded > MAX_EXPANDED:
        raise DataError(f"it unpacks to {expanded} bytes, at most {MAX_EXPANDED} are taken.")
    return file


def _check_words(words: dict[str, str], config: LoopConfig, device: str, name: BatchName) -> None:
    if _whole(words, "edgeloop.schema") > EVENT_SCHEMA:
        raise DataError(
            f"it is of event schema {words['edgeloop.schema']}, this centre reads up to {EVENT_SCHEMA}.",
            remedy="Upgrade the centre.",
        )
    expected = {
        "edgeloop.loop": config.name,
        "edgeloop.device": device,
        "edgeloop.epoch": str(name.epoch),
        "edgeloop.features": config.schema().digest,
    }
    for key, wanted in expected.items():
        if words.get(key) != wanted:
            raise DataError(
                f"its {key.removeprefix('edgeloop.')} is {words.get(key, 'missing')[:80]!r}, expected {wanted!r}."
            )


def _check_rows(table: pa.Table, config: LoopConfig, name: BatchName, now: datetime) -> int:
    seq = table["seq"].to_numpy()
    if seq[0] != name.seq or (seq[1:] <= seq[:-1]).any():
        raise DataError("its sequence numbers do not rise from the one in its name.")
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
    return int(seq[-1])


def _check_times(times: pa.ChunkedArray, now: datetime, column: str) -> None:
    bounds = pc.min_max(times).as_py()
    if bounds["min"] < EARLIEST or bounds["max"] > now + FUTURE:
        raise DataError(
            f"its {column} runs from {bounds['min']:%Y-%m-%d %H:%M} to {bounds['max']:%Y-%m-%d %H:%M}, outside 2000 to now plus a day.",
            remedy="Set the device's clock.",
        )


def _whole(words: dict[str, str], key: str) -> int:
    text = words.get(key, "")
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        raise DataError(f"its {key.removeprefix('edgeloop.')} is {text[:20]!r}, not a whole number.")
    return int(text)


def _time(words: dict[str, str], key: str) -> datetime:
    try:
        found = datetime.fromisoformat(words.get(key, ""))
    except ValueError as error:
        raise DataError(f"its {key.removeprefix('edgeloop.')} is no time.") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:160]
