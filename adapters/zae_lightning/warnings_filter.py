"""Keeping Lightning's talk about itself off the screen, and nothing else."""

from __future__ import annotations

import logging
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# Beginnings of messages. What a user could act on is not among them: missing metrics of a callback, restored
# checkpoints.
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
_WARNINGS = re.compile(
    r"The '\w+' does not have many workers"  # advice on speed, given at every run
    r"|Consider setting `persistent_workers=True`"
    r"|GPU available but not used"
    r"|Found \d+ module\(s\) in eval mode"  # left so by the validation before
    r"|You defined a `validation_step` but have no `val_dataloader`"
    r"|`LightningModule.configure_optimizers` returned `None`"
    r"|\w+_dataloader yielded None"  # None batches are part of the contract
    r"|`training_step` returned `None`"  # so is switching to test mode in the middle of an epoch
    r"|Your `\w+_dataloader`'s sampler has shuffling enabled"
    r"|The number of training batches \(\d+\) is smaller than the logging interval"
    r"|A `OneCycleLR` scheduler is using 'interval'"
    r"|`isinstance\(treespec, LeafSpec\)` is deprecated"  # torch about Lightning's code
)
_LOGGERS = ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.rank_zero")

_lock = threading.Lock()
_running = 0


class _Banners(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return not (_running and record.getMessage().startswith(_BANNERS))


class _WarningsWhileRunning:
    """Stands where a filter of `warnings` has a pattern, and matches only while something runs.

    Adding and removing filters for each run would make Python forget which warnings it has shown, undo filters that the
    user sets in between, and mix up runs in several threads.
    """

    def match(self, text: str) -> Any:
        return _running and _WARNINGS.match(text)


_BANNER_FILTER, _PATTERN = _Banners(), _WarningsWhileRunning()


@contextmanager
def suppress_lightning_output() -> Iterator[None]:
    """Leave out Lightning's banners, tips and warnings about itself while it runs for us.

    Warnings about the user's code, from whomever, pass through; so does what callbacks report.
    """
    global _running
    with _lock:
        _running += 1
        for name in _LOGGERS:
            logging.getLogger(name).addFilter(_BANNER_FILTER)  # no second time
        filters: list[Any] = warnings.filters  # type: ignore[assignment]
        if not any(entry[1] is _PATTERN for entry in filters):
            warnings.filterwarnings("ignore")
            action, _, category, module, line = filters[0]
            filters[0] = (action, _PATTERN, category, module, line)
    try:
        yield
    finally:
        with _lock:
            _running -= 1
