"""The OpenAPI document tells what the service does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from serving import TOKEN, live, mp4, raw, service

from worldr1.serve.app import build_app

_HERE = Path(__file__).parent
CONFIG = """
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "422"]
"""


def test_every_reference_of_the_document_leads_somewhere() -> None:
    document = build_app(service()).openapi()
    found = set(references(document))
    assert "#/components/schemas/CameraPath" in found
    for reference in found:
        part = document
        for key in reference.removeprefix("#/").split("/"):
            part = part[key]


def references(part: Any) -> Iterator[str]:
    """All of them, at any depth."""
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for value in part.values():
            yield from references(value)
    elif isinstance(part, list):
        for value in part:
            yield from references(value)


@pytest.mark.slow
def test_schemathesis_finds_nothing(tmp_path: Path) -> None:
    pytest.importorskip("schemathesis")
    videos, config = tmp_path / "videos", tmp_path / "schemathesis.toml"
    videos.mkdir()
    for name, content in (("raw", raw()), ("mp4", mp4())):
        (videos / name).write_bytes(content)
    config.write_text(CONFIG)
    environment = {"VIDEOS": str(videos), "SCHEMATHESIS_HOOKS": "schemathesis_hooks", "PYTHONPATH": str(_HERE)}
    running = service()
    with live(running) as (url, _):
        words = ["--config-file", str(config), "run", f"{url}/openapi.json", "--checks", "all", "--seed", "1"]
        options = [
            "--header",
            f"Authorization: Bearer {TOKEN}",
            "--max-examples",
            "300",
            "--generation-database",
            "none",
        ]
        done = subprocess.run(
            [sys.executable, "-m", "schemathesis.cli", *words, *options, "--continue-on-failure", "--no-color"],
            cwd=tmp_path,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
        )
        told = running.metrics.text().decode()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Tested: 4" in done.stdout, done.stdout
    assert "Unresolvable" not in done.stdout, done.stdout
    answers = dict(
        re.findall(r'^worldr1_requests_total{path="/v1/scores",status="(\d+)"} ([\d.]+)', told, re.MULTILINE)
    )
    assert float(answers["200"]) > 50, told
    assert float(answers["422"]) > 50, told
