"""Multiple processes: launching them, the share of the loaders of each, and one log of all ranks."""

from __future__ import annotations

import inspect
import math
import sys
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain, repeat
from typing import Any

import torch
import torch.distributed as dist

from .. import checks
from .._protocol import TrainerProtocol
from ..data import devices
from ..distributed.log_merging import merge, merged_sizes
from ..distributed.parameters import TrainableParameters, buffers
from ..distributed.sharding import ShardedLoader
from ..distributed.world import World
from ..logs.epoch_log import log_of, peek, replace
from ..logs.epoch_results import to_floats
from ..overrides import is_overridden
from ..utilities.import_guard import guarded_import


def is_distributed(trainer: TrainerProtocol) -> bool:
    """Whether the trainer uses all of its devices: by MultiGPUAddon, or by a strategy of Lightning."""
    return trainer._zae_is_distributed or not _is_auto(_strategy(trainer))


def should_launch(trainer: TrainerProtocol) -> bool:
    """Whether the trainer starts processes for what it is about to do."""
    if trainer._zae_state.process.world is not None or not is_distributed(trainer):
        return False
    if len(trainer.device) > 1:
        return True
    records = trainer._zae_state.records
    if trainer._zae_is_distributed and not records.warned_one_device:
        records.warned_one_device = True
        warnings.warn(
            f"There is one device ({trainer.device[0]}), so everything runs in this process. For several processes "
            f'give a list, device=["cuda:0", "cuda:1"] or device=["cpu", "cpu"], or start the script with torchrun.',
            stacklevel=3,
        )
    return False


def is_model_parallel(trainer: TrainerProtocol) -> bool:
    """Whether the strategy is Lightning's ModelParallelStrategy, which shards the model."""
    return _is_class(_strategy(trainer), "ModelParallelStrategy")


def keeps_model_on_cpu(trainer: TrainerProtocol) -> bool:
    """Whether the model stays on the CPU: until it is sharded; in a notebook, where CUDA would prevent a fork later."""
    if is_model_parallel(trainer):
        return True
    is_launched = trainer._zae_state.process.world is not None
    return hasattr(sys, "ps1") and is_distributed(trainer) and len(trainer.device) > 1 and not is_launched


def warn_unused_devices(trainer: TrainerProtocol) -> None:
    """Warn of a list of devices of which the trainer uses only the first."""
    if len(trainer.device) > 1 and not is_distributed(trainer):
        warnings.warn(
            f"device is a list of {len(trainer.device)}, but the trainer has no MultiGPUAddon: it runs on the first, "
            f"{trainer.device[0]}. To use all, make the class with Trainer.add_on(MultiGPUAddon).",
            stacklevel=4,
        )


def warn_lone_worker(trainer: TrainerProtocol) -> None:
    """Warn once of a worker of Ray Train that trains apart from the other workers of its group."""
    records = trainer._zae_state.records
    if records.warned_alone or trainer.mode != "train" or is_distributed(trainer):
        return
    world = World.from_environment()
    if world is not None and world.launcher == "ray":
        records.warned_alone = True
        warnings.warn(
            f"Ray Train has started {world.size} workers, but this trainer trains by itself in each of them, on all of "
            f"its data. To train together, make the class with Trainer.add_on(MultiGPUAddon), or give "
            f'lightning={{"strategy": RayDDPStrategy(), "plugins": [RayLightningEnvironment()]}}.',
            stacklevel=4,
        )


def select_device(trainer: TrainerProtocol) -> None:
    """Select the device of this process, if a launcher such as torchrun has started several."""
    distributed = is_distributed(trainer)
    world = World.from_environment() if distributed else None
    _check_strategy(trainer, world)
    _warn_of_copies(trainer, world)
    if world is None:
        warn_unused_devices(trainer)
        if distributed:
            trainer.device = devices.check_one_per_process(trainer.device)
        return
    trainer._zae_state.process.world = world
    world.replicas = _tensor_parallel_size(trainer, world)
    trainer.device = devices.local_rank_devices(trainer.device, world.local_size, world.launcher)
    trainer.primary_device_index = world.local_rank
    if trainer.device[0].type == "cuda":
        torch.cuda.set_device(trainer.device[world.local_rank])


