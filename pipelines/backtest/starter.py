"""The way in: from a table to a commented `loop.toml`, with what was guessed said aloud."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import duckdb

from edgeloop.duration import Duration
from edgeloop.errors import ConfigError, DataError
from edgeloop.layout import safe_id
from edgeloop.schema import Feature
from pipelines.backtest.history import column_types, label_text, open_table, quote, time_sql

MAX_CLASSES = 50
MAX_CATEGORIES = 64
TICKS = 60

FEW_ROWS = 4000
"""Under these the history is cut into fewer pieces, or none would hold enough rows to say anything."""


@dataclass(frozen=True)
class Extent:
    """How long the history is, how many rows it has, and how many of them have a label."""

    span: timedelta
    rows: int
    labelled: int


@dataclass
class Columns:
    """The columns of the table that can be features, and why the others are left out."""

    numbers: list[str] = field(default_factory=list)
    categories: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def starter_loop(
    paths: Sequence[str],
    *,
    label: str,
    device: str | None = None,
    devices: int | None = None,
    time: str | None = None,
    name: str | None = None,
) -> tuple[str, list[str]]:
    """The text of a `loop.toml` for the table in `paths`, and notes on what was guessed or left out.

    Raises:
        DataError: a named column is missing, the label cannot be one, or the table holds no feature.
    """
    connection = open_table(paths)
    types = column_types(connection)
    for option, column in (("--label", label), ("--device", device), ("--time", time)):
        if column is not None and column not in types:
            raise DataError(
                f"{option} names {column!r}, which the table does not have.",
                remedy=f"It has: {', '.join(list(types)[:30])}.",
            )
    if device is not None and devices is not None:
        raise ConfigError("--device and --devices are both given.", remedy="Keep one.")
    if label in (device, time):
        raise ConfigError(f"--label {label!r} is the column of the device or the time too.", remedy="Name another.")
    if device is None and devices is None:
        raise DataError(
            "nothing says which device a row is from.",
            remedy="Name the column with --device, or cut the rows, in their order, into N blocks with --devices N.",
        )
    classes = _classes(connection, label, types[label])
    columns = _columns(connection, {c: k for c, k in types.items() if c not in (label, device, time)})
    if not columns.numbers and not columns.categories:
        raise DataError(
            "the table has no column that can be a feature.", remedy="Features are numbers, or text with few values."
        )
    extent = _measure(connection, types, label, device, devices, time)
    from_time = _from_time(columns, time)
    if extent.labelled < 200:
        columns.notes.append(f"{extent.labelled} labelled rows are few: expect gates that cannot tell models apart")
    ident = name or safe_id(Path(paths[0]).stem)
    return _render(ident, label, classes, columns, from_time, device, devices, time, extent), columns.notes


def _from_time(columns: Columns, time: str | None) -> list[str]:
    if time is None:
        return []
    taken = {Feature(name).column.lower() for name in (*columns.numbers, *columns.categories)}
    if Feature("hour").column in taken:
        columns.notes.append(f"the hour is not taken from {time!r}: the table has a column of that name")
        return []
    return ["hour"]


def _classes(connection: duckdb.DuckDBPyConnection, label: str, kind: str) -> list[str]:
    column = label_text(quote(label), kind)
    found = [
        row[0]
        for row in connection.execute(f"SELECT DISTINCT {column} FROM source LIMIT 10000").fetchall()
        if row[0] is not None
    ]
    if len(found) < 2:
        raise DataError(
            f"the label {label!r} has {len(found)} distinct value(s).", remedy="Name a column with two classes or more."
        )
    if len(found) > MAX_CLASSES:
        raise DataError(
            f"the label {label!r} has more than {MAX_CLASSES} distinct values.",
            remedy="Name a column of classes; a number can be cut into classes with label.cuts in an existing loop.toml.",
        )
    if all(re.fullmatch(r"-?\d+", value) for value in found):
        return sorted(found, key=int)
    return sorted(found)


def _columns(connection: duckdb.DuckDBPyConnection, types: dict[str, str]) -> Columns:
    found = Columns()
    seen: dict[str, str] = {}
    for name, kind in types.items():
        column = Feature(name).column.lower()
        if column == "f_":
            found.notes.append(f"column {name!r} was left out: it has no letter or digit in its name; rename it")
        elif column in seen:
            found.notes.append(
                f"column {name!r} was left out: in the lake it could not be told from {seen[column]!r}; rename it"
            )
        elif reason := _place(connection, name, kind, found):
            found.notes.append(f"column {name!r} was left out: {reason}")
        else:
            seen[column] = name
    return found


def _place(connection: duckdb.DuckDBPyConnection, name: str, kind: str, found: Columns) -> str:
    """Put a column where it belongs; or say why it does not."""
    column = quote(name)
    ((distinct, values),) = connection.execute(
        f"SELECT approx_count_distinct({column}), count({column}) FROM source"
    ).fetchall()
    if not values:
        return "it is empty"
    if distinct <= 1:
        ((exact,),) = connection.execute(f"SELECT count(DISTINCT {column}) FROM source").fetchall()
        if exact <= 1:
            return "it never changes"
    if kind.endswith("INT") or kind.startswith(
        ("INTEGER", "UINTEGER", "DECIMAL", "FLOAT", "DOUBLE", "HUGEINT", "BOOLEAN")
    ):
        found.numbers.append(name)
        return ""
    if kind.startswith(("TIMESTAMP", "DATE", "TIME")):
        return "it is another time; its hour, weekday and month can come from table.time"
    if kind != "VARCHAR" and not kind.startswith("ENUM"):
        return f"type {kind} is neither a number nor text"
    return _place_text(connection, name, found)


def _place_text(connection: duckdb.DuckDBPyConnection, name: str, found: Columns) -> str:
    query = (
        f"SELECT DISTINCT {quote(name)}::VARCHAR AS v FROM source WHERE v <> '' ORDER BY v LIMIT {MAX_CATEGORIES + 1}"
    )
    values = [row[0] for row in connection.execute(query).fetchall()]
    if len(values) > MAX_CATEGORIES:
        return f"it is text with more than {MAX_CATEGORIES} different values; features.hashed takes such as pseudonyms"
    found.categories[name] = values
    return ""


def _measure(
    connection: duckdb.DuckDBPyConnection,
    types: dict[str, str],
    label: str,
    device: str | None,
    devices: int | None,
    time: str | None,
) -> Extent:
    """How much history there is. Raises `DataError` if it is none."""
    who = "''" if device is None else quote(device)
    query = f"SELECT count(*), count({quote(label)}), count(DISTINCT {who}) FROM source"
    ((rows, labelled, found),) = connection.execute(query).fetchall()
    count = devices or found
    if rows < 2 * count:
        raise DataError(
            f"the table has {rows} rows for {count} devices.",
            remedy="A history has many rows of each device: name another --device, or fewer --devices.",
        )
    if time is None:
        query = f"SELECT max(n) FROM (SELECT count(*) AS n FROM source GROUP BY {who})"
        ((longest,),) = connection.execute(query).fetchall()
        return Extent(timedelta(hours=-(-rows // devices) if devices else longest), rows, labelled)
    moment = f"epoch({time_sql(time, types[time])})"
    ((seconds,),) = connection.execute(f"SELECT max({moment}) - min({moment}) FROM source").fetchall()
    if not seconds:
        ((example,),) = connection.execute(f"SELECT any_value({quote(time)}) FROM source").fetchall()
        raise DataError(
            f"--time {time!r} holds no two different times that can be read, but such as {str(example)[:40]!r}.",
            remedy="A time is ISO text, or a number of seconds to nanoseconds since 1970. Without --time row order is time.",
        )
    return Extent(timedelta(seconds=float(seconds)), rows, labelled)


def _length(span: timedelta, parts: float) -> str:
    """A part of the span as a round duration, never nothing."""
    seconds = span.total_seconds() / parts
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m"), (1, "s")):
        if seconds >= size:
            return f"{round(seconds / size)}{unit}"
    return f"{max(seconds, 1e-6):.6f}s"


def _render(
    name: str,
    label: str,
    classes: list[str],
    columns: Columns,
    from_time: list[str],
    device: str | None,
    devices: int | None,
    time: str | None,
    extent: Extent,
) -> str:
    span, small = extent.span, extent.labelled < FEW_ROWS
    ticks = 24 if small else TICKS
    seed, every, tick = _length(span, 4 if small else 8), _length(span, 8), _length(span, ticks)
    # The first training holds back a third of its seed at the most; half of those rows must be enough to judge on.
    held_back = 16 if small else 48
    few = max(5, min(500, extent.labelled // held_back // 2))
    who = (
        f"device = {_toml(device)}" if device else f"devices = {devices} # rows in their order, cut into so many blocks"
    )
    when = (
        f"time = {_toml(time)}"
        if time
        else '# time = "…" # no time column: row order is time\ninterval = "1h" # between two rows of a device'
    )
    delay = _length(min(timedelta(days=1), Duration.parse(tick) / 2), 1)
    categories = "\n".join(f"{_toml(key)} = {_toml(values)}" for key, values in columns.categories.items())
    return f"""\
