"""Cases of sharded models: ``torchrun … sharded_script.py FOLDER``, or without torchrun for one process.

Each case returns a dict of what became of a trainer. Alone, a loader has batches of ``b`` and the model is whole; with
``n`` processes the loader has batches of ``b / n``. The folder gets a file for each rank.
"""

from __future__ import annotations

import copy
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from zae_engine.trainer import Trainer
from zae_engine.trainer.addons import MultiGPUAddon, PrecisionMixerAddon, StateManagerAddon
from zae_engine.trainer.utilities.sharded_tensors import gathered, is_sharded

SIZE = int(os.environ.get("WORLD_SIZE", 1))
CASES: dict[str, Callable[[Path], dict[str, Any]]] = {}
BATCH, EPOCHS = 8, 4


def case(function: Callable[[Path], dict[str, Any]]) -> Callable[[Path], dict[str, Any]]:
    CASES[function.__name__] = function
    return function


class Sharded(Trainer):
    """A classifier whose linear layers are sharded, each by itself."""

    def configure_model(self, device_mesh: Any) -> None:
        from torch.distributed.fsdp import fully_shard

        for layer in self.model:
            if isinstance(layer, nn.Linear):
                fully_shard(layer, mesh=device_mesh["data_parallel"])
        fully_shard(self.model, mesh=device_mesh["data_parallel"])

    def train_step(self, batch: Any) -> dict[str, Any]:
        x, y, index = batch
        output = self.model(x)
        return {"loss": F.cross_entropy(output, y), "acc": (output.argmax(1) == y).float().mean(), "output": index}

    def test_step(self, batch: Any) -> dict[str, Any]:
        return self.train_step(batch)


def data(n: int = 40) -> TensorDataset:
    x = torch.randn(n, 6, generator=torch.Generator().manual_seed(1))
    return TensorDataset(x, (x.sum(1) > 0).long(), torch.arange(n))


def loaders(n: int = 40) -> tuple[DataLoader, DataLoader]:
    """Return a loader of five steps an epoch, and one of validation, of which each rank has as many batches."""
    return DataLoader(data(n), BATCH // SIZE, shuffle=True), DataLoader(data(32), 4)


def model(width: int = 9) -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, width), nn.Tanh(), nn.Linear(width, 8), nn.Tanh(), nn.Linear(8, 2))


def trainer_of(
    cls: type = Sharded,
    optimizer: Any = torch.optim.Adam,
    lr: float = 0.03,
    tensor: int = 1,
    width: int = 9,
    **kwargs: Any,
) -> Any:
    distributed_checkpoint = kwargs.pop("save_distributed_checkpoint", True)
    net = model(width)
    groups = [{"params": net[0].parameters(), "lr": lr / 2, "weight_decay": 0.01}, {"params": net[1:].parameters()}]
    made = optimizer(groups, lr=lr)
    scheduler = torch.optim.lr_scheduler.StepLR(made, 1, 0.9)
    if SIZE > 1:
        from lightning.pytorch.strategies import ModelParallelStrategy

        strategy = ModelParallelStrategy(
            data_parallel_size=SIZE // tensor,
            tensor_parallel_size=tensor,
            save_distributed_checkpoint=distributed_checkpoint,
        )
        kwargs["lightning"] = {"strategy": strategy, **kwargs.get("lightning", {})}
    return cls(net, "cpu", optimizer=made, scheduler=scheduler, log_bar=False, **kwargs)


def observe(trainer: Any, **more: Any) -> dict[str, Any]:
    """Return what a trainer holds, whole."""
    best = trainer.weight_buffer["weight"]
    return copy.deepcopy(
        {
            "losses": [torch.stack(trainer.get_loss_history(mode)) for mode in ("train", "test")],
            "history": [
                [record["train_loss"], record.get("test_loss", 0.0), record["lr"]] for record in trainer.history
            ],
            "weights": dict(gathered(trainer.model.state_dict())),
            "optimizer": gathered(trainer.optimizer.state_dict()["state"]),
            "rates": [group["lr"] for group in trainer.optimizer.param_groups],
            "best": [dict(gathered(weights)) for weights in best],
            "best epoch": [trainer.loss_buffer, trainer.weight_buffer["epoch"]],
            "epoch": trainer.progress_checker.get_epoch(),
            **more,
        }
    )


def run(trainer: Any, n: int = 40, epochs: int = EPOCHS, **kwargs: Any) -> Any:
    trainer.run(epochs, *loaders(n), **kwargs)
    assert SIZE == 1 or all(map(is_sharded, trainer.optimizer.param_groups[1]["params"]))
    return trainer


