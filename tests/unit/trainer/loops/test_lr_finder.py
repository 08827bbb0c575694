"""Learning rate finder: a curve, a suggestion or a reason, and a trainer that is as it was."""

from __future__ import annotations

import copy
import math
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tests.conftest import Classifier
from zae_engine.trainer.loops.lr_finder import LearningRateCurve, _suggestion


def problem(n=512, noise=False):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, 10, generator=generator)
    y = torch.randint(2, (n,), generator=generator) if noise else (x[:, 0] > 0).long()
    return DataLoader(TensorDataset(x, y), 32, shuffle=True, generator=torch.Generator().manual_seed(1))


def network():
    return nn.Sequential(nn.Linear(10, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 2))


def plain(value):
    """Return a value with lists in place of tensors and arrays, to be compared."""
    if isinstance(value, (torch.Tensor, np.ndarray)):
        return value.tolist()
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    return [plain(part) for part in value] if isinstance(value, (list, tuple)) else value


def snapshot(trainer, loader):
    """Return all that must not change."""
    return plain(
        (
            {key: value.clone() for key, value in trainer.model.state_dict().items()},
            [None if p.grad is None else p.grad.clone() for p in trainer.model.parameters()],
            trainer.optimizer.state_dict(),
            trainer.scheduler.state_dict(),
            torch.get_rng_state(),
            np.random.get_state(),
            random.getstate(),
            loader.generator.get_state(),
            dict(trainer.log_train),
            dict(trainer.log_test),
            trainer.train_metrics,
            trainer.progress_checker.state_dict(),
            list(trainer.history),
            trainer.get_loss_history("train"),
            trainer.loss_buffer,
            trainer.mode,
            trainer.model.training,
        )
    )


@pytest.mark.parametrize("optimizer", [torch.optim.Adam, lambda p: torch.optim.SGD(p, lr=0.1)], ids=["Adam", "SGD"])
def test_it_suggests_a_rate_with_which_the_loss_falls_and_changes_nothing(optimizer, make):
    torch.manual_seed(0)
    model, loader = network(), problem()
    made = optimizer(model.parameters())
    trainer = make(model=model, optimizer=made, scheduler=torch.optim.lr_scheduler.StepLR(made, 1))
    trainer.run(1, loader)
    before = snapshot(trainer, loader)
    curve = trainer.lr_find(loader, max_lr=10.0)
    assert snapshot(trainer, loader) == before
    assert 1e-4 < curve.suggestion < 5.0
    assert curve.reason is None
    assert curve.rates == sorted(curve.rates)
    assert len(curve.rates) == len(curve.losses) <= 100
    fresh = network()
    found = make(model=fresh, optimizer=torch.optim.SGD(fresh.parameters(), lr=curve.suggestion))
    found.run(3, problem())
    losses = found.get_loss_history("train")
    assert np.mean(losses[-5:]) < np.mean(losses[:5])


def test_a_run_after_it_is_as_one_without_it(make):
    weights = []
    for find in (False, True):
        torch.manual_seed(0)
        trainer, loader = make(model=network(), optimizer=torch.optim.Adam), problem()
        if find:
            trainer.lr_find(loader, steps=20)
        trainer.run(2, loader)
        weights.append(trainer.model.state_dict())
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_nothing_to_learn_means_no_suggestion_and_a_reason(make):
    model = nn.Linear(10, 2)
    nn.init.zeros_(model.weight)
    curve = make(model=model).lr_find(problem(noise=True), max_lr=1e-3)
    assert curve.suggestion is None
    assert "does not fall" in curve.reason
    assert "no suggestion" in repr(curve)


def test_a_loss_that_is_no_number_from_the_start_is_a_reason(make):
    class Broken(Classifier):
        def train_step(self, batch):
            output = super().train_step(batch)
            return {"loss": output["loss"] * float("nan")}

    curve = make(Broken).lr_find(problem())
    assert curve.suggestion is None
    assert "no number after 0 steps" in curve.reason


def test_it_ends_where_the_loss_explodes(make):
    curve = make(model=network()).lr_find(problem(), max_lr=1e6, steps=200)
    assert curve.rates[-1] < 1e6
    assert curve.suggestion < 100.0


