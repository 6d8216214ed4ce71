"""What vision-language scorers read: pictures as 8-bit pixels, one text for each, padded to one batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from worldr1.recipes.weights import folder_of

if TYPE_CHECKING:
    from PIL.Image import Image


def to_pictures(images: Tensor | Sequence[Tensor]) -> list[Image]:
    """RGB pictures of B images [3,H,W] in [0,1], rounded to 8 bits; they may differ in size.

    Raises ValueError on another shape or values that are not finite.
    """
    from PIL import Image as pil

    pictures = []
    for place, image in enumerate(images):
        if image.ndim != 3 or image.shape[0] != 3 or not bool(torch.isfinite(image).all()):
            raise ValueError(f"Image {place} has shape {list(image.shape)}; it must be a finite [3,H,W] in [0,1].")
        pixels = (image.detach().float().clamp(0.0, 1.0) * 255).round().to(torch.uint8)
        pictures.append(pil.fromarray(pixels.permute(1, 2, 0).cpu().numpy()))
    return pictures


def as_plain_text(text: str) -> str:
    """The text with "<|" broken up, so that no prompt can smuggle in a control token of the Qwen models."""
    return text.replace("<|", "< |")


def model_source(name: str | Path, what: str) -> str:
    """The directory of a model that is named by it or by its hub name; nothing is downloaded.

    Raises FileNotFoundError, which names what is missing and how to get it.
    """
    path = Path(name)
    if (path / "config.json").is_file():
        return str(path)
    if path.exists() or str(name).count("/") != 1 or str(name).startswith((".", "/", "~")):
        raise FileNotFoundError(
            f"{what}: {name} holds no config.json; give a directory that `hf download OWNER/MODEL --local-dir DIR` "
            "filled, or a hub name such as Qwen/Qwen3-VL-8B-Instruct."
        )
    return str(folder_of(str(name)))


@dataclass(frozen=True)
class VisionInputs:
    """Tokenizer and image processor of a Qwen vision-language model, without torchvision.

    Attributes:
        tokenizer: with the model's chat template.
        image_processor: the PIL one, so that scores do not depend on what else is installed.
        image_token: stands in the chat template where the picture is; repeated once per merged patch.
        padding_side: "left" when the last position is read, "right" when positions count from the start.
    """

    tokenizer: Any
    image_processor: Any
    image_token: str
    padding_side: str

    @classmethod
    def from_pretrained(
        cls, source: str, image_token_id: int, padding_side: str, pixels: int | None = None
    ) -> VisionInputs:
        """From a model's directory or hub name; `pixels` is the area of every picture, by default the model's limits.

        Raises FileNotFoundError when files are missing, ValueError when the tokenizer has no chat template,
        ImportError with transformers < 5.
        """
        try:
            from transformers import AutoTokenizer, Qwen2VLImageProcessorPil
        except ImportError as error:
            raise ImportError("The Qwen scorers need transformers >= 5: `pip install -U transformers`.") from error
        # These two, since a file that has them (Qwen2-VL's own does) would overrule a `size`.
        size = {} if pixels is None else {"min_pixels": pixels, "max_pixels": pixels}
        try:
            tokenizer = AutoTokenizer.from_pretrained(source)
            image_processor = Qwen2VLImageProcessorPil.from_pretrained(source, **size)
        except OSError as error:
            raise FileNotFoundError(
                f"{source}: tokenizer or image processor cannot be read; get them with `hf download {source}`."
            ) from error
        if tokenizer.chat_template is None:
            raise ValueError(f"The tokenizer of {source} has no chat template; its chat_template.jinja is missing.")
        return cls(tokenizer, image_processor, tokenizer.convert_ids_to_tokens(image_token_id), padding_side)

    def __call__(self, images: Tensor | Sequence[Tensor], texts: Sequence[str]) -> dict[str, Tensor]:
        """One user turn per image [3,H,W] in [0,1]: the picture, then its text; then the assistant's turn opens.

        Returns input_ids, attention_mask and mm_token_type_ids (1 on image tokens), each [B,L], pixel_values
        [patches, values] and image_grid_thw [B,3].

        Raises ValueError when images and texts differ in number, or the chat template places no picture.
        """
        if len(images) != len(texts):
            raise ValueError(f"{len(images)} images need as many texts, got {len(texts)}.")
        pixels = self.image_processor(images=to_pictures(images), return_tensors="pt")
        counts = pixels["image_grid_thw"].prod(-1) // self.image_processor.merge_size**2
        chats = [self._chat(text, int(count)) for text, count in zip(texts, counts, strict=True)]
        tokens = self.tokenizer(chats, padding=True, padding_side=self.padding_side, return_tensors="pt")
        ids = tokens["input_ids"]
        return {
            "input_ids": ids,
            "attention_mask": tokens["attention_mask"],
            "mm_token_type_ids": (ids == self.tokenizer.convert_tokens_to_ids(self.image_token)).int(),
            "pixel_values": pixels["pixel_values"],
            "image_grid_thw": pixels["image_grid_thw"],
        }

    def _chat(self, text: str, count: int) -> str:
        turn = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": text}]}
        chat = self.tokenizer.apply_chat_template([turn], tokenize=False, add_generation_prompt=True)
        if chat.count(self.image_token) != 1:
            raise ValueError(
                f"The chat template places {chat.count(self.image_token)} pictures ({self.image_token}) for one; "
                "use the template that comes with the model."
            )
        return chat.replace(self.image_token, self.image_token * count)
