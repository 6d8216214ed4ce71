"""The viewer in headless Chromium: quiet console, a drawn scene that follows the controls, and no other server."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from browsers import WIDTHS, watched
from odd_videos import clip, encode, images
from worldr1.viewer.scene import View, load_view
from worldr1.viewer.server import serve

pytest.importorskip("viser")
VISERS_OWN = "THREE.BufferGeometry.computeBoundingSphere(): Computed radius is NaN"
"""What viser's page says now and then while it loads, also of a few splats whose numbers are all finite."""
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> View:
    path = tmp_path_factory.mktemp("view") / "orbit.mkv"
    return load_view(encode(path, images(clip(("orbit left",), frames=9, height=64, width=96))))


def drawn(page: Any) -> np.ndarray:
    """The middle of the scene [H, W, 3], where no controls lie."""
    box = page.locator("canvas").first.bounding_box()
    picture = Image.open(BytesIO(page.screenshot())).convert("RGB")
    left, top = box["x"] + box["width"] * 0.25, box["y"] + box["height"] * 0.3
    return np.asarray(picture.crop((left, top, left + box["width"] * 0.35, top + box["height"] * 0.4)))


def colours(picture: np.ndarray) -> int:
    """How many colours, of 4096, cover at least five pixels; the background is one, and a grid adds a few."""
    cells = (picture.astype(np.int64) >> 4) @ np.array([256, 16, 1])
    return int((np.bincount(cells.ravel(), minlength=4096) >= 5).sum())


def wait_for_a_scene(page: Any) -> np.ndarray:
    page.wait_for_selector("canvas", timeout=60_000)
    for _ in range(200):
        picture = drawn(page)
        if colours(picture) > 20:
            return picture
        page.wait_for_timeout(500)
    raise AssertionError(f"the canvas shows {colours(drawn(page))} colours")


@pytest.mark.parametrize("width", WIDTHS)
def test_the_viewer_is_quiet_stays_at_home_and_draws(width: int, browser: Any, view: View, tmp_path: Path) -> None:
    assert all(bool(values.isfinite().all()) for values in (view.splats.means, view.splats.scales, view.splats.quats))
    with serve(view, port=0) as address, watched(browser, width) as seen:
        seen.page.goto(address)
        wait_for_a_scene(seen.page)
        seen.page.screenshot(path=tmp_path / f"view-{width}.png")
        inner, outer = seen.width()
        assert inner <= outer == width
        assert [error for error in seen.errors if not error.startswith(VISERS_OWN)] == []
        assert seen.abroad(address, address.replace("http", "ws")) == []