class TensorParallel(Sharded):
    """Two of the linear layers are divided over processes with the same batch; all are sharded over the others."""

    def configure_model(self, device_mesh: Any) -> None:
        from torch.distributed.fsdp import fully_shard
        from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

        plan = {"0": ColwiseParallel(), "2": RowwiseParallel()}
        parallelize_module(self.model, device_mesh["tensor_parallel"], plan)
        if device_mesh["data_parallel"].size() > 1:
            fully_shard(self.model, mesh=device_mesh["data_parallel"])


def tensor_parallel(**kwargs: Any) -> Any:
    """Train with batches for one process, or for two of four."""
    trainer = trainer_of(TensorParallel, tensor=min(SIZE, 2), width=10, **kwargs)
    loader = DataLoader(data(37), BATCH // max(SIZE // 2, 1), shuffle=True)
    trainer.run(EPOCHS, loader, loaders()[1])
    outputs = trainer.predict(data(30).tensors[0], batch_size=7)
    return observe(trainer, evaluated=trainer.evaluate(loaders()[1]), outputs=outputs)


@case
def tensor_parallel_and_clipped(folder: Path) -> dict[str, Any]:
    return tensor_parallel(gradient_clip=0.1)


@case
def tensor_parallel_and_clipped_by_lightning(folder: Path) -> dict[str, Any]:
    return tensor_parallel(lightning={"gradient_clip_val": 0.1}, optimizer=torch.optim.SGD)


@case
def adam(folder: Path) -> dict[str, Any]:
    return observe(run(trainer_of()))


@case
def sgd_with_momentum_and_uneven_batches(folder: Path) -> dict[str, Any]:
    def sgd(groups: Any, lr: float) -> Any:
        return torch.optim.SGD(groups, lr=lr, momentum=0.9, nesterov=True)

    return observe(run(trainer_of(optimizer=sgd), n=37))


@case
def tensor_parallel_from_a_state(folder: Path) -> dict[str, Any]:
    """Load a state before the model is sharded, and after."""
    stateful = TensorParallel.add_on(StateManagerAddon)
    loader = DataLoader(data(), BATCH // max(SIZE // 2, 1), shuffle=True)
    first = trainer_of(stateful, tensor=min(SIZE, 2), width=10, save_path=folder / "state")
    first.run(2, loader)
    first.save_state()
    second = trainer_of(stateful, tensor=min(SIZE, 2), width=10, save_path=folder / "state")
    second.load_state()
    second.save_path = folder / "other"
    second.run(2, loader)
    first.load_state()
    first.run(2, loader)
    return {"first": tensor_observed(first), "second": tensor_observed(second), "losses": second.get_loss_history()}


def tensor_observed(trainer: Any) -> dict[str, Any]:
    state = gathered(trainer.optimizer.state_dict()["state"])
    return {"losses": trainer.get_loss_history(), "weights": dict(gathered(trainer.model.state_dict())), "state": state}


@case
def with_multi_gpu_addon(folder: Path) -> dict[str, Any]:
    return observe(run(trainer_of(Sharded.add_on(MultiGPUAddon))))


@case
def clipped_by_gradient_clip(folder: Path) -> dict[str, Any]:
    return observe(run(trainer_of(optimizer=torch.optim.SGD, lr=0.5, gradient_clip=0.05)))


@case
def clipped_by_lightning(folder: Path) -> dict[str, Any]:
    return observe(run(trainer_of(optimizer=torch.optim.SGD, lr=0.5, lightning={"gradient_clip_val": 0.05})))


@case
def clipped_by_torch_in_run_batch(folder: Path) -> dict[str, Any]:
    class Clips(Sharded):
        def run_batch(self, batch: Any, **kwargs: Any) -> None:
            batch = self._to_device(*batch)
            self.model.train(self.mode == "train")
            with torch.set_grad_enabled(self.mode == "train"):
                step = self.train_step(batch)
            if self.mode == "train":
                self.optimizer.zero_grad()
                step["loss"].backward()
                torch.nn.utils.clip_grad_norm_(self.model.parameters(), 0.05)
                self.optimizer.step()
            self.logging(step)
            self.progress_checker.update_step()

    return observe(run(trainer_of(Clips, optimizer=torch.optim.SGD, lr=0.5)))


@case
def run_batch_that_calls_super(folder: Path) -> dict[str, Any]:
    class Calls(Sharded):
        def run_batch(self, batch: Any, **kwargs: Any) -> None:
            super().run_batch(batch, **kwargs)

    return observe(run(trainer_of(Calls, gradient_clip=0.1), n=37))


@case
def accumulated(folder: Path) -> dict[str, Any]:
    return observe(run(trainer_of(lightning={"accumulate_grad_batches": 2})))


@case
def bf16(folder: Path) -> dict[str, Any]:
    return observe(run(trainer_of(Sharded.add_on(PrecisionMixerAddon), precision="bf16")))


@case
def bf16_weights(folder: Path) -> dict[str, Any]:
    return observe(run(trainer_of(lr=0.01, lightning={"precision": "bf16-true"})))


@case
def two_runs_and_evaluations(folder: Path) -> dict[str, Any]:
    trainer = run(trainer_of(), epochs=2)
    first = trainer.evaluate(loaders()[1])
    run(trainer, epochs=2)
    numbers = data(30).tensors[0]
    outputs = [trainer.predict(DataLoader(data(30), 4)), trainer.predict(numbers, batch_size=7)]
    best = [trainer.evaluate(loaders()[1], weights="best"), trainer.predict(numbers, weights="best")]
    indices = torch.cat(trainer.inference(DataLoader(data(30), 4)))
    return observe(trainer, evaluated=[first, best], outputs=outputs, indices=indices)


@case
def evaluated_before_the_first_run(folder: Path) -> dict[str, Any]:
    trainer = trainer_of()
    before = [trainer.predict(data(30).tensors[0]), trainer.evaluate(loaders()[1])]
    return observe(run(trainer), before=before)


@case
def weights_and_best_weights(folder: Path) -> dict[str, Any]:
    trainer = run(trainer_of(lr=0.3))
    trainer.save_model(folder / "model.pt")
    saved = dict(torch.load(folder / "model.pt", weights_only=True)) if os.environ.get("RANK", "0") == "0" else None
    trainer.apply_weights()
    best = dict(gathered(trainer.model.state_dict()))
    trainer.apply_weights(folder / "model.pt")
    return observe(trainer, saved=saved, applied=best)


@case
def state_saved_and_loaded(folder: Path) -> dict[str, Any]:
    """Save after every epoch; another trainer, of a whole model, loads and continues; and this one goes back."""
    Stateful = Sharded.add_on(StateManagerAddon)
    trainer = run(trainer_of(Stateful, save_path=folder / "state", save_every=1), epochs=2)
    trainer.save_state()
    trainer.save_model(folder / "alone.pt")
    continued = trainer_of(Stateful, save_path=folder / "state")
    continued.load_state()
    continued.save_path = folder / "other"
    first = observe(run(continued, epochs=2))
    trainer.load_state()  # after the model is sharded
    run(trainer, epochs=2)
    trainer.save_path = folder / "final"
    trainer.save_state()
    return observe(trainer, first=first)


@case
def saves_that_fail(folder: Path) -> dict[str, Any]:
    """Go on without a state, since the folder is a file, and save the next epoch that is better in another folder."""
    trainer = trainer_of(Sharded.add_on(StateManagerAddon), save_path=folder / "state", save_every=1)
    (folder / "file").touch()
    trainer.save_path = folder / "file" / "state"
    run(trainer, epochs=2)
    trainer.save_path = folder / "state"
    run(trainer, epochs=2)
    return observe(trainer, saved=trainer.saved_loss if os.environ.get("RANK", "0") == "0" else None)


@case
def stopped_by_sigterm(folder: Path) -> dict[str, Any]:
    """Send SIGTERM to one of the processes in the last step of an epoch: both save, end, and go on from there."""

    class Stopped(Sharded.add_on(StateManagerAddon)):
        def train_step(self, batch: Any) -> dict[str, Any]:
            is_last = int(os.environ.get("RANK", "0")) == SIZE - 1
            if self.progress_checker.get_step() == 10 and is_last and not (folder / "stopped").exists():
                (folder / "stopped").touch()
                os.kill(os.getpid(), signal.SIGTERM)
            return super().train_step(batch)

    trainer = trainer_of(Stopped, save_path=folder / "state")
    with pytest.raises(SystemExit, match=str(128 + signal.SIGTERM)):
        run(trainer)
    other = trainer_of(Stopped, save_path=folder / "state")
    other.load_state()
    other.run(None, *loaders(), until=EPOCHS)
    return observe(other)


@case
def checkpoints_of_lightning(folder: Path) -> dict[str, Any]:
    """Continue from a checkpoint of ModelCheckpoint in another trainer, before its model is sharded, and after."""
    from lightning.pytorch.callbacks import ModelCheckpoint

    def make() -> Any:
        callback = ModelCheckpoint(folder, filename="last", monitor="val_loss", enable_version_counter=False)
        return trainer_of(callbacks=[callback], save_distributed_checkpoint=False)

    trainer = make()
    trainer.run(2, *loaders())
    other = make()
    other.run(2, *loaders(), ckpt_path=folder / "last.ckpt")
    first = observe(other)
    other.run(2, *loaders(), ckpt_path=folder / "last.ckpt")
    return {"first": first, "again": observe(other)}


@case
def in_a_trainer_of_lightnings(folder: Path) -> dict[str, Any]:
    """Run the module in an ``L.Trainer`` whose strategy has a device mesh."""
    import lightning.pytorch as L

    trainer = trainer_of()
    strategy = trainer._zae_state.config.trainer_kwargs.get("strategy", "auto")
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    own = L.Trainer(
        max_epochs=EPOCHS,
        accelerator="cpu",
        devices=SIZE,
        strategy=strategy,
        use_distributed_sampler=False,
        enable_model_summary=False,
        **quiet,
    )
    batches = list(DataLoader(data(), BATCH // SIZE))
    own.fit(trainer.lightning_module, DataLoader(batches[int(os.environ.get("RANK", 0)) :: SIZE], batch_size=None))
    return {"weights": dict(gathered(trainer.model.state_dict())), "epoch": trainer.progress_checker.get_epoch()}


@case
def as_a_lightning_module_by_hand(folder: Path) -> dict[str, Any]:
    """Train without shuffling; beside it a LightningModule that somebody writes by hand, on the same batches."""
    batches = list(DataLoader(data(), BATCH // SIZE))
    torch.manual_seed(3)
    trainer = trainer_of(optimizer=torch.optim.AdamW)
    trainer.run(EPOCHS, batches, loaders()[1])
    if SIZE == 1:
        return observe(trainer)
    torch.manual_seed(3)
    expected = by_hand(batches)
    found = torch.stack(trainer.get_loss_history("train"))
    assert (expected - found).abs().max() < 1e-6, (expected, found)
    return observe(trainer)


def by_hand(batches: list[Any]) -> torch.Tensor:
    """Return the mean losses of the ranks in a training with Lightning alone."""
    import lightning.pytorch as L
    import torch.distributed as dist
    from lightning.pytorch.strategies import ModelParallelStrategy
    from torch.distributed.fsdp import fully_shard

    class Module(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model, self.losses = model(), []

        def configure_model(self) -> None:
            for layer in self.model:
                if isinstance(layer, nn.Linear):
                    fully_shard(layer, mesh=self.device_mesh["data_parallel"])
            fully_shard(self.model, mesh=self.device_mesh["data_parallel"])

        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            x, y, _ = batch
            loss = F.cross_entropy(self.model(x), y)
            self.losses.append(loss.detach())
            return loss

        def configure_optimizers(self) -> Any:
            first, rest = self.model[0].parameters(), self.model[1:].parameters()
            groups = [{"params": first, "lr": 0.015, "weight_decay": 0.01}, {"params": rest}]
            optimizer = torch.optim.AdamW(groups, lr=0.03)
            return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.9)]

    module = Module()
    strategy = ModelParallelStrategy(data_parallel_size=SIZE, tensor_parallel_size=1)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    own = L.Trainer(
        max_epochs=EPOCHS,
        accelerator="cpu",
        devices=SIZE,
        strategy=strategy,
        use_distributed_sampler=False,
        enable_model_summary=False,
        **quiet,
    )
    own.fit(module, DataLoader(batches[int(os.environ["RANK"]) :: SIZE], batch_size=None))
    losses = torch.stack(module.losses)
    dist.all_reduce(losses)
    return losses / SIZE


def continued(folder: Path, state: str) -> dict[str, Any]:
    """Load a state, and train two more epochs."""
    trainer = trainer_of(Sharded.add_on(StateManagerAddon), save_path=state)
    trainer.load_state()
    trainer.save_path = folder / "state"
    return observe(run(trainer, epochs=2))


def main(folder: Path, state: str | None = None) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    results: dict[str, Any] = {}
    two_dimensional = {name: function for name, function in CASES.items() if name.startswith("tensor")}
    cases = CASES if state is None else {"continued": partial(continued, state=state)} | two_dimensional
    for name, function in cases.items():
        torch.manual_seed(3)
        place = folder / name
        place.mkdir(exist_ok=True)
        try:
            results[name] = function(place)
        except Exception:
            results[name] = {"error": traceback.format_exc()}
            print(name, results[name]["error"], file=sys.stderr, flush=True)
    torch.save(results, folder / f"rank{os.environ.get('RANK', '0')}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
