"""Checks: invalid arguments raise a clear error before they have an effect."""

from __future__ import annotations

import re
import warnings

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from tests.conftest import Classifier
from zae_engine.schedulers import CosineAnnealingScheduler
from zae_engine.trainer import Trainer

# At construction


def test_the_abstract_trainer_cannot_be_constructed():
    with pytest.raises(TypeError, match=r"test_step.*train_step"):
        Trainer(nn.Linear(1, 1), "cpu")


@pytest.mark.parametrize("mode", ["training", "", None, 1])
def test_unknown_mode(make, mode):
    with pytest.raises(ValueError, match=rf'{re.escape(repr(mode))}.*"train" and "test"'):
        make(mode=mode)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
@pytest.mark.parametrize("device", ["cuda", "cuda:1", torch.device("cuda:0"), ["cuda:0", "cuda:1"]])
def test_a_device_that_is_not_there(make, device):
    with pytest.raises(ValueError, match=r'device="cuda.*CUDA is not available.*"cpu"'):
        make(device=device)


@pytest.mark.parametrize(
    ("device", "error", "message"),
    [
        ("gpu0", ValueError, "gpu0.*Accepted are"),
        ("meta", ValueError, "meta.*Accepted are"),
        ([], ValueError, "empty list"),
        (0, TypeError, "int.*Accepted are"),
        (["cpu", None], TypeError, "NoneType"),
    ],
)
def test_what_is_no_device(make, device, error, message):
    with pytest.raises(error, match=message):
        make(device=device)


def test_model_optimizer_and_scheduler_may_be_none_until_something_runs(loader):
    trainer = Classifier(None, "cpu", "train", None, None, log_bar=False)
    with pytest.raises(ValueError, match="no model"):
        trainer.run(1, loader)
    with pytest.raises(ValueError, match="no model"):
        trainer.run_epoch(loader)


# When run starts


def test_training_without_optimizer(make, loader):
    trainer = make(optimizer=None)
    for call in (
        lambda: trainer.run(1, loader),
        lambda: trainer.run_epoch(loader),
        lambda: trainer.run_batch(next(iter(loader))),
    ):
        with pytest.raises(ValueError, match=r"optimizer=None.*mode=\"test\""):
            call()
    assert len(trainer.inference(loader)) == 3


def test_optimizer_of_another_model(make, loader):
    trainer = make(optimizer=torch.optim.SGD(nn.Linear(10, 2).parameters(), lr=0.1))
    with pytest.warns(UserWarning, match=r"the optimizer \(SGD\) holds none of the model's\s+parameters"):
        trainer.run(1, loader)


def test_steps_that_move_the_weights_by_themselves_need_no_optimizer_of_the_model(make, loader):
    class ByHand(Classifier):
        def train_step(self, batch):
            with torch.no_grad():
                self.model.weight.mul_(0.5)
            return super().train_step(batch)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make(ByHand, optimizer=torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)).run(1, loader)


def test_an_optimizer_of_something_that_lies_elsewhere_is_warned_of_if_nothing_changes(make, loader):
    elsewhere = nn.Linear(10, 2)
    trainer = make(optimizer=torch.optim.SGD(elsewhere.parameters(), lr=0.1))
    with pytest.warns(UserWarning, match="The first epoch has changed no parameter: the optimizer \\(SGD\\)"):
        trainer.run(2, loader)
    with warnings.catch_warnings():
        warnings.simplefilter("error")

        class Elsewhere(Classifier):
            def train_step(self, batch):
                x, y = batch
                return {"loss": nn.functional.cross_entropy(elsewhere(x) + self.model(x).detach(), y)}

        make(Elsewhere, optimizer=torch.optim.SGD(elsewhere.parameters(), lr=0.1)).run(1, loader)


def test_a_scheduler_of_another_optimizer_steps_that_one(make, loader):
    other = torch.optim.Adam(nn.Linear(1, 1).parameters(), lr=1.0)
    trainer = make(scheduler=lambda _: torch.optim.lr_scheduler.StepLR(other, 1, gamma=0.5))
    with pytest.warns(UserWarning, match="lr_scheduler.step"):  # torch's own: that optimizer has not stepped
        trainer.run(2, loader)
    assert other.param_groups[0]["lr"] == 0.25
    assert trainer.optimizer.param_groups[0]["lr"] == 0.1


