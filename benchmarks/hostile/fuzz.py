"""A fuzzer: changed copies of good files through the real checks, in a process of its own that may fall, hang or swell.

What is taken must be what another reader, DuckDB, finds in the same bytes.
"""

from __future__ import annotations

import multiprocessing
import re
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random

import duckdb
import pyarrow as pa

from benchmarks.hostile.mutants import mutant
from benchmarks.hostile.sender import EPOCH, FIRST, NOW, Sender, events, floats, parquet, rewritten
from edge_runtime.aggregates import seal_aggregates
from edge_runtime.sealing import seal_batch
from edgeloop.config import parse_loop
from edgeloop.errors import DataError
from edgeloop.events import LABELS
from edgeloop.sketches import EVENTS
from ingest.checks.check import check_batch, check_labels, read_aggregates, read_batch
from tests.site import LOOP, START

PATIENCE = 20
"""Seconds for one file."""

MOST_MEMORY, ROOM = 300 * 2**20, 8 * 2**30
"""Bytes that a file may take, and addresses that the process may use."""

REFUSED, TAKEN, UNREAD, WRONG = "refused", "taken", "taken, and not read by DuckDB", "WRONG"

CONFIG = parse_loop(LOOP)
BY = Sender(CONFIG, "d1")


@dataclass
class Found:
    """What came of the files: how many ended how, and what is wrong with which."""

    ended: Counter[str] = field(default_factory=Counter)
    wrong: list[tuple[int, str, bytes]] = field(default_factory=list)


def good_files() -> dict[str, list[bytes]]:
    """What is changed: files as devices, of this version and the last, and others write them.

    Without statistics: DuckDB believes one that says that all values of a column are empty, and does not look at its pages.
    """
    rows, draw = events(FIRST, 300), Random(0)
    for number, event in enumerate(rows):
        event.inputs = [number / 8, None if number % 3 else 0.1 * number, float(number % 2), 3.0]
        event.prediction = draw.choice(("good", "bad"))  # which a device writes with a dictionary
        event.confidence = 0.5 + number / 1000 if number % 4 else None
    sealed = seal_batch(rows, BY.settings, EPOCH, 3, START).content
    aggregated = seal_aggregates(rows, BY.settings, EPOCH, 3, START).content
    labels = pa.table(
        {"device": ["d1"] * 9, "ts": [START] * 9, "label": ["good", "bad", "bad"] * 3, "known_at": [START] * 9}
    )
    return {
        "batch": [
            sealed,
            aggregated,
            rewritten(sealed, floats, {"schema": "1"}, compression="snappy", write_statistics=False),
            rewritten(sealed, row_group_size=7, compression="none", use_dictionary=False, write_statistics=False),
            rewritten(sealed, data_page_version="2.0", compression="zstd", data_page_size=64, write_statistics=False),
            rewritten(aggregated, write_statistics=False),
        ],
        "labels": [
            parquet(labels.cast(LABELS), write_statistics=False),
            parquet(labels.cast(LABELS), compression="gzip", use_dictionary=False, write_statistics=False),
        ],
    }


def fuzz(seed: int, numbers: Iterable[int]) -> Found:
    """Try the files of these numbers, each of which is made from the seed and its number alone."""
    found, good = Found(), good_files()
    with tempfile.TemporaryDirectory() as name:
        examiner = _Examiner(Path(name) / "file.parquet")
        for number in numbers:
            draw = Random(f"{seed} {number}")
            kind = draw.choice(("batch", "batch", "batch", "batch", "labels"))
            content = mutant(good[kind], draw)
            ended, words = examiner.examine(kind, content)
            found.ended[ended] += 1
            if ended == WRONG:
                found.wrong.append((number, words, content))
        examiner.end()
    return found


