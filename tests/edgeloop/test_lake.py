from __future__ import annotations

import pytest

from edgeloop.errors import StoreError
from edgeloop.lake import Lake
from edgeloop.layout import Layout
from edgeloop.store import open_store


def test_a_store_that_is_away_is_an_error_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
    with pytest.raises(StoreError, match="table events could not be read"):
        Lake(open_store("s3://edgeloop"), Layout("pump")).version("events")
