"""Depth Anything 3 without its package: frames, Gaussians; conventions on a network that knows the truth."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from da3_networks import Head, Truth
from torch import Tensor

from worldr1.camera import Trajectory, se3
from worldr1.reconstruction.da3_gaussians import from_head, from_maps, transform
from worldr1.reconstruction.da3_preprocess import processed_size, resize_frames
from worldr1.reconstruction.depth_anything import DepthAnythingReconstructor, rescale_intrinsics, scene_unit
from worldr1.reconstruction.types import Reconstruction
from worldr1.rewards.meta import meta_view_pose, meta_views
from worldr1.rewards.recon import ReconReward
from worldr1.rewards.traj import TrajReward
from worldr1.rewards.types import Sample
from worldr1.splats.gaussians import Gaussians
from worldr1.splats.render import render
from worldr1.tinyworld import Clip, render_clips, sample_scene

HEIGHT, WIDTH, FRAMES = 84, 126, 9


@pytest.mark.parametrize(
    ("size", "process_res", "expected"),
    [
        ((480, 832), 504, (294, 504)),
        ((832, 480), 504, (504, 294)),
        ((64, 64), 504, (504, 504)),
        ((64, 64), 56, (56, 56)),
        ((35, 70), 70, (42, 70)),
        ((4, 500), 504, (14, 504)),
    ],
)
def test_the_size_that_the_network_sees(size: tuple[int, int], process_res: int, expected: tuple[int, int]) -> None:
    assert processed_size(*size, process_res) == expected
    assert tuple(resize_frames(torch.rand(1, 3, *size), process_res).shape[2:]) == expected


@pytest.mark.parametrize(("size", "process_res"), [((480, 832), 504), ((64, 64), 126), ((120, 90), 70), ((97, 61), 98)])
def test_frames_are_resized_as_opencv_does_it_but_for_rounding(size: tuple[int, int], process_res: int) -> None:
    """Upstream's two steps on 8-bit pictures: each rounds by half a level, its fixed-point cubic by up to one more."""
    cv2 = pytest.importorskip("cv2")
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    expected = picture
    scale = process_res / max(size)
    bounded = (round(size[0] * scale), round(size[1] * scale))
    for target in (bounded, processed_size(*size, process_res)):
        grows = target[0] > expected.shape[0] or target[1] > expected.shape[1]
        if target != expected.shape[:2]:
            kernel = cv2.INTER_CUBIC if grows else cv2.INTER_AREA
            expected = cv2.resize(expected, target[::-1], interpolation=kernel)
    ours = resize_frames(torch.from_numpy(picture).permute(2, 0, 1)[None] / 255, process_res)
    difference = (ours[0].permute(1, 2, 0) * 255 - torch.from_numpy(expected)).abs()
    assert float(difference.max()) < 2.5
    assert float(difference.mean()) < 0.4


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_a_turned_scene_looks_the_same_to_a_camera_turned_with_it(degree: int) -> None:
    generator = torch.Generator().manual_seed(degree)
    scene = Gaussians(
        means=torch.rand(60, 3, generator=generator, dtype=torch.float64) * 0.8 + torch.tensor([-0.4, -0.4, 1.0]),
        scales=torch.rand(60, 3, generator=generator, dtype=torch.float64) * 0.08 + 0.02,
        quats=torch.randn(60, 4, generator=generator, dtype=torch.float64),
        opacities=torch.rand(60, generator=generator, dtype=torch.float64) * 0.8 + 0.1,
        colors=torch.randn(60, (degree + 1) ** 2, 3, generator=generator, dtype=torch.float64) * 0.5,
    )
    rotation = se3.quaternion_to_matrix(torch.tensor([0.7, 0.3, -0.5, 0.2], dtype=torch.float64))
    translation, scale = torch.tensor([0.3, -1.0, 2.0], dtype=torch.float64), 1.7
    intrinsics = torch.tensor([[40.0, 0, 24], [0, 40, 24], [0, 0, 1]])
    before = render(scene, torch.eye(4), intrinsics, 48, 48)
    moved = transform(scene, rotation, translation, scale)
    after = render(moved, se3.compose(rotation, translation), intrinsics, 48, 48)
    assert float(before.alpha.mean()) > 0.1
    torch.testing.assert_close(after.image, before.image, atol=2e-5, rtol=0)
    torch.testing.assert_close(after.depth, scale * before.depth, atol=2e-4, rtol=0)


