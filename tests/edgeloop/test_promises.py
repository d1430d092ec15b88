"""What a loop relies on, asked of real stores: of those that keep to it, and of one that is set up so that it does not."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from edgeloop.errors import StoreError
from edgeloop.promises import try_promises
from edgeloop.store import open_store
from tests.command import end_of
from tests.conftest import SERVERS
from tests.versitygw import without_metadata


@pytest.mark.parametrize("store_kind", ["directory", "memory", *SERVERS])
def test_stores_that_can_be_used_keep_every_promise_and_nothing_is_left_there(store_url: str) -> None:
    store = open_store(store_url)
    assert [promise for promise in try_promises(store) if promise.found] == []
    assert list(store.list("")) == []


@pytest.fixture
def forgetful(versitygw: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A versitygw that keeps no ETags, so that every condition is taken for met; the URL of a store there."""
    with without_metadata(tmp_path / "drive") as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield "s3://edgeloop"


def test_a_store_that_overwrites_on_create_is_refused_before_it_is_used(
    forgetful: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, _ = end_of(monkeypatch, capsys, "fleet", "check-store", "--store", forgetful, "--json", code=2)
    broken = {p["name"] for p in msgspec.json.decode(out)["promises"] if p["found"]}
    assert {"create never overwrites", "of many that create one wins", "what did not change is not sent"} <= broken
    assert not {"what is written is there at once", "a part is read", "a copy is made"} & broken
    keys = tmp_path / "keys"
    _, said = end_of(monkeypatch, capsys, "fleet", "init", "--store", forgetful, "--keys", keys, code=2)
    assert "“create never overwrites” does not hold (a second create succeeded)" in " ".join(said.split())
    assert not keys.exists()
    assert list(open_store(forgetful).list("")) == []


def test_a_store_that_is_down_breaks_no_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("ENDPOINT_URL", "http://nowhere.invalid"), ("ACCESS_KEY_ID", "a"), ("SECRET_ACCESS_KEY", "b")):
        monkeypatch.setenv(f"AWS_{name}", value)
    with pytest.raises(StoreError, match="could not write edgeloop-check"):
        try_promises(open_store("s3://edgeloop", deadline=timedelta(seconds=0.5)))
