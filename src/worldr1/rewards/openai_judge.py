"""The S_meta judge behind any OpenAI-compatible server, such as vLLM.

One request per picture carries its own answer back, so that answers cannot be swapped; a failed one is nan.
"""

from __future__ import annotations

import base64
import io
import logging
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from worldr1.camera.trajectory import Trajectory
from worldr1.rewards.chat_client import ChatClient, NoAnswer
from worldr1.rewards.question import meta_question
from worldr1.rewards.vision_inputs import as_plain_text, to_pictures

if TYPE_CHECKING:
    from PIL.Image import Image

_log = logging.getLogger(__name__)

TOP_LOGPROBS = 20
_DIGITS = "0123456789"


def expected_digit_of_logprobs(entries: Sequence[Mapping[str, Any]]) -> float:
    """Expectation in [0, 9] over those of the top tokens that are digits, renormalised; nan when none is.

    `entries` hold "token" and "logprob"; spaces around a digit do not matter. Raises ValueError, TypeError, KeyError or
    AttributeError when an entry is malformed.
    """
    found = []
    for entry in entries:
        token, logprob = entry["token"].strip(), float(entry["logprob"])
        if math.isnan(logprob) or logprob > 1e-3:
            raise ValueError(f"{logprob} is no log-probability")
        if len(token) == 1 and token in _DIGITS:
            found.append((int(token), logprob))
    top = max((logprob for _, logprob in found), default=-math.inf)
    if top == -math.inf:
        return math.nan
    weights = [(digit, math.exp(logprob - top)) for digit, logprob in found]
    return sum(digit * weight for digit, weight in weights) / sum(weight for _, weight in weights)


class OpenAIJudge:
    """Expected digit from the log-probabilities of the first token of a chat completion.

    Args:
        url: the server's base, such as "http://localhost:8000/v1".
        model: name under which the server knows the model; an Instruct model, for its first token is its answer.
        token: sent as bearer token.
        timeout, retries, pause: as in ChatClient.
        workers: requests under way at once.

    Raises:
        ValueError: as ChatClient, or workers is below 1.
    """

    def __init__(
        self,
        url: str,
        model: str,
        token: str | None = None,
        timeout: float = 60.0,
        retries: int = 3,
        pause: float = 1.0,
        workers: int = 8,
    ) -> None:
        if workers < 1:
            raise ValueError(f"OpenAIJudge needs at least 1 worker, got {workers}.")
        self.client = ChatClient(url, token, timeout, retries, pause)
        self.model = model
        self.workers = workers

    def __call__(self, images: Tensor, prompts: Sequence[str], trajectories: Sequence[Trajectory]) -> Tensor:
        """Expected digits [B] in [0, 9] of images [B,3,H,W] in [0,1]; nan, with a warning, where no answer came."""
        questions = [meta_question(as_plain_text(p), t) for p, t in zip(prompts, trajectories, strict=True)]
        pairs = list(zip(to_pictures(images), questions, strict=True))
        with ThreadPoolExecutor(self.workers) as pool:
            return torch.tensor(list(pool.map(lambda pair: self._digit(*pair), pairs)))

    def _digit(self, picture: Image, question: str) -> float:
        try:
            return _digit_of(self.client.ask(self._request(picture, question)))
        except NoAnswer as failure:
            _log.warning("No S_meta score from %s: %s", self.client.url, failure)
            return math.nan

    def _request(self, picture: Image, question: str) -> dict[str, Any]:
        """The sampling settings leave the model's probabilities as they are, whatever the server's defaults."""
        buffer = io.BytesIO()
        picture.save(buffer, format="PNG")
        data = base64.b64encode(buffer.getvalue()).decode()
        content = [
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}},
            {"type": "text", "text": question},
        ]
        return {
            "model": self.model,
            "messages": [{"role": "user", "content": content}],
            "max_tokens": 1,
            "temperature": 1.0,
            "top_p": 1.0,
            "presence_penalty": 0.0,
            "logprobs": True,
            "top_logprobs": TOP_LOGPROBS,
        }


def _digit_of(answer: Any) -> float:
    """The expected digit in a chat completion. Raises NoAnswer."""
    try:
        digit = expected_digit_of_logprobs(answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"])
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise NoAnswer(f"the answer holds no log-probabilities ({error!r})") from error
    if math.isnan(digit):
        raise NoAnswer(f"none of the {TOP_LOGPROBS} likeliest tokens is a digit; use an Instruct model")
    return digit