def test_head_gaussians_keep_their_frame_and_drop_what_is_no_gaussian() -> None:
    frames, pixels = 4, 6
    count = frames * pixels
    label = torch.arange(count, dtype=torch.float32)
    head = Head(
        means=label[None, :, None].expand(1, count, 3).clone(),
        scales=torch.ones(1, count, 3),
        rotations=torch.tensor([1.0, 0, 0, 0]).expand(1, count, 4).clone(),
        harmonics=torch.arange(12.0).reshape(3, 4).expand(1, count, 3, 4),
        opacities=torch.full((1, count), 1.0 + 1e-6),
    )
    head.scales[0, 20, 1] = -0.1
    head.means[0, 21, 0] = torch.nan
    found = from_head(head, frames, torch.tensor([0, 3]))
    assert found.means[:, 1].tolist() == [0, 1, 2, 3, 4, 5, 18, 19, 22, 23]
    assert found.source is not None
    assert found.source.tolist() == [0] * 6 + [3] * 4
    assert float(found.opacities.max()) == 1.0
    torch.testing.assert_close(found.colors[0], torch.arange(12.0).reshape(3, 4).T)
    with pytest.raises(ValueError, match="one video of 5"):
        from_head(head, 5, torch.tensor([0]))


def _clips(count: int) -> tuple[list[Clip], list[Trajectory]]:
    rng = np.random.default_rng(11)
    asked = [Trajectory.from_moves((move,), FRAMES) for move in ("orbit left", "push in", "move right")[:count]]
    return render_clips([sample_scene(rng) for _ in asked], asked, height=HEIGHT, width=WIDTH), asked


def _world() -> Tensor:
    turn = se3.quaternion_to_matrix(torch.tensor([0.8, 0.1, 0.4, -0.2], dtype=torch.float64))
    return se3.compose(turn, torch.tensor([5.0, -2.0, 1.0], dtype=torch.float64))


@pytest.fixture(scope="module")
def truth() -> tuple[list[Clip], list[Trajectory], list[Reconstruction], Truth]:
    """Clips at twice the size at which the network is asked about them, and what is made of its answers."""
    clips, asked = _clips(2)
    rng = np.random.default_rng(11)
    large = render_clips([sample_scene(rng) for _ in asked], asked, height=2 * HEIGHT, width=2 * WIDTH)
    network = Truth(clips, _world(), unit=7.3)
    rebuild = DepthAnythingReconstructor(network, process_res=WIDTH, splat_frames=FRAMES, use_ray_pose=True)
    return large, asked, rebuild(torch.stack([clip.video for clip in large])), network


def test_cameras_lens_and_depth_of_a_network_that_knows_the_truth(truth: tuple) -> None:
    clips, _, found, network = truth
    assert network.seen[0]["ref_view_strategy"] == "middle"
    assert network.seen[0]["use_ray_pose"] is True
    for clip, small, scene in zip(clips, network.clips, found, strict=True):
        unit = scene_unit(small.depth[0])
        assert unit == pytest.approx(scene_unit(clip.depth[0]), rel=0.01)
        expected = clip.c2w.clone()
        expected[:, :3, 3] /= unit
        torch.testing.assert_close(scene.c2w, expected, atol=1e-5, rtol=0)
        assert torch.equal(scene.c2w[0], torch.eye(4))
        torch.testing.assert_close(scene.intrinsics, clip.intrinsics, atol=1e-3, rtol=0)
        relative = (scene.depth * unit / clip.depth - 1).abs()
        assert scene.depth.shape == clip.depth.shape
        assert float(relative.median()) < 1e-3
        assert float(relative.quantile(0.9)) < 0.02
        torch.testing.assert_close(scene.confidence, torch.full_like(scene.depth, 0.75))


