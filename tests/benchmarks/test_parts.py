"""Parts of a long benchmark are made once, and again when their setting is another."""

from __future__ import annotations

import math
from pathlib import Path

from benchmarks.parts import part


def test_a_part_is_made_once_for_each_setting(tmp_path: Path) -> None:
    made = []

    def make() -> dict:
        made.append(1)
        return {"psnr": [1.5, math.nan], "number": len(made)}

    path = tmp_path / "new" / "0.json"
    first = part(path, {"seed": 1, "size": [2, 3]}, make)
    again = part(path, {"seed": 1, "size": [2, 3]}, make)
    assert len(made) == 1
    assert again["number"] == 1
    assert again["psnr"][0] == first["psnr"][0]
    assert math.isnan(again["psnr"][1])
    assert part(path, {"seed": 2, "size": [2, 3]}, make)["number"] == 2
