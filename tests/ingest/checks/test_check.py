"""The checks come from cheap to dear, and what fails a cheap one is not paid for."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pyarrow as pa
import pytest

from benchmarks.hostile.footers import GROUPS, bent, with_page
from benchmarks.hostile.sender import FIRST, NOW, Sender, changed, floats, rewritten
from edge_runtime.thrift import i32, i64
from edgeloop.errors import DataError
from ingest.checks.check import MAX_BYTES, check_batch
from ingest.run import ingest
from tests.site import BentStore, Site, make_site

REASONS = {
    "footer": "its row groups have 2147483648",
    "version": "event schema 3",
    "device": "its device is 'other'",
    "digest": "its content is not what its name says",
    "pages": "its pages unpack to more",
    "columns": "extra is one too many",
    "numbers": "do not rise",
    "ranges": "weights under 1",
    "clock": "Set the device's clock",
}
"""What is checked, in its order, and what is said if it is wrong."""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path)


def wrong_in(by: Sender, faults: set[str]) -> tuple[str, bytes]:
    """A batch that has all of these faults at once."""

    def change(table: pa.Table) -> pa.Table:
        table = floats(table)
        if "numbers" in faults:
            table = changed("seq", [FIRST] * table.num_rows, pa.int64())(table)
        if "ranges" in faults:
            table = changed("weight", [0.0], pa.float32())(table)
        if "clock" in faults:
            table = changed("ts", [0], pa.timestamp("us", "UTC"))(table)
        return table.append_column("extra", table["f_a"]) if "columns" in faults else table

    words = {"schema": "3" if "version" in faults else "2", "device": "other" if "device" in faults else by.name}
    content = rewritten(by.good, change, words, use_dictionary=False, compression="none")
    if "pages" in faults:
        content = with_page(content, 7, lambda header, body: header.update({2: i32(2**30)}) or body)
    if "footer" in faults:
        content = bent(content, lambda tree: tree[GROUPS][1][1][0].update({3: i64(2**31)}))
    (path,) = by.named(content)
    digest = sha256(content).hexdigest()
    return path.replace(digest, digest[::-1]) if "digest" in faults else path, content


def test_a_batch_that_is_wrong_in_every_way_is_told_the_cheapest_first(site: Site) -> None:
    by, faults = Sender(site.config, "d1"), list(REASONS)
    for number, fault in enumerate(faults):
        path, content = wrong_in(by, set(faults[number:]))
        with pytest.raises(DataError, match=REASONS[fault]):
            check_batch(path, content, site.config, NOW)
    assert check_batch(*wrong_in(by, set()), site.config, NOW).rows == 5


def test_what_its_name_or_size_is_enough_to_refuse_is_not_fetched(site: Site) -> None:
    by, layout = Sender(site.config, "d1"), site.config.layout
    (good,) = by.named(by.good)
    for path, content in {
        good: by.good,
        f"{layout.inbox}/d1/data.parquet": by.good,
        f"{layout.inbox}/-rf/{good.rpartition('/')[2]}": by.good,
        f"{layout.labels}/today.parquet": b"labels of nobody",
        **by.named(b""),
        **by.named(bytes(MAX_BYTES + 1)),
        **by.labels(bytes(MAX_BYTES + 1)),
    }.items():
        site.store.create(path, content)
    fetched: list[str] = []
    store = BentStore(site.store, before=lambda verb, path: fetched.append(path) if verb == "read" else None)
    report = ingest(store, site.lake, site.config, NOW)
    assert (report.batches, report.rejected) == (1, 6)
    assert {path for path in fetched if path.startswith((layout.inbox, layout.labels))} == {good}
