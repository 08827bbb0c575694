"""Add-ons extend a trainer class: ``Trainer.add_on(SomeAddOn)``."""

from .core import AddOnBase
from .mix_precision import PrecisionMixerAddon
from .mpu import MultiGPUAddon
from .state_manager import StateManagerAddon
from .web_logger import NeptuneLoggerAddon, WandBLoggerAddon, read_offline_run

__all__ = [
    "AddOnBase",
    "MultiGPUAddon",
    "NeptuneLoggerAddon",
    "PrecisionMixerAddon",
    "StateManagerAddon",
    "WandBLoggerAddon",
    "read_offline_run",
]
