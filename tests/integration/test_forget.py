"""`edgeloop forget` on a real MinIO whose bucket keeps versions."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import uuid4

import pytest

from edgeloop.store import open_store
from fleet.bucket import Bucket, open_bucket
from ingest.derived.aggregates import update_aggregates
from ingest.run import ingest
from tests.command import end_of
from tests.ingest.batches import events, seal
from tests.ingest.upkeep.test_forgetting import GONE, NAMES_IT, NOW, OTHER, fill, rows
from tests.site import LOOP, Site, make_site


@pytest.fixture
def store_url(minio: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in minio.items():
        monkeypatch.setenv(name, value)
    url = f"s3://forget-{uuid4()}/at/site-a"
    bucket, _ = open_bucket(url)
    bucket.make()
    bucket.keep_versions()
    return url


@pytest.fixture
def site(tmp_path: Path, store_url: str, monkeypatch: pytest.MonkeyPatch) -> Site:
    site = make_site(tmp_path, store=open_store(store_url))
    fill(site, [GONE, OTHER])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop.toml").write_text(LOOP)
    for content in (b"first", b"second"):
        site.store.replace("loops/pump2/x", content)
    return site


def naming(bucket: Bucket, prefix: str) -> list[str]:
    """Every version of everything in the bucket, read by its owner, that names the device."""
    found = []
    for version in bucket.versions(prefix):
        if NAMES_IT.search(version.name.encode()) or NAMES_IT.search(bucket.read_version(version)):
            found.append(version.name)
    return found


def test_nothing_is_left_in_the_bucket_nor_in_what_it_keeps(
    site: Site, store_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def edgeloop(*words: str, code: int = 0) -> tuple[str, str]:
        return end_of(monkeypatch, capsys, *words, "--store", store_url, code=code)

    bucket, prefix = open_bucket(store_url)
    others = rows(site, "events", "* EXCLUDE (ingested_at)")
    assert len(naming(bucket, prefix)) > 20
    found = json.loads(edgeloop("forget", "loop.toml", GONE, "--dry-run", "--json")[0])["found"]
    assert found["rows"]["events"] == 120
    edgeloop("forget", "loop.toml", GONE, "--verify", code=3)
    done = json.loads(edgeloop("forget", "loop.toml", GONE, "--yes", "--json")[0])
    assert done["proof"]["rows"] == found["rows"]
    assert done["proof"]["old_versions"] > 50
    assert naming(bucket, prefix) == []
    out, _ = edgeloop("forget", "loop.toml", GONE, "--verify")
    assert done["sha256"][:12] in out
    kept = [(v.name, v.current) for v in bucket.versions(f"{prefix}/loops/pump2")]
    assert sorted(kept) == [(f"{prefix}/loops/pump2/x", False), (f"{prefix}/loops/pump2/x", True)]
    left = [row for row in others if GONE not in row]
    assert rows(site, "events", "* EXCLUDE (ingested_at)") == left

    site.store.create(*seal(site, events(1000, 10), device=GONE))
    site.store.create(*seal(site, events(1000, 10), device=OTHER))
    out, said = edgeloop("ingest", "loop.toml")
    assert "1 batches of devices that were forgotten were deleted unread" in " ".join(said.split())
    update_aggregates(site.lake)
    assert ingest(site.store, site.lake, site.config, NOW).batches == 0
    edgeloop(
        "forget", "loop.toml", GONE, "--verify", code=3
    )  # until the bucket lets go of what was deleted at the door
    edgeloop("forget", "loop.toml", GONE, "--yes")
    edgeloop("forget", "loop.toml", GONE, "--verify")
    assert naming(bucket, prefix) == []
