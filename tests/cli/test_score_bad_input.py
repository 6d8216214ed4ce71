"""What people hand to `worldr1 score`: it scores, or says in one sentence why not; no traceback and no hang."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from odd_videos import audio, clip, encode, folder, images
from worldr1.camera.formats import to_json
from worldr1.camera.trajectory import Trajectory
from worldr1.cli.main import main

pytestmark = pytest.mark.timeout(60)


@dataclass(frozen=True)
class Shelf:
    """A new folder, and the frames of one good clip (7 frames of 48x64) to make files of."""

    path: Path
    good: list[np.ndarray]

    def file(self, name: str = "clip.mkv", **options: Any) -> Path:
        return encode(self.path / name, self.good, **options)

    def written(self, name: str, content: bytes) -> Path:
        (self.path / name).write_bytes(content)
        return self.path / name

    def posed(self, text: str, name: str = "poses.json") -> list[object]:
        return [self.file(), "--trajectory", self.written(name, text.encode())]


Make = Callable[[Shelf], "Path | list[object]"]


@pytest.fixture(scope="session")
def orbit() -> torch.Tensor:
    return clip()


@pytest.fixture
def shelf(orbit: torch.Tensor, tmp_path: Path) -> Shelf:
    return Shelf(tmp_path, images(orbit))


def _damaged(path: Path, start: float, end: float) -> Path:
    """Overwrites a stretch of a file."""
    content = bytearray(path.read_bytes())
    a, b = int(start * len(content)), int(end * len(content))
    content[a:b] = np.random.default_rng(0).bytes(b - a)
    path.write_bytes(bytes(content))
    return path


def _shortened(path: Path, share: float) -> Path:
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    return path


def _fifo(shelf: Shelf) -> Path:
    os.mkfifo(shelf.path / "pipe.mp4")
    return shelf.path / "pipe.mp4"


def _linked(shelf: Shelf, name: str, target: str) -> Path:
    (shelf.path / name).symlink_to(target)
    return shelf.path / name


def _bomb(shelf: Shelf) -> Path:
    """A PNG whose head promises 60000x60000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    head = chunk(b"IHDR", (60000).to_bytes(4, "big") * 2 + bytes([8, 0, 0, 0, 0]))
    body = chunk(b"IDAT", zlib.compress(bytes(10**6))) + chunk(b"IEND", b"")
    return shelf.written("bomb.png", b"\x89PNG\r\n\x1a\n" + head + body)


def _folder_with(shelf: Shelf, name: str, content: bytes) -> Path:
    path = folder(shelf.path / "frames", shelf.good)
    (path / name).write_bytes(content)
    return path


def _two_sizes(shelf: Shelf) -> Path:
    return folder(shelf.path / "frames", [*shelf.good[:3], shelf.good[3][:40]])


def _empty_folder(shelf: Shelf) -> Path:
    (shelf.path / "nothing").mkdir()
    return shelf.path / "nothing"


def _poses(frames: int = 7, **changes: object) -> str:
    return json.dumps({**json.loads(to_json(Trajectory.from_moves(("orbit left",), frames))), **changes})


def _skewed() -> str:
    poses = Trajectory.from_moves(("orbit left",), 7).c2w.clone()
    poses[3, 0, 0] = 2.0
    return _poses(c2w=poses.tolist())


