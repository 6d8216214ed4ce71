"""The tiny autoencoder's training, in miniature."""

from pathlib import Path

import pytest
import torch

from worldr1.tinyworld.autoencoder import AutoencoderSettings, make_autoencoder, train_autoencoder


def _videos() -> torch.Tensor:
    return torch.randint(0, 255, (4, 5, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def _train(directory: Path, **options: object) -> torch.nn.Module:
    torch.manual_seed(0)
    settings = AutoencoderSettings(steps=4, frames=10, window=5, warmup=2, save_every=2, bf16=False)
    return train_autoencoder(make_autoencoder(), _videos(), settings, directory, **options)  # type: ignore[arg-type]


def test_interrupted_training_goes_on_as_if_it_had_never_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = _train(tmp_path / "whole")
    rate = AutoencoderSettings.rate

    def stop_at_three(settings: AutoencoderSettings, step: int) -> float:
        if step == 3:
            raise KeyboardInterrupt
        return rate(settings, step)

    with monkeypatch.context() as patch:
        patch.setattr(AutoencoderSettings, "rate", stop_at_three)
        with pytest.raises(KeyboardInterrupt):
            _train(tmp_path / "cut")
    resumed = _train(tmp_path / "cut")
    for one, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)


def test_two_replicas_train_as_one_does_on_both_halves(tmp_path: Path) -> None:
    trained = _train(tmp_path, replicas=2)
    assert all(bool(torch.isfinite(p).all()) for p in trained.parameters())
    assert not any(p.requires_grad for p in trained.parameters())


def test_rate_warms_up_and_falls() -> None:
    settings = AutoencoderSettings(steps=1000, lr=1.0, warmup=10, final_lr=0.1)
    assert settings.rate(0) == pytest.approx(0.1)
    assert settings.rate(500) == pytest.approx(0.55, abs=0.01)
    assert settings.rate(999) == pytest.approx(0.1, abs=0.01)