def test_groups_keep_their_ratio_and_an_own_run_batch_is_used(make):
    seen = []

    class OwnBatch(Classifier):
        def run_batch(self, batch, **kwargs):
            seen.append([group["lr"] for group in self.optimizer.param_groups])
            super().run_batch(batch, **kwargs)

    model = nn.Sequential(nn.Linear(10, 4), nn.Linear(4, 2))
    groups = [{"params": model[0].parameters(), "lr": 0.1}, {"params": model[1].parameters(), "lr": 0.01}]
    trainer = make(OwnBatch, model=model, optimizer=torch.optim.SGD(groups))
    trainer.lr_find(problem(), min_lr=1e-3, max_lr=1.0, steps=10)
    assert [first for first, _ in seen] == pytest.approx(np.geomspace(1e-3, 1.0, 10))
    assert all(first == pytest.approx(10 * second) for first, second in seen)
    assert [group["lr"] for group in trainer.optimizer.param_groups] == [0.1, 0.01]


def test_callbacks_and_loggers_see_nothing_of_it(make, tmp_path):
    from lightning.pytorch.callbacks import LambdaCallback
    from lightning.pytorch.loggers import CSVLogger

    seen = []
    callback = LambdaCallback(on_train_batch_end=lambda *args: seen.append(args))
    trainer = make(callbacks=[callback], loggers=[CSVLogger(tmp_path)])
    trainer.lr_find(problem(), steps=10)
    assert not seen
    assert not list(tmp_path.iterdir())
    assert trainer.callbacks == [callback]


def test_the_data_is_not_copied(make):
    class Data(TensorDataset):
        def __deepcopy__(self, memo):
            raise AssertionError("copied")

    loader = DataLoader(Data(torch.randn(64, 10), torch.zeros(64).long()), 8)
    trainer = make()
    trainer.run(1, loader)
    trainer.data = loader.dataset
    assert len(trainer.lr_find(loader, steps=10).losses) == 10


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"min_lr": 1.0, "max_lr": 0.1}, "0 < min_lr < max_lr"),
        ({"min_lr": 0.0}, "0 < min_lr < max_lr"),
        ({"max_lr": math.inf}, "0 < min_lr < max_lr"),
        ({"steps": 3}, "steps=3"),
    ],
)
def test_rates_and_steps_that_make_no_curve_are_errors(given, message, make):
    with pytest.raises(ValueError, match=message):
        make().lr_find(problem(), **given)


def test_loaders_and_trainers_that_cannot_serve_are_errors(make, loader):
    with pytest.raises(TypeError, match="gives its batches once only"):
        make().lr_find(iter(list(loader)))
    with pytest.raises(ValueError, match="loader gives none"):
        make().lr_find([None])
    trainer = make()
    trainer.file = open(__file__)  # noqa: SIM115
    with trainer.file, pytest.raises(TypeError, match="cannot be copied"):
        trainer.lr_find(loader)

    class Silent(Classifier):
        def run_batch(self, batch, **kwargs):
            self.logging({"acc": 1.0})

    with pytest.raises(ValueError, match='reads the "loss"'):
        make(Silent).lr_find(loader)


def test_the_plot_shows_the_curve_and_the_suggestion(make):
    curve = make(model=network(), optimizer=torch.optim.Adam).lr_find(problem())
    figure = curve.plot()
    (axis,) = figure.axes
    assert axis.get_xscale() == "log"
    labels = [text.get_text() for text in axis.get_legend().get_texts()]
    assert labels == ["loss of each step", "smoothed", f"suggestion: {curve.suggestion:.2g}"]
    import matplotlib.pyplot as plt

    _, own = plt.subplots()
    assert curve.plot(own) is own.figure
    plt.close(own.figure)
    flat = LearningRateCurve([1e-3, 1e-2], [1.0, 1.0], None, "the loss does not fall")
    assert "does not fall" in flat.plot().axes[0].get_title()


def test_the_steepest_fall_is_found_in_a_noisy_curve():
    rates = list(np.geomspace(1e-6, 1.0, 100))
    clean = 2.0 - 1.5 / (1.0 + np.exp(-4.0 * (np.log10(rates) + 2.5)))
    noisy = clean + 0.03 * np.random.default_rng(0).standard_normal(100)
    suggestion, reason = _suggestion(rates, list(noisy))
    assert reason is None
    assert 10**-3.3 < suggestion < 10**-1.7
    assert _suggestion(rates, list(1.0 + 0.1 * np.random.default_rng(0).standard_normal(100)))[0] is None


def test_a_trainer_can_be_copied_with_what_it_found(make):
    curve = copy.deepcopy(make().lr_find(problem(), steps=10))
    assert len(curve.rates) == 10


def test_a_sharded_model_is_an_error_that_says_when_to_call(make, loader, device_mesh):
    from torch.distributed.fsdp import fully_shard

    trainer = make()
    fully_shard(trainer.model, mesh=device_mesh["data_parallel"])
    with pytest.raises(ValueError, match="Call lr_find before the first run"):
        trainer.lr_find(loader)
