"""Settings that do not fit: a sentence for each with the key and what would be right, and the code of wrong usage."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from worldr1.cli.main import WRONG_USAGE, main
from worldr1.recipes import Recipe
from worldr1.recipes.explain import explain, section_of


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["--sampling.guidance", "5"],
            "sampling.guidance is 5, but 'nft' learns without guidance: set it to 1, or objective.name to 'grpo'",
        ),
        (["--clip.frames", "80"], "clip: frames is 80; it must be 4k + 1 (17, 33, 81)"),
        (["--reward.meta", "nan"], "reward.meta: nan does not do; it should be greater than or equal to 0"),
        (["--objective.grpo.clip", "0"], "objective.grpo.clip: 0.0 does not do; it should be greater than 0"),
        (
            ["--optimiser.lr", "-1", "--optimiser.clip-norm", "0"],
            "optimiser.lr: -1.0 does not do; it should be greater than 0; "
            "optimiser.clip_norm: 0.0 does not do; it should be greater than 0",
        ),
    ],
)
def test_a_wrong_value_is_one_sentence(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *words, "--dry-run"]) == WRONG_USAGE
    captured = capsys.readouterr()
    assert captured.err == f"worldr1: {told}\n"
    assert captured.out == ""


def test_what_cannot_be_read_as_a_value_is_told_by_its_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["train", "--seed", "many"])
    assert caught.value.code == WRONG_USAGE
    assert "--seed" in capsys.readouterr().err


def test_help_is_printed_once(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["train", "--help"])
    assert caught.value.code == 0
    assert capsys.readouterr().out.count("usage: worldr1 train") == 1


def test_every_complaint_is_told_and_a_long_value_cut() -> None:
    with pytest.raises(ValidationError) as caught:
        Recipe.model_validate({"seed": "x" * 200, "clip": {"frames": 16}, "reward": {"da3": {"process_res": 0}}})
    told = explain(caught.value).split("; ")
    assert told[0] == f"seed: '{'x' * 59}... does not do"
    assert "clip: frames is 16" in told
    assert told[-2:] == ["reward.da3.process_res: 0 does not do", "it should be greater than or equal to 14"]
    assert section_of(caught.value, Recipe) == ""


def test_an_error_of_pydantic_anywhere_is_told_without_its_dump(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("worldr1.cli.main._run", lambda *_: Recipe.model_validate({"seed": -1}))
    assert main(["serve"]) == 1
    assert capsys.readouterr().err == "worldr1: seed: -1 does not do; it should be greater than or equal to 0\n"


def test_a_recipe_that_is_not_utf8_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.yaml").write_bytes(b"name: caf\xe9")
    assert main(["train", str(tmp_path / "mine.yaml")]) == 1
    assert "mine.yaml is not UTF-8 text (byte 9); save it as UTF-8" in capsys.readouterr().err
