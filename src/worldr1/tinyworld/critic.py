"""The network of both tiny critics: a picture and the words of its scene in, a few numbers out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from worldr1.camera.language import parse_moves
from worldr1.tinyworld.pipeline import MAX_TOKENS, make_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SIDE = 64
"""Height and width of the pictures that the critics look at; others are resized to it."""
WIDTH = 64
HEADS = 4
CELLS = (SIDE // 8) ** 2
CHANNELS = (24, 48, 64)
DROPOUT = 0.15


def critics_dir() -> Path:
    """Directory of the shipped critics, `meta.safetensors` and `general.safetensors`."""
    return Path(__file__).parent / "weights" / "critics"


def scene_words(prompt: str) -> str:
    """A prompt without the sentences that only direct the camera."""
    sentences = [sentence.strip() for sentence in prompt.split(".")]
    return ". ".join(sentence for sentence in sentences if sentence and not parse_moves(sentence))


@lru_cache(maxsize=1)
def _tokenizer() -> PreTrainedTokenizerBase:
    return make_tokenizer()


def tokenise_scenes(prompts: Sequence[str]) -> Tensor:
    """Token ids [B,L] int64 of the scene words of B prompts, 0 behind each end mark; L is the longest, at most 32."""
    words = [scene_words(prompt) for prompt in prompts]
    encoded = _tokenizer()(words, padding="longest", max_length=MAX_TOKENS, truncation=True, return_tensors="pt")
    return encoded.input_ids


class Attention(nn.Module):
    """Multi-head attention and a two-layer perceptron, each behind a layer norm and added to its input."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.query = nn.Linear(WIDTH, WIDTH)
        self.key_value = nn.Linear(WIDTH, 2 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)
        self.mlp = nn.Sequential(
            nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH)
        )

    def forward(self, x: Tensor, context: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """x [B,L,W] looks at `context` [B,M,W], or at itself; mask [B,M] is True for what may be seen."""
        queries = self.norm(x)
        source = queries if context is None else context
        keys, values = self.key_value(source).unflatten(-1, (2, HEADS, -1)).permute(2, 0, 3, 1, 4)
        query = self.query(queries).unflatten(-1, (HEADS, -1)).transpose(1, 2)
        allowed = None if mask is None else mask[:, None, None, :]
        found = F.scaled_dot_product_attention(query, keys, values, attn_mask=allowed)
        x = x + self.out(found.transpose(1, 2).flatten(2))
        return x + self.mlp(x)


class Residual(nn.Module):
    """Two 3x3 convolutions beside an identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B,C,H,W] to the same shape."""
        return F.relu(x + self.layers(x))


class Critic(nn.Module):
    """Each word looks for what it names in an 8x8 grid of picture features; both are pooled to the outputs.

    Normalisation uses stored statistics, so that a score never depends on the other pictures of a batch.
    """

    def __init__(self, outputs: int, vocabulary: int) -> None:
        super().__init__()
        first, second, third = CHANNELS
        self.trunk = nn.Sequential(
            nn.Conv2d(3, first, 5, stride=2, padding=2, bias=False),
            nn.BatchNorm2d(first),
            nn.ReLU(),
            nn.Conv2d(first, second, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(second),
            nn.ReLU(),
            nn.Conv2d(second, third, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(third),
            nn.ReLU(),
            Residual(third),
        ).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.place = nn.Parameter(0.1 * torch.randn(CELLS, WIDTH))
        self.words = nn.Embedding(vocabulary, WIDTH)
        self.order = nn.Parameter(0.5 * torch.randn(MAX_TOKENS, WIDTH))
        self.reading = Attention()
        self.looking = nn.ModuleList([Attention(), Attention()])
        self.head = nn.Sequential(
            nn.LayerNorm(4 * WIDTH),
            nn.Dropout(DROPOUT),
            nn.Linear(4 * WIDTH, 2 * WIDTH),
            nn.GELU(),
            nn.Dropout(DROPOUT),
            nn.Linear(2 * WIDTH, outputs),
        )
        nn.init.normal_(self.words.weight, std=0.5)

    def look(self, images: Tensor) -> Tensor:
        """Features [B,64,W] of images [B,3,64,64] in [0,1]. Raises ValueError for another shape."""
        if images.ndim != 4 or images.shape[1:] != (3, SIDE, SIDE):
            raise ValueError(f"Critic: images must be [B,3,{SIDE},{SIDE}], got {list(images.shape)}.")
        scaled = images.mul(4.0).sub(2.0).contiguous(memory_format=torch.channels_last)
        return self.trunk(scaled).flatten(2).transpose(1, 2)

    def read(self, grid: Tensor, tokens: Tensor) -> Tensor:
        """Outputs [B,K,outputs] for the features of B images, each with K captions: tokens [B,K,L], 0 for none."""
        count, captions, length = tokens.shape
        tokens = tokens.flatten(0, 1)
        grid = grid.repeat_interleave(captions, 0)
        cells = grid + self.place
        known = tokens != 0
        words = self.reading(self.words(tokens) + self.order[:length], mask=known)
        for look in self.looking:
            words = look(words, cells)
        weight = known.unsqueeze(-1).to(words.dtype)
        mean = (words * weight).sum(1) / weight.sum(1).clamp_min(1.0)
        most = words.masked_fill(~known.unsqueeze(-1), -torch.inf).amax(1)
        pooled = torch.cat([mean, most, grid.mean(1), grid.amax(1)], -1)
        return self.head(pooled).unflatten(0, (count, captions))

    def forward(self, images: Tensor, tokens: Tensor) -> Tensor:
        """Outputs [B,outputs] for images [B,3,64,64] in [0,1] and tokens [B,L], 0 where there is none."""
        return self.read(self.look(images), tokens.unsqueeze(1))[:, 0]


def to_pictures(images: Tensor) -> Tensor:
    """Images [B,3,H,W] as the critics take them: clamped to [0,1], [B,3,64,64]."""
    images = images.float().clamp(0.0, 1.0)
    if images.shape[-2:] == (SIDE, SIDE):
        return images
    return F.interpolate(images, (SIDE, SIDE), mode="bilinear", align_corners=False, antialias=True)


@torch.no_grad()
def judge(critic: Critic, images: Tensor, prompts: Sequence[str], batch: int = 128) -> Tensor:
    """Outputs [B,outputs] for B images [B,3,H,W] in [0,1] and their prompts, whatever else is in the batch.

    Raises ValueError when there are not as many prompts as images.
    """
    if len(prompts) != len(images):
        raise ValueError(f"judge: {len(images)} images but {len(prompts)} prompts; give one prompt per image.")
    critic.eval()
    tokens = tokenise_scenes(prompts)
    parts = [critic(to_pictures(images[i : i + batch]), tokens[i : i + batch]) for i in range(0, len(images), batch)]
    return torch.cat(parts)


def new_critic(outputs: int) -> Critic:
    """An untrained critic over the tiny world's words."""
    return Critic(outputs, len(_tokenizer()))


def save_critic(critic: Critic, file: Path, notes: dict[str, float]) -> None:
    """Write weights in half precision, with the vocabulary they were trained on and `notes` in the metadata."""
    file.parent.mkdir(parents=True, exist_ok=True)
    content = {k: (v.half() if v.is_floating_point() else v).contiguous() for k, v in critic.state_dict().items()}
    vocabulary = json.dumps(sorted(_tokenizer().get_vocab().items(), key=lambda item: item[1]))
    save_file(content, file, metadata={"format": "pt", "vocabulary": vocabulary, "notes": json.dumps(notes)})


def load_critic(file: Path) -> tuple[Critic, dict[str, float]]:
    """Read what `save_critic` wrote: the critic, frozen and in float32, and the notes.

    Raises FileNotFoundError when the file is missing, ValueError when it was trained on other words.
    """
    if not file.is_file():
        raise FileNotFoundError(f"There is no critic at {file}; `worldr1 tinyworld build` trains it.")
    with safe_open(file, "pt") as header:
        metadata = header.metadata()
    vocabulary = json.dumps(sorted(_tokenizer().get_vocab().items(), key=lambda item: item[1]))
    if metadata.get("vocabulary") != vocabulary:
        raise ValueError(f"The critic {file} was trained on other words than this version's; train it again.")
    content = {k: v.float() if v.is_floating_point() else v for k, v in load_file(file).items()}
    critic = new_critic(content["head.5.weight"].shape[0])
    critic.load_state_dict(content)
    return critic.eval().requires_grad_(False), json.loads(metadata["notes"])
