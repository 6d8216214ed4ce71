"""Fragments for notebooks: well-formed, self-contained, escaped, and with the numbers of what they show."""

from __future__ import annotations

import base64
import io
import math
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image

from worldr1.camera.trajectory import Trajectory
from worldr1.evaluation.curves import Curves
from worldr1.notebook import MOST_ROWS, number, png, table
from worldr1.reconstruction.types import Reconstruction
from worldr1.rewards.types import Scores
from worldr1.scoring import VideoScores
from worldr1.splats.gaussians import Gaussians

SVG = "{http://www.w3.org/2000/svg}"


def _parsed(fragment: str) -> ElementTree.Element:
    """As XML, which is stricter than HTML; nothing in it may be fetched or run."""
    root = ElementTree.fromstring(f"<body>{fragment}</body>")
    for element in root.iter():
        assert element.tag.removeprefix(SVG) not in ("script", "link", "iframe", "style")
        for name, value in element.attrib.items():
            assert name not in ("href", "onload", "onerror")
            assert name != "src" or value.startswith("data:image/png;base64,")
    return root


def _cells(root: ElementTree.Element) -> list[list[str]]:
    return [["".join(cell.itertext()) for cell in row] for row in root.iter("tr")]


def _points(element: ElementTree.Element) -> np.ndarray:
    return np.array([[float(part) for part in pair.split(",")] for pair in element.attrib["points"].split()])


@pytest.mark.parametrize(
    ("move", "direction"), [("push in", (0, -1)), ("pull out", (0, 1)), ("move left", (-1, 0)), ("move right", (1, 0))]
)
def test_a_path_is_drawn_from_above_with_forward_up(move: str, direction: tuple[int, int]) -> None:
    root = _parsed(Trajectory.from_moves((move,), 17)._repr_html_())
    path = _points(next(iter(root.iter(f"{SVG}polyline"))))
    way = path[-1] - path[0]
    np.testing.assert_allclose(way / np.linalg.norm(way), direction, atol=0.02)
    assert path.shape == (17, 2)
    assert move in "".join(root.itertext())
    everything = np.concatenate([path, *(_points(view) for view in root.iter(f"{SVG}polygon"))])
    assert 0 <= everything.min() < everything.max() <= 260


def test_a_camera_that_stands_still_can_be_drawn() -> None:
    _parsed(Trajectory.from_moves((), 1)._repr_html_())


def test_words_of_a_file_do_no_harm() -> None:
    hostile = Trajectory(torch.eye(4)[None], ("<script>alert(1)</script>", 'a"b&c'))
    assert "<script>" not in hostile._repr_html_()
    _parsed(hostile._repr_html_())
    assert _cells(_parsed(table(("<b>",), [("<img src=x onerror=alert(1)>",)]))) == [
        ["<b>"],
        ["<img src=x onerror=alert(1)>"],
    ]


def test_scores_of_a_video_show_what_is_missing_and_warn() -> None:
    names = (
        "recon",
        "psnr",
        "ssim",
        "lpips",
        "coverage",
        "confidence",
        "traj",
        "rot_err",
        "trans_err",
        "cam_mc",
        "mvcs",
        "rigidity",
    )
    more = ("camera_travel", "camera_turn", "motion", "smoothness", "sharpness", "total")
    values = {name: 0.125 * k for k, name in enumerate((*names, *more))} | {"traj": math.nan}
    scores = VideoScores(**values, warnings=("it <hardly> moves",), curves=_no_curves())
    root = _parsed(scores._repr_html_())
    shown = dict(_cells(root)[1:])
    assert shown["traj"] == "–"
    assert shown["rot err"] == "0.875"
    assert len(shown) == len(values)
    assert [element.text for element in root.iter("li")] == ["it <hardly> moves"]


def _no_curves() -> Curves:
    from dataclasses import fields

    return Curves(**{field.name: () for field in fields(Curves)})


def test_many_scores_are_cut_short() -> None:
    count = MOST_ROWS + 3
    scores = Scores({"recon": torch.arange(count) / 8}, torch.full((count,), torch.nan))
    root = _parsed(scores._repr_html_())
    rows = _cells(root)
    assert rows[0] == ["sample", "recon", "total"]
    assert rows[3] == ["2", "0.250", "–"]
    assert len(rows) == MOST_ROWS + 1
    assert next(iter(root.iter("p"))).text == "3 more"


def test_a_scene_shows_its_path_and_depth() -> None:
    path = Trajectory.from_moves(("push in",), 5)
    depth = torch.full((5, 16, 32), 4.0)
    depth[:, :, 16:] = 1.0
    depth[:, 0, 0] = torch.inf
    splats = Gaussians(torch.zeros(2, 3), torch.ones(2, 3), torch.eye(4)[:2], torch.ones(2), torch.zeros(2, 3))
    scene = Reconstruction(path.c2w, path.intrinsics(16, 32), depth, torch.ones_like(depth), splats)
    root = _parsed(scene._repr_html_())
    shown = dict(_cells(root)[1:])
    assert (shown["frames"], shown["splats"], shown["camera travel"]) == ("5", "2", "0.400")
    (picture,) = root.iter("img")
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture.attrib["src"].partition(",")[2]))))
    assert pixels.shape == (16, 32, 3)
    assert (pixels[5, 4].tolist(), pixels[5, 30].tolist(), pixels[0, 0].tolist()) == ([64] * 3, [255] * 3, [0] * 3)
    assert len(list(root.iter(f"{SVG}svg"))) == 1


def test_numbers_and_pictures() -> None:
    assert [number(value) for value in (None, math.nan, 3, 0.25)] == ["–", "–", "3", "0.250"]
    image = torch.rand(3, 6, 8)
    back = np.asarray(Image.open(io.BytesIO(base64.b64decode(png(image).partition(",")[2]))), np.float32) / 255
    np.testing.assert_allclose(back, image.permute(1, 2, 0).numpy(), atol=0.5 / 255 + 1e-6)


def test_showing_needs_no_network_nor_files(tmp_path: Path) -> None:
    fragment = Trajectory.from_moves(("orbit left",), 9)._repr_html_()
    assert "http" not in fragment.replace("http://www.w3.org/2000/svg", "")
