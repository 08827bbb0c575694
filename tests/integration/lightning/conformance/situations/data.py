"""Data: what loaders may be, and what a loader is asked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch import callbacks as C
from lightning.pytorch.utilities import CombinedLoader
from torch.utils.data import DataLoader, IterableDataset, RandomSampler

from ..observing import on, recorder
from ..players import Player
from ..problem import Values, dataset, test_values, train_loader, train_values, valid_loader
from . import situation


def all_metrics(trainer: Any) -> dict[str, float]:
    """Return the metrics of each validation loader, under Lightning's names."""
    names = [name for name in trainer.callback_metrics if name.startswith(("val_loss", "test_loss"))]
    return {name: float(trainer.callback_metrics[name]) for name in names if not name.startswith("test_")}


def validated_with(player: Player, valid: Any, n_epoch: int = 2, **options: Any) -> dict[str, Any]:
    """Return what several validation loaders give."""
    batches: list[float] = []

    def test(model: Any, batch: Any) -> Values:
        batches.append(round(float(batch[0].sum()), 3))
        return test_values(model, batch)

    note = recorder(
        lambda hook, trainer, module, rest: [value for value in rest if type(value) is int],
        ["on_validation_batch_end"],
    )
    subject = player.make(callbacks=[note], test=test, **options).fit(n_epoch, train_loader(), valid)
    found = all_metrics(subject.trainer)
    return {
        "by_loader": {name: value for name, value in found.items() if "dataloader_idx" in name},
        "batches": batches,
        "indices": note.seen,
        "number": list(subject.trainer.num_val_batches),
        "weights": subject.weights(),
    }


def other_valid_loader() -> DataLoader:
    return valid_loader(data=dataset(18, seed=7))


@situation
def list_of_validation_loaders(player: Player) -> dict[str, Any]:
    """A list of validation loaders is validated in turn, with results per loader."""
    return validated_with(player, [valid_loader(), other_valid_loader()])


@situation
def dict_of_validation_loaders(player: Player) -> dict[str, Any]:
    """A dict of validation loaders is validated in turn, with results per loader."""
    return validated_with(player, {"near": valid_loader(), "far": other_valid_loader()})


@situation
def combined_validation_loaders(player: Player) -> dict[str, Any]:
    """A `CombinedLoader` in sequential mode is validated in turn."""
    return validated_with(player, CombinedLoader([valid_loader(), other_valid_loader()], "sequential"))


@situation(ways=("run",))
def loss_of_several_validation_loaders(player: Player) -> dict[str, Any]:
    """`check_better` is given one mean over the batches of all validation loaders."""
    losses: list[float] = []

    def test(model: Any, batch: Any) -> Values:
        values = test_values(model, batch)
        losses.append(float(values["loss"]))
        return values

    subject = player.make(callbacks=[C.Callback()], test=test)
    subject.fit(1, train_loader(), [valid_loader(), other_valid_loader()])
    best = subject.module.best_loss if player.is_reference else subject.facade.loss_buffer
    return {"best": float(best), "mean": sum(losses) / max(len(losses), 1)}


@situation
def list_of_training_loaders(player: Player) -> dict[str, Any]:
    """A list of training loaders arrives combined: a list of batches a step."""
    return _trained_with(player, [train_loader(), other_train_loader()])


@situation
def dict_of_training_loaders(player: Player) -> dict[str, Any]:
    """A dict of training loaders arrives combined: a dict of batches a step."""
    return _trained_with(player, {"a": train_loader(), "b": other_train_loader()})


@situation
def cycled_training_loaders(player: Player) -> dict[str, Any]:
    """A `CombinedLoader` that cycles the shorter loader arrives as Lightning combines it."""
    return _trained_with(player, CombinedLoader({"a": train_loader(), "b": other_train_loader()}, "max_size_cycle"))


@situation
def shortest_training_loader(player: Player) -> dict[str, Any]:
    """A `CombinedLoader` of the shortest length ends with the shortest."""
    return _trained_with(player, CombinedLoader([train_loader(), other_train_loader()], "min_size"))


