"""The best epoch by any result: weights, marks, schedulers and files follow it."""

from __future__ import annotations

import io
import math
import warnings

import lightning.pytorch as L
import pytest
import torch
import torchmetrics
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch.optim.lr_scheduler import ReduceLROnPlateau

from zae_engine.trainer import Trainer
from zae_engine.trainer.addons import MultiGPUAddon, StateManagerAddon
from zae_engine.trainer.checkpoint.trainer_state import load_trainer_state_dict, trainer_state_dict

LOSSES = [4.0, 3.0, 2.0, 1.0]
ACCURACIES = [0.5, 0.75, 0.25, 0.75]
"""Of the epochs: the loss is best in the last, the accuracy in the second."""
BEST_BY_ACCURACY, BEST_BY_LOSS = 1, 3


class Scripted(Trainer):
    """Returns what the lists say, so that it is known which epoch is the best."""

    def train_step(self, batch):
        return {"loss": self.model(batch[0]).mean(), "score": float(self.progress_checker.get_epoch())}

    def test_step(self, batch):
        epoch = (self.progress_checker.get_epoch() - 1) % 4
        return {"loss": torch.tensor(LOSSES[epoch]), "acc": ACCURACIES[epoch]}


BATCHES = [[torch.ones(2, 3)], [torch.ones(2, 3)]]


def make(cls=Scripted, **kwargs):
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    if "scheduler" in kwargs:
        kwargs["scheduler"] = kwargs["scheduler"](optimizer)
    return cls(model, kwargs.pop("device", "cpu"), optimizer=optimizer, log_bar=False, **kwargs)


def by_accuracy(cls=Scripted, **kwargs):
    return make(cls, monitor="test_acc", monitor_mode="max", **kwargs)


def best_epoch(trainer):
    """Return the index of the best epoch, after checking that everything names the same one."""
    (epoch,) = trainer.weight_buffer["epoch"]
    assert trainer.history.best()["epoch"] == epoch + 1
    assert [i for i, record in enumerate(trainer.history) if record["best"]][-1] == epoch
    return epoch