def test_the_trajectory_reward_is_near_its_best_on_the_truth(truth: tuple) -> None:
    clips, asked, found, _ = truth
    samples = [Sample(clip.video, clip.prompt, t) for clip, t in zip(clips, asked, strict=True)]
    assert float(TrajReward()(samples, found).min()) > 0.8
    assert float(TrajReward()(samples, found[::-1]).max()) < 0.5


def test_gaussians_redraw_the_video_from_its_cameras(truth: tuple) -> None:
    clips, _, found, _ = truth
    for clip, scene in zip(clips, found, strict=True):
        assert scene.splats.source is not None
        assert scene.splats.source.unique().tolist() == list(range(FRAMES))
        views = render(scene.splats, scene.c2w[[0, 4, 8]], scene.intrinsics, 2 * HEIGHT, 2 * WIDTH)
        error = (views.image - clip.video[[0, 4, 8]]).square().mean()
        assert float(-10 * error.log10()) > 20
        assert float(views.alpha.mean()) > 0.95
        assert float((views.depth / scene.depth[[0, 4, 8]] - 1).abs().median()) < 0.01


def test_the_meta_view_of_such_a_scene_shows_it(truth: tuple) -> None:
    """What is seen from off the trajectory is what the scene's own renderer draws there, but for holes."""
    clips, asked, found, _ = truth
    views = meta_views(asked, found, 2 * HEIGHT, 2 * WIDTH)
    for clip, trajectory, scene, view in zip(clips, asked, found, views, strict=True):
        pose = meta_view_pose(trajectory)
        pose[:3, 3] *= scene_unit(clip.depth[0])
        both = Trajectory(torch.stack([torch.eye(4), pose]))
        expected = render_clips([clip.scene], [both], height=2 * HEIGHT, width=2 * WIDTH)[0].video[1]
        shown = view.sum(0) > 0.05
        assert scene.splats.source is not None
        assert float(shown.float().mean()) > 0.7
        assert float((view - expected).abs().mean(0)[shown].median()) < 0.06


def test_gaussians_of_one_frame_close_its_surface() -> None:
    """Drawn at twice their resolution; a footprint of 0.3 pixels covers four fifths and loses 10 dB here."""
    clips, _ = _clips(1)
    scene = DepthAnythingReconstructor(Truth(clips, _world(), 2.0), process_res=WIDTH, splat_frames=1)(
        clips[0].video[None]
    )[0]
    lens = rescale_intrinsics(scene.intrinsics, (HEIGHT, WIDTH), (2 * HEIGHT, 2 * WIDTH))
    view = render(scene.splats, scene.c2w[0], lens, 2 * HEIGHT, 2 * WIDTH)
    assert float(view.alpha.mean()) > 0.93
    small = view.image.unflatten(1, (HEIGHT, 2)).unflatten(3, (WIDTH, 2)).mean((2, 4))
    assert float(-10 * (small - clips[0].video[0]).square().mean().log10()) > 25


def test_doubtful_pixels_fade_and_pixels_of_no_confidence_give_nothing() -> None:
    depth = torch.ones(2, 4, 4)
    confidence = torch.full((2, 4, 4), 0.8)
    confidence[1, 0] = torch.tensor([0.0, 0.2, 0.4, 0.95])
    poses, lens = torch.eye(4).expand(2, 4, 4), torch.tensor([[4.0, 0, 2], [0, 4, 2], [0, 0, 1]])
    found = from_maps(torch.rand(2, 3, 4, 4), depth, confidence, poses, lens, torch.tensor([1]), most=16)
    torch.testing.assert_close(found.opacities, torch.tensor([0.25, 0.5, 1.0] + [1.0] * 12))
    torch.testing.assert_close(found.scales, torch.full((15, 3), 0.5 / 4))
    thin = from_maps(torch.rand(2, 3, 4, 4), depth, confidence, poses, lens, torch.tensor([0, 1]), most=4)
    assert len(thin) == 8
    torch.testing.assert_close(thin.scales, torch.full((8, 3), 2 * 0.5 / 4))


