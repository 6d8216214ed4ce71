"""Prior preservation: the loss in closed form, samples that are the base's own and made once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from toy import PROMPTS, ToyPolicy, toy_recipe, toy_trainer

from worldr1.recipes import Recipe
from worldr1.rl.metrics import read_metrics
from worldr1.rl.preserve import Preservation
from worldr1.rl.run import RunDirectory


def _recipe(micro_batch: int | None = None, **preserve: float) -> Recipe:
    recipe = toy_recipe()
    return recipe.model_copy(
        update={
            "preserve": recipe.preserve.model_copy(update=preserve),
            "sampling": recipe.sampling.model_copy(update={"micro_batch": micro_batch}),
        }
    )


def _prompts(count: int) -> list[str]:
    return [f"a red sphere bouncing, take {index}" for index in range(count)]


def _shift(policy: ToyPolicy, by: float) -> None:
    with torch.no_grad():
        policy.trainable_parameters()[1].add_(by)


def test_the_loss_is_the_weighted_square_of_what_changed(tmp_path: Path) -> None:
    policy = ToyPolicy()
    kept = Preservation(policy, _recipe(weight=3.0, samples=8, per_step=4), _prompts(8), tmp_path / "p")
    assert float(sum(term.loss.detach() for term in kept.losses(policy, 0))) == 0.0
    _shift(policy, 0.2)
    terms = list(kept.losses(policy, 0))
    assert float(sum(term.loss.detach() for term in terms)) == pytest.approx(3.0 * 0.2**2, rel=1e-5)
    terms[0].loss.backward()
    gradient = policy.trainable_parameters()[1].grad
    assert gradient is not None
    torch.testing.assert_close(gradient, torch.full((4,), 3.0 * 2 * 0.2 / 4))


def test_micro_batches_add_up_to_the_whole(tmp_path: Path) -> None:
    policy = ToyPolicy()
    runs = []
    for micro_batch in (None, 3):
        recipe = _recipe(micro_batch, weight=1.0, samples=8, per_step=8)
        kept = Preservation(policy, recipe, _prompts(8), tmp_path / f"p{micro_batch}")
        with torch.no_grad():
            policy.trainable_parameters()[0].fill_(0.7)
        terms = list(kept.losses(policy, 2))
        assert sum(term.weight for term in terms) == 8
        assert not any(term.end_of_update for term in terms)
        runs.append(float(sum(term.loss.detach() for term in terms)))
    assert runs[0] > 0
    assert runs[0] == pytest.approx(runs[1], rel=0.2)


def test_the_samples_are_the_base_s_and_are_made_once(tmp_path: Path) -> None:
    policy = ToyPolicy()
    recipe, prompts = _recipe(samples=4), _prompts(6)
    Preservation(policy, recipe, prompts, tmp_path / "fresh")
    fresh = load_file(tmp_path / "fresh" / "latents.safetensors")["latents"]
    assert fresh.shape == (4, *policy.latent_shape(5, 16, 16))
    _shift(policy, 1.0)
    Preservation(policy, recipe, prompts, tmp_path / "later")
    assert torch.equal(load_file(tmp_path / "later" / "latents.safetensors")["latents"], fresh)
    before = (tmp_path / "fresh" / "latents.safetensors").stat().st_mtime_ns
    Preservation(policy, recipe, prompts, tmp_path / "fresh")
    assert (tmp_path / "fresh" / "latents.safetensors").stat().st_mtime_ns == before


def test_a_heavy_weight_holds_a_run_at_the_base(tmp_path: Path) -> None:
    moved = []
    for weight in (0.0, 1000.0):
        policy, run = ToyPolicy(), RunDirectory(tmp_path / str(weight))
        run.root.mkdir()
        toy_trainer(_recipe(weight=weight), run, policy).fit()
        with policy.base():
            start = [parameter.detach().clone() for parameter in policy.trainable_parameters()]
        now = policy.trainable_parameters()
        moved.append(float(sum((a - b).detach().abs().sum() for a, b in zip(now, start, strict=True))))
        told = read_metrics(run.metrics, "train")[-1]
        assert ("loss/preserved_distance" in told) == (weight > 0)
        assert run.preserved.is_dir() == (weight > 0)
    assert len(PROMPTS.dynamic) == 2
    assert moved[1] < 0.5 * moved[0]
