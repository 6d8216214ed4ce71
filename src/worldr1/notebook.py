"""What a notebook shows of results: self-contained fragments of HTML, every text in them escaped."""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from worldr1.reconstruction.types import Reconstruction
    from worldr1.rewards.types import Scores
    from worldr1.scoring import VideoScores

MOST_ROWS = 32
_PICTURE_SIDE = 200


def video_scores_html(scores: VideoScores) -> str:
    """The numbers of one video, a dash for what is missing, and its warnings."""
    rows = [(name.replace("_", " "), number(value)) for name, value in scores.numbers.items()]
    warnings = "".join(f"<li>{html.escape(warning)}</li>" for warning in scores.warnings)
    return table(("score", "value"), rows) + (f"<ul>{warnings}</ul>" if warnings else "")


def scores_html(scores: Scores) -> str:
    """A row for each sample: its components and their total; a dash for what is missing."""
    names = [*scores.components, "total"]
    columns = [*scores.components.values(), scores.total]
    count = len(scores.total)
    rows = [(str(k), *(number(float(column[k])) for column in columns)) for k in range(min(count, MOST_ROWS))]
    rest = f"<p>{count - MOST_ROWS} more</p>" if count > MOST_ROWS else ""
    return table(("sample", *names), rows) + rest


def reconstruction_html(scene: Reconstruction) -> str:
    """The summary in numbers, the camera's path from above, and the depth of the middle frame (near is bright)."""
    from worldr1.camera.svg import path_svg
    from worldr1.reconstruction.summary import summarise

    summary = summarise(scene)
    rows = [(name.replace("_", " "), number(value)) for name, value in summary.to_dict().items()]
    depth = scene.depth[len(scene.depth) // 2].detach().cpu().float()
    nearness = torch.where(torch.isfinite(depth) & (depth > 0), 1 / depth, torch.zeros_like(depth))
    bright = (nearness / nearness.quantile(0.98).clamp_min(1e-9)).clamp(0, 1)
    height = round(_PICTURE_SIDE * summary.height / max(summary.height, summary.width))
    picture = f'<img alt="depth of the middle frame" height="{height}" src="{png(bright.expand(3, -1, -1))}"/>'
    return table(("scene", "value"), rows) + path_svg(scene.c2w, summary.fov) + picture


def number(value: float | int | None) -> str:
    """Three decimals, whole numbers as they are, a dash for None and nan."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """An HTML table; all texts are escaped."""
    top = "".join(f"<th>{html.escape(text)}</th>" for text in head)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(text)}</td>" for text in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def png(image: Tensor) -> str:
    """A picture [3, H, W] in [0, 1] as a data: address."""
    from PIL import Image

    pixels = (image.detach().cpu().clamp(0, 1) * 255 + 0.5).to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