def test_other_meta_offsets_move_the_view(truth: tuple) -> None:
    _, asked, _, _ = truth
    near = meta_view_pose(asked[0], sideways=math.radians(2), raised=math.radians(2))
    far = meta_view_pose(asked[0], sideways=math.radians(30), raised=math.radians(30))
    assert float(far[1, 3]) < float(near[1, 3]) < 0
    assert float((far[:3, 3] - near[:3, 3]).norm()) > 0.3


class Nested(Truth):
    """As the nested variants: Gaussians stay in the unit before the scaling to metres, depth and cameras do not."""

    def forward(self, frames: Tensor, **settings: object) -> dict[str, object]:
        output = dict(super().forward(frames, **settings))
        clip, scale = self.clips[0], 2.5
        depth = self.unit * clip.depth.double()
        v, u = torch.meshgrid(torch.arange(HEIGHT) + 0.5, torch.arange(WIDTH) + 0.5, indexing="ij")
        rays = torch.stack([u, v, torch.ones_like(u)], -1).double() @ torch.linalg.inv(clip.intrinsics.double()).T
        poses = torch.linalg.inv(
            torch.cat([output["extrinsics"][0], torch.tensor([[[0.0, 0, 0, 1]]]).expand(FRAMES, 1, 4)], 1).double()
        )
        means = torch.einsum("tij,thwj->thwi", poses[:, :3, :3], rays * depth[..., None]) + poses[:, None, None, :3, 3]
        count = depth.numel()
        colors = (clip.video.permute(0, 2, 3, 1).reshape(1, count, 3, 1) - 0.5) / 0.28209479177387814
        size = 0.5 * depth / float(clip.intrinsics[0, 0])
        output["gaussians"] = Head(
            means=means.reshape(1, count, 3).float(),
            scales=size.reshape(1, count, 1).expand(1, count, 3).float(),
            rotations=torch.tensor([1.0, 0, 0, 0]).expand(1, count, 4),
            harmonics=torch.cat([colors, torch.zeros(1, count, 3, 8)], -1),
            opacities=torch.ones(1, count),
        )
        output["extrinsics"] = output["extrinsics"].clone()
        output["extrinsics"][..., 3] *= scale
        output["depth"] = output["depth"] * scale
        return {**output, "is_metric": 1, "scale_factor": scale}


def test_metres_reach_the_gaussians_of_the_head_too() -> None:
    clips, _ = _clips(1)
    rebuild = DepthAnythingReconstructor(Nested(clips, _world(), unit=3.0), process_res=WIDTH, splat_frames=3)
    prediction = rebuild.predict(clips[0].video)
    assert prediction is not None
    assert prediction.metric
    torch.testing.assert_close(prediction.depth, 7.5 * clips[0].depth, atol=1e-3, rtol=1e-4)
    scene = rebuild(clips[0].video[None])[0]
    assert scene.metres is not None
    torch.testing.assert_close(scene.depth * scene.metres, 7.5 * clips[0].depth, atol=1e-3, rtol=1e-4)
    assert scene.splats.sh_degree == 2
    view = render(scene.splats, scene.c2w[4], scene.intrinsics, HEIGHT, WIDTH)
    assert float((view.depth / scene.depth[4] - 1).abs().median()) < 0.01
    assert float((view.image - clips[0].video[4]).abs().median()) < 0.05


class Broken(Truth):
    """Answers nan for the first of its clips."""

    def __init__(self, clips: list[Clip], key: str) -> None:
        super().__init__(clips, _world(), unit=1.0)
        self.key = key

    def forward(self, frames: Tensor, **settings: object) -> dict[str, object]:
        output = dict(super().forward(frames, **settings))
        if torch.equal(output["depth"][0], self.clips[0].depth):
            if self.key == "sky":
                raise AssertionError("Insufficient non-sky pixels for alignment")
            broken = output[self.key].clone()
            broken[0, 1, 0, 0] = -1.0 if self.key == "depth" else torch.nan
            output[self.key] = broken
        return output


