"""Depth Anything 3 against its own package, on random weights: network, cameras, frames, files."""

from __future__ import annotations

import json
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("depth_anything_3")

from benchmarks.random_models.depth import tiny_network
from da3_networks import tiny_nested_network

from worldr1.reconstruction.da3_loading import build_network
from worldr1.reconstruction.da3_preprocess import normalize, resize_frames
from worldr1.reconstruction.da3_variants import variant_of
from worldr1.reconstruction.depth_anything import DepthAnythingReconstructor, scene_unit
from worldr1.splats.sh import sh_to_rgb

TOLERANCE = 1e-4  # relative, of issue B
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def _video(frames: int, height: int, width: int, seed: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(frames, 3, 4, 6, generator=generator)
    return nn.functional.interpolate(coarse, size=(height, width), mode="bilinear").clamp(0, 1)


def _plainly(network: nn.Module, video: Tensor, **settings: Any) -> Any:
    """Upstream's network on a video [T,3,H,W] that has the network's size already."""
    frames = (video.permute(0, 2, 3, 1).numpy() - MEAN) / STD
    with torch.no_grad():
        return network(torch.from_numpy(frames).permute(0, 3, 1, 2)[None].float(), infer_gs=True, **settings)


def _relative_to_first(w2c: Tensor) -> np.ndarray:
    """Camera-to-world [T,4,4] of upstream's world-to-camera [1,T,3,4], by plain matrix inverses in float64."""
    whole = np.tile(np.eye(4), (w2c.shape[1], 1, 1))
    whole[:, :3] = w2c[0].double().numpy()
    return whole[0] @ np.linalg.inv(whole)


def _close(found: Tensor, expected: np.ndarray | Tensor) -> None:
    """Within the tolerance of the largest expected value."""
    wanted = torch.as_tensor(expected, dtype=torch.float64)
    assert found.shape == wanted.shape
    assert float((found.double() - wanted).abs().max() / wanted.abs().max()) < TOLERANCE


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return tiny_network()


def test_depth_and_cameras_are_those_of_the_network_called_plainly(network: nn.Module) -> None:
    video = _video(5, 42, 70)
    output = _plainly(network, video, ref_view_strategy="middle")
    scene = DepthAnythingReconstructor(network, process_res=70)(video[None])[0]
    unit = scene_unit(output.depth[0, 0])
    _close(scene.depth, output.depth[0] / unit)
    _close(scene.confidence, 1 - 1 / output.depth_conf[0])
    _close(scene.intrinsics, output.intrinsics[0].median(0).values)
    expected = _relative_to_first(output.extrinsics)
    _close(scene.c2w[:, :3, :3], expected[:, :3, :3])
    assert float(np.abs(expected[1:, :3, 3]).max()) > 1e-3, "the test needs cameras that move"
    _close(scene.c2w[1:, :3, 3], expected[1:, :3, 3] / unit)


def test_cameras_are_those_of_the_camera_decoder_called_plainly(network: nn.Module) -> None:
    """The decoder's own answer is camera-to-world, translation and quaternion xyzw and field of view."""
    from depth_anything_3.model.utils.transform import pose_encoding_to_extri_intri

    video = _video(5, 42, 70)
    kept = {}
    hook = network.cam_dec.register_forward_hook(lambda *call: kept.update(encoding=call[2]))
    prediction = DepthAnythingReconstructor(network, process_res=70).predict(video)
    hook.remove()
    assert prediction is not None
    c2w, intrinsics = pose_encoding_to_extri_intri(kept["encoding"], (42, 70))
    whole = np.tile(np.eye(4), (5, 1, 1))
    whole[:, :3] = c2w[0].double().numpy()
    expected = np.linalg.inv(whole[0]) @ whole
    _close(prediction.c2w[:, :3, :3], expected[:, :3, :3])
    _close(prediction.c2w[1:, :3, 3], expected[1:, :3, 3])
    _close(prediction.intrinsics, intrinsics[0])


def test_ray_poses_are_the_network_s_and_do_not_change_from_call_to_call(network: nn.Module) -> None:
    """The rays of a random network fit two poses almost alike, and for some seeds (1, 4, 7 and 8 of the first twelve)
    the processor's last bit decides which one upstream's sampling finds; seed 2 is none of these."""
    video = _video(3, 42, 70)
    rebuild = DepthAnythingReconstructor(network, process_res=70, use_ray_pose=True, seed=2)
    found = rebuild.predict(video)
    torch.rand(7)
    again = rebuild.predict(video)
    assert found is not None
    assert again is not None
    assert torch.equal(found.c2w, again.c2w)
    torch.manual_seed(2)
    output = _plainly(network, video, use_ray_pose=True, ref_view_strategy="middle")
    expected = _relative_to_first(output.extrinsics)
    _close(found.c2w[:, :3, :3], expected[:, :3, :3])
    _close(found.c2w[1:, :3, 3], expected[1:, :3, 3])


def test_videos_of_a_batch_do_not_touch_each_other(network: nn.Module) -> None:
    videos = torch.stack([_video(4, 48, 64, seed) for seed in (1, 2)])
    rebuild = DepthAnythingReconstructor(network, process_res=56)
    together, alone = rebuild(videos), rebuild(videos[1:])[0]
    assert together[1].depth.shape == (4, 48, 64)
    assert torch.equal(together[1].depth, alone.depth)
    assert torch.equal(together[1].c2w, alone.c2w)
    assert not torch.equal(together[0].depth, alone.depth)


@pytest.mark.parametrize("frames", [1, 2])
def test_one_or_two_frames(network: nn.Module, frames: int) -> None:
    scene = DepthAnythingReconstructor(network, process_res=56)(_video(frames, 56, 56)[None])[0]
    assert bool(scene.c2w.isfinite().all())
    assert scene.c2w.shape == (frames, 4, 4)
    assert len(scene.splats) > 0


def test_half_precision_is_near_the_whole(network: nn.Module) -> None:
    video = _video(3, 56, 56)[None]
    whole = DepthAnythingReconstructor(network, process_res=56)(video)[0]
    half = DepthAnythingReconstructor(network, process_res=56, dtype=torch.bfloat16)(video)[0]
    assert half.depth.dtype == torch.float32
    assert not torch.equal(whole.depth, half.depth)
    assert float((half.depth / whole.depth - 1).abs().mean()) < 0.05


@pytest.mark.parametrize("degree", [0, 2])
def test_the_gaussian_head_s_scene_is_kept(degree: int) -> None:
    """Positions, sizes and what each Gaussian looks like from a camera, in the world of frame 0."""
    pytest.importorskip("evo")
    pytest.importorskip("e3nn")
    network, video = tiny_network(gaussian_degree=degree), _video(4, 42, 42)
    output = _plainly(network, video, ref_view_strategy="middle")
    rebuild = DepthAnythingReconstructor(network, process_res=42, splat_frames=2)
    prediction = rebuild.predict(video)
    assert prediction is not None
    splats = prediction.splats
    assert splats.source is not None
    pixels = 42 * 42
    index = torch.cat([torch.arange(pixels), torch.arange(3 * pixels, 4 * pixels)])
    head = output.gaussians
    index = index[(head.scales[0, index] > 0).all(1)]
    assert len(splats) == len(index) > pixels
    assert torch.equal(splats.source, index // pixels)
    first = torch.cat([output.extrinsics[0, 0].double(), torch.tensor([[0.0, 0, 0, 1]])])
    _close(splats.means, head.means[0, index].double() @ first[:3, :3].T + first[:3, 3])
    _close(splats.scales, head.scales[0, index])
    eye = torch.tensor([0.3, -0.2, -0.5], dtype=torch.float64)
    eye_there = (torch.linalg.inv(first) @ torch.cat([eye, torch.ones(1)]))[:3]
    expected = sh_to_rgb(head.harmonics[0, index].mT.double(), head.means[0, index].double(), eye_there[None])
    _close(sh_to_rgb(splats.colors.double(), splats.means.double(), eye[None]), expected)
    scene = rebuild(video[None])[0]
    _close(scene.splats.means, splats.means / scene_unit(output.depth[0, 0]))


def test_nested_variants_give_metres_everywhere() -> None:
    """Without offsets the head puts each Gaussian at its depth along its ray, seen from the frame's camera."""
    pytest.importorskip("evo")
    network, video = tiny_nested_network(sky=-5.0), _video(3, 42, 42)
    output = _plainly(network, video, ref_view_strategy="middle")
    assert abs(output.scale_factor - 1) > 0.05, "the test needs metres that are not the unit of the first network"
    rebuild = DepthAnythingReconstructor(network, process_res=42)
    prediction = rebuild.predict(video)
    assert prediction is not None
    assert prediction.metric
    _close(prediction.depth, output.depth[0])
    expected = _relative_to_first(output.extrinsics)
    _close(prediction.c2w[1:, :3, 3], expected[1:, :3, 3])
    assert prediction.splats.source is not None
    assert len(prediction.splats) == 3 * 42 * 42
    eyes = prediction.c2w[prediction.splats.source, :3, 3]
    _close((prediction.splats.means - eyes).norm(dim=1), output.depth[0].flatten())


def test_a_video_of_nothing_but_sky_is_missing(caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("evo")
    rebuild = DepthAnythingReconstructor(tiny_nested_network(sky=50.0), process_res=42)
    assert bool(rebuild(_video(3, 42, 42)[None])[0].c2w.isnan().all())
    assert "nothing but sky" in caplog.text


class _Normalize:
    def __init__(self, mean: list[float], std: list[float]) -> None:
        self.mean, self.std = torch.tensor(mean)[:, None, None], torch.tensor(std)[:, None, None]

    def __call__(self, image: Tensor) -> Tensor:
        return (image - self.mean) / self.std


def test_frames_are_those_of_upstreams_processor_but_for_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    """The class itself; of torchvision, which it imports, it uses two functions that are written out here."""
    pytest.importorskip("cv2")
    transforms: Any = types.ModuleType("torchvision.transforms")
    transforms.ToTensor = lambda: lambda image: torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
    transforms.Normalize = _Normalize
    torchvision: Any = types.ModuleType("torchvision")
    torchvision.transforms = transforms
    monkeypatch.setitem(sys.modules, "torchvision", torchvision)
    monkeypatch.setitem(sys.modules, "torchvision.transforms", transforms)
    processor = pytest.importorskip("depth_anything_3.utils.io.input_processor").InputProcessor()
    for height, width, process_res in ((480, 832, 504), (64, 64, 98), (50, 83, 70)):
        picture = np.random.default_rng(1).integers(0, 256, (2, height, width, 3), dtype=np.uint8)
        expected, _, _ = processor([*picture], None, None, process_res, num_workers=1)
        ours = normalize(resize_frames(torch.from_numpy(picture).permute(0, 3, 1, 2) / 255, process_res))
        levels = (ours - expected).abs() * torch.from_numpy(STD)[:, None, None] * 255
        assert float(levels.max()) < 2.5
        assert float(levels.mean()) < 0.4


def _write_as_the_hub_has_it(network: nn.Module, preset: str, directory: Path) -> None:
    """By the mixin that upstream's `DepthAnything3` publishes with: one child `model`, one argument `model_name`."""
    from huggingface_hub import PyTorchModelHubMixin

    class DepthAnything3(nn.Module, PyTorchModelHubMixin):
        def __init__(self, model_name: str = "da3-large", **kwargs: Any) -> None:
            super().__init__()
            self.model = network

    DepthAnything3(model_name=preset).save_pretrained(directory)


def test_published_files_give_the_same_network(tmp_path: Path) -> None:
    """DA3-SMALL itself, with random weights, through the files that its hub page has."""
    from safetensors import safe_open

    variant = variant_of("DA3-SMALL")
    torch.manual_seed(2)
    network = build_network(variant)
    assert sum(p.numel() for p in network.parameters()) == variant.parameters
    with torch.no_grad():
        network.cam_dec.fc_fov[0].bias.fill_(0.9)
    _write_as_the_hub_has_it(network, variant.preset, tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["model_name"] == "da3-small"
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        names = set(file.keys())
    assert all(name.startswith("model.") for name in names)
    assert len(names) < len(network.state_dict()), "shared layer norms have one name in the file"

    torch.manual_seed(3)
    rebuild = DepthAnythingReconstructor.from_pretrained(tmp_path, "cpu", torch.float32, process_res=56)
    for name, value in rebuild.network.state_dict().items():
        assert torch.equal(value, network.state_dict()[name]), name
    video = _video(3, 56, 56)
    output = _plainly(network, video, ref_view_strategy="middle")
    _close(rebuild(video[None])[0].depth, output.depth[0] / scene_unit(output.depth[0, 0]))


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    from worldr1.reconstruction.da3_loading import _fill

    network = tiny_network()
    _write_as_the_hub_has_it(network, "da3-small", tmp_path)
    file = tmp_path / "model.safetensors"
    tensors = load_file(file)
    del tensors["model.cam_dec.fc_t.weight"]
    save_file(tensors, file)
    with pytest.raises(ValueError, match=r"lacks 1 tensors of da3-small, model\.cam_dec\.fc_t\.weight"):
        _fill(tiny_network(seed=1), file, "da3-small")
    save_file({**tensors, "model.cam_dec.fc_t.weight": torch.zeros(3, 5)}, file)
    with pytest.raises(
        ValueError, match=r"does not hold the weights of da3-base: size mismatch .*config\.json belongs"
    ):
        _fill(tiny_network(seed=1), file, "da3-base")


def test_nothing_heavy_is_imported() -> None:
    """Neither by this package nor by upstream's network; and upstream's chatter stays off standard output."""
    program = """
import sys
for name in ("torchvision", "xformers", "open3d", "moviepy", "pycolmap", "evo", "e3nn"):
    sys.modules[name] = None
import worldr1.reconstruction.depth_anything
assert "depth_anything_3" not in sys.modules
from worldr1.reconstruction.da3_loading import build_network
from worldr1.reconstruction.da3_variants import variant_of
build_network(variant_of("DA3-SMALL"))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""


def test_a_missing_package_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "evo" else object())
    with pytest.raises(ImportError, match=r"\(DA3-GIANT-1\.1\) needs evo; install with: pip install"):
        build_network(variant_of("DA3-GIANT-1.1"))
