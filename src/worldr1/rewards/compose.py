"""Several rewards to one number per sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from worldr1.reconstruction.types import Reconstruction, Reconstructor, all_finite
from worldr1.rewards.types import Composer, Reward, Sample, Scores

__all__ = ["InBatches", "RewardComposer", "Scores", "weighted_sum"]


class RewardComposer:
    """Weighted sum of rewards: R = meta + recon + traj + 1.0 * general in the paper's setting.

    Args:
        rewards: components by name.
        weights: one weight for each of them.
        reconstructor: rebuilds the scenes, once for all components that need it; may be None when none does.
        device: where it gets its videos, and so leaves the scenes that the components see.

    Raises:
        ValueError: when there is no reward, names do not match, a weight is not finite, or a reconstructor is missing.
    """

    def __init__(
        self,
        rewards: Mapping[str, Reward],
        weights: Mapping[str, float],
        reconstructor: Reconstructor | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        if not rewards:
            raise ValueError("RewardComposer needs at least one reward.")
        if set(rewards) != set(weights):
            raise ValueError(
                f"RewardComposer needs a weight for each reward and no other: rewards {sorted(rewards)}, "
                f"weights {sorted(weights)}."
            )
        if not all(torch.isfinite(torch.tensor(float(w))) for w in weights.values()):
            raise ValueError(f"RewardComposer needs finite weights, got {dict(weights)}.")
        needing = sorted(name for name, reward in rewards.items() if reward.needs_reconstruction)
        if needing and reconstructor is None:
            raise ValueError(f"RewardComposer needs a reconstructor for {', '.join(needing)}.")
        self.rewards = dict(rewards)
        self.weights = {name: float(weights[name]) for name in rewards}
        self.reconstructor = reconstructor
        self.device = torch.device(device)

    def __call__(self, samples: Sequence[Sample], use_3d: bool = True) -> Scores:
        """Score B samples.

        use_3d=False leaves out all components that need a reconstruction (the dynamic phase). A video with values that
        are not finite has nan in every component and spoils no other; a total is nan where any component used is.

        Raises ValueError when nothing is left to score, or a reward returns another number of scores.
        """
        active = {n: r for n, r in self.rewards.items() if use_3d or not r.needs_reconstruction}
        if not active:
            raise ValueError("use_3d=False leaves no reward: every one needs a reconstruction. Add a general reward.")
        good = [i for i, sample in enumerate(samples) if all_finite(sample.video)]
        kept = [samples[i] for i in good]
        scenes = self._reconstruct(kept) if any(r.needs_reconstruction for r in active.values()) else None
        components = {}
        for name, reward in active.items():
            scores = torch.full((len(samples),), torch.nan)
            if kept:
                scores[good] = self._score(name, reward, kept, scenes if reward.needs_reconstruction else None)
            components[name] = scores
        return weighted_sum(components, self.weights)

    def _reconstruct(self, samples: Sequence[Sample]) -> list[Reconstruction]:
        """Scenes in the samples' order; videos of one shape go to the reconstructor together."""
        scenes: dict[int, Reconstruction] = {}
        shapes: dict[tuple[int, ...], list[int]] = {}
        for i, sample in enumerate(samples):
            shapes.setdefault(tuple(sample.video.shape), []).append(i)
        for places in shapes.values():
            assert self.reconstructor is not None
            videos = torch.stack([samples[i].video for i in places]).to(self.device)
            found = self.reconstructor(videos, [samples[i].trajectory for i in places])
            scenes.update(zip(places, found, strict=True))
        return [scenes[i] for i in range(len(samples))]

    @staticmethod
    def _score(name: str, reward: Reward, samples: Sequence[Sample], scenes: Sequence[Reconstruction] | None) -> Tensor:
        scores = reward(samples, scenes).detach().float().cpu()
        if scores.shape != (len(samples),):
            raise ValueError(f"The reward {name!r} returned {list(scores.shape)} scores for {len(samples)} samples.")
        return scores


class InBatches:
    """A composer that scores `batch` samples at a time, as the workers of a pool do."""

    def __init__(self, composer: Composer, batch: int) -> None:
        self.composer = composer
        self.batch = batch

    def __call__(self, samples: Sequence[Sample], use_3d: bool = True) -> Scores:
        """Score B samples; raises as the composer."""
        starts = range(0, max(1, len(samples)), self.batch)
        return joined([self.composer(samples[i : i + self.batch], use_3d) for i in starts])


def joined(parts: Sequence[Scores]) -> Scores:
    """The scores of parts of a batch, one after another."""
    components = {name: torch.cat([part.components[name] for part in parts]) for name in parts[0].components}
    return Scores(components, torch.cat([part.total for part in parts]))


def weighted_sum(components: Mapping[str, Tensor], weights: Mapping[str, float]) -> Scores:
    """Scores of components [B], whose total is nan where one of them is."""
    total = torch.zeros(len(next(iter(components.values()))))
    for name, values in components.items():
        total = total + weights[name] * values
    return Scores(dict(components), total)
