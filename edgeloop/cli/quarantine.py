"""`edgeloop quarantine`: what ingest rejected, why, and a person's word on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from edgeloop.cli.options import Json, LoopFile, StoreUrl
from edgeloop.cli.output import emit, note, out, table
from edgeloop.clock import system_clock
from edgeloop.config import LoopConfig, read_loop
from edgeloop.errors import ConfigError, DataError
from edgeloop.store import Store, open_store

if TYPE_CHECKING:
    from rich.table import Table

    from ingest.glimpse import Glimpse
    from ingest.quarantine import Held
    from ingest.retry import Retry

app = typer.Typer(help="Batches and label files that were rejected, and why.", no_args_is_help=True)

Place = Annotated[str, typer.Argument(metavar="PLACE", help="As `list` shows it; its beginning is enough.")]
Places = Annotated[
    list[str] | None, typer.Argument(metavar="[PLACE]...", help="As `list` shows them; a beginning is enough.")
]
Device = Annotated[str, typer.Option(metavar="ID", help="Only those of this device, or of this source of labels.")]
Because = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Only those whose reason has this in it.")]
All = Annotated[bool, typer.Option("--all", help="Every file.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would become of them.")]


@app.command("list")
def list_(loop: LoopFile, store: StoreUrl, device: Device = "", reason: Because = "", json: Json = False) -> None:
    """What is in quarantine: who sent it, why it was rejected, when."""
    from ingest.quarantine import list_held

    config, opened = read_loop(loop), open_store(store)
    held = list_held(opened, config.layout)
    found = _filtered(held, device, reason)
    rows = [(h.sender, _short(h.place), f"{h.since:%Y-%m-%d %H:%M}", _size(h), h.reason) for h in found]
    human = table(f"quarantine of {config.name}", ("sender", "place", "since", "bytes", "reason"), rows)
    emit({"files": found}, as_json=json, human=human if found else _nothing(len(held)))
    if waiting := _retry(opened, config).under_way():
        note(
            f"A retry was interrupted with {len(waiting)} files under way: `edgeloop quarantine retry {loop}` ends that."
        )


@app.command()
def show(loop: LoopFile, store: StoreUrl, place: Place, json: Json = False) -> None:
    """The reason for one file, what can be seen of it, and what would become of it if it were retried."""
    from ingest.checks.check import MAX_BYTES
    from ingest.glimpse import glimpse
    from ingest.quarantine import held_at, list_held

    config, opened = read_loop(loop), open_store(store)
    (held,) = _named(list_held(opened, config.layout), [place])
    now = _retry(opened, config).foretell(held)
    # One byte more than is taken tells that it is too long.
    seen = glimpse(b"" if held.size is None else opened.read(held_at(config.layout, held.place), MAX_BYTES + 1))
    emit(
        {"file": held, "retried": now, "seen": seen},
        as_json=json,
        human=_about(held, f"{now.outcome}: {now.why}", seen),
    )
    if not json and seen.columns:
        out.print(_columns(seen))


@app.command()
def retry(
    loop: LoopFile,
    store: StoreUrl,
    places: Places = None,
    device: Device = "",
    reason: Because = "",
    every: All = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Put files back to where they came from; the next ingest judges them again. Ends what an interrupted retry began, too."""
    config, opened = read_loop(loop), open_store(store)
    again = _retry(opened, config)
    begun = again.under_way()
    chosen = (
        []
        if begun and not _any(places, device, reason, every)
        else _chosen(opened, config, places, device, reason, every)
    )
    if dry_run:
        found = [again.foretell(held) for held in chosen]
    else:
        found = [again.finish(path) for path in begun] + [again.send_back(held) for held in chosen]
    rows = [(r.outcome, r.path.removeprefix(f"{config.layout.root}/"), r.why) for r in found]
    title = "would be retried" if dry_run else "retried"
    emit({"dry_run": dry_run, "files": found}, as_json=json, human=table(title, ("outcome", "file", "says"), rows))
    if any(r.outcome == "waits" for r in found) and not dry_run:
        note("The next ingest judges what waits: by its sensor, or `edgeloop ingest`.")


