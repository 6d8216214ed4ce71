"""What the guards know of the tiny world: thresholds fitted to ground truth, kept as JSON beside this file.

`python -m worldr1.evaluation.calibration` fits them again (a minute on one core).
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

from worldr1.evaluation.motion import MotionScale, fit_motion_scale
from worldr1.evaluation.objects import ObjectDetector, fit_detector

logger = logging.getLogger(__name__)
PATH = Path(__file__).with_name("calibration.json")


@dataclass(frozen=True)
class Calibration:
    """The fitted object detector and the scale of the dynamic degree."""

    detector: ObjectDetector
    motion: MotionScale


def fit_calibration(seed: int = 0) -> Calibration:
    """Fit to ground-truth clips of the train split."""
    return Calibration(detector=fit_detector(seed=seed), motion=fit_motion_scale(seed=seed))


def save_calibration(calibration: Calibration, path: Path = PATH) -> None:
    """Write a calibration as JSON."""
    detector, motion = calibration.detector, calibration.motion
    document = {
        "detector": {
            "areas": detector.areas,
            "color_accuracy": detector.color_accuracy,
            "shape_accuracy": detector.shape_accuracy,
            "weights": [[round(float(w), 5) for w in row] for row in detector.weights],
        },
        "motion": {"still": motion.still, "moving": motion.moving},
    }
    path.write_text(json.dumps(document) + "\n", encoding="utf-8")


@lru_cache(maxsize=1)
def load_calibration(path: Path = PATH) -> Calibration:
    """Read a calibration, by default the shipped one."""
    document = json.loads(path.read_text(encoding="utf-8"))
    detector = dict(document["detector"])
    weights = torch.tensor(detector.pop("weights"))
    return Calibration(ObjectDetector(weights=weights, **detector), MotionScale(**document["motion"]))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    fitted = fit_calibration()
    save_calibration(fitted)
    logger.info(
        "wrote %s: colours told apart with %.3f, shapes with %.3f; motion %s",
        PATH.name,
        fitted.detector.color_accuracy,
        fitted.detector.shape_accuracy,
        fitted.motion,
    )