# A loop of edgeloop: one model lineage and everything about it. docs/loop.md explains each key.
version = 1

[loop]
name = {_toml(name)} # part of paths in the store
description = ""
owner = "" # an address, shown in Dagster

[table] # how a table of history is read
{who}
{when}

[label]
column = {_toml(label)}
classes = {_toml(classes)}
# cuts = [10.0, 20.0] # turn a number into len(cuts) + 1 classes
# sources = ["inspection", "operator"] # of several labels for one event the best source's counts; none: what was said last
delay = "{delay}" # the truth comes this long after the event

[features] # the model's inputs
numbers = {_lines(columns.numbers)}
from_time = {_toml(from_time)} # of "hour", "weekday", "month", in UTC
# hashed = ["badge"] # any text or number as a pseudonym, made with the key of `edgeloop device create --hash-key`
{f"{chr(10)}[features.categories] # text, by its place in the list{chr(10)}{categories}{chr(10)}" if categories else ""}
# [features.ranges] # numbers outside count as missing …
# temperature = [-40.0, 85.0]

# [features.outside] # … or are treated so: "clamp" into the range, or "reject", no prediction for the reading
# temperature = "clamp"

# [features.missing] # what did not come, or is no value, is this for the model (of text: one of its values), or "reject"
# temperature = 20.0