def _check_strategy(trainer: TrainerProtocol, world: World | None) -> None:
    """Raise `ValueError` for a strategy that shards the model in a way that the trainer could not save."""
    strategy = _strategy(trainer)
    if _is_class(strategy, "FSDPStrategy") or (isinstance(strategy, str) and strategy.startswith("fsdp")):
        raise ValueError(
            f"Lightning's FSDPStrategy joins parameters to flat ones, of which the trainer could keep no weights. Use "
            f'its successor: lightning={{"strategy": ModelParallelStrategy(data_parallel_size=n, '
            f"tensor_parallel_size=1)}}. {checks.NO_SHARDING}"
        )
    if is_model_parallel(trainer) and world is None and len(trainer.device) > 1:
        raise ValueError(
            f"ModelParallelStrategy needs processes that keep their parts of the model between runs, but there is a "
            f"list of {len(trainer.device)} devices, whose processes would end with each run. Start the script with "
            f'torchrun --nproc-per-node={len(trainer.device)} and give one device, "cpu" or "cuda".'
        )


def _tensor_parallel_size(trainer: TrainerProtocol, world: World) -> int:
    """Return how many ranks have the same batches: 1, but for a ModelParallelStrategy with tensor parallelism.

    Raises
    ------
    ValueError
        If the sizes of the strategy are not those of the processes.
    """
    if not is_model_parallel(trainer):
        return 1
    strategy = _strategy(trainer)  # the names of its settings are private; see tests/unit/…/test_multi_process.py
    data, tensor = strategy._data_parallel_size, strategy._tensor_parallel_size
    data, tensor = world.nodes if data == "auto" else data, world.local_size if tensor == "auto" else tensor
    if data * tensor != world.size:
        raise ValueError(
            f"ModelParallelStrategy has data_parallel_size={data} and tensor_parallel_size={tensor}, whose product is "
            f"not the number of processes, {world.size}. Give data_parallel_size={world.size}, tensor_parallel_size=1, "
            f"for instance."
        )
    return int(tensor)


def _warn_of_copies(trainer: TrainerProtocol, world: World | None) -> None:
    """Warn of a ``configure_model`` that no strategy calls, so that each process trains a copy of the whole model."""
    if world is None or is_model_parallel(trainer) or not is_overridden(trainer, "configure_model"):
        return
    if "device_mesh" in inspect.signature(trainer.configure_model).parameters:  # otherwise it is something else
        warnings.warn(
            f"configure_model is not called: each process trains a copy of the whole model. To shard it, give "
            f'lightning={{"strategy": ModelParallelStrategy(data_parallel_size={world.size}, '
            f"tensor_parallel_size=1)}}.",
            stacklevel=4,
        )


def _is_class(value: Any, name: str) -> bool:
    return any(cls.__name__ == name for cls in type(value).__mro__)


def connect_ranks(trainer: TrainerProtocol) -> None:
    """Connect this process with the other ranks, unless it is connected; a single process does nothing.

    `Trainer.run` calls this before it handles SIGTERM. A rank that waits here for another one ends at the signal.

    Raises
    ------
    RuntimeError
        If the ranks of a launcher have loaded different states.
    """
    world = trainer._zae_state.process.world
    if world is None:
        warn_lone_worker(trainer)
        return
    if not dist.is_initialized():
        with guarded_import("zae_lightning"):
            from zae_lightning import connect

        connect(trainer)
    records = trainer._zae_state.records
    if world.launcher != "trainer" and not records.is_synchronised:
        epochs = world.gather_ints(int(trainer.progress_checker.get_epoch()))
        if len(set(epochs)) > 1:
            raise RuntimeError(
                f"The processes are to begin with different epochs (of ranks 0, 1, ...: {epochs}), so they have loaded "
                f"different states. Load the same state in all of them, from a folder that all nodes can read."
            )
        for tensor in [*TrainableParameters(trainer)(), *buffers(trainer)]:  # each process has made its own
            dist.broadcast(tensor.data, src=0)
        records.is_synchronised = True


@contextmanager
def joined_process_group(trainer: TrainerProtocol, *loaders: Any) -> Iterator[tuple[Any, ...]]:
    """Connect this process with the other ranks, and yield its share of each loader.

    A single process receives the loaders themselves.

    Parameters
    ----------
    trainer : Trainer
        The trainer, of which every rank has its own.
    *loaders
        The user's loaders; None stays None.
    """
    world = trainer._zae_state.process.world
    if world is None:
        yield loaders
        return
    connect_ranks(trainer)
    yield shard_loaders(trainer, world, *loaders)


def shard_loaders(trainer: TrainerProtocol, world: World, *loaders: Any) -> tuple[Any, ...]:
    """Return a rank's share of each loader; other values, and all with ``use_distributed_sampler=False``, unchanged.

    Raises
    ------
    ValueError
        If a loader cannot be sharded, or the first one, the training loader, has too few batches.
    """
    if not trainer._zae_state.config.trainer_kwargs.get("use_distributed_sampler", True):
        return loaders
    keeps_step = not _is_ddp(_strategy(trainer))
    reference = weakref.proxy(trainer)  # a sharded loader is part of a reference cycle
    is_training: Iterator[Callable[[], bool]] = chain([lambda: reference.mode == "train"], repeat(lambda: False))

    def epoch() -> int:
        return int(reference.progress_checker.get_epoch()) - 1

    sharded = tuple(
        ShardedLoader(loader, world, next(is_training), epoch, keeps_step)
        if _is_loader(loader) and not isinstance(loader, ShardedLoader)
        else loader
        for loader in loaders
    )
    if trainer.mode == "train":
        next(loader for loader in sharded if isinstance(loader, ShardedLoader)).check_enough()
    return sharded


