"""What a training run is made of: frozen settings, checked when they are read, every field named in the YAML."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from worldr1.recipes.base import Fraction, NonNegative, Positive, Settings
from worldr1.recipes.pool import PoolSettings
from worldr1.recipes.reward import RewardSettings


class ModelSettings(Settings):
    """The policy: which pipeline, and which of its weights learn."""

    path: str = "tiny"
    """'tiny' (the shipped pipeline), a diffusers directory, or a hub name."""
    revision: str | None = None
    """Branch, tag or commit of a hub name; None takes the newest that is here."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    autocast: Literal["dtype", "auto"] = "dtype"
    """What the network multiplies in: `dtype`, or bfloat16 wherever the processor does that at full speed ('auto')."""
    max_tokens: Positive = 512
    """Tokens to which every prompt is padded; as the model was trained."""
    adapter: Literal["lora", "full"] = "lora"
    """Train a low-rank adapter, or every weight of the transformer."""
    rank: Positive = 32
    alpha: Positive = 64
    targets: tuple[str, ...] = ("to_q", "to_k", "to_v", "to_out.0")
    """Names of the transformer's layers that carry the adapter."""
    gradient_checkpointing: bool | None = None
    """Recompute activations in the backward pass; None does so on a GPU."""
    vae_tiling: bool = False
    """Decode videos in overlapping tiles: less memory, more time."""
    vae_slicing: bool = False
    """Decode one video at a time."""
    embeds_cache: str | None = None
    """Directory that keeps the prompts' embeddings; the text encoder is only loaded for prompts it lacks."""

    @model_validator(mode="after")
    def _saves_its_text_encoder(self) -> ModelSettings:
        if self.embeds_cache is not None and self.adapter == "full":
            raise ValueError("embeds_cache drops the text encoder, which adapter 'full' saves; use adapter 'lora'")
        return self


class ClipSettings(Settings):
    """The size of a video."""

    frames: Positive = 17
    height: Positive = 64
    width: Positive = 64

    @model_validator(mode="after")
    def _fits_the_vae(self) -> ClipSettings:
        if self.frames % 4 != 1:
            raise ValueError(f"frames is {self.frames}; it must be 4k + 1 (17, 33, 81)")
        for name in ("height", "width"):
            if getattr(self, name) % 16:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be a multiple of 16")
        return self


class NoiseSettings(Settings):
    """How the camera's motion enters the initial noise."""

    law: Literal["canonical", "sequential"] = "canonical"
    strength: Fraction = 1.0
    """0 is white noise, 1 is noise that moves wholly with the camera."""


class SamplingSettings(Settings):
    """The sampler of rollouts and of evaluation."""

    steps: Positive = 10
    window: Positive = 2
    """Consecutive stochastic steps that 'grpo' trains; 'nft' samples the plain ODE and has none."""
    window_range: tuple[NonNegative, NonNegative] = (0, 5)
    """The window lies in steps [first, last); its start is drawn once per training step."""
    eta: Annotated[float, Field(gt=0.0)] = 0.7
    """Amount of noise of the stochastic steps."""
    law: Literal["sde", "cps"] = "sde"
    """Kind of the stochastic steps: Flow-GRPO's or Flow-CPS's."""
    guidance: Annotated[float, Field(ge=1.0)] = 1.0
    """Classifier-free guidance scale, 1 for none, of all velocities: rollouts, losses, frozen base, evaluation. 'nft'
    learns without."""
    guidance_2: Annotated[float, Field(ge=1.0)] | None = None
    """Scale of the second expert (Wan2.2-A14B), for low noise; None takes `guidance`."""
    micro_batch: Positive | None = None
    """Videos that go through the network at once; None takes all of a step."""
    shared_prefix: bool = False
    """All members of a group start from one noise, and the steps before the window are made once for all of them. Less
    work, and less variety in a group. For 'grpo', which has a window."""

    @model_validator(mode="after")
    def _second_scale_has_a_first(self) -> SamplingSettings:
        if self.guidance_2 is not None and self.guidance == 1.0:
            raise ValueError("guidance_2 goes with guidance above 1: at 1 neither expert is guided")
        return self


