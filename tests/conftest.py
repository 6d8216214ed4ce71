"""Fixtures of more than one room: a tiny WanPipeline with random weights, headless Chromium."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from browsers import chromium
from tiny_pipeline_parts import build_tiny_pipeline


@pytest.fixture(scope="session")
def _pristine_pipeline() -> Any:
    return build_tiny_pipeline()


@pytest.fixture
def tiny_pipeline(_pristine_pipeline: Any) -> Any:
    """A fresh copy of the tiny random ``WanPipeline``, yours to change."""
    pipeline = type(_pristine_pipeline)(**{name: copy.deepcopy(part) for name, part in _parts(_pristine_pipeline)})
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium; skips where there is none."""
    with chromium() as running:
        yield running


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    """No test depends on what ran before it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def _parts(pipeline: Any) -> list[tuple[str, Any]]:
    names = ("tokenizer", "text_encoder", "vae", "transformer", "scheduler")
    return [(name, getattr(pipeline, name)) for name in names]
