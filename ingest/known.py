"""What the lake has already, for a file that comes again not to be taken twice."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import pyarrow as pa

from edgeloop.errors import DataError
from edgeloop.lake import Lake
from ingest.checks.words import HIGHEST_SEQ
from ingest.plan import AcceptedBatch

Known = dict[tuple[str, int], list[tuple[int, int, str]]]
"""Batches by device and epoch: (first, last sequence number, digest)."""


def known_batches(
    lake: Lake, devices: Collection[str] | None = None, numbers: tuple[int, int] = (0, HIGHEST_SEQ)
) -> Known:
    """The batches in the lake that have a sequence number from the first to the last of `numbers`; of the given devices only, if any are
    given. Most rows of years are ruled out by the numbers that the files say they have, unread."""
    known: Known = {}
    if lake.table("batches") is None or devices == set():
        return known
    query = "SELECT device, epoch, first_seq, last_seq, sha256 FROM batches WHERE verdict = 'accepted'"
    query += " AND last_seq >= ? AND first_seq <= ?"
    if devices is not None:
        query += " AND device IN (SELECT unnest(?))"
    rows = lake.connect(batches=None).execute(query, [*numbers, *([] if devices is None else [sorted(devices)])])
    for device, epoch, first, last, sha in rows.fetchall():
        known.setdefault((device, epoch), []).append((first, last, sha))
    return known


def knows_labels(lake: Lake, rows: pa.Table, source: str) -> bool:
    """Whether the lake has every one of these labels. It keeps no digest of a label file: its rows tell."""
    if lake.table("labels") is None:
        return False
    connection = lake.connect(labels=None).register("carried", rows)
    query = """
        SELECT count(*) FROM (
            SELECT device, ts, label, known_at FROM carried
            EXCEPT SELECT device, ts, label, known_at FROM labels WHERE source = ?
        )
    """
    return connection.execute(query, [source]).fetchone() == (0,)


def demand_fresh_sequence(batch: AcceptedBatch, others: Iterable[tuple[int, int, str]]) -> None:
    """Demand that no batch of the same device and epoch has one of the batch's sequence numbers. Raises `DataError`."""
    for first, last, sha in others:
        if first <= batch.last_seq and batch.first_seq <= last:
            raise DataError(
                f"its events {batch.first_seq} to {batch.last_seq} overlap those of batch {sha[:12]} ({first} to {last}).",
                remedy="Two devices use one id, or a device was restored from an old copy: give it a new epoch.",
            )