[device]
durability = "group" # "event": every event is on disk before predict returns
flush_events = 512 # a power cut loses at most this many events …
flush_every = "1s" # … or this long
batch_events = 300
spool_mb = 50.0 # over it, a random half is shed and counted
model_mb = 50.0 # the largest model file that is taken, and that passes the gates
upload_mb_per_day = 0.0 # batches wait when it is used up; 0: no limit
window = "" # hours in UTC when batches go up and releases come down, such as "22:00-06:00"; empty: always
request_deadline = "60s" # for each request to the store; longer for a link under 5 kB/s
threads = 1
latency_budget_ms = 50.0
probation_events = 24 # good predictions before a release is kept
crash_limit = 3 # starts on probation before it is put back
# refuse_for = "30d" # a release that failed here is tried again after this long, then twice as long, …; not set: never

[privacy] # what does not leave a device, or less exactly
# drop = ["location"] # for the model alone: events have null
# round = {{ temperature = 0.5 }} # to the nearest multiple, for the model too
ship = "events" # "aggregates": counts and sketches by the hour instead; then there is nothing to train on
min_events = 10 # in that case, hours with fewer are joined
# retention = "365d" # rows in the lake that are older go, for good

[training]
trainer = "lightgbm"
every = "{every}"
validation = "{_length(span, held_back)}" # the last of it is held back to judge on
max_rows_per_device = 50000
seed = 7

[training.parameters]
trees = 60
leaves = 31
learning_rate = 0.15
max_bin = 63

[gate] # what a challenger must show on rows later than it was trained on
min_rows = {few}
min_accuracy = 0.0
max_regression = 0.0 # accuracy and macro-F1 that it may lose to the champion
worst_device = 0.1 # accuracy that any one device may lose
parity_tolerance = 1e-5 # ONNX against the trained model

[rollout]
waves = [2500, 10000] # per-myriad of devices, wave by wave
control = 2500 # of the rest, named in the rollout as the arm to compare with; the gate does not look at it yet
min_labels = {few}
margin = 0.01
max_looks = 8
max_offline_days = 90 # a device that was alone for longer goes on, and says that it is stale

[drift]
window = "{seed}"
alarm = 0.25 # population stability index of a feature, over the fleet
device_alarm = 0.1 # of a feature of one device, against its peers
false_alarms = 0.05 # the chance of an alarm without drift, in as long as the window

[backtest] # times from the first reading
seed = "{seed}" # what the first release is trained on
tick = "{tick}" # devices live, then the centre works
period = "{every}" # scores are given by period
quick = "{_length(span, 2)}"

# [backtest.joins] # devices that come later
# device-2 = "30d"

# [backtest.faults] # what goes wrong on purpose
# kill = ["device-1@30d"]
# offline = ["device-2@40d+10d"]
# corrupt = ["device-3@50d"]
"""


def _toml(value: object) -> str:
    # A JSON string without control characters is a TOML basic string, and a list of them a TOML array.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _lines(names: list[str]) -> str:
    if len(names) <= 8:
        return _toml(names)
    return "[\n" + "".join(f"    {_toml(name)},\n" for name in names) + "]"
