"""The sections of the report as HTML; each returns "" when the run holds nothing for it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from worldr1.evaluation import charts

if TYPE_CHECKING:
    from worldr1.evaluation.report import RunRecord

SIDES = {"base": "Base", "trained": "Trained", "ground_truth": "Ground truth"}
STYLES = {"base": "base", "trained": "trained", "ground_truth": "truth"}
FPS, FRAMES = 8, 17

COMPONENTS = {
    "total": "R, the whole reward of the phase",
    "recon": "S_recon, agreement with the rebuilt scene",
    "meta": "S_meta, the scene seen off the path",
    "traj": "S_traj, camera as asked",
    "general": "R_gen, general preference",
}
METRIC_NAMES = {
    "psnr": ("Re-rendering PSNR", "dB; key frames drawn from the others along estimated cameras"),
    "recon": ("S_recon", ""),
    "meta": ("S_meta", ""),
    "traj": ("S_traj", ""),
    "general": ("R_gen", ""),
    "coverage": ("Coverage", "share of pixels that other frames can draw"),
    "rot_err_deg": ("Rotation error", "degrees a frame, after alignment"),
    "trans_err": ("Translation error", "scene depths a frame, after alignment"),
    "residual_flow": ("Residual flow", "pixels a frame, whole image, dynamic prompts; defects count as flow here"),
    "grain": ("Grain", "standard deviation of pixel noise"),
}
_DIGITS = {"grain": 5}  # 3 for all others
FITTED_NAMES = {
    "psnr": ("Fitted splats: PSNR", "dB on frames left out, true trajectory; never part of the reward"),
    "ssim": ("Fitted splats: SSIM", ""),
    "lpips": ("Fitted splats: LPIPS", "lower is better"),
}


@dataclass(frozen=True)
class Clip:
    """One prompt's clips: side ("base", "trained", "ground_truth") to data address, and to PSNR where known."""

    prompt: str
    index: int
    sides: Mapping[str, str]
    psnr: Mapping[str, float]


def assemble_page(run: RunRecord) -> str:
    """The whole page."""
    folder = files("worldr1.evaluation") / "page"
    style = (folder / "report.css").read_text(encoding="utf-8")
    script = (folder / "report.js").read_text(encoding="utf-8")
    sections = (before_and_after, reward_curves, spread, metrics_table, guards_table, cameras_in_space, two_modes)
    body = "".join([header(run), *(section(run) for section in sections), footer(run)])
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(run.name)} · World-R1</title><style>{style}</style></head>"
        f"<body><main>{body}</main><script>{script}</script></body></html>\n"
    )


def header(run: RunRecord) -> str:
    """Name, verdict and the numbers that matter."""
    evaluation = run.evaluation
    parts = [f"<h1>{escape(run.name)}</h1>"]
    if run.recipe:
        parts.append(f'<p class="lead">{escape(_recipe_line(run))}</p>')
    if evaluation:
        hacked = evaluation["hacked"]
        words = ("bad", "hacked: a guard left its band") if hacked else _no_guard_left(evaluation["guards"])
        parts.append(f'<p><span class="badge {words[0]}">{escape(words[1])}</span></p>')
        reasons = "".join(f"<li>{escape(reason)}</li>" for reason in evaluation["hacked_reasons"])
        parts.append(f'<ul class="reasons">{reasons}</ul>' if reasons else "")
        parts.append(_figures(evaluation))
    return f'<header class="top">{"".join(parts)}</header>'


def _no_guard_left(guards: Mapping[str, Any]) -> tuple[str, str]:
    """Style and words of the badge; files of before told no states."""

    def named(state: str) -> str:
        return ", ".join(name.replace("_", " ") for name, guard in guards.items() if guard.get("state") == state)

    undecided, unknown = named("undecided"), named("not measured")
    words = "no measured guard left its band" if unknown else "all guards inside their bands"
    words += f"; undecided: {undecided}" if undecided else ""
    words += f"; not measured: {unknown}" if unknown else ""
    return "good" if not unknown else "", words


