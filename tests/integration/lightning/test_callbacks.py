"""Every callback of Lightning does for a zae-engine trainer what its documentation says."""

from __future__ import annotations

import time
from typing import Any, ClassVar

import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch import callbacks as C
from lightning.pytorch.loggers import CSVLogger
from torch import nn
from torch.nn.utils import prune
from torch.utils.data import DataLoader

from tests.conftest import Classifier

from .table import shows


def metrics_of(logger: CSVLogger) -> list[dict[str, Any]]:
    return logger.experiment.metrics


def weights_of(model: nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().reshape(-1) for parameter in model.parameters()])


class Worsens(Classifier):
    """Its test loss is best after the second epoch."""

    losses = (3.0, 1.0, 2.0, 4.0, 5.0, 6.0)

    def test_step(self, batch):
        return {"loss": torch.tensor(self.losses[self.progress_checker.get_epoch() - 1])}


@shows("EarlyStopping")
@pytest.mark.parametrize("monitor", ["val_loss", "test_loss"])
def test_early_stopping_stops_and_the_next_run_goes_on(make: Any, loader: Any, valid_loader: Any, monitor: str):
    stopping = C.EarlyStopping(monitor, patience=2)
    trainer = make(Worsens, callbacks=[stopping])
    trainer.run(6, loader, valid_loader)
    assert trainer.progress_checker.get_epoch() == 5
    assert stopping.stopped_epoch == 3
    assert float(stopping.best_score) == 1.0
    assert trainer.lightning_trainer.callback_metrics["val_loss"] == 4.0


def test_a_missing_monitor_is_lightnings_error_and_names_what_there_is(make: Any, loader: Any, valid_loader: Any):
    with pytest.raises(RuntimeError, match=r"val_f1.*train_acc"):
        make(callbacks=[C.EarlyStopping("val_f1")]).run(2, loader, valid_loader)


@shows("ModelCheckpoint")
def test_checkpoints_best_last_and_every_few_steps(make: Any, loader: Any, valid_loader: Any, tmp_path: Any):
    best = C.ModelCheckpoint(tmp_path, "best-{epoch}-{val_loss:.1f}", monitor="val_loss")
    last = C.ModelCheckpoint(tmp_path, "{epoch}", save_last=True)
    steps = C.ModelCheckpoint(tmp_path / "steps", "{step}", every_n_train_steps=2, save_top_k=-1)
    trainer = make(Worsens, callbacks=[best, last, steps])
    trainer.run(4, loader, valid_loader)
    assert best.best_model_path.endswith("best-epoch=1-val_loss=1.0.ckpt")
    assert sorted(file.name for file in (tmp_path / "steps").iterdir()) == [
        f"step={step}.ckpt" for step in (10, 12, 2, 4, 6, 8)
    ]
    saved = torch.load(tmp_path / "last.ckpt", weights_only=False)
    assert torch.equal(saved["state_dict"]["model.weight"], trainer.model.weight)
    assert saved["global_step"] == 12


@shows("OnExceptionCheckpoint")
def test_a_checkpoint_on_an_exception(make: Any, loader: Any, tmp_path: Any):
    class Fails(Classifier):
        def train_step(self, batch):
            if len(self.loss_history_train) == 4:
                raise ValueError("no more")
            return super().train_step(batch)

    trainer = make(Fails, callbacks=[C.OnExceptionCheckpoint(tmp_path, "died")])
    with pytest.raises(ValueError, match="no more"):
        trainer.run(3, loader)
    saved = torch.load(tmp_path / "died.ckpt", weights_only=False)
    assert saved["global_step"] == 4
    assert torch.equal(saved["state_dict"]["model.weight"], trainer.model.weight)


@shows("LearningRateMonitor")
def test_the_learning_rate_is_logged(make: Any, loader: Any, tmp_path: Any):
    logger = CSVLogger(tmp_path)
    scheduler = lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)  # noqa: E731
    trainer = make(callbacks=[C.LearningRateMonitor("epoch")], loggers=[logger], scheduler=scheduler)
    trainer.run(3, loader)
    lines = (tmp_path / "lightning_logs" / "version_0" / "metrics.csv").read_text().splitlines()
    column = lines[0].split(",").index("lr-SGD")
    assert [float(line.split(",")[column]) for line in lines[1:] if line.split(",")[column]] == [0.1, 0.05, 0.025]


