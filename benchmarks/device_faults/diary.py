"""What a device under test writes down of its lives, in memory that it shares with its parent.

A kill -9 leaves it readable, and no call stands between a stage and the word of it.
"""

from __future__ import annotations

import functools
import mmap
from pathlib import Path
from typing import Any

STAGES = (
    "start",
    "between",
    "predict",
    "write",
    "seal",
    "upload",
    "acknowledge",
    "poll",
    "download",
    "self-test",
    "activate",
    "report",
)

PREDICTING, EXCHANGING, HANDED, RELEASED, BARE, ACTIVATED, LOG = range(7)
"""Its words: the stages of the two threads; how many readings were handed in; whether a release ever answered; how often there was
none after that; activations; and from here on the sequence number by which each reading was answered."""


class Diary:
    """Words in the file at `path`, mapped by a device and its parent.

    Args:
        size: how many readings there may be.
    """

    def __init__(self, path: Path, size: int = 300_000) -> None:
        if not path.exists():
            path.write_bytes(bytes(8 * (LOG + size)))
        with path.open("r+b") as file:
            self._words = memoryview(mmap.mmap(file.fileno(), 0)).cast("q")
        self.size = size

    def __getitem__(self, word: int) -> int:
        return self._words[word]

    def __setitem__(self, word: int, value: int) -> None:
        self._words[word] = value

    def answered(self) -> dict[int, int]:
        """Sequence numbers by reading, of all that were answered."""
        return {n: self._words[LOG + n] for n in range(1, self[HANDED] + 1) if self._words[LOG + n]}

    def begin(self) -> None:
        """A life begins."""
        self[PREDICTING] = self[EXCHANGING] = STAGES.index("start")

    def started(self) -> None:
        """Both threads are between two stages."""
        self[PREDICTING] = self[EXCHANGING] = STAGES.index("between")

    def stages(self) -> set[str]:
        """Where it is: one stage for each of its threads."""
        return {STAGES[self[PREDICTING]], STAGES[self[EXCHANGING]]}

    def mark(self, owner: Any, name: str, stage: str, word: int = EXCHANGING) -> None:
        """Have `owner.name` write down that it is at `stage` while it runs."""
        real, number = getattr(owner, name), STAGES.index(stage)

        @functools.wraps(real)
        def marked(*args: Any, **options: Any) -> Any:
            before, self[word] = self[word], number
            try:
                return real(*args, **options)
            finally:
                self[word] = before

        setattr(owner, name, marked)
