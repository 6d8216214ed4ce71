"""The tiny pipeline's parts and their training, in miniature."""

from pathlib import Path

import pytest
import torch

from worldr1.camera.language import MOVES
from worldr1.tinyworld.latents import LatentSet, tokenise
from worldr1.tinyworld.pipeline import MAX_TOKENS, make_text_encoder, make_tokenizer, make_transformer
from worldr1.tinyworld.pretrain import PretrainSettings, TextToVelocity, learning_rate, pretrain


def _model(tokenizer) -> TextToVelocity:
    torch.manual_seed(0)
    return TextToVelocity(make_transformer(width=32, layers=1), make_text_encoder(len(tokenizer)))


def _data(tokenizer) -> LatentSet:
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(8, 16, 2, 4, 4, generator=generator).half()
    return LatentSet(latents, tokenise(tokenizer, ["a red box in a tiled room"] * 8), torch.ones(8, dtype=torch.bool))


def _settings(**changes: object) -> PretrainSettings:
    values = {
        "steps": 6,
        "batch": 4,
        "save_every": 3,
        "compile": False,
        "bf16": False,
        "warmup": 2,
        "long_text_every": 5,
    }
    return PretrainSettings(**{**values, **changes})  # type: ignore[arg-type]


def test_longest_caption_fits_and_known_words_are_whole_tokens() -> None:
    tokenizer = make_tokenizer()
    long = (
        "camera "
        + ", then ".join(MOVES[:3])
        + ". a purple cylinder bouncing beside a yellow cylinder in a checkered room"
    )
    ids = tokenizer(long).input_ids
    assert len(ids) <= MAX_TOKENS
    assert tokenizer.unk_token_id not in ids
    assert "▁checkered" in tokenizer.convert_ids_to_tokens(ids)


def test_unknown_words_fall_back_to_letters() -> None:
    tokenizer = make_tokenizer()
    assert tokenizer.unk_token_id not in tokenizer("a castle at sunset!").input_ids


def test_learning_rate_warms_up_and_cools_down() -> None:
    settings = _settings(steps=100, warmup=10, cooldown=0.5, lr=1.0)
    assert learning_rate(settings, 0) == pytest.approx(0.1)
    assert learning_rate(settings, 30) == 1.0
    assert learning_rate(settings, 75) == pytest.approx(0.5)
    assert learning_rate(settings, 99) == pytest.approx(0.02)


def test_interrupted_pretraining_ends_where_the_uninterrupted_one_does(tmp_path: Path) -> None:
    tokenizer = make_tokenizer()
    data, empty = _data(tokenizer), tokenise(tokenizer, [""])[0]
    whole = pretrain(_model(tokenizer), lambda: data, _settings(), tmp_path / "whole", empty)

    class Interrupt(Exception):
        pass

    calls = []

    def read() -> LatentSet:
        calls.append(None)
        if len(calls) == 2:
            raise Interrupt
        return data

    with pytest.raises(Interrupt):
        pretrain(_model(tokenizer), read, _settings(), tmp_path / "cut", empty)
    resumed = pretrain(_model(tokenizer), lambda: data, _settings(), tmp_path / "cut", empty)
    for (name, a), (_, b) in zip(whole.named_parameters(), resumed.named_parameters(), strict=True):
        assert torch.equal(a, b), name


def test_pretraining_learns(tmp_path: Path) -> None:
    tokenizer = make_tokenizer()
    data = _data(tokenizer)
    model = _model(tokenizer)
    generator = torch.Generator().manual_seed(2)
    noise = torch.randn(data.latents.shape, generator=generator)
    sigma = torch.full((8,), 0.7)
    noisy = 0.3 * data.latents.float() + 0.7 * noise

    def error(network: TextToVelocity) -> float:
        with torch.no_grad():
            velocity = network(noisy, sigma, data.tokens.long(), MAX_TOKENS)
        return float((velocity - (noise - data.latents.float())).square().mean())

    before = error(model)
    trained = pretrain(
        model,
        lambda: data,
        _settings(steps=150, lr=5e-3, ema=0.5, save_every=150),
        tmp_path,
        tokenise(tokenizer, [""])[0],
    )
    assert error(trained) < 0.8 * before