@shows("StochasticWeightAveraging")
def test_stochastic_weight_averaging_ends_with_the_weights_of_a_module_written_by_hand(make: Any, loader: Any):
    def averaging() -> C.StochasticWeightAveraging:
        return C.StochasticWeightAveraging(swa_lrs=0.05, swa_epoch_start=2, annealing_epochs=1)

    class ByHand(L.LightningModule):
        def __init__(self, model: nn.Module) -> None:
            super().__init__()
            self.model = model

        def training_step(self, batch, batch_idx):
            return nn.functional.cross_entropy(self.model(batch[0]), batch[1])

        def configure_optimizers(self):
            return torch.optim.SGD(self.model.parameters(), lr=0.1)

    ends = []
    for ours in (True, False):
        torch.manual_seed(0)
        model = nn.Linear(10, 2)
        if ours:
            trainer = make(model=model, callbacks=[averaging()])
            trainer.run(5, loader)
        else:
            silent = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
            L.Trainer(max_epochs=5, callbacks=[averaging()], accelerator="cpu", **silent).fit(ByHand(model), loader)
        ends.append(weights_of(model))
    assert torch.equal(*ends)
    assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(0.05)
    torch.manual_seed(0)
    plain = make()
    plain.run(5, loader)
    assert not torch.allclose(weights_of(plain.model), ends[0])


@shows("EMAWeightAveraging", "WeightAveraging")
@pytest.mark.parametrize(
    ("callback", "decay"),
    [
        (lambda: C.EMAWeightAveraging(decay=0.5), 0.5),
        (lambda: C.WeightAveraging(avg_fn=lambda averaged, new, n: 0.5 * averaged + 0.5 * new), 0.5),
    ],
)
def test_averaged_weights_are_validated_with_and_kept(make: Any, loader: Any, valid_loader: Any, callback, decay):
    trained: list[torch.Tensor] = []
    validated: list[torch.Tensor] = []

    class Notes(Classifier):
        def train_step(self, batch):
            trained.append(weights_of(self.model).clone())
            return super().train_step(batch)

        def test_step(self, batch):
            validated.append(weights_of(self.model).clone())
            return super().test_step(batch)

    trainer = make(Notes, callbacks=[callback()])
    trainer.run(1, loader, valid_loader)
    averaged = trained[0]
    for weights in trained[1:]:
        averaged = decay * averaged + (1 - decay) * weights
    assert not torch.equal(validated[0], trained[-1])
    assert torch.equal(validated[0], weights_of(trainer.model))


@shows("GradientAccumulationScheduler")
def test_gradients_accumulate_by_a_schedule(make: Any, loader: Any):
    trainer = make(callbacks=[C.GradientAccumulationScheduler({0: 1, 1: 3})])
    trainer.run(2, loader)
    assert trainer.lightning_trainer.global_step == 3 + 1
    assert len(trainer.get_loss_history()) == 6


class WithBackbone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(10, 8), nn.BatchNorm1d(8))
        self.head = nn.Linear(8, 2)

    def forward(self, x):
        return self.head(self.backbone(x).relu())


@shows("BackboneFinetuning", note="works, with a model that has a `backbone`")
def test_a_backbone_is_frozen_and_then_trained(make: Any, loader: Any):
    model = WithBackbone()
    optimizer = torch.optim.SGD(model.head.parameters(), lr=0.1)
    finetuning = C.BackboneFinetuning(unfreeze_backbone_at_epoch=1, backbone_initial_lr=0.01)
    trainer = make(model=model, optimizer=optimizer, callbacks=[finetuning])
    backbone, head = weights_of(model.backbone).clone(), weights_of(model.head).clone()
    trainer.run(1, loader)
    assert torch.equal(weights_of(model.backbone), backbone)
    assert not torch.equal(weights_of(model.head), head)
    trainer.run(2, loader)
    assert not torch.equal(weights_of(model.backbone), backbone)
    assert len(optimizer.param_groups) == 2


@shows("ModelPruning")
def test_weights_are_pruned(make: Any, loader: Any):
    model = nn.Linear(10, 2)
    pruning = C.ModelPruning("l1_unstructured", [(model, "weight")], amount=0.5, use_lottery_ticket_hypothesis=False)
    trainer = make(model=model, callbacks=[pruning])
    trainer.run(1, loader)
    assert int((model.weight == 0).sum()) == 10
    assert not prune.is_pruned(model)


@shows("BatchSizeFinder")
def test_the_batch_size_is_found_and_used(make: Any, dataset: Any):
    finder = C.BatchSizeFinder(mode="power", steps_per_trial=1, init_val=2, max_trials=3)
    trainer = make(callbacks=[finder])
    trainer.run(1, DataLoader(dataset, 2))
    assert finder.optimal_batch_size == 8
    assert len(trainer.get_loss_history()) == 3
    assert trainer.progress_checker.get_step() == 4
    assert trainer.batch_size == 8