class TestTheBestEpoch:
    def test_is_that_of_the_loss_by_default(self):
        trainer = make()
        trainer.run(4, BATCHES, BATCHES)
        assert (best_epoch(trainer), trainer.loss_buffer) == (BEST_BY_LOSS, 1.0)

    @pytest.mark.parametrize("name", ["test_acc", "val_acc"])
    def test_is_that_of_a_result(self, name):
        trainer = make(monitor=name, monitor_mode="max")
        assert trainer.loss_buffer == -math.inf
        trainer.run(4, BATCHES, BATCHES)
        assert (best_epoch(trainer), trainer.loss_buffer) == (BEST_BY_ACCURACY, 0.75)
        assert trainer.history["best"] == [True, True, False, False]
        expected = make()
        expected.run(2, BATCHES, BATCHES)
        trainer.apply_weights()
        assert torch.equal(trainer.model.weight, expected.model.weight)

    def test_is_that_of_a_result_of_training(self):
        trainer = make(monitor="train_score", monitor_mode="max")
        trainer.run(2, BATCHES)
        assert (best_epoch(trainer), trainer.loss_buffer) == (1, 2.0)

    def test_is_that_of_a_result_of_training_in_epochs_without_validation_too(self):
        trainer = make(monitor="train_score", monitor_mode="max", lightning={"check_val_every_n_epoch": 2})
        trainer.run(3, BATCHES, BATCHES)
        assert best_epoch(trainer) == 2

    def test_is_that_of_a_result_of_validation_in_epochs_with_validation_only(self):
        trainer = by_accuracy(lightning={"check_val_every_n_epoch": 2})
        trainer.run(4, BATCHES, BATCHES)
        assert (best_epoch(trainer), trainer.history["best"]) == (1, [False, True, False, False])

    def test_is_that_of_a_metric(self):
        class Measured(Scripted):
            def test_step(self, batch):
                epoch = self.progress_checker.get_epoch() - 1
                right = torch.arange(4) < ACCURACIES[epoch] * 4
                return {"preds": right.long(), "target": torch.ones(4).long()}

        metrics = {"accuracy": torchmetrics.Accuracy(task="binary")}
        trainer = make(Measured, metrics=metrics, monitor="test_accuracy", monitor_mode="max")
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # that there is no loss is of no interest
            warnings.filterwarnings("ignore", "train_step returned no")
            trainer.run(4, BATCHES, BATCHES)
        assert best_epoch(trainer) == BEST_BY_ACCURACY

    def test_goes_on_over_runs(self):
        trainer = by_accuracy()
        for _ in range(4):
            trainer.run(1, BATCHES, BATCHES)
        assert best_epoch(trainer) == BEST_BY_ACCURACY

    @pytest.mark.parametrize("method", ["run_batch", "run_epoch"])
    def test_is_the_same_where_methods_are_overridden(self, method):
        def override(self, data, **kwargs):
            getattr(Scripted, method)(self, data, **kwargs)

        trainer = by_accuracy(type("Overrides", (Scripted,), {method: override}))
        trainer.run(4, BATCHES, BATCHES)
        assert best_epoch(trainer) == BEST_BY_ACCURACY

    def test_is_the_same_in_two_processes(self):
        trainer = by_accuracy(Scripted.add_on(MultiGPUAddon), device=["cpu", "cpu"])
        trainer.run(4, BATCHES, BATCHES)
        assert best_epoch(trainer) == BEST_BY_ACCURACY

    def test_is_the_same_in_an_own_trainer_of_lightning(self):
        trainer = by_accuracy()
        quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
        lightning = L.Trainer(max_epochs=4, enable_checkpointing=False, num_sanity_val_steps=0, **quiet)
        data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.ones(4, 3)), 2)
        lightning.fit(trainer.lightning_module, data, data)
        assert best_epoch(trainer) == BEST_BY_ACCURACY

    def test_has_the_weights_of_its_validation_where_a_callback_averages(self):
        averaged = by_accuracy(callbacks=[EMAWeightAveraging(decay=0.5)])
        averaged.run(4, BATCHES, BATCHES)
        expected = by_accuracy(callbacks=[EMAWeightAveraging(decay=0.5)])
        expected.run(2, BATCHES, BATCHES)
        assert best_epoch(averaged) == BEST_BY_ACCURACY
        best = averaged.weight_buffer["weight"][-1]
        assert torch.equal(best["weight"], expected.weight_buffer["weight"][-1]["weight"])


class TestAnOverriddenCheckBetter:
    def test_receives_the_loss_as_in_zae_engine_076(self):
        class Notes(Scripted):
            def check_better(self, cur_epoch, cur_loss):
                self.seen = [*getattr(self, "seen", []), (cur_epoch, cur_loss)]
                return super().check_better(cur_epoch, cur_loss)

        trainer = by_accuracy(Notes)
        trainer.run(4, BATCHES, BATCHES)
        assert trainer.seen == list(enumerate(LOSSES))
        assert best_epoch(trainer) == BEST_BY_ACCURACY

    def test_may_decide_by_itself(self):
        class Decides(Scripted):
            def check_better(self, cur_epoch, cur_loss):
                return cur_epoch == 2

        trainer = by_accuracy(Decides)
        trainer.run(4, BATCHES, BATCHES)
        assert trainer.history.best()["epoch"] == 3


class TestPlateauSchedulers:
    def test_receive_what_is_monitored(self):
        trainer = by_accuracy(scheduler=lambda o: ReduceLROnPlateau(o, "max", patience=0))
        trainer.run(4, BATCHES, BATCHES)
        assert trainer.scheduler.best == 0.75
        assert trainer.history["lr"] == [0.5, 0.5, 0.5, 0.05]

    def test_receive_what_they_name_themselves(self):
        trainer = by_accuracy(scheduler=lambda o: ReduceLROnPlateau(o, patience=0))
        trainer.scheduler.monitor = "val_loss"
        trainer.run(4, BATCHES, BATCHES)
        assert trainer.scheduler.best == 1.0

    def test_of_the_other_direction_are_an_error_before_the_first_step(self):
        trainer = by_accuracy(scheduler=lambda o: ReduceLROnPlateau(o))
        with pytest.raises(ValueError, match="Give both the same mode"):
            trainer.run(1, BATCHES, BATCHES)
        assert trainer.progress_checker.get_step() == 1


