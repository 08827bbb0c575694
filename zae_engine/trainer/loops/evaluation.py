"""Evaluation: predicting and evaluating with a trainer, whose records are afterwards as before."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import torch

from .. import checks
from .._protocol import TrainerProtocol
from ..checkpoint.weights import clone_state_dict, for_sharded_model
from ..data.batches import batches_of, join_outputs
from ..data.devices import map_tensors
from ..logs.epoch_log import resume, suspend
from ..logs.value_buffer import on_cpu
from ..utilities.modes import Mode
from ..utilities.rng import random_state, set_random_state
from ..utilities.sharded_tensors import is_sharded_module, reshard
from .multi_process import is_model_parallel, joined_process_group, should_launch
from .phase import metrics_of, results_of
from .prediction import predict_batch
from .runner import launch


def predict(trainer: TrainerProtocol, data: Any, batch_size: int | None, weights: str | None) -> Any:
    """Return the joined outputs of ``trainer.predict_step``; see `Trainer.predict`."""
    checks.require_model(trainer)
    size = batch_size if batch_size is not None else trainer.batch_size
    with _mode(trainer, "test"), _weights(trainer, weights):
        if not should_launch(trainer):
            return _predict(trainer, data, size)
        launch(trainer, _predict_and_keep, data, size)
        return vars(trainer).pop("_zae_outputs")


def _predict_and_keep(trainer: TrainerProtocol, data: Any, batch_size: int | None) -> None:
    """Predict in one of several processes; rank 0 sends its attributes to the process of the user."""
    trainer._zae_outputs = _predict(trainer, data, batch_size)  # type: ignore[attr-defined]


def _predict(trainer: TrainerProtocol, data: Any, batch_size: int | None) -> Any:
    world, device = trainer._zae_state.process.world, trainer.device[trainer.primary_device_index]
    if is_model_parallel(trainer) and device.type != "cpu" and not is_sharded_module(trainer.model):
        raise ValueError(
            f"predict on {device} needs a sharded model, but it is whole and on the CPU. Call run or evaluate first: "
            f"they shard it."
        )
    batches = batches_of(data, batch_size, _precision(trainer.model))
    with joined_process_group(trainer):
        if world is None:
            return join_outputs([output for _, output in _outputs(trainer, batches, 0, 1)])
        set_random_state(world.broadcast(random_state()))  # every rank iterates in the same order
        outputs = list(_outputs(trainer, batches, world.data_rank, world.data_size))
        gathered = [pair for pairs in world.gather_shares(outputs) for pair in pairs]
        return join_outputs([output for _, output in sorted(gathered, key=lambda pair: pair[0])])


def _precision(model: Any) -> torch.dtype | None:
    """Return the type of a model's weights; None if there are none of floating point."""
    parameters = model.parameters() if isinstance(model, torch.nn.Module) else ()
    return next((parameter.dtype for parameter in parameters if parameter.is_floating_point()), None)


def _outputs(trainer: TrainerProtocol, batches: Any, rank: int, size: int) -> Iterator[tuple[int, Any]]:
    """Yield the number and the output of each batch of a rank."""
    all_take_part = is_sharded_module(trainer.model)  # in each forward pass, with any batch
    with _eval_mode(trainer.model), torch.no_grad():
        for numbered in _groups(batches, size):
            index, batch = numbered[rank] if rank < len(numbered) else (-1, None)
            others = [other for _, other in numbered if other is not None]
            if all_take_part and others and batch is None:
                index, batch = -1, others[0]
            if batch is None:
                continue
            with trainer._zae_state.config.precision.forward():
                output = predict_batch(trainer, batch, index + 1)
            if index >= 0:
                yield index, map_tensors(output, on_cpu)
    reshard(trainer.model)


def _groups(batches: Any, size: int) -> Iterator[list[tuple[int, Any]]]:
    """Yield the batches with their numbers, one for each rank at a time; the last may be fewer."""
    numbered = enumerate(batches)
    while group := list(islice(numbered, size)):
        yield group