def count_batch(trainer: TrainerProtocol) -> None:
    """Subtract the samples of a step, a batch on each process, from those that are left of the epoch."""
    counts: Any = trainer  # n_data and n_valid_data may be None
    world = trainer._zae_state.process.world
    n_ranks = world.data_size if world is not None else 1
    if trainer.mode == "test" and trainer.valid_loader is not None:
        if counts.n_valid_data is not None:
            counts.n_valid_data -= (trainer.valid_batch_size or 0) * n_ranks
    elif counts.n_data is not None:
        counts.n_data -= (trainer.batch_size or 0) * n_ranks


def _strategy(trainer: TrainerProtocol) -> Any:
    return trainer._zae_state.config.trainer_kwargs.get("strategy", trainer._zae_strategy)


def _is_loader(value: Any) -> bool:
    return hasattr(value, "__iter__") or hasattr(value, "__getitem__")


def _is_auto(strategy: Any) -> bool:
    return isinstance(strategy, str) and strategy == "auto"


def _is_ddp(strategy: Any) -> bool:
    if isinstance(strategy, str):
        return strategy == "auto" or "ddp" in strategy
    return _is_class(strategy, "DDPStrategy")


# One log and one result of all ranks


def start_log_tracking(trainer: TrainerProtocol) -> None:
    """Record that the logs are cleared and a phase starts; in a single process, do nothing."""
    if (world := trainer._zae_state.process.world) is not None:
        losses = trainer._zae_state.records.history.losses
        world.log_tracker.begin(*(len(losses[mode]) for mode in ("train", "test")))


def gather_logs(trainer: TrainerProtocol) -> None:
    """Replace the log of the present mode, and its part of the loss history, by those of all ranks; once a phase.

    Parameters
    ----------
    trainer : Trainer
        The trainer; a single process keeps its log. Every rank must call this.
    """
    world = trainer._zae_state.process.world
    if world is None or not world.log_tracker.is_open:
        return
    log, history = log_of(trainer), trainer._zae_state.records.history.losses[trainer.mode]
    start = world.log_tracker.history_starts[trainer.mode]
    n_logged = len(peek(log).get("loss", ()))
    is_training = trainer.mode == "train"
    gathered = world.gather_shares(world.log_tracker.entries_with_shares(log))
    merged = merge(gathered, training=is_training)
    if len(history) - start == n_logged:
        history.truncate(start)
        history.extend(merged.get("loss", []))
    replace(log, merged, merged_sizes(gathered, training=is_training))


def sync_metrics(trainer: TrainerProtocol, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metrics of a phase with rank 0's numbers on all ranks, so that all ranks decide alike.

    Parameters
    ----------
    trainer : Trainer
        The trainer; a single process keeps its metrics. Every rank must call this.
    metrics : mapping
        What this rank has computed.

    Returns
    -------
    dict
        The metrics.

    Warns
    -----
    UserWarning
        Once, where the ranks' numbers differ: they are not computed from the logs, but from the data of each rank.
    """
    world, records = trainer._zae_state.process.world, trainer._zae_state.records
    if world is None:
        return dict(metrics)
    gathered = world.gather(to_floats(metrics))
    first, others = gathered[0], gathered[1:]
    differing = sorted(name for name in first if any(not _close(first[name], other.get(name)) for other in others))
    if differing and not records.warned_differing_metrics:
        records.warned_differing_metrics = True
        warnings.warn(
            f"The processes computed different values of {', '.join(differing)}; those of rank 0 are used. Compute "
            f"metrics from log_train and log_test, which contain the steps of all processes, or with torchmetrics.",
            stacklevel=2,
        )
    return {name: first[name] if name in differing else value for name, value in metrics.items()}


def _close(first: float, second: float | None) -> bool:
    return second is not None and (math.isclose(first, second, rel_tol=1e-6) or (first != first and second != second))


def broadcast_buffers(trainer: TrainerProtocol) -> None:
    """Give all ranks the buffers of rank 0, such as the running statistics of batch norm."""
    if trainer._zae_state.process.world is not None and dist.is_initialized():
        for buffer in buffers(trainer):
            dist.broadcast(buffer, src=0)
