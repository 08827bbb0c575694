"""Means over samples: each batch counts by its size, wherever a mean of an epoch is read."""

from __future__ import annotations

import lightning.pytorch as L
import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from zae_engine.trainer import Trainer
from zae_engine.trainer.addons import MultiGPUAddon, StateManagerAddon


class Steps(Trainer):
    def train_step(self, batch):
        x, y = batch
        scores = self.model(x)
        return {"loss": F.cross_entropy(scores, y), "acc": (scores.argmax(1) == y).float().mean()}

    test_step = train_step


def data(n, seed=1):
    x = torch.randn(n, 3, generator=torch.Generator().manual_seed(seed)) * 3
    return TensorDataset(x, (x.sum(1) > 0).long())


def make(cls=Steps, epoch_means="samples", rate=0.1, **kwargs):
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    if "scheduler" in kwargs:
        kwargs["scheduler"] = kwargs["scheduler"](optimizer)
    return cls(
        model, kwargs.pop("device", "cpu"), optimizer=optimizer, log_bar=False, epoch_means=epoch_means, **kwargs
    )


TRAIN, VALID = DataLoader(data(13), 4), DataLoader(data(65, seed=2), 64)


def true_loss(trainer, loader):
    with torch.no_grad():
        return F.cross_entropy(trainer.model(loader.dataset.tensors[0]), loader.dataset.tensors[1]).item()


def test_the_mean_of_an_uneven_epoch_is_that_of_its_samples_everywhere(capsys):
    seen = {}

    class Reads(L.Callback):
        def on_validation_epoch_end(self, trainer, module):
            seen["callback"] = trainer.callback_metrics["val_loss"].item()

    class Checks(Steps):
        def check_better(self, cur_epoch, cur_loss):
            seen["check_better"] = cur_loss
            return super().check_better(cur_epoch, cur_loss)

    plateau = lambda optimizer: torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)  # noqa: E731
    trainer = make(Checks, callbacks=[Reads()], scheduler=plateau)
    trainer.run(1, TRAIN, VALID)
    expected = pytest.approx(true_loss(trainer, VALID))
    values = [trainer.history[-1]["test_loss"], trainer.loss_buffer, trainer.scheduler.best, *seen.values()]
    assert values == [expected] * 5
    assert trainer.evaluate(VALID)["loss"] == expected
    assert f"test_loss: {true_loss(trainer, VALID):.4f}" in capsys.readouterr().err
    assert np.mean(trainer.log_test["loss"]) != expected


@pytest.mark.parametrize("n", [1, 2])
def test_training_is_the_same_whatever_the_means_are_over(n):
    by_samples, by_batches = make(), make(epoch_means="batches")
    for trainer in (by_samples, by_batches):
        trainer.run(n, TRAIN)
        trainer.run_epoch(VALID)
    assert all(
        torch.equal(a, b) for a, b in zip(*(t.model.parameters() for t in (by_samples, by_batches)), strict=True)
    )
    assert by_samples.get_loss_history() == by_batches.get_loss_history()
    losses = by_batches.get_loss_history()[-4 - 2 : -2]
    assert by_samples.history[-1]["train_loss"] == pytest.approx(np.average(losses, weights=[4, 4, 4, 1]))
    assert by_batches.history[-1]["train_loss"] == pytest.approx(np.mean(losses))


def test_means_over_batches_stay_the_default():
    assert make(epoch_means="batches").evaluate(VALID) == Steps(make().model, "cpu", log_bar=False).evaluate(VALID)


def test_the_results_are_those_of_lightning():
    class Module(L.LightningModule):
        def __init__(self, model):
            super().__init__()
            self.model = model

        def validation_step(self, batch, batch_idx):
            x, y = batch
            self.log("val_loss", F.cross_entropy(self.model(x), y))

    trainer = make()
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    (theirs,) = L.Trainer(**quiet).validate(Module(trainer.model), VALID, verbose=False)
    (ours,) = L.Trainer(**quiet).validate(trainer.lightning_module, VALID, verbose=False)
    assert ours["val_loss"] == pytest.approx(theirs["val_loss"])
    assert ours["val_loss"] == pytest.approx(true_loss(trainer, VALID))


def test_several_validation_loaders_have_means_over_samples_too():
    trainer, other = make(), DataLoader(data(9, seed=3), 8)
    trainer.run(1, TRAIN, [VALID, other])
    metrics = trainer.lightning_trainer.callback_metrics
    assert metrics["val_loss/dataloader_idx_0"].item() == pytest.approx(true_loss(trainer, VALID))
    assert metrics["val_loss/dataloader_idx_1"].item() == pytest.approx(true_loss(trainer, other))


class Tokens(Steps):
    """Counts by the label: a number of samples of the step's own."""

    def train_step(self, batch):
        return {**super().train_step(batch), "batch_size": batch[1].sum()}

    test_step = train_step


