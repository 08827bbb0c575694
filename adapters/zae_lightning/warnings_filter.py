"""Warnings filter: hiding the messages of Lightning about itself, and no others."""

from __future__ import annotations

import logging
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# Prefixes of messages. Messages that users can act on are shown: missing metrics of a callback, restored checkpoints.
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
    r"The '\w+' does not have many workers"  # advice on speed, repeated for every run
    r"|Consider setting `persistent_workers=True`"
    r"|GPU available but not used"
    r"|Found \d+ module\(s\) in eval mode"  # the previous validation has set it
    r"|You defined a `validation_step` but have no `val_dataloader`"
    r"|`LightningModule.configure_optimizers` returned `None`"
    r"|\w+_dataloader yielded None"  # zae-engine skips None batches
    r"|`training_step` returned `None`"  # the user may switch to test mode during an epoch
    r"|Your `\w+_dataloader`'s sampler has shuffling enabled"
    r"|The number of training batches \(\d+\) is smaller than the logging interval"
    r"|A `OneCycleLR` scheduler is using 'interval'"
    r"|You have overridden `\w+` in `LightningModule` but have passed in a"  # the generated module always has
    r"|Your `IterableDataset` has `__len__` defined"  # torch warns where the length is wrong
    r"|`isinstance\(treespec, LeafSpec\)` is deprecated"  # torch warns of Lightning's code
)
_LOGGERS = (
    *("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.rank_zero"),
    *("pytorch_lightning.utilities.rank_zero", "lightning_fabric.utilities.rank_zero"),  # if the program imports it
)

_lock = threading.Lock()
_n_running = 0


class _BannerFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return not (_n_running and record.getMessage().startswith(_BANNERS))


class _RunPattern:
    """A pattern for one permanent filter of `warnings`; it matches only during runs.

    A filter for each run would make Python forget which warnings it has shown, remove filters that the user sets during
    a run, and fail for runs in several threads.
    """

    def match(self, text: str) -> Any:
        return _n_running and _WARNINGS.match(text)


_BANNER_FILTER = _BannerFilter()
_FILTER = ("ignore", _RunPattern(), Warning, None, 0)


@contextmanager
def suppress_lightning_output() -> Iterator[None]:
    """Hide Lightning's banners, tips and warnings about itself during a run.

    Warnings about the user's code and messages of callbacks are shown.
    """
    global _n_running
    with _lock:
        _n_running += 1
        for name in _LOGGERS:
            logging.getLogger(name).addFilter(_BANNER_FILTER)  # logging adds a filter once
        _put_first(_FILTER)
    try:
        yield
    finally:
        with _lock:
            _n_running -= 1


def _put_first(entry: tuple[Any, ...]) -> None:
    """Put a filter before all those of the user that do something else than ignore."""
    # A direct change of the list, unlike filterwarnings, does not make Python forget which warnings it has shown.
    filters: list[Any] = warnings.filters  # type: ignore[assignment]
    for other in filters:
        if other is entry:
            return
        if other[0] != "ignore":
            break
    filters[:] = [entry, *(other for other in filters if other is not entry)]
