"""What a batch says of itself, and should not."""

from __future__ import annotations

from benchmarks.hostile.footers import WORDS
from benchmarks.hostile.sender import EPOCH, Files, Kind, Sender
from edge_runtime.thrift import string


def _raw(by: Sender, key: bytes, value: bytes) -> Files:
    """The good batch with one word of bytes that need be no text."""

    def bend(tree: dict[int, tuple[int, object]]) -> None:
        pairs = tree[WORDS][1][1]  # type: ignore[index]
        pairs[:] = [pair for pair in pairs if pair[1] != string(key.decode())]
        pairs.append({1: string(key.decode()), 2: (8, bytes([len(value)]) + value)})

    return by.footed(bend)


KINDS = [
    Kind("another loop", "a batch of another loop", "its loop is", lambda by: by.wording(loop="other")),
    Kind("another device", "a batch of another device", "its device is", lambda by: by.wording(device="honest")),
    Kind(
        "no device",
        "a batch that does not say of which it is",
        "it does not say its device. Send batches as a",
        lambda by: by.wording(device=None),
    ),
    Kind(
        "a device of noise",
        "a device whose name is no UTF-8",
        "its device is",
        lambda by: _raw(by, b"device", b"\xff\xfe\0"),
    ),
    Kind("another epoch", "a batch of the epoch before", "its epoch is", lambda by: by.wording(epoch=str(EPOCH - 1))),
    Kind("an epoch in words", "an epoch that is no number", "its epoch is", lambda by: by.wording(epoch="seven")),
    Kind(
        "a newer schema",
        "event schema 3",
        "it is of event schema 3, this centre reads 1",
        lambda by: by.wording(schema="3"),
    ),
    Kind(
        "schema 0",
        "an event schema that never was",
        "it is of event schema 0, which there never was",
        lambda by: by.wording(schema="0"),
    ),
    Kind(
        "no schema's version",
        "a batch that does not say of which it is",
        "it does not say its edgeloop.schema. Send",
        lambda by: by.wording(schema=None),
    ),
    Kind("a schema in fractions", "event schema 2.0", "its edgeloop.schema is", lambda by: by.wording(schema="2.0")),
    Kind(
        "a schema of a million digits",
        "event schema 9…",
        "its edgeloop.schema is",
        lambda by: by.wording(schema="9" * 1_000_000),
    ),
    Kind("a schema in another script", "event schema ٢", "its edgeloop.schema is", lambda by: by.wording(schema="٢")),
    Kind(
        "other features",
        "the digest of another feature schema",
        "The device was set up with other features",
        lambda by: by.wording(features="0" * 64),
    ),
    Kind(
        "no features",
        "a batch that does not say of which",
        "it does not say its features. Send batches as",
        lambda by: by.wording(features=None),
    ),
    Kind(
        "sealed at no time", "sealed_at is yesterday", "its sealed_at is", lambda by: by.wording(sealed_at="yesterday")
    ),
    Kind("sealed at NaN", "sealed_at is NaN", "its sealed_at is", lambda by: by.wording(sealed_at="NaN")),
    Kind(
        "not sealed",
        "no sealed_at",
        "it does not say its sealed_at. Send batches",
        lambda by: by.wording(sealed_at=None),
    ),
    Kind(
        "sealed before all time",
        "sealed_at is in the year 1, an hour before it in UTC",
        "its sealed_at is",
        lambda by: by.wording(sealed_at="0001-01-01T00:00:00+01:00"),
    ),
    Kind(
        "sealed after all time",
        "sealed_at is in the year 9999, an hour after it in UTC",
        "its sealed_at is",
        lambda by: by.wording(sealed_at="9999-12-31T23:59:59-01:00"),
    ),
    Kind("shed less than none", "shed is −1", "not a whole number", lambda by: by.wording(shed="-1")),
    Kind("shed a fraction", "shed is 0.5", "not a whole number", lambda by: by.wording(shed="0.5")),
    Kind("shed without end", "shed is 10³⁰", "not a whole number", lambda by: by.wording(shed="1" + "0" * 30)),
    Kind(
        "shed more than there are numbers", "shed is 10¹⁵ − 1", "sequence numbers", lambda by: by.wording(shed="9" * 15)
    ),
    Kind(
        "of an unknown kind",
        "kind is readings",
        "this centre reads events and aggregates.",
        lambda by: by.wording(kind="readings"),
    ),
    Kind(
        "of aggregates, and is not",
        "events that say they are aggregates",
        "events is missing",
        lambda by: by.wording(kind="aggregates", events="5", last_seq="105"),
    ),
]
