"""What the reward is made of: its components, their weights, and the models that compute them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from worldr1.recipes.base import Fraction, Positive, Settings


class DepthAnythingSettings(Settings):
    """Depth Anything 3, used when `reconstructor` is 'da3'."""

    weights: str = "depth-anything/DA3-BASE"
    """A directory or a hub name. Small and base are free for commercial use; large and giant are not."""
    revision: str | None = None
    process_res: Annotated[int, Field(ge=14)] = 504
    """Longest side of the frames that the network sees, whose patches have 14 pixels."""
    ref_view_strategy: Literal["first", "middle", "saddle_balanced", "saddle_sim_range"] = "middle"
    """Which frame the others are related to; 'middle' suits video."""
    splat_frames: Positive = 8
    """How many evenly spread frames give Gaussians: memory of a scene and work of drawing it grow with it."""


class JudgeSettings(Settings):
    """Who judges the meta view (S_meta)."""

    name: Literal["tiny", "qwen3-vl", "server"] = "tiny"
    """The shipped critic, Qwen3-VL in this process, or a model behind an OpenAI-compatible server."""
    weights: str = "Qwen/Qwen3-VL-8B-Instruct"
    """Of 'qwen3-vl': a directory or a hub name. Of 'server': the model's name there."""
    revision: str | None = None
    url: str = "http://localhost:8000/v1"
    """Of 'server'."""
    token_file: str | None = None
    """Of 'server': a file that holds the access token."""


class PreferenceSettings(Settings):
    """Who rates the frames (R_gen)."""

    name: Literal["tiny", "hpsv3"] = "tiny"
    """The shipped critic, or HPSv3."""
    weights: str = "MizzenAI/HPSv3"
    """Of 'hpsv3': a directory or a hub name that holds HPSv3.safetensors."""
    revision: str | None = None


class MetaViewSettings(Settings):
    """Where the meta view stands, off the trajectory."""

    sideways: Annotated[float, Field(gt=0.0, lt=90.0)] = 14.0
    """Degrees beyond the end of the camera's path, about the scene's centre."""
    raised: Annotated[float, Field(ge=0.0, lt=90.0)] = 14.0
    """Degrees above the floor's plane."""


class RewardSettings(Settings):
    """The reward R = meta + recon + traj + general, each with its weight; weight 0 leaves a component out."""

    meta: Annotated[float, Field(ge=0.0)] = 1.0
    recon: Annotated[float, Field(ge=0.0)] = 1.0
    traj: Annotated[float, Field(ge=0.0)] = 1.0
    general: Annotated[float, Field(ge=0.0)] = 1.0
    normalise: Literal["none", "group"] = "none"
    """'group' divides each component, within each group, by its standard deviation before the weights apply."""
    recon_from: Literal["frames", "gaussians"] = "frames"
    """What S_recon compares the video with: key frames redrawn from the other ones; or, as in the paper, its Gaussians
    rendered along its estimated cameras."""
    pixels: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    """Share of S_recon that is the redrawing's PSNR, from 10 to 40 dB, instead of 1 - LPIPS; the paper has none."""
    points: Fraction = 0.0
    """Share of S_recon that asks whether confident points reproject onto themselves, instead of pixels; paper: none."""
    moving: Literal["counted", "left-out"] = "counted"
    """Whether S_recon leaves out what moves by itself: patches of large residual, a quarter of a frame or less."""
    traj_form: Literal["relative", "absolute"] = "relative"
    """S_traj: the product of exponentials of errors over the motion asked for; or, as in the paper, the mean of
    exp(-L2) and exp(-geodesic), here in scene depths and radians."""
    traj_segments: Positive = 1
    """S_traj over so many parts of the clip, each from its own first camera, averaged; the paper takes the whole."""
    traj_metres: Annotated[float, Field(gt=0.0)] | None = None
    """Length in metres of the asked camera's unit: S_traj then asks for metres. Needs a DA3NESTED reconstructor."""
    sharpness: Annotated[float, Field(gt=0.0)] = 0.46
    """Energy of the finest differences, against that at half the size, which counts as sharp: blur below it costs."""
    reconstructor: Literal["stereo", "da3"] = "stereo"
    """Plane-sweep stereo, which needs no weights, or Depth Anything 3."""
    da3: DepthAnythingSettings = DepthAnythingSettings()
    judge: JudgeSettings = JudgeSettings()
    preference: PreferenceSettings = PreferenceSettings()
    meta_view: MetaViewSettings = MetaViewSettings()
    general_frames: Positive = 9
    """K: how many frames R_gen looks at."""
    critics: str = "tiny"
    """'tiny' (the shipped critics) or a directory that holds them."""

    @model_validator(mode="after")
    def _metres_are_seen(self) -> RewardSettings:
        if self.traj_metres is not None and self.reconstructor != "da3":
            raise ValueError("traj_metres needs a metric reconstructor: 'da3' with the weights of a DA3NESTED variant")
        return self

    @model_validator(mode="after")
    def _options_of_frames(self) -> RewardSettings:
        if self.recon_from == "gaussians" and (self.pixels or self.points or self.moving != "counted"):
            raise ValueError(
                "recon_from 'gaussians' is 1 - LPIPS and nothing else: leave pixels, points and moving out, or set "
                "recon_from to 'frames'"
            )
        return self

    @property
    def weights(self) -> dict[str, float]:
        """Component name to weight, those with weight 0 left out."""
        named = {"meta": self.meta, "recon": self.recon, "traj": self.traj, "general": self.general}
        return {name: weight for name, weight in named.items() if weight > 0}
