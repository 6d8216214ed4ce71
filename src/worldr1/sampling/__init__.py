"""Sampling: single steps with their probabilities, and whole rollouts."""

from worldr1.sampling.rollout import Observer, Rollout, rollout
from worldr1.sampling.stepper import Law, Step, cps_step, log_prob, ode_step, sde_step

__all__ = ["Law", "Observer", "Rollout", "Step", "cps_step", "log_prob", "ode_step", "rollout", "sde_step"]
