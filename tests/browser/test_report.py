"""The report in a real browser: everything drawn, nothing fetched, no error."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from pipelines.backtest.report import render_report
from pipelines.backtest.summary import (
    Bytes,
    BytesAt,
    CheckRow,
    Details,
    DeviceRow,
    EventBooks,
    FaultRow,
    PeriodScores,
    ReleaseRow,
    RolloutRow,
    Scores,
    Summary,
    TrainingRow,
)
from tests.site import START

DAY = timedelta(days=1)
HOSTILE = "<script>document.title = 'owned'</script>"


def outcome() -> tuple[Summary, Details]:
    better, worse = Scores(0.6, 0.7, 0.72), Scores(0.6, 0.55, 0.7)
    periods = tuple(
        PeriodScores(f"P{i}", START + i * 30 * DAY, START + (i + 1) * 30 * DAY, 1000, better if i else worse, better)
        for i in range(4)
    )
    rollouts = (RolloutRow("r0001", "promote", "first"), RolloutRow("r0002", "reject", HOSTILE))
    summary = Summary(
        events=EventBooks(1000, 900, 60, 40),
        accuracy=better,
        macro_f1=better,
        by_period=periods,
        releases=(ReleaseRow("r0001", "a" * 64, START),),
        rollouts=rollouts,
        moved=Bytes(10, 20),
        seconds=1.5,
    )
    checks = (CheckRow("parity", True, "fine"), CheckRow("no regression", False, HOSTILE))
    details = Details(
        "pump", HOSTILE, START, START + 10 * DAY, START + 120 * DAY, 900, 1, 1,
        (DeviceRow("d1", START, 1000, 900, 60, 40, 1, "r0001"),),
        tuple(FaultRow(kind, "d1", START, START + DAY) for kind in ("kill", "offline", "corrupt")),
        (TrainingRow("r0001", START + 10 * DAY, 500, True, "", checks), TrainingRow("r0003", START + 40 * DAY, 700, False, "", checks)),
        tuple(BytesAt(START + i * DAY, i * 10**6, i * 10**5) for i in range(5)), (), ("a note",),
    )  # fmt: skip
    return summary, details


def test_the_report_draws_and_asks_for_nothing(tmp_path: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium on this machine; on Debian: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    page_file = tmp_path / "index.html"
    page_file.write_text(render_report(*outcome()))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        page = browser.new_page(viewport={"width": 1100, "height": 900}, color_scheme="dark")
        asked: list[str] = []
        errors: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(page_file.as_uri())
        assert page.title() == "pump · backtest"
        assert page.locator("svg").count() == 4
        assert page.locator("polyline.loop").count() == 3
        assert "retraining did not help: P0" in page.inner_text("body")
        page.locator("summary.bad").click()
        assert page.locator("details p.bad").last.is_visible()
        width = page.evaluate("document.documentElement.scrollWidth")
        browser.close()
    assert errors == []
    assert asked == [page_file.as_uri()]
    assert width <= 1100
