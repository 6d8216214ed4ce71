"""Prior preservation: the loss in closed form, samples that are the base's own and made once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from toy import PROMPTS, Brightness, ToyPolicy, toy_recipe, toy_trainer

from worldr1.camera.trajectory import Trajectory
from worldr1.recipes import Recipe
from worldr1.rewards.types import Sample, Scores
from worldr1.rl.distributed import World
from worldr1.rl.metrics import read_metrics
from worldr1.rl.preserve import Preservation, base_samples, preservation_of
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


def _latents(policy: ToyPolicy, count: int) -> Tensor:
    return torch.randn(count, *policy.latent_shape(5, 16, 16), generator=torch.Generator().manual_seed(1))


def _total(kept: Preservation, policy: ToyPolicy, step: int = 0) -> float:
    return float(sum(term.loss.detach() for term in kept.losses(policy, step)))


def test_the_loss_is_the_weighted_square_of_what_changed() -> None:
    policy = ToyPolicy()
    kept = Preservation(_recipe(weight=3.0, per_step=4), _prompts(8), _latents(policy, 8))
    assert _total(kept, policy) == 0.0
    _shift(policy, 0.2)
    terms = list(kept.losses(policy, 0))
    assert float(sum(term.loss.detach() for term in terms)) == pytest.approx(3.0 * 0.2**2, rel=1e-5)
    terms[0].loss.backward()
    gradient = policy.trainable_parameters()[1].grad
    assert gradient is not None
    torch.testing.assert_close(gradient, torch.full((4,), 3.0 * 2 * 0.2 / 4))


def test_a_sample_s_own_velocity_is_eps_minus_x0() -> None:
    """A policy of velocity 0 on samples that are 0 misses eps: mean eps^2 is 1, to 5 standard errors here."""
    policy = ToyPolicy()
    with torch.no_grad():
        policy.trainable_parameters()[0].zero_()
    policy._freeze_base()
    latents = torch.zeros(256, *policy.latent_shape(5, 16, 16))
    prompts = [""] * 256  # whose text adds nothing to the velocity
    settings = {"weight": 2.0, "per_step": 256}
    whole = _total(Preservation(_recipe(**settings, own=1.0), prompts, latents), policy)
    assert whole == pytest.approx(2.0, abs=2.0 * 5 * math.sqrt(2 / latents.numel()))
    half = _total(Preservation(_recipe(**settings, own=0.5), prompts, latents), policy)
    assert half == pytest.approx(whole / 4, rel=1e-5)
    assert _total(Preservation(_recipe(**settings, own=0.0), prompts, latents), policy) == 0.0


def test_micro_batches_add_up_to_the_whole() -> None:
    policy = ToyPolicy()
    runs = []
    latents = _latents(policy, 8)
    with torch.no_grad():
        policy.trainable_parameters()[0].fill_(0.7)
    for micro_batch in (None, 3):
        kept = Preservation(_recipe(micro_batch, weight=1.0, per_step=8), _prompts(8), latents)
        terms = list(kept.losses(policy, 2))
        assert sum(term.weight for term in terms) == 8
        assert not any(term.end_of_update for term in terms)
        runs.append(float(sum(term.loss.detach() for term in terms)))
    assert runs[0] > 0
    assert runs[0] == pytest.approx(runs[1], rel=0.2)


def test_the_samples_are_the_base_s_and_are_made_once(tmp_path: Path) -> None:
    policy, composer = ToyPolicy(), Brightness()
    recipe, prompts = _recipe(weight=1.0, samples=4), _prompts(6)
    preservation_of(policy, recipe, prompts, composer, tmp_path / "fresh")
    fresh = load_file(tmp_path / "fresh" / "latents.safetensors")["latents"]
    assert fresh.shape == (4, *policy.latent_shape(5, 16, 16))
    _shift(policy, 1.0)
    preservation_of(policy, recipe, prompts, composer, tmp_path / "later")
    assert torch.equal(load_file(tmp_path / "later" / "latents.safetensors")["latents"], fresh)
    before = (tmp_path / "fresh" / "latents.safetensors").stat().st_mtime_ns
    preservation_of(policy, recipe, prompts, composer, tmp_path / "fresh")
    assert (tmp_path / "fresh" / "latents.safetensors").stat().st_mtime_ns == before
    assert composer.asked == []
    assert preservation_of(policy, _recipe(weight=0.0), prompts, composer, tmp_path / "none") is None
    assert not (tmp_path / "none").exists()


def _damaged(file: Path, how: str) -> None:
    content = bytearray(file.read_bytes())
    if how == "missing":
        file.unlink()
    elif how == "truncated":
        file.write_bytes(content[:-7])
    else:
        content[20] ^= 4
        file.write_bytes(content)


@pytest.mark.parametrize("how", ["missing", "truncated", "flipped"])
@pytest.mark.parametrize("name", ["latents.safetensors", "SHA256SUMS"])
def test_damaged_samples_are_made_again_as_they_were(
    name: str, how: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    policy, recipe, prompts, composer = ToyPolicy(), _recipe(), _prompts(2), Brightness()
    preservation_of(policy, recipe, prompts, composer, tmp_path / "p")
    before = {path.name: path.read_bytes() for path in (tmp_path / "p").iterdir()}
    assert sorted(before) == ["SHA256SUMS", "latents.safetensors"]
    _damaged(tmp_path / "p" / name, how)
    caplog.clear()
    _shift(policy, 1.0)  # by now the policy has learned; the base is what it was
    preservation_of(policy, recipe, prompts, composer, tmp_path / "p")
    if (name, how) == ("SHA256SUMS", "missing"):  # as an older version left it
        assert not caplog.records
        return
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert f"{name} is missing" in caplog.text or "latents.safetensors is damaged: its SHA-256" in caplog.text
    assert "the base makes its samples again" in caplog.text
    assert {path.name: path.read_bytes() for path in (tmp_path / "p").iterdir()} == before


def test_samples_that_cannot_be_made_again_stop_the_run(tmp_path: Path) -> None:
    recipe, prompts, composer, place = _recipe(), _prompts(2), Brightness(), tmp_path / "p"
    preservation_of(ToyPolicy(), recipe, prompts, composer, place)
    _damaged(place / "latents.safetensors", "flipped")
    before = (place / "latents.safetensors").read_bytes()
    other = ToyPolicy()
    _shift(other, 1e-6)
    other._freeze_base()
    with pytest.raises(
        ValueError, match=r"latents\.safetensors is damaged.*not the same, bit for bit; .*remove .*p to"
    ):
        preservation_of(other, recipe, prompts, composer, place)
    assert (place / "latents.safetensors").read_bytes() == before


def test_samples_without_a_checksum_are_taken_by_their_form(tmp_path: Path) -> None:
    policy, recipe, prompts, composer = ToyPolicy(), _recipe(), ["a cup falling"], Brightness()
    preservation_of(policy, recipe, prompts, composer, tmp_path / "p")
    (tmp_path / "p" / "SHA256SUMS").unlink()
    _damaged(tmp_path / "p" / "latents.safetensors", "truncated")
    with pytest.raises(ValueError, match=r"latents\.safetensors is damaged: .*; remove .*p to have"):
        preservation_of(policy, recipe, prompts, composer, tmp_path / "p")


def test_of_the_candidates_the_one_with_the_highest_reward_is_kept() -> None:
    policy, prompts = ToyPolicy(), _prompts(6)
    settings = {"weight": 1.0, "samples": 6, "candidates": 4}
    kept = base_samples(policy, _recipe(2, **settings), prompts, Brightness(), World())
    alone = _recipe(weight=1.0, samples=24)
    everything = base_samples(policy, alone, [p for p in prompts for _ in range(4)], Brightness(), World())
    trajectory = Trajectory.from_prompt(prompts[0], 5)
    rewards = Brightness()([Sample(video, "", trajectory) for video in policy.decode(everything)]).total
    best = rewards.nan_to_num(nan=-1.0).reshape(6, 4).argmax(1)
    assert len(set(best.tolist())) > 1
    torch.testing.assert_close(kept, everything.reshape(6, 4, *kept.shape[1:])[torch.arange(6), best])


def test_a_prompt_whose_candidates_all_lack_a_reward_is_named() -> None:
    class Silent:
        def __call__(self, samples: Sequence[Sample], use_3d: bool = True) -> Scores:
            return Scores({}, torch.full((len(samples),), torch.nan))

    with pytest.raises(ValueError, match="none of the base's 2 videos of 'a red sphere bouncing, take 0'"):
        base_samples(ToyPolicy(), _recipe(samples=2, candidates=2), _prompts(2), Silent(), World())


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
