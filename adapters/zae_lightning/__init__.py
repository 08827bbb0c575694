"""Adapter: it runs zae-engine trainers on PyTorch Lightning.

`fit` and `test` run a trainer in this process, `launch` runs it in several processes. ``module.py`` shows what each of
Lightning's hooks does. `zae_engine` imports this package when something runs; most users never import it.

>>> import zae_lightning
>>> callable(zae_lightning.fit)
True
"""

from lightning.pytorch import Trainer as LightningTrainer

from .callback_states import callback_states
from .checkpoint_files import find_last_checkpoint, has_checkpoint_plugin, read_checkpoint_file
from .closures import requires_closure
from .datamodule import is_lightning_data_module, overridden_hooks
from .kinds import kind_of_object
from .launchers.monitor import ProcessFailed
from .launchers.process_group import connect
from .manual_module import ManualOptimizationModule, make_module
from .module import AutomaticOptimizationModule
from .monitors import check_monitors
from .progress import current_progress
from .runner import attached_data_module, fit, launch, test
from .several_loaders import one_loader
from .stopping import StopReason, stop_reason

__all__ = [
    "AutomaticOptimizationModule",
    "LightningTrainer",
    "ManualOptimizationModule",
    "ProcessFailed",
    "StopReason",
    "attached_data_module",
    "callback_states",
    "check_monitors",
    "connect",
    "current_progress",
    "find_last_checkpoint",
    "fit",
    "has_checkpoint_plugin",
    "is_lightning_data_module",
    "kind_of_object",
    "launch",
    "make_module",
    "one_loader",
    "overridden_hooks",
    "read_checkpoint_file",
    "requires_closure",
    "stop_reason",
    "test",
]
