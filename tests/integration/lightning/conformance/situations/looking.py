"""Looking must not touch: what is read in a hook is what Lightning gives, and reading it changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning.pytorch as L
import torch
from torch.utils.data import DataLoader

from ..observing import on, recorder
from ..players import Player, shared
from ..problem import Values, dataset, train_loader, train_values, valid_loader
from . import situation


def batches_while(player: Player, hook: str, look: Callable[..., Any], **loader: Any) -> dict[str, Any]:
    """Return the batches that are trained with while a callback looks, and what it saw."""
    trained: list[float] = []
    seen: list[Any] = []

    def train(model: Any, batch: Any) -> Values:
        trained.append(round(float(batch[0].sum()), 3))
        return train_values(model, batch)

    watch = on(hook, lambda trainer, *_: seen.append(look(trainer)))
    subject = player.make(callbacks=[watch], train=train)
    torch.manual_seed(3)
    subject.fit(2, train_loader(**loader), valid_loader())
    return {"trained": trained, "seen": seen, "weights": subject.weights(), **subject.counts()}


def first(loader: Any) -> float:
    return round(float(next(iter(loader))[0].sum()), 3)


def whole(loader: Any) -> list[float]:
    return [round(float(batch[0].sum()), 3) for batch in loader]


@situation
def one_batch_at_every_batch(player: Player) -> dict[str, Any]:
    """`next(iter(trainer.train_dataloader))` at every batch changes nothing."""
    return batches_while(player, "on_train_batch_end", lambda trainer: first(trainer.train_dataloader))


@situation
def whole_pass_at_a_batch(player: Player) -> dict[str, Any]:
    """A whole pass over `trainer.train_dataloader` in the middle of an epoch changes nothing."""
    return batches_while(player, "on_train_batch_start", lambda trainer: whole(trainer.train_dataloader))


@situation
def one_batch_before_the_epoch(player: Player) -> dict[str, Any]:
    """A look at a batch when an epoch starts changes nothing."""
    return batches_while(player, "on_train_epoch_start", lambda trainer: first(trainer.train_dataloader))


@situation
def whole_pass_after_the_epoch(player: Player) -> dict[str, Any]:
    """A whole pass over the training data at the end of an epoch changes nothing."""
    return batches_while(player, "on_train_epoch_end", lambda trainer: whole(trainer.train_dataloader))


@situation
def validation_data_at_a_training_batch(player: Player) -> dict[str, Any]:
    """A batch of `trainer.val_dataloaders` can be looked at while training."""
    return batches_while(player, "on_validation_epoch_start", lambda trainer: first(trainer.val_dataloaders))


@situation
def validation_data_while_validating(player: Player) -> dict[str, Any]:
    """A whole pass over `trainer.val_dataloaders` at every validation batch changes nothing."""
    return batches_while(player, "on_validation_batch_end", lambda trainer: whole(trainer.val_dataloaders))


@situation
def training_data_while_validating(player: Player) -> dict[str, Any]:
    """A look at the training data while validating changes nothing."""
    return batches_while(player, "on_validation_batch_end", lambda trainer: first(trainer.train_dataloader))


@situation
def a_look_with_workers(player: Player) -> dict[str, Any]:
    """A look at a loader with worker processes changes nothing."""
    look = lambda trainer: first(trainer.train_dataloader)  # noqa: E731
    return batches_while(player, "on_train_epoch_start", look, num_workers=1)


@situation
def attributes_of_the_loader(player: Player) -> dict[str, Any]:
    """Samplers, dataset, batch size and length of `trainer.train_dataloader` are the loader's."""

    def look(trainer: L.Trainer) -> Any:
        loader = trainer.train_dataloader
        return (
            type(loader.sampler).__name__,
            type(loader.batch_sampler).__name__,
            type(loader.dataset).__name__,
            loader.batch_size,
            loader.drop_last,
            loader.num_workers,
            len(loader),
            isinstance(loader, DataLoader),
        )

    return batches_while(player, "on_train_epoch_start", look, shuffle=True)


