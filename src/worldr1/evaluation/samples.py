"""Whether a model draws two kinds of world: many samples on held-out prompts, and how their consistency spreads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from worldr1.evaluation.consistency import rerendering
from worldr1.evaluation.distribution import modes
from worldr1.evaluation.model import draw, through_vae
from worldr1.evaluation.prompts import ground_truth, held_out_prompts
from worldr1.recipes import Recipe

if TYPE_CHECKING:
    from worldr1.policy.diffusers_policy import DiffusersPolicy

REFERENCES = 64


def sample_modes(
    policy: DiffusersPolicy, recipe: Recipe, count: int, seed: int, picture: Path | None
) -> dict[str, Any]:
    """Draw `count` static held-out prompts once each and fit two humps to the PSNR of their re-rendering.

    Args:
        policy: the model.
        recipe: its clip, noise and sampling settings.
        picture: where to write the histogram with frames of both humps, as PNG.

    Returns:
        `Modes.to_dict()` with `psnr_ground_truth`, the mean over up to 64 rendered clips through the autoencoder.

    Raises:
        ValueError: if fewer than eight samples could be scored.
    """
    clip = recipe.clip
    prompts = held_out_prompts(count, seed, clip.frames)
    some = prompts[:REFERENCES]
    truth = through_vae(policy, ground_truth(some, clip.height, clip.width), recipe.sampling.micro_batch)
    reference = [x for x in rerendering(truth, [p.trajectory for p in some]).psnr if x == x]
    videos = draw(policy, prompts, recipe, seed)
    found = modes(videos, [p.trajectory for p in prompts], picture=picture, reference=reference)
    return {**found, "psnr_ground_truth": sum(reference) / max(1, len(reference))}
