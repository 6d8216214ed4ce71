import json

import pytest

from worldr1.cli.calibrate import calibrate as command
from worldr1.recipes import load_recipe
from worldr1.rewards.calibrate import TRUTH, calibrate, reverse


def test_every_bad_kind_lies_below_the_ground_truth(capsys) -> None:
    assert command(clips=10, json=True, seed=1) in (0, 1)
    document = json.loads(capsys.readouterr().out)
    kinds = document["kinds"]
    assert set(kinds) == {TRUTH, "spoilt", "frozen", "blurred", "textureless", "wrong camera", "reversed camera"}
    assert all(row["below"] > 2.0 for kind, row in kinds.items() if kind != TRUTH)
    assert kinds[TRUTH]["statistics"]["traj"]["mean"] > 0.75
    for kind in ("frozen", "reversed camera", "wrong camera"):
        assert kinds[kind]["statistics"]["traj"]["mean"] < 0.35
    weights = load_recipe("tiny").reward.weights
    for row in kinds.values():
        assert set(row["components_below"]) == set(weights)
        means = [weights[name] * row["statistics"][name]["mean"] for name in weights]
        counts = {row["statistics"][name]["count"] for name in [*weights, "total"]}
        assert len(counts) > 1 or row["statistics"]["total"]["mean"] == pytest.approx(sum(means), rel=1e-4)
    assert len({kinds[TRUTH]["statistics"][name]["count"] for name in [*weights, "total"]}) == 1
    assert document["auc_total"] > 0.9
    assert document["rotation_degrees"]["mean"] < 2.0


def test_reverse_is_an_involution_on_moves() -> None:
    from worldr1.camera.language import MOVES

    assert all(reverse(reverse(move)) == move for move in MOVES)
    assert reverse("push in") == "pull out"
    assert reverse("pull left") == "pull right"
    assert reverse("fixed") == "fixed"


def test_too_few_clips_are_refused(capsys) -> None:
    with pytest.raises(ValueError, match="at least 2 clips"):
        calibrate(1)
    assert command(clips=1) == 2