@shows("LearningRateFinder")
def test_a_learning_rate_is_found_and_used(make: Any, dataset: Any):
    finder = C.LearningRateFinder(min_lr=1e-4, max_lr=1.0, num_training_steps=20, early_stop_threshold=None)
    trainer = make(callbacks=[finder])
    trainer.run(2, DataLoader(dataset, 2))
    assert trainer.optimizer.param_groups[0]["lr"] == finder.optimal_lr.suggestion()
    assert finder.optimal_lr.suggestion() not in (None, 0.1)
    assert len(trainer.get_loss_history()) == 24
    assert trainer.progress_checker.get_step() == 25
    assert trainer.lightning_trainer.global_step == 24


@shows("Timer")
def test_a_timer_ends_a_run(make: Any, loader: Any):
    class Slow(Classifier):
        def train_step(self, batch):
            time.sleep(0.05)
            return super().train_step(batch)

    timer = C.Timer(duration={"seconds": 0.4}, interval="step")
    trainer = make(Slow, callbacks=[timer])
    trainer.run(100, loader)
    assert trainer.progress_checker.get_epoch() < 10
    assert timer.time_elapsed("train") >= 0.4


@shows("DeviceStatsMonitor", note="works, with a logger; on the CPU it needs psutil")
def test_device_statistics_are_logged(make: Any, loader: Any, tmp_path: Any):
    trainer = make(
        callbacks=[C.DeviceStatsMonitor(cpu_stats=True)],
        loggers=[CSVLogger(tmp_path)],
        lightning={"log_every_n_steps": 1},
    )
    trainer.run(1, loader)
    header = (tmp_path / "lightning_logs" / "version_0" / "metrics.csv").read_text().splitlines()[0]
    assert "DeviceStatsMonitor.on_train_batch_start/cpu_percent" in header


@shows("ThroughputMonitor", note="works, with a logger")
def test_throughput_is_logged(make: Any, loader: Any, tmp_path: Any):
    monitor = C.ThroughputMonitor(batch_size_fn=lambda batch: len(batch[0]), window_size=2)
    trainer = make(callbacks=[monitor], loggers=[CSVLogger(tmp_path)], lightning={"log_every_n_steps": 1})
    trainer.run(2, loader)
    header = (tmp_path / "lightning_logs" / "version_0" / "metrics.csv").read_text().splitlines()[0]
    assert "train/samples" in header


@shows("SpikeDetection")
def test_a_spike_is_detected(make: Any, dataset: Any, tmp_path: Any):
    class Spikes(Classifier):
        def train_step(self, batch):
            step = super().train_step(batch)
            return {"loss": step["loss"] * (1e6 if len(self.loss_history_train) == 9 else 1)}

    class Detects(C.SpikeDetection):
        spikes: ClassVar[list[int]] = []

        def _handle_spike(self, trainer, batch_idx):
            self.spikes.append(batch_idx)

    trainer = make(Spikes, callbacks=[Detects(warmup=3, exclude_batches_path=str(tmp_path / "spikes.json"))])
    trainer.run(1, DataLoader(dataset, 2))
    assert Detects.spikes == [9]


@shows("RichProgressBar", "TQDMProgressBar", note="works; zae-engine's own bar steps back")
@pytest.mark.parametrize("bar", ["RichProgressBar", "TQDMProgressBar"])
def test_lightnings_bars_show_the_means(make: Any, loader: Any, valid_loader: Any, capfd: Any, bar: str):
    progress = getattr(C, bar)(refresh_rate=1, leave=True)
    trainer = make(callbacks=[progress])
    trainer.run(2, loader, valid_loader)
    out, err = capfd.readouterr()
    assert "Epoch 1" in out + err
    assert progress.get_metrics(trainer.lightning_trainer, trainer.lightning_module).keys() >= {"loss"}


@shows("ModelSummary", "RichModelSummary")
@pytest.mark.parametrize("summary", ["ModelSummary", "RichModelSummary"])
def test_the_model_is_summarised(make: Any, loader: Any, capfd: Any, caplog: Any, summary: str):
    caplog.set_level("INFO", "lightning.pytorch")
    make(callbacks=[getattr(C, summary)()], lightning={"enable_model_summary": True}).run(1, loader)
    assert "22" in capfd.readouterr().out + caplog.text  # parameters


