"""Whether the asked objects are there: a colour-and-shape detector fitted to the tiny world, which no reward uses.

An object is found by the largest connected blob on its colour's shading line, and named by a linear classifier of the
blob's outline and shading. Thresholds and classifier are fitted to ground-truth clips; accuracy is measured on others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from worldr1.evaluation.blobs import BLOB_FIELDS, largest_blobs, on_shading_line
from worldr1.tinyworld.vocabulary import COLORS, SHAPES

TOLERANCE = 0.20
GREY_TOLERANCE = 0.07  # white shares its line with every grey: haze, ceiling, shadows
WIDEST_ROW = 0.6  # a row of the image that is one colour further than this is sky, haze or wall
CROP = 12
CALIBRATION_FRAMES = 5
SEEN_AREA = 20  # pixels of a 64x64 image from which on a blob's outline tells its shape


@dataclass(frozen=True)
class ObjectDetector:
    """A fitted detector.

    Attributes:
        areas: per colour, the blob area in pixels of a 64x64 image from which on the object counts as there.
        weights: [len(SHAPES), 2 CROP^2 + 1] of the shape classifier, bias last.
        color_accuracy: balanced accuracy of "an object of this colour is there" on ground truth that was not fitted,
            the worst of all colours.
        shape_accuracy: of naming the shape of a found object, on the same clips.
    """

    areas: dict[str, float]
    weights: Tensor
    color_accuracy: float
    shape_accuracy: float

    def presence(self, video: Tensor, asked: Sequence[tuple[str, str]]) -> tuple[float, float]:
        """Shares of the asked objects that are there, by colour alone and by colour and shape.

        Args:
            video: [T,3,H,W] in [0,1].
            asked: (colour, shape) of each object.

        Returns:
            (share by colour, share by colour and shape), nan when no object is asked for.

        Raises:
            ValueError: if a colour or shape is not of the tiny world.
        """
        if not asked:
            return float("nan"), float("nan")
        for color, shape in asked:
            if color not in COLORS or shape not in SHAPES:
                raise ValueError(f"the tiny world has no {color} {shape}; colours {list(COLORS)}, shapes {SHAPES}")
        there, named = 0, 0
        for color, shape in asked:
            found = find(video[None], color)
            if _typical_area(found) >= self.areas[color]:
                there += 1
                named += SHAPES[int(self._shape_scores(found)[0].argmax())] == shape
        return there / len(asked), named / len(asked)

    def _shape_scores(self, found: Found) -> Tensor:
        """Class scores summed over the frames in which the blob is seen, [B, len(SHAPES)]."""
        scores = found.features @ self.weights[:, :-1].T + self.weights[:, -1]
        return (scores * found.seen[..., None]).sum(1)


@dataclass(frozen=True)
class Found:
    """Blobs of one colour in B clips of T frames: area [B,T] in 64x64 pixels, features [B,T,2 CROP^2], seen [B,T]."""

    area: Tensor
    features: Tensor
    seen: Tensor


def find(videos: Tensor, color: str) -> Found:
    """The largest blob of a colour in every frame of videos [B,T,3,H,W]."""
    count, frames, _, height, width = videos.shape
    images = videos.flatten(0, 1).float().cpu().numpy()
    rgb = np.array(COLORS[color], np.float32)
    boxes, labels = _blobs(images, color)
    area = boxes[:, 0] * (64 * 64 / (height * width))
    brightness = np.einsum("nchw,c->nhw", images, rgb) / float(rgb @ rgb)
    return Found(
        area=torch.from_numpy(area).view(count, frames).float(),
        features=_crops(boxes, labels, brightness).view(count, frames, -1),
        seen=torch.from_numpy(area > SEEN_AREA).view(count, frames).float(),
    )


def blob_mask(images: Tensor, color: str) -> Tensor:
    """The largest blob of a colour in images [N,3,H,W], as a mask of zeros and ones [N,H,W]."""
    return torch.from_numpy(_blobs(images.float().cpu().numpy(), color)[1]).float()


def _blobs(images: npt.NDArray[np.float32], color: str) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Boxes [N, BLOB_FIELDS] and labels [N,H,W] of the largest blob of a colour in images [N,3,H,W]."""
    rgb = np.array(COLORS[color], np.float32)
    grey = float(rgb.max() - rgb.min()) < 0.05
    masks = on_shading_line(images, rgb, GREY_TOLERANCE if grey else TOLERANCE)
    masks &= masks.mean(-1, keepdims=True) <= WIDEST_ROW
    if grey:
        masks[:, : round(masks.shape[1] * 38 / 64)] = False  # the camera never tilts: haze stays above this row
    labels = np.zeros(masks.shape, np.int32)
    return largest_blobs(masks, labels), labels