@app.command()
def drop(
    loop: LoopFile,
    store: StoreUrl,
    places: Places = None,
    device: Device = "",
    reason: Because = "",
    every: All = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Delete files for good. The events in them stay in the books as missing, or as shed as far as the device declared so many."""
    from ingest.quarantine import release

    config, opened = read_loop(loop), open_store(store)
    chosen = _chosen(opened, config, places, device, reason, every)
    for held in () if dry_run else chosen:
        release(opened, config.layout, held)
    rows = [(h.sender, _short(h.place), _size(h), h.reason) for h in chosen]
    title = "would be dropped" if dry_run else "dropped"
    human = table(title, ("sender", "place", "bytes", "reason"), rows)
    emit({"dry_run": dry_run, "files": chosen}, as_json=json, human=human)
    if any(h.kind == "batch" for h in chosen):
        note(
            "Their events are in no table: the books have them as missing (`edgeloop fleet gaps`), or as shed if declared so."
        )


def _nothing(others: int) -> str:
    if not others:
        return "Nothing is in quarantine."
    return f"Nothing in quarantine is like that; files that are not: {others:,}."


def _retry(store: Store, config: LoopConfig) -> Retry:
    from edgeloop.lake import Lake
    from ingest.retry import Retry

    return Retry(store, Lake(store, config.layout), config, system_clock())


def _chosen(
    store: Store, config: LoopConfig, places: list[str] | None, device: str, reason: str, every: bool
) -> list[Held]:
    """Those that were named, or all that the filters leave. Raises `ConfigError` if nothing says which, `DataError` as `_named`."""
    from ingest.quarantine import list_held

    if not _any(places, device, reason, every):
        raise ConfigError(
            "no file is named.", remedy="Name places as `list` shows them, or --device, --reason, or --all."
        )
    held = list_held(store, config.layout)
    return _filtered(_named(held, places) if places else held, device, reason)


def _any(places: list[str] | None, device: str, reason: str, every: bool) -> bool:
    return bool(places or device or reason or every)


def _filtered(held: Sequence[Held], device: str, reason: str) -> list[Held]:
    return [h for h in held if device in ("", h.sender) and reason.lower() in h.reason.lower()]


def _named(held: Sequence[Held], places: Sequence[str]) -> list[Held]:
    """The one file of each name. Raises `DataError` if there is none, or more than one."""
    found: dict[str, Held] = {}
    for place in places:
        shown = place.removesuffix("…")  # as a list in a narrow terminal ends what it has no room for
        fits = [h for h in held if h.place == place] or [h for h in held if h.place.startswith(shown)]
        if len(fits) != 1:
            raise DataError(
                f"{len(fits) or 'no'} files in quarantine begin with {place!r}.",
                remedy="Name one as `edgeloop quarantine list` shows it, or more of it.",
            )
        found[fits[0].place] = fits[0]
    return list(found.values())


def _short(place: str) -> str:
    """As much of a place as is one's own: a batch's without most of its digest."""
    from edgeloop.layout import is_digest

    stem, _, digest = place.removesuffix(".parquet").rpartition("-")
    return f"{stem}-{digest[:12]}" if is_digest(digest) else place


def _size(held: Held) -> int | str:
    return "gone" if held.size is None else held.size


def _about(held: Held, now: str, seen: Glimpse) -> Table:
    rows = [
        ("sender", held.sender),
        ("file", held.path or "nobody knows"),
        ("since", f"{held.since:%Y-%m-%d %H:%M} UTC"),
        ("bytes", str(_size(held))),
        ("reason", held.reason),
        ("retried", now),
        *((f"says {key}", value) for key, value in seen.words.items()),
        ("rows", str(seen.rows)),
    ]
    rows += [("unreadable", seen.unreadable)] if seen.unreadable else []
    return table(held.place, ("", ""), rows)


def _columns(seen: Glimpse) -> Table:
    titles = ("column", "type", *(f"row {i + 1}" for i in range(len(seen.first))))
    rows = [(name, kind, *(row.get(name, "") for row in seen.first)) for name, kind in seen.columns.items()]
    return table("what is in it", titles, rows)