def _recipe_line(run: RunRecord) -> str:
    recipe = run.recipe
    model, objective = recipe.get("model", {}), recipe.get("objective", {}).get("name", "")
    learns = f"LoRA of rank {model.get('rank')}" if model.get("adapter") == "lora" else "all weights"
    seconds = sum(row.get("time/total") or 0.0 for row in run.training)
    time = f", {seconds / 60:.1f} minutes" if seconds else ""
    steps = f"{len(run.training)} training steps{time}, " if run.training else ""
    return f"{model.get('path', '?')} post-trained by {objective}, {learns}; {steps}seed {recipe.get('seed', '?')}"


def _figures(evaluation: Mapping[str, Any]) -> str:
    ci = evaluation["ci95"]
    low, high = (f"{100 * value:.0f}" for value in ci["gap_closed"])
    cells = [
        (f"{evaluation['gap_closed']:.0%}", f"of the gap to ground truth closed (95%: {low} to {high}%)"),
        (f"{evaluation['gain_db']:+.2f} dB", f"re-rendering PSNR (95%: {_range(ci['gain_db'])})"),
        (f"{evaluation['psnr_base']:.1f} → {evaluation['psnr_trained']:.1f}", "dB, base to trained"),
        (f"{evaluation['psnr_ground_truth']:.1f} dB", "ground truth through the autoencoder"),
    ]
    fitted = evaluation.get("fitted")
    if fitted:
        cells.append((f"{fitted['gain_db']:+.2f} dB", "by fitted splats, an evaluator that training never saw"))
    return (
        f'<div class="figures">{"".join(f"<div class=figure><b>{a}</b><span>{b}</span></div>" for a, b in cells)}</div>'
    )


def before_and_after(run: RunRecord) -> str:
    """Clips side by side, the same noise, moving together; camera paths under them."""
    if not run.clips:
        return ""
    cameras = {entry["index"]: entry for entry in run.cameras} if run.evaluation else {}
    cards = []
    for clip in run.clips:
        shown = [side for side in ("base", "trained") if side in clip.sides]
        figures = "".join(
            f'<figure><video src="{clip.sides[side]}" muted playsinline preload="auto"></video>'
            f'<figcaption><b class="name-{STYLES[side]}">{SIDES[side]}</b> {_db(clip.psnr.get(side))}</figcaption>'
            "</figure>"
            for side in shown
        )
        cards.append(f'<article class="card"><h3>{escape(clip.prompt)}</h3><div class="pair">{figures}</div></article>')
        if clip.index in cameras:
            cards[-1] = cards[-1].removesuffix("</article>") + _path_view(cameras[clip.index]) + "</article>"
    player = (
        '<div class="player"><button id="play" type="button">Pause</button>'
        f'<input id="time" type="range" min="0" value="0" step="1" aria-label="frame" data-fps="{FPS}" '
        f'data-frames="{run.recipe.get("clip", {}).get("frames", FRAMES)}"></div>'
    )
    legend = _key("asked", "base", "trained") if cameras else ""
    text = "Held-out prompts. Both models start from the same noise; all clips move together."
    if cameras:
        text += " Below each pair: the camera from above, as asked and as estimated from the clip."
    return _section("Before and after", text, f'{legend}{player}<div class="pairs">{"".join(cards)}</div>')


def _path_view(entry: Mapping[str, Any]) -> str:
    paths = {name: entry[name] for name in ("asked", "base", "trained") if entry.get(name)}
    if len(paths) < 2:
        return ""
    return charts.top_view(paths, description=f"camera paths from above for: {entry['prompt']}")


def reward_curves(run: RunRecord) -> str:
    """Each component over the steps, phases as bands, held-out evaluations as dots."""
    if not run.training:
        return ""
    bands = dynamic_phases(run.training)
    cells = []
    for name, title in COMPONENTS.items():
        column = f"reward/{name}"
        if not any(row.get(column) is not None for row in run.training):
            continue
        marks = [(row["step"], row[column]) for row in run.held_out if row.get(column) is not None and name != "total"]
        chart = charts.line_chart(
            [row["step"] for row in run.training],
            [_number(row.get(column)) for row in run.training],
            description=f"{title} over training steps",
            phases=bands,
            marks=marks,
        )
        cells.append(_chart(escape(title), chart))
    legend = '<div class="key"><span class="trained"><i></i>smoothed</span>'
    legend += '<span class="band"><i></i>dynamic phase, R_gen alone</span>' if bands else ""
    legend += "<span>○ held-out prompts</span></div>" if run.held_out else "</div>"
    return _section("Reward while training", "", f'{legend}<div class="charts">{"".join(cells)}</div>')


