"""`worldr1 generate`: a camera-controlled video from a prompt."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from worldr1.cli.main import DONE, WRONG_USAGE

if TYPE_CHECKING:
    from diffusers.pipelines.wan.pipeline_wan import WanPipeline

    from worldr1.camera.trajectory import Trajectory
    from worldr1.generation import Judge, Take
    from worldr1.provenance import Provenance

logger = logging.getLogger(__name__)

_USUAL_FPS = 8


def generate(
    prompt: tyro.conf.Positional[str | None] = None,
    out: Annotated[Path, tyro.conf.arg(aliases=("-o",))] = Path("video.mp4"),
    model: str | None = None,
    lora: Path | None = None,
    lora_scale: float | None = None,
    seed: int | None = None,
    trajectory: Path | None = None,
    scene_depth: float | None = None,
    best_of: int | None = None,
    judge: str | None = None,
    frames: int | None = None,
    height: int | None = None,
    width: int | None = None,
    steps: int | None = None,
    guidance: float | None = None,
    strength: float | None = None,
    fps: int | None = None,
    again: Annotated[Path | None, tyro.conf.arg(name="from")] = None,
) -> int:
    """Make a video whose camera moves as the prompt says, or as a file of poses says.

    Args:
        prompt: such as "camera orbit left, then push in. a red box in a striped room".
        out: the .mp4 to write; how it was made is written into it.
        model: 'tiny' (when not given), a run directory, a diffusers directory or a hub name.
        lora: directory or .safetensors file of an adapter to put on the model.
        lora_scale: weight of the adapter, 1 when not given; above 1 it extrapolates what was trained.
        seed: of the initial noise, 0 when not given; candidate n of --best-of takes seed + n.
        trajectory: camera path to take instead of the prompt's: .json, RealEstate10K .txt, or a COLMAP text folder.
        scene_depth: distance to what the video is about, in the unit of --trajectory; 1 when not given.
        best_of: make so many and keep the best.
        judge: what finds the best: 'score' (no weights; when not given), or a recipe, whose whole reward it is.
        frames: 4k + 1; like all below, what suits the model when not given (121 for Wan2.1).
        height: in pixels, a multiple of 16.
        width: in pixels, a multiple of 16.
        steps: of the sampler.
        guidance: classifier-free guidance scale, 1 for none.
        strength: share of the camera's motion in the noise, 0 to 1.
        fps: frames per second of the file; 8 when not given.
        again: make the video in this file again, bit for bit on the same machine.
    """
    options = {
        "PROMPT": prompt,
        "--lora-scale": lora_scale,
        "--seed": seed,
        "--trajectory": trajectory,
        "--scene-depth": scene_depth,
        "--best-of": best_of,
        "--judge": judge,
        "--frames": frames,
        "--height": height,
        "--width": width,
        "--steps": steps,
        "--guidance": guidance,
        "--strength": strength,
        "--fps": fps,
    }
    wrong = _wrong_usage({name for name, value in options.items() if value is not None}, again is not None)
    if wrong is not None:
        sys.stderr.write(f"worldr1: {wrong}\n")
        return WRONG_USAGE
    if fps is not None and fps < 1:
        raise ValueError(f"--fps is {fps}; it must be at least 1")
    if again is not None:
        return _make_again(again, out, model, lora)
    from worldr1.generation import plan_shot, select

    path = None if trajectory is None else _read_path(trajectory)
    chosen = _judge(judge)
    scale = 1.0 if lora_scale is None else lora_scale
    pipeline = _load(model or "tiny", lora, scale)
    shot = plan_shot(
        pipeline,
        prompt or "",
        seed or 0,
        camera=None if path is None else _fitted(path, pipeline, frames, scene_depth),
        frames=frames,
        height=height,
        width=width,
        steps=steps,
        guidance=guidance,
        strength=strength,
    )
    selection = select(pipeline, shot, 1 if best_of is None else best_of, chosen, tell=_tell)
    from worldr1.evaluation.video import write_video
    from worldr1.provenance import attach, describe

    rate = fps or _USUAL_FPS
    provenance = describe(selection, pipeline, model or "tiny", lora, rate, scale)
    written = write_video(out, selection.video, fps=rate)
    attach(written, provenance)
    _finish(written, selection.shot.seed, len(selection.takes))
    return DONE


def _wrong_usage(given: set[str], again: bool) -> str | None:
    if again and given:
        return f"--from makes a video again as it was; leave out {', '.join(sorted(given))}"
    if not again and "PROMPT" not in given:
        return 'give a prompt, such as "camera orbit left. a red box in a tiled room", or --from FILE.mp4'
    if "--scene-depth" in given and "--trajectory" not in given:
        return "--scene-depth goes with --trajectory"
    if "--judge" in given and "--best-of" not in given:
        return "--judge goes with --best-of"
    return None


def _make_again(source: Path, out: Path, model: str | None, lora: Path | None) -> int:
    from worldr1.evaluation.video import write_video
    from worldr1.generation import select
    from worldr1.provenance import attach, read

    provenance = read(source)
    if lora is None and provenance.lora is not None and model is None:
        lora = Path(provenance.lora)
    logger.info("the model of %s is %s", source, model or provenance.model)
    _use_threads(provenance)
    scale = provenance.lora_scale if model is None or lora is not None else 1.0
    pipeline = _load(model or provenance.model, lora, scale)
    _warn_of_differences(provenance, pipeline)
    selection = select(pipeline, provenance.shot, tell=_tell)
    written = write_video(out, selection.video, fps=provenance.fps)
    attach(written, provenance)
    _finish(written, selection.shot.seed, 1)
    return DONE


def _use_threads(provenance: Provenance) -> None:
    """As many threads as then: sums may be split differently among another number."""
    import torch

    if provenance.machine.device == "cpu":
        torch.set_num_threads(max(1, provenance.machine.threads))


def _warn_of_differences(provenance: Provenance, pipeline: WanPipeline) -> None:
    from worldr1.provenance import fingerprint, machine_of

    if fingerprint(pipeline) != provenance.weights:
        logger.warning("the model's weights are not those of then; the video will be another")
    then, now = provenance.machine, machine_of(pipeline)
    for name in type(then).model_fields:
        if getattr(then, name) != getattr(now, name):
            logger.warning(
                "%s is %s, and was %s; the video may differ in its last bits",
                name,
                getattr(now, name),
                getattr(then, name),
            )


def _load(model: str, lora: Path | None, scale: float) -> WanPipeline:
    import torch

    from worldr1.pipelines import load_pipeline

    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    return load_pipeline(model, lora, dtype, device, lora_scale=scale)


def _read_path(file: Path) -> Trajectory:
    from worldr1.camera.io import read_trajectory

    try:
        return read_trajectory(file)
    except OSError as error:
        raise FileNotFoundError(f"--trajectory {file} cannot be read: {error.strerror or error}") from error


def _fitted(path: Trajectory, pipeline: WanPipeline, frames: int | None, scene_depth: float | None) -> Trajectory:
    from worldr1.camera.fit import fit_trajectory
    from worldr1.pipelines import defaults_of

    wanted = defaults_of(pipeline).clip.frames if frames is None else frames
    if wanted != path.frames:
        logger.info("the camera path of %d poses is spread over %d frames", path.frames, wanted)
    return fit_trajectory(path, wanted, 1.0 if scene_depth is None else scene_depth)


def _judge(name: str | None) -> Judge | None:
    if name is None or name == "score":
        return None
    from worldr1.recipes import load_recipe
    from worldr1.rl.assemble import build_composer

    return build_composer(load_recipe(name))


def _tell(take: Take) -> None:
    scores = {"total": take.total, **take.components} if take.components else {}
    told = "".join(f"  {name} {value:.3f}" for name, value in scores.items())
    sys.stdout.write(f"seed {take.seed}{told}\n")
    sys.stdout.flush()


def _finish(written: Path, seed: int, count: int) -> None:
    kept = f"kept seed {seed} of {count}; " if count > 1 else ""
    sys.stdout.write(f"{kept}wrote {written}; again with: worldr1 generate --from {written} -o again.mp4\n")
