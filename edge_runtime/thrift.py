"""The Thrift compact protocol, as much of it as the headers of a Parquet file are written in: no reading, no maps, no doubles.

Source: https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Value = tuple[int, bytes]
"""The number of a type, and a value of it as it is written."""

TRUE: Value = (1, b"")
"""In a struct, where the type says it all."""


def varint(number: int) -> bytes:
    """A number of at least 0, seven bits a byte, the lowest first."""
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


def zigzag(number: int) -> bytes:
    """A number of 64 bits with a sign, short if it is near 0."""
    return varint(number << 1 ^ number >> 63)


def i32(number: int) -> Value:
    """A number of 32 bits, or of an enumeration."""
    return 5, zigzag(number)


def i64(number: int) -> Value:
    """A number of 64 bits."""
    return 6, zigzag(number)


def string(text: str) -> Value:
    """Text, as UTF-8."""
    content = text.encode()
    return 8, varint(len(content)) + content


def several(values: Sequence[Value]) -> Value:
    """A list of values of one type; at least one."""
    (kind, _), count = values[0], len(values)
    header = bytes([count << 4 | kind]) if count < 15 else bytes([0xF0 | kind]) + varint(count)
    return 9, header + b"".join(content for _, content in values)


def record(fields: Mapping[int, Value]) -> Value:
    """A struct: its fields by number, which rise by 15 at the most."""
    found, last = bytearray(), 0
    for number, (kind, content) in fields.items():
        found += bytes([number - last << 4 | kind]) + content
        last = number
    return 12, bytes(found) + b"\0"