def dynamic_phases(training: Sequence[Mapping[str, Any]]) -> list[tuple[float, float]]:
    """(first, last) step of every run of consecutive dynamic steps."""
    bands: list[tuple[float, float]] = []
    for row in training:
        if row.get("phase") != "dynamic":
            continue
        step = float(row["step"])
        if bands and step == bands[-1][1] + 1:
            bands[-1] = (bands[-1][0], step)
        else:
            bands.append((step, step))
    return [(first - 0.5, last + 0.5) for first, last in bands]


def spread(run: RunRecord) -> str:
    """Histogram of the PSNR over videos, and the two evaluators against each other."""
    rows = run.evaluation.get("videos", [])
    groups = {STYLES[side]: [_number(row.get(side, {}).get("psnr")) for row in rows] for side in SIDES}
    if not rows or not any(value == value for value in groups["base"]):
        return ""
    histogram = charts.histogram(groups, x_label="re-rendering PSNR, dB", description="PSNR of all held-out clips")
    cells = [_chart("Share of clips by re-rendering PSNR", histogram)]
    fitted = run.evaluation.get("fitted")
    if fitted:
        both = {
            STYLES[side]: (
                [_number(row.get(side, {}).get("psnr")) for row in rows],
                [_number(row.get(side, {}).get("fitted_psnr")) for row in rows],
            )
            for side in SIDES
        }
        plot = charts.scatter(
            both, x_label="re-rendering PSNR, dB", y_label="fitted splats, dB", description="the two evaluators"
        )
        title = f"Two evaluators, rank correlation {_number(fitted['rank_correlation']):.2f}"
        cells.append(_chart(title, plot))
    body = f'{_key("base", "trained", "truth")}<div class="charts">{"".join(cells)}</div>'
    return _section("Every held-out clip", "", body)


def metrics_table(run: RunRecord) -> str:
    """Base, trained and ground truth with intervals."""
    evaluation = run.evaluation
    rows = _metric_rows(evaluation.get("metrics", {}), METRIC_NAMES)
    rows += _metric_rows(evaluation.get("fitted", {}), FITTED_NAMES)
    if not rows:
        return ""
    head = "".join(f"<th>{name}</th>" for name in SIDES.values())
    return _section("Metrics", "Means over held-out prompts; below, 95% intervals by bootstrap.", _table(head, rows))


def _metric_rows(section: Mapping[str, Any], names: Mapping[str, tuple[str, str]]) -> list[str]:
    rows = []
    for name, (title, note) in names.items():
        if name not in section:
            continue
        cells, digits = [], _DIGITS.get(name, 3)
        for side in SIDES:
            entry = section[name].get(side)
            value = f"{entry['value']:.{digits}f}<small>{_range(entry['ci95'], digits)}</small>" if entry else ""
            cells.append(f"<td>{value}</td>")
        rows.append(f"<tr><td>{title}<small>{note}</small></td>{''.join(cells)}</tr>")
    return rows


def guards_table(run: RunRecord) -> str:
    """What must not suffer: ratio trained / base against its band."""
    guards = run.evaluation.get("guards", {})
    if not guards:
        return ""
    rows = []
    for name, guard in guards.items():
        means = ["" if guard[side] is None else f"{guard[side]:.3f}" for side in SIDES]
        ratio, gauge = "", ""
        if None not in (guard["ratio"], *guard["ci95"]):
            ratio = f"{guard['ratio']:.3f}<small>{_range(guard['ci95'], 3)}</small>"
            low, high = guard["ci95"]
            gauge = _gauge(guard["ratio"], low, high, guard["band"], guard["inside"])
        rows.append(
            f"<tr><td>{escape(name.replace('_', ' '))}<small>{escape(guard['meaning'])}</small></td>"
            f"<td>{means[0]}</td><td>{means[1]}</td><td>{means[2]}</td><td>{ratio}</td>"
            f'<td class="wide">{gauge}</td>'
            f"<td>{_state(guard)}</td></tr>"
        )
    accuracy = run.evaluation["object_detector_accuracy"]
    note = (
        f"Trained over base; the red mark is the band, {next(iter(guards.values()))['band']}. On ground truth the "
        f"object detector tells colours with an accuracy of {accuracy['color']:.3f} (the worst colour) and shapes with "
        f"{accuracy['color_and_shape_given_color']:.3f}."
    )
    head = "<th>Base</th><th>Trained</th><th>Ground truth</th><th>Ratio</th>"
    head += '<th class="wide">0.8 to 1.2</th><th></th>'
    return _section("Guards", note, _table(head, rows))


