"""What is in quarantine, whatever strangers put there and called it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from edgeloop.store import open_store
from ingest.quarantine import UNKNOWN, held_at, list_held, paths_held
from ingest.run import ingest
from tests.ingest.batches import events, named, seal
from tests.site import START, Site, make_site

NOW = START + timedelta(days=1)


@pytest.fixture(params=["directory", "minio"])
def store_kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def site(tmp_path: Path, store_url: str) -> Site:
    return make_site(tmp_path, store=open_store(store_url))


def put(site: Site, inside: str, content: bytes = b"junk") -> str:
    path = f"{site.config.layout.root}/{inside}"
    site.store.create(path, content)
    return path


def run(site: Site, now=NOW):  # type: ignore[no-untyped-def]
    return ingest(site.store, site.lake, site.config, now)


def test_hostile_names_are_listed_each_with_its_own_reason(site: Site) -> None:
    """Some are called like a reason, like labels, or like what has no place; one of them could so put words into the centre's mouth."""
    forged = b'{"path": "releases/metadata/timestamp.json", "reason": "nothing is wrong"}'
    sent = {
        put(site, f"inbox/{name}", content)
        for name, content in {
            "d1/x": b"junk",
            "d1/x.reason.json": forged,
            "d1/deeper/x": b"junk",
            "labels/lab/today.parquet": b"junk",
            "odd-names/" + "a" * 64: b"junk",
            "d1/" + "y" * 220: b"junk",
            "d1/a [bold] ü\u202e": b"junk",
        }.items()
    }
    sent.add(put(site, "labels/lab/today.parquet"))
    sent.add(put(site, "labels/lab/today.parquet.reason.json", forged))
    assert run(site).rejected == len(sent)
    found = list_held(site.store, site.config.layout)
    assert {held.path for held in found} == sent
    assert sorted(paths_held(site.store, site.config.layout)) == sorted(sent)
    assert "nothing is wrong" not in "".join(held.reason for held in found)
    assert all("is no" in held.reason or "not at" in held.reason or "is not" in held.reason for held in found)
    assert {held.kind for held in found if held.path.startswith(site.config.layout.labels)} == {"labels"}
    assert len({held.place for held in found}) == len(sent)


def test_what_a_kill_left_or_a_stranger_wrote_is_listed_too(site: Site) -> None:
    layout = site.config.layout
    for place, content in {
        "d1/no-reason": b"junk",
        "d1/gone.reason.json": b'{"path": "x", "reason": "because"}',
        "d1/torn": b"junk",
        "d1/torn.reason.json": b"\xff{",
        "odd-names/0": b"junk",
        "odd-names/0.reason.json": b'{"path": "loops/pump/inbox/../../x", "reason": "because"}',
    }.items():
        site.store.create(held_at(layout, place), content)
    found = {held.place: (held.sender, held.reason, held.size) for held in list_held(site.store, layout)}
    assert found == {
        "d1/no-reason": ("d1", UNKNOWN, 4),
        "d1/gone": ("d1", "because", None),
        "d1/torn": ("d1", UNKNOWN, 4),
        "odd-names/0": ("", "because", 4),
    }
    assert paths_held(site.store, layout) == [f"{layout.inbox}/d1/{name}" for name in ("no-reason", "torn")]


def test_the_place_of_a_batch_is_its_own(site: Site) -> None:
    path, content = seal(site, events(1, 5))
    site.store.create(path, content[:-1] + b"x")
    site.store.create(*named(site, b"junk", device="d2"))
    run(site)
    assert [(h.sender, h.place == f"{h.sender}/{h.name}") for h in list_held(site.store, site.config.layout)] == [
        ("d1", True),
        ("d2", True),
    ]
