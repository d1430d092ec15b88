"""Which hours of an aggregate have to be made again, and which files have their rows.

Rules:
1. What changed is what the commits of a source say, by files; a compaction changes nothing. No clock has a part in it.
2. The hours of a file that came or went are touched, of the devices that it has: these two columns of it are read.
3. Of a file that a vacuum has taken it is not known which hours it had: all of its month are touched. If it is of no month, or the
   log does not go back far enough, everything is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from numpy.typing import NDArray

from edgeloop.commits import Commit, DataFile
from edgeloop.events import TIME

KEYS = pa.schema([("device", pa.string()), ("hour", TIME)])
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
LAST_DEVICE = "\U0010ffff"
BEGINNING, END = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)


@dataclass(frozen=True)
class Touched:
    """What is touched of one month, `YYYY-MM`: the hours of devices in `keys` (`KEYS`, each once), or, if that is None, all from
    `since` on."""

    month: str
    keys: pa.Table | None = None
    since: datetime = BEGINNING

    @property
    def days(self) -> tuple[datetime, datetime]:
        """From the first day that is touched until after the last; the bounds of the month, if all of it is."""
        if self.keys is None:
            first = datetime.fromisoformat(f"{self.month}-01T00:00:00+00:00")
            return max(first, self.since), (first + 32 * DAY).replace(day=1)
        ends = pc.min_max(self.keys["hour"]).as_py()
        first, last = (ends[end].astimezone(UTC).replace(hour=0) for end in ("min", "max"))
        return first, last + DAY


def changed(commits: Iterable[Commit]) -> dict[str, DataFile]:
    """The files, by path, with which rows came to a table or left it."""
    return {file.path: file for commit in commits for file in (*commit.added, *commit.removed) if file.changes}


def hours_of(rows: ds.Dataset, time: str) -> pa.Table:
    """The devices' hours (`KEYS`) that `rows` have, by the column `time`; one may come again."""
    parts = [KEYS.empty_table()]
    for batch in rows.to_batches(columns=["device", time]):
        hours = pa.table([batch["device"], pc.floor_temporal(batch[time], unit="hour")], schema=KEYS)
        parts.append(_each_once(hours))
    return pa.concat_tables(parts)


def by_month(keys: pa.Table, whole: Iterable[str], since: datetime = BEGINNING) -> list[Touched]:
    """What is touched of each month, in order, where `keys` are and all of the months `whole`; nothing of before `since`, a midnight:
    of that there are no rows any more to make it of."""
    keys = _each_once(keys.filter(pc.greater_equal(keys["hour"], pa.scalar(since, TIME))))
    found = {month: Touched(month, since=since) for month in whole if month >= f"{since.year:04}-{since.month:02}"}
    months = pc.strftime(keys["hour"], "%Y-%m")
    for month in months.unique().to_pylist():
        found.setdefault(month, Touched(month, keys.filter(pc.equal(months, month))))
    return [found[month] for month in sorted(found)]


def _each_once(keys: pa.Table) -> pa.Table:
    return keys.group_by(KEYS.names).aggregate([])


def span(first: datetime, until: datetime) -> pa.Table:
    """A place for rows to be in, (first, until, low, high): a time from `first` until before `until`, and devices, here all."""
    return pa.table(
        {"first": pa.array([first], TIME), "until": pa.array([until], TIME), "low": [""], "high": [LAST_DEVICE]}
    )


def spans(touched: Touched, *, device: bool) -> pa.Table:
    """The places of all that is touched: each hour, from the first of its touched devices to the last, or of all if not `device`."""
    if touched.keys is None:
        return span(*touched.days)
    found = touched.keys.group_by("hour").aggregate([("device", "min"), ("device", "max")])
    until = pc.add(found["hour"], pa.scalar(HOUR, pa.duration("us")))
    low, high = (
        (found["device_min"], found["device_max"]) if device else (pa.repeat(e, len(found)) for e in ("", LAST_DEVICE))
    )
    return pa.table({"first": found["hour"], "until": until, "low": low, "high": high})


def needed(files: pa.Table, time: str, places: pa.Table) -> list[str]:
    """The paths of those of a table's `files`, as its log describes them, that may have a row in one of `places`.

    That is told by the least and the greatest `time`, and device, that the log has of a file; one of which it has none is needed.
    """
    first, last = _known(files, f"min.{time}", BEGINNING), _known(files, f"max.{time}", END)
    low, high = _known(files, "min.device", ""), _known(files, "max.device", LAST_DEVICE)
    found = np.zeros(files.num_rows, bool)
    for place in zip(*(_plain(places[name]) for name in ("first", "until", "low", "high")), strict=True):
        found |= (first < place[1]) & (last >= place[0]) & (low <= place[3]) & (high >= place[2])
    return list(files["path"].filter(pa.array(found)).to_pylist())


def _known(files: pa.Table, column: str, default: datetime | str) -> NDArray[Any]:
    value = pa.scalar(default, TIME if isinstance(default, datetime) else pa.string())
    if column not in files.column_names:
        return _plain(pa.repeat(value, files.num_rows))
    return _plain(pc.fill_null(files[column].cast(value.type), value))


def _plain(values: pa.Array | pa.ChunkedArray) -> NDArray[Any]:
    """Times as µs since 1970, names as they are: what NumPy compares."""
    return np.array(values.to_pylist(), str) if pa.types.is_string(values.type) else values.cast(pa.int64()).to_numpy()
