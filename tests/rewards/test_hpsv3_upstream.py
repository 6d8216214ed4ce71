"""HPSv3 against the scores of the upstream package on transformers 4.45, stored by `hpsv3_upstream.py`."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import hpsv3_recipe as recipe
import pytest
import torch
from torch import Tensor

from worldr1.camera import Trajectory
from worldr1.rewards import hpsv3_network
from worldr1.rewards.hpsv3 import HPSv3Reward, HPSv3Scorer, hpsv3_prompt
from worldr1.rewards.types import Sample

UPSTREAM: dict[str, Any] = json.loads((Path(__file__).parent / "hpsv3_upstream.json").read_text(encoding="utf-8"))
OUTPUTS = torch.tensor(UPSTREAM["mu_and_log_sigma"])
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def reward(tmp_path_factory: pytest.TempPathFactory) -> HPSv3Reward:
    place = tmp_path_factory.mktemp("hpsv3_upstream")
    recipe.save_base(place / "base")
    recipe.save_checkpoint(place / "HPSv3.safetensors", UPSTREAM["tensors"])
    return HPSv3Reward.from_pretrained(place, dtype=torch.float32, frames=2, base=place / "base", batch_size=4)


def _frame(index: int) -> Tensor:
    return torch.from_numpy(recipe.picture(index)).permute(2, 0, 1) / 255


def _outputs(scorer: HPSv3Scorer, count: int | None = None) -> Tensor:
    """Of the first `count` pairs of a picture and a prompt."""
    pairs = UPSTREAM["pairs"][:count]
    return scorer([_frame(index) for index, _ in pairs], [recipe.PROMPTS[prompt] for _, prompt in pairs])


def _distance(outputs: Tensor) -> float:
    return float((outputs - OUTPUTS[: len(outputs)]).abs().max())


def test_mu_and_log_sigma_are_upstreams(reward: HPSv3Reward) -> None:
    assert UPSTREAM["versions"]["hpsv3"] == "1.0.0"
    assert UPSTREAM["versions"]["transformers"] == "4.45.2"
    for column in OUTPUTS.T:
        gaps = (column[:, None] - column).abs() + torch.eye(len(column))
        assert float(gaps.min()) > 10 * TOLERANCE, "every picture and prompt must score differently"
    assert _distance(_outputs(reward.scorer)) < TOLERANCE


def test_tokens_and_picture_sizes_are_upstreams(reward: HPSv3Reward) -> None:
    pairs = UPSTREAM["pairs"]
    texts = [hpsv3_prompt(recipe.PROMPTS[prompt]) for _, prompt in pairs]
    batch = reward.scorer.inputs([_frame(index) for index, _ in pairs], texts)
    assert batch["attention_mask"].sum(1).tolist() == UPSTREAM["lengths"]
    assert batch["image_grid_thw"].tolist() == UPSTREAM["grids"]


def test_the_reward_is_made_of_upstreams_first_frames(reward: HPSv3Reward) -> None:
    mu = dict(zip(map(tuple, UPSTREAM["pairs"]), UPSTREAM["mu_and_log_sigma"], strict=True))
    video = torch.stack([_frame(0), _frame(2), torch.zeros_like(_frame(0))])
    samples = [
        Sample(video, recipe.PROMPTS[1], Trajectory.from_moves((), 3)),
        Sample(_frame(1)[None], recipe.PROMPTS[0], Trajectory.from_moves((), 1)),
    ]
    means = torch.tensor([(mu[0, 1][0] + mu[2, 1][0]) / 2, mu[1, 0][0]])
    torch.testing.assert_close(reward(samples), torch.tanh((means - 5) / 5), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("wrong", ["token", "positions", "head"])
def test_a_wrong_part_would_be_noticed(wrong: str, reward: HPSv3Reward, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each mistake alone moves a score by more than ten tolerances."""
    scorer = reward.scorer
    if wrong == "token":  # the end of the picture, which also stands once in every text
        scorer = replace(scorer, reward_token_id=scorer.inputs.tokenizer.convert_tokens_to_ids("<|vision_end|>"))
    elif wrong == "positions":
        monkeypatch.setattr(hpsv3_network, "linear_positions", lambda ids: ids.new_zeros(3, *ids.shape))
    else:
        scorer = replace(scorer, network=copy.deepcopy(scorer.network))
        scorer.network.rm_head[4] = torch.nn.Identity()
    assert _distance(_outputs(scorer, 2)) > 10 * TOLERANCE
