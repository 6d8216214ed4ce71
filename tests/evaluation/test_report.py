"""The report of a small run: self-contained, complete, honest about what is missing."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from synthetic_run import make_run

from worldr1.cli.main import main
from worldr1.data.video import read_sampled
from worldr1.evaluation import charts
from worldr1.evaluation.report import write_report
from worldr1.evaluation.sections import dynamic_phases

VOID = {"meta", "input", "img", "link", "br", "hr", "rect", "line", "circle"}


class Balance(HTMLParser):
    """Collects tags, attributes and text, and checks that every element is closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("script", "style"):
            self.text += data


def parse(page: str) -> Balance:
    parser = Balance()
    parser.feed(page)
    assert parser.open == []
    return parser


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "tiny-<1>")


@pytest.fixture(scope="module")
def page(run: Path) -> str:
    return write_report(run).read_text(encoding="utf-8")


def test_needs_no_network_and_no_other_file(page: str) -> None:
    assert not re.search(r"https?:|//cdn|@import|url\(", page)
    for tag, attributes in parse(page).seen:
        for name in ("src", "href", "srcset", "data", "poster"):
            value = attributes.get(name)
            assert value is None or value.startswith("data:"), f"{tag} loads {value[:60]}"


def test_shows_numbers_clips_and_guards(run: Path, page: str) -> None:
    result = json.loads((run / "evaluation.json").read_text())
    parsed = parse(page)
    assert f"{result['gap_closed']:.0%}" in parsed.text
    assert f"{result['gain_db']:+.2f} dB" in parsed.text
    assert f"{result['fitted']['gain_db']:+.2f} dB" in parsed.text
    assert sum(tag == "video" for tag, _ in parsed.seen) == 8
    for name in result["guards"]:
        assert name.replace("_", " ") in parsed.text
    assert "all guards inside their bands" in parsed.text
    assert "tiny-<1>" in parsed.text
    assert "<1>" not in page
    assert result["clips"][0]["prompt"] in parsed.text


def test_a_hacked_run_says_so(run: Path, tmp_path: Path) -> None:
    result = json.loads((run / "evaluation.json").read_text())
    result |= {"hacked": True, "hacked_reasons": ["objects fell to 0.270 of the base"], "clips": []}
    (tmp_path / "evaluation.json").write_text(json.dumps(result))
    text = parse(write_report(tmp_path).read_text()).text
    assert "hacked: a guard left its band" in text
    assert "objects fell to 0.270" in text


def test_an_undefined_ratio_is_left_blank(run: Path, tmp_path: Path) -> None:
    result = json.loads((run / "evaluation.json").read_text())
    result["guards"]["objects"] |= {"base": 0.0, "ratio": None, "ci95": [None, None]}
    (tmp_path / "evaluation.json").write_text(json.dumps(result | {"clips": []}))
    parsed = parse(write_report(tmp_path).read_text())
    assert sum("gauge" in (attributes.get("class") or "") for _, attributes in parsed.seen) == len(result["guards"]) - 1


def test_what_was_not_measured_or_is_undecided_is_told_on_top(run: Path, tmp_path: Path) -> None:
    result = json.loads((run / "evaluation.json").read_text())
    empty = {"base": None, "trained": None, "ground_truth": None, "ratio": None, "ci95": [None, None], "inside": False}
    result["guards"]["objects"] |= empty | {"state": "not measured", "missing": {"base": 1.0, "trained": 0.5}}
    result["guards"]["sharpness"] |= {"state": "undecided"}
    (tmp_path / "evaluation.json").write_text(json.dumps(result | {"clips": []}))
    text = parse(write_report(tmp_path).read_text()).text
    assert "no measured guard left its band" in text
    assert "undecided: " in text
    assert "not measured: objects" in text
    assert "without a value: base 100%, trained 50%" in text


def test_before_evaluation_only_training_is_shown(tmp_path: Path) -> None:
    text = parse(write_report(make_run(tmp_path / "run", evaluated=False)).read_text()).text
    assert "Reward while training" in text
    assert "Guards" not in text
    assert "Before and after" not in text


def test_empty_and_damaged_runs_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"neither metrics.jsonl nor evaluation.json"):
        write_report(tmp_path)
    (tmp_path / "evaluation.json").write_text("{")
    with pytest.raises(ValueError, match=r"evaluation\.json is damaged"):
        write_report(tmp_path)


def test_the_command(run: Path) -> None:
    (run / "report.html").unlink(missing_ok=True)
    assert main(["report", str(run)]) == 0
    assert (run / "report.html").is_file()


def test_clips_are_the_videos(run: Path) -> None:
    clip = json.loads((run / "evaluation.json").read_text())["clips"][0]
    trained = read_sampled(run / clip["trained"])
    assert (trained.total, trained.size) == (17, (256, 256))


def test_cameras_start_at_the_identity(run: Path) -> None:
    entries = json.loads((run / "cameras.json").read_text())
    assert entries[0]["asked"][0] == [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]
    assert len(entries[0]["trained"]) == 17
    assert entries[-1]["trained"] is None  # a dynamic prompt: not rebuilt


def test_phases_are_merged() -> None:
    rows = [{"step": k, "phase": "dynamic" if k in (3, 4, 5, 9) else "main"} for k in range(12)]
    assert dynamic_phases(rows) == [(2.5, 5.5), (8.5, 9.5)]


def test_ticks_are_round_and_inside() -> None:
    assert charts.ticks(0, 1) == [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert charts.ticks(18.3, 34.1, 4) == [20, 25, 30]
    assert charts.ticks(-0.021, 0.013, 4) == [-0.02, -0.01, 0.0, 0.01]


def test_line_chart_places_values_linearly_and_breaks_at_gaps() -> None:
    svg = charts.line_chart([0, 1, 2, 3], [0.0, 1.0, float("nan"), 1.0], description="d", smooth=0.0)
    raw = re.search(r'class="raw" d="([^"]+)"', svg)
    assert raw is not None
    assert raw.group(1).count("M") == 2
    xs = [float(x) for x in re.findall(r"[ML]([\d.]+) ", raw.group(1))]
    assert xs == pytest.approx([46, 46 + 362 / 3, 408], abs=0.1)


def test_histogram_shares_sum_to_one() -> None:
    svg = charts.histogram({"base": [1, 1, 2, 5], "trained": []}, x_label="x", description="d", bins=8)
    heights = [float(h) for h in re.findall(r'class="bar base"[^>]*height="([\d.]+)"', svg)]
    tallest = (230 - 34 - 12) / 1.08  # the top bin holds half of the values
    assert sum(heights) / tallest * 0.5 == pytest.approx(1.0, abs=0.01)
