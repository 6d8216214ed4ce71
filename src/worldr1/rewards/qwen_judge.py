"""The S_meta judge in process: Qwen3-VL, one forward per batch, no text generated."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from worldr1.camera.trajectory import Trajectory
from worldr1.rewards.meta import DIGITS, expected_digit
from worldr1.rewards.question import meta_question
from worldr1.rewards.vision_inputs import VisionInputs, as_plain_text, model_source


def digit_token_ids(tokenizer: Any) -> list[int]:
    """Token ids of "0" to "9". Raises ValueError when a digit is not one token of its own."""
    encoded = [tokenizer.encode(str(digit), add_special_tokens=False) for digit in range(DIGITS)]
    if any(len(ids) != 1 for ids in encoded) or len({ids[0] for ids in encoded}) != DIGITS:
        raise ValueError("The tokenizer does not write each digit as one token; use a Qwen3-VL model.")
    return [ids[0] for ids in encoded]


def require_qwen3_vl(model_type: str, source: str) -> None:
    """Raises ValueError when a model's type, as its config.json names it, is not the one that QwenJudge reads."""
    if model_type != "qwen3_vl":
        raise ValueError(
            f"{source} is a {model_type} model; QwenJudge needs a dense Qwen3-VL such as Qwen/Qwen3-VL-8B-Instruct. "
            "Serve any other with vLLM and use OpenAIJudge."
        )


class QwenJudge:
    """Expected digit under Qwen3-VL's next-token probabilities, restricted to the ten digits and renormalised.

    Use an Instruct model: a Thinking model's first token is not its answer.
    """

    def __init__(self, model: Any, inputs: VisionInputs, batch_size: int = 8) -> None:
        """`model` is a Qwen3VLForConditionalGeneration, `inputs` pads on the left, `batch_size` pictures at once."""
        if batch_size < 1 or inputs.padding_side != "left":
            raise ValueError(
                f"QwenJudge needs batch_size >= 1 and padding on the left, got {batch_size} and {inputs.padding_side}."
            )
        self.model = model
        self.inputs = inputs
        self.batch_size = batch_size
        self.digit_ids = digit_token_ids(inputs.tokenizer)

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.bfloat16,
        batch_size: int = 8,
    ) -> QwenJudge:
        """A dense Qwen3-VL from a directory or hub name, frozen.

        Raises FileNotFoundError when weights are missing, ValueError when it is another kind of model.
        """
        source = model_source(name_or_path, "The S_meta judge")
        from transformers import AutoConfig, Qwen3VLForConditionalGeneration

        try:
            config = AutoConfig.from_pretrained(source)
            require_qwen3_vl(config.model_type, source)
            model = Qwen3VLForConditionalGeneration.from_pretrained(
                source, config=config, dtype=dtype, use_safetensors=True
            )
        except OSError as error:
            raise FileNotFoundError(
                f"The S_meta judge {source} cannot be read; get it with `hf download {source}`."
            ) from error
        inputs = VisionInputs.from_pretrained(source, config.image_token_id, "left")
        return cls(model.to(device).eval().requires_grad_(False), inputs, batch_size)

    @torch.no_grad()
    def __call__(self, images: Tensor, prompts: Sequence[str], trajectories: Sequence[Trajectory]) -> Tensor:
        """Expected digits [B] in [0, 9], float32 on the CPU, of images [B,3,H,W] in [0,1]."""
        questions = [meta_question(as_plain_text(p), t) for p, t in zip(prompts, trajectories, strict=True)]
        digits = []
        for start in range(0, len(questions), self.batch_size):
            chosen = slice(start, start + self.batch_size)
            batch = {
                name: part.to(self.model.device)
                for name, part in self.inputs(images[chosen], questions[chosen]).items()
            }
            logits = self.model(**batch, use_cache=False, logits_to_keep=1).logits[:, -1, self.digit_ids]
            digits.append(expected_digit(logits.float()).cpu())
        return torch.cat(digits) if digits else torch.empty(0)
