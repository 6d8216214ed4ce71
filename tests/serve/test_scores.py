"""One video in, its scores out."""

from __future__ import annotations

import pytest
import torch
from serving import Telling, mp4, pack, post, raw, refused, service, serving

from worldr1.camera.trajectory import Trajectory
from worldr1.rewards.types import Sample, Scores

pytestmark = pytest.mark.anyio


class Recording(Telling):
    def __init__(self) -> None:
        super().__init__()
        self.samples: list[Sample] = []

    def __call__(self, samples, use_3d=True) -> Scores:
        self.samples += samples
        return super().__call__(samples, use_3d)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float16, torch.bfloat16])
async def test_a_raw_video_reaches_the_reward_exactly(dtype) -> None:
    reward = Recording()
    values = torch.rand(5, 3, 33, 40)
    video = (values * 255).to(dtype) if dtype == torch.uint8 else values.to(dtype)
    async with serving(service(reward)) as client:
        answer = (await post(client, pack(video), "7")).json()
    expected = video.double() / 255 if dtype == torch.uint8 else video.double()
    got = reward.samples[0].video
    assert got.dtype == torch.float32
    assert got.shape == video.shape
    torch.testing.assert_close(got.double(), expected, atol=1e-7, rtol=0)
    assert answer["components"]["mean"] == pytest.approx(float(expected.mean()), abs=1e-6)
    assert answer["components"]["number"] == 7.0
    assert answer["total"] == pytest.approx(7 + float(expected.mean()), abs=1e-5)
    assert answer["problem"] is None


@pytest.mark.parametrize("grey", [40, 200])
async def test_an_mp4_file_is_decoded(grey: int) -> None:
    reward = Recording()
    async with serving(service(reward)) as client:
        response = await post(client, mp4(frames=6, height=48, width=64, grey=grey))
    assert response.status_code == 200, response.text
    assert reward.samples[0].video.shape == (6, 3, 48, 64)
    assert response.json()["components"]["mean"] == pytest.approx(grey / 255, abs=0.02)


async def test_a_missing_score_is_null_and_spoils_no_other() -> None:
    async with serving(service()) as client:
        answer = (await post(client, raw(), "missing 4")).json()
    assert answer == {"components": {"mean": None, "number": 4.0}, "total": None, "problem": None}


async def test_without_3d_only_what_needs_no_reconstruction() -> None:
    reward = Telling()
    async with serving(service(reward)) as client:
        answer = (await post(client, raw(), "4", use_3d=False)).json()
    assert answer == {"components": {"number": 4.0}, "total": 4.0, "problem": None}
    assert reward.kinds == [False]


async def test_a_failed_reward_gives_missing_scores_and_tells_so() -> None:
    async with serving(service()) as client:
        answer = (await post(client, raw(), "fail")).json()
        after = (await post(client, raw(), "9")).json()
    assert answer["total"] is None
    assert answer["components"] == {}
    assert "RuntimeError" in answer["problem"]
    assert after["components"]["number"] == 9.0


@pytest.mark.parametrize("shift", [lambda total: total[:-1], lambda total: torch.cat([total, total])])
async def test_another_number_of_scores_never_shifts_them(shift) -> None:
    class Shifting(Telling):
        def __call__(self, samples, use_3d=True) -> Scores:
            scores = super().__call__(samples, use_3d)
            return Scores(scores.components, shift(scores.total))

    async with serving(service(Shifting())) as client:
        answer = (await post(client, raw(), "9")).json()
    assert answer["total"] is None
    assert answer["problem"]


async def test_the_camera_comes_from_prompt_words_or_poses() -> None:
    reward = Recording()
    asked = Trajectory.from_moves(("orbit left", "push in"), 3, fov=50.0)
    path = {"c2w": asked.c2w.tolist(), "moves": list(asked.moves), "fov": asked.fov}
    async with serving(service(reward)) as client:
        for fields in ({}, {"camera": "push in"}, {"camera": "camera fixed"}, {"trajectory": path}):
            assert (await post(client, raw(), "camera pan left. a box", **fields)).status_code == 200
    prompt, words, fixed, poses = (sample.trajectory for sample in reward.samples)
    assert prompt.moves == ("pan left",)
    assert words.moves == ("push in",)
    assert fixed.moves == ("fixed",)
    assert torch.equal(poses.c2w, asked.c2w)
    assert (poses.moves, poses.fov) == (asked.moves, 50.0)


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"camera": "somersault"}, "names no camera move"),
        ({"camera": "pan left", "trajectory": {"c2w": torch.eye(4).repeat(3, 1, 1).tolist()}}, "not both"),
        ({"trajectory": {"c2w": torch.eye(4).repeat(4, 1, 1).tolist()}}, "4 poses for 3 frames"),
        ({"trajectory": {"c2w": torch.eye(3).repeat(3, 1, 1).tolist()}}, "[T, 4, 4]"),
        ({"trajectory": {"c2w": [[[1.0]], [], [[1.0, 2.0]]]}}, "[T, 4, 4]"),
        ({"trajectory": {"c2w": (torch.eye(4) * torch.tensor([1.0, 2, 1, 1])).repeat(3, 1, 1).tolist()}}, "identity"),
        (
            {"trajectory": {"c2w": [torch.eye(4).tolist(), *torch.full((2, 4, 4), 1e300, dtype=float).tolist()]}},
            "finite",
        ),
        ({"trajectory": {"c2w": [torch.eye(4).tolist(), *torch.zeros(2, 4, 4).tolist()]}}, "rigid"),
        ({"trajectory": {"c2w": torch.eye(4).repeat(3, 1, 1).tolist(), "moves": ["hop"]}}, "Unknown camera move"),
        ({"trajectory": {"c2w": torch.eye(4).repeat(3, 1, 1).tolist(), "fov": 180}}, "trajectory.fov"),
        ({"speed": 3}, "speed"),
        ({"use_3d": "maybe"}, "use_3d"),
        ({"use_3d": 0}, "use_3d"),
        ({"trajectory": {"c2w": torch.eye(4).repeat(3, 1, 1).tolist(), "fov": "64"}}, "trajectory.fov"),
    ],
)
async def test_a_wrong_camera_is_refused_in_one_sentence(fields, word: str) -> None:
    async with serving(service()) as client:
        assert refused(await post(client, raw(), "a box", **fields), 422, word)


async def test_the_reward_and_the_document_are_told() -> None:
    async with serving(service()) as client:
        told = (await client.get("/v1/reward")).json()
        document = (await client.get("/openapi.json")).json()
    assert told["components"]["mean"] == {"weight": 1.0, "needs_reconstruction": True}
    operation = document["paths"]["/v1/scores"]["post"]
    assert {"200", "400", "401", "408", "413", "415", "422", "429", "503"} == set(operation["responses"])
    assert operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].endswith("/ScoreAnswer")
    assert operation["responses"]["422"]["content"]["application/json"]["schema"]["$ref"].endswith("/Problem")
    assert set(operation["requestBody"]["content"]) == {"multipart/form-data"}
