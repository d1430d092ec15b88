from __future__ import annotations

import threading
from pathlib import Path

import pytest

from edgeloop.errors import DataError, NotFound
from edgeloop.store import Entry, Store
from ingest import fetching
from ingest.fetching import READERS, fetch
from tests.ingest.batches import events, seal
from tests.site import BentStore, Site, make_site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path)


def put(site: Site, count: int) -> dict[str, bytes]:
    files = dict(seal(site, events(1 + 5 * i, 5)) for i in range(count))
    for path, content in files.items():
        site.store.create(path, content)
    return files


def waiting(site: Site, store: Store) -> list[Entry]:
    return sorted(store.list(site.config.layout.inbox), key=lambda entry: entry.path)


def test_files_come_in_their_order_and_are_read_at_the_same_time(site: Site) -> None:
    files, together = put(site, 8), threading.Barrier(4)
    store = BentStore(
        site.store, before=lambda *_: together.wait(60) and None
    )  # read one by one, they would wait for ever
    found = [(entry.path, content()) for entry, content in fetch(store, site.config, waiting(site, store))]
    assert found == sorted(files.items())


@pytest.mark.parametrize("ahead", [0, 1, fetching.AHEAD])
def test_no_more_is_fetched_ahead_than_memory_is_meant_to_hold(
    site: Site, monkeypatch: pytest.MonkeyPatch, ahead: int
) -> None:
    put(site, 3 * READERS)
    read = list[str]()
    store = BentStore(site.store, before=lambda verb, path: read.append(path))
    monkeypatch.setattr(fetching, "AHEAD", ahead)
    files = fetch(store, site.config, waiting(site, store))
    for taken, (_, content) in enumerate(files, 1):
        content()
        assert len(read) <= taken + (READERS if ahead > 1 else 0)
    assert len(read) == 3 * READERS


def test_what_cannot_be_read_is_no_others_fault_and_what_has_no_name_of_ours_is_not_fetched(site: Site) -> None:
    gone, _, kept = put(site, 3)
    odd = f"{site.config.layout.inbox}/d1/data.parquet"
    site.store.create(odd, b"x")
    entries, read = waiting(site, site.store), list[str]()
    site.store.delete(gone)
    store = BentStore(site.store, before=lambda verb, path: read.append(path))
    found = {entry.path: content for entry, content in fetch(store, site.config, entries)}
    with pytest.raises(NotFound):
        found[gone]()
    with pytest.raises(DataError, match="is not <epoch>"):
        found[odd]()
    assert found[kept]()
    assert odd not in read
