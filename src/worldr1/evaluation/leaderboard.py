"""The leaderboard: many scored videos as one HTML page that can be sorted and needs no other file and no network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files

COLUMNS = {
    "total": ("total", "recon, plus traj when a camera was asked for"),
    "recon": ("S_recon", "agreement of the frames with the scene rebuilt from the others"),
    "psnr": ("PSNR, dB", "frames drawn from other frames against the frames"),
    "ssim": ("SSIM", "the same as structural similarity"),
    "lpips": ("LPIPS", "the same as perceptual distance, lower is better"),
    "mvcs": ("MVCS", "confident points land where other frames see them"),
    "rigidity": ("rigidity", "followed points move as those of one rigid scene"),
    "traj": ("S_traj", "the camera moves as asked"),
    "rot_err": ("RotErr, rad", "summed over frames, lower is better"),
    "trans_err": ("TransErr", "summed over frames, lower is better"),
    "cam_mc": ("CamMC", "summed over frames, lower is better"),
    "coverage": ("coverage", "share of pixels that other frames can draw"),
    "camera_travel": ("travel", "length of the camera's path in scene depths"),
    "camera_turn": ("turn, °", "angle between first and last view"),
    "motion": ("motion", "flow that no camera explains, pixels a frame"),
    "smoothness": ("smoothness", "every second frame can be interpolated from its neighbours"),
    "sharpness": ("sharpness", "gradient of the strongest edges"),
}
_LOWER_IS_BETTER = ("lpips", "rot_err", "trans_err", "cam_mc")
_NO_BEST = ("camera_travel", "camera_turn", "motion", "coverage")
_DIGITS = {"psnr": 1, "camera_turn": 1}
_SPARK = (110, 30)


@dataclass(frozen=True)
class Entry:
    """One scored video.

    Attributes:
        name: of the file.
        numbers: score by name, None where it is missing.
        kind: what must be alike for numbers to be compared, such as "17 frames of 64x64".
        warnings: why the numbers cannot be trusted.
        curve: PSNR frame by frame, nan where missing.
        picture: the middle frame as a data: address.
    """

    name: str
    numbers: Mapping[str, float | None]
    kind: str
    warnings: Sequence[str] = ()
    curve: Sequence[float] = ()
    picture: str = ""


def leaderboard_page(entries: Sequence[Entry], unscored: Mapping[str, str], asked: str | None = None) -> str:
    """The whole page, best total first, videos without a total last.

    Args:
        entries: the scored videos.
        unscored: file name to the sentence that says why it has no score.
        asked: what was asked of the camera.
    """
    folder = files("worldr1.evaluation") / "page"
    style = "".join((folder / name).read_text(encoding="utf-8") for name in ("report.css", "leaderboard.css"))
    script = (folder / "leaderboard.js").read_text(encoding="utf-8")
    body = f'<header class="top"><h1>Leaderboard</h1><p class="lead">{escape(_lead(entries, asked))}</p></header>'
    body += _table(entries) if entries else ""
    body += _unscored(unscored)
    body += (
        "<footer><p>Made by <code>worldr1 score</code>. A click on a head sorts by it; missing values stay below. The "
        "small curve is the PSNR of each frame. Bold is the best of a column.</p></footer>"
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Leaderboard · World-R1</title><style>{style}</style></head>"
        f"<body><main>{body}</main><script>{script}</script></body></html>\n"
    )


def _lead(entries: Sequence[Entry], asked: str | None) -> str:
    words = f"{len(entries)} video{'' if len(entries) == 1 else 's'}"
    words += f", asked for: {asked}." if asked else ", no camera asked for."
    kinds = sorted({entry.kind for entry in entries})
    if len(kinds) > 1:
        words += f" They differ in what was scored ({'; '.join(kinds)}): compare only those that are alike."
    return words


def _table(entries: Sequence[Entry]) -> str:
    shown = [name for name in COLUMNS if any(_known(entry, name) is not None for entry in entries)]
    ordered = sorted(entries, key=_rank)
    best = {name: _best(entries, name) for name in shown}
    heads = [_head("video", "name of the file", "ascending"), "<th>by frame</th>"]
    heads += [
        _head(*COLUMNS[name], "ascending" if name in _LOWER_IS_BETTER else "descending", first=name == "total")
        for name in shown
    ]
    top = f"<tr><th>#</th>{''.join(heads)}</tr>"
    home = _home([entry.name for entry in entries])
    rows = "".join(_row(entry, home, shown, best) for entry in ordered)
    return f'<div class="tables"><table class="board"><thead>{top}</thead><tbody>{rows}</tbody></table></div>'


def _head(title: str, note: str, direction: str, first: bool = False) -> str:
    sort = f' aria-sort="{direction}"' if first else ""
    return (
        f'<th scope="col" data-first="{direction}"{sort}>'
        f'<button type="button" title="{escape(note)}">{escape(title)}</button></th>'
    )


def _home(names: Sequence[str]) -> int:
    """How many characters of all names are the folder that they share; it is not shown in every row."""
    first, last = min(names), max(names)
    alike = next((k for k, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    return max(first[:alike].rfind("/"), first[:alike].rfind("\\")) + 1


def _row(entry: Entry, home: int, shown: Sequence[str], best: Mapping[str, float | None]) -> str:
    picture = f'<img alt="middle frame" src="{entry.picture}">' if entry.picture else ""
    warnings = "".join(f"<li>{escape(warning)}</li>" for warning in entry.warnings)
    if warnings:
        count = len(entry.warnings)
        warnings = f"<details><summary>{count} warning{'s' * (count > 1)}</summary><ul>{warnings}</ul></details>"
    text = f'data-text="{escape(entry.name)}" title="{escape(entry.name)}"'
    name = f"<td {text}>{picture}{escape(entry.name[home:])}<small>{escape(entry.kind)}</small>"
    cells = "".join(_cell(_known(entry, n), _DIGITS.get(n, 3), best[n]) for n in shown)
    return f'<tr><td class="rank"></td>{name}{warnings}</td><td>{_spark(entry.curve)}</td>{cells}</tr>'


def _cell(value: float | None, digits: int, best: float | None) -> str:
    if value is None:
        return '<td data-value=""></td>'
    text = f"{value:.{digits}f}"
    return f'<td data-value="{value:.9g}">{f"<b>{text}</b>" if value == best else text}</td>'


def _known(entry: Entry, name: str) -> float | None:
    value = entry.numbers.get(name)
    return value if value is not None and math.isfinite(value) else None


def _rank(entry: Entry) -> float:
    total = _known(entry, "total")
    return math.inf if total is None else -total


def _best(entries: Sequence[Entry], name: str) -> float | None:
    values = [value for entry in entries if (value := _known(entry, name)) is not None]
    if len(values) < 2 or name in _NO_BEST:
        return None
    return min(values) if name in _LOWER_IS_BETTER else max(values)


def _spark(curve: Sequence[float]) -> str:
    known = [value for value in curve if math.isfinite(value)]
    if len(known) < 2:
        return ""
    low, high = min(known), max(known)
    width, height = _SPARK
    points, pen = [], "M"
    for k, value in enumerate(curve):
        if not math.isfinite(value):
            pen = "M"
            continue
        x = 2 + (width - 4) * k / (len(curve) - 1)
        y = height - 3 - (height - 6) * (value - low) / ((high - low) or 1.0)
        points.append(f"{pen}{x:.1f} {y:.1f}")
        pen = "L"
    text = f"PSNR by frame, {low:.1f} to {high:.1f} dB"
    path = f'<path d="{"".join(points)}"/>'
    return f'<svg class="spark" viewBox="0 0 {width} {height}" role="img"><title>{text}</title>{path}</svg>'


def _unscored(unscored: Mapping[str, str]) -> str:
    if not unscored:
        return ""
    rows = "".join(f"<li><b>{escape(name)}</b>: {escape(sentence)}</li>" for name, sentence in unscored.items())
    return f'<section><h2>Not scored</h2><ul class="unscored">{rows}</ul></section>'
