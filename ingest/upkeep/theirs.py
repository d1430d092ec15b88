"""What the lake has of somebody: which rows are theirs, how many, and which trainings had them or have lost them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from edgeloop.errors import DataError, StoreError
from edgeloop.lake import Lake
from edgeloop.layout import Layout
from edgeloop.manifest import ReleaseManifest, decode_manifest
from edgeloop.store import Store
from ingest.derived.kept import kept_since
from ingest.upkeep.tombstones import Request, TrainedOn, read_proofs, read_tombstones


def predicate(lake: Lake, name: str, request: Request) -> str | None:
    """Which rows of a table are theirs, in DuckDB's SQL; None if it has none, or a span cannot be told in it."""
    table = lake.table(name)
    columns = {field.name for field in table.schema().fields} if table else set()
    if "device" not in columns:
        return None
    theirs = f"device IN ({', '.join(repr(device) for device in request.devices)})"
    if request.span is None:
        return theirs
    since, until = (moment(time) for time in request.span)
    if "ts" in columns:
        return f"{theirs} AND ts >= {since} AND ts < {until}"
    if "until" in columns:
        return f'{theirs} AND hour < {until} AND "until" > {since}'
    return f"{theirs} AND hour < {until} AND hour + INTERVAL 1 HOUR > {since}" if "hour" in columns else None


def moment(time: datetime) -> str:
    """A time in DuckDB's SQL."""
    return f"TIMESTAMPTZ '{time.isoformat()}'"


def count_rows(lake: Lake, request: Request) -> dict[str, int]:
    """How many rows of each table are theirs."""
    found = {}
    for name in lake.names():
        if where := predicate(lake, name, request):
            row = lake.connect(**{name: None}).execute(f"SELECT count(*) FROM {name} WHERE {where}").fetchone()
            found[name] = int(row[0]) if row else 0
    return found


def count_refused(store: Store, lake: Lake, layout: Layout) -> dict[str, int]:
    """How many rows each table has of devices of which nothing is taken in any more; no table that has none."""
    tombstones, found = read_tombstones(store, layout), dict[str, int]()
    for name in lake.names() if tombstones else ():
        table = lake.table(name)
        if table and "device" in {field.name for field in table.schema().fields}:
            rows = (
                lake.connect(**{name: None}).execute(f"SELECT device, count(*) FROM {name} GROUP BY device").fetchall()
            )
            if count := sum(count for device, count in rows if tombstones.refuses(device)):
                found[name] = count
    return found


def trained_on(store: Store, lake: Lake, layout: Layout, request: Request) -> Iterator[TrainedOn]:
    """The trainings, whose rows nobody can read again once the tables have no older version."""
    for entry in sorted(store.list(layout.trainings), key=lambda entry: entry.path):
        if entry.path.endswith("/manifest.json"):
            manifest = decode_manifest(store.read(entry.path))
            yield TrainedOn(manifest.id, manifest.lineage.rows, _rows_in(lake, manifest, request))


def _rows_in(lake: Lake, manifest: ReleaseManifest, request: Request) -> int | None:
    lineage = manifest.lineage
    where = predicate(lake, "events", request)
    query = f"""
        SELECT count(*) FROM events
        SEMI JOIN (SELECT device, ts FROM labels WHERE known_at <= ?) AS known USING (device, ts)
        WHERE {where} AND ts BETWEEN ? AND ?
    """
    try:
        connection = lake.connect(events=lineage.events_version, labels=lineage.labels_version)
        row = connection.execute(query, [manifest.created, lineage.trained_from, lineage.trained_until]).fetchone()
    except (DataError, StoreError):
        return None
    return min(int(row[0]), lineage.rows) if row else None


def lost_rows(store: Store, lake: Lake, layout: Layout, manifest: ReleaseManifest) -> list[str]:
    """Why the rows that a release was trained on cannot be read again, a sentence each; none if they can."""
    said = []
    for _, proof in read_proofs(store, layout):
        for training in proof.trained:
            if training.release == manifest.id:
                of = "some" if training.forgotten is None else f"at most {training.forgotten:,}"
                said.append(f"{of} of its {training.rows:,} rows were forgotten on {proof.done:%Y-%m-%d}.")
    since, first = kept_since(lake.table("events"), lake.table("sketches")), manifest.lineage.trained_from
    if since is not None and first < since:
        said.append(f"its rows of before {since:%Y-%m-%d} were taken by retention.")
    return said
