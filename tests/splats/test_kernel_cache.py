"""The splat kernel gives the same bits whether numba compiles it or loads it from its cache."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from worldr1.splats import kernel

DRAW = """
import hashlib, sys, torch
sys.path.insert(0, sys.argv[1])
from splat_scenes import INTRINSICS, camera, random_gaussians
from worldr1.splats import kernel
from worldr1.splats.gaussians import Gaussians
from worldr1.splats.render import render
scene = random_gaussians(3, count=600)
leaves = [part.clone().requires_grad_() for part in (scene.means, scene.scales, scene.quats)]
drawn = render(Gaussians(*leaves, scene.opacities, scene.colors), camera(3), INTRINSICS, 96, 96)
drawn.image.square().sum().backward()
digest = hashlib.sha256()
for part in (drawn.image.detach(), *(leaf.grad for leaf in leaves)):
    digest.update(part.numpy().tobytes())
print(digest.hexdigest(), sum(kernel.forward.stats.cache_hits.values()))
"""


def _drawn(cache: Path) -> list[str]:
    command = [sys.executable, "-c", DRAW, str(Path(__file__).parent)]
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.slow
def test_compiled_and_loaded_kernels_give_the_same_bits(tmp_path: Path) -> None:
    compiled, loaded = _drawn(tmp_path), _drawn(tmp_path)
    assert (compiled[1], loaded[1]) == ("0", "1")
    assert compiled[0] == loaded[0]


def test_an_entry_closes_over_the_text_of_all_that_it_calls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    digest = kernel._sources()
    assert any(cell.cell_contents == digest for cell in kernel.forward.py_func.__closure__)
    assert any(cell.cell_contents == digest for cell in kernel.backward.py_func.__closure__)
    changed = tmp_path / "kernel_tiles.py"
    changed.write_text(Path(str(kernel.kernel_tiles.__file__)).read_text() + "# another kernel\n")
    monkeypatch.setattr(kernel.kernel_tiles, "__file__", str(changed))
    assert kernel._sources() != digest
