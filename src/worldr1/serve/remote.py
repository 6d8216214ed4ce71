"""A reward service in the place of a composer."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from worldr1.rewards.types import Sample, Scores
from worldr1.serve.client import RewardClient, RewardServiceError
from worldr1.serve.wire import ScoreAnswer

logger = logging.getLogger(__name__)


class RemoteComposer:
    """Scores samples by a service, with the interface of `worldr1.rewards.compose.RewardComposer`.

    Args:
        client: the way to the service.
        parallel: requests at a time; at least the service's batch keeps it busy.

    Raises:
        RewardServiceError: the service is out of reach or refuses the token, told before any training.
        ValueError: parallel is below 1.
    """

    def __init__(self, client: RewardClient, parallel: int = 16) -> None:
        if parallel < 1:
            raise ValueError(f"parallel is {parallel}; at least 1 request at a time is needed")
        self._client = client
        self._parallel = parallel
        self.components = client.reward().components

    def __call__(self, samples: Sequence[Sample], use_3d: bool = True) -> Scores:
        """Score B samples in their order; nan where a score is missing or the service gave none.

        Raises ValueError when use_3d=False leaves nothing to score.
        """
        names = [name for name, part in self.components.items() if use_3d or not part.needs_reconstruction]
        if not names:
            raise ValueError("use_3d=False leaves no reward: every one needs a reconstruction. Add a general reward.")
        with ThreadPoolExecutor(self._parallel) as pool:
            answers = list(pool.map(lambda sample: self._answer(sample, use_3d), samples))
        parts = {name: _tensor([answer.components.get(name) for answer in answers]) for name in names}
        total = _tensor([answer.total for answer in answers])
        complete = torch.stack(list(parts.values())).isfinite().all(dim=0)
        return Scores(parts, total.where(complete, torch.nan))

    def _answer(self, sample: Sample, use_3d: bool) -> ScoreAnswer:
        try:
            answer = self._client.score(sample, use_3d)
        except RewardServiceError as error:
            answer = ScoreAnswer(components={}, total=None, problem=str(error))
        if answer.problem is not None:
            logger.warning("a score is missing: %s", answer.problem)
        return answer


def _tensor(values: Sequence[float | None]) -> Tensor:
    return torch.tensor([torch.nan if value is None else value for value in values], dtype=torch.float32)
