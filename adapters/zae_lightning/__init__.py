"""zae-engine's adapter to PyTorch Lightning.

`fit` and `test` run a zae-engine trainer; ``module.py`` shows what becomes of it. `zae_engine` calls these when
something runs, so most people never import this package.

>>> import zae_lightning
>>> callable(zae_lightning.fit)
True
"""

from lightning.pytorch import Trainer as LightningTrainer

from .module import BatchModule, StepModule, make_module
from .runtime import fit, test

__all__ = ["BatchModule", "LightningTrainer", "StepModule", "fit", "make_module", "test"]
