"""What wakes the sensor at once, on real servers; and that it does without where nothing does."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from edgeloop.store import Entry, Store, open_store
from pipelines.bell import Bell
from pipelines.sensors import inbox_sensor
from tests.site import Site, make_site

HOME = "sensors:\n  use_threads: true\n"


class PutsAfterwards(Store):
    """A real store into which something is put over and over once its labels have been listed, and nothing is in the inbox."""

    def __init__(self, inner: Store, path: str) -> None:
        super().__init__(inner._backend, inner.url, inner.directory)
        self._path, self.done = path, threading.Event()

    def list(self, prefix: str) -> Iterator[Entry]:
        yield from super().list(prefix)
        if prefix.endswith("labels"):
            threading.Thread(target=self._put).start()

    def _put(self) -> None:
        while not self.done.wait(0.2):  # the first may come before the server has begun to tell
            self.replace(self._path, b"x")


def ask(site: Site, store: Store, home: Path, wait: float, monkeypatch: pytest.MonkeyPatch) -> object:
    """A tick of the sensor, on a store."""
    monkeypatch.setattr("pipelines.sensors.WAIT", wait)
    home.mkdir()
    (home / "dagster.yaml").write_text(HOME)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        centre = type(site.centre)(store, site.keys, site.clock)
        context = dg.build_sensor_context(instance=instance, resources={"centre": centre})
        return inbox_sensor(site.config)(context)


@pytest.mark.parametrize("store_kind", ["minio"])
def test_a_batch_that_comes_while_a_tick_waits_is_asked_for_at_once(
    store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make_site(tmp_path, store=open_store(store_url))
    for path, found in (
        (f"{site.config.layout.inbox}/d/x.parquet", dg.RunRequest),
        (f"{site.config.layout.statuses}/d.json", dg.SkipReason),
    ):
        store = PutsAfterwards(open_store(store_url), path)
        wait = 600.0 if found is dg.RunRequest else 3.0
        assert isinstance(ask(site, store, tmp_path / f"home-{wait:.0f}", wait, monkeypatch), found)
        store.done.set()
        site.store.delete(path)


@pytest.mark.parametrize("store_kind", ["directory", "versitygw"])
def test_a_store_that_tells_nothing_is_looked_into_as_ever(
    store_url: str, store_kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make_site(tmp_path, store=open_store(store_url))
    found = ask(site, site.store, tmp_path / "home", 3.0, monkeypatch)
    assert isinstance(found, dg.SkipReason)
    assert "tells nothing by itself" in str(found.skip_message)
    site.store.create(f"{site.config.layout.inbox}/d/x.parquet", b"x")
    assert isinstance(ask(site, site.store, tmp_path / "again", 3.0, monkeypatch), dg.RunRequest)


def test_a_server_that_is_gone_is_listened_to_again_when_it_is_back(
    minio: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in minio.items():
        monkeypatch.setenv(name, value)
    bell = Bell("loops/pump/inbox")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    bell.attend("s3://edgeloop/bell")
    listener = bell._listener
    assert listener is not None
    listener.join()
    assert "could not be asked" in bell.deaf
    monkeypatch.setenv("AWS_ENDPOINT_URL", minio["AWS_ENDPOINT_URL"])
    bell.attend("s3://edgeloop/bell")
    store = PutsAfterwards(open_store("s3://edgeloop/bell"), "loops/pump/inbox/d/x.parquet")
    threading.Thread(target=store._put).start()
    assert bell.rings(600)
    store.done.set()
    assert not bell.deaf
