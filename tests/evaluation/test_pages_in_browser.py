"""Report and score page in headless Chromium: quiet console, playing videos, no network, readable at any width."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from synthetic_run import make_run

from browsers import WIDTHS, watched
from odd_videos import clip, encode, images
from worldr1.cli.main import main

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("pages")
    run = make_run(place / "run")
    assert main(["report", str(run)]) == 0
    moves = {"orbit": ("orbit left",), "push": ("push in",), "still": ("fixed",)}
    files = [encode(place / f"{name}.mkv", images(clip(words, frames=9))) for name, words in moves.items()]
    (place / "note.mp4").write_text("not a video")
    board = place / "board.html"
    assert (
        main(["score", *map(str, files), str(place / "note.mp4"), "--camera", "orbit left", "--page", str(board)]) == 1
    )
    return {"report": run / "report.html", "score": board}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("kind", ["report", "score"])
def test_a_page_is_quiet_stays_at_home_and_fits(
    kind: str, width: int, browser: Any, pages: dict[str, Path], tmp_path: Path
) -> None:
    with watched(browser, width) as seen:
        seen.page.goto(pages[kind].as_uri())
        seen.page.wait_for_load_state("load")
        seen.page.mouse.wheel(0, 4000)
        seen.page.wait_for_timeout(500)
        seen.page.screenshot(path=tmp_path / f"{kind}-{width}.png", full_page=True)
        assert seen.abroad(pages[kind].parent.as_uri()) == []
        assert seen.errors + seen.warnings == []
        inner, outer = seen.width()
        assert inner <= outer == width
        wider = seen.page.evaluate("[...document.querySelectorAll('.tables')].map(t => t.scrollWidth - t.clientWidth)")
        assert (kind, width) == ("score", 400) or max(wider) <= 0  # only there a table must be scrolled sideways


def test_videos_of_the_report_play_and_stop(browser: Any, pages: dict[str, Path]) -> None:
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    page.goto(pages["report"].as_uri())
    page.locator("video").first.scroll_into_view_if_needed()
    page.wait_for_function(
        "document.querySelector('video').readyState >= 2 && document.querySelector('video').videoWidth > 0"
    )
    moments = "[...document.querySelectorAll('video')].slice(0, 3).map(v => v.currentTime)"
    page.wait_for_function(f"{moments}.every(time => time > 0.1)", timeout=60_000)
    began = page.evaluate(moments)
    page.wait_for_function(f"{moments}[0] !== {began[0]}", timeout=60_000)
    page.locator("#play").click()
    assert page.locator("#play").text_content() == "Play"
    page.wait_for_timeout(300)
    held = page.evaluate(moments)
    page.wait_for_timeout(700)
    assert page.evaluate(moments) == held
    assert max(held) - min(held) < 1e-3  # side by side they show the same moment
    page.close()


def test_the_leaderboard_sorts_by_a_click(browser: Any, pages: dict[str, Path]) -> None:
    page = browser.new_page()
    page.goto(pages["score"].as_uri())
    names = "[...document.querySelectorAll('tbody tr td[data-text]')].map(cell => cell.dataset.text)"
    first = page.evaluate(names)
    page.locator("thead button").filter(has_text="video").click()
    assert page.evaluate(names) == sorted(first)
    page.close()
