"""Files for other programs: read back by this project's readers, and field by field by plyfile and by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from plyfile import PlyData

from worldr1.camera.io import read_trajectory
from worldr1.camera.trajectory import Trajectory
from worldr1.reconstruction.export import export, points3d_text
from worldr1.reconstruction.summary import summarise, trajectory_of
from worldr1.reconstruction.types import Reconstruction
from worldr1.splats.gaussians import Gaussians
from worldr1.splats.ply import load_ply
from worldr1.splats.sh import SH_C0

PATH = Trajectory.from_moves(("orbit left", "crane up"), 7, fov=50.0)
HEIGHT, WIDTH, COUNT = 24, 40, 50
FIELDS = [
    *("x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2", "opacity"),
    *("scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"),
]


def _scene() -> Reconstruction:
    generator = torch.Generator().manual_seed(3)

    def uniform(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator)

    splats = Gaussians(
        means=torch.randn(COUNT, 3, generator=generator),
        scales=uniform(COUNT, 3) * 0.1 + 0.001,
        quats=torch.randn(COUNT, 4, generator=generator),
        opacities=uniform(COUNT) * 0.98 + 0.01,
        colors=uniform(COUNT, 3),
        source=torch.arange(COUNT) % 7,
    )
    maps = torch.ones(7, HEIGHT, WIDTH)
    return Reconstruction(PATH.c2w, PATH.intrinsics(HEIGHT, WIDTH), maps, 0.25 * maps, splats)


def test_the_splat_file_is_that_of_gaussian_splatting_field_by_field(tmp_path: Path) -> None:
    scene = _scene()
    assert export(scene, tmp_path, ("ply",)) == [tmp_path / "scene.ply"]
    data = PlyData.read(str(tmp_path / "scene.ply"))
    assert (data.text, data.byte_order, [element.name for element in data.elements]) == (False, "<", ["vertex"])
    vertex = data["vertex"]
    assert [item.name for item in vertex.properties] == FIELDS
    assert {item.val_dtype for item in vertex.properties} == {"f4"}
    splats = scene.splats
    expected = {
        **{name: splats.means[:, axis] for axis, name in enumerate("xyz")},
        **{name: torch.zeros(COUNT) for name in ("nx", "ny", "nz")},
        **{f"f_dc_{k}": (splats.colors[:, k] - 0.5) / SH_C0 for k in range(3)},
        "opacity": torch.log(splats.opacities / (1 - splats.opacities)),
        **{f"scale_{k}": splats.scales[:, k].log() for k in range(3)},
        **{f"rot_{k}": splats.quats[:, k] / splats.quats.square().sum(1).sqrt() for k in range(4)},
    }
    for name, column in expected.items():
        np.testing.assert_allclose(vertex[name], column.numpy(), atol=1e-5, rtol=1e-5, err_msg=name)
    back = load_ply(tmp_path / "scene.ply")
    torch.testing.assert_close(back.means, splats.means)
    torch.testing.assert_close(back.colors, splats.colors, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("kind", "place"), [("colmap", "sparse/0"), ("re10k", "re10k.txt")])
def test_cameras_come_back(kind: str, place: str, tmp_path: Path) -> None:
    export(_scene(), tmp_path, (kind,))
    back = read_trajectory(tmp_path / place)
    torch.testing.assert_close(back.c2w, PATH.c2w, atol=2e-6, rtol=0)
    assert back.fov == pytest.approx(50.0, abs=1e-4)


def test_the_colmap_folder_holds_frames_under_their_names_and_points_that_project(tmp_path: Path) -> None:
    scene, video = _scene(), torch.rand(7, 3, HEIGHT, WIDTH)
    export(scene, tmp_path, ("colmap",), video)
    lines = (tmp_path / "sparse/0/images.txt").read_text().splitlines()
    images = [line.split() for line in lines if line.endswith(".png")]
    for frame, words in enumerate(images):
        picture = np.asarray(Image.open(tmp_path / "images" / words[9]), np.float32) / 255
        np.testing.assert_allclose(picture, video[frame].permute(1, 2, 0).numpy(), atol=0.5 / 255 + 1e-6)
    assert len(images) == 7
    camera = (tmp_path / "sparse/0/cameras.txt").read_text().splitlines()[-1].split()
    assert camera[:4] == ["1", "PINHOLE", str(WIDTH), str(HEIGHT)]
    assert float(camera[4]) == pytest.approx(0.5 * WIDTH / math.tan(math.radians(25.0)), rel=1e-6)
    rows = [line.split() for line in (tmp_path / "sparse/0/points3D.txt").read_text().splitlines()[1:]]
    table = np.array([[float(word) for word in row] for row in rows])
    np.testing.assert_array_equal(table[:, 0], np.arange(1, COUNT + 1))
    np.testing.assert_allclose(table[:, 1:4], scene.splats.means.numpy(), rtol=1e-5)
    np.testing.assert_allclose(table[:, 4:7] / 255, scene.splats.colors.numpy(), atol=0.5 / 255 + 1e-6)
    assert set(table[:, 7]) == {0.0}


def test_intrinsics_off_the_centre_are_kept(tmp_path: Path) -> None:
    lens = torch.tensor([[30.0, 0.0, 17.0], [0.0, 33.0, 13.0], [0.0, 0.0, 1.0]])
    export(replace(_scene(), intrinsics=lens), tmp_path, ("colmap", "re10k"), fps=4.0)
    params = (tmp_path / "sparse/0/cameras.txt").read_text().split()[-4:]
    assert [float(word) for word in params] == [30.0, 33.0, 17.0, 13.0]
    rows = [line.split() for line in (tmp_path / "re10k.txt").read_text().splitlines()[1:]]
    shares = [float(word) for word in rows[1][1:5]]
    assert shares == pytest.approx([30.0 / WIDTH, 33.0 / HEIGHT, 17.0 / WIDTH, 13.0 / HEIGHT])
    assert [int(row[0]) for row in rows[:3]] == [0, 250_000, 500_000]


def test_many_points_are_thinned_and_spherical_harmonics_give_their_mean_colour() -> None:
    splats = _scene().splats
    harmonics = torch.randn(COUNT, 4, 3)
    harmonics[:, 0] = (splats.colors - 0.5) / SH_C0
    text = points3d_text(replace(splats, colors=harmonics), most=5)
    rows = [line.split() for line in text.splitlines()[1:]]
    assert len(rows) == 5
    for row, place in zip(rows, (0, 12, 24, 37, 49), strict=True):
        assert [float(word) for word in row[1:4]] == pytest.approx(splats.means[place].tolist(), rel=1e-5)
        assert [int(word) for word in row[4:7]] == [round(255 * value) for value in splats.colors[place].tolist()]


def test_wrong_wishes_are_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown format 'obj'"):
        export(_scene(), tmp_path, ("obj",))
    with pytest.raises(ValueError, match="was rebuilt from"):
        export(_scene(), tmp_path, ("colmap",), torch.zeros(3, 3, HEIGHT, WIDTH))


def test_the_summary_measures_the_path() -> None:
    found = summarise(replace(_scene(), c2w=Trajectory.from_moves(("push in",), 7).c2w))
    assert (found.frames, found.height, found.width, found.splats) == (7, HEIGHT, WIDTH, COUNT)
    assert found.camera_travel == pytest.approx(0.4, abs=1e-5)
    assert found.camera_turn == pytest.approx(0.0, abs=1e-3)
    assert (found.confidence, found.fov) == (pytest.approx(0.25), pytest.approx(50.0, abs=1e-4))
    assert torch.equal(trajectory_of(_scene()).c2w, PATH.c2w)


def test_the_rerun_recording_holds_cameras_points_and_frames(tmp_path: Path) -> None:
    pytest.importorskip("rerun", reason="needs pip install 'worldr1[rerun]'")
    scene, video = _scene(), torch.rand(7, 3, HEIGHT, WIDTH)
    assert export(scene, tmp_path, ("rerun",), video, fps=4.0) == [tmp_path / "scene.rrd"]
    assert [path.name for path in tmp_path.iterdir()] == ["scene.rrd"]
    assert (tmp_path / "scene.rrd").stat().st_size > 10_000
    chunk = pytest.importorskip("rerun.chunk", reason="this Rerun SDK cannot read recordings back")
    columns: dict[str, list] = {}
    for piece in chunk.RrdReader(tmp_path / "scene.rrd").stream().to_chunks():
        batch = piece.to_record_batch()
        for name in (name for name in batch.schema.names if ":" in name):
            columns.setdefault(f"{piece.entity_path} {name}", []).extend(batch.column(name).to_pylist())
    translations = np.array([row[0] for row in columns["/world/camera Transform3D:translation"] if row])
    matrices = np.array([row[0] for row in columns["/world/camera Transform3D:mat3x3"] if row])
    np.testing.assert_allclose(translations, PATH.c2w[:, :3, 3].numpy(), atol=1e-6)
    np.testing.assert_allclose(matrices.reshape(7, 3, 3).transpose(0, 2, 1), PATH.c2w[:, :3, :3].numpy(), atol=1e-6)
    (points,) = [row for row in columns["/world/points Points3D:positions"] if row]
    np.testing.assert_allclose(np.array(points), scene.splats.means.numpy(), atol=1e-6)
    (lens,) = [row[0] for row in columns["/world/camera Pinhole:image_from_camera"] if row]
    np.testing.assert_allclose(np.array(lens).reshape(3, 3).T, scene.intrinsics.numpy(), rtol=1e-6)
    assert len([row for row in columns["/world/camera/picture EncodedImage:blob"] if row]) == 7
