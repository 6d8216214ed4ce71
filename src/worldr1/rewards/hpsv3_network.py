"""HPSv3's network on transformers 5: Qwen2-VL without its language head, and a head of two numbers.

Ma et al. 2025, "HPSv3: Towards Wide-Spectrum Human Preference Score". The published checkpoint was made with
transformers 4.45, whose names, positions and rotary frequencies are kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import Qwen2VLConfig

OUTPUTS = 2
EMBEDDING = "model.language_model.embed_tokens.weight"


def native_keys(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights under transformers 4.45's names to those of HPSv3Network; the unused language head is left out.

    `visual.*` becomes `model.visual.*`, `model.*` becomes `model.language_model.*`, `rm_head.*` stays.
    """
    renamed = {}
    for name, weight in state.items():
        if name.startswith("visual."):
            renamed["model." + name] = weight
        elif name.startswith("model."):
            renamed["model.language_model." + name.removeprefix("model.")] = weight
        elif not name.startswith("lm_head."):
            renamed[name] = weight
    return renamed


def linear_positions(input_ids: Tensor) -> Tensor:
    """Positions [3,B,L] that count tokens, one axis like the other.

    HPSv3 was trained so: it calls the language model without positions, which in transformers 4.45 skips M-RoPE.
    """
    return torch.arange(input_ids.shape[1], device=input_ids.device).expand(3, *input_ids.shape)


class HPSv3Network(nn.Module):
    """Two numbers at the reward token: mu and log sigma. The head works in float32 whatever the rest does."""

    def __init__(self, config: Qwen2VLConfig) -> None:
        from transformers import Qwen2VLModel

        super().__init__()
        self.model = Qwen2VLModel(config)
        self.rm_head = nn.Sequential(
            nn.Linear(config.text_config.hidden_size, 1024),
            nn.ReLU(),
            nn.Dropout(0.05),
            nn.Linear(1024, 16),
            nn.ReLU(),
            nn.Linear(16, OUTPUTS),
        )

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        pixel_values: Tensor,
        image_grid_thw: Tensor,
        reward_token_id: int,
    ) -> Tensor:
        """Outputs [B,2] for ids and mask [B,L], padded on the right.

        Raises ValueError unless every row holds the reward token exactly once.
        """
        marked = input_ids == reward_token_id
        if not bool((marked.sum(1) == 1).all()):
            raise ValueError(f"HPSv3 needs the reward token once per text, found {marked.sum(1).tolist()}.")
        hidden = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=linear_positions(input_ids),
            pixel_values=pixel_values,
            image_grid_thw=image_grid_thw,
            use_cache=False,
        ).last_hidden_state
        return self.rm_head(hidden[marked].float())


def load_network(
    checkpoint: Path, config: Qwen2VLConfig, device: str | torch.device, dtype: torch.dtype
) -> HPSv3Network:
    """A frozen network from a safetensors checkpoint; the vocabulary's size is the checkpoint's.

    The rotary frequencies are rounded to `dtype` with the weights, as the original does when it casts the model.

    Raises ValueError when the checkpoint is not HPSv3's, or not for this config.
    """
    from accelerate import init_empty_weights
    from safetensors.torch import load_file

    state = native_keys(load_file(checkpoint))
    if EMBEDDING not in state:
        raise ValueError(f"{checkpoint} is no HPSv3 checkpoint: it holds no model.embed_tokens.weight.")
    config.text_config.vocab_size = state[EMBEDDING].shape[0]
    with init_empty_weights(include_buffers=False):
        network = HPSv3Network(config)
    try:
        wrong = network.load_state_dict(state, strict=False, assign=True)
    except RuntimeError as error:
        raise ValueError(f"{checkpoint} does not fit the base model's config: {error}") from error
    if wrong.missing_keys or wrong.unexpected_keys:
        examples = [*wrong.missing_keys[:1], *wrong.unexpected_keys[:1]]
        raise ValueError(
            f"{checkpoint} is not HPSv3's: {len(wrong.missing_keys)} weights are missing and "
            f"{len(wrong.unexpected_keys)} are unknown, such as {' and '.join(examples)}."
        )
    network.model.to(dtype)
    network.rm_head.float()
    return network.to(device).eval().requires_grad_(False)
