"""Keeping Lightning's talk about itself off the screen, and nothing else."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

# Beginnings of messages, as regular expressions. What a user could act on is not among them: missing metrics of a
# callback, lengths of loaders, restored checkpoints.
_BANNERS = (
    "GPU available",
    "TPU available",
    "HPU available",
    "LOCAL_RANK",
    "💡 Tip",
    "You are using a CUDA device",
    "\nDetected KeyboardInterrupt",
    "`Trainer.fit` stopped: `max_epochs",
    "`Trainer(limit_",
)
_WARNINGS = (
    r"The '\w+' does not have many workers",  # advice on speed, given at every run
    r"Consider setting `persistent_workers=True`",
    r"GPU available but not used",
    r"Found \d+ module\(s\) in eval mode",  # left so by the validation before
    r"You defined a `validation_step` but have no `val_dataloader`",
    r"`LightningModule.configure_optimizers` returned `None`",
    r"\w+_dataloader yielded None",  # None batches are part of the contract
    r"Your `\w+_dataloader`'s sampler has shuffling enabled",
    r"The number of training batches \(\d+\) is smaller than the logging interval",
    r"A `OneCycleLR` scheduler is using 'interval'",
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",  # torch about Lightning's code
)


class _NoBanners(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith(_BANNERS)


_FILTER = _NoBanners()
_LOGGERS = ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.rank_zero")


@contextmanager
def quiet() -> Iterator[None]:
    """Leave out Lightning's banners, tips and warnings about itself while it runs for us.

    Warnings about the user's code, from whomever, pass through; so does what callbacks report.
    """
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    added = [logger for logger in loggers if _FILTER not in logger.filters]  # not again in a run within a run
    for logger in added:
        logger.addFilter(_FILTER)
    try:
        with warnings.catch_warnings():
            for message in _WARNINGS:
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        for logger in added:
            logger.removeFilter(_FILTER)
