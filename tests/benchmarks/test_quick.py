"""`python -m benchmarks.run --quick` runs every row; the peers agree with what they stand for."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from benchmarks.peers.tiled import render_tiled
from benchmarks.peers.warp16 import Warp16

from worldr1.splats import reference
from worldr1.splats.gaussians import Gaussians

ROOT = Path(__file__).resolve().parents[2]


def run(out: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.run", "--quick", "--threads", "1", "--out", str(out), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_all_rows_run_and_agree(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("*.json")
    content = json.loads(path.read_text())
    rows = {row["name"]: row for row in content["rows"]}
    assert {"noise_832x480x81", "splat_forward_64_5k", "reward_batch_32", "step_group_8"} <= rows.keys()
    assert content["machine"]["cpu"]
    assert content["quick"] is True
    for name, row in rows.items():
        assert row["ours"] > 0, name
        assert row["agrees"] in (None, True), row
        if row["peer"] is not None:
            assert row["ratio"] == pytest.approx(row["peer"] / row["ours"]), name
    assert math.isfinite(rows["splat_count"]["exponent"])
    table = path.with_suffix(".md").read_text()
    assert all(f"| {name} |" in table for name in rows)


def run_on_device(out: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.gpu.run", "--tiny", "--out", str(out), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_the_rows_of_a_device_run_and_agree_without_one(tmp_path: Path) -> None:
    done = run_on_device(tmp_path, "--cpu")
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("*.json")
    content = json.loads(path.read_text())
    rows = {row["name"]: row for row in content["rows"]}
    assert {"noise_832x480x81", "splat_forward_64_5k", "splat_forward_backward_64_5k", "splat_count"} <= rows.keys()
    assert all(row["agrees"] in (None, True) for row in rows.values()), rows
    assert content["machine"]["device"] == "none (--cpu)"


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what is missing where nothing is")
def test_without_a_device_the_script_says_so(tmp_path: Path) -> None:
    done = run_on_device(tmp_path)
    assert done.returncode == 1
    assert "--cpu" in done.stderr
    assert not list(tmp_path.iterdir())


def test_unknown_row_is_named(tmp_path: Path) -> None:
    done = run(tmp_path, "--only", "no_such_row")
    assert done.returncode != 0
    assert "noise_832x480x81" in done.stderr
    assert not list(tmp_path.iterdir())


def test_tiled_peer_is_the_reference_with_its_gradients() -> None:
    generator = torch.Generator().manual_seed(0)

    def uniform(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    place = (uniform(150, 3) - 0.5) * torch.tensor([3.0, 2.5, 3.0]) + torch.tensor([0.0, 0.0, 1.3])
    quats = torch.randn(150, 4, generator=generator, dtype=torch.float64)
    parts = [place, uniform(150, 3) * 0.1 + 0.003, quats, uniform(150), uniform(150, 3)]
    lens = torch.tensor([[50.0, 0.0, 20.0], [0.0, 53.0, 17.5], [0.0, 0.0, 1.0]], dtype=torch.float64)
    weight = torch.randn(5, 35, 40, generator=generator, dtype=torch.float64)
    results = []
    for tiled in (True, False):
        leaves = [part.clone().requires_grad_() for part in parts]
        w2c = torch.eye(4, dtype=torch.float64)
        image = (
            render_tiled(Gaussians(*leaves), w2c, lens, 35, 40)
            if tiled
            else reference.rasterize(*leaves, w2c, lens, 35, 40)
        )
        (image * weight).sum().backward()
        results.append([image.detach(), *(leaf.grad for leaf in leaves)])
    for ours, expected in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected, atol=1e-9, rtol=1e-7)


def test_warp_peer_moves_whole_cells_and_stays_white() -> None:
    warp = Warp16(4, 12, 16, upscale=4, seed=1)
    before = warp.noise.reshape(48, 64, 4).clone()
    flow = torch.zeros(2, 48, 64)
    flow[0], flow[1] = 3.0, -2.0
    warp.step(flow)
    after = warp.noise.reshape(48, 64, 4)
    torch.testing.assert_close(after[:46, 3:], before[2:, :61])
    column = torch.arange(64.0)
    flow[0], flow[1] = (0.2 * (column - 32)).expand(48, 64), 0.0
    warp.step(flow)
    values = warp.noise.double()
    error = 4 / math.sqrt(values.numel())
    assert abs(float(values.mean())) < error
    assert abs(float(values.var()) - 1) < error * math.sqrt(2)
    assert abs(float((values[1:] * values[:-1]).mean())) < error