def other_train_loader() -> DataLoader:
    return train_loader(data=dataset(40, seed=5))


def _trained_with(player: Player, loader: Any) -> dict[str, Any]:
    shapes: list[Any] = []

    def train(model: Any, batch: Any) -> Values:
        parts = list(batch.values()) if isinstance(batch, dict) else list(batch)
        present = [part for part in parts if part is not None]
        shapes.append((type(batch).__name__ == "dict", len(parts), len(present)))
        values = [train_values(model, part) for part in present]
        return {"loss": sum(value["loss"] for value in values)}

    subject = player.make(callbacks=[C.Callback()], train=train).fit(2, loader)
    number = subject.trainer.num_training_batches
    return {"shapes": shapes, "weights": subject.weights(), "number": number, **subject.counts()}


class Stream(IterableDataset):
    """A stream of samples without a length."""

    def __iter__(self) -> Iterator[Any]:
        return iter(list(dataset()))


@situation
def stream_without_a_length(player: Player) -> dict[str, Any]:
    """A loader without a length trains and validates; the number of its batches is infinite."""
    subject = player.make(callbacks=[C.Callback()]).fit(2, DataLoader(Stream(), 8), DataLoader(Stream(), 8))
    infinite = subject.trainer.num_training_batches == float("inf")
    return {"infinite": infinite, "weights": subject.weights(), **subject.counts()}


def last_batches_of_a_stream(player: Player) -> dict[str, Any]:
    note = recorder(lambda hook, trainer, *_: trainer.is_last_batch, ["on_train_batch_end"])
    player.make(callbacks=[note]).fit(2, DataLoader(Stream(), 8))
    return {"last": note.seen}


@situation(ways=("own_trainer",))
def last_batch_of_a_stream(player: Player) -> dict[str, Any]:
    """`is_last_batch` is known of a loader without a length, which Lightning reads one batch ahead."""
    return last_batches_of_a_stream(player)


@situation(ways=("run",), expected={"last": [False] * 6})
def last_batch_of_a_stream_in_run(player: Player) -> dict[str, Any]:
    """A known difference: `run` does not read a stream ahead, so `is_last_batch` is False of each of its batches."""
    return last_batches_of_a_stream(player)


@situation
def stream_with_an_interval_of_validation(player: Player) -> dict[str, Any]:
    """A loader without a length is validated every two batches with `val_check_interval=2`."""
    note = recorder(lambda hook, trainer, *_: trainer.global_step, ["on_validation_end"])
    subject = player.make(callbacks=[note], arguments={"val_check_interval": 2})
    subject.fit(2, DataLoader(Stream(), 8), valid_loader())
    return {"validated": note.seen, "weights": subject.weights()}


@situation
def interval_over_epochs(player: Player) -> dict[str, Any]:
    """`check_val_every_n_epoch=None` counts batches over epochs."""
    note = recorder(lambda hook, trainer, *_: trainer.global_step, ["on_validation_end"])
    arguments = {"val_check_interval": 4, "check_val_every_n_epoch": None}
    subject = player.make(callbacks=[note], arguments=arguments).fit(4, train_loader(), valid_loader())
    return {"validated": note.seen, "results": subject.results(), "weights": subject.weights()}


class Epochs(RandomSampler):
    """A sampler that is told the epoch, as a distributed one is."""

    def __init__(self, data: Any) -> None:
        super().__init__(data)
        self.epochs: list[int] = []

    def set_epoch(self, epoch: int) -> None:
        self.epochs.append(epoch)


@situation
def sampler_that_is_told_the_epoch(player: Player) -> dict[str, Any]:
    """A sampler with `set_epoch` is told each epoch where a Lightning part is in play."""
    sampler = Epochs(dataset())
    player.make(callbacks=[C.Callback()]).fit(3, train_loader(sampler=sampler))
    return {"epochs": sampler.epochs}


@situation
def batch_sampler_of_ones_own(player: Player) -> dict[str, Any]:
    """A batch sampler of the user's own gives its batches."""
    batches = [[0, 1, 2], [3, 4], [5, 6, 7, 8]]
    loader = DataLoader(dataset(), batch_sampler=batches)
    subject = player.make(callbacks=[C.Callback()]).fit(2, loader, valid_loader())
    return {"weights": subject.weights(), **subject.counts()}