@shows("LambdaCallback")
def test_functions_as_callbacks(make: Any, loader: Any):
    seen: list[Any] = []
    note = C.LambdaCallback(
        on_train_batch_end=lambda trainer, module, outputs, batch, batch_idx: seen.append(
            (sorted(outputs), len(batch[0]), batch_idx, trainer.global_step, trainer.current_epoch)
        )
    )
    trainer = make(callbacks=[note])
    trainer.run(1, loader)
    trainer.run(1, loader)
    assert seen == [(["acc", "loss"], 8, step % 3, step + 1, step // 3) for step in range(6)]


@shows("BasePredictionWriter", note="works, with `trainer.lightning_module` in `L.Trainer.predict`")
def test_predictions_are_written(make: Any, valid_loader: Any, tmp_path: Any):
    class Writer(C.BasePredictionWriter):
        def write_on_epoch_end(self, trainer, module, predictions, batch_indices):
            torch.save(predictions, tmp_path / "predictions.pt")

    trainer = make()
    own = L.Trainer(callbacks=[Writer("epoch")], logger=False, enable_progress_bar=False)
    own.predict(trainer.lightning_module, valid_loader)
    written = torch.load(tmp_path / "predictions.pt", weights_only=False)
    assert torch.equal(torch.cat(written), trainer.predict(valid_loader))


def test_callbacks_know_the_results_when_an_epoch_ends(make: Any, loader: Any, valid_loader: Any):
    seen: list[Any] = []
    note = C.LambdaCallback(
        on_train_epoch_end=lambda trainer, _: seen.append(("train", dict(trainer.callback_metrics))),
        on_validation_epoch_end=lambda trainer, _: seen.append(("val", dict(trainer.callback_metrics))),
    )

    class Measures(Classifier):
        def metric_on_epoch_end(self):
            return {"f1": 0.5 if self.mode == "train" else 0.25}

    trainer = make(Measures, callbacks=note)
    trainer.run(1, loader, valid_loader)
    (first, val), (second, train) = seen
    assert (first, second) == ("val", "train")
    assert set(val) == set(train) == {
        "train_loss", "train_acc", "train_f1", "test_loss", "test_f1", "val_loss", "val_f1",
    }  # fmt: skip
    assert val["val_f1"] == val["test_f1"] == 0.25
    assert val["train_f1"] == 0.5
    assert float(val["val_loss"]) == pytest.approx(float(torch.stack(trainer.log_test["loss"]).mean()))
    assert float(val["train_loss"]) == pytest.approx(float(trainer.get_loss_history()[-1]))  # as on_step=True gives it
    assert float(train["train_loss"]) == pytest.approx(float(torch.stack(trainer.get_loss_history()).mean()))


def test_results_are_known_without_validation_and_in_tests(make: Any, loader: Any, valid_loader: Any):
    seen: list[Any] = []
    note = C.LambdaCallback(
        on_train_epoch_end=lambda trainer, _: seen.append(set(trainer.callback_metrics)),
        on_test_epoch_end=lambda trainer, _: seen.append(set(trainer.callback_metrics)),
    )
    trainer = make(callbacks=[note])
    trainer.run(1, loader)
    trainer.inference(valid_loader)
    assert seen == [{"train_loss", "train_acc"}, {"test_loss"}]


def test_a_callback_can_stop_the_run_and_reach_model_and_optimizer(make: Any, loader: Any):
    seen: list[Any] = []

    def stop(trainer, module):
        seen.append((trainer.optimizers[0], list(module.parameters())))
        trainer.should_stop = trainer.current_epoch == 1

    trainer = make(callbacks=[C.LambdaCallback(on_train_epoch_end=stop)])
    trainer.run(10, loader)
    assert trainer.progress_checker.get_epoch() == 3
    assert seen[0][0] is trainer.optimizer
    assert seen[0][1][0] is trainer.model.weight


def test_a_callback_that_does_nothing_changes_no_number(make: Any, loader: Any, valid_loader: Any, tmp_path: Any):
    ends = []
    for parts in ({}, {"callbacks": [C.Callback()], "loggers": [CSVLogger(tmp_path)]}):
        torch.manual_seed(0)
        trainer = make(model=nn.Sequential(nn.Linear(10, 8), nn.Dropout(), nn.Linear(8, 2)), **parts)
        trainer.run(2, loader, valid_loader)
        ends.append((weights_of(trainer.model), torch.stack(trainer.get_loss_history()), torch.get_rng_state()))
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))
