"""Every kind of harm that is tried, by what it is about; and what only looks like harm."""

from __future__ import annotations

from benchmarks.hostile import aggregates, bombs, columns, files, labels, moving, names, odd, pages, rows, words
from benchmarks.hostile.sender import Kind

HOSTILE: dict[str, list[Kind]] = {
    "names and places": names.KINDS,
    "files": files.KINDS,
    "bombs": bombs.KINDS,
    "pages": pages.KINDS,
    "columns": columns.KINDS,
    "metadata": words.KINDS,
    "rows": rows.KINDS,
    "aggregates": aggregates.KINDS,
    "labels": labels.KINDS,
    "moving": moving.KINDS,
}
"""All of it ends in quarantine."""

LOST, WAITING = moving.LOST, names.WAITING
ODD = [*odd.KINDS, *moving.ODD, *files.ODD, *columns.ODD, *bombs.ODD, *pages.ODD]
"""What is gone before it is in the lake, what no listing can name and waits, and what is good and in the lake."""

EXPECTED: dict[str, tuple[str, ...]] = {
    **{kind.name: ("quarantine",) for kinds in HOSTILE.values() for kind in kinds},
    **{kind.name: ("lost", "gone") for kind in LOST},
    **{kind.name: ("waits",) for kind in WAITING},
    **{kind.name: ("lake",) for kind in ODD},
}
"""Where each is to end."""

ALL: dict[str, Kind] = {kind.name: kind for kinds in (*HOSTILE.values(), LOST, WAITING, ODD) for kind in kinds}