def _crops(boxes: npt.NDArray[np.int32], labels: npt.NDArray[np.int32], brightness: npt.NDArray[np.float32]) -> Tensor:
    """Outline and brightness inside each blob's box, both resized to CROP x CROP: [N, 2 CROP^2]."""
    assert boxes.shape[1] == BLOB_FIELDS
    out = torch.zeros(len(boxes), 2, CROP, CROP)
    for k, (area, top, bottom, left, right) in enumerate(boxes):
        if area == 0:
            continue
        box = np.s_[k, top : bottom + 1, left : right + 1]
        outline = torch.from_numpy(labels[box].astype(np.float32))
        shade = torch.from_numpy(brightness[box]) * outline
        stack = torch.stack([outline, shade])[None]
        out[k] = F.interpolate(stack, size=(CROP, CROP), mode="bilinear", align_corners=False, antialias=True)[0]
    return out.flatten(1)


def _typical_area(found: Found) -> float:
    return float(found.area[0].median())


def fit_detector(
    clips: int = 600, *, seed: int = 0, through: Callable[[Tensor], Tensor] | None = None
) -> ObjectDetector:
    """Fit to ground-truth clips of the train split: two thirds to fit, one third to measure accuracy.

    Args:
        clips: number of clips rendered (static and dynamic, all camera moves).
        seed: of the clips.
        through: videos [B,T,3,H,W] to videos, such as encoding and decoding by the VAE, so that its blur is fitted too.
    """
    videos, asked = _ground_truth(clips, seed)
    if through is not None:
        videos = torch.cat([through(chunk) for chunk in videos.split(32)])
    fitted = torch.arange(clips) % 3 != 2
    areas, accuracies, features, names, tests = {}, [], [], [], []
    for color in COLORS:
        found = find(videos, color)
        area = found.area.median(1).values
        has = torch.tensor([any(color == c for c, _ in objects) for objects in asked])
        areas[color] = _threshold(area[fitted & has], area[fitted & ~has])
        hit, quiet = area[~fitted & has] >= areas[color], area[~fitted & ~has] < areas[color]
        accuracies.append(float((hit.float().mean() + quiet.float().mean()) / 2))
        for k in torch.nonzero(has & (area >= areas[color])).flatten().tolist():
            shape = next(SHAPES.index(s) for c, s in asked[k] if c == color)
            features.append(found.features[k] * found.seen[k][:, None])
            names.append(shape)
            tests.append(not bool(fitted[k]))
    x, y, test = torch.stack(features), torch.tensor(names), torch.tensor(tests)
    weights = _fit_classifier(x[~test], y[~test])
    scores = (x @ weights[:, :-1].T + weights[:, -1]).sum(1)
    return ObjectDetector(
        areas=areas,
        weights=weights,
        color_accuracy=min(accuracies),
        shape_accuracy=float((scores.argmax(1) == y)[test].float().mean()),
    )


def _ground_truth(clips: int, seed: int) -> tuple[Tensor, list[tuple[tuple[str, str], ...]]]:
    from worldr1.camera import MOVES, Trajectory
    from worldr1.tinyworld import render_clips, sample_scene

    rng = np.random.default_rng([seed, 71])
    scenes = [sample_scene(rng, dynamic=k % 2 == 1, split="train") for k in range(clips)]
    moves = [(str(rng.choice(MOVES)),) for _ in range(clips)]
    rendered = render_clips(scenes, [Trajectory.from_moves(m, CALIBRATION_FRAMES) for m in moves])
    return torch.stack([clip.video for clip in rendered]), [scene.objects for scene in scenes]


def _threshold(present: Tensor, absent: Tensor) -> float:
    """Area of the best balanced accuracy; the middle where a whole range of areas is best."""
    candidates = torch.cat([present, absent]).unique()
    edges = torch.cat([candidates[:1], (candidates[1:] + candidates[:-1]) / 2]).clamp_min(1.0)
    accuracy = (present[:, None] >= edges).float().mean(0) + (absent[:, None] < edges).float().mean(0)
    best = edges[accuracy >= accuracy.max() - 1e-6]
    return float((best.min() + best.max()) / 2)


def _fit_classifier(x: Tensor, y: Tensor) -> Tensor:
    """Multinomial logistic regression of summed per-frame scores, ridge-penalised, by L-BFGS. [classes, D + 1]."""
    weights = torch.zeros(len(SHAPES), x.shape[-1] + 1, requires_grad=True)
    optimiser = torch.optim.LBFGS([weights], max_iter=60, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        scores = (x @ weights[:, :-1].T + weights[:, -1]).mean(1)
        value = F.cross_entropy(scores, y) + 1e-3 * (weights[:, :-1] ** 2).sum()
        value.backward()
        return value

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    return weights.detach()