def evaluate(trainer: TrainerProtocol, run_epoch: Callable[[], None], weights: str | None) -> dict[str, float]:
    """Run a test epoch, and return its results by the names of the steps; see `Trainer.evaluate`."""
    with _mode(trainer, "test"), _eval_mode(trainer.model), _weights(trainer, weights), _records_restored(trainer):
        run_epoch()
        results = results_of(trainer, metrics_of(trainer))
        return {key.removeprefix("test_"): value for key, value in results.items()}


def outputs_of(trainer: TrainerProtocol) -> list[Any]:
    """Return what the test steps returned under ``"output"``; warn once if there is only a similar key."""
    outputs: list[Any] = trainer.log_test.get("output", [])
    close = [] if outputs else difflib.get_close_matches("output", map(str, trainer.log_test), n=1, cutoff=0.7)
    if close and not trainer._zae_state.records.warned_outputs:
        trainer._zae_state.records.warned_outputs = True
        warnings.warn(
            f'test_step returns "{close[0]}", but inference collects what is under "output", so that its list is '
            f'empty. Rename the key, or read trainer.log_test["{close[0]}"].',
            stacklevel=3,
        )
    return outputs


@contextmanager
def _mode(trainer: TrainerProtocol, mode: Mode) -> Iterator[None]:
    before = trainer.mode
    trainer.toggle(mode)
    try:
        yield
    finally:
        trainer.toggle(before)


@contextmanager
def _eval_mode(model: Any) -> Iterator[None]:
    """Switch a model to eval mode within the block, and restore the mode of each of its modules."""
    modes = [(module, module.training) for module in model.modules()] if isinstance(model, torch.nn.Module) else []
    if modes:
        model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def _weights(trainer: TrainerProtocol, weights: str | None) -> Iterator[None]:
    """Use the best weights within the block, if ``weights`` says so."""
    if weights is None:
        yield
        return
    if weights != "best":
        raise ValueError(f'weights={weights!r} is unknown: accepted are "best", and None for the present weights.')
    if not trainer.weight_buffer.get("weight"):
        raise ValueError('weights="best" needs best weights, but no epoch has been better than the start. Run first.')
    present = clone_state_dict(trainer.model)
    trainer.model.load_state_dict(for_sharded_model(trainer.model, trainer.weight_buffer["weight"][-1]))
    try:
        yield
    finally:
        trainer.model.load_state_dict(for_sharded_model(trainer.model, present))  # the block may have sharded it


@contextmanager
def _records_restored(trainer: TrainerProtocol) -> Iterator[None]:
    """Restore logs, metrics, counts, history and loggers after the block."""
    records, process = trainer._zae_state.records, trainer._zae_state.process
    loggers, trainer.loggers = trainer.loggers, [] if isinstance(trainer.loggers, list) else trainer.loggers
    logs = [(log, suspend(log)) for log in (trainer.log_train, trainer.log_test)]
    metrics = [(values, dict(values)) for values in (trainer.train_metrics, trainer.test_metrics)]
    progress, connector = trainer.progress_checker.state_dict(), records.logger_connector.state_dict()
    n_losses = {mode: len(losses) for mode, losses in records.history.losses.items()}
    counts = {name: getattr(trainer, name) for name in ("n_data", "n_valid_data", "batch_size", "valid_batch_size")}
    lightning = trainer.lightning_trainer, process.lightning_run
    trainer.test_metrics.clear()
    try:
        yield
    finally:
        trainer.loggers = loggers
        for log, content in logs:
            resume(log, content)
        for values, content in metrics:
            values.clear()
            values.update(content)
        trainer.progress_checker.load_state_dict(progress)
        records.logger_connector.load_state_dict(connector)
        for mode, number in n_losses.items():
            records.history.losses[mode].truncate(number)
        vars(trainer).update(counts)
        trainer.lightning_trainer, process.lightning_run = lightning
