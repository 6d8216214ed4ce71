"""S_recon of Gaussians against the reference renderer in float64 and LPIPS by hand."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from worldr1.camera.trajectory import Trajectory
from worldr1.reconstruction.types import Reconstruction, missing
from worldr1.rewards import rerender
from worldr1.rewards.lpips import Lpips
from worldr1.rewards.recon import ReconReward
from worldr1.rewards.rerender import RerenderReward
from worldr1.rewards.types import Sample
from worldr1.splats import reference
from worldr1.splats.gaussians import Gaussians
from worldr1.splats.sh import sh_to_rgb

FRAMES, HEIGHT, WIDTH = 11, 40, 56


def toy_scene(seed: int, sh: bool = False) -> Reconstruction:
    """A hundred Gaussians at depths 0.7 to 1.7 before a camera that moves left, with a lens off the centre."""
    generator = torch.Generator().manual_seed(seed)
    place = torch.rand(100, 3, generator=generator)
    colors = torch.rand(100, 3, generator=generator)
    if sh:
        colors = 0.4 * torch.randn(100, 9, 3, generator=generator)
    splats = Gaussians(
        means=(place - torch.tensor([0.5, 0.5, 0.0])) * torch.tensor([1.6, 1.2, 1.0]) + torch.tensor([0.0, 0.0, 0.7]),
        scales=0.03 + 0.1 * torch.rand(100, 3, generator=generator),
        quats=torch.randn(100, 4, generator=generator),
        opacities=torch.rand(100, generator=generator),
        colors=colors,
    )
    return Reconstruction(
        c2w=Trajectory.from_moves(["move left"], FRAMES).c2w,
        intrinsics=torch.tensor([[45.0, 0.0, 26.0], [0.0, 48.0, 21.5], [0.0, 0.0, 1.0]]),
        depth=torch.ones(FRAMES, HEIGHT, WIDTH),
        confidence=torch.ones(FRAMES, HEIGHT, WIDTH),
        splats=splats,
    )


def plainly_rendered(scene: Reconstruction) -> Tensor:
    """The scene from its own cameras [T,3,H,W] in [0,1] by the readable reference in float64."""
    splats, pictures = scene.splats, []
    for c2w in scene.c2w.double():
        colors = splats.colors.double()
        if splats.sh_degree is not None:
            colors = sh_to_rgb(colors, splats.means.double(), c2w[None, :3, 3])[0]
        geometry = (splats.means, splats.scales, splats.quats, splats.opacities)
        w2c = torch.linalg.inv(c2w)
        values = [value.double() for value in geometry]
        pictures.append(reference.rasterize(*values, colors, w2c, scene.intrinsics.double(), HEIGHT, WIDTH)[:3])
    return torch.stack(pictures).clamp(0, 1).float()


def sample(video: Tensor) -> Sample:
    return Sample(video, "", Trajectory.from_moves(["move left"], FRAMES))


def noisy(video: Tensor, amount: float) -> Tensor:
    return (video + amount * torch.randn(video.shape, generator=torch.Generator().manual_seed(5))).clamp(0, 1)


@pytest.mark.parametrize("sh", [False, True])
def test_the_score_is_one_minus_lpips_of_the_reference_s_rendering(sh: bool) -> None:
    scene = toy_scene(0, sh)
    drawn = plainly_rendered(scene)
    for amount in (0.05, 0.3):
        video = noisy(drawn, amount)
        expected = 1 - Lpips()(drawn, video).mean()
        assert 0.05 < float(expected) < 0.99
        assert float(RerenderReward()([sample(video)], [scene])) == pytest.approx(float(expected), abs=1e-4)
    assert float(RerenderReward()([sample(drawn)], [scene])) == pytest.approx(1.0, abs=1e-4)


def test_every_frame_counts_alike() -> None:
    scene = toy_scene(1)
    drawn = plainly_rendered(scene)
    for broken in range(FRAMES):
        video = drawn.clone()
        video[broken] = 1 - video[broken]
        expected = 1 - float(Lpips()(drawn[[broken]], video[[broken]])) / FRAMES
        assert expected < 0.99
        assert float(RerenderReward()([sample(video)], [scene])) == pytest.approx(expected, abs=1e-4)


def test_estimated_cameras_draw_not_those_asked_for() -> None:
    scene = toy_scene(2)
    video = plainly_rendered(scene)
    still = Sample(video, "", Trajectory.from_moves(["fixed"], FRAMES))
    assert float(RerenderReward()([still], [scene])) == pytest.approx(1.0, abs=1e-4)
    wrong = replace(scene, c2w=Trajectory.from_moves(["move right"], FRAMES).c2w)
    assert float(RerenderReward()([still], [wrong])) < 0.9


def test_holes_are_black_and_count() -> None:
    """Neither coverage nor evidence: a white video of which a quarter was rebuilt differs from its rendering."""
    scene = toy_scene(3)
    little = replace(scene, splats=scene.splats[:3])
    white = torch.ones(FRAMES, 3, HEIGHT, WIDTH)
    expected = 1 - Lpips()(plainly_rendered(little), white).mean()
    score = RerenderReward()([sample(white)], [little])
    assert float(score) == pytest.approx(float(expected), abs=1e-4)


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = toy_scene(4)
    video = noisy(plainly_rendered(scene), 0.1)
    whole = RerenderReward()([sample(video)], [scene])
    seen: list[int] = []
    plain = rerender.render

    def counted(splats: Gaussians, c2w: Tensor, *rest: object) -> object:
        seen.append(len(c2w))
        return plain(splats, c2w, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(rerender, "render", counted)
    for most, expected in ((2**24, [8, 3]), (450, [4, 4, 3]), (99, [1] * 11)):
        monkeypatch.setattr(rerender, "SPLATS_AT_ONCE", most)
        seen.clear()
        torch.testing.assert_close(RerenderReward()([sample(video)], [scene]), whole, atol=1e-6, rtol=0)
        assert seen == expected


def test_what_is_not_there_is_missing_and_spoils_no_other() -> None:
    scene = toy_scene(5)
    video = plainly_rendered(scene)
    broken = video.clone()
    broken[2, 0, 0, 0] = torch.nan
    lost = replace(scene, c2w=scene.c2w * torch.nan)
    empty = replace(scene, splats=scene.splats[:0])
    samples = [sample(video), sample(broken), sample(video), sample(video), sample(video)]
    scores = RerenderReward()(samples, [scene, scene, lost, empty, missing(video)])
    assert float(scores[0]) == pytest.approx(1.0, abs=1e-4)
    assert scores.isnan().tolist() == [False, True, True, True, True]


def test_an_empty_video_that_renders_like_itself_scores_unlike_in_the_default_form() -> None:
    """Plain grey: 1 here, nothing where evidence is asked for."""
    scene = toy_scene(6)
    grey = replace(scene.splats, colors=torch.full((100, 3), 0.5), scales=torch.full((100, 3), 3.0))
    scene = replace(scene, splats=replace(grey, opacities=torch.ones(100)))
    video = torch.full((FRAMES, 3, HEIGHT, WIDTH), 0.5)
    assert float(RerenderReward()([sample(video)], [scene])) > 0.99
    assert float(ReconReward()([sample(video)], [scene])) < 0.1


def test_refusals_say_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="one reconstruction for each sample"):
        RerenderReward()([sample(torch.zeros(FRAMES, 3, HEIGHT, WIDTH))], None)
    monkeypatch.setitem(sys.modules, "gsplat", None)
    with pytest.raises(ImportError, match=r"worldr1\[cuda\]"):
        RerenderReward(device="cuda")