class _Examiner:
    """A process that looks at files, and another one once it has fallen or hangs."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([__name__])
        self._start()

    def _start(self) -> None:
        self._line, theirs = self._context.Pipe()
        self._process = self._context.Process(target=_serve, args=(theirs, self._place))
        self._process.start()
        theirs.close()

    def examine(self, kind: str, content: bytes) -> tuple[str, str]:
        """How a file ended, and the words that were said over it."""
        stage, fate = "check", f"did not end in {PATIENCE} s"
        self._line.send((kind, content))
        try:
            while self._line.poll(PATIENCE):
                answer: str | tuple[str, str] = self._line.recv()
                if isinstance(answer, tuple):
                    return answer
                stage = answer
        except EOFError:
            self._process.join()
            fate = f"ended the process, exit code {self._process.exitcode}"
        self.end()
        self._start()
        return WRONG if stage == "check" else UNREAD, f"the {stage} {fate}"

    def end(self) -> None:
        self._process.kill()
        self._process.join()


def _serve(line: Connection, place: Path) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (ROOM, ROOM))
    while True:
        kind, content = line.recv()
        before = _memory("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the peak from now on
        try:
            rows = checked(kind, content)
            verdict = TAKEN, ""
        except DataError as error:
            verdict = REFUSED, error.message
        except BaseException as error:  # whatever it is, it is what is looked for
            verdict = WRONG, f"{type(error).__name__}: {error}"
        grown = _memory("VmHWM") - before
        if grown > MOST_MEMORY or "alloc of size" in verdict[1]:
            verdict = WRONG, f"it took {grown / 2**20:.0f} MB: {verdict[1]}"
        if verdict[0] == TAKEN:
            line.send("comparison")
            place.write_bytes(content)
            verdict = _compared(rows, place)
        line.send(verdict)


def _memory(name: str) -> int:
    (found,) = re.findall(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found) * 1024


def checked(kind: str, content: bytes) -> pa.Table:
    """The rows that the lake would have. Raises `DataError`."""
    if kind == "labels":
        return check_labels(content, CONFIG, NOW)
    (path,) = BY.named(content)
    batch = check_batch(path, content, CONFIG, NOW)
    try:
        return read_batch(content, CONFIG) if batch.kind == EVENTS else read_aggregates(content)
    except DataError as error:
        raise AssertionError(f"it was taken, and then refused: {error}") from error


def _compared(rows: pa.Table, place: Path) -> tuple[str, str]:
    columns = [f'"{f.name}"::DOUBLE::FLOAT' if f.type == pa.float32() else f'"{f.name}"' for f in rows.schema]
    try:
        with duckdb.connect(config={"threads": 1, "memory_limit": "1GB"}) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            other = connection.sql(f"SELECT {', '.join(columns)} FROM read_parquet('{place}')").to_arrow_table()
            other = other.rename_columns(rows.column_names).cast(rows.schema)
    except (duckdb.Error, pa.ArrowException) as error:
        return UNREAD, f"{type(error).__name__}: {error}"
    if other.equals(rows):
        return TAKEN, ""
    odd = [name for name in rows.column_names if not other[name].equals(rows[name])]
    return WRONG, f"DuckDB finds other values in {', '.join(odd)}: {other[odd[0]][:3]}, and not {rows[odd[0]][:3]}"


def campaign(seconds: float, seed: int) -> bool:
    """Fuzz for so long, say what came of it, keep what is wrong; whether nothing is."""
    end, number, found, wrong = time.monotonic() + seconds, 0, Counter[str](), 0
    while time.monotonic() < end:
        part = fuzz(seed, range(number, number + 500))
        number += 500
        found += part.ended
        for place, words, content in part.wrong:
            wrong += 1
            name = Path(f"hostile-{sha256(content).hexdigest()[:12]}.parquet")
            name.write_bytes(content)
            print(f"file {place} of seed {seed}, kept as {name}: {words}", flush=True)
    print(f"{number} files of seed {seed}: " + ", ".join(f"{times} {ended}" for ended, times in found.most_common()))
    return not wrong
