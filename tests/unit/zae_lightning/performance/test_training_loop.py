"""Training loop: it does what Lightning's loop does, and leaves to it what it does not know."""

from __future__ import annotations

import hashlib
import inspect
import logging

import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch.callbacks import Callback, GradientAccumulationScheduler
from lightning.pytorch.core.module import LightningModule
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loops.evaluation_loop import _EvaluationLoop
from lightning.pytorch.loops.fetchers import _DataFetcher, _PrefetchDataFetcher
from lightning.pytorch.loops.optimization.automatic import Closure, ClosureResult, _AutomaticOptimization
from lightning.pytorch.loops.optimization.manual import ManualResult, _ManualOptimization
from lightning.pytorch.loops.progress import _Progress
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop
from lightning.pytorch.plugins.precision import MixedPrecision, Precision
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy, Strategy
from lightning.pytorch.trainer import call
from lightning.pytorch.trainer.connectors.logger_connector.logger_connector import _LoggerConnector
from lightning.pytorch.utilities.combined_loader import CombinedLoader, _MaxSizeCycle
from torch.utils.data import DataLoader
from zae_lightning.performance import evaluation_loop, training_loop
from zae_lightning.performance.training_loop import FastTrainingEpochLoop

from tests.conftest import Classifier
from tests.integration.lightning.test_data_modules import Data

from .recording import recorder

SOURCES = {
    _TrainingEpochLoop: "run done advance on_advance_end _should_check_val_fx _should_accumulate update_lr_schedulers",
    _AutomaticOptimization: "run _optimizer_step _make_zero_grad_fn _on_before_zero_grad _optimizer_zero_grad "
    "_training_step",
    Closure: "closure",
    ClosureResult: "from_training_step_output _clone_loss asdict",
    _ManualOptimization: "run on_run_start advance on_run_end",
    ManualResult: "from_training_step_output",
    _EvaluationLoop: "_evaluation_step",
    _DataFetcher: "__next__",
    _PrefetchDataFetcher: "__next__",
    _MaxSizeCycle: "__next__",
    CombinedLoader: "__next__",
    Precision: "pre_backward backward post_backward _after_closure _clip_gradients convert_input",
    MixedPrecision: "pre_backward optimizer_step",
    Strategy: "backward optimizer_step batch_to_device training_step validation_step pre_backward post_backward",
    SingleDeviceStrategy: "",
    DDPStrategy: "optimizer_step pre_backward",
    LightningOptimizer: "step",
    LightningModule: "backward optimizer_step on_before_batch_transfer on_after_batch_transfer "
    "_on_before_batch_transfer _apply_batch_transfer_handler _call_batch_hook",
    _Progress: "increment_ready increment_started increment_processed increment_completed",
    _LoggerConnector: "on_batch_start on_batch_end update_train_step_metrics update_eval_step_metrics log_metrics",
}
"""The functions of Lightning that the loops do the work of."""
DIGEST = "ab54dbd7a2802cba"  # of Lightning 2.6.0 to 2.6.6


class OwnBatch(Classifier):
    def run_batch(self, batch, **kwargs):
        super().run_batch(batch, **kwargs)


class Switches(Classifier):
    """Tests one batch in the middle of an epoch."""

    def train_step(self, batch):
        if self.progress_checker.get_step() == 2:
            self.toggle("test")
        elif self.mode == "test":
            self.toggle("train")
        return super().train_step(batch)

    def logging(self, step_dict):
        super().logging(step_dict)
        self.mode = "train"


class FewIterations(torch.optim.LBFGS):
    def __init__(self, parameters):
        super().__init__(parameters, lr=0.1, max_iter=2)


def none_in_between(dataset):
    batches = list(DataLoader(dataset, 8))
    return [batches[0], None, *batches[1:]]


def run(make, dataset, hooks=(), n_epoch=2, cls=Classifier, loader=None, **kwargs):
    """Return what a trainer records in a run: the hooks' events, the weights, the metrics, the logs."""
    torch.manual_seed(0)
    record = recorder(*hooks)
    callbacks = [record, *(make_callback() for make_callback in kwargs.pop("more", ()))]
    trainer = make(cls, callbacks=callbacks, **kwargs)
    trainer.run(n_epoch, loader or DataLoader(dataset, 8, shuffle=True), DataLoader(dataset, 12))
    trainer.toggle("test")
    trainer.run(1, DataLoader(dataset, 12))
    weights = {key: value.tolist() for key, value in trainer.model.state_dict().items()}
    rates = [group["lr"] for group in trainer.optimizer.param_groups]
    rows = [{key: value for key, value in row.items() if key != "seconds"} for row in trainer.history]
    return record.events, weights, rates, dict(trainer._zae_state.records.lightning_progress), rows