@pytest.mark.parametrize(
    ("n_epoch", "error"),
    [(-1, ValueError), (1.0, TypeError), ("3", TypeError), (torch.inf, TypeError)],
)
def test_number_of_epochs(make, loader, n_epoch, error):
    with pytest.raises(error, match=rf"n_epoch={re.escape(repr(n_epoch))}"):
        make().run(n_epoch, loader)


def test_no_number_of_epochs_is_an_error_that_names_both_ways(make, loader):
    with pytest.raises(TypeError, match=r"neither n_epoch nor until. Give one: n_epoch=5"):
        make().run(None, loader)


def test_number_of_epochs_may_be_any_integer_type(make, loader):
    trainer = make()
    trainer.run(torch.tensor(2), loader)
    trainer.run(0, loader)
    assert trainer.progress_checker.get_epoch() == 3


def test_total_iters_too_small_is_found_before_the_first_step(make, loader):
    trainer = make(scheduler=lambda o: CosineAnnealingScheduler(o, 5), scheduler_step_on_batch=True)
    for kind in (ValueError, AssertionError):
        with pytest.raises(kind, match=r'"total_iters" 5 .* insufficient.* 6 steps'):
            trainer.run(2, loader)
    assert trainer.get_loss_history() == []
    trainer.run(1, loader)
    assert len(trainer.get_loss_history()) == 3


@pytest.mark.parametrize("bad", [5, "batches", None, torch.ones(3, 10), {"a": 1}, nn.Linear(1, 1)])
def test_what_is_no_loader(make, bad):
    with pytest.raises(TypeError, match="loader is of type"):
        make().run(1, bad)


def test_a_dataset_is_no_loader(make, dataset, loader):
    with pytest.raises(TypeError, match=r"valid_loader is a dataset \(TensorDataset\).*DataLoader\(valid_loader"):
        make().run(1, loader, dataset)
    with pytest.raises(TypeError, match="loader is a dataset"):
        make().run_epoch(dataset)


# At the first step


@pytest.mark.parametrize(
    ("returned", "error", "message"),
    [
        (lambda loss: None, TypeError, "train_step returned NoneType.*missing return"),
        (lambda loss: loss, TypeError, "train_step returned Tensor"),
        (lambda loss: {"Loss": loss}, ValueError, r'no "loss" \(its keys are \[\'Loss\'\]'),
        (lambda loss: {"loss": loss.item()}, TypeError, "of type float"),
        (lambda loss: {"loss": loss.detach()}, ValueError, "no gradient function"),
        (lambda loss: {"loss": loss.expand(3)}, ValueError, r"shape \(3,\)"),
        (lambda loss: {"loss": loss.expand(0)}, ValueError, r"shape \(0,\)"),
    ],
)
@pytest.mark.parametrize("alone", [False, True])
def test_what_a_train_step_must_not_return(make, loader, returned, error, message, alone):
    class Wrong(Classifier):
        def train_step(self, batch):
            return returned(super().train_step(batch)["loss"])

    trainer = make(Wrong)
    with pytest.raises(error, match=message):
        trainer.run_batch(next(iter(loader))) if alone else trainer.run(1, loader)


def test_a_test_step_must_return_a_dict_but_needs_no_loss(make, loader):
    class Wrong(Classifier):
        def test_step(self, batch):
            return None

    with pytest.raises(TypeError, match="test_step returned NoneType"):
        make(Wrong).inference(loader)

    class Lossless(Classifier):
        def test_step(self, batch):
            return {"output": batch[1]}

    assert len(make(Lossless).inference(loader)) == 3


def test_a_batch_that_cannot_be_unpacked(make):
    with pytest.raises(TypeError, match="A batch of type int"):
        make().run(1, [1, 2])


def test_toggle_refuses_an_unknown_mode(make):
    trainer = make()
    with pytest.raises(ValueError, match="'validate'"):
        trainer.toggle("validate")
    with pytest.raises(ValueError, match="'validate'"):
        trainer.get_loss_history("validate")
    trainer.mode = "validate"
    with pytest.raises(ValueError, match="Unexpected mode 'validate'"):
        trainer.run_batch((torch.ones(2, 10), torch.ones(2).long()))


def test_an_unchanged_dataloader_is_accepted_after_all_those_errors(make, loader, valid_loader):
    trainer = make()
    trainer.run(1, loader, valid_loader)
    assert isinstance(trainer.loader, DataLoader)


def test_several_optimizers_in_a_list(make, loader):
    model = nn.Linear(10, 2)
    trainer = make(model=model, optimizer=[torch.optim.SGD(model.parameters(), lr=0.1)])
    with pytest.raises(TypeError, match=r"of type list, which is no optimizer.*override run_batch"):
        trainer.run(1, loader)


