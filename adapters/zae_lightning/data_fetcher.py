"""Data fetcher: loops of Lightning that read a loader without a length only when a batch is due.

Lightning reads one batch ahead where a loader has no length, to know the last batch. Then data that depends on the
model is one update old, as in on-policy reinforcement learning, and random numbers are drawn in another order than in a
plain loop. These loops read a batch when it is due, and learn that the epoch is over when there is none. Where
gradients accumulate, Lightning has to know the last batch before it trains it, so these loops read ahead there as well.
An ``L.Trainer`` of the user always reads ahead.

These loops also request a loader without patching torch's ``DataLoader``. Lightning replaces methods of that class for
a moment in each run, to record how the user's hooks build a loader; with runs in several threads the class would stay
patched.

Classes, functions and attributes of this module are private to Lightning;
tests/unit/zae_lightning/test_data_fetcher.py fails if they change. If the functions that are copied here use other
names, the loops read ahead as Lightning's do.
"""

from __future__ import annotations

from typing import Any

import lightning.pytorch as L
from lightning.pytorch.loops.evaluation_loop import _EvaluationLoop
from lightning.pytorch.loops.fetchers import _DataFetcher, _PrefetchDataFetcher
from lightning.pytorch.loops.fit_loop import _FitLoop
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop

from .dataloader import DataLoaderWrapper
from .function_copies import with_globals
from .performance.evaluation_loop import FastEvaluationLoop
from .performance.training_loop import FastTrainingEpochLoop


def _request_dataloader(source: Any) -> Any:
    return source.dataloader()


def _select_data_fetcher(lightning_trainer: L.Trainer, stage: Any) -> _DataFetcher:
    return _PrefetchDataFetcher(prefetch_batches=0)


class OnDemandFitLoop(_FitLoop):
    """The loop over the epochs of a run."""

    setup_data = with_globals(
        _FitLoop.setup_data, _request_dataloader=_request_dataloader, _select_data_fetcher=_select_data_fetcher
    )


class OnDemandEvaluationLoop(FastEvaluationLoop):
    """The loop over the batches of a validation or test epoch."""

    setup_data = with_globals(_EvaluationLoop.setup_data, _request_dataloader=_request_dataloader)
    reset = with_globals(_EvaluationLoop.reset, _select_data_fetcher=_select_data_fetcher)


class OnDemandTrainingEpochLoop(FastTrainingEpochLoop):
    """The loop over the batches of a training epoch."""

    def on_run_start(self, data_fetcher: _DataFetcher) -> None:
        """Start the epoch; read a batch ahead only where gradients accumulate."""
        assert isinstance(data_fetcher, _PrefetchDataFetcher)
        data_fetcher.prefetch_batches = int(self.trainer.accumulate_grad_batches > 1)
        super().on_run_start(data_fetcher)  # it calls iter(data_fetcher), but in the first epoch of a run
        if (
            data_fetcher.prefetch_batches
            and data_fetcher.length is None
            and not data_fetcher.batches
            and not data_fetcher.done
        ):
            iter(data_fetcher)
        for loader in data_fetcher.combined_loader.flattened:
            if isinstance(loader, DataLoaderWrapper):
                loader.is_read_ahead = bool(data_fetcher.batches)

    def advance(self, data_fetcher: _DataFetcher) -> None:
        """Train a batch. If there is none, the one before was the last."""
        try:
            super().advance(data_fetcher)
        except StopIteration:
            if data_fetcher.done and not self.batch_progress.is_last_batch:
                self._finish_batches(data_fetcher)
            raise

    def _finish_batches(self, data_fetcher: _DataFetcher) -> None:
        """Do what Lightning does in a last batch that it knows: step the epoch's schedulers, and validate."""
        self.batch_progress.is_last_batch = True
        n_stepped = self._batches_that_stepped
        if self.batch_progress.current.ready:
            self.update_lr_schedulers("epoch", update_plateau_schedulers=False)
            self._batches_that_stepped -= 1  # results of a validation are logged at the step of the last batch
        interval = self.trainer.val_check_interval
        if isinstance(interval, float) and interval == 1.0:  # at the end of an epoch, not after a number of batches
            due, self.trainer.val_check_batch = self.trainer.val_check_batch, float("inf")  # at the last batch
            self.on_advance_end(data_fetcher)
            self.trainer.val_check_batch = due
        self._batches_that_stepped = n_stepped


def install_loops(lightning_trainer: L.Trainer) -> None:
    """Give an ``L.Trainer`` this package's loops, in place of Lightning's own.

    They read a loader without a length only when a batch is due, and they are the fast loops of `performance`, which
    run the parts that they know. Loops of other classes stay.

    Parameters
    ----------
    lightning_trainer : lightning.pytorch.Trainer
        A trainer that has not run yet, and gets each loader in a `DataLoaderWrapper`.
    """
    fit_loop = lightning_trainer.fit_loop
    loops: list[tuple[Any, type, type]] = [
        (fit_loop, _FitLoop, OnDemandFitLoop),
        (fit_loop.epoch_loop, _TrainingEpochLoop, OnDemandTrainingEpochLoop),
        (fit_loop.epoch_loop.val_loop, _EvaluationLoop, OnDemandEvaluationLoop),
        (lightning_trainer.test_loop, _EvaluationLoop, OnDemandEvaluationLoop),
    ]
    for loop, original, cls in loops:
        if type(loop) is original:
            loop.__class__ = cls
