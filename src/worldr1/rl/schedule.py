"""Periodic decoupled training: when the 3D reward counts and when it rests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Phase:
    """Where a training step lies.

    Attributes:
        kind: ``"main"`` (all rewards, camera prompts) or ``"dynamic"`` (general reward alone, dynamic prompts).
        cycle: how many pairs of phases lie behind it.
        step: index within the phase, from 0.
    """

    kind: Literal["main", "dynamic"]
    cycle: int
    step: int

    @property
    def use_3d(self) -> bool:
        """Whether the 3D reward counts."""
        return self.kind == "main"


@dataclass(frozen=True)
class PhaseSchedule:
    """``main_steps`` with the 3D reward, then ``dynamic_steps`` without it, over and over (World-R1, section 3.4).

    Attributes:
        main_steps: length of the main phase, at least 1.
        dynamic_steps: length of the dynamic phase; 0 leaves it out.

    Raises:
        ValueError: for lengths outside these bounds.
    """

    main_steps: int = 100
    dynamic_steps: int = 50

    def __post_init__(self) -> None:
        if self.main_steps < 1 or self.dynamic_steps < 0:
            raise ValueError(
                "phases need main_steps >= 1 and dynamic_steps >= 0, "
                f"got main_steps={self.main_steps}, dynamic_steps={self.dynamic_steps}"
            )

    def phase(self, step: int) -> Phase:
        """The phase of training step ``step`` (from 0); a pure function.

        Raises:
            ValueError: for a negative step.
        """
        if step < 0:
            raise ValueError(f"step must not be negative, got {step}")
        cycle, within = divmod(step, self.main_steps + self.dynamic_steps)
        if within < self.main_steps:
            return Phase("main", cycle, within)
        return Phase("dynamic", cycle, within - self.main_steps)
