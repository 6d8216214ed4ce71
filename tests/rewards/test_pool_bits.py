"""Videos on their way to a worker of Ray, whole or in 8 bits: what arrives, how many bytes, what it does to scores."""

from __future__ import annotations

import logging

import pytest
import torch

from tiny_clips import truth_and_spoilt
from worldr1.recipes import load_recipe
from worldr1.rewards.registry import build_composer
from worldr1.rewards.types import Sample

pytest.importorskip("ray", reason='needs pip install "worldr1[ray]"')


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    moves = [("orbit left",), ("push in",), ("pan right",), ("pull left",)]
    clean, spoilt, asked = truth_and_spoilt(moves, seed=3)
    clips = zip([*clean, *spoilt], [*asked, *asked], strict=True)
    return [Sample(clip.video, clip.prompt, path) for clip, path in clips]


def test_in_32_bits_a_video_arrives_as_it_was_and_in_8_as_its_nearest_level(samples: list[Sample]) -> None:
    from worldr1.rewards.pool.ray_workers import row_of, sample_of

    for sample in samples:
        whole, short = row_of(sample, 32), row_of(sample, 8)
        assert torch.equal(sample_of(whole).video, sample.video)
        arrived = sample_of(short)
        assert float((arrived.video - sample.video).abs().max()) <= 0.5 / 255 + 1e-6
        assert torch.equal(sample_of(row_of(arrived, 8)).video, arrived.video)
        assert whole[0].nbytes == 4 * short[0].nbytes
        assert torch.equal(arrived.trajectory.c2w, sample.trajectory.c2w)


def test_what_is_not_finite_stays_so_in_8_bits(samples: list[Sample]) -> None:
    from worldr1.rewards.pool.ray_workers import row_of, sample_of

    video = samples[0].video.clone()
    video[0, 0, 0, 0] = torch.nan
    sent = Sample(video, samples[0].prompt, samples[0].trajectory)
    assert torch.equal(sample_of(row_of(sent, 8)).video.isnan(), video.isnan())


def test_8_bits_move_scores_by_far_less_than_clips_differ(
    samples: list[Sample], caplog: pytest.LogCaptureFixture
) -> None:
    from worldr1.rewards.pool.ray_workers import row_of, sample_of

    composer = build_composer(load_recipe("tiny").reward)
    whole, short = composer(samples), composer([sample_of(row_of(sample, 8)) for sample in samples])
    with caplog.at_level(logging.INFO):
        for name, values in {**whole.components, "total": whole.total}.items():
            moved = ({**short.components, "total": short.total}[name] - values).abs()
            told = float(moved.mean()), float(moved.max()), float(values.std())
            logging.getLogger(__name__).info("%s moves by %.2g, at most %.2g, of a spread of %.2g", name, *told)
            assert 0 < float(moved.mean()) < 0.15 * float(values.std())
