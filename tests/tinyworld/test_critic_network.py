"""The critics' network, its text and its files."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from worldr1.tinyworld.critic import (
    judge,
    load_critic,
    new_critic,
    save_critic,
    scene_words,
    to_pictures,
    tokenise_scenes,
)
from worldr1.tinyworld.critic_train import digit_targets, preference_loss

LONG = "camera orbit left, then push in. a red box and a blue sphere in a striped room"
SHORT = "a green cylinder on open sand"


def test_the_camera_sentence_is_not_read() -> None:
    assert scene_words(LONG) == "a red box and a blue sphere in a striped room"
    assert scene_words("camera fixed. " + SHORT) == SHORT
    assert scene_words(SHORT) == SHORT


def test_a_score_does_not_depend_on_the_rest_of_the_batch() -> None:
    critic = new_critic(10)
    images = torch.rand(5, 3, 64, 64)
    prompts = [LONG, SHORT, SHORT, LONG, SHORT]
    together = judge(critic, images, prompts)
    alone = torch.cat([judge(critic, images[i : i + 1], prompts[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_captions_of_one_image_are_read_as_if_alone() -> None:
    critic = new_critic(2).eval()
    images, tokens = torch.rand(3, 3, 64, 64), tokenise_scenes([LONG, SHORT])
    both = critic.read(critic.look(images), tokens.expand(3, -1, -1))
    for k in range(2):
        torch.testing.assert_close(both[:, k], critic(images, tokens[k].expand(3, -1)), atol=1e-5, rtol=1e-5)


def test_other_sizes_are_resized_and_colours_clamped() -> None:
    images = torch.full((2, 3, 96, 160), 1.5)
    torch.testing.assert_close(to_pictures(images), torch.ones(2, 3, 64, 64))


def test_weights_survive_the_file_within_half_precision(tmp_path: Path) -> None:
    critic = new_critic(2)
    images = torch.rand(4, 3, 64, 64)
    before = judge(critic, images, [SHORT] * 4)
    save_critic(critic, tmp_path / "c.safetensors", {"location": 0.5})
    loaded, notes = load_critic(tmp_path / "c.safetensors")
    assert notes == {"location": 0.5}
    assert (tmp_path / "c.safetensors").stat().st_size < 750_000
    torch.testing.assert_close(judge(loaded, images, [SHORT] * 4), before, atol=0.02, rtol=0.02)


def test_missing_and_foreign_files_are_told(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    with pytest.raises(FileNotFoundError, match="no critic"):
        load_critic(tmp_path / "none.safetensors")
    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors", metadata={"vocabulary": "[]", "notes": "{}"})
    with pytest.raises(ValueError, match="other words"):
        load_critic(tmp_path / "other.safetensors")


def test_wrong_shapes_are_told() -> None:
    critic = new_critic(2)
    with pytest.raises(ValueError, match="64,64"):
        critic.look(torch.rand(2, 3, 32, 64))
    with pytest.raises(ValueError, match="one prompt per image"):
        judge(critic, torch.rand(2, 3, 64, 64), [SHORT])


def test_digit_targets_are_distributions_with_the_grade_as_mean() -> None:
    grades = torch.tensor([0.0, 0.25, 3.0, 8.999, 9.0])
    targets = digit_targets(grades)
    torch.testing.assert_close(targets.sum(-1), torch.ones(5))
    torch.testing.assert_close(targets @ torch.arange(10.0), grades)
    assert (targets >= 0).all()
    assert targets[1].nonzero().flatten().tolist() == [0, 1]


def test_the_preference_loss_is_the_average_over_gaussian_scores() -> None:
    """Against Monte Carlo over the scores; MacKay's form errs by less than 0.02 in probability here."""
    generator = torch.Generator().manual_seed(0)
    for mu, log_sigma in ((1.0, -2.0), (1.5, 0.3), (-0.7, 0.0)):
        better, worse = torch.tensor([[mu, log_sigma]]), torch.tensor([[0.0, log_sigma]])
        sigma = math.exp(2.0 * math.tanh(log_sigma / 2.0))
        drawn = mu + sigma * math.sqrt(2.0) * torch.randn(200_000, generator=generator)
        probability = float(torch.sigmoid(drawn).mean())
        assert math.exp(-float(preference_loss(better, worse))) == pytest.approx(probability, abs=0.02)
