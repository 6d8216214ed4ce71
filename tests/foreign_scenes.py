"""Videos that this project's renderer did not make: pictures on walls and cards, drawn by OpenCV along known cameras.

Nothing of `worldr1.tinyworld` or `worldr1.splats` takes part: planes are put into the picture by homographies, far ones
first, at twice the size.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
SPOILS = ("slide", "swim", "grow", "bend")


@dataclass(frozen=True)
class Card:
    """A flat picture in the world: its centre, the half sides as vectors, and what is painted on it."""

    centre: Array
    across: Array
    down: Array
    picture: npt.NDArray[np.uint8]


def sample_cards(rng: np.random.Generator, count: int = 6) -> list[Card]:
    """A wide wall behind and cards before it at several depths, turned at random, some of them leaning."""
    wall = Card(
        np.array([0.0, 0.0, 2.6]), np.array([6.0, 0, rng.uniform(-1, 1)]), np.array([0, 4.0, 0]), _paint(rng, 1200, 900)
    )
    cards = [wall]
    for _ in range(count):
        turn, lean = rng.uniform(-0.6, 0.6), rng.uniform(-0.3, 0.3)
        across = rng.uniform(0.15, 0.35) * np.array([np.cos(turn), 0.0, np.sin(turn)])
        down = rng.uniform(0.15, 0.35) * np.array([0.0, np.cos(lean), np.sin(lean)])
        centre = np.array([rng.uniform(-0.9, 0.9), rng.uniform(-0.35, 0.35), rng.uniform(0.9, 2.1)])
        cards.append(Card(centre, across, down, _paint(rng, 240, 240)))
    return cards


def _paint(rng: np.random.Generator, width: int, height: int) -> npt.NDArray[np.uint8]:
    """Blobs, lines and letters over clouds of several sizes."""
    picture = np.zeros((height, width, 3))
    for cells in (3, 7, 18, 45):
        coarse = rng.uniform(0, 1, (cells, cells, 3)).astype(np.float32)
        picture += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) * rng.uniform(0.4, 1.0)
    picture = np.ascontiguousarray((255 * (picture - picture.min()) / np.ptp(picture)).astype(np.uint8))
    for _ in range(max(6, width // 40)):
        a, b = (tuple(int(v) for v in rng.integers(0, (width, height))) for _ in range(2))
        color = tuple(int(v) for v in rng.integers(0, 256, 3))
        cv2.line(picture, a, b, color, int(rng.integers(2, 8)), cv2.LINE_AA)
        cv2.circle(picture, b, int(rng.integers(5, 40)), color, -1, cv2.LINE_AA)
        cv2.putText(picture, chr(int(rng.integers(65, 91))), a, cv2.FONT_HERSHEY_DUPLEX, 2.0, color, 3, cv2.LINE_AA)
    return picture


def spoilt(cards: list[Card], kind: str, s: float, amount: float = 1.0) -> list[Card]:
    """The cards at the clip fraction `s`, when they slide, grow, or what is painted on everything swims."""
    swing = amount * np.sin(2 * np.pi * 1.25 * s)
    if kind == "slide":
        return [
            cards[0],
            *(
                replace(c, centre=c.centre + 0.10 * swing * np.array([1.0, 0, (-1) ** k]))
                for k, c in enumerate(cards[1:])
            ),
        ]
    if kind == "grow":
        return [
            cards[0],
            *(replace(c, across=c.across * (1 + 0.3 * swing), down=c.down * (1 - 0.3 * swing)) for c in cards[1:]),
        ]
    if kind == "swim":
        return [replace(c, picture=np.roll(c.picture, round(0.03 * swing * c.picture.shape[1]), axis=1)) for c in cards]
    return cards


def draw(
    cards: list[Card], c2w: Array, fov: float, height: int, width: int, bend: float = 0.0
) -> npt.NDArray[np.uint8]:
    """One picture [H, W, 3] of the cards from the camera `c2w` [4, 4]."""
    h, w = 2 * height, 2 * width
    focal = 0.5 * w / np.tan(np.radians(fov) / 2)
    intrinsics = np.array([[focal, 0, w / 2 - 0.5], [0, focal, h / 2 - 0.5], [0, 0, 1.0]])
    w2c = np.linalg.inv(c2w)
    canvas = np.zeros((h, w, 3), np.uint8)
    order = [0, *(1 + np.argsort([-(w2c[2, :3] @ c.centre + w2c[2, 3]) for c in cards[1:]]))]
    for card in (cards[k] for k in order):
        rows, columns = card.picture.shape[:2]
        corner, x, y = card.centre - card.across - card.down, 2 * card.across / columns, 2 * card.down / rows
        plane = np.stack([x, y, corner], axis=1)
        matrix = intrinsics @ (w2c[:3, :3] @ plane + np.outer(w2c[:3, 3], [0, 0, 1.0]))
        cv2.warpPerspective(card.picture, matrix, (w, h), canvas, cv2.INTER_LINEAR, cv2.BORDER_TRANSPARENT)
    if bend:
        rows, columns = np.mgrid[:h, :w].astype(np.float32)
        canvas = cv2.remap(
            canvas,
            columns + np.float32(bend * w) * np.sin(7 * rows / h),
            rows,
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REFLECT,
        )
    return cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA)


def film(
    cards: list[Card], c2w: Array, fov: float, kind: str | None, height: int, width: int
) -> list[npt.NDArray[np.uint8]]:
    """Pictures along cameras [T, 4, 4]; `kind` is one of SPOILS, or None for a scene that stands still."""
    pictures = []
    for t, pose in enumerate(c2w):
        s = t / (len(c2w) - 1)
        bend = 0.02 * np.sin(2 * np.pi * 1.25 * s) if kind == "bend" else 0.0
        pictures.append(draw(spoilt(cards, kind or "", s), pose, fov, height, width, bend))
    return pictures
