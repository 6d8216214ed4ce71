"""The comparison of reward forms runs, and its share of pairs is what it says."""

from __future__ import annotations

import math

import pytest
import torch
from benchmarks.reward_forms import GOOD, auc, clips_of, compare


def test_the_share_of_pairs_by_hand() -> None:
    good = torch.tensor([0.9, 0.5, torch.nan])
    bad = torch.tensor([0.1, 0.5, 0.7, torch.nan])
    assert auc(good, bad) == pytest.approx((3 + 1 + 0.5) / 6)


def test_kinds_are_what_they_are_called() -> None:
    kinds, asked = clips_of(2, 0)
    motion = {kind: float(torch.stack(videos).diff(dim=1).abs().mean()) for kind, videos in kinds.items()}
    assert motion["frozen"] == 0.0
    assert 0 < motion["nearly still"] < 0.3 * motion[GOOD]
    assert motion["blurred"] < motion[GOOD]
    assert [path.moves for path in asked] == [("push in",), ("pull out",)]
    for good, back in zip(kinds[GOOD], kinds["reversed camera"], strict=True):
        assert torch.equal(good[0], back[0])
        assert not torch.equal(good[-1], back[-1])


@pytest.mark.slow
def test_every_form_scores_every_kind() -> None:
    found = compare(2, 0)
    assert len(found) == 5
    for rows in found.values():
        assert rows[GOOD]["auc"] == 0.5
        assert all(math.isfinite(row["mean"]) and row["missing"] == 0 for row in rows.values())
    assert found["S_traj, ours"]["reversed camera"]["auc"] == 1.0
