"""The dry run: what a recipe needs and what it costs, from shapes alone."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from worldr1.planning.evaluations import Evaluations, Preserved, count_evaluations
from worldr1.planning.memory import Stage, host_bytes, micro_batch, scored_at_once, stages, weights_bytes
from worldr1.planning.meter import Reading
from worldr1.planning.rewards import RewardCost, reward_costs
from worldr1.planning.shapes import PipelineShape, parameters_of, shape_of, trainable_parameters
from worldr1.planning.work import measure_decode, measure_forward, measure_training
from worldr1.recipes.settings import Recipe
from worldr1.recipes.weights import Weights, required_weights
from worldr1.rl.assemble_policy import training_device

MATRIX_TFLOPS = 400.0
"""bfloat16 rate that an H100 keeps up on large matrices (its peak is 989)."""
_FLOAT32_SHARE = 1 / 8
"""The autoencoder decodes in float32, at about this share of the bfloat16 rate."""
RELEASE = 340
"""Network evaluations per trained video of World-R1's public release."""
_GIB = float(2**30)


@dataclass(frozen=True)
class Plan:
    """What a recipe needs.

    Attributes:
        recipe: the recipe.
        evaluations: of the network per trained video, by kind.
        parameters: "transformer", "trained", "vae", "text_encoder".
        weights_bytes: bytes that stay in memory, by part.
        stages: memory by stage.
        without_checkpointing, with_checkpointing: bytes of one micro-batch's activations in training.
        seconds: of one main training step, by stage, at `matrix_tflops`.
        seconds_once: before the first step: "preserve" where the base samples for prior preservation.
        matrix_tflops: the assumed bfloat16 rate, in 1e12 operations a second.
        rewards: cost of each reward model.
        host_bytes: of the machine's own memory: "loading" the largest model, and "videos" while they are scored.
        cores: over which the rewards' work on the CPU is spread.
        weights: what must be on this machine.
    """

    recipe: Recipe
    evaluations: Evaluations
    parameters: dict[str, int]
    weights_bytes: dict[str, float]
    stages: list[Stage]
    without_checkpointing: float
    with_checkpointing: float
    seconds: dict[str, float]
    seconds_once: dict[str, float]
    matrix_tflops: float
    rewards: list[RewardCost]
    host_bytes: dict[str, float]
    cores: int
    weights: list[Weights]

    @property
    def peak(self) -> Stage:
        """The stage that needs most memory."""
        return max(self.stages, key=lambda stage: stage.total)

    @property
    def missing(self) -> list[Weights]:
        """Weights that are not on this machine."""
        return [weights for weights in self.weights if weights.place is None]

    def to_dict(self) -> dict[str, Any]:
        """The plan as plain JSON data; memory in GiB."""
        evaluations = self.evaluations
        return {
            "recipe": self.recipe.name,
            "network_evaluations_per_video": evaluations.total,
            "network_evaluations": {**vars(evaluations)},
            "network_evaluations_of_the_release": RELEASE,
            "parameters": self.parameters,
            "memory_gib": {
                "weights": {name: size / _GIB for name, size in self.weights_bytes.items()},
                "stages": {stage.name: stage.total / _GIB for stage in self.stages},
                "resident": {stage.name: stage.resident / _GIB for stage in self.stages},
                "activations_with_checkpointing": self.with_checkpointing / _GIB,
                "activations_without_checkpointing": self.without_checkpointing / _GIB,
                "rewards": {c.name: (c.weights + c.activations) / _GIB for c in self.rewards},
                "peak": self.peak.total / _GIB,
                "host": {name: size / _GIB for name, size in self.host_bytes.items()},
            },
            "sizes_not_known": [cost.model for cost in self.rewards if cost.parameters is None],
            "seconds_per_step": self.seconds,
            "seconds_once": self.seconds_once,
            "cpu_seconds_per_video": {c.name: c.cpu_seconds for c in self.rewards},
            "cores": self.cores,
            "matrix_tflops": self.matrix_tflops,
            "videos_per_step": self.recipe.schedule.groups * self.recipe.schedule.group_size,
            "weights": [
                {
                    "role": weights.role,
                    "name": weights.name,
                    "revision": weights.revision,
                    "found": None if weights.place is None else str(weights.place),
                    "problem": weights.problem,
                    "command": "" if weights.place else weights.command,
                    "licence": weights.licence,
                    "commercial": weights.commercial,
                }
                for weights in self.weights
            ],
        }