class GrpoSettings(Settings):
    """Flow-GRPO: clipped policy gradient on the stochastic steps."""

    clip: Annotated[float, Field(gt=0.0)] = 1e-3
    """The ratio is clipped to [1 - clip, 1 + clip]."""
    kl: Annotated[float, Field(ge=0.0)] = 0.0
    """Weight of the KL divergence to the frozen base."""
    guard: bool = False
    """GRPO-Guard: ratios with mean 1 and one spread at all noise levels; clip at 2e-6 to 4e-6. Law 'sde' only."""
    epochs: Positive = 1
    """Passes over each rollout."""
    updates: Positive = 1
    """Optimiser steps per pass."""


class NftSettings(Settings):
    """DiffusionNFT: a contrast of better and worse samples on the forward process."""

    beta: Annotated[float, Field(gt=0.0)] = 1.0
    """Strength of the guidance between the old and the new policy."""
    penalty: Annotated[float, Field(ge=0.0)] = 1e-4
    """Weight of the squared distance to the frozen base's velocity."""
    times: Positive = 4
    """Noise levels drawn for each video, each one a training pass."""
    time_range: tuple[Fraction, Fraction] = (0.05, 1.0)
    """Where the noise levels lie."""
    old_decay_rate: Annotated[float, Field(ge=0.0)] = 1e-3
    """The old policy's decay is min(old_decay_rate x step, old_decay_limit)."""
    old_decay_limit: Fraction = 0.5
    updates: Positive = 1
    """Optimiser steps per rollout."""


class ObjectiveSettings(Settings):
    """Which objective learns, and the parameters of each."""

    name: Literal["nft", "grpo"] = "nft"
    grpo: GrpoSettings = GrpoSettings()
    nft: NftSettings = NftSettings()


class AdvantageSettings(Settings):
    """How rewards become advantages."""

    bound: Annotated[float, Field(gt=0.0)] = 5.0
    """Advantages are clipped to [-bound, bound]."""
    scale: Literal["group", "batch"] = "group"
    """Whose standard deviation divides: each group's own, or that of all groups of the step."""


class PromptSettings(Settings):
    """Where the training prompts come from: 'tinyworld', 'world-r1', or a .txt or .jsonl file."""

    main: str = "tinyworld"
    dynamic: str = "tinyworld"
    """Prompts of the dynamic phase."""
    count: Positive = 3000
    """How many main prompts 'tinyworld' draws; a sixth as many dynamic ones."""


class ScheduleSettings(Settings):
    """Periodic decoupled training: main steps with the whole reward, then dynamic steps without its 3D part."""

    total_steps: Positive = 100
    main_steps: Positive = 100
    dynamic_steps: NonNegative = 50
    groups: Positive = 4
    """Prompts per step."""
    group_size: Annotated[int, Field(ge=2)] = 8
    """Videos per prompt, compared with one another."""
    max_minutes: Annotated[float, Field(gt=0.0)] | None = None
    """Stop after the first step that ends later than this, however many steps are left."""


class PreserveSettings(Settings):
    """Prior preservation: every update keeps the policy at the base's own samples of dynamic prompts."""

    weight: Annotated[float, Field(ge=0.0)] = 0.0
    """Of the mean squared difference of velocities; 0 leaves it out."""
    samples: Positive = 128
    """How many dynamic prompts the base samples, once, when the run begins."""
    per_step: Positive = 16
    """How many of them every update sees."""
    candidates: Positive = 1
    """How many samples the base draws of each of these prompts; the one with the highest reward is kept."""
    own: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    """What is kept: 0 the base's velocity at the samples, 1 the samples' own (DreamBooth), between a mix of both."""


class OptimiserSettings(Settings):
    """AdamW and the moving average of the weights."""

    lr: Annotated[float, Field(gt=0.0)] = 1e-4
    betas: tuple[Fraction, Fraction] = (0.9, 0.99)
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.0
    clip_norm: Annotated[float, Field(gt=0.0)] = 1.0
    """The gradient's norm is clipped to this."""
    warmup_steps: NonNegative = 5
    final_lr: Fraction = 1.0
    """Share of lr that is left at the last step; the rate falls linearly to it."""
    ema_decay: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.9
    """Decay per step of the averaged weights that are evaluated and saved; 0 keeps the last weights."""
    extrapolate: Annotated[float, Field(gt=0.0)] = 1.0
    """How far from the base the evaluated and saved weights lie, in distances of the average: 1 is the average itself,
    more goes on in the direction of training (ExPO, arXiv 2404.16792)."""


