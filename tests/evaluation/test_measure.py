"""What is measured of clips does not depend on the form of the reward that a recipe trains with."""

from __future__ import annotations

from worldr1.evaluation.measure import measure
from worldr1.evaluation.prompts import ground_truth, held_out_prompts
from worldr1.reconstruction.stereo import StereoReconstructor
from worldr1.rewards.recon import ReconReward
from worldr1.rewards.rerender import RerenderReward


def test_re_rendering_psnr_is_measured_under_either_form_of_s_recon() -> None:
    prompts = held_out_prompts(1, 9001, 17)
    clips = ground_truth(prompts, 64, 64)
    ours, paper = (
        measure(prompts, clips, {"recon": r}, StereoReconstructor()) for r in (ReconReward(), RerenderReward())
    )
    assert ours.columns["psnr"] == paper.columns["psnr"]
    assert ours.columns["coverage"] == paper.columns["coverage"]
    assert ours.columns["psnr"][0] > 20
    assert ours.columns["recon"] != paper.columns["recon"]
