"""What goes over the wire, as models of the OpenAPI document."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema
from torch import Tensor

from worldr1.camera.language import ALL_MOVES, MAX_MOVES

SCORES_PATH = "/v1/scores"
REWARD_PATH = "/v1/reward"
HEALTH_PATH = "/healthz"
METRICS_PATH = "/metrics"
KEY_HEADER = "Idempotency-Key"
TENSOR_NAME = "video"

_ROW = {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 4}
_POSES = WithJsonSchema({"type": "array", "items": {"type": "array", "items": _ROW, "minItems": 4, "maxItems": 4}})
_MOVES = WithJsonSchema({"type": "array", "items": {"type": "string", "enum": ALL_MOVES}, "maxItems": MAX_MOVES})
"""What the document tells of them; `sample` checks it, with sentences of its own."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


class CameraPath(_Model):
    """The poses that were asked for, one for each frame."""

    c2w: Annotated[list[list[list[float]]], _POSES] = Field(
        description="[T,4,4] camera to world, OpenCV axes, rigid, the first the identity"
    )
    moves: Annotated[list[str], _MOVES] = Field(default=[], description="the moves that made it, if known")
    fov: float = Field(default=64.0, gt=0.0, lt=180.0, description="horizontal field of view, degrees")


class ScoreRequest(_Model):
    """What the video was asked to show."""

    prompt: str = Field(
        description="the prompt that the video was generated for, not empty", json_schema_extra={"pattern": r"\S"}
    )
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
