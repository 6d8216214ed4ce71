"""Camera files: there and back, foreign files, and what is said about broken ones."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from worldr1.camera import Trajectory, read_trajectory, se3, write_trajectory
from worldr1.camera.formats import from_colmap, from_json, from_realestate


@pytest.mark.parametrize("name", ["camera.json", "camera.txt", "deep/colmap"])
def test_there_and_back(tmp_path: Path, name: str) -> None:
    written = Trajectory.from_moves(["orbit left", "pull right", "pan right"], 12, fov=50.0)
    write_trajectory(written, tmp_path / name, height=60, width=100)
    read = read_trajectory(tmp_path / name)
    torch.testing.assert_close(read.c2w, written.c2w, atol=1e-6, rtol=0)
    assert read.fov == pytest.approx(50.0, abs=1e-5)
    assert read.moves == (written.moves if name.endswith("json") else ())
    assert list(tmp_path.rglob(".*")) == []


def test_json_keeps_every_bit(tmp_path: Path) -> None:
    written = Trajectory.from_moves(["orbit left", "push in"], 33)
    write_trajectory(written, tmp_path / "camera.json")
    assert torch.equal(read_trajectory(tmp_path / "camera.json").c2w, written.c2w)


def test_foreign_realestate_file() -> None:
    rotation = Rotation.from_euler("yxz", [0.3, -0.2, 0.1])
    rows = []
    for frame in range(3):
        turn = Rotation.from_euler("y", 0.1 * frame) * rotation
        w2c = np.hstack([turn.as_matrix(), [[0.5], [0.2 * frame], [1.0]]])
        rows.append(f"{frame * 33366} 0.5 0.89 0.5 0.5 0.0 0.0 " + " ".join(map(str, w2c.flatten())))
    read = from_realestate("https://example.org/watch?v=abc\n" + "\n".join(rows))
    assert read.fov == pytest.approx(90.0)
    first, last = (
        np.vstack([np.array(row.split()[7:], float).reshape(3, 4), [0, 0, 0, 1]]) for row in (rows[0], rows[2])
    )
    np.testing.assert_allclose(read.c2w[2].numpy(), first @ np.linalg.inv(last), atol=1e-6)


def test_foreign_colmap_model_is_read_in_the_order_of_names() -> None:
    cameras = "# comment\n7 SIMPLE_RADIAL 200 100 100.0 100 50 0.01\n"
    turn = Rotation.from_euler("xyz", [0.1, 0.2, 0.3])
    x, y, z, w = turn.as_quat()
    images = (
        "# comment\n"
        f"1 {w} {x} {y} {z} 1.0 2.0 3.0 7 b name.png\n10.0 20.0 -1 30.0 40.0 5\n"
        "2 1 0 0 0 0.0 0.0 1.0 7 a.png\n\n"
    )
    read = from_colmap(cameras, images)
    assert read.fov == pytest.approx(90.0)
    centre = -turn.as_matrix().T @ [1.0, 2.0, 3.0]
    np.testing.assert_allclose(read.c2w[1, :3, :3].numpy(), turn.as_matrix().T, atol=1e-6)
    np.testing.assert_allclose(read.c2w[1, :3, 3].numpy(), centre + np.array([0, 0, 1]), atol=1e-6)


def test_quaternions_agree_with_scipy() -> None:
    rotations = Rotation.random(500, random_state=0)
    special = Rotation.from_rotvec([[0, 0, 0], [math.pi, 0, 0], [0, math.pi, 0], [0, 0, math.pi]])
    for turns in (rotations, special):
        matrix = torch.from_numpy(turns.as_matrix())
        quaternion = se3.matrix_to_quaternion(matrix)
        scipy = torch.from_numpy(np.roll(turns.as_quat(), 1, axis=-1))
        torch.testing.assert_close((quaternion * scipy).sum(-1).abs(), torch.ones(len(matrix)).double())
        torch.testing.assert_close(se3.quaternion_to_matrix(3 * quaternion), matrix)


BROKEN = {
    "not JSON": (from_json, "{"),
    'has no "c2w"': (from_json, "[]"),
    "unknown key": (from_json, json.dumps({"c2w": [np.eye(4).tolist()], "poses": 1})),
    "numbers and names": (from_json, '{"c2w": [["x"]]}'),
    '"frames": 2 and has 1': (from_json, json.dumps({"c2w": [np.eye(4).tolist()], "frames": 2})),
    "T x 4 x 4": (from_json, '{"c2w": [[1.0]]}'),
    "not rigid": (from_json, json.dumps({"c2w": [(2 * np.eye(4)).tolist()]})),
    "has 3 numbers": (from_realestate, "\n0 1 2\n"),
    "no pose": (from_realestate, "https://example.org\n"),
    "not a number": (from_realestate, "\n" + " ".join(["x"] * 19)),
    "focal length": (from_realestate, "\n" + " ".join(["0"] * 7 + ["1 0 0 0 0 1 0 0 0 0 1 0"])),
}


@pytest.mark.parametrize("message", BROKEN)
def test_broken_files_are_named(message: str) -> None:
    reader, text = BROKEN[message]
    with pytest.raises(ValueError, match=message):
        reader(text)


def test_broken_colmap_is_named() -> None:
    camera = "1 PINHOLE 2 2 1 1 1 1"
    with pytest.raises(ValueError, match="no model that is known"):
        from_colmap("1 FISHEYE 2 2 1", "")
    with pytest.raises(ValueError, match="has 1 numbers; it must have 4"):
        from_colmap("1 PINHOLE 2 2 1", "")
    with pytest.raises(ValueError, match="listed camera"):
        from_colmap(camera, "1 1 0 0 0 0 0 0 9 a.png\n\n")
    with pytest.raises(ValueError, match="its points"):
        from_colmap(camera, "1 1 0 0 0 0 0 0 1 a.png\n2 1 0 0 0 0 0 0 1 b.png\n")
    with pytest.raises(ValueError, match="no image"):
        from_colmap(camera, "# nothing\n")


def test_unknown_paths_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no camera file"):
        read_trajectory(tmp_path / "missing.ply")
    (tmp_path / "camera.ply").touch()
    with pytest.raises(ValueError, match=r"ends in \.json or \.txt"):
        read_trajectory(tmp_path / "camera.ply")
    (tmp_path / "camera.json").write_text("{")
    with pytest.raises(ValueError, match=r"camera\.json: The camera file is not JSON"):
        read_trajectory(tmp_path / "camera.json")
    with pytest.raises(ValueError, match="must end in"):
        write_trajectory(Trajectory.from_moves([], 2), tmp_path / "camera.ply")