CASES = {
    "all hooks": {},
    "hooks of batches": {"hooks": ("on_train_batch_start", "on_train_batch_end", "on_validation_batch_end")},
    "hooks of the backward pass": {"hooks": ("on_before_backward", "on_after_backward", "on_before_optimizer_step")},
    "own run_batch": {"cls": OwnBatch},
    "clipping": {"gradient_clip": 0.1},
    "Lightning's clipping": {"lightning": {"gradient_clip_val": 0.1}},
    "scheduler per epoch": {"scheduler": lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 1)},
    "scheduler per batch": {
        "scheduler": lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 1),
        "scheduler_step_on_batch": True,
    },
    "validation within the epoch": {"lightning": {"val_check_interval": 2}},
    "validation over epochs": {"lightning": {"val_check_interval": 2, "check_val_every_n_epoch": None}},
    "validation in some epochs": {"lightning": {"check_val_every_n_epoch": 2}},
    "fewer batches": {"lightning": {"limit_train_batches": 2, "limit_val_batches": 1}},
    "fewer steps": {"lightning": {"max_steps": 4}},
    "accumulation": {"lightning": {"accumulate_grad_batches": 2}},
    "accumulation that begins later": {"more": (lambda: GradientAccumulationScheduler({1: 2}),)},
    "sanity check": {"lightning": {"num_sanity_val_steps": 1}},
    "LBFGS": {"optimizer": FewIterations},
    "None among the batches": {"loader": none_in_between},
    "a batch of test mode": {"cls": Switches},
    "anomaly detection": {"lightning": {"detect_anomaly": True}},
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", CASES)
def test_callbacks_see_what_they_see_in_lightnings_loop(case, make, dataset, monkeypatch):
    def play():
        given = dict(CASES[case])
        if "loader" in given:
            given["loader"] = given["loader"](dataset)
        return run(make, dataset, **given)

    fast = play()
    monkeypatch.setattr(training_loop, "plan_for", lambda trainer: None)
    monkeypatch.setattr(evaluation_loop, "plan_for", lambda trainer: None)
    slow = play()
    assert [event[0] for event in fast[0]] == [event[0] for event in slow[0]]
    for one, other in zip(fast[0], slow[0], strict=True):
        assert one == other
    assert fast[1:] == slow[1:]


@pytest.fixture
def batches(monkeypatch):
    """Collects the numbers of the batches that the fast loop trains."""
    seen = []
    original = FastTrainingEpochLoop._advance

    def advance(self, *args):
        original(self, *args)
        seen.append(self.batch_idx)

    monkeypatch.setattr(FastTrainingEpochLoop, "_advance", advance)
    return seen


def test_a_trainer_alone_runs_in_the_fast_loop(make, loader, valid_loader, batches):
    make().run(2, loader, valid_loader)
    make(OwnBatch).run(1, loader)
    assert batches == [0, 1, 2] * 3


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "arguments", [{"accumulate_grad_batches": 2}, {"profiler": "simple"}, {"barebones": True}], ids=str
)
def test_what_it_does_not_know_runs_in_lightnings_loop(arguments, make, loader, batches):
    if "barebones" in arguments:
        arguments = {**arguments, "detect_anomaly": False}
    make(lightning=arguments).run(1, loader)
    assert not batches


def test_a_data_module_runs_in_lightnings_loop(make, dataset, batches):
    make().run(1, Data(dataset))
    assert not batches


def test_debug_lines_of_lightning_are_written_by_its_loop(make, loader, batches, caplog):
    with caplog.at_level(logging.DEBUG, logger=call.log.name):
        make().run(1, loader)
    assert not batches
    assert "calling lightning module hook: on_train_batch_start" in caplog.text


class Later(Callback):
    """Changes something after the first batch."""

    def __init__(self, change):
        self.change, self.calls = change, []

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        if batch_idx == 1:
            self.change(self, trainer, module)


def adds_a_callback(self, trainer, module):
    trainer.callbacks.append(L.callbacks.LambdaCallback(on_train_batch_end=lambda *args: self.calls.append(args[-1])))


def replaces_a_callback(self, trainer, module):
    trainer.callbacks[-1] = L.callbacks.LambdaCallback(on_train_batch_end=lambda *args: self.calls.append(args[-1]))


def gives_a_callback_a_hook(self, trainer, module):
    self.on_train_batch_end = lambda *args: self.calls.append(args[-1])


def gives_the_module_a_hook(self, trainer, module):
    module.on_after_backward = lambda: self.calls.append(trainer.fit_loop.epoch_loop.batch_idx)