def _state(guard: Mapping[str, Any]) -> str:
    missing = [f"{side} {share:.0%}" for side, share in guard.get("missing", {}).items() if share]
    note = f"<small>without a value: {', '.join(missing)}</small>" if missing else ""
    return str(guard.get("state", "inside" if guard["inside"] else "left")) + note


def _gauge(ratio: float, low: float, high: float, band: float, inside: bool) -> str:
    def place(value: float) -> float:
        return min(100.0, max(0.0, (value - 0.8) / 0.4 * 100))

    width = max(place(high) - place(low), 1.0)
    return (
        f'<div class="gauge{"" if inside else " out"}"><u style="left:{place(low):.1f}%;width:{width:.1f}%"></u>'
        f'<s style="left:{place(band):.1f}%"></s><b style="left:{place(ratio):.1f}%"></b></div>'
    )


def cameras_in_space(run: RunRecord) -> str:
    """A canvas that can be turned: asked and estimated cameras of one clip."""
    shown = [entry for entry in run.cameras if entry.get("base") or entry.get("trained")]
    if not shown:
        return ""
    options = "".join(f'<option value="{k}">{escape(entry["prompt"])}</option>' for k, entry in enumerate(shown))
    data = json.dumps(shown).replace("</", "<\\/")
    body = (
        f'{_key("asked", "base", "trained")}<div class="stage"><select id="clip" aria-label="prompt">{options}</select>'
        '<canvas id="stage" tabindex="0" role="img" aria-label="camera paths in space"></canvas></div>'
        f'<script type="application/json" id="cameras">{data}</script>'
    )
    return _section("Cameras in space", "Drag to turn, scroll to zoom. The cross is the scene's centre.", body)


def two_modes(run: RunRecord) -> str:
    """The spread of the base's samples, when it was measured."""
    if not run.modes_picture:
        return ""
    image = f'<img class="sheet" alt="histogram and frames of both humps" src="{run.modes_picture}">'
    return _section("The two modes of the base", "Samples by re-rendering PSNR, and frames of both humps.", image)


def footer(run: RunRecord) -> str:
    """How the numbers came about."""
    extent = run.evaluation.get("extent")
    made = "<p>Made by <code>worldr1 report</code>."
    if extent:
        made += (
            f" Evaluated by <code>worldr1 evaluate</code> on {extent['prompts']} static and {extent['dynamic']} "
            f"dynamic prompts of scenes that no training saw, seed {extent['seed']}."
        )
    else:
        made += " <code>worldr1 evaluate</code> adds the comparison of base and trained model on held-out prompts."
    return f"<footer>{made}</p></footer>"


def _section(title: str, intro: str, body: str) -> str:
    words = f'<p class="soft">{intro}</p>' if intro else ""
    return f"<section><h2>{title}</h2>{words}{body}</section>"


def _chart(title: str, svg: str) -> str:
    return f'<figure class="card"><h3>{title}</h3>{svg}</figure>'


def _table(head: str, rows: Sequence[str]) -> str:
    top = f"<thead><tr><th></th>{head}</tr></thead>"
    return f'<div class="tables"><table>{top}<tbody>{"".join(rows)}</tbody></table></div>'


def _key(*names: str) -> str:
    words = {"asked": "asked", "base": "base", "trained": "trained", "truth": "ground truth"}
    return f'<div class="key">{"".join(f"<span class={n}><i></i>{words[n]}</span>" for n in names)}</div>'


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)


def _db(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} dB"


def _range(bounds: Sequence[float], digits: int = 2) -> str:
    return f"{bounds[0]:.{digits}f} to {bounds[1]:.{digits}f}"
