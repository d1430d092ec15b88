from __future__ import annotations

from edgeloop.layout import Layout
from ingest.plan import Rejected
from ingest.rejects import MOST, by_reason, by_sender


def test_reasons_of_one_kind_are_counted_together_the_most_frequent_first() -> None:
    said = [
        *("its events 40 to 89 overlap those of batch aabbccddeeff (1 to 50).",) * 2,
        "its events 1 to 9 overlap those of batch 0123456789ab (2 to 4).",
        "its loop is 'other', expected 'pump'.",
        *(f"it is no Parquet file: {word}." for word in "abcdef"),
    ]
    found = by_reason(Rejected("p", reason) for reason in said)
    assert next(iter(found.items())) == ("its events … to … overlap those of batch … (… to …).", 3)
    assert len(found) == MOST


def test_a_sender_is_a_device_or_a_source_of_labels() -> None:
    layout = Layout("pump")
    paths = [f"{layout.inbox}/d1/x", f"{layout.inbox}/d1/y", f"{layout.labels}/lab/x", f"{layout.inbox}/x"]
    assert by_sender(layout, [Rejected(path, "") for path in paths]) == {"d1": 2, "labels/lab": 1, "": 1}