def test_a_batch_size_of_the_step_counts_in_place_of_the_real_one():
    trainer = make(Tokens)
    result = trainer.evaluate(VALID)
    losses, weights = [], []
    for x, y in VALID:
        losses.append(F.cross_entropy(trainer.model(x), y).item())
        weights.append(y.sum().item())
    assert result["loss"] == pytest.approx(np.average(losses, weights=weights))
    assert "batch_size" not in result
    assert "batch_size" in make(Tokens, epoch_means="batches").evaluate(VALID)


class OwnBatch(Steps):
    def run_batch(self, batch, **kwargs):
        batch = self._to_device(*batch)
        step = self.train_step(batch)
        if self.mode == "train":
            self.optimizer.zero_grad()
            step["loss"].backward()
            self.optimizer.step()
        self.logging(step)
        self.progress_checker.update_step()


class OwnEpoch(Steps):
    def run_epoch(self, loader, **kwargs):
        self.log_reset()
        for batch in loader:
            self.run_batch(batch, **kwargs)


class CallsSuper(Steps):
    def run_batch(self, batch, **kwargs):
        super().run_batch(batch, **kwargs)

    def run_epoch(self, loader, **kwargs):
        super().run_epoch(loader, **kwargs)


@pytest.mark.parametrize("cls", [OwnBatch, OwnEpoch, CallsSuper])
def test_overridden_methods_make_no_difference(cls):
    expected, trainer = make(), make(cls)
    for made in (expected, trainer):
        made.run(2, TRAIN, VALID)
    for key in ("train_loss", "test_loss", "test_acc"):
        assert trainer.history[key] == pytest.approx(expected.history[key])


def test_a_log_that_is_written_by_hand_warns():
    class ByHand(Steps):
        def logging(self, step_dict):
            self.log_test["loss"].append(step_dict["loss"].detach())

    with pytest.warns(UserWarning, match="log_test has values that were not written by logging"):
        make(ByHand).evaluate(VALID)


def test_a_batch_without_a_tensor_is_an_error_that_says_what_to_return():
    class Words(Steps):
        def test_step(self, batch):
            return {"loss": torch.tensor(1.0)}

    with pytest.raises(ValueError, match='"batch_size": n'):
        make(Words).evaluate([["a", "b"]])
    make(Words, epoch_means="batches").evaluate([["a", "b"]])


def test_tensors_of_different_lengths_warn_once():
    class First(Steps):
        def test_step(self, batch):
            return {"loss": batch[0].mean()}

    batches = [(torch.ones(3), torch.ones(5)), (torch.zeros(1), torch.ones(5))]
    trainer = make(First)
    with pytest.warns(UserWarning, match="counts it as 3 samples") as caught:
        assert trainer.evaluate(batches)["loss"] == 0.75
    assert len([warning for warning in caught if "samples" in str(warning.message)]) == 1


@pytest.mark.parametrize("value", ["sample", "Samples", None, 1])
def test_an_unknown_value_is_an_error_that_says_what_is_allowed(value):
    with pytest.raises(ValueError, match=r'"batches".*"samples"'):
        make(epoch_means=value)


def test_two_processes_have_the_means_of_one():
    expected, trainer = make(), make(Steps.add_on(MultiGPUAddon), device=["cpu", "cpu"])
    trainer.run(2, DataLoader(data(13), 2), DataLoader(data(65, seed=2), 64))
    expected.run(2, TRAIN, VALID)
    for key in ("train_loss", "train_acc", "test_loss", "test_acc"):
        assert trainer.history[key] == pytest.approx(expected.history[key], rel=1e-5)


class Stateful(list):
    """A loader that resumes at its place."""

    place = 0

    def __iter__(self):
        start, self.place = self.place, 0
        for place in range(start, len(self)):
            self.place = (place + 1) % len(self)
            yield self[place]

    def state_dict(self):
        return {"place": self.place}

    def load_state_dict(self, state):
        self.place = state["place"]


def test_an_epoch_that_is_resumed_in_the_middle_has_the_mean_of_its_samples(tmp_path):
    class Saves(L.Callback):
        def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
            if batch_idx == 1:
                module.hooks.trainer.save_state()

    def build(**kwargs):
        trainer = make(Steps.add_on(StateManagerAddon), save_path=str(tmp_path), **kwargs)
        trainer.check_better = lambda **_: False
        return trainer

    whole = build(callbacks=[Saves()])
    whole.run(1, Stateful(TRAIN))
    resumed = build()
    resumed.load_state()
    resumed.run(1, Stateful(TRAIN))
    assert resumed.history["train_loss"] == whole.history["train_loss"]
    assert len(resumed.log_train["loss"]) == 4
    assert whole.history[0]["train_loss"] != np.mean(whole.get_loss_history())
