"""`edgeloop ingest --shard K/N`, as a person meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.command import end_of
from tests.ingest.batches import events, seal
from tests.site import LOOP, make_site


def test_each_shard_takes_its_own_devices_and_what_is_none_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    site, loop = make_site(tmp_path), tmp_path / "loop.toml"
    loop.write_text(LOOP)
    for device in range(8):
        site.store.create(*seal(site, events(1, 10), device=f"d{device}"))

    def take(*arguments: object, code: int = 0) -> tuple[str, str]:
        return end_of(monkeypatch, capsys, "ingest", loop, "--store", site.store.url, *arguments, code=code)

    rows = [json.loads(take("--shard", shard, "--json")[0])["rows"] for shard in ("1/2", "2/2", "1/1")]
    assert min(rows[:2]) > 0
    assert (sum(rows[:2]), rows[2]) == (80, 0)
    assert "is none of 1/1 to 16/16" in " ".join(take("--shard", "3/2", code=2)[1].split())
    assert "for all shards" in " ".join(take("--shard", "1/2", "--from", tmp_path, code=2)[1].split())
