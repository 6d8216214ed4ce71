"""The signal of training: what normalisation does to components, and what is said when all are silent."""

from __future__ import annotations

import math

import pytest
import torch

from worldr1.rewards.types import Scores
from worldr1.rl.signal import component_spreads, silent_sentence, training_signal

NAN = float("nan")


def _scores(**components: list[float]) -> Scores:
    parts = {name: torch.tensor(values) for name, values in components.items()}
    return Scores(parts, torch.stack(list(parts.values())).sum(0))


def test_without_normalisation_it_is_the_total() -> None:
    scores = _scores(a=[1.0, 2.0], b=[0.5, NAN])
    assert training_signal(scores, {"a": 3.0}, 2) is scores.total


def test_a_component_s_scale_does_not_matter_but_its_weight_does() -> None:
    torch.manual_seed(0)
    a, b = torch.randn(12, dtype=torch.float64), torch.randn(12, dtype=torch.float64)
    weights = {"a": 2.0, "b": 1.0}
    one = training_signal(Scores({"a": a, "b": b}, a + b), weights, 4, "group")
    other = training_signal(Scores({"a": 100 * a - 7, "b": 0.01 * b + 3}, a + b), weights, 4, "group")
    torch.testing.assert_close(one, other)
    grouped = a.reshape(3, 4), b.reshape(3, 4)
    expected = sum(
        weight * (part - part.mean(1, keepdim=True)) / part.std(1, correction=0, keepdim=True)
        for weight, part in zip((2.0, 1.0), grouped, strict=True)
    )
    torch.testing.assert_close(one.reshape(3, 4), expected)


def test_a_constant_component_adds_nothing_and_a_missing_video_stays_missing() -> None:
    scores = _scores(a=[1.0, 2.0, 3.0, 9.0], b=[5.0, 5.0, 5.0, NAN])
    signal = training_signal(scores, {"a": 1.0, "b": 1.0}, 4, "group")
    step = math.sqrt(1.5)
    torch.testing.assert_close(signal[:3], torch.tensor([-step, 0.0, step], dtype=torch.float64))
    assert math.isnan(signal[3])


def test_a_group_without_any_score_is_all_missing() -> None:
    signal = training_signal(_scores(a=[NAN, NAN, 1.0, 2.0]), {}, 2, "group")
    assert signal.isnan().tolist() == [True, True, False, False]


def test_spreads_are_means_over_groups_of_what_is_there() -> None:
    spreads = component_spreads(_scores(a=[0.0, 2.0, 5.0, 5.0], b=[NAN, 1.0, NAN, NAN]), 2)
    assert spreads["reward_std/a"] == pytest.approx(0.5)
    assert spreads["reward_std/b"] == 0.0


def test_silence_names_the_component_and_the_mend() -> None:
    sentence = silent_sentence(_scores(meta=[NAN, NAN], recon=[0.1, NAN]), 3)
    assert sentence.startswith("step 3: none of 2 videos has a reward, as meta gave no number")
    assert sentence.endswith("--reward.meta 0")
    assert "lacks some component" in silent_sentence(_scores(a=[NAN, 1.0], b=[1.0, NAN]), 0)


def test_groups_must_be_whole() -> None:
    with pytest.raises(ValueError, match="no whole number of groups"):
        training_signal(_scores(a=[1.0, 2.0, 3.0]), {}, 2)
