from __future__ import annotations

import random
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_runtime.aggregates import sketch
from edgeloop.errors import DataError
from ingest.derived.sketches import merge, quantiles, samples

BOUND = 3 * 0.0133
"""Three times the error that 1 of 100 sketches goes over: one goes over this in some hundred billion."""


def of(values: NDArray[np.float32]) -> bytes:
    return sketch(values, np.ones(len(values), np.int64))


parts = st.lists(st.integers(1, 3000), min_size=1, max_size=12)


@given(parts, st.integers(0, 2**32), st.sampled_from(["normal", "lognormal", "few"]))
@settings(max_examples=40, deadline=None)
def test_the_sketch_of_all_parts_is_that_of_the_whole_within_the_bound(sizes: list[int], seed: int, shape: str) -> None:
    draw = np.random.default_rng(seed)
    whole = getattr(draw, shape if shape != "few" else "normal")(size=sum(sizes)).astype(np.float32)
    whole = whole.round() if shape == "few" else whole
    kept, weights = samples(merge(of(part) for part in np.split(whole, np.cumsum(sizes)[:-1])))
    assert weights.sum() == len(whole)
    assert (kept.min(), kept.max()) == (whole.min(), whole.max())
    for edge in np.quantile(whole, [0.01, 0.25, 0.5, 0.9]):
        assert weights[kept <= edge].sum() / len(whole) == pytest.approx((whole <= edge).mean(), abs=BOUND)


def test_quantiles_of_few_are_exact() -> None:
    assert quantiles(merge([of(np.arange(50, dtype=np.float32)), of(np.float32([99.0]))]), [0.5, 1.0]) == [25.0, 99.0]


def honest() -> list[bytes]:
    draw, ones = np.random.default_rng(5), (1, 2, 199, 200, 201, 5000, 100_000)
    heavy = sketch(np.arange(300, dtype=np.float32), np.full(300, 2**29))
    return [*(of(draw.normal(size=n).astype(np.float32)) for n in ones), heavy]


def bent(content: bytes, lot: random.Random) -> bytes:
    found = bytearray(content)
    match lot.randrange(4):
        case 0:
            return bytes(found[: lot.randrange(len(found))])
        case 1:
            return lot.randbytes(lot.randrange(3000))
        case 2:
            for _ in range(lot.randrange(1, 4)):
                found[lot.randrange(min(24, len(found)))] = lot.randrange(256)
        case _:
            found[lot.randrange(len(found))] ^= 1 << lot.randrange(8)
    return bytes(found)


def odd(lot: random.Random) -> bytes:
    """A sketch whose structure is sound and that no device would make: whatever levels, however full."""
    levels = lot.randrange(1, 51)
    capacity = sum(max(8, ((400 << d) // 3**d + 1) >> 1) for d in range(levels))
    cuts = sorted(lot.randrange(capacity + 1) for _ in range(levels))
    sizes = np.diff([*cuts, capacity])
    items = [sorted(lot.random() for _ in range(size)) for size in sizes]
    n = sum(int(size) << level for level, size in enumerate(sizes))
    head = bytes([5, 1, 15, 2]) + (200).to_bytes(2, "little") + bytes([8, 0]) + n.to_bytes(8, "little")
    head += (200).to_bytes(2, "little") + bytes([levels, 0]) + np.array(cuts, "<u4").tobytes()
    return head + np.array([0.0, 1.0, *(v for level in items for v in level)], "<f4").tobytes()


def taken(contents: list[bytes]) -> list[bytes]:
    found = []
    for content in contents:
        try:
            samples(content)
        except DataError:
            continue
        found.append(content)
    return found


def test_hostile_bytes_are_refused_or_harmless() -> None:
    """The library reads out of its bounds, or without end, given bytes that are no sketch: so it is tried in a process apart."""
    lot = random.Random(11)
    good = honest()
    assert taken(good) == good
    cases = taken([bent(lot.choice(good), lot) for _ in range(20_000)] + [odd(lot) for _ in range(300)])
    assert len(cases) > 2000  # a value that was changed is still a value; and all that are odd and sound
    program = """if True:
        import sys
        from ingest.derived.sketches import merge, quantiles
        for line in sys.stdin:
            content = bytes.fromhex(line)
            quantiles(merge([content, content]), [0.0, 0.5, 1.0])
        print("survived")
        """
    lines = "\n".join(content.hex() for content in cases)
    done = subprocess.run([sys.executable, "-c", program], input=lines, capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.returncode) == ("survived\n", 0)


@pytest.mark.parametrize(
    ("place", "value", "says"),
    [
        (0, 9, "form"),
        (2, 7, "not a KLL sketch"),
        (4, 100, "not a KLL sketch"),
        (8, 9, "other weight"),
        (15, 1, "other weight"),
        (18, 0, "levels"),
        (18, 200, "levels"),
        (20, 255, "other items"),
        (-1, 0x7F, "no numbers, or outside"),
        (27, 0x7F, "no numbers, or outside"),
    ],
)
def test_what_is_wrong_is_said(place: int, value: int, says: str) -> None:
    found = bytearray(of(np.float32([1, 2, 3, 4, 5])))
    found[place] = value
    with pytest.raises(DataError, match=says):
        samples(bytes(found))