class TestAMissingResult:
    def test_of_validation_is_an_error_before_the_first_step(self):
        trainer = by_accuracy()
        with pytest.raises(ValueError, match="but the run has none"):
            trainer.run(1, BATCHES)
        assert trainer.progress_checker.get_step() == 1
        trainer.run(0, BATCHES)

    def test_is_an_error_of_the_first_epoch_that_names_those_that_there_are(self):
        trainer = make(monitor="test_f1", monitor_mode="max")
        with pytest.raises(
            ValueError, match=r"'test_f1' is not among .*: test_acc, test_loss, train_loss, train_score"
        ):
            trainer.run(3, BATCHES, BATCHES)
        assert len(trainer.history) == 0

    def test_is_a_warning_in_a_later_epoch(self):
        class Sometimes(Scripted):
            def test_step(self, batch):
                step = super().test_step(batch)
                return step if self.progress_checker.get_epoch() != 2 else {"loss": step["loss"]}

        trainer = by_accuracy(Sometimes)
        with pytest.warns(UserWarning, match="'test_acc' is not among the results"):
            trainer.run(4, BATCHES, BATCHES)
        assert trainer.history["best"] == [True, False, False, True]


class TestStates:
    def saving(self, folder, monitored=True, **kwargs):
        cls = Scripted.add_on(StateManagerAddon)
        return (by_accuracy if monitored else make)(cls, save_path=str(folder), **kwargs)

    def test_are_saved_in_the_best_epoch(self, tmp_path):
        trainer = self.saving(tmp_path)
        trainer.run(4, BATCHES, BATCHES)
        assert trainer.saved_loss == 0.75
        loaded = self.saving(tmp_path)
        loaded.load_state()
        assert len(loaded.history) == 2
        assert (best_epoch(loaded), loaded.loss_buffer) == (BEST_BY_ACCURACY, 0.75)
        loaded.run(2, BATCHES, BATCHES)
        assert torch.equal(loaded.model.weight, trainer.model.weight)
        assert best_epoch(loaded) == BEST_BY_ACCURACY

    @pytest.mark.parametrize("saved_by_accuracy", [True, False])
    def test_of_another_monitor_say_so_and_their_best_value_does_not_count(self, tmp_path, saved_by_accuracy):
        trainer = self.saving(tmp_path, saved_by_accuracy)
        trainer.run(1, BATCHES, BATCHES)
        loaded = self.saving(tmp_path, not saved_by_accuracy)
        with pytest.warns(UserWarning, match=r"chooses by (the loss|test_acc \(max\))\. The best value"):
            loaded.load_state()
        assert not math.isfinite(loaded.loss_buffer)
        assert loaded.saved_loss is None
        loaded.run(3, BATCHES, BATCHES)
        assert best_epoch(loaded) == (BEST_BY_LOSS if saved_by_accuracy else BEST_BY_ACCURACY)

    def test_of_a_broken_monitor_change_nothing(self, tmp_path):
        trainer = self.saving(tmp_path)
        trainer.run(1, BATCHES, BATCHES)
        state = {**trainer_state_dict(trainer), "monitor": {"name": "acc", "mode": "max"}}
        with pytest.raises(ValueError, match="no name of a result"):
            load_trainer_state_dict(trainer, state)
        assert trainer.loss_buffer == 0.5

    def test_survive_a_pickle(self):
        trainer = by_accuracy()
        trainer.run(1, BATCHES, BATCHES)
        file = io.BytesIO()
        torch.save(trainer, file)
        file.seek(0)
        copied = torch.load(file, weights_only=False)
        copied.run(3, BATCHES, BATCHES)
        assert best_epoch(copied) == BEST_BY_ACCURACY


def test_a_monitor_belongs_to_the_constructor():
    with pytest.raises(TypeError, match="monitor belongs to the constructor"):
        make().run(1, BATCHES, monitor="test_acc")
    with pytest.raises(ValueError, match="Did you mean 'test_acc'"):
        make(monitor="acc")
