"""A text encoder that remembers on disk what it said, so that the real one need not stay in memory."""

from __future__ import annotations

import gc
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutput


class CachedTextEncoder(nn.Module):
    """Stands in a pipeline's place for its text encoder, which it loads only for token ids that were never encoded.

    Args:
        load: loads the real encoder onto its device.
        directory: where embeddings are kept, one file a prompt; made when it is not there.
        identity: names the encoder's weights, so that two models never share an embedding.
        dtype: of the embeddings.
        device: where they are given.
    """

    def __init__(
        self,
        load: Callable[[], nn.Module],
        directory: Path,
        identity: str,
        dtype: torch.dtype,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__()
        directory.mkdir(parents=True, exist_ok=True)
        self._load = load
        self._directory = directory
        self._identity = identity
        self._encoder: nn.Module | None = None
        self.dtype = dtype
        self.device = torch.device(device)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> BaseModelOutput:
        """Embeddings [B, L, D] of token ids [B, L]; zero where the mask [B, L] is. Without one, padding counts too."""
        attention_mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        rows = [self._row(ids[: int(mask.sum())]) for ids, mask in zip(input_ids, attention_mask, strict=True)]
        length = input_ids.shape[1]
        padded = [nn.functional.pad(row, (0, 0, 0, length - len(row))) for row in rows]
        return BaseModelOutput(last_hidden_state=torch.stack(padded).to(self.device, self.dtype))

    def release(self) -> None:
        """Let go of the real encoder; it is loaded again when something new is asked."""
        self._encoder = None
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _row(self, ids: Tensor) -> Tensor:
        words = ids.cpu().long()
        name = hashlib.sha256(f"{self._identity} {self.dtype} {words.tolist()}".encode()).hexdigest()
        path = self._directory / f"{name}.safetensors"
        if path.is_file():
            return load_file(path)["embeds"]
        embeds = self._encode(words[None])[0].to("cpu", self.dtype).contiguous()
        beside = path.with_name(f".{name}.{os.getpid()}.new")
        save_file({"embeds": embeds}, beside)
        os.replace(beside, path)
        return embeds

    @torch.no_grad()
    def _encode(self, ids: Tensor) -> Tensor:
        if self._encoder is None:
            self._encoder = self._load().requires_grad_(False).eval()
        ids = ids.to(next(self._encoder.parameters()).device)
        return self._encoder(ids, torch.ones_like(ids)).last_hidden_state
