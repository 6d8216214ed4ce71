"""Video policies: one small adapter per model family over its own pipeline."""

from worldr1.policy.base import Conditioning, Policy
from worldr1.policy.diffusers_policy import DiffusersPolicy, LoraSettings
from worldr1.policy.wan import WanPolicy

__all__ = ["Conditioning", "DiffusersPolicy", "LoraSettings", "Policy", "WanPolicy"]
