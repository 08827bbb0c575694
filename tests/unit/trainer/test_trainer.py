"""The contract of `Trainer` that the parity suite cannot compare: what is new, and where 0.7.6 has no answer."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from collections import defaultdict

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from tests.conftest import Classifier
from zae_engine.trainer import ProgressChecker, Trainer
from zae_engine.trainer.addons import AddOnBase


def same(a, b):
    return all(torch.equal(a[key], b[key]) for key in a) and a.keys() == b.keys()


def test_constructor_takes_positional_arguments_and_keywords(make):
    model = nn.Linear(10, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    trainer = Classifier(model, torch.device("cpu"), "test", optimizer, None, log_bar=False, gradient_clip=1.5)
    assert (trainer.mode, trainer.optimizer, trainer.scheduler, trainer.gradient_clip) == ("test", optimizer, None, 1.5)
    assert trainer.model is model
    assert trainer.device == [torch.device("cpu")]
    assert make().mode == "train"


def test_a_new_trainer_has_the_attributes_of_0_7_6(make):
    trainer = make()
    assert isinstance(trainer.log_train, defaultdict)
    assert isinstance(trainer.log_test, defaultdict)
    assert isinstance(trainer.progress_checker, ProgressChecker)
    assert trainer.loss_buffer == torch.inf
    assert trainer.weight_buffer == {}
    for name in ("loader", "valid_loader", "n_data", "n_valid_data", "batch_size", "valid_batch_size"):
        assert getattr(trainer, name) is None
    assert trainer.primary_device_index == 0


@pytest.mark.parametrize("device", ["cpu", torch.device("cpu"), ["cpu", torch.device("cpu")], ("cpu",)])
def test_device_may_be_a_name_a_device_or_a_list(make, loader, device):
    trainer = make(device=device)
    assert all(d == torch.device("cpu") for d in trainer.device)
    trainer.run(1, loader)
    assert len(trainer.log_train["loss"]) == 3


def test_model_is_trained_in_place_and_stays_the_users_object(make, loader):
    model = nn.Linear(10, 2)
    before = copy.deepcopy(model.state_dict())
    parameters = list(model.parameters())
    trainer = make(model=model)
    trainer.run(1, loader)
    assert trainer.model is model
    assert all(a is b for a, b in zip(parameters, model.parameters(), strict=True))
    assert not same(before, model.state_dict())


def test_run_without_scheduler(make, loader, valid_loader):
    trainer = make()
    trainer.run(2, loader, valid_loader)
    assert trainer.progress_checker.get_epoch() == 3
    assert trainer.optimizer.param_groups[0]["lr"] == 0.1


@pytest.mark.parametrize("per_batch", [False, True])
def test_plateau_scheduler_is_given_the_loss(make, loader, valid_loader, per_batch):
    seen = []

    class Plateau(torch.optim.lr_scheduler.ReduceLROnPlateau):
        def step(self, metrics, *args, **kwargs):
            seen.append(metrics)
            super().step(metrics, *args, **kwargs)

    trainer = make(scheduler=lambda o: Plateau(o, patience=0), scheduler_step_on_batch=per_batch)
    trainer.run(1, loader, valid_loader)
    tested = torch.stack(trainer.log_test["loss"]).mean().item()
    trainer.run(1, loader)
    trained = torch.stack(trainer.log_train["loss"]).mean().item()
    if per_batch:
        assert seen == [float(loss) for loss in trainer.get_loss_history("train")]
    else:
        assert seen == pytest.approx([tested, trained])


def test_plateau_scheduler_lowers_the_rate_when_the_loss_does_not_fall(make, loader):
    class Flat(Classifier):
        def train_step(self, batch):
            loss = super().train_step(batch)["loss"]
            return {"loss": loss * 0 + 1}

    trainer = make(Flat, scheduler=lambda o: torch.optim.lr_scheduler.ReduceLROnPlateau(o, factor=0.5, patience=0))
    trainer.run(3, loader)
    assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(0.1 * 0.5**2)


def test_optimizer_that_needs_a_closure(make, loader):
    trainer = make(optimizer=torch.optim.LBFGS)
    trainer.run(2, loader)
    history = trainer.get_loss_history()
    assert len(history) == 6
    assert history[-1] < history[0]


def test_loss_history_holds_losses_only(make, loader, valid_loader):
    trainer = make()
    trainer.run(2, loader, valid_loader)
    assert len(trainer.get_loss_history("train")) == 6
    assert len(trainer.get_loss_history("test")) == 4
    assert trainer.get_loss_history("test")[-2:] == trainer.log_test["loss"]


def test_logged_values_are_detached_and_outputs_are_kept_for_one_epoch(make, loader, valid_loader):
    trainer = make()
    trainer.run(2, loader)
    assert all(not value.requires_grad for values in trainer.log_train.values() for value in values)
    assert [tuple(output.shape) for output in trainer.inference(valid_loader)] == [(12,), (12,)]
    assert trainer.mode == "train"


def test_best_weights_are_a_copy_and_only_one_is_held(make, loader):
    seen = []

    class Watching(Classifier):
        def check_better(self, cur_epoch, cur_loss):
            better = super().check_better(cur_epoch, cur_loss)
            seen.append((cur_loss, better, copy.deepcopy(self.model.state_dict())))
            return better

    trainer = make(Watching)
    trainer.run(4, loader)
    trainer.optimizer.param_groups[0]["lr"] = 50.0  # spoils the weights
    trainer.run(2, loader)
    best = min(range(len(seen)), key=lambda i: seen[i][0])
    assert trainer.weight_buffer["epoch"] == [best]
    assert len(trainer.weight_buffer["weight"]) == 1
    assert trainer.loss_buffer == seen[best][0]
    assert not same(trainer.model.state_dict(), seen[best][2])
    trainer.apply_weights()
    assert same(trainer.model.state_dict(), seen[best][2])


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), float("-inf")])
def test_a_loss_that_is_no_number_is_never_better(make, loss):
    trainer = make()
    assert not trainer.check_better(0, loss)
    assert trainer.weight_buffer == {}
    assert trainer.check_better(1, 0.5)
    assert not trainer.check_better(2, loss)
    assert trainer.loss_buffer == 0.5


def test_save_and_apply_weights(make, loader, tmp_path, capsys):
    trainer, other = make(), make()
    trainer.run(1, loader)
    trainer.save_model(str(tmp_path / "model.pt"))
    other.apply_weights(str(tmp_path / "model.pt"))
    assert same(trainer.model.state_dict(), other.model.state_dict())

    before = copy.deepcopy(other.model.state_dict())
    with pytest.raises(FileNotFoundError, match=r"absent\.pt"):
        other.apply_weights(str(tmp_path / "absent.pt"))
    make().apply_weights()
    assert "no weight in buffer" in capsys.readouterr().out
    assert same(before, other.model.state_dict())


def test_validation_with_an_empty_loader_is_left_out(make, loader, dataset):
    trainer = make()
    trainer.run(1, loader, DataLoader(torch.utils.data.Subset(dataset, []), 4))
    assert len(trainer.log_train["loss"]) == 3
    assert trainer.valid_loader is None


def test_an_empty_training_loader_counts_epochs_and_changes_nothing(make, valid_loader, dataset):
    trainer = make()
    before = copy.deepcopy(trainer.model.state_dict())
    trainer.run(2, DataLoader(torch.utils.data.Subset(dataset, []), 4), valid_loader)
    assert trainer.progress_checker.get_epoch() == 3
    assert len(trainer.log_test["loss"]) == 2
    assert same(before, trainer.model.state_dict())


def test_a_loader_may_be_a_list_or_have_no_length(make, dataset):
    x, y = dataset.tensors
    batches = [(x[:8], y[:8]), (x[8:], y[8:])]

    class Endless(torch.utils.data.IterableDataset):
        def __iter__(self):
            yield from zip(x, y, strict=True)

    trainer = make()
    trainer.run(2, batches, batches)
    assert len(trainer.get_loss_history()) == 4
    trainer.run(2, DataLoader(Endless(), 8), DataLoader(Endless(), 8))
    assert len(trainer.get_loss_history()) == 10
    assert len(trainer.log_test["loss"]) == 3


def test_test_mode_runs_both_loaders_and_stays_in_test_mode(make, loader, valid_loader):
    trainer = make(mode="test", optimizer=None)
    trainer.run(2, loader, valid_loader)
    assert trainer.mode == "test"
    assert trainer.progress_checker.get_epoch() == 1
    assert trainer.progress_checker.get_step() == 1 + 2 * (3 + 2)
    assert trainer.weight_buffer == {}


def test_lightning_counts_go_on_from_run_to_run(make, loader, valid_loader):
    trainer = make()
    trainer.run(2, loader, valid_loader)
    trainer.run(1, loader)
    trainer.inference(valid_loader)
    trainer.run(2, loader)
    assert trainer.lightning_trainer.current_epoch == 5
    assert trainer.lightning_trainer.global_step == 15


def test_add_on_composes_from_the_inside_out(make, loader):
    class Loud(AddOnBase):
        @classmethod
        def apply(cls, base_cls):
            class LoudTrainer(base_cls):
                def __init__(self, *args, volume=1, **kwargs):
                    super().__init__(*args, **kwargs)
                    self.volume = volume

                def logging(self, step_dict):
                    super().logging({**step_dict, "volume": self.volume})

            return LoudTrainer

    class Louder(AddOnBase):
        @classmethod
        def apply(cls, base_cls):
            class LouderTrainer(base_cls):
                def logging(self, step_dict):
                    self.volume += 1
                    super().logging(step_dict)

            return LouderTrainer

    cls = Classifier.add_on(Loud, Louder)
    assert cls.__name__ == "Classifier[Loud, Louder]"
    assert repr(cls) == "<class 'tests.conftest.Classifier[Loud, Louder]'>"
    assert [c.__name__ for c in cls.__mro__[1:3]] == ["LoudTrainer", "Classifier"]
    trainer = make(cls, volume=5)
    trainer.run(1, loader)
    assert trainer.log_train["volume"] == [6, 7, 8]
    assert Classifier.add_on() is Classifier


def test_add_on_refuses_what_is_no_add_on():
    with pytest.raises(TypeError, match="has no apply"):
        Classifier.add_on(int)

    class Forgetful(AddOnBase):
        @classmethod
        def apply(cls, base_cls):
            pass

    with pytest.raises(TypeError, match="must return a subclass"):
        Classifier.add_on(Forgetful)


def test_a_trainer_can_be_pickled_and_copied_after_a_run(make, loader, valid_loader):
    trainer = make()
    trainer.run(2, loader, valid_loader)
    for twin in (pickle.loads(pickle.dumps(trainer)), copy.deepcopy(trainer)):
        assert twin.get_loss_history() == trainer.get_loss_history()
        twin.run(1, loader)
        assert twin.lightning_trainer.current_epoch == 3
        assert twin.progress_checker.get_epoch() == 4


def test_importing_the_trainer_loads_neither_lightning_nor_the_extras():
    code = (
        "import sys, zae_engine.trainer, zae_engine.schedulers, zae_engine.trainer.addons\n"
        "bad = {'wandb', 'neptune', 'matplotlib', 'lightning', 'pandas', 'IPython'} & set(sys.modules)\n"
        "sys.exit(', '.join(bad) or 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_names_that_add_ons_of_0_7_6_import():
    from zae_engine.trainer import T, _trainer
    from zae_engine.trainer.addons.core import T as T_of_addons

    assert _trainer.Trainer is Trainer
    assert T is T_of_addons


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("value", [None, "mine", [print], {"on_end": print}])
def test_names_that_are_new_here_may_be_taken_by_a_subclass(make, loader, valid_loader, before, value):
    class Taken(Classifier):
        def __init__(self, *args, **kwargs):
            if before:
                self.callbacks = self.loggers = value
            super().__init__(*args, **kwargs)
            if not before:
                self.callbacks = self.loggers = value

    trainer = make(Taken)
    trainer.run(1, loader, valid_loader)
    trainer.run_batch(next(iter(loader)))
    assert trainer.callbacks == trainer.loggers == value


def test_add_on_takes_instances_of_lightning_parts_and_copies_them(make, loader, tmp_path):
    from lightning.pytorch.callbacks import Timer
    from lightning.pytorch.loggers import CSVLogger

    timer = Timer()
    cls = Classifier.add_on(timer, CSVLogger(tmp_path))
    assert cls.__name__ == "Classifier[Timer, CSVLogger]"
    first, second = make(cls), make(cls)
    first.run(1, loader)
    [own], [logger] = first.callbacks, first.loggers
    assert own is not timer
    assert own.time_elapsed("train") > 0
    assert second.callbacks[0].time_elapsed("train") == 0
    assert (tmp_path / "lightning_logs" / "version_0" / "metrics.csv").exists()
    assert logger is not second.loggers[0]


def test_lightning_arguments_reach_lightning_and_those_of_the_trainer_are_refused(make, loader):
    trainer = make(lightning={"limit_train_batches": 2})
    trainer.run(1, loader)
    assert len(trainer.get_loss_history()) == 2
    with pytest.raises(ValueError, match=r'"max_epochs".*run\(n_epoch'):
        make(lightning={"max_epochs": 3})
    with pytest.raises(TypeError, match="no dict of arguments"):
        make(lightning="ddp")
