"""Every argument of Lightning's trainer does in ``lightning={...}`` what it says, and the records fit."""

from __future__ import annotations

import time
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch import callbacks as C
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.profilers import SimpleProfiler
from torch import nn
from torch.utils.data import DataLoader

from tests.conftest import Classifier
from zae_engine.trainer.addons import MultiGPUAddon

from .table import shows


def run(make: Any, loader: Any, valid_loader: Any = None, n_epoch: int = 2, cls: type = Classifier, **arguments: Any):
    parts = {name: arguments.pop(name) for name in ("callbacks", "loggers", "model") if name in arguments}
    torch.manual_seed(0)
    trainer = make(cls, lightning=arguments, **parts)
    trainer.run(n_epoch, loader, valid_loader)
    return trainer


def counts(trainer: Any) -> tuple[int, ...]:
    """Losses of training and of testing, optimizer steps, and finished epochs."""
    histories = (len(trainer.get_loss_history(mode)) for mode in ("train", "test"))
    return (*histories, trainer.lightning_trainer.global_step, trainer.progress_checker.get_epoch() - 1)


@pytest.mark.parametrize(
    ("name", "value", "instead"),
    [
        ("accelerator", "cpu", "give the trainer a device"),
        ("devices", 2, "MultiGPUAddon"),
        ("num_nodes", 2, "torchrun or srun"),
        ("callbacks", [], r"callbacks=\[...\]"),
        ("logger", False, r"loggers=\[...\]"),
        ("max_epochs", 3, r"run\(n_epoch"),
    ],
)
@shows("accelerator", "devices", note="no: the trainer's `device` says it")
@shows("num_nodes", note="no: it is found from torchrun or SLURM")
@shows("callbacks", note="no: `callbacks=[...]` beside it")
@shows("logger", note="no: `loggers=[...]` beside it")
@shows("max_epochs", note="no: `run(n_epoch, ...)` says it")
def test_what_the_trainer_decides_is_refused_with_what_to_say_instead(make: Any, name: str, value: Any, instead: str):
    with pytest.raises(ValueError, match=f'"{name}".*{instead}'):
        make(lightning={name: value})


@shows("strategy")
def test_strategy(make: Any, loader: Any):
    trainer = run(make, loader, strategy="auto")
    assert counts(trainer) == (6, 0, 6, 2)
    assert type(trainer.lightning_trainer.strategy).__name__ == "SingleDeviceStrategy"


@shows("precision", note="works; `PrecisionMixerAddon` holds outside of `run` too")
def test_precision(make: Any, loader: Any):
    seen: list[torch.dtype] = []

    class Looks(Classifier):
        def train_step(self, batch):
            seen.append(self.model(batch[0]).dtype)
            return super().train_step(batch)

    run(make, loader, cls=Looks, precision="bf16-mixed")
    assert set(seen) == {torch.bfloat16}


@shows("fast_dev_run", note="works: one batch of each loader, whatever `n_epoch`")
def test_fast_dev_run(make: Any, loader: Any, valid_loader: Any):
    assert counts(run(make, loader, valid_loader, fast_dev_run=True)) == (1, 1, 1, 1)


@shows("max_steps", note="works; counted over all runs")
def test_max_steps(make: Any, loader: Any):
    trainer = run(make, loader, n_epoch=5, max_steps=7)
    assert counts(trainer)[::2] == (7, 7)


@shows("min_epochs", "min_steps")
@pytest.mark.parametrize("least", [{"min_epochs": 3}, {"min_steps": 9}])
def test_least_epochs_and_steps(make: Any, loader: Any, least: dict[str, int]):
    stopping = C.EarlyStopping("train_loss", stopping_threshold=100.0)
    assert counts(run(make, loader, n_epoch=5, callbacks=[stopping]))[3] == 1
    stopping = C.EarlyStopping("train_loss", stopping_threshold=100.0)
    assert counts(run(make, loader, n_epoch=5, callbacks=[stopping], **least))[3] == 3


@shows("max_time")
def test_max_time(make: Any, loader: Any):
    class Slow(Classifier):
        def train_step(self, batch):
            time.sleep(0.05)
            return super().train_step(batch)

    assert counts(run(make, loader, n_epoch=50, cls=Slow, max_time={"seconds": 1}))[3] < 20


@shows("limit_train_batches", "limit_val_batches")
def test_limits_of_training_and_validation(make: Any, loader: Any, valid_loader: Any):
    assert counts(run(make, loader, valid_loader, limit_train_batches=2, limit_val_batches=1)) == (4, 2, 4, 2)
    trainer = run(make, loader, valid_loader, limit_val_batches=0)
    assert counts(trainer) == (6, 0, 6, 2)
    assert trainer.loss_buffer < float("inf")  # by the training loss


