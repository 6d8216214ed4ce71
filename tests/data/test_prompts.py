"""Prompt sets: readers that say what is wrong, and draws that keep the held-out scenes out."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from worldr1.data.prompts import load_prompts, read_prompts, tinyworld_prompts


def test_plain_text_holds_a_prompt_a_line(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text("# mine\ncamera push in. a red box\n\n  a blue sphere \n")
    assert read_prompts(path) == ["camera push in. a red box", "a blue sphere"]


def test_jsonl_holds_a_prompt_an_object(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt": "a", "id": 1}\n\n{"prompt": " b "}\n')
    assert load_prompts(str(path), count=1, seed=0) == ["a", "b"]


@pytest.mark.parametrize("line", ["{", '{"text": "a"}', '{"prompt": ""}', '{"prompt": 3}', '["a"]'])
def test_a_bad_line_is_told_by_number(line: str, tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt": "a"}\n' + line + "\n")
    with pytest.raises(ValueError, match=r"prompts\.jsonl, line 2"):
        read_prompts(path)


def test_missing_and_empty_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no prompt file"):
        read_prompts(tmp_path / "none.txt")
    (tmp_path / "empty.txt").write_text("# nothing\n")
    with pytest.raises(ValueError, match=r"empty\.txt holds no prompt; write one prompt a line$"):
        read_prompts(tmp_path / "empty.txt")
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(ValueError, match=r'holds no prompt; write one object such as \{"prompt": "\.\.\."\} a line$'):
        read_prompts(tmp_path / "empty.jsonl")
    (tmp_path / "latin.txt").write_bytes(b"a box\n\xff\n")
    with pytest.raises(ValueError, match=r"latin\.txt is not UTF-8 text \(byte 6\); save it as UTF-8"):
        read_prompts(tmp_path / "latin.txt")


def _scene(prompt: str) -> str:
    return prompt.split(". ", 1)[1]


@pytest.mark.parametrize("dynamic", [False, True])
def test_held_out_scenes_never_occur_in_training(dynamic: bool) -> None:
    train = {_scene(prompt) for prompt in tinyworld_prompts(400, 0, dynamic, "train")}
    test = {_scene(prompt) for prompt in tinyworld_prompts(100, 0, dynamic, "test")}
    assert len(train) > 50
    assert len(test) > 5
    assert not train & test


def test_draws_repeat_and_a_longer_list_begins_with_the_shorter() -> None:
    assert tinyworld_prompts(20, 5)[:8] == tinyworld_prompts(8, 5)
    assert tinyworld_prompts(8, 5) != tinyworld_prompts(8, 6)


def test_the_camera_language_reads_back_every_move_drawn() -> None:
    from worldr1.camera.language import MOVES, parse_moves

    counts: Counter[str] = Counter()
    lengths: Counter[int] = Counter()
    for prompt in tinyworld_prompts(600, 1):
        words = prompt.removeprefix("camera ").split(". ")[0].split(", then ")
        assert list(parse_moves(prompt)) == words
        assert all(first != second for first, second in pairwise(words))
        counts.update(words)
        lengths[len(words)] += 1
    assert set(counts) == set(MOVES)
    assert set(lengths) == {1, 2, 3}
