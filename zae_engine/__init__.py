"""zae-engine: write a `train_step` and a `test_step`; PyTorch Lightning runs them.

>>> from zae_engine.trainer import Trainer
>>> from zae_engine.schedulers import CosineAnnealingScheduler
"""

__version__ = "1.0.0"
