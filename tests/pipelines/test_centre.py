"""The centre of a backtest, when its store fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeloop.errors import StoreError
from pipelines.backtest.centre import RUNS, SimulatedCentre, dagster_home
from tests.site import START, BentStore, make_site


@pytest.mark.parametrize("failures", [RUNS - 1, RUNS])
def test_a_run_that_met_a_store_which_was_away_is_asked_for_again(failures: int, tmp_path: Path) -> None:
    left = failures

    def away(verb: str, path: str) -> None:
        nonlocal left
        if verb == "create" and "/plans/" in path and left:
            left -= 1
            try:
                raise ConnectionError("refused")
            except ConnectionError as error:
                raise StoreError("the store is away", remedy="Wait.") from error

    site = make_site(tmp_path)
    store = BentStore(site.store, before=away)
    store.create(f"{site.config.layout.inbox}/d/x.parquet", b"x")
    with dagster_home(tmp_path / "dagster") as instance:
        centre = SimulatedCentre(site.config, store, site.keys, instance, START)
        if failures < RUNS:
            centre.run("intake", START)
            assert not list(store.list(site.config.layout.inbox))
        else:
            with pytest.raises(StoreError, match="the intake run at 2024-01-01 failed: the store is away"):
                centre.run("intake", START)
    assert left == 0
