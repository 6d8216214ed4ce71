"""Scores of videos that another program made: consistent ones above their spoilt versions, cameras found."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from worldr1.camera.io import write_trajectory
from worldr1.camera.language import ALL_MOVES
from worldr1.camera.trajectory import Trajectory
from worldr1.cli.main import main

pytest.importorskip("cv2")

from foreign_scenes import SPOILS, film, sample_cards
from odd_videos import encode

MOVING = [move for move in ALL_MOVES if move.split()[0] in ("push", "move", "orbit", "pull", "crane")]
PAIRS = 32


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_consistent_videos_of_another_program_rank_above_spoilt_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(11)
    won, rot_err, trans_err, traj = [], [], [], []
    lines = []
    for number in range(PAIRS):
        fov = float(rng.uniform(52, 76))
        moves = tuple(rng.choice(MOVING, size=1 + number % 2, replace=False))
        camera, kind = Trajectory.from_moves(moves, 17, fov), SPOILS[number % len(SPOILS)]
        cards = sample_cards(rng)
        poses = camera.c2w.double().numpy()
        files = [
            encode(tmp_path / f"{number}-{name}.mp4", film(cards, poses, fov, name, 240, 416), "libx264", "yuv420p")
            for name in (None, kind)
        ]
        write_trajectory(camera, tmp_path / "poses.json")
        assert main(["score", *map(str, files), "--trajectory", str(tmp_path / "poses.json"), "--json"]) == 0
        good, bad = json.loads(capsys.readouterr().out)["videos"]
        won.append([good[name] > bad[name] for name in ("recon", "psnr", "rigidity")])
        rot_err.append(np.degrees(good["rot_err"] / 17))
        trans_err.append(good["trans_err"] / 17)
        traj.append(good["traj"])
        lines.append(
            f"{kind:5} {', '.join(moves):24} recon {good['recon']:.3f} {bad['recon']:.3f} "
            f"psnr {good['psnr']:.1f} {bad['psnr']:.1f} "
            f"rigidity {good['rigidity']:.3f} {bad['rigidity']:.3f} turn {rot_err[-1]:.2f} travel {trans_err[-1]:.3f} "
            f"traj {traj[-1]:.2f} {good['warnings']}"
        )
    share = np.mean(won, axis=0)
    report = "\n".join([*lines, f"pairs won by recon, psnr, rigidity {share}"])
    (tmp_path / "report.txt").write_text(report, encoding="utf-8")
    assert share.min() >= 0.95, report
    assert np.median(rot_err) < 1.0, report
    assert np.median(trans_err) < 0.05, report
    assert np.median(traj) > 0.6, report
