"""The viewer on a free port: its page is fetched, its messages are those of the scene, and it is gone at the end."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np
import pytest
import torch

from worldr1.camera.trajectory import Trajectory
from worldr1.cli.main import main
from worldr1.splats.gaussians import Gaussians
from worldr1.splats.ply import save_ply
from worldr1.viewer.scene import View, load_view
from worldr1.viewer.server import covariances, serve

pytest.importorskip("viser")

PATH = Trajectory.from_moves(("orbit left",), 4)


def _splats(count: int = 20) -> Gaussians:
    generator = torch.Generator().manual_seed(0)
    return Gaussians(
        means=torch.randn(count, 3, generator=generator),
        scales=torch.rand(count, 3, generator=generator) * 0.1 + 0.01,
        quats=torch.randn(count, 4, generator=generator),
        opacities=torch.rand(count, generator=generator),
        colors=torch.rand(count, 3, generator=generator),
        source=torch.arange(count) % 2 * 3,
    )


def _view() -> View:
    frames = torch.rand(4, 3, 24, 32, generator=torch.Generator().manual_seed(1))
    return View("clip.mp4", _splats(), PATH.c2w, frames, PATH.intrinsics(24, 32))


def _page(address: str) -> str:
    with urlopen(address, timeout=30) as answer:
        assert answer.status == 200
        return str(answer.read().decode())


def test_the_page_is_served_on_this_machine_only_and_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    import viser

    started: list[Any] = []

    class Recorded(viser.ViserServer):
        def __init__(self, **settings: Any) -> None:
            super().__init__(**settings)
            started.append(self)

    monkeypatch.setattr(viser, "ViserServer", Recorded)
    with serve(_view(), port=0) as address:
        assert address.startswith("http://127.0.0.1:")
        assert "<html" in _page(address)
        (server,) = started
        assert server.get_host() == "127.0.0.1"
    with pytest.raises(URLError):
        urlopen(address, timeout=5)


def test_the_slider_moves_the_chosen_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    import viser

    frusta: dict[str, list[Any]] = {}
    sliders: list[Any] = []
    drawn: list[int] = []
    choices: list[Any] = []
    real_frustum, real_splats = viser.SceneApi.add_camera_frustum, viser.SceneApi.add_gaussian_splats
    real_slider, real_choice = viser.GuiApi.add_slider, viser.GuiApi.add_dropdown

    def frustum(self: Any, name: str, *args: Any, **how: Any) -> Any:
        frusta.setdefault(name, []).append(how)
        return real_frustum(self, name, *args, **how)

    def splats(self: Any, name: str, **how: Any) -> Any:
        drawn.append(len(how["centers"]))
        return real_splats(self, name, **how)

    def slider(self: Any, *args: Any, **how: Any) -> Any:
        sliders.append(real_slider(self, *args, **how))
        return sliders[-1]

    def choice(self: Any, *args: Any, **how: Any) -> Any:
        choices.append(real_choice(self, *args, **how))
        return choices[-1]

    monkeypatch.setattr(viser.SceneApi, "add_camera_frustum", frustum)
    monkeypatch.setattr(viser.SceneApi, "add_gaussian_splats", splats)
    monkeypatch.setattr(viser.GuiApi, "add_slider", slider)
    monkeypatch.setattr(viser.GuiApi, "add_dropdown", choice)
    with serve(_view(), port=0):
        assert sorted(frusta) == ["/cameras/0", "/cameras/1", "/cameras/2", "/cameras/3", "/chosen"]
        (frame, size), (source,) = sliders, choices
        frame.value = 2
        _until(lambda: len(frusta["/chosen"]) >= 2)
        np.testing.assert_allclose(frusta["/chosen"][-1]["position"], PATH.c2w[2, :3, 3].numpy(), atol=1e-6)
        expected = (_view().frames[2].permute(1, 2, 0) * 255 + 0.5).byte().numpy()  # type: ignore[index]
        np.testing.assert_array_equal(frusta["/chosen"][-1]["image"], expected)
        source.value = "frame 3"
        _until(lambda: len(drawn) >= 2)
        assert drawn == [20, 10]
        size.value = 4.0
        _until(lambda: len(drawn) >= 3)
        assert drawn[-1] == 10


def _until(done: Any) -> None:
    import time

    end = time.monotonic() + 30
    while not done():
        assert time.monotonic() < end, "the viewer did not react within 30 s"
        time.sleep(0.02)


def test_covariances_are_those_of_scipy() -> None:
    rotation = pytest.importorskip("scipy.spatial.transform").Rotation
    splats = _splats()
    turned = rotation.from_quat(splats.quats[:, [1, 2, 3, 0]].numpy()).as_matrix()
    expected = turned @ (splats.scales.square().double().numpy()[:, :, None] * turned.transpose(0, 2, 1))
    np.testing.assert_allclose(covariances(splats), expected, atol=1e-7)
    np.testing.assert_allclose(covariances(splats, size=3.0), 9 * expected, atol=1e-6)


def test_the_command_shows_a_splat_file_until_it_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = save_ply(_splats(), tmp_path / "scene.ply")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    pages: list[str] = []
    monkeypatch.setattr("worldr1.cli.view.wait", lambda: pages.append(_page(f"http://127.0.0.1:{port}")))
    assert main(["view", str(file), "--port", str(port)]) == 0
    assert "<html" in pages[0]
    assert f"http://127.0.0.1:{port}" in capsys.readouterr().out


def test_what_cannot_be_shown_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "note.mp4").write_text("not a video")
    (tmp_path / "note.ply").write_text("not a ply")
    for name in ("none.mp4", "note.mp4", "note.ply"):
        assert main(["view", str(tmp_path / name)]) == 1
        assert name in capsys.readouterr().err


def test_a_splat_file_has_no_cameras(tmp_path: Path) -> None:
    view = load_view(save_ply(_splats(), tmp_path / "scene.ply"))
    assert (view.name, view.c2w, view.frames, len(view.splats)) == ("scene.ply", None, None, 20)
