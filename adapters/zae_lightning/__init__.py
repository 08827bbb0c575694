"""zae-engine's adapter to PyTorch Lightning.

`fit` and `test` run a zae-engine trainer, `launch` does so in several processes; ``module.py`` shows what becomes of
it. `zae_engine` calls these when something runs, so most people never import this package.

>>> import zae_lightning
>>> callable(zae_lightning.fit)
True
"""

from lightning.pytorch import Trainer as LightningTrainer

from .batch_module import BatchModule, make_module
from .counts import now as counts_now
from .module import StepModule
from .parts import kind_of_part
from .processes import ProcessFailed, connect
from .resuming import callback_states
from .runtime import fit, launch, test

__all__ = [
    "BatchModule",
    "LightningTrainer",
    "ProcessFailed",
    "StepModule",
    "callback_states",
    "connect",
    "counts_now",
    "fit",
    "kind_of_part",
    "launch",
    "make_module",
    "test",
]
