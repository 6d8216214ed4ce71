"""R_gen by HPSv3, as World-R1 has it: the mean score of the first K frames, in [-1, 1]."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from worldr1.rewards.hpsv3_network import HPSv3Network, load_network
from worldr1.rewards.types import Sample
from worldr1.rewards.vision_inputs import VisionInputs, as_plain_text, model_source

BASE = "Qwen/Qwen2-VL-7B-Instruct"
"""Where the config, tokenizer and chat template come from: HPSv3 publishes weights only."""
CHECKPOINT = "HPSv3.safetensors"
REWARD_TOKEN = "<|Reward|>"
PIXELS = 256 * 28 * 28
"""Area to which every picture is resized, 200704 pixels: 480x832 becomes 336x588."""
FRAMES = 9
LOCATION = 5.0
SCALE = 5.0
_PICKLED = (".pth", ".pt", ".bin", ".ckpt")


@lru_cache(maxsize=1)
def _template() -> str:
    return (Path(__file__).parent / "hpsv3_prompt.txt").read_text(encoding="utf-8")


def hpsv3_prompt(prompt: str) -> str:
    """The text that HPSv3 was trained with, word for word, around a prompt; it ends with the reward token."""
    return _template().replace("{text_prompt}", as_plain_text(prompt))


def checkpoint_file(path: str | Path) -> Path:
    """HPSv3's safetensors file: the file itself, the one in a directory, or that of a hub name on this machine.

    Raises ValueError for a pickled checkpoint, FileNotFoundError when there is none; both name the mend.
    """
    place = Path(path)
    if place.is_dir():
        files = sorted(place.glob("*.safetensors"))
        named = [file for file in files if file.name == CHECKPOINT] or (files if len(files) == 1 else [])
        if named:
            return named[0]
        place = next((file for file in sorted(place.iterdir()) if file.suffix in _PICKLED), place)
    if place.suffix in _PICKLED:
        raise ValueError(
            f"{place} is a pickled checkpoint, which is not loaded here; convert it safely with "
            f"`python -m worldr1.rewards.hpsv3_convert {place} {place.with_suffix('.safetensors')}`."
        )
    if place.is_file():
        return place
    missing = (
        f"HPSv3: no {CHECKPOINT} in {path}; get it with `hf download MizzenAI/HPSv3 {CHECKPOINT} --local-dir DIR`."
    )
    if place.exists() or str(path).count("/") != 1 or str(path).startswith((".", "/", "~")):
        raise FileNotFoundError(missing)
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(str(path), CHECKPOINT, local_files_only=True))
    except OSError as error:
        raise FileNotFoundError(missing) from error


@dataclass(frozen=True)
class HPSv3Scorer:
    """HPSv3 as its authors run it: their prompt, their picture size, padding on the right."""

    network: HPSv3Network
    inputs: VisionInputs
    reward_token_id: int
    batch_size: int

    @classmethod
    def from_pretrained(
        cls, path: str | Path, device: str | torch.device, dtype: torch.dtype, base: str | Path, batch_size: int
    ) -> HPSv3Scorer:
        """As HPSv3Reward.from_pretrained, with the same errors."""
        checkpoint = checkpoint_file(path)
        own = Path(path).is_dir() and (Path(path) / "config.json").is_file()
        source = model_source(path if own else base, "The base model of HPSv3")
        from transformers import Qwen2VLConfig

        try:
            config = Qwen2VLConfig.from_pretrained(source)
        except OSError as error:
            raise FileNotFoundError(
                f"HPSv3 needs config and tokenizer of {source}; get them with "
                f"`hf download {source} --include '*.json' '*.txt'`."
            ) from error
        inputs = VisionInputs.from_pretrained(source, config.image_token_id, "right", PIXELS)
        inputs.tokenizer.add_tokens([REWARD_TOKEN], special_tokens=True)
        network = load_network(checkpoint, config, device, dtype)
        token, rows = inputs.tokenizer.convert_tokens_to_ids(REWARD_TOKEN), config.text_config.vocab_size
        if token >= rows:
            raise ValueError(
                f"The tokenizer of {source} gives the reward token number {token}, but {checkpoint} has {rows} tokens; "
                f"give the base model that HPSv3 was trained on, {BASE}."
            )
        return cls(network, inputs, token, batch_size)

    @torch.no_grad()
    def __call__(self, images: Sequence[Tensor], prompts: Sequence[str]) -> Tensor:
        """Outputs [B,2], mu and log sigma, float32 on the CPU, of B images [3,H,W] in [0,1]."""
        device = next(self.network.rm_head.parameters()).device
        outputs = []
        for start in range(0, len(images), self.batch_size):
            chosen = slice(start, start + self.batch_size)
            batch = self.inputs(images[chosen], [hpsv3_prompt(prompt) for prompt in prompts[chosen]])
            del batch["mm_token_type_ids"]
            moved = {name: part.to(device) for name, part in batch.items()}
            outputs.append(self.network(**moved, reward_token_id=self.reward_token_id).cpu())
        return torch.cat(outputs) if outputs else torch.empty(0, 2)


class HPSv3Reward:
    """R_gen in (-1, 1) per video: tanh((mean over the first K frames of mu - location) / scale).

    HPSv3's mu is not bounded; the paper gives the range [-1, 1] and no formula. `location` and `scale` are 5, so that
    means of generators in HPSv3's own benchmark spread over the range and nothing saturates: Stable Diffusion 2 (-0.24)
    gives -0.78, Stable Diffusion 3 (5.31) 0.06, SDXL (8.20) 0.56, FLUX.1-dev (10.43) 0.80.

    Args:
        scorer: gives mu and log sigma of pictures.
        frames: K.
        location, scale: of mu, see above.
    """

    name = "general"
    needs_reconstruction = False

    def __init__(
        self, scorer: HPSv3Scorer, frames: int = FRAMES, location: float = LOCATION, scale: float = SCALE
    ) -> None:
        if frames < 1 or scale <= 0:
            raise ValueError(f"HPSv3Reward needs frames >= 1 and scale > 0, got {frames} and {scale}.")
        self.scorer = scorer
        self.frames = frames
        self.location = location
        self.scale = scale

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.bfloat16,
        frames: int = FRAMES,
        base: str | Path = BASE,
        batch_size: int = 8,
    ) -> HPSv3Reward:
        """With the published checkpoint.

        Args:
            path: the file HPSv3.safetensors, a directory that holds it, or the hub name "MizzenAI/HPSv3".
            device, dtype: of the network; bfloat16 is how it was trained.
            frames: K.
            base: directory or hub name of the model that it was trained from, for config and tokenizer; not used when
                `path` is a directory with a config.json of its own.
            batch_size: pictures at once.

        Raises:
            FileNotFoundError: the checkpoint or the base model is missing.
            ValueError: the checkpoint is pickled or not HPSv3's, or a number is out of range.
        """
        if batch_size < 1:
            raise ValueError(f"HPSv3Reward needs batch_size >= 1, got {batch_size}.")
        return cls(HPSv3Scorer.from_pretrained(path, device, dtype, base, batch_size), frames)

    def __call__(self, samples: Sequence[Sample], reconstructions: object = None) -> Tensor:
        """Scores [B]; `reconstructions` are not looked at. nan where a frame or its score is not finite."""
        clips = [sample.video[: self.frames] for sample in samples]
        good = [i for i, clip in enumerate(clips) if len(clip) and bool(torch.isfinite(clip).all())]
        scores = torch.full((len(samples),), torch.nan)
        if not good:
            return scores
        lengths = [len(clips[i]) for i in good]
        images = [frame for i in good for frame in clips[i]]
        prompts = [samples[i].prompt for i in good for _ in clips[i]]
        mu = self.scorer(images, prompts)[:, 0].split(lengths)
        bounded = torch.tanh((torch.stack([part.mean() for part in mu]) - self.location) / self.scale)
        scores[good] = torch.where(bounded.isfinite(), bounded, torch.nan)
        return scores
