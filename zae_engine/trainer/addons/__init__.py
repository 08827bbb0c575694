"""Add-ons extend a trainer class: ``Trainer.add_on(SomeAddOn)``."""

from .core import AddOnBase
from .mix_precision import PrecisionMixerAddon, PrecisionMixerMixin
from .mpu import MultiGPUAddon, MultiGPUMixin
from .state_manager import StateManagerAddon, StateManagerMixin
from .web_logger import NeptuneLoggerAddon, NeptuneLoggerMixin, WandBLoggerAddon, WandBLoggerMixin, read_offline_run

__all__ = [
    "AddOnBase",
    "MultiGPUAddon",
    "MultiGPUMixin",
    "NeptuneLoggerAddon",
    "NeptuneLoggerMixin",
    "PrecisionMixerAddon",
    "PrecisionMixerMixin",
    "StateManagerAddon",
    "StateManagerMixin",
    "WandBLoggerAddon",
    "WandBLoggerMixin",
    "read_offline_run",
]
