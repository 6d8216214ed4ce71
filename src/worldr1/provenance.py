"""How a video was made, as JSON in the comment tag of its file, so that it can be made again."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from worldr1.camera.formats import from_json, to_json
from worldr1.generation import Selection, Shot
from worldr1.noise.inject import Law
from worldr1.recipes.explain import explain

if TYPE_CHECKING:
    from diffusers.pipelines.wan.pipeline_wan import WanPipeline

_TAG = "comment"
_SAMPLED = 64

Count = Annotated[int, Field(ge=1)]


class Machine(BaseModel):
    """What numbers depend on in their last bits."""

    model_config = ConfigDict(frozen=True)

    device: str
    dtype: str
    threads: int
    torch: str


class Provenance(BaseModel):
    """Everything that made a video; the fields of a `Shot` with the model, the machine and the choice."""

    model_config = ConfigDict(frozen=True)

    worldr1: str
    model: str
    lora: str | None
    lora_scale: float = 1.0
    weights: str
    prompt: str
    seed: int
    camera: dict[str, Any]
    height: Count
    width: Count
    steps: Count
    guidance: float
    strength: Annotated[float, Field(ge=0.0, le=1.0)]
    law: Law
    max_tokens: Count
    fps: Count
    best_of: Count
    scores: dict[str, float | None]
    machine: Machine

    @property
    def shot(self) -> Shot:
        """What to make again."""
        return Shot(
            prompt=self.prompt,
            seed=self.seed,
            camera=from_json(json.dumps(self.camera)),
            height=self.height,
            width=self.width,
            steps=self.steps,
            guidance=self.guidance,
            strength=self.strength,
            law=self.law,
            max_tokens=self.max_tokens,
        )


def describe(
    selection: Selection,
    pipeline: WanPipeline,
    model: str,
    lora: Path | None = None,
    fps: int = 8,
    lora_scale: float = 1.0,
) -> Provenance:
    """How the video of a selection was made.

    Args:
        selection: as `worldr1.generation.select` returns it.
        pipeline: that made it.
        model: by which `load_pipeline` finds the pipeline again.
        lora: adapter on it.
        fps: frames per second of the file.
        lora_scale: weight of the adapter.
    """
    from worldr1 import __version__

    shot, kept = selection.shot, selection.kept
    scores = {"total": kept.total, **kept.components} if kept.components else {}
    return Provenance(
        worldr1=__version__,
        model=model,
        lora=None if lora is None else str(lora),
        lora_scale=lora_scale,
        weights=fingerprint(pipeline),
        prompt=shot.prompt,
        seed=shot.seed,
        camera=json.loads(to_json(shot.camera)),
        height=shot.height,
        width=shot.width,
        steps=shot.steps,
        guidance=shot.guidance,
        strength=shot.strength,
        law=shot.law,
        max_tokens=shot.max_tokens,
        fps=fps,
        best_of=len(selection.takes),
        scores={name: value if value == value else None for name, value in scores.items()},
        machine=machine_of(pipeline),
    )


def machine_of(pipeline: WanPipeline) -> Machine:
    """The device, precision, number of threads and torch with which a pipeline runs here."""
    transformer = pipeline.transformer
    return Machine(
        device=transformer.device.type,
        dtype=str(transformer.dtype).removeprefix("torch."),
        threads=torch.get_num_threads(),
        torch=torch.__version__,
    )


@torch.no_grad()
def fingerprint(pipeline: WanPipeline) -> str:
    """Sixteen hexadecimal digits that tell weights apart: of 64 evenly spread values of each tensor.

    Two trainings always differ in it; a change of a few single values by hand may not.
    """
    digest = hashlib.blake2b(digest_size=8)
    for part in ("transformer", "vae", "text_encoder"):
        module = getattr(pipeline, part)
        for name, tensor in sorted(module.state_dict().items()) if module is not None else ():
            values = tensor.detach().flatten()
            places = torch.linspace(0, max(len(values) - 1, 0), min(_SAMPLED, len(values))).long()
            digest.update(f"{part}.{name}{list(tensor.shape)}".encode())
            digest.update(values[places.to(values.device)].float().cpu().numpy().tobytes())
    return digest.hexdigest()


def attach(path: Path, provenance: Provenance) -> None:
    """Put a provenance into a video file; its pictures stay as they are. The file is replaced as a whole."""
    import av

    beside = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    options = {"movflags": "faststart"} if path.suffix == ".mp4" else {}
    try:
        with av.open(str(path)) as source, av.open(str(beside), "w", options=options) as target:
            target.metadata[_TAG] = provenance.model_dump_json()
            stream = source.streams.video[0]
            copied = target.add_stream_from_template(stream)
            for packet in source.demux(stream):
                if packet.dts is not None:
                    packet.stream = copied
                    target.mux(packet)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def read(path: Path) -> Provenance:
    """The provenance in a video file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no video, or does not say how it was made.
    """
    import av

    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        with av.open(str(path)) as container:
            tags = {name.lower(): text for name, text in container.metadata.items()}
    except av.error.FFmpegError as error:
        raise ValueError(f"{path} cannot be read as a video: {error.strerror}") from error
    if _TAG not in tags:
        raise ValueError(f"{path} does not say how it was made; only files of `worldr1 generate` do")
    try:
        found = Provenance.model_validate_json(tags[_TAG])
        from_json(json.dumps(found.camera))
    except ValidationError as error:
        raise ValueError(f"{path} does not say how it was made: {explain(error)}") from error
    except ValueError as error:
        raise ValueError(f"{path} does not say how it was made: {error}") from error
    return found
