"""Numbers of few decimals as whole ones: a sensor's 18.1 is 181 tenths, which packs better than the 24 bits of a float32.

Division gives back the very float32, also to a reader whose float64 is off in its last digit: the nearest point between two neighbouring
float32s is at least 3e-14 of the value away, for `LARGEST` over 10 ** `SCALES[-1]`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SCALES = range(7)
LARGEST = 2**24
"""Up to here whole numbers are float32s; a number of more bits than a float32 has would be no gain."""


def decimals(values: NDArray[np.float32]) -> tuple[int, NDArray[np.int64]] | None:
    """The smallest scale s, and whole numbers (n,) with float32(number / 10 ** s) = value to the bit for all; None if there are none.

    So it is with NaN, infinities and -0.0, which are no decimals, and with columns that measure finer.
    """
    wide, bits = values.astype(np.float64), values.view(np.int32)
    for scale in SCALES:
        rounded = np.rint(wide * 10**scale)
        if not (np.abs(rounded) <= LARGEST).all():
            return None
        numbers = rounded.astype(np.int64)  # of these, 0 has no sign
        if np.array_equal((numbers / 10**scale).astype(np.float32).view(np.int32), bits):
            return scale, numbers
    return None
