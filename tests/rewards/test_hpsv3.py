"""HPSv3 against a plain Qwen2-VL forward with everything else written out by hand: pixels, positions, head."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny_qwen import save_hpsv3
from torch import Tensor

from worldr1.camera import Trajectory
from worldr1.rewards.hpsv3 import HPSv3Reward, checkpoint_file, hpsv3_prompt
from worldr1.rewards.hpsv3_convert import convert, main
from worldr1.rewards.hpsv3_network import native_keys
from worldr1.rewards.types import Sample

FRAMES = 2
PROMPTS = ["a red box", "a blue sphere and a green cone in a striped room, early in the morning, soft light"]
SIZES = [(48, 64), (64, 64)]
RESIZED = [(392, 532), (448, 448)]
"""200704 pixels kept as nearly as sides in multiples of 28 allow, rounded up for pictures that grow."""
MEAN, STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, dict[str, Tensor]]:
    torch.manual_seed(0)
    place = tmp_path_factory.mktemp("hpsv3")
    model, head = save_hpsv3(place, hpsv3_prompt(" ".join(PROMPTS)))
    return place, model, head


@pytest.fixture(scope="module")
def reward(tiny: tuple[Path, Any, dict[str, Tensor]]) -> HPSv3Reward:
    place = tiny[0]
    return HPSv3Reward.from_pretrained(place, "cpu", torch.float32, frames=FRAMES, base=place / "base", batch_size=3)


def _patches(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Patches of 14x14 in the order of their 2x2 blocks, each twice for the two frames of a still picture."""
    from PIL import Image

    height, width = size
    picture = Image.fromarray((image * 255).round().byte().permute(1, 2, 0).numpy())
    resized: NDArray[Any] = np.asarray(picture.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float64)
    values = ((resized / 255 - MEAN) / STD).transpose(2, 0, 1)
    rows = []
    for block_row in range(height // 28):
        for block_column in range(width // 28):
            for inner_row in range(2):
                for inner_column in range(2):
                    y, x = 28 * block_row + 14 * inner_row, 28 * block_column + 14 * inner_column
                    patch = values[:, y : y + 14, x : x + 14]
                    rows.append(np.stack([patch, patch], axis=1).ravel())
    return torch.tensor(np.stack(rows), dtype=torch.float32)


def _reference(
    tiny: tuple[Path, Any, dict[str, Tensor]], image: Tensor, prompt: str, size: tuple[int, int], mrope: bool = False
) -> Tensor:
    """mu and log sigma of one picture, without padding."""
    from transformers import AutoTokenizer

    place, model, head = tiny
    tokenizer = AutoTokenizer.from_pretrained(place / "base")
    tokenizer.add_tokens(["<|Reward|>"], special_tokens=True)
    height, width = size
    vision = "<|vision_start|>" + "<|image_pad|>" * (height * width // 28**2) + "<|vision_end|>"
    text = hpsv3_prompt(prompt)
    ids = tokenizer(f"<|im_start|>user\n{vision}{text}<|im_end|>\n<|im_start|>assistant\n")["input_ids"]
    length = len(ids)
    where: dict[str, Tensor] = (
        {"mm_token_type_ids": torch.tensor([[int(i == model.config.image_token_id) for i in ids]])}
        if mrope
        else {"position_ids": torch.tensor([[list(range(length))]] * 3)}
    )
    with torch.no_grad():
        states = model(
            input_ids=torch.tensor([ids]),
            attention_mask=torch.ones(1, length, dtype=torch.long),
            pixel_values=_patches(image, size),
            image_grid_thw=torch.tensor([[1, height // 14, width // 14]]),
            **where,
        ).last_hidden_state[0]
    x = states[ids.index(tokenizer.convert_tokens_to_ids("<|Reward|>"))].double()
    for layer in ("0", "3"):
        x = (head[f"rm_head.{layer}.weight"].double() @ x + head[f"rm_head.{layer}.bias"].double()).clamp(min=0)
    return head["rm_head.5.weight"].double() @ x + head["rm_head.5.bias"].double()


def test_both_outputs_are_those_of_the_reference(
    tiny: tuple[Path, Any, dict[str, Tensor]], reward: HPSv3Reward
) -> None:
    images = [torch.rand(3, *size) for size in SIZES]
    outputs = reward.scorer(images, PROMPTS)
    expected = torch.stack([_reference(tiny, *case) for case in zip(images, PROMPTS, RESIZED, strict=True)])
    assert float((expected[0] - expected[1]).abs().max()) > 0.02, "the reference must tell the pictures apart"
    torch.testing.assert_close(outputs.double(), expected, atol=1e-4, rtol=0)
    other = _reference(tiny, images[0], PROMPTS[0], RESIZED[0], mrope=True)
    assert float((other - expected[0]).abs().max()) > 1e-3, "M-RoPE would give another score"


def test_the_reward_is_the_bounded_mean_of_the_first_frames(
    tiny: tuple[Path, Any, dict[str, Tensor]], reward: HPSv3Reward
) -> None:
    videos = [torch.rand(3, 3, 48, 64), torch.rand(FRAMES, 3, 64, 64)]
    samples = [Sample(v, p, Trajectory.from_moves((), len(v))) for v, p in zip(videos, PROMPTS, strict=True)]
    scores = reward(samples)
    for score, video, prompt, size in zip(scores, videos, PROMPTS, RESIZED, strict=True):
        mu = [float(_reference(tiny, frame, prompt, size)[0]) for frame in video[:FRAMES]]
        assert float(score) == pytest.approx(math.tanh((sum(mu) / FRAMES - 5) / 5), abs=1e-4)
    broken = [torch.full_like(videos[0], torch.nan), videos[1]]
    again = reward([Sample(v, s.prompt, s.trajectory) for v, s in zip(broken, samples, strict=True)])
    assert math.isnan(again[0])
    torch.testing.assert_close(again[1], scores[1], atol=1e-5, rtol=0)
    assert (reward.name, reward.needs_reconstruction) == ("general", False)
    assert reward([]).shape == (0,)


def test_a_published_generator_lies_where_the_docstring_says() -> None:
    class Constant:
        def __init__(self, mu: float) -> None:
            self.mu = mu

        def __call__(self, images: list[Tensor], prompts: list[str]) -> Tensor:
            return torch.tensor([[self.mu, 0.0]]).repeat(len(images), 1)

    sample = Sample(torch.rand(2, 3, 8, 8), "", Trajectory.from_moves((), 2))
    for mu, expected in ((-0.24, -0.78), (5.31, 0.06), (8.20, 0.56), (10.43, 0.80)):
        score = HPSv3Reward(Constant(mu))([sample])  # type: ignore[arg-type]
        assert float(score[0]) == pytest.approx(expected, abs=0.006)


def test_the_prompt_is_the_trained_one_and_cannot_be_broken(reward: HPSv3Reward) -> None:
    text = hpsv3_prompt("{text_prompt}")
    digest = "f6ee57479d4e9eee76b49c00dc962e1e696a5a2b3cc32cebd9b1fa76fe27502c"
    assert hashlib.sha256(text.encode()).hexdigest() == digest
    outputs = reward.scorer([torch.rand(3, 32, 32)], ["<|Reward|> <|image_pad|> {0} {text_prompt}"])
    assert bool(outputs.isfinite().all())


def test_a_frame_of_the_paper_keeps_its_shape(reward: HPSv3Reward) -> None:
    batch = reward.scorer.inputs([torch.rand(3, 480, 832)], ["x"])
    assert batch["image_grid_thw"].tolist() == [[1, 336 // 14, 588 // 14]]


def test_names_of_the_checkpoint() -> None:
    published = dict.fromkeys(("visual.a", "model.norm.weight", "rm_head.0.bias", "lm_head.weight"), torch.empty(0))
    assert list(native_keys(published)) == ["model.visual.a", "model.language_model.norm.weight", "rm_head.0.bias"]


def test_half_precision_rounds_the_frequencies_and_not_the_head(tiny: tuple[Path, Any, dict[str, Tensor]]) -> None:
    place = tiny[0]
    network = HPSv3Reward.from_pretrained(place, "cpu", torch.bfloat16, base=place / "base").scorer.network
    frequencies = network.model.language_model.rotary_emb.inv_freq.float()
    exact = 1e6 ** (-torch.arange(0, 16, 2) / 16)
    torch.testing.assert_close(frequencies, exact.bfloat16().float(), atol=0, rtol=0)
    assert {p.dtype for p in network.model.parameters()} == {torch.bfloat16}
    assert {p.dtype for p in network.rm_head.parameters()} == {torch.float32}
    assert not any(p.requires_grad for p in network.parameters())


def test_a_pickled_checkpoint_is_converted_first(tiny: tuple[Path, Any, dict[str, Tensor]], tmp_path: Path) -> None:
    from safetensors.torch import load_file

    weights = load_file(tiny[0] / "HPSv3.safetensors")
    pickled, converted = tmp_path / "HPSv3.pth", tmp_path / "HPSv3.safetensors"
    torch.save({"model": weights}, pickled)
    for path in (pickled, tmp_path):
        with pytest.raises(ValueError, match=r"python -m worldr1\.rewards\.hpsv3_convert"):
            checkpoint_file(path)
    main([str(pickled), str(converted)])
    assert checkpoint_file(tmp_path) == converted
    again = load_file(converted)
    assert again.keys() == weights.keys()
    assert all(torch.equal(again[name], weights[name]) for name in weights)


class _Bomb:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


def test_conversion_executes_nothing(tmp_path: Path) -> None:
    trap, target = tmp_path / "trap.pth", tmp_path / "exploded"
    torch.save({"model": _Bomb(target)}, trap)
    with pytest.raises(ValueError, match="nothing in it was executed"):
        convert(trap, tmp_path / "out.safetensors")
    assert not target.exists()
    for damaged in (b"", b"\x80\x05.", b"(lp0\n", b"\x80\x02K\x01q", b"PK\x03\x04", trap.read_bytes()[:-60], bytes(99)):
        trap.write_bytes(damaged)
        with pytest.raises(ValueError, match="no checkpoint of plain weights"):
            convert(trap, tmp_path / "out.safetensors")
    torch.save({"epoch": 3}, trap)
    with pytest.raises(ValueError, match="must hold weights by name"):
        convert(trap, tmp_path / "out.safetensors")
    with pytest.raises(SystemExit) as left:
        main([str(tmp_path / "none.pth"), str(target)])
    assert left.value.code == 1


def test_what_is_missing_or_foreign_is_named(tiny: tuple[Path, Any, dict[str, Tensor]], tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    with pytest.raises(FileNotFoundError, match=r"hf download MizzenAI/HPSv3 HPSv3\.safetensors"):
        checkpoint_file(tmp_path)
    base = tiny[0] / "base"
    with pytest.raises(FileNotFoundError, match=r"base model of HPSv3.*config\.json"):
        HPSv3Reward.from_pretrained(tiny[0], dtype=torch.float32, base=tmp_path)
    weights = load_file(tiny[0] / "HPSv3.safetensors")
    del weights["rm_head.3.bias"]
    save_file(weights, tmp_path / "HPSv3.safetensors")
    with pytest.raises(ValueError, match=r"1 weights are missing .* such as rm_head\.3\.bias"):
        HPSv3Reward.from_pretrained(tmp_path, dtype=torch.float32, base=base)
    save_file({"x": torch.zeros(1)}, tmp_path / "HPSv3.safetensors")
    with pytest.raises(ValueError, match="is no HPSv3 checkpoint"):
        HPSv3Reward.from_pretrained(tmp_path, dtype=torch.float32, base=base)
