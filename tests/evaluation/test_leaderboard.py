"""The leaderboard page: order, missing values, escaping, and nothing that is loaded from elsewhere."""

from __future__ import annotations

import math
import re

import pytest

from worldr1.evaluation.leaderboard import COLUMNS, Entry, leaderboard_page

NUMBERS = {"total": 1.0, "recon": 0.9, "psnr": 28.04, "lpips": 0.1, "traj": None, "camera_turn": 29.96}
BAD = dict.fromkeys(NUMBERS) | {"recon": 0.4, "lpips": 0.6}


def entry(name: str, kind: str = "17 frames of 64x64", **numbers: float | None) -> Entry:
    return Entry(name, {**NUMBERS, **numbers}, kind, curve=(28.0, math.nan, 27.0, 29.0))


def names_of(page: str) -> list[str]:
    return re.findall(r'<td data-text="([^"]*)" title="\1"', page)


def test_best_total_first_and_missing_ones_last() -> None:
    entries = [
        Entry("none.mp4", BAD, "17 frames of 64x64"),
        entry("zero.mp4", total=0.0),
        entry("good.mp4", total=1.5),
        entry("mid.mp4"),
    ]
    page = leaderboard_page(entries, {})
    assert names_of(page) == ["good.mp4", "mid.mp4", "zero.mp4", "none.mp4"]
    assert page.count('aria-sort="descending"') == 1
    last = page.split('data-text="none.mp4"')[1].split("</tr>")[0]
    assert last.count('data-value=""') == 3  # total, PSNR and turn are missing and no 0


def test_columns_without_any_value_are_left_out_and_the_best_is_bold() -> None:
    page = leaderboard_page([entry("a", lpips=0.25), entry("b", lpips=0.125)], {})
    assert COLUMNS["traj"][0] not in page.split("<tbody>")[0]
    assert '<td data-value="0.125"><b>0.125</b></td>' in page
    assert '<td data-value="0.25">0.250</td>' in page
    assert '<td data-value="29.96">30.0</td>' in page  # a turn is neither good nor bad


def test_lower_is_better_sorts_upwards_first() -> None:
    page = leaderboard_page([entry("a")], {})
    found = {title: first for first, title in re.findall(r'data-first="(\w+)"[^>]*><button[^>]*>([^<]*)<', page)}
    assert (found["LPIPS"], found["total"], found["video"]) == ("ascending", "descending", "ascending")


def test_needs_no_network_and_escapes_what_files_are_called() -> None:
    name = '<script>alert("1")</script> & é.mp4'
    shown = Entry(name, NUMBERS, "9 frames of 64x48", ("it <b>moves</b> not",), picture="data:image/png;base64,AA==")
    page = leaderboard_page([shown], {"<i>.mp4": "it cannot be read"}, asked="orbit left")
    assert not re.search(r"https?:|//cdn|@import|url\(", page)
    assert all(source.startswith("data:") for source in re.findall(r'(?:src|href)="([^"]*)"', page))
    assert page.count("<script>") == 1
    assert "&lt;i&gt;.mp4" in page
    assert "it &lt;b&gt;moves&lt;/b&gt; not" in page
    assert "asked for: orbit left" in page
    assert "1 warning<" in page


@pytest.mark.parametrize(("kind", "told"), [("17 frames of 64x64", False), ("33 frames of 64x64", True)])
def test_what_cannot_be_compared_is_told(kind: str, told: bool) -> None:
    page = leaderboard_page([entry("a"), entry("b", kind=kind)], {})
    assert ("compare only those that are alike" in page) == told


def test_the_curve_breaks_where_a_frame_is_missing() -> None:
    path = re.search(r'<path d="([^"]+)"', leaderboard_page([entry("a")], {}))
    assert path is not None
    steps = re.findall(r"([ML])([\d.]+) ([\d.]+)", path.group(1))
    assert [step[0] for step in steps] == ["M", "M", "L"]
    assert [float(step[1]) for step in steps] == pytest.approx([2, 2 + 106 * 2 / 3, 108], abs=0.06)
    assert [float(step[2]) for step in steps] == [15.0, 27.0, 3.0]


def test_nothing_scored_is_a_page_too() -> None:
    page = leaderboard_page([], {"a.mp4": "it is empty"})
    assert "<table" not in page
    assert "it is empty" in page


def test_the_folder_that_all_share_is_shown_on_pointing_only() -> None:
    page = leaderboard_page([entry("/data/runs/a/one.mp4"), entry("/data/runs/b/one.mp4")], {})
    assert names_of(page) == ["/data/runs/a/one.mp4", "/data/runs/b/one.mp4"]
    assert re.findall(r">([^<>]*one\.mp4)<", page) == ["a/one.mp4", "b/one.mp4"]