def gives_the_strategy_a_method(self, trainer, module):
    original = trainer.strategy.backward

    def backward(*args, **kwargs):
        self.calls.append(trainer.fit_loop.epoch_loop.batch_idx)
        return original(*args, **kwargs)

    trainer.strategy.backward = backward


def gives_the_precision_a_method(self, trainer, module):
    original = trainer.precision_plugin.backward

    def backward(*args, **kwargs):
        self.calls.append(trainer.fit_loop.epoch_loop.batch_idx)
        return original(*args, **kwargs)

    trainer.precision_plugin.backward = backward


@pytest.mark.parametrize(
    "change",
    [
        gives_the_precision_a_method,
        adds_a_callback,
        replaces_a_callback,
        gives_a_callback_a_hook,
        gives_the_module_a_hook,
        gives_the_strategy_a_method,
    ],
)
def test_what_a_callback_changes_during_an_epoch_counts_at_once(change, make, dataset, batches):
    later = Later(change)
    trainer = make(callbacks=[later, Callback()])
    trainer.run(1, DataLoader(dataset, 4))
    assert later.calls == [1, 2, 3, 4, 5]
    assert {0, 1} <= set(batches)


class LogsItself(Callback):
    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        module.log("own", float(batch_idx), on_step=True, on_epoch=True)

    def on_validation_batch_end(self, trainer, module, outputs, batch, batch_idx, dataloader_idx=0):
        module.log("own_val", float(batch_idx))


def test_what_callbacks_log_through_the_module_arrives(make, loader, valid_loader, tmp_path):
    logger = CSVLogger(tmp_path, flush_logs_every_n_steps=1)
    trainer = make(callbacks=[LogsItself()], loggers=[logger], lightning={"log_every_n_steps": 1})
    trainer.run(1, loader, valid_loader)
    metrics = trainer.lightning_trainer.callback_metrics
    assert (metrics["own_step"], metrics["own_epoch"], metrics["own_val"]) == (2.0, 1.0, 0.5)
    logger.experiment.save()
    rows = (tmp_path / "lightning_logs" / "version_0" / "metrics.csv").read_text()
    assert "own_step" in rows
    assert "own_val" in rows


def test_a_changed_loss_does_not_change_the_record(make, loader):
    class Doubles(Callback):
        def on_before_backward(self, trainer, module, loss):
            loss.data.mul_(2.0)

    losses = []
    for callbacks in ([], [Doubles()]):
        torch.manual_seed(0)
        trainer = make(callbacks=callbacks)
        trainer.run(1, loader)
        losses.append(trainer.get_loss_history("train")[0])
    assert losses[0] == losses[1]


class StopsInLogging(Classifier):
    def logging(self, step_dict):
        raise StopIteration("of the user")


class StopsInStep(torch.optim.SGD):
    def __init__(self, parameters):
        super().__init__(parameters, lr=0.1)

    def step(self, closure=None):
        raise StopIteration("of the user")


@pytest.mark.parametrize("given", [{"cls": StopsInLogging}, {"optimizer": StopsInStep}], ids=["logging", "optimizer"])
def test_a_stop_iteration_of_the_user_is_an_error_and_no_end_of_the_data(given, make, loader):
    given = dict(given)
    with pytest.raises(StopIteration, match="of the user"):
        make(given.pop("cls", Classifier), **given).run(1, loader)


def test_the_plan_is_released_after_an_error(make, loader, dataset):
    class Fails(Classifier):
        def train_step(self, batch):
            raise RuntimeError("as planned")

    trainer = make(Fails)
    with pytest.raises(RuntimeError, match="as planned"):
        trainer.run(1, loader)
    assert trainer.lightning_trainer.fit_loop.epoch_loop._plan is None


def test_a_missing_name_of_lightning_leaves_it_to_lightnings_loop(make, loader, batches, monkeypatch, caplog):
    monkeypatch.setattr(training_loop, "call", object())
    with caplog.at_level(logging.DEBUG, logger=training_loop.__name__):
        make().run(1, loader)
    assert not batches
    assert "a name of Lightning is missing" in caplog.text


def test_lightnings_code_is_the_one_that_the_loops_stand_in_for():
    """A new version of Lightning fails here: compare its functions with the loops, then write the new digest."""
    functions = [inspect.getattr_static(cls, name) for cls, names in SOURCES.items() for name in names.split()]
    functions = [getattr(function, "fget", None) or getattr(function, "__func__", function) for function in functions]
    functions += [call._call_callback_hooks, call._call_lightning_module_hook, call._call_strategy_hook]
    source = "".join(inspect.getsource(inspect.unwrap(function)) for function in functions)
    source += inspect.getsource(SingleDeviceStrategy)
    assert hashlib.sha256(source.encode()).hexdigest()[:16] == DIGEST