@pytest.mark.parametrize("key", ["depth", "depth_conf", "extrinsics", "intrinsics", "sky"])
def test_a_broken_answer_is_missing_and_spoils_no_other(key: str) -> None:
    clips, asked = _clips(2)
    samples = [Sample(clip.video, clip.prompt, t) for clip, t in zip(clips, asked, strict=True)]
    found = DepthAnythingReconstructor(Broken(clips, key), process_res=WIDTH)(torch.stack([c.video for c in clips]))
    assert bool(found[0].c2w.isnan().all())
    assert found[0].depth.shape == clips[0].depth.shape
    assert len(found[0].splats) == 0
    assert bool(found[1].c2w.isfinite().all())
    assert len(found[1].splats) > 1000
    for reward in (TrajReward(), ReconReward()):
        assert reward(samples, found).isnan().tolist() == [True, False]


@pytest.mark.parametrize("frames", [1, 2])
def test_one_or_two_frames_are_enough(frames: int) -> None:
    clips, _ = _clips(1)
    short = replace(clips[0], video=clips[0].video[:frames], depth=clips[0].depth[:frames], c2w=clips[0].c2w[:frames])
    scene = DepthAnythingReconstructor(Truth([short], _world(), 1.0), process_res=WIDTH)(short.video[None])[0]
    assert scene.c2w.shape == (frames, 4, 4)
    assert torch.equal(scene.c2w[0], torch.eye(4))
    assert scene.splats.source is not None
    assert scene.splats.source.unique().tolist() == list(range(frames))


class Dice(Truth):
    """Shakes its depth by chance, as upstream's ray poses are."""

    def forward(self, frames: Tensor, **settings: object) -> dict[str, object]:
        output = super().forward(frames, **settings)
        return {**output, "depth": output["depth"] * (1 + 0.01 * torch.rand_like(output["depth"]))}


def test_chance_in_the_network_is_seeded_and_leaves_the_callers_alone() -> None:
    clips, _ = _clips(1)
    video, network = clips[0].video[None], Dice(clips, _world(), 1.0)
    torch.manual_seed(5)
    first = DepthAnythingReconstructor(network, process_res=WIDTH)(video)[0]
    drawn = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(3))
    torch.testing.assert_close(
        DepthAnythingReconstructor(network, process_res=WIDTH)(video)[0].depth, first.depth, atol=0, rtol=0
    )
    other = DepthAnythingReconstructor(network, process_res=WIDTH, seed=1)(video)[0]
    assert not torch.equal(other.depth, first.depth)


def test_the_unit_is_that_of_the_stereo_reconstructor() -> None:
    from worldr1.reconstruction.stereo import _unit

    depth = torch.rand(30, 41, dtype=torch.float64) + 0.5
    assert scene_unit(depth) == pytest.approx(_unit((1 / depth).numpy()), rel=1e-12)


def test_a_lens_keeps_its_angle_at_another_size() -> None:
    lens = torch.tensor([[300.0, 0, 252], [0, 310, 147], [0, 0, 1]])
    found = rescale_intrinsics(lens, (294, 504), (480, 832))
    corner = torch.tensor([504.0, 294.0, 1.0])
    rays = torch.linalg.inv(found) @ torch.tensor([832.0, 480.0, 1.0])
    torch.testing.assert_close(rays, torch.linalg.inv(lens) @ corner)
    torch.testing.assert_close(found[:2, 2], torch.tensor([416.0, 240.0]))


def test_bad_input_is_told_in_a_sentence() -> None:
    network = Truth(_clips(1)[0], _world(), 1.0)
    with pytest.raises(ValueError, match="one of first, middle"):
        DepthAnythingReconstructor(network, ref_view_strategy="last")
    with pytest.raises(ValueError, match="process_res >= 14"):
        DepthAnythingReconstructor(network, process_res=13)
    rebuild = DepthAnythingReconstructor(network)
    with pytest.raises(ValueError, match=r"\[B,T,3,H,W\] of at least one frame"):
        rebuild(torch.rand(1, 0, 3, 8, 8))
    with pytest.raises(ValueError, match="not finite"):
        rebuild(torch.full((1, 2, 3, 8, 8), torch.nan))
