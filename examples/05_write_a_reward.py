"""A reward of your own, beside S_recon: as a judge of candidates, and in training."""

from dataclasses import replace
from pathlib import Path

import torch
from rich import print

import worldr1
from worldr1.recipes import Recipe, load_recipe, save_recipe
from worldr1.reconstruction.stereo import StereoReconstructor
from worldr1.rewards.compose import RewardComposer
from worldr1.rewards.recon import ReconReward
from worldr1.rl.assemble import assemble
from worldr1.rl.run import RunDirectory, writing
from worldr1.rl.trainer import Trainer


class Colourful:
    """Mean spread between a pixel's channels, in [0, 1]; a video that is not finite has no score."""

    name = "colourful"
    needs_reconstruction = False

    def __call__(self, samples, reconstructions=None):
        videos = [sample.video for sample in samples]  # [T,3,H,W] in [0,1] each
        return torch.stack(
            [(v.amax(1) - v.amin(1)).mean() if v.isfinite().all() else v.new_tensor(torch.nan) for v in videos]
        )


rewards = {"recon": ReconReward(), "colourful": Colourful()}
composer = RewardComposer(rewards, {"recon": 1.0, "colourful": 2.0}, StereoReconstructor())

pipe = worldr1.load_pipeline("tiny")
video = worldr1.generate(pipe, "camera push in. a green sphere on open grass", best_of=2, judge=composer)
print(f"the judge kept a video of spread {float((video.amax(1) - video.amin(1)).mean()):.3f}")

changes = {
    "schedule": {"total_steps": 1, "groups": 1, "group_size": 2, "dynamic_steps": 0},
    "evaluation": {"prompts": 0},
}
recipe = Recipe.model_validate({"model": load_recipe("tiny").model.model_dump(), **changes})
run = RunDirectory(Path("05_run"))
with writing(run):
    save_recipe(recipe, run.recipe)
    Trainer(recipe, replace(assemble(recipe), composer=composer), run).fit()
print(run.metrics.read_text())