@shows("limit_test_batches", "limit_predict_batches")
def test_limits_of_tests_and_predictions(make: Any, valid_loader: Any):
    trainer = make(lightning={"limit_test_batches": 1})
    assert len(trainer.inference(valid_loader)) == 1
    own = L.Trainer(limit_predict_batches=1, logger=False, enable_progress_bar=False)
    assert len(own.predict(make().lightning_module, valid_loader)) == 1


@shows("overfit_batches")
def test_overfit_batches(make: Any, dataset: Any):
    seen: list[torch.Tensor] = []

    class Looks(Classifier):
        def train_step(self, batch):
            seen.append(batch[0])
            return super().train_step(batch)

    trainer = run(make, DataLoader(dataset, 8, shuffle=True), n_epoch=3, cls=Looks, overfit_batches=1)
    assert counts(trainer)[0] == 3
    assert all(torch.equal(batch, dataset.tensors[0][:8]) for batch in seen)


@shows("val_check_interval", note="works; what is best is judged at the end of the epoch, by the latest validation")
def test_validation_in_the_middle_of_an_epoch(make: Any, dataset: Any, valid_loader: Any):
    starts: list[int] = []

    class Looks(Classifier):
        def metric_on_epoch_end(self):
            if self.mode == "train":
                return {"steps": len(self.log_train["loss"])}
            starts.append(len(self.log_test["loss"]))
            return {}

    trainer = run(make, DataLoader(dataset, 4), valid_loader, n_epoch=2, cls=Looks, val_check_interval=4)
    assert counts(trainer) == (12, 4, 12, 2)  # of 6 batches an epoch, after the fourth
    assert trainer.train_metrics == {"steps": 6}
    assert len(trainer.log_train["loss"]) == 6
    assert starts == [2, 2]
    assert trainer.mode == "train"
    assert counts(run(make, DataLoader(dataset, 4), valid_loader, n_epoch=1, val_check_interval=0.5)) == (6, 4, 6, 1)


@shows("check_val_every_n_epoch", note="works; epochs without validation are not compared")
def test_validation_every_other_epoch(make: Any, loader: Any, valid_loader: Any):
    compared: list[int] = []

    class Looks(Classifier):
        def check_better(self, cur_epoch, cur_loss):
            compared.append(cur_epoch)
            return super().check_better(cur_epoch, cur_loss)

    trainer = run(make, loader, valid_loader, n_epoch=4, cls=Looks, check_val_every_n_epoch=2)
    assert counts(trainer) == (12, 4, 12, 4)
    assert compared == [1, 3]


@shows("num_sanity_val_steps", note="works; what it runs is not recorded")
def test_sanity_checks_leave_no_trace(make: Any, loader: Any, valid_loader: Any):
    tested: list[int] = []

    class Looks(Classifier):
        def test_step(self, batch):
            tested.append(len(self.get_loss_history()))
            return super().test_step(batch)

    trainer = run(make, loader, valid_loader, n_epoch=1, cls=Looks, num_sanity_val_steps=1)
    assert tested == [0, 3, 3]
    assert counts(trainer) == (3, 2, 3, 1)


@shows("log_every_n_steps", note="works, for callbacks; what the steps return is logged at every step")
def test_log_every_n_steps(make: Any, dataset: Any, tmp_path: Any):
    monitor = C.LearningRateMonitor("step")
    run(
        make, DataLoader(dataset, 4), callbacks=[monitor], loggers=[CSVLogger(tmp_path)], log_every_n_steps=3, n_epoch=1
    )
    lines = (tmp_path / "lightning_logs" / "version_0" / "metrics.csv").read_text().splitlines()
    rate, loss = (lines[0].split(",").index(name) for name in ("lr-SGD", "loss"))
    assert sum(bool(line.split(",")[rate]) for line in lines[1:]) == 2
    assert sum(bool(line.split(",")[loss]) for line in lines[1:]) == 6


@shows("enable_checkpointing", "default_root_dir", "plugins")
def test_checkpoints_of_lightnings_own(make: Any, loader: Any, tmp_path: Any):
    written: list[str] = []

    class Notes(TorchCheckpointIO):
        def save_checkpoint(self, checkpoint, path, storage_options=None):
            written.append(str(path))
            super().save_checkpoint(checkpoint, path, storage_options)

    run(make, loader, enable_checkpointing=True, default_root_dir=tmp_path, plugins=[Notes()])
    assert written
    assert all(path.startswith(str(tmp_path)) for path in written)
    assert len(list(tmp_path.rglob("*.ckpt"))) == 1


