"""How long PyTorch's idle threads stay awake under the command line."""

from __future__ import annotations

import os

import pytest

from worldr1 import openmp
from worldr1.cli.main import main


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def test_the_command_line_lets_them_sleep_soon(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert os.environ["GOMP_SPINCOUNT"] == str(openmp.SPIN_COUNT)


@pytest.mark.parametrize(("name", "value"), [("GOMP_SPINCOUNT", "7"), ("OMP_WAIT_POLICY", "active")])
def test_what_the_user_has_set_stays(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    openmp.rest_soon()
    found = {key: os.environ.get(key) for key in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    assert found == {"GOMP_SPINCOUNT": None, "OMP_WAIT_POLICY": None} | {name: value}