def make_plan(
    recipe: Recipe,
    matrix_tflops: float = MATRIX_TFLOPS,
    dynamic_prompts: int | None = None,
    cores: int | None = None,
) -> Plan:
    """Plan a run without loading any weights.

    Args:
        recipe: the recipe.
        matrix_tflops: the bfloat16 rate that the GPU keeps up, in 1e12 operations a second.
        dynamic_prompts: how many there are for prior preservation to sample; None takes enough.
        cores: that share the rewards' work on the CPU; None takes all of this machine's.

    Raises:
        ValueError: the shape of the recipe's model is not known or does not fit the recipe, or the rate is not
            positive.
    """
    if matrix_tflops <= 0:
        raise ValueError(f"the matrix rate must be positive, got {matrix_tflops}")
    model, clip = recipe.model, recipe.clip
    shape = shape_of(model)
    if recipe.sampling.guidance_2 is not None and shape.experts == 1:
        raise ValueError(f"sampling.guidance_2 guides a second expert, which {model.path} lacks; leave it out")
    forward = measure_forward(shape, model, clip)
    checkpointed, plain = (measure_training(shape, model, clip, checkpointing) for checkpointing in (True, False))
    parameters = _parameters(shape, recipe)
    on_gpu = training_device() == "cuda" or model.path != "tiny"
    rewards = reward_costs(recipe.reward, clip, scored_at_once(recipe), on_gpu)
    cores = min(scored_at_once(recipe), cores or available_cores())
    weights = weights_bytes(recipe, parameters)
    preserved = Preserved.of(recipe, dynamic_prompts)
    evaluations = count_evaluations(recipe, preserved)
    guided = 2 if recipe.sampling.guidance != 1.0 else 1
    graphs = micro_batch(recipe) * guided
    checkpointing = model.gradient_checkpointing
    if checkpointing is None:
        checkpointing = training_device() == "cuda"
    training = (checkpointed if checkpointing else plain).peak
    if preserved is None:
        training *= graphs
    else:  # the last term's gradients wait until those of the preservation are there
        kept = min(preserved.per_update, recipe.sampling.micro_batch or preserved.per_update)
        training = training * max(graphs, kept * guided) + 4.0 * parameters["trained"]
    decode = measure_decode(shape, model, clip)
    seconds, seconds_once = _seconds(recipe, evaluations, forward, decode, rewards, matrix_tflops, cores)
    return Plan(
        recipe=recipe,
        evaluations=evaluations,
        parameters=parameters,
        weights_bytes=weights,
        stages=stages(recipe, preserved, weights, rewards, forward.peak, decode.peak, training, parameters),
        without_checkpointing=plain.peak * graphs,
        with_checkpointing=checkpointed.peak * graphs,
        seconds=seconds,
        seconds_once=seconds_once,
        matrix_tflops=matrix_tflops,
        rewards=rewards,
        host_bytes=host_bytes(recipe, weights, parameters, rewards),
        cores=cores,
        weights=required_weights(recipe),
    )


def available_cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _parameters(shape: PipelineShape, recipe: Recipe) -> dict[str, int]:
    return {
        "transformer": shape.experts * parameters_of(shape.build_transformer()),
        "trained": trainable_parameters(shape, recipe.model),
        "vae": parameters_of(shape.build_vae()),
        "text_encoder": shape.text_parameters,
    }


def _seconds(
    recipe: Recipe,
    evaluations: Evaluations,
    forward: Reading,
    decode: Reading,
    rewards: list[RewardCost],
    matrix_tflops: float,
    cores: int,
) -> tuple[dict[str, float], dict[str, float]]:
    """Of one step by stage, and once before the first."""
    videos = recipe.schedule.groups * recipe.schedule.group_size
    rate = matrix_tflops * 1e12
    evaluation = forward.flops / (rate if recipe.model.dtype == "bfloat16" else rate * _FLOAT32_SHARE)
    seconds = {
        "rollout": videos * evaluations.rollout * evaluation,
        "decode": videos * decode.flops / (rate * _FLOAT32_SHARE),
        "rewards": videos * sum(cost.flops / rate + cost.cpu_seconds / cores for cost in rewards),
        "update": videos * evaluations.update * evaluation,
    }
    once = videos * recipe.schedule.total_steps * evaluations.preserve_sampling * evaluation
    return {**seconds, "total": sum(seconds.values())}, {"preserve": once} if once else {}
