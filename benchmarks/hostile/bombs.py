"""Small files that would be large, or for ever, once they are read."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

from benchmarks.hostile.footers import (
    COLUMNS,
    GROUPS,
    META,
    ROWS,
    SCHEMA,
    STATISTICS,
    WORDS,
    Tree,
    bent,
    columns,
    footer,
    with_footer,
    written,
)
from benchmarks.hostile.sender import Files, Kind, Sender, changed, rewritten
from edge_runtime.thrift import i32, i64, string, varint

MANY = 100_000
PREDICTION, F_A = 3, 7
"""Places of columns."""


def _rows(times: int) -> Callable[[pa.Table], pa.Table]:
    return lambda table: pa.concat_tables([table] * times)


def _same(table: pa.Table, name: str, text: str) -> pa.Table:
    """The table with one text in all rows of a column, of which there is one copy."""
    column = pa.DictionaryArray.from_arrays(pa.array([0] * table.num_rows, pa.int32()), pa.array([text]))
    return table.set_column(table.schema.get_field_index(name), name, column)


def _lying(by: Sender, content: bytes, rows: int) -> Files:
    """The file with a footer that says of the file and its first group that they have so many rows."""

    def lie(tree: Tree) -> None:
        tree[ROWS] = i64(rows)
        tree[GROUPS][1][1][0][3] = i64(rows)
        tree[GROUPS][1][1][0][2] = i64(100)

    return by.named(bent(content, lie))


def _wide(by: Sender, count: int) -> Files:
    def change(table: pa.Table) -> pa.Table:
        one = pa.array([1.0] * table.num_rows, pa.float32())
        return pa.table([*table.columns, *[one] * count], [*table.column_names, *(f"g_{i}" for i in range(count))])

    return by.rows(change)


def _schema_of(by: Sender, elements: bytes, count: int) -> Files:
    """A footer whose schema is `count` elements of a few bytes."""
    tree = footer(by.good)
    root = tree[SCHEMA][1][1][0]
    del tree[SCHEMA]
    rest = written(tree)
    schema = b"\x19\xfc" + varint(count + 1) + written({**root, 5: i32(count)}) + elements * count
    head, tail = rest[:2], rest[2:]  # field 1, then the others by their distance
    return by.named(with_footer(by.good, head + b"\x19" + schema[1:] + b"\x16" + tail[1:]))


def _deep(by: Sender, depth: int) -> Files:
    tree = footer(by.good)
    group: Tree = {3: i32(0), 4: string("g"), 5: i32(1)}
    tree[SCHEMA][1][1][-1:] = [group] * depth + tree[SCHEMA][1][1][-1:]
    return by.named(with_footer(by.good, written(tree)))


def _lists(by: Sender, depth: int) -> Files:
    kind = pa.float32()
    value: object = 1.0
    for _ in range(depth):
        kind, value = pa.list_(kind), [value]
    return by.column("f_a", [value], kind)


def _long_list(by: Sender) -> Files:
    return by.column("f_a", [[0.0] * 2_000_000], pa.list_(pa.float32()))


def _groups(by: Sender, count: int) -> Files:
    def repeat(tree: Tree) -> None:
        tree[GROUPS] = (9, (12, tree[GROUPS][1][1] * count))

    return by.footed(repeat)


def _empty_groups(by: Sender, count: int) -> Files:
    def add(tree: Tree) -> None:
        empty: Tree = {COLUMNS: (9, (12, [])), 2: i64(0), 3: i64(0)}
        tree[GROUPS] = (9, (12, tree[GROUPS][1][1] + [empty] * count))

    return by.footed(add)


def _text(by: Sender, name: str, texts: list[str], **options: object) -> Files:
    return by.rows(changed(name, texts, pa.string()), **options)


def _words(by: Sender, more: dict[str, str]) -> Files:
    pairs = [{1: string(key), 2: string(value)} for key, value in more.items()]
    return by.footed(lambda tree: tree[WORDS][1][1].extend(pairs))


def _statistics(by: Sender, size: int) -> Files:
    return by.footed(
        lambda tree: columns(tree)[PREDICTION][META][1].update({STATISTICS: (12, {5: string("z" * size)})})
    )


def _fixed(by: Sender, length: int) -> Files:
    """A sequence number of so many bytes."""

    def bend(tree: Tree) -> None:
        tree[SCHEMA][1][1][1] = {1: i32(7), 2: i32(length), 3: i32(0), 4: string("seq")}
        meta = columns(tree)[0][META][1]
        meta[1] = i32(7)

    return by.footed(bend)


def _any_length(by: Sender) -> Files:
    """A feature of bytes that says it is a decimal: in the dictionary once, and 5,000 times in what is read."""
    content = rewritten(
        by.good, lambda t: _same(pa.concat_tables([t] * 1000), "f_a", "x" * 9_000_000), store_schema=False
    )

    def lie(tree: Tree) -> None:
        element = tree[SCHEMA][1][1][1 + F_A]
        element.pop(10, None)
        element.update({6: i32(5), 7: i32(0), 8: i32(9)})

    return by.named(bent(content, lie))


def _unknown(by: Sender, depth: int) -> Files:
    """A footer with a field that no version knows, of structs in each other."""
    tree = footer(by.good)
    return by.named(with_footer(by.good, written(tree)[:-1] + b"\x5c" + b"\x1c" * depth + b"\0" * (depth + 1) + b"\0"))


KINDS = [
    Kind("100,005 rows", "more rows than a batch may have", "rows, 1 to", lambda by: by.rows(_rows(20_001))),
    Kind(
        "rows that are denied",
        "100,005 rows under a footer that says 100",
        "it has pages of more than the",
        lambda by: _lying(by, rewritten(by.good, _rows(20_001)), 100),
    ),
    Kind(
        "2³¹ rows in a group",
        "a row group that says it has so many, for which a reader makes room",
        "its row groups have 2147483648",
        lambda by: by.footed(lambda tree: tree[GROUPS][1][1][0].update({3: i64(2**31)})),
    ),
    Kind(
        "rows that are not there",
        "5 rows under a footer that says 100,000",
        "it has 5 rows and says that it has",
        lambda by: _lying(by, by.good, MANY),
    ),
    Kind("10¹⁵ rows", "a footer that says it has so many", "rows, 1 to", lambda by: _lying(by, by.good, 10**15)),
    Kind(
        "−1 rows",
        "a footer that says it has so many",
        "it says that it has -1 rows",
        lambda by: _lying(by, by.good, -1),
    ),
    Kind("no rows", "a batch without a row", "it has 0 rows, 1 to", lambda by: by.rows(lambda t: t.slice(0, 0))),
    Kind("5,000 columns", "as many features as nobody has", "g_0 is one too many", lambda by: _wide(by, 5000)),
    Kind(
        "700,000 columns",
        "a footer with so many columns of three bytes",
        "columns, at most",
        lambda by: _schema_of(by, b"\x48\0\0", 690_000),
    ),
    Kind(
        "20 lists in each other",
        "a feature in so many lists",
        "it has columns in over 16 groups in each other",
        lambda by: _lists(by, 20),
    ),
    Kind(
        "1,000 groups in each other",
        "a column so deep in the schema",
        "it has columns in over 16 groups in each other",
        lambda by: _deep(by, 1000),
    ),
    Kind(
        "100,000 groups in each other",
        "a column so deep in the schema that a reader runs out of stack",
        "columns, at most",
        lambda by: _deep(by, MANY),
    ),
    Kind(
        "a list of 2 million", "one row whose feature is a list of so many", "it has pages of more than the", _long_list
    ),
    Kind("3,000 row groups", "each of the same pages", "its row groups have 15000", lambda by: _groups(by, 3000)),
    Kind(
        "250,000 empty row groups",
        "a footer of groups without columns",
        "it has a row group of 0 columns, and 11 in",
        lambda by: _empty_groups(by, 250_000),
    ),
    Kind(
        "a number of 2³⁰ bytes",
        "a column of values of so many bytes each",
        "bytes, at most 256 are read",
        lambda by: _fixed(by, 2**30),
    ),
    Kind(
        "numbers of any length",
        "a decimal of 9 MB in the dictionary of 5,000 rows",
        "its column f_a has numbers of any length.",
        _any_length,
    ),
    Kind(
        "100,000 structs in each other",
        "in a field of the footer that no version knows",
        "it is damaged: its footer or its pages are",
        lambda by: _unknown(by, MANY),
    ),
    Kind(
        "a long text in each row",
        "one text of 9 MB that all rows have, by a dictionary",
        "its column prediction has a value of",
        lambda by: by.rows(lambda t: _same(pa.concat_tables([t] * 5000), "prediction", "x" * 9_000_000)),
    ),
    Kind(
        "texts of 14 MB",
        "five different ones",
        "bytes, at most",
        lambda by: _text(by, "prediction", [str(i) + "x" * 14_000_000 for i in range(5)]),
    ),
    Kind(
        "texts of 14 MB that are denied",
        "five different ones, under a footer that says 100 bytes",
        "its pages unpack to more than the",
        lambda by: _lying(
            by, next(iter(_text(by, "prediction", [str(i) + "x" * 14_000_000 for i in range(5)]).values())), 5
        ),
    ),
    Kind(
        "metadata of 12 MB",
        "a value in the metadata",
        "bytes, at most",
        lambda by: _words(by, {"note": "v" * 12 * 2**20}),
    ),
    Kind(
        "a column's name of 1 MB",
        "a feature called so",
        "bytes, at most",
        lambda by: by.rows(lambda t: t.rename_columns([*t.column_names[:-1], "f" * 2**20])),
    ),
]

ODD = [
    Kind("a key of 1 MB", "a key in the metadata", "", lambda by: _words(by, {"k" * 2**20: ""})),
    Kind("200,000 keys", "so many in the metadata", "", lambda by: _words(by, {f"{i:x}": "" for i in range(200_000)})),
    Kind("statistics of 1 MB", "a highest value so long", "", lambda by: _statistics(by, 2**20)),
]
"""Small, and stay so: what is large in them no reader makes room for."""
