"""Names that a device may give a file, and that no listing or no request gets by: they stop nobody else."""

from __future__ import annotations

import io
import os
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from minio import Minio

from edgeloop.errors import StoreError
from edgeloop.store import open_store
from ingest.run import ingest
from pipelines.sensors import _waits
from tests.ingest.batches import events, seal
from tests.site import START, Site, make_site

NOW = START + timedelta(days=1)


@pytest.fixture(params=["directory", "minio"])
def store_kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def site(tmp_path: Path, store_url: str) -> Site:
    return make_site(tmp_path, store=open_store(store_url))


def put(site: Site, name: str) -> None:
    """Put a file into the inbox, called as no request of ours could."""
    path = f"{site.config.layout.inbox}/{name}"
    if site.store.directory is not None:
        (site.store.directory / path).parent.mkdir(parents=True, exist_ok=True)
        (site.store.directory / path).write_bytes(b"junk")
        return
    where, key, secret = (os.environ[f"AWS_{n}"] for n in ("ENDPOINT_URL", "ACCESS_KEY_ID", "SECRET_ACCESS_KEY"))
    client = Minio(endpoint=urlsplit(where).netloc, access_key=key, secret_key=secret, secure=False)
    bucket, _, prefix = site.store.url.removeprefix("s3://").partition("/")
    client.put_object(bucket_name=bucket, object_name=f"{prefix}/{path}", data=io.BytesIO(b"junk"), length=4)


def test_a_name_that_cannot_be_listed_hides_its_sender_alone(site: Site) -> None:
    put(site, "bad/line\nbreak")
    site.store.create(*seal(site, events(1, 50), device="good"))
    assert _waits(site.centre, site.config)
    report = ingest(site.store, site.lake, site.config, NOW)
    assert (report.rows, report.hidden) == (50, (f"{site.config.layout.inbox}/bad",))
    assert not _waits(site.centre, site.config)
    assert ingest(site.store, site.lake, site.config, NOW).plan == 0


@pytest.mark.parametrize("store_kind", ["minio"])
def test_names_that_cannot_be_asked_for_fill_no_plan(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.judging.PLAN_FILES", 2)
    for i in range(3):
        put(site, f"bad/{i}/")
    for first in (1, 51, 101):
        site.store.create(*seal(site, events(first, 50), device="good"))
    report = ingest(site.store, site.lake, site.config, NOW)
    assert (report.rows, report.rejected) == (150, 0)


def test_a_store_that_is_away_is_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To look into each folder then would take a sensor beyond its minute."""
    site = make_site(tmp_path)
    asked = list[str]()

    def away(_: object, folder: str) -> None:
        asked.append(folder)
        raise StoreError("the store is away")

    monkeypatch.setattr(type(site.store), "list", away)
    with pytest.raises(StoreError, match="away"):
        _waits(site.centre, site.config)
    assert asked == [site.config.layout.inbox]
