"""The script for a GPU, in small on the CPU: it checks a whole training step and tells where it fails."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from benchmarks.gpu import policy


def test_tiny_runs_one_step_and_writes_what_it_took(tmp_path: Path) -> None:
    size = policy.tiny()
    path = policy.write(tmp_path, policy.measure(size, "cpu"), small=True)
    content = json.loads(path.read_text())
    assert content["tiny"] is True
    assert content["recipe"] == "world-r1-small"
    assert all(content["seconds"][stage] > 0 for stage in ("build", "forward", "rollout", "decode", "update"))
    assert 0 < content["forward_share_of_matrix_rate"] < 2


def test_full_size_is_the_published_shape() -> None:
    size = policy.full()
    with torch.device("meta"):
        from diffusers import WanTransformer3DModel

        network = WanTransformer3DModel(**size.transformer)
    assert sum(parameter.numel() for parameter in network.parameters()) == 1_418_996_800
    assert (size.recipe.clip.frames, size.recipe.clip.height, size.recipe.clip.width) == (81, 480, 832)


def test_a_step_that_moves_too_little_or_too_much_is_told() -> None:
    before = {"blocks.0.lora_A": torch.zeros(2), "blocks.0.weight": torch.zeros(2)}
    moved = {**before, "blocks.0.lora_A": torch.ones(2)}
    policy.check(before, moved, [0.1], [torch.zeros(1)])
    with pytest.raises(RuntimeError, match="moved nothing"):
        policy.check(before, before, [0.1], [torch.zeros(1)])
    with pytest.raises(RuntimeError, match=r"more than the adapter: blocks\.0\.weight"):
        policy.check(before, {**moved, "blocks.0.weight": torch.ones(2)}, [0.1], [torch.zeros(1)])
    with pytest.raises(RuntimeError, match="not finite"):
        policy.check(before, moved, [float("nan")], [torch.zeros(1)])
