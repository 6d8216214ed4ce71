"""The prompt grammar: the shipped files come out of it, the camera language reads it, no scene crosses the split."""

from __future__ import annotations

import json
import math
from collections import Counter
from itertools import pairwise

import pytest

from worldr1.camera.language import MOVES, describe_moves, parse_moves
from worldr1.data import grammar
from worldr1.data.grammar import SHIPPED_COUNTS, SHIPPED_SEED, Scene, generate_prompts, scenes
from worldr1.data.prompts import load_prompts
from worldr1.data.promptset import SETS, shipped_path, to_text

DOMAINS = {"landscape", "urban", "interior", "micro world", "fantasy", "still life"}


def rows(name: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in shipped_path(name).read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def shipped() -> dict[str, list[dict[str, object]]]:
    return {name: rows(name) for name in SETS}


@pytest.mark.parametrize("name", SETS)
def test_the_shipped_files_are_what_the_grammar_writes(name: str) -> None:
    written = to_text(generate_prompts(name, SHIPPED_COUNTS[name], SHIPPED_SEED))
    assert shipped_path(name).read_bytes() == written.encode("utf-8")


def test_counts_domains_and_fields(shipped: dict[str, list[dict[str, object]]]) -> None:
    assert {name: len(prompts) for name, prompts in shipped.items()} == {"train": 3000, "dynamic": 500, "test": 200}
    for prompts in shipped.values():
        assert all(list(row) == ["prompt", "moves", "scene", "domain"] for row in prompts)
        domains = Counter(row["domain"] for row in prompts)
        assert set(domains) == DOMAINS
        assert max(domains.values()) - min(domains.values()) <= 2


def test_no_two_prompts_are_alike(shipped: dict[str, list[dict[str, object]]]) -> None:
    texts = ["".join(str(row["prompt"]).lower().split()) for prompts in shipped.values() for row in prompts]
    assert len(set(texts)) == len(texts)


def test_no_scene_crosses_over(shipped: dict[str, list[dict[str, object]]]) -> None:
    """By the text of the prompts too: none for training holds both subject and place of a held-out scene."""
    held_out = {str(row["scene"]) for row in shipped["test"]}
    assert len(held_out) > 150
    pairs = [_folded(scene) for dynamic in (False, True) for scene in scenes(dynamic, True)]
    assert held_out <= {scene.name for dynamic in (False, True) for scene in scenes(dynamic, True)}
    for row in (row for name in ("train", "dynamic") for row in shipped[name]):
        assert row["scene"] not in held_out
        text = str(row["prompt"]).lower()
        assert not [pair for pair in pairs if pair[0] in text and pair[1] in text], text


def _folded(scene: Scene) -> tuple[str, str]:
    return scene.subject.replace("[", "").replace("]", "").lower(), scene.place.lower()


def test_no_seed_puts_a_held_out_scene_into_training() -> None:
    held_out = {prompt.scene for prompt in generate_prompts("test", 200, seed=5)}
    trained = {p.scene for split in ("train", "dynamic") for p in generate_prompts(split, 1000, seed=9)}
    assert not held_out & trained
    for dynamic in (False, True):
        both = len(scenes(dynamic, True)) + len(scenes(dynamic, False))
        spread = math.sqrt(0.12 * 0.88 / both)
        assert abs(len(scenes(dynamic, True)) / both - 0.12) < 4 * spread


def test_the_camera_language_reads_every_shipped_prompt(shipped: dict[str, list[dict[str, object]]]) -> None:
    for row in (row for prompts in shipped.values() for row in prompts):
        moves = parse_moves(str(row["prompt"]))
        assert list(moves) == row["moves"], row["prompt"]
        assert parse_moves(describe_moves(moves)) == moves


def test_the_camera_language_reads_the_prompts_of_other_seeds() -> None:
    for split, count, seed in (("train", 2000, 11), ("dynamic", 400, 12), ("test", 300, 13)):
        for prompt in generate_prompts(split, count, seed):  # type: ignore[arg-type]
            assert parse_moves(prompt.prompt) == prompt.moves, prompt.prompt


def test_mirrored_prompts_mirror_their_moves(shipped: dict[str, list[dict[str, object]]]) -> None:
    swap = {"left": "right", "right": "left"}
    for row in shipped["test"]:
        words = str(row["prompt"]).replace("left", "\0").replace("right", "left").replace("\0", "right")
        words = words.replace("bleft", "bright").replace("upleft", "upright")
        mirrored = [" ".join(swap.get(word, word) for word in str(move).split()) for move in row["moves"]]  # type: ignore[attr-defined]
        assert list(parse_moves(words)) == mirrored, words


def test_every_move_and_every_length_comes_in_its_share() -> None:
    """Within four standard deviations of a binomial share: a false alarm once in some 15,000."""
    prompts = generate_prompts("train", 3000, seed=3)
    kinds = Counter("fixed" if prompt.moves == ("fixed",) else str(len(prompt.moves)) for prompt in prompts)
    for kind, share in {"1": 0.46, "2": 0.24, "3": 0.12, "fixed": 0.08, "0": 0.10}.items():
        assert abs(kinds[kind] / 3000 - share) < 4 * math.sqrt(share * (1 - share) / 3000), kind
    firsts = Counter(prompt.moves[0] for prompt in prompts if prompt.moves and prompt.moves != ("fixed",))
    assert set(firsts) == set(MOVES) - {"fixed"}
    total = sum(firsts.values())
    assert all(abs(number / total - 0.1) < 4 * math.sqrt(0.09 / total) for number in firsts.values())
    assert all(first != second for prompt in prompts for first, second in pairwise(prompt.moves))


def test_a_longer_list_begins_with_the_shorter_and_seeds_differ() -> None:
    assert generate_prompts("train", 50, seed=4)[:20] == generate_prompts("train", 20, seed=4)
    assert generate_prompts("train", 20, seed=4) != generate_prompts("train", 20, seed=5)


def test_bad_requests_are_told() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        generate_prompts("train", 0)
    with pytest.raises(ValueError, match="unknown split 'val'"):
        generate_prompts("val", 3)  # type: ignore[arg-type]


def test_a_grammar_that_runs_out_of_prompts_says_how_many_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grammar, "_KINDS", (("none", 1.0),))
    monkeypatch.setattr(grammar, "_STYLED", 0.0)
    monkeypatch.setattr(grammar.words, "SCENES_MOVING", ("{Subject} {place}.",))
    with pytest.raises(ValueError, match=r"no 400 different 'dynamic' prompts; ask for \d+ or fewer") as caught:
        generate_prompts("dynamic", 400)
    count = int(str(caught.value).split("ask for ")[1].split()[0])
    assert len(generate_prompts("dynamic", count)) == count


def test_the_source_world_r1_is_the_shipped_sets(shipped: dict[str, list[dict[str, object]]]) -> None:
    texts = {name: [row["prompt"] for row in prompts] for name, prompts in shipped.items()}
    assert load_prompts("world-r1", 3000, 0) == texts["train"]
    assert load_prompts("world-r1", 500, 0, dynamic=True) == texts["dynamic"]
    assert load_prompts("world-r1", 16, 9001, split="test") == texts["test"][:16]