@situation
def the_loaders_own_objects(player: Player) -> dict[str, Any]:
    """`trainer.train_dataloader` and `val_dataloaders` are the user's loaders."""
    loader, valid = train_loader(), valid_loader()
    seen: list[Any] = []

    def look(trainer: L.Trainer, module: Any) -> None:
        seen.append((trainer.train_dataloader is loader, trainer.val_dataloaders is valid))

    player.make(callbacks=[on("on_train_epoch_end", look)]).fit(1, loader, valid)
    return {"seen": seen}


@situation
def numbers_of_batches(player: Player) -> dict[str, Any]:
    """Numbers of batches and of steps to come are Lightning's."""

    def look(hook: str, trainer: L.Trainer, module: Any, rest: Any) -> Any:
        return (
            trainer.num_training_batches,
            trainer.num_val_batches,
            trainer.estimated_stepping_batches,
            trainer.max_epochs,
            trainer.max_steps,
        )

    note = recorder(look, ["on_train_start", "on_train_batch_start", "on_validation_start"])
    subject = player.make(callbacks=[note], arguments={"accumulate_grad_batches": 2})
    subject.fit(2, train_loader(), valid_loader())
    return {"seen": note.seen}


@situation
def stepping_batches_before_the_fit(player: Player) -> dict[str, Any]:
    """`trainer.estimated_stepping_batches` in `setup` is known and changes nothing."""
    seen: list[Any] = []
    look = on("setup", lambda trainer, module, stage: seen.append(trainer.estimated_stepping_batches))
    subject = player.make(callbacks=[look])
    torch.manual_seed(5)
    subject.fit(2, train_loader(shuffle=True, data=dataset()))
    return {"seen": seen, "weights": subject.weights()}


@situation
def data_module_of_loaders(player: Player) -> dict[str, Any]:
    """`trainer.datamodule` is None where loaders were given."""
    seen: list[Any] = []
    look = on("on_train_start", lambda trainer, module: seen.append(trainer.datamodule))
    player.make(callbacks=[look]).fit(1, train_loader())
    return {"seen": seen}


@situation
def metrics_are_copies(player: Player) -> dict[str, Any]:
    """Reading `callback_metrics`, `logged_metrics` and `progress_bar_metrics` at every hook changes nothing."""

    def look(hook: str, trainer: L.Trainer, module: Any, rest: Any) -> Any:
        return sorted(shared(trainer.callback_metrics)), bool(trainer.logged_metrics is not None)

    note = recorder(look, ["on_train_epoch_end", "on_validation_end"])
    read = recorder(lambda hook, trainer, *_: (trainer.logged_metrics, trainer.progress_bar_metrics))
    subject = player.make(callbacks=[read, note]).fit(2, train_loader(), valid_loader())
    return {"seen": note.seen, "results": subject.results(), "weights": subject.weights()}


def drawing_in_a_hook(player: Player) -> dict[str, Any]:
    return batches_while(player, "on_train_epoch_start", lambda trainer: float(torch.rand(1)), shuffle=True)


@situation
def random_numbers_in_a_hook(player: Player) -> dict[str, Any]:
    """A callback that draws random numbers shifts the shuffling as it does in Lightning."""
    found = drawing_in_a_hook(player)
    return {name: found[name] for name in ("trained", "weights")}


@situation(ways=("own_trainer",))
def random_numbers_that_a_hook_draws(player: Player) -> dict[str, Any]:
    """A callback draws the random numbers that it draws in Lightning.

    A known difference of `run`: the loader draws its seed at the first batch, as in zae-engine 0.7.6, and Lightning
    before `on_train_epoch_start`; what the callback draws there in the first epoch is another number.
    """
    return drawing_in_a_hook(player)


@situation
def shuffled_order(player: Player) -> dict[str, Any]:
    """A look at a shuffled loader draws what it draws in Lightning."""
    look = lambda trainer: first(trainer.train_dataloader)  # noqa: E731
    return batches_while(player, "on_train_batch_end", look, shuffle=True)