class EvaluationSettings(Settings):
    """Held-out prompts with fixed noise, scored while training goes on."""

    every: NonNegative = 25
    """Steps between evaluations; 0 evaluates only before and after."""
    prompts: NonNegative = 16
    """How many held-out prompts; 0 turns evaluation off."""
    source: str = "tinyworld"
    """'tinyworld' draws held-out prompts, else a .txt or .jsonl file."""
    seed: NonNegative = 9001
    videos: NonNegative = 6
    """How many of the videos are kept under samples/."""


class CheckpointSettings(Settings):
    """When the state of training is saved."""

    every: Positive = 5
    keep: Positive = 2
    """Older checkpoints are removed."""


class ParallelSettings(Settings):
    """How several processes, started by `torchrun`, hold the policy's weights."""

    strategy: Literal["ddp", "fsdp"] = "ddp"
    """A copy in each process, or spread over them and gathered block by block (FSDP2)."""


class Recipe(Settings):
    """Everything that decides a training run."""

    name: str = "tiny"
    seed: NonNegative = 0
    model: ModelSettings = ModelSettings()
    clip: ClipSettings = ClipSettings()
    noise: NoiseSettings = NoiseSettings()
    sampling: SamplingSettings = SamplingSettings()
    objective: ObjectiveSettings = ObjectiveSettings()
    advantage: AdvantageSettings = AdvantageSettings()
    reward: RewardSettings = RewardSettings()
    pool: PoolSettings = PoolSettings()
    prompts: PromptSettings = PromptSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    preserve: PreserveSettings = PreserveSettings()
    optimiser: OptimiserSettings = OptimiserSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    checkpoint: CheckpointSettings = CheckpointSettings()
    parallel: ParallelSettings = ParallelSettings()

    @model_validator(mode="after")
    def _window_fits(self) -> Recipe:
        first, last = self.sampling.window_range
        steps, window = self.sampling.steps, self.sampling.window
        if self.objective.name != "grpo":
            return self
        if not first < last <= steps:
            raise ValueError(f"sampling.window_range is {first, last}; it must rise and end at steps = {steps} or less")
        if window > last - first:
            raise ValueError(f"sampling.window is {window} steps; window_range {first, last} holds {last - first}")
        return self

    @model_validator(mode="after")
    def _segments_fit(self) -> Recipe:
        segments, steps = self.reward.traj_segments, self.clip.frames - 1
        if segments > max(steps, 1):
            frames = self.clip.frames
            raise ValueError(f"reward.traj_segments is {segments}; a clip of {frames} frames has no more than {steps}")
        return self

    @model_validator(mode="after")
    def _nft_is_free_of_guidance(self) -> Recipe:
        if self.objective.name == "nft" and self.sampling.guidance != 1.0:
            raise ValueError(
                f"sampling.guidance is {self.sampling.guidance:g}, but 'nft' learns without guidance: set it to 1, or "
                "objective.name to 'grpo'"
            )
        return self

    @model_validator(mode="after")
    def _prefix_ends_at_a_window(self) -> Recipe:
        if self.objective.name == "nft" and self.sampling.shared_prefix:
            raise ValueError(
                "sampling.shared_prefix would make all videos of a group the same: 'nft' has no stochastic steps; set "
                "it to false, or objective.name to 'grpo'"
            )
        return self

    @model_validator(mode="after")
    def _own_velocity_is_free_of_guidance(self) -> Recipe:
        if self.preserve.weight and self.preserve.own and self.sampling.guidance != 1.0:
            raise ValueError(
                f"preserve.own is {self.preserve.own:g}, but a guided velocity does not lead back to the samples: set "
                "it to 0, or sampling.guidance to 1"
            )
        return self

    @model_validator(mode="after")
    def _guard_has_its_law(self) -> Recipe:
        if self.objective.name == "grpo" and self.objective.grpo.guard and self.sampling.law != "sde":
            raise ValueError("objective.grpo.guard needs sampling.law 'sde'")
        return self

    @model_validator(mode="after")
    def _dynamic_phase_has_its_reward(self) -> Recipe:
        schedule = self.schedule
        if schedule.dynamic_steps and schedule.total_steps > schedule.main_steps and not self.reward.general:
            raise ValueError(
                "reward.general is 0 and the dynamic phase has no other reward: set schedule.dynamic_steps 0 too, or "
                "give reward.general a small weight"
            )
        return self
