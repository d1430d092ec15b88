"""Retention: rows that are older than a loop keeps them go for good, from every version of the lake, whoever pinned one.

`batches`, the hourly tables and `decisions` stay: they count, and hold no row of anybody. Files in quarantine go when they are as old, and
what plans say, for that is which device sent what.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from deltalake import Transaction

from edgeloop.clock import EPOCH_0
from edgeloop.config import LoopConfig
from edgeloop.lake import Lake
from edgeloop.layout import Layout
from edgeloop.store import Store
from ingest.derived.aggregates import update_aggregates
from ingest.derived.kept import APPLICATION, kept_from
from ingest.plan import empty_plans
from ingest.quarantine import list_held, release
from ingest.run import settle
from ingest.upkeep.erasure import begin_anew, delete_rows, drop_history, is_unfinished
from ingest.upkeep.theirs import moment

AGED = {"events": "ts", "sketches": "until", "labels": "ts"}
"""By which column the rows of a table are how old."""


@dataclass(frozen=True)
class Retained:
    """What a retention did: rows that went, by table, and files in quarantine; plans that were emptied. Rows from `since` on were kept."""

    since: datetime
    rows: dict[str, int]
    quarantined: int
    plans: int


def retain(store: Store, lake: Lake, config: LoopConfig, now: datetime) -> Retained | None:
    """Remove what is older than `privacy.retention`; None if the loop keeps all for ever. May be repeated.

    Raises:
        StoreError: the store failed, or others kept on writing; do it again.
    """
    if config.privacy.retention is None:
        return None
    since = kept_from(now, config.privacy.retention)
    tables = {name: column for name, column in AGED.items() if lake.table(name) is not None}
    settle(store, lake, config, now)
    rows = {name: _age(lake, name, column, since) for name, column in tables.items()}
    unfinished = [name for name in tables if is_unfinished(store, lake, config.layout, name)]
    if begun := {name: begin_anew(lake, name) for name in unfinished}:
        update_aggregates(lake, mark=True)  # while the log still says what left
    for name, table in begun.items():
        drop_history(store, lake, config.layout, name, table)
    return Retained(since, rows, _drop_held(store, config.layout, since), empty_plans(store, config.layout, since))


def _age(lake: Lake, name: str, column: str, since: datetime) -> int:
    table = lake.table(name)
    assert table is not None
    days = max((since - EPOCH_0).days, table.transaction_version(APPLICATION) or 0)
    return delete_rows(lake, name, f'"{column}" < {moment(since)}', [Transaction(APPLICATION, days)])


def _drop_held(store: Store, layout: Layout, since: datetime) -> int:
    old = [held for held in list_held(store, layout) if held.since < since]
    for held in old:
        release(store, layout, held)
    return len(old)