def test_an_iterator_lasts_for_one_epoch(make, loader):
    trainer = make()
    trainer.run(1, iter(loader))
    assert len(trainer.get_loss_history()) == 3
    with pytest.raises(TypeError, match=r"used up after one epoch, but n_epoch=2.*list\(loader\)"):
        trainer.run(2, (batch for batch in loader))


def test_metrics_must_be_a_dict_or_none(make, loader):
    class Wrong(Classifier):
        def metric_on_epoch_end(self):
            return 0.5

    with pytest.raises(TypeError, match="metric_on_epoch_end returned float"):
        make(Wrong).run(1, loader)

    class Nothing(Classifier):
        def metric_on_epoch_end(self):
            pass

    make(Nothing).run(1, loader)


def test_a_test_step_without_loss_warns_once_and_spares_the_plateau_scheduler(make, loader, valid_loader):
    class Lossless(Classifier):
        def test_step(self, batch):
            return {"output": batch[1]}

    trainer = make(Lossless, scheduler=lambda o: torch.optim.lr_scheduler.ReduceLROnPlateau(o, patience=0))
    with pytest.warns(UserWarning, match='test_step returned no "loss"') as caught:
        trainer.run(3, loader, valid_loader)
    assert len(caught) == 1
    assert trainer.optimizer.param_groups[0]["lr"] == 0.1
    assert trainer.loss_buffer == torch.inf


# Callbacks and loggers


@pytest.mark.parametrize("contain", [tuple, iter, lambda parts: parts[0], lambda parts: {"one": parts[0]}])
def test_containers_that_are_set_on_a_trainer_become_lists(make, loader, contain):
    from lightning.pytorch.callbacks import Timer

    trainer, timer = make(), Timer()
    trainer.callbacks = contain([timer])
    trainer.run(1, loader)
    trainer.run(1, loader)
    assert trainer.callbacks == [timer]


@pytest.mark.parametrize("run", [lambda t, loader: t.run(1, loader), lambda t, loader: t.run_epoch(loader)])
@pytest.mark.parametrize("name", ["callbacks", "loggers"])
def test_what_is_no_callback_or_logger_is_named_when_something_runs(make, loader, name, run):
    trainer = make()
    getattr(trainer, name).append(42)
    with pytest.raises(TypeError, match=rf"42 \(of type int\) is no Lightning {name[:-1]}"):
        run(trainer, loader)


def test_a_batch_by_itself_is_logged_to_loggers_in_any_container(make, loader, tmp_path):
    from lightning.pytorch.loggers import CSVLogger

    trainer, logger = make(), CSVLogger(tmp_path)
    trainer.loggers = (logger,)
    trainer.run_batch(next(iter(loader)))
    assert [row["loss"] for row in logger.experiment.metrics] == [trainer.log_train["loss"][0].item()]


# Extra arguments


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("val_loader", r"run\(\) got an unexpected argument 'val_loader'. Did you mean valid_loader\?"),
        ("n_epochs", r"Did you mean n_epoch\?"),
        ("callbacks", r"callbacks belongs to the constructor: Trainer\(..., callbacks=...\)"),
        ("verbose", r"others are for an overridden run_epoch or run_batch, or the scheduler's\s+step"),
    ],
)
def test_an_argument_that_nobody_takes_is_named_before_the_first_step(make, loader, argument, message):
    for scheduler in (None, lambda o: torch.optim.lr_scheduler.StepLR(o, 1)):
        trainer = make(scheduler=scheduler)
        with pytest.raises(TypeError, match=message):
            trainer.run(1, loader, **{argument: None})
        assert len(trainer.get_loss_history()) == 0
    with pytest.raises(TypeError, match=r"run_epoch\(\) got an unexpected argument"):
        make().run_epoch(loader, **{argument: None})


def test_arguments_of_an_override_and_of_the_schedulers_step_pass(make, loader):
    class Own(Classifier):
        def run_batch(self, batch, verbose=False, **kwargs):
            self.seen = verbose
            super().run_batch(batch, **kwargs)

    trainer = make(Own)
    trainer.run(1, loader, verbose=True)
    assert trainer.seen

    class Taking(torch.optim.lr_scheduler.StepLR):
        def step(self, epoch=None, reason=None):
            self.reason = reason
            super().step(epoch)

    trainer = make(scheduler=lambda o: Taking(o, 1))
    trainer.run(1, loader, reason="because")
    assert trainer.scheduler.reason == "because"