@shows("enable_progress_bar", "enable_model_summary", note="works; off by default, as zae-engine has its own bar")
def test_bar_and_summary(make: Any, loader: Any, capfd: Any, caplog: Any):
    caplog.set_level("INFO")
    run(make, loader, enable_progress_bar=True, enable_model_summary=True)
    out, err = capfd.readouterr()
    assert "Epoch 1" in out + err
    assert "Trainable params" in out + err + caplog.text


@shows("accumulate_grad_batches")
def test_gradients_accumulate(make: Any, dataset: Any):
    trainer = run(make, DataLoader(dataset, 4), n_epoch=1, accumulate_grad_batches=2)
    assert counts(trainer) == (6, 0, 3, 1)
    torch.manual_seed(0)
    model = nn.Linear(10, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for x, y in DataLoader(dataset, 8):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    assert torch.allclose(trainer.model.weight, model.weight, atol=1e-6)


@shows("gradient_clip_val", "gradient_clip_algorithm")
def test_clipping(make: Any, dataset: Any):
    loader = DataLoader(dataset, 8)
    by_lightning = run(make, loader, gradient_clip_val=0.05, gradient_clip_algorithm="norm")
    torch.manual_seed(0)
    by_trainer = make(gradient_clip=0.05)
    by_trainer.run(2, loader)
    assert torch.equal(by_lightning.model.weight, by_trainer.model.weight)
    by_value = run(make, loader, n_epoch=1, gradient_clip_val=1e-4, gradient_clip_algorithm="value")
    torch.manual_seed(0)
    assert (by_value.model.weight - nn.Linear(10, 2).weight).abs().max() <= 3 * 0.1 * 1.01e-4


@shows("deterministic", "benchmark")
def test_flags_of_torch(make: Any, loader: Any):
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    try:
        run(make, loader, deterministic=True, benchmark=False)
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.backends.cudnn.benchmark is False
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.benchmark = before[1]


@shows("inference_mode", note="works; off by default, so that outputs may be trained with later")
def test_inference_mode(make: Any, valid_loader: Any):
    for given, expected in (({}, False), ({"inference_mode": True}, True)):
        seen: list[bool] = []

        class Looks(Classifier):
            def test_step(self, batch, seen=seen):
                seen.append(torch.is_inference_mode_enabled())
                return super().test_step(batch)

        make(Looks, lightning=given).inference(valid_loader)
        assert set(seen) == {expected}


@shows("use_distributed_sampler", note="works; false for loaders that know their rank by themselves")
def test_use_distributed_sampler(make: Any, dataset: Any):
    trainer = make(
        Classifier.add_on(MultiGPUAddon), device=["cpu", "cpu"], lightning={"use_distributed_sampler": False}
    )
    trainer.run(1, DataLoader(dataset, 8))
    assert len(trainer.get_loss_history()) == 3  # both processes had all three batches


@shows("profiler")
def test_profiler(make: Any, loader: Any, tmp_path: Any):
    profiler = SimpleProfiler(tmp_path, "profile")
    run(make, loader, profiler=profiler)
    assert len(profiler.recorded_durations["run_training_batch"]) == 6


@shows("detect_anomaly")
def test_detect_anomaly(make: Any, loader: Any):
    class Breaks(Classifier):
        def train_step(self, batch):
            x = self.model(batch[0]) * 0
            return {"loss": (x / x).sum()}

    with pytest.raises(RuntimeError, match="returned nan values"):
        run(make, loader, cls=Breaks, detect_anomaly=True)


@shows("barebones")
def test_barebones(make: Any, loader: Any, valid_loader: Any):
    trainer = run(make, loader, valid_loader, barebones=True)
    assert counts(trainer) == (6, 4, 6, 2)
    assert trainer.lightning_trainer.barebones


@shows("sync_batchnorm", note="works, with several GPUs; torch has it for CUDA only")
def test_sync_batchnorm(make: Any, loader: Any):
    model = nn.Sequential(nn.Linear(10, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    assert counts(run(make, loader, model=model, sync_batchnorm=True)) == (6, 0, 6, 2)


@shows("reload_dataloaders_every_n_epochs", note="without effect: a loader is iterated anew in every epoch")
def test_reload_dataloaders(make: Any, loader: Any):
    assert counts(run(make, loader, reload_dataloaders_every_n_epochs=1)) == (6, 0, 6, 2)


@shows("enable_autolog_hparams", note="without effect: the trainer logs its settings to loggers by itself")
@shows("model_registry", note="works, with Lightning's model hub")
def test_arguments_of_services(make: Any, loader: Any):
    assert counts(run(make, loader, enable_autolog_hparams=False, model_registry=None)) == (6, 0, 6, 2)
