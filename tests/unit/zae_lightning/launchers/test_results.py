"""Results: a run of a trainer's copy is applied to the trainer, in place."""

from __future__ import annotations

import pickle
import threading

import pytest
import torch
from lightning.pytorch.callbacks import Callback
from zae_lightning.launchers.object_paths import named_objects
from zae_lightning.launchers.results import apply_results, collect_results


class Counting(Callback):
    def __init__(self):
        self.epochs = 0

    def on_train_epoch_end(self, trainer, pl_module):
        self.epochs += 1


def run_copy(trainer, *loaders, change=lambda twin: None):
    """Run a copy of the trainer, as another process has it, and return it with its results."""
    twin, *its_loaders = pickle.loads(pickle.dumps((trainer, *loaders)))
    objects = named_objects(twin, tuple(its_loaders))
    twin.run(2, *its_loaders)
    change(twin)
    return twin, collect_results(twin, objects)


# pickling drops the wrapper that a scheduler puts around step
@pytest.mark.filterwarnings(r"ignore:Seems like `optimizer\.step")
def test_the_trainer_is_as_if_it_had_run(make, loader, valid_loader):
    trainer = make(optimizer=torch.optim.Adam, scheduler=lambda o: torch.optim.lr_scheduler.StepLR(o, 1))
    twin, data = run_copy(trainer, loader, valid_loader)
    metrics = apply_results(trainer, named_objects(trainer, (loader, valid_loader)), data)
    assert torch.equal(trainer.model.weight, twin.model.weight)
    assert list(trainer.history) == list(twin.history)
    assert torch.equal(torch.stack(trainer.get_loss_history()), torch.stack(twin.get_loss_history()))
    assert trainer.scheduler.last_epoch == 2
    assert trainer.progress_checker.get_epoch() == 3
    assert metrics["train_loss"] == twin.lightning_trainer.callback_metrics["train_loss"]
    assert trainer._zae_state.records.lightning_progress["steps"] == 6
    states = zip(trainer.optimizer.state.values(), twin.optimizer.state.values(), strict=True)
    assert all(torch.equal(own["exp_avg"], its["exp_avg"]) for own, its in states)


def test_the_random_numbers_continue_after_those_of_the_run(make, loader):
    trainer = make()
    _, data = run_copy(trainer, loader)
    expected = torch.rand(2)
    torch.manual_seed(5)
    apply_results(trainer, named_objects(trainer, (loader,)), data)
    torch.manual_seed(5)
    assert not torch.equal(expected, torch.rand(2))
    apply_results(trainer, named_objects(trainer, (loader,)), data)
    assert torch.equal(expected, torch.rand(2))


def test_objects_keep_their_identity(make, loader):
    trainer = make(optimizer=torch.optim.Adam, callbacks=Counting())
    trainer.notes = {"old": 1}

    def objects():
        optimizing = trainer.model, trainer.model.weight, trainer.optimizer
        return [*optimizing, trainer.callbacks[0], trainer.log_train, trainer.notes, trainer.history]

    before = objects()
    _, data = run_copy(trainer, loader, change=lambda twin: twin.notes.update(new=2))
    apply_results(trainer, named_objects(trainer, (loader,)), data)
    assert all(old is new for old, new in zip(before, objects(), strict=True))
    assert trainer.optimizer.param_groups[0]["params"][0] is trainer.model.weight
    assert trainer.callbacks[0].epochs == 2
    assert trainer.notes == {"old": 1, "new": 2}


def test_new_attributes_refer_to_the_objects_of_the_trainer(make, loader):
    def change(twin):
        twin.best = twin.model
        twin.number = 3

    trainer = make()
    _, data = run_copy(trainer, loader, change=change)
    apply_results(trainer, named_objects(trainer, (loader,)), data)
    assert trainer.best is trainer.model
    assert trainer.number == 3


def test_what_cannot_be_sent_stays_as_before_with_a_warning(make, loader):
    def change(twin):
        twin.lock = threading.Lock()

    trainer = make()
    trainer.lock = "as before"
    with pytest.warns(UserWarning, match="lock cannot be brought home from the process .*It is as before the run"):
        _, data = run_copy(trainer, loader, change=change)
    apply_results(trainer, named_objects(trainer, (loader,)), data)
    assert trainer.lock == "as before"


def test_datasets_stay_as_they_are_and_samplers_continue(make, dataset):
    generator = torch.Generator().manual_seed(1)
    loader = torch.utils.data.DataLoader(dataset, 8, shuffle=True, generator=generator)
    before, trainer = generator.get_state(), make()
    _, data = run_copy(trainer, loader)
    apply_results(trainer, named_objects(trainer, (loader,)), data)
    assert loader.dataset is dataset
    assert loader.generator is generator
    assert not torch.equal(generator.get_state(), before)
