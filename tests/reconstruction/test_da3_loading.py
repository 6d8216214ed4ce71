"""Depth Anything 3's published variants, their licences, and what is said when their files are not there."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from torch import nn

from worldr1.reconstruction import da3_loading
from worldr1.reconstruction.da3_variants import VARIANTS, licence_of, variant_of, variant_of_preset
from worldr1.reconstruction.depth_anything import DepthAnythingReconstructor


def test_licences_are_those_of_the_model_cards() -> None:
    free = {v.name for v in VARIANTS if v.commercial}
    assert free == {"DA3-SMALL", "DA3-BASE", "DA3METRIC-LARGE", "DA3MONO-LARGE"}
    assert licence_of("DA3-SMALL") == licence_of("depth-anything/da3-base") == "Apache-2.0"
    assert licence_of("depth-anything/DA3-GIANT-1.1") == "CC-BY-NC-4.0"
    assert variant_of_preset("da3-large").name == "DA3-LARGE-1.1"
    assert {v.name for v in VARIANTS if v.gaussians} == {
        f"{name}{version}" for name in ("DA3-GIANT", "DA3NESTED-GIANT-LARGE") for version in ("", "-1.1")
    }
    with pytest.raises(ValueError, match="published ones are DA3-SMALL"):
        licence_of("someone/DA3-SMALL")


def test_files_that_are_not_there_are_named(tmp_path: Path) -> None:
    load = DepthAnythingReconstructor.from_pretrained
    with pytest.raises(ValueError, match="no cameras"):
        load("DA3METRIC-LARGE")
    with pytest.raises(ValueError, match="published ones are"):
        load("DA3-HUGE")
    with pytest.raises(FileNotFoundError, match=r"There is no directory"):
        load(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"lacks config.json and model.safetensors"):
        load(tmp_path)
    (tmp_path / "model.safetensors").touch()
    (tmp_path / "config.json").write_text('{"model_name": "da3mono-large"}')
    with pytest.raises(ValueError, match="DA3MONO-LARGE estimates depth frame by frame"):
        load(tmp_path)
    (tmp_path / "config.json").write_text('{"model_name": "da9"}')
    with pytest.raises(ValueError, match="no Depth Anything 3 architecture named 'da9'"):
        load(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match="is not JSON"):
        load(tmp_path)


def test_what_is_not_here_is_told_with_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"get it with: hf download depth-anything/DA3-SMALL --revision v9 "):
        da3_loading.load_network("DA3-SMALL", revision="v9")
    with pytest.raises(ValueError, match="neither a directory nor a hub address"):
        da3_loading.load_network("depth-anything/no model")


def test_a_licence_without_commercial_use_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(da3_loading, "_files", lambda *_: (Path("config.json"), Path("model.safetensors")))
    monkeypatch.setattr(da3_loading, "_preset", lambda _, default: default)
    monkeypatch.setattr(da3_loading, "build_network", lambda _: nn.Identity())
    monkeypatch.setattr(da3_loading, "_fill", lambda *_: None)
    with caplog.at_level(logging.WARNING):
        _, variant = da3_loading.load_network("depth-anything/DA3-GIANT")
        assert variant == variant_of("DA3-GIANT")
        assert "DA3-GIANT are under CC-BY-NC-4.0: not for commercial use" in caplog.text
        assert "superseded by DA3-GIANT-1.1" in caplog.text
        caplog.clear()
        da3_loading.load_network("DA3-BASE")
    assert caplog.text == ""


def test_the_documentation_states_every_licence() -> None:
    page = (Path(__file__).parents[2] / "docs" / "depth-anything.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| DA3")]
    for variant in VARIANTS:
        (row,) = [row for row in rows if variant.name in row.split("|")[1].replace(",", "").split()]
        assert row.split("|")[5].strip() == variant.licence
        assert (row.split("|")[3].strip() == "yes") == variant.gaussians
    assert all(part in page for part in da3_loading.INSTALL.split(" && "))
