"""What goes over the wire, as models of the OpenAPI document."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

SCORES_PATH = "/v1/scores"
REWARD_PATH = "/v1/reward"
HEALTH_PATH = "/healthz"
METRICS_PATH = "/metrics"
KEY_HEADER = "Idempotency-Key"
TENSOR_NAME = "video"


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class CameraPath(_Model):
    """The poses that were asked for, one for each frame."""

    c2w: list[list[list[float]]] = Field(description="[T,4,4] camera to world, OpenCV axes, the first the identity")
    moves: list[str] = Field(default=[], max_length=16, description="the moves that made it, if known")
    fov: float = Field(default=64.0, gt=0.0, lt=180.0, description="horizontal field of view, degrees")


class ScoreRequest(_Model):
    """What the video was asked to show."""

    prompt: str = Field(description="the prompt that the video was generated for")
    camera: str | None = Field(
        default=None, max_length=400, description='moves in words, as "orbit left, then push in"'
    )
    trajectory: CameraPath | None = Field(default=None, description="poses; in place of camera")
    use_3d: bool = Field(default=True, description="false leaves out components that need a reconstruction")


class ScoreAnswer(_Model):
    """The scores of one video; null where a score is missing."""

    components: dict[str, float | None] = Field(description="score of each component, null where it is missing")
    total: float | None = Field(description="weighted sum, null where any component is missing")
    problem: str | None = Field(default=None, description="why no score could be given")


class ComponentInfo(_Model):
    """One component of the reward."""

    weight: float
    needs_reconstruction: bool


class RewardInfo(_Model):
    """The reward that this service gives."""

    components: dict[str, ComponentInfo]


class Problem(_Model):
    """Why a request was refused."""

    detail: str


class Health(_Model):
    """ok: send requests; draining: the service is shutting down; stuck: a batch takes longer than a request may."""

    status: Literal["ok", "draining", "stuck"]


def answer_of(components: Mapping[str, Tensor], total: Tensor, place: int) -> ScoreAnswer:
    """The answer of the sample at `place` of a batch."""
    return ScoreAnswer(
        components={name: _or_none(values[place]) for name, values in components.items()}, total=_or_none(total[place])
    )


def _or_none(value: Tensor) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None