REFUSED: dict[str, tuple[Make, str]] = {
    "not a video": (lambda s: s.written("note.mp4", b"not a video"), "cannot be read as a video"),
    "a text file": (lambda s: s.written("note.txt", b"once upon a time\n" * 50), "cannot be read as a video"),
    "random bytes": (lambda s: s.written("a.mp4", np.random.default_rng(0).bytes(40_000)), "video"),
    "a zip file": (lambda s: s.written("a.webm", b"PK\x03\x04" + bytes(3000)), "video"),
    "subtitles": (lambda s: s.written("a.srt", b"1\n00:00:01,000 --> 00:00:02,000\nHello\n"), "not a video"),
    "a playlist": (
        lambda s: s.written("a.m3u8", b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://localhost:9/a.ts\n"),
        "video",
    ),
    "zero bytes": (lambda s: s.written("a.mp4", b""), "empty (0 bytes)"),
    "cut off in its head": (lambda s: _shortened(s.file("a.mp4", codec="libx264"), 0.1), "video"),
    "missing": (lambda s: s.path / "no-such-file.mp4", "no such file"),
    "one frame": (lambda s: encode(s.path / "a.mkv", s.good[:1]), "1 frame of 48x64; it needs 3 frames"),
    "two frames": (lambda s: encode(s.path / "a.mkv", s.good[:2]), "2 frames of 48x64; it needs 3 frames"),
    "a single picture": (lambda s: encode(s.path / "a.png", s.good[:1], "png", "rgb24"), "it needs 3 frames"),
    "1x1 pixels": (lambda s: encode(s.path / "a.mkv", [f[:1, :1] for f in s.good]), "1x1 pixels"),
    "a ribbon": (lambda s: encode(s.path / "a.mkv", [np.tile(f, (1, 40, 1)) for f in s.good]), "30 times"),
    "60000x60000 pixels": (_bomb, "video"),
    "sound only": (lambda s: audio(s.path / "a.m4a"), "holds no video"),
    "a pipe": (_fifo, "save the video to a file first"),
    "a device": (lambda s: Path(os.devnull), "save the video to a file first"),
    "an empty folder": (_empty_folder, "holds no pictures"),
    "a folder of other files": (lambda s: s.file().parent, "holds no pictures"),
    "a folder with a broken picture": (lambda s: _folder_with(s, "frame 99.png", b"oops"), "frame 99.png"),
    "a folder with an empty picture": (
        lambda s: _folder_with(s, "frame 99.png", b""),
        "frame 99.png: the file is empty",
    ),
    "a folder of two sizes": (_two_sizes, "another size"),
    "a loop of links": (lambda s: _linked(s, "loop.mp4", "loop.mp4"), "cannot be opened"),
    "a link to nothing": (lambda s: _linked(s, "gone.mp4", "nowhere.mp4"), "no such file"),
    "too long a name": (lambda s: s.path / ("a" * 300 + ".mp4"), "cannot be opened"),
    "poses for more frames": (lambda s: s.posed(_poses(99)), "99 poses and the video 7 frames"),
    "poses for fewer frames": (lambda s: s.posed(_poses(3)), "3 poses and the video 7 frames"),
    "a pose that is not a number": (lambda s: s.posed(_poses(c2w=[[[float("nan")] * 4] * 4] * 7)), "poses.json"),
    "poses that are not rigid": (lambda s: s.posed(_skewed()), "not rigid"),
    "poses that are no JSON": (lambda s: s.posed("{"), "not JSON"),
    "poses in a file of another kind": (lambda s: s.posed("1 2 3", "poses.csv"), "ends in .json or .txt"),
    "poses with too few numbers": (lambda s: s.posed("\n1 2 3\n", "poses.txt"), "must have 19"),
    "no file of poses": (lambda s: [s.file(), "--trajectory", s.path / "no.json"], "No such file"),
}


USAGE: dict[str, tuple[Make, str]] = {
    "no move": (lambda s: [s.file(), "--camera", "sideways"], "tilt up"),
    "no words": (lambda s: [s.file(), "--camera", ""], "names no camera move"),
    "two cameras": (lambda s: [*s.posed(_poses()), "--camera", "pan left"], "not both"),
    "a table into no folder": (lambda s: [s.file(), "--csv", s.path / "no" / "a.csv"], "cannot be written"),
    "a page onto a folder": (lambda s: [s.file(), "--page", s.path], "cannot be written"),
    "a table onto a folder": (lambda s: [s.file(), "--csv", s.path], "cannot be written"),
}


def _jumps(s: Shelf) -> Path:
    return encode(s.path / "a.mkv", [*s.good[:4], *images(clip(("push in",), frames=4).flip(1))])


def _seen_through(s: Shelf) -> list[np.ndarray]:
    return images(clip(), alpha=torch.ones(48, 64).index_fill_(1, torch.arange(20), 0.0))


def _noise() -> list[np.ndarray]:
    return images(torch.rand(7, 3, 48, 64, generator=torch.Generator().manual_seed(0)))


def _huge(s: Shelf) -> Path:
    return encode(
        s.path / "a.avi", [np.kron(f, np.ones((90, 120, 1), np.uint8)) for f in s.good[:3]], "mjpeg", "yuvj420p"
    )


def _sixteen_bits(s: Shelf) -> Path:
    return folder(s.path / "frames", s.good, "Frame{}.PNG", pix_fmt="rgb48be")


SCORED: dict[str, tuple[Make, str | None]] = {
    "H.264 in mp4": (lambda s: s.file("a.mp4", codec="libx264", pix_fmt="yuv420p"), None),
    "VP9 in webm": (lambda s: s.file("a.webm", codec="libvpx-vp9", pix_fmt="yuv420p", options={"cpu-used": "8"}), None),
    "gif": (lambda s: s.file("a.gif", codec="gif", pix_fmt="rgb8"), ""),
    "a folder of pictures": (lambda s: folder(s.path / "frames", s.good), None),
    "a folder of 16 bit pictures": (_sixteen_bits, None),
    "a folder with notes in it": (lambda s: _folder_with(s, "notes.txt", b"hello"), None),
    "cut off in its middle": (
        lambda s: _shortened(s.file("a.avi", codec="mjpeg", pix_fmt="yuvj420p"), 0.7),
        "breaks off",
    ),
    "damaged in its middle": (lambda s: _damaged(s.file("a.mp4", codec="libx264", pix_fmt="yuv420p"), 0.6, 0.7), ""),
    "something behind its end": (
        lambda s: s.written("b.mp4", s.file("a.mp4", codec="libx264").read_bytes() + b"x" * 999),
        None,
    ),
    "variable frame rate": (lambda s: s.file(stamps=(0, 10, 15, 80, 90, 200, 210)), None),
    "29.97 frames a second": (lambda s: s.file(rate=Fraction(30000, 1001)), None),
    "a frame in three seconds": (lambda s: s.file(rate=Fraction(1, 3)), None),
    "a thousand frames a second": (lambda s: s.file(rate=Fraction(1000)), None),
    "long": (lambda s: encode(s.path / "a.mkv", images(clip(frames=65))), None),
    "black": (lambda s: encode(s.path / "a.mkv", [f * 0 for f in s.good]), "hardly any texture"),
    "white": (lambda s: encode(s.path / "a.mkv", [f * 0 + 255 for f in s.good]), "hardly any texture"),
    "white noise": (lambda s: encode(s.path / "a.mkv", _noise()), "hardly resemble each other"),
    "a still picture": (lambda s: encode(s.path / "a.mkv", s.good[:1] * 5), "still camera"),
    "a pan": (lambda s: encode(s.path / "a.mkv", images(clip(("pan left",)))), "turns and hardly travels"),
    "a tilt": (lambda s: encode(s.path / "a.mkv", images(clip(("tilt up",)))), "turns and hardly travels"),
    "a cut": (_jumps, "a cut before the scored frame 4"),
    "a world that bends": (lambda s: encode(s.path / "a.mkv", images(clip(kind="mix", strength=1.5))), ""),
    "portrait": (lambda s: encode(s.path / "a.mkv", images(clip(height=64, width=40))), None),
    "a phone held upright": (lambda s: s.file("a.mp4", codec="libx264", pix_fmt="yuv420p", turn=90), ""),
    "an odd size": (lambda s: encode(s.path / "a.mkv", images(clip(height=51, width=67))), None),
    "pixels that are not square": (lambda s: s.file("a.mp4", codec="libx264", aspect=Fraction(4, 3)), ""),
    "32x32 pixels": (lambda s: encode(s.path / "a.mkv", images(clip(height=32, width=32))), ""),
    "8K": (_huge, ""),
    "grey": (lambda s: s.file(pix_fmt="gray"), None),
    "10 bit": (lambda s: s.file(pix_fmt="yuv420p10le"), None),
    "transparent": (
        lambda s: encode(s.path / "a.mov", _seen_through(s), "qtrle", "argb"),
        "transparent pixels were laid over black",
    ),
    "opaque alpha": (lambda s: encode(s.path / "a.mkv", images(clip(), torch.ones(48, 64)), pix_fmt="bgra"), None),
    "with sound": (lambda s: s.file("a.mp4", codec="libx264", pix_fmt="yuv420p", sound=True), None),
    "a wrong extension": (lambda s: s.file("a.mp4", codec="libx264", pix_fmt="yuv420p").rename(s.path / "a.jpg"), None),
    "no extension": (lambda s: s.file().rename(s.path / "clip"), None),
    "unicode and spaces in its name": (lambda s: s.file("ein schöner Flug \N{HELICOPTER} 視頻.mkv"), None),
    "a name like markup": (lambda s: s.file("[bold]a[red].mkv"), None),
    "a name like a pattern": (lambda s: s.file().rename(s.path / "frame%03d.png"), None),
    "a name like an address": (lambda s: s.file().rename(s.path / "http:concat|.mp4"), None),
    "a link": (lambda s: _linked(s, "link.mkv", str(s.file())), None),
    "poses for every frame": (lambda s: s.posed(_poses()), None),
    "a still camera asked for": (lambda s: [s.file(), "--camera", "fixed"], None),
    "five moves asked for": (lambda s: [s.file(), "--camera", "pan left, tilt up, push in, roll left, pull out"], None),
}


def _run(made: Path | list[object]) -> int:
    words = made if isinstance(made, list) else [made]
    return main(["score", *map(str, words), "--json"])


@pytest.mark.parametrize("kind", REFUSED)
def test_it_says_in_one_sentence_why_it_cannot(kind: str, shelf: Shelf, capfd: pytest.CaptureFixture[str]) -> None:
    make, told = REFUSED[kind]
    assert _run(make(shelf)) == 1
    captured = capfd.readouterr()
    assert captured.err.startswith("worldr1: ")
    assert captured.err.count("\n") == 1
    assert told in captured.err
    if captured.out:
        assert [row["error"] in captured.err for row in json.loads(captured.out)["videos"]] == [True]


@pytest.mark.parametrize("kind", USAGE)
def test_wrong_usage_has_its_own_exit_code(kind: str, shelf: Shelf, capfd: pytest.CaptureFixture[str]) -> None:
    make, told = USAGE[kind]
    assert _run(make(shelf)) == 2
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert told in captured.err


@pytest.mark.parametrize("kind", SCORED)
def test_it_scores_with_a_warning_where_due(kind: str, shelf: Shelf, capfd: pytest.CaptureFixture[str]) -> None:
    make, warned = SCORED[kind]
    assert _run(make(shelf)) == 0
    captured = capfd.readouterr()
    assert captured.err == ""
    row = json.loads(captured.out, parse_constant=pytest.fail)["videos"][0]
    assert row["error"] is None
    assert 0.0 <= row["recon"] <= 1.0
    assert 0.0 <= row["coverage"] <= 1.0
    assert len(row["curves"]["psnr"]) == len(row["frames"]["used"]) <= 33
    if warned is None:
        assert row["warnings"] == []
        assert row["recon"] > 0.7
    else:
        assert any(warned in warning for warning in row["warnings"]) or not warned


def test_an_unreadable_file_is_told(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    file = shelf.file()

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert _run(file) == 1
    assert "permission denied" in capfd.readouterr().err


def test_at_least_forty_kinds_are_listed() -> None:
    assert len(REFUSED) + len(SCORED) >= 40
