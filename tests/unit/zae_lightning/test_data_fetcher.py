"""Data fetcher: a loader without a length is read when a batch is due, with the counts that Lightning has otherwise."""

from __future__ import annotations

import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loops.evaluation_loop import _EvaluationLoop
from lightning.pytorch.loops.fetchers import _DataFetcher, _PrefetchDataFetcher
from lightning.pytorch.loops.fit_loop import _FitLoop
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop
from torch.utils.data import DataLoader
from zae_lightning import data_fetcher
from zae_lightning.function_copies import with_globals

from tests.conftest import Classifier


class Stream:
    """A loader without a length that notes when it is read."""

    def __init__(self, dataset, events, name="train", batches=3):
        self.dataset, self.events, self.name, self.batches = dataset, events, name, batches

    def __iter__(self):
        for _, batch in zip(range(self.batches), DataLoader(self.dataset, 8), strict=False):
            self.events.append(f"read {self.name}")
            yield batch
        self.events.append(f"end of {self.name}")


class Noting(Classifier):
    def logging(self, step_dict):
        super().logging(step_dict)
        self.events.append(f"step {self.mode}")


@pytest.fixture
def noting(make):
    def build(**kwargs):
        trainer = make(Noting, **kwargs)
        trainer.events = []
        return trainer

    return build


EPOCH = ["read train", "step train"] * 3 + ["end of train"] + ["read test", "step test"] * 3 + ["end of test"]


def test_each_batch_is_read_after_the_step_of_the_one_before(noting, dataset):
    trainer = noting()
    trainer.run(2, Stream(dataset, trainer.events), Stream(dataset, trainer.events, "test"))
    assert trainer.events == EPOCH * 2


def test_where_gradients_accumulate_a_batch_is_read_ahead_and_the_last_ones_are_trained(noting, dataset):
    trainer = noting(lightning={"accumulate_grad_batches": 2})
    trainer.run(2, Stream(dataset, trainer.events))
    assert trainer.events[:3] == ["read train", "read train", "step train"]
    assert trainer.events.count("read train") == trainer.events.count("step train") == 6
    assert trainer.lightning_trainer.global_step == 4  # the third batch of an epoch alone


def test_accumulation_that_a_callback_starts_later_reads_ahead_from_then_on(noting, dataset):
    scheduler = L.callbacks.GradientAccumulationScheduler({0: 1, 1: 2})
    trainer = noting(callbacks=[scheduler])
    trainer.run(2, Stream(dataset, trainer.events))
    assert trainer.events[:8] == [*["read train", "step train"] * 3, "end of train", "read train"]
    assert trainer.events[8:10] == ["read train", "step train"]
    assert trainer.lightning_trainer.global_step == 3 + 2


class Counts(Callback):
    """Collects Lightning's counts where callbacks and loggers read them."""

    def __init__(self):
        self.seen = []

    def on_validation_start(self, trainer, module):
        self.note("validation", trainer)

    def on_train_epoch_end(self, trainer, module):
        self.note("end", trainer)

    def on_train_batch_end(self, trainer, module, *args):
        self.note("batch", trainer)

    def note(self, event, trainer):
        loop = trainer.fit_loop.epoch_loop
        progress = loop.batch_progress.state_dict()
        is_last = progress.pop("is_last_batch")
        self.seen.append(
            (event, trainer.global_step, trainer.current_epoch, progress, loop._batches_that_stepped)
            + ((is_last,) if event != "batch" else ())
        )


@pytest.mark.parametrize("arguments", [{}, {"check_val_every_n_epoch": 2}, {"val_check_interval": 2}])
def test_the_counts_are_those_of_a_loader_with_a_length(noting, dataset, arguments):
    seen, progress = [], []
    for loader in (list(DataLoader(dataset, 8)), Stream(dataset, [])):
        counts = Counts()
        trainer = noting(callbacks=[counts], lightning=arguments)
        trainer.run(2, loader, [next(iter(DataLoader(dataset, 8)))])
        trainer.run(1, loader, [next(iter(DataLoader(dataset, 8)))])
        seen.append(counts.seen)
        progress.append(dict(trainer._zae_state.records.lightning_progress))
    assert seen[0] == seen[1]
    assert progress[0] == progress[1]


def test_a_stream_that_ends_before_limit_train_batches_is_validated(noting, dataset):
    trainer = noting(lightning={"limit_train_batches": 5})
    trainer.run(1, Stream(dataset, trainer.events), Stream(dataset, trainer.events, "test"))
    assert trainer.events == EPOCH
    limited = noting(lightning={"limit_train_batches": 2})
    limited.run(1, Stream(dataset, limited.events), Stream(dataset, limited.events, "test", 1))
    assert limited.events == ["read train", "step train"] * 2 + ["read test", "step test", "end of test"]


def test_an_epoch_without_a_batch_is_validated(noting, dataset):
    trainer = noting()
    trainer.run(1, Stream(dataset, trainer.events, batches=0), Stream(dataset, trainer.events, "test"))
    assert trainer.events == EPOCH[6:]


def test_a_batch_depends_on_the_weights_of_the_step_before(make):
    class OnPolicy:
        def __init__(self, model):
            self.model, self.weights = model, []

        def __iter__(self):
            for _ in range(3):
                self.weights.append(self.model.weight.detach().clone())
                yield torch.ones(4, 10), torch.zeros(4).long()

    trainer = make()
    loader = OnPolicy(trainer.model)
    trainer.run(1, loader)
    assert not torch.equal(loader.weights[0], loader.weights[1])
    assert not torch.equal(loader.weights[1], loader.weights[2])


def test_the_users_own_trainer_reads_ahead(noting, dataset):
    trainer = noting()
    lightning_trainer = L.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    lightning_trainer.fit(trainer.lightning_module, Stream(dataset, trainer.events))
    assert trainer.events[:3] == ["read train", "read train", "step train"]
    assert type(lightning_trainer.fit_loop) is _FitLoop


def test_the_private_names_of_lightning_are_there():
    copies = [
        (_FitLoop.setup_data, ["_request_dataloader", "_select_data_fetcher"]),
        (_EvaluationLoop.setup_data, ["_request_dataloader"]),
        (_EvaluationLoop.reset, ["_select_data_fetcher"]),
    ]
    for function, names in copies:
        assert set(names) <= set(function.__code__.co_names) & set(function.__globals__)
    for own in (data_fetcher.OnDemandFitLoop, data_fetcher.OnDemandEvaluationLoop):
        assert own.setup_data.__globals__["_request_dataloader"] is data_fetcher._request_dataloader
    trainer = L.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    epoch_loop = trainer.fit_loop.epoch_loop
    assert type(trainer.fit_loop) is _FitLoop
    assert type(epoch_loop) is _TrainingEpochLoop
    assert type(epoch_loop.val_loop) is type(trainer.test_loop) is _EvaluationLoop
    assert epoch_loop.batch_progress.is_last_batch is False
    assert epoch_loop.batch_progress.current.ready == epoch_loop._batches_that_stepped == 0
    assert callable(epoch_loop.on_advance_end)
    assert callable(epoch_loop.update_lr_schedulers)
    fetcher = _PrefetchDataFetcher(prefetch_batches=0)
    assert isinstance(fetcher, _DataFetcher)
    assert (fetcher.batches, fetcher.done, fetcher.length) == ([], False, None)


def test_a_name_that_lightning_does_not_have_leaves_its_function():
    assert with_globals(_FitLoop.setup_data, _another_name=None) is _FitLoop.setup_data
    assert with_globals(_FitLoop.setup_data, log=None) is not _FitLoop.setup_data
