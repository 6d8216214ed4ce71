"""`worldr1 train --dry-run`, and what is said when a run cannot start: one sentence, the mend, the exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tiny_pipeline_parts import build_tiny_pipeline
from worldr1.cli import examination
from worldr1.cli.main import main
from worldr1.recipes import load_recipe
from worldr1.recipes.weights import LICENCES


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def _failure(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one sentence of a command that ends with 1."""
    assert main(words) == 1
    captured = capsys.readouterr()
    complaint = [line for line in captured.err.splitlines() if line.startswith("worldr1: ")]
    assert len(complaint) == 1
    assert "Traceback" not in captured.err
    return complaint[0]


def test_json_is_one_document_and_tells_that_weights_are_missing(capsys: pytest.CaptureFixture[str]) -> None:
    clip = ["--clip.frames", "17", "--clip.height", "64", "--clip.width", "64"]
    assert main(["train", "world-r1-small", "--dry-run", "--json", *clip]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["network_evaluations_per_video"] == 44
    assert document["prompts"]["main"] == load_recipe("world-r1-small").prompts.count
    assert document["ready"] is False
    assert document["weights"][0]["command"] == "hf download Wan-AI/Wan2.1-T2V-1.3B-Diffusers"


def test_the_tiny_recipe_is_ready_and_nothing_is_written(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "400")
    assert main(["train", "--dry-run", "--matrix-tflops", "0.1", "--model.gradient-checkpointing", "False"]) == 0
    captured = capsys.readouterr()
    printed = captured.out
    assert "which it shall go on to make so" not in captured.out + captured.err
    assert "network evaluations per trained video: 24 (World-R1's release: 340) = rollout 10 + " in printed
    assert "+ preservation 6" in printed
    assert "once, before the first step: the base samples dynamic prompts to preserve" in printed
    assert "Ready." in printed
    assert list(tmp_path.iterdir()) == []


def test_too_little_memory_is_not_ready(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    build_tiny_pipeline().save_pretrained(tmp_path / "pipeline")
    words = ["train", "--model.path", str(tmp_path / "pipeline"), "--dry-run"]
    monkeypatch.setattr("worldr1.cli.dry_run.gpu_bytes", lambda: 1000)
    assert main(words) == 1
    printed = capsys.readouterr().out
    assert "memory: too little memory: tiny keeps" in printed
    assert "Not ready: see memory." in printed
    assert "Ready." not in printed
    assert main([*words, "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["ready"] is False
    assert [reason["kind"] for reason in document["reasons"]] == ["memory"]


def test_packages_and_the_reward_are_told_and_not_ready(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from worldr1.planning import readiness

    monkeypatch.setattr(readiness, "missing_modules", lambda gaussians: ["einops"])
    reward = ["--reward.reconstructor", "da3", "--reward.judge.name", "server", "--reward.judge.url", "here"]
    assert main(["train", "--dry-run", "--json", *reward]) == 1
    document = json.loads(capsys.readouterr().out)
    assert {reason["kind"] for reason in document["reasons"]} == {"weights", "packages", "reward"}
    assert main(["train", "--dry-run", *reward]) == 1
    printed = capsys.readouterr().out
    assert "packages: Depth Anything 3 needs einops; install with: pip install 'worldr1[da3]'" in printed
    assert "reward: 'here' is no server's address" in printed
    assert "Not ready: see weights, packages, reward." in printed


def test_a_judge_of_unknown_size_is_said_to_be_so(capsys: pytest.CaptureFixture[str]) -> None:
    clip = ["--clip.frames", "17", "--clip.height", "64", "--clip.width", "64"]
    assert main(["train", "world-r1-small", "--dry-run", "--reward.judge.weights", "someone/judge", *clip]) == 1
    printed = " ".join(capsys.readouterr().out.split())
    assert "meta (someone/judge) size not known" in printed
    assert "get it: hf download someone/judge" in printed


def test_a_download_that_lost_its_autoencoder_is_not_ready(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build_tiny_pipeline().save_pretrained(tmp_path / "pipeline")
    (tmp_path / "pipeline" / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    told = _failure(["train", "--model.path", str(tmp_path / "pipeline"), "--run", str(tmp_path / "run")], capsys)
    assert f"holds no diffusion_pytorch_model.safetensors in {tmp_path / 'pipeline' / 'vae'}; give another path" in told
    told = _failure(["train", "--model.path", str(tmp_path / "pipeline"), "--dry-run"], capsys)
    assert "holds no diffusion_pytorch_model.safetensors" in told


def test_json_without_a_dry_run_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--json goes with --dry-run" in _failure(["train", "--json"], capsys)


def test_missing_weights_are_told_before_anything_is_loaded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = _failure(["train", "world-r1-small", "--run", str(tmp_path / "run")], capsys)
    assert "hf download Wan-AI/Wan2.1-T2V-1.3B-Diffusers && hf download depth-anything/DA3-BASE" in told
    assert not (tmp_path / "run" / "recipe.yaml").exists()


def test_a_wrong_revision_is_told_with_those_that_are_here(
    hub: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = hub / "models--owner--model"
    (root / "snapshots" / "c0").mkdir(parents=True)
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text("c0")
    words = ["--model.path", "owner/model", "--model.revision", "v9", "--run", str(tmp_path / "run")]
    told = _failure(["train", "tiny", *words], capsys)
    assert "not here in revision 'v9' (here: main); get it with: hf download owner/model --revision v9" in told


def test_too_little_memory_is_told_before_anything_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    build_tiny_pipeline().save_pretrained(tmp_path / "pipeline")
    monkeypatch.setattr("worldr1.planning.budget.gpu_bytes", lambda: 1000)
    told = _failure(["train", "--model.path", str(tmp_path / "pipeline"), "--run", str(tmp_path / "run")], capsys)
    assert "too little memory: tiny keeps" in told
    assert "take a larger GPU, or lower it with" in told


def test_an_unknown_key_of_a_recipe_is_told_with_the_nearest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.yaml").write_text("reward: {judge: {nmae: tiny}}\n")
    told = _failure(["train", str(tmp_path / "mine.yaml"), "--dry-run"], capsys)
    assert "reward.judge: unknown key 'nmae'; did you mean 'name'?" in told


@pytest.mark.parametrize("extra", [["--dry-run"], ["--run", "RUN"]])
def test_an_empty_prompt_file_is_told(extra: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty.txt").write_text("# nothing\n\n")
    words = [word.replace("RUN", str(tmp_path / "run")) for word in extra]
    told = _failure(["train", "--prompts.main", str(tmp_path / "empty.txt"), *words], capsys)
    assert "empty.txt holds no prompt" in told


def test_a_reward_that_gives_no_number_ends_the_run_with_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from worldr1.rewards.types import Sample, Scores
    from worldr1.rl import assemble

    def silent(samples: list[Sample], use_3d: bool = True) -> Scores:
        good, missing = torch.ones(len(samples)), torch.full((len(samples),), torch.nan)
        return Scores({"traj": good, "recon": missing}, missing)

    monkeypatch.setattr(assemble, "build_composer", lambda recipe: silent)
    build_tiny_pipeline().save_pretrained(tmp_path / "pipeline")
    words = ["--model.path", str(tmp_path / "pipeline"), "--model.max-tokens", "16", "--schedule.groups", "1"]
    words += ["--schedule.group-size", "2", "--sampling.steps", "5", "--clip.frames", "5", "--preserve.weight", "0"]
    told = _failure(["train", *words, "--evaluation.prompts", "0", "--run", str(tmp_path / "run")], capsys)
    assert "none of 2 videos has a reward, as recon gave no number for any of them" in told
    assert "leave it out with --reward.recon 0" in told


def test_a_licence_that_may_have_to_be_accepted_is_told_with_the_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = _failure(["train", "--model.path", "owner/gated", "--run", str(tmp_path / "run")], capsys)
    assert "get it with: hf download owner/gated" in told
    assert (
        "if https://huggingface.co/owner/gated asks for it, accept its licence there and log in: hf auth login" in told
    )


def test_a_wrong_choice_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["train", "--reward.judge.name", "gpt"])
    assert caught.value.code == 2


def test_a_missing_package_and_a_full_gpu_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from worldr1.rl import launch

    for error, mend in (
        (ImportError("Depth Anything 3 needs einops; install with: pip install einops"), "pip install einops"),
        (torch.OutOfMemoryError("CUDA out of memory"), "--dry-run"),
    ):

        def fail(*_: object, error: Exception = error, **__: object) -> None:
            raise error

        monkeypatch.setattr(launch, "_train", fail)
        assert mend in _failure(["train", "--run", str(tmp_path / "run")], capsys)


def test_doctor_tells_licence_and_command_of_every_published_weight() -> None:
    findings = {finding.subject: finding for finding in examination.examine()}
    wan = findings["Wan-AI/Wan2.1-T2V-14B-Diffusers"]
    assert (wan.state, wan.remedy, wan.needed) == ("missing", "hf download Wan-AI/Wan2.1-T2V-14B-Diffusers", False)
    assert "Apache-2.0" in wan.detail
    assert "CC-BY-NC-4.0" in findings["depth-anything/DA3-GIANT-1.1"].detail
    assert "Depth Anything 3" in findings
    cogvideox = findings["zai-org/CogVideoX1.5-5B"].detail
    assert cogvideox.startswith("policy, licence CogVideoX (commercial users register)")
    assert set(LICENCES) <= set(findings)
    assert len(findings) == len(examination.examine())
