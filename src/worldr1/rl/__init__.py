"""Reinforcement learning: advantages, objectives, phases and slow copies."""

from worldr1.rl.advantage import Advantages, group_advantages
from worldr1.rl.ema import Ema, linear_decay, warm_decay
from worldr1.rl.grpo import FlowGRPO, GRPOSettings
from worldr1.rl.nft import DiffusionNFT, NFTSettings
from worldr1.rl.objectives import LossTerm, Objective, summarise
from worldr1.rl.schedule import Phase, PhaseSchedule

__all__ = [
    "Advantages",
    "DiffusionNFT",
    "Ema",
    "FlowGRPO",
    "GRPOSettings",
    "LossTerm",
    "NFTSettings",
    "Objective",
    "Phase",
    "PhaseSchedule",
    "group_advantages",
    "linear_decay",
    "summarise",
    "warm_decay",
]