@situation(ways=("run",))
def list_of_batches(player: Player) -> dict[str, Any]:
    """A list of batches is a loader."""
    subject = player.make(callbacks=[C.Callback()])
    subject.fit(2, list(train_loader()) if not player.is_reference else _Batches(), valid_loader())
    return {"weights": subject.weights(), **subject.counts()}


class _Batches:
    """A list of batches that Lightning takes for one loader."""

    def __iter__(self) -> Iterator[Any]:
        return iter(list(train_loader()))

    def __len__(self) -> int:
        return 3


@situation
def overfitting(player: Player) -> dict[str, Any]:
    """`overfit_batches` trains on the first batches of the data in order."""
    subject = player.make(callbacks=[C.Callback()], arguments={"overfit_batches": 2})
    subject.fit(2, train_loader(shuffle=True), valid_loader())
    return {"weights": subject.weights(), **subject.counts()}


@situation
def workers_that_persist(player: Player) -> dict[str, Any]:
    """Persistent workers give the same batches."""
    loader = train_loader(num_workers=1, persistent_workers=True)
    subject = player.make(callbacks=[C.Callback()]).fit(2, loader, valid_loader())
    return {"weights": subject.weights()}


@situation
def loader_replaced_by_a_callback(player: Player) -> dict[str, Any]:
    """A callback that changes the dataset between epochs trains on what it has set."""
    data = dataset()
    loader = train_loader(data=data)

    def shrink(trainer: Any, module: Any) -> None:
        data.tensors = tuple(tensor * 1 if tensor.dtype == torch.long else tensor * 0.5 for tensor in data.tensors)

    return {"weights": player.make(callbacks=[on("on_train_epoch_end", shrink)]).fit(3, loader).weights()}


@situation
def no_validation_batches(player: Player) -> dict[str, Any]:
    """`limit_val_batches=0` leaves validation out."""
    note = recorder()
    subject = player.make(callbacks=[note], arguments={"limit_val_batches": 0})
    subject.fit(1, train_loader(), valid_loader())
    return {"order": note.seen, "names": sorted(subject.results())}


class Graph:
    """A batch that moves by itself and iterates into names and values, as torch_geometric's do."""

    def __init__(self, samples: Any) -> None:
        x, y = zip(*samples, strict=True)
        self.x, self.y = torch.stack(x), torch.stack(y)

    def __iter__(self) -> Iterator[Any]:
        return iter(vars(self).items())

    def to(self, *args: Any, **kwargs: Any) -> Graph:
        self.x, self.y = self.x.to(*args, **kwargs), self.y.to(*args, **kwargs)
        return self


@dataclass
class Pair:
    """A batch that is a dataclass."""

    x: torch.Tensor
    y: torch.Tensor


def pair(samples: Any) -> Pair:
    graph = Graph(samples)
    return Pair(graph.x, graph.y)


def of_attributes(values: Any) -> Any:
    return lambda model, batch: values(model, (batch.x, batch.y))


@situation
def batches_that_move_by_themselves(player: Player) -> dict[str, Any]:
    """A batch with `to` that iterates into names and values arrives whole."""
    steps = {"train": of_attributes(train_values), "test": of_attributes(test_values)}
    subject = player.make(callbacks=[C.Callback()], **steps)
    subject.fit(2, train_loader(collate_fn=Graph), valid_loader(collate_fn=Graph))
    return {"weights": subject.weights(), "results": subject.results()}


@situation
def batches_that_are_dataclasses(player: Player) -> dict[str, Any]:
    """A batch that is a dataclass arrives whole."""
    steps = {"train": of_attributes(train_values), "test": of_attributes(test_values)}
    subject = player.make(callbacks=[C.Callback()], **steps)
    subject.fit(2, train_loader(collate_fn=pair), valid_loader(collate_fn=pair))
    return {"weights": subject.weights(), "results": subject.results()}
