"""`edgeloop fleet labels`: how late labels are, by source, and whether they still come and meet their events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeloop.cli.options import Json, LoopFile, StoreUrl
from edgeloop.cli.output import emit, note, table
from edgeloop.clock import system_clock
from edgeloop.config import read_loop

if TYPE_CHECKING:
    from ingest.derived.labels import Delay

COLUMNS = ("source", "events", "corrected", "delay", "p95", "ingest", "covered", "newest")


def labels(loop: LoopFile, store: StoreUrl, json: Json = False) -> None:
    """How late labels are, of how many events, and whether they still come and meet their events, by source."""
    from edgeloop.lake import Lake
    from edgeloop.store import open_store
    from ingest.derived.labels import connect_labels, label_delays, label_meetings

    config, now = read_loop(loop), system_clock()
    connection = connect_labels(Lake.of(open_store(store), config))
    delays, meetings = label_delays(connection, now), label_meetings(connection)
    whole = [delay for delay in delays if delay.week is None]
    stopped = [delay.source for delay in whole if delay.stopped(now)]
    drawn = table(f"labels of {config.name}", COLUMNS, map(_row, whole))
    found = {"delays": delays, "meetings": meetings, "stopped": stopped}
    emit(found, as_json=json, human=drawn if whole else f"There are no labels of {config.name} yet.")
    for delay in whole:
        if delay.source in stopped:
            note(delay.silence(now))
    for meeting in meetings:
        if meeting.astray:
            note(meeting.sentence)
    if strangers := set(config.label.sources) - {meeting.source for meeting in meetings}:
        note(f"label.sources names {', '.join(sorted(strangers))}, of which no label ever came.")


def _row(delay: Delay) -> tuple[Any, ...]:
    from ingest.derived.labels import as_length

    lengths = (delay.delay_median, delay.delay_p95, delay.ingest_median)
    covered = "" if delay.coverage is None else f"{delay.coverage:.1%}"
    return delay.source, delay.events, delay.corrected, *map(as_length, lengths), covered, f"{delay.newest:%Y-%m-%d}"
