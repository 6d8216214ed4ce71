"""The page: a viser server with splats, camera frusta that carry their frames, and a slider through time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from worldr1.camera.se3 import matrix_to_quaternion, quaternion_to_matrix
from worldr1.reconstruction.export import rgb
from worldr1.splats.gaussians import Gaussians
from worldr1.viewer.scene import View

if TYPE_CHECKING:
    import viser

_FRUSTUM, _CHOSEN_FRUSTUM = 0.05, 0.09
_LINE, _CHOSEN_LINE = 0.0008, 0.002
_SIZE_OF_REBUILT = 2.0  # pixel-aligned splats are made for the video's own resolution, and leave gaps from nearby
_GREY, _ORANGE = (110, 110, 110), (235, 120, 20)
_ALL = "all frames"


@contextmanager
def serve(view: View, host: str = "127.0.0.1", port: int = 8080) -> Iterator[str]:
    """Show a view for as long as the block lasts; gives the page's address.

    Args:
        view: what to show.
        host: address to listen at; only this machine can open the page at 127.0.0.1.
        port: the next free one from here on is taken; 0 for any.

    Raises:
        ImportError: viser is not installed.
    """
    import viser

    server = viser.ViserServer(host=host, port=port, label=view.name, verbose=False)
    try:
        server.gui.configure_theme(show_share_button=False)
        server.scene.set_up_direction("-y")
        _start_camera(server, view)
        _add_controls(server, view)
        yield f"http://{host}:{server.get_port()}"
    finally:
        server.stop()


def covariances(splats: Gaussians, size: float = 1.0) -> NDArray[np.float32]:
    """[N, 3, 3]: R diag(scales^2) R^T, with all scales times `size`."""
    scales = size * splats.scales.detach().cpu().double()
    axes = quaternion_to_matrix(splats.quats.detach().cpu().double()) * scales[:, None]
    return (axes @ axes.mT).float().numpy()


def _show_splats(server: viser.ViserServer, splats: Gaussians, size: float) -> None:
    server.scene.add_gaussian_splats(
        "/splats",
        centers=splats.means.detach().cpu().float().numpy(),
        covariances=covariances(splats, size),
        rgbs=rgb(splats).cpu().float().numpy(),
        opacities=splats.opacities.detach().cpu().float().numpy()[:, None],
    )


def _start_camera(server: viser.ViserServer, view: View) -> None:
    """Behind the first camera; without one, in front of the splats' middle."""
    if view.c2w is not None:
        server.initial_camera.position = (0.0, -0.15, -0.5)
        server.initial_camera.look_at = (0.0, 0.0, 1.0)
        return
    means = view.splats.means.detach().cpu().double()
    if len(means) == 0:
        return
    middle = means.median(dim=0).values
    distance = 2.5 * float((means - middle).norm(dim=1).median()) + 1e-3
    server.initial_camera.position = (middle - middle.new_tensor([0.0, 0.0, distance])).numpy()
    server.initial_camera.look_at = middle.numpy()


def _add_controls(server: viser.ViserServer, view: View) -> None:
    if view.c2w is not None and view.frames is not None and view.intrinsics is not None:
        _add_cameras(server, view.c2w, view.frames, view.intrinsics)
    source = view.splats.source
    numbers = [] if source is None else source.unique().tolist()
    parts = {_ALL: view.splats} | {f"frame {number}": view.splats[source == number] for number in numbers}
    choice = server.gui.add_dropdown("splats of", tuple(parts), initial_value=_ALL, visible=len(parts) > 1)
    start = 1.0 if view.c2w is None else _SIZE_OF_REBUILT
    size = server.gui.add_slider("splat size", min=0.5, max=4.0, step=0.5, initial_value=start)

    def update(_: object = None) -> None:
        _show_splats(server, parts[choice.value], size.value)

    choice.on_update(update)
    size.on_update(update)
    update()


def _add_cameras(server: viser.ViserServer, c2w: Tensor, frames: Tensor, intrinsics: Tensor) -> None:
    height, width = frames.shape[2:]
    fov, aspect = 2 * math.atan(0.5 * height / float(intrinsics[1, 1])), width / height
    pictures = (frames.detach().cpu().clamp(0, 1) * 255 + 0.5).byte().permute(0, 2, 3, 1).numpy()
    poses = c2w.detach().cpu().double()
    turns, places = matrix_to_quaternion(poses[:, :3, :3]).numpy(), poses[:, :3, 3].numpy()

    def frustum(name: str, frame: int, **how: Any) -> Any:
        return server.scene.add_camera_frustum(
            name, fov, aspect, image=pictures[frame], wxyz=turns[frame], position=places[frame], **how
        )

    others = [frustum(f"/cameras/{k}", k, scale=_FRUSTUM, thickness=_LINE, color=_GREY) for k in range(len(poses))]
    slider = server.gui.add_slider("frame", min=0, max=len(poses) - 1, step=1, initial_value=0)
    through = server.gui.add_checkbox("look through this camera", initial_value=False)
    shown = server.gui.add_checkbox("show cameras", initial_value=True)

    def update(_: object = None) -> None:
        chosen = int(slider.value)
        for frame, handle in enumerate(others):
            handle.visible = bool(shown.value) and not through.value and frame != chosen
        current = frustum("/chosen", chosen, scale=_CHOSEN_FRUSTUM, thickness=_CHOSEN_LINE, color=_ORANGE)
        current.visible = bool(shown.value) and not through.value
        for client in server.get_clients().values() if through.value else ():
            with client.atomic():
                client.camera.wxyz = turns[chosen]
                client.camera.position = places[chosen]
                client.camera.fov = fov

    for control in (slider, through, shown):
        control.on_update(update)
    update()
