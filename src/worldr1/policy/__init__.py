"""Video policies: one small adapter per model family over its own pipeline."""

from worldr1.policy.base import Conditioning, Policy
from worldr1.policy.wan import LoraSettings, WanPolicy

__all__ = ["Conditioning", "LoraSettings", "Policy", "WanPolicy"]
