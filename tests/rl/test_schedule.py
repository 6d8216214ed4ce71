"""Phases at their borders."""

from __future__ import annotations

import pytest

from worldr1.rl import Phase, PhaseSchedule


def test_borders() -> None:
    schedule = PhaseSchedule(main_steps=100, dynamic_steps=50)
    assert schedule.phase(0) == Phase("main", 0, 0)
    assert schedule.phase(99) == Phase("main", 0, 99)
    assert schedule.phase(100) == Phase("dynamic", 0, 0)
    assert schedule.phase(149) == Phase("dynamic", 0, 49)
    assert schedule.phase(150) == Phase("main", 1, 0)
    assert schedule.phase(100).use_3d is False
    assert schedule.phase(150).use_3d is True


def test_without_dynamic_steps_it_is_always_main() -> None:
    schedule = PhaseSchedule(main_steps=3, dynamic_steps=0)
    assert {schedule.phase(step).kind for step in range(20)} == {"main"}


def test_shares_over_whole_cycles() -> None:
    kinds = [PhaseSchedule(7, 3).phase(step).kind for step in range(50)]
    assert kinds.count("dynamic") == 15


def test_bad_lengths_are_named() -> None:
    with pytest.raises(ValueError, match="main_steps=0"):
        PhaseSchedule(main_steps=0)
    with pytest.raises(ValueError, match="dynamic_steps=-1"):
        PhaseSchedule(dynamic_steps=-1)
    with pytest.raises(ValueError, match="not be negative"):
        PhaseSchedule().phase(-1)
