"""The order of callback hooks, and what they are given."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as L
from lightning.pytorch import callbacks as C

from ..observing import on, outcome, recorder
from ..players import Player
from ..problem import train_loader, train_values, valid_loader
from . import situation


def order_of(player: Player, n_epoch: int = 1, valid: bool = True, **arguments: Any) -> dict[str, Any]:
    note = recorder()
    subject = player.make(callbacks=[note], arguments=arguments)
    subject.fit(n_epoch, train_loader(), valid_loader() if valid else None)
    return {"order": note.seen}


@situation
def training_and_validation(player: Player) -> dict[str, Any]:
    """Hooks of two epochs with validation come in Lightning's order."""
    return order_of(player, n_epoch=2)


@situation
def training_alone(player: Player) -> dict[str, Any]:
    """Hooks of two epochs without validation come in Lightning's order."""
    return order_of(player, n_epoch=2, valid=False)


@situation
def gradients_accumulate(player: Player) -> dict[str, Any]:
    """Hooks come in Lightning's order while gradients accumulate."""
    return order_of(player, accumulate_grad_batches=2)


@situation
def validation_within_the_epoch(player: Player) -> dict[str, Any]:
    """Hooks come in Lightning's order with `val_check_interval=2`."""
    return order_of(player, val_check_interval=2)


@situation
def validation_every_other_epoch(player: Player) -> dict[str, Any]:
    """Hooks come in Lightning's order with `check_val_every_n_epoch=2`."""
    return order_of(player, n_epoch=3, check_val_every_n_epoch=2)


@situation
def sanity_check(player: Player) -> dict[str, Any]:
    """Hooks of a sanity check come in Lightning's order."""
    return order_of(player, num_sanity_val_steps=1)


@situation
def limited_batches(player: Player) -> dict[str, Any]:
    """Hooks come in Lightning's order with limits of batches."""
    return order_of(player, limit_train_batches=2, limit_val_batches=1)


@situation
def max_steps(player: Player) -> dict[str, Any]:
    """Hooks come in Lightning's order where `max_steps` ends the fit in the middle of an epoch."""
    return order_of(player, n_epoch=3, max_steps=4)


@situation
def exception_in_a_step(player: Player) -> dict[str, Any]:
    """`on_exception` and the hooks before it come where a step raises."""
    calls = []

    def fails(model: Any, batch: Any) -> Any:
        calls.append(batch)
        if len(calls) == 2:
            raise ValueError("no more")
        return train_values(model, batch)

    note = recorder()
    subject = player.make(callbacks=[note], train=fails)
    return {"raised": outcome(subject.fit, 1, train_loader()), "order": note.seen}


@situation
def exception_in_a_callback(player: Player) -> dict[str, Any]:
    """An exception of a callback ends the fit and is given to `on_exception`."""

    def fails(*args: Any) -> None:
        raise KeyError("gone")

    note = recorder(lambda hook, t, m, rest: (hook, [type(value).__name__ for value in rest]), ["on_exception"])
    subject = player.make(callbacks=[on("on_before_optimizer_step", fails), note])
    return {"raised": outcome(subject.fit, 1, train_loader()), "seen": note.seen}


@situation
def should_stop_within_an_epoch(player: Player) -> dict[str, Any]:
    """`trainer.should_stop` in a batch ends the epoch there."""

    def stop(trainer: L.Trainer, module: Any, outputs: Any, batch: Any, index: int) -> None:
        trainer.should_stop = trainer.current_epoch == 1 and index == 1

    note = recorder()
    subject = player.make(callbacks=[on("on_train_batch_end", stop), note])
    subject.fit(4, train_loader(), valid_loader())
    return {"order": note.seen, **subject.counts()}


@situation
def minus_one_skips_the_epoch(player: Player) -> dict[str, Any]:
    """-1 from `on_train_batch_start` skips the rest of the epoch."""
    skip = on("on_train_batch_start", lambda trainer, module, batch, index: -1 if index == 1 else None)
    note = recorder()
    subject = player.make(callbacks=[skip, note])
    subject.fit(2, train_loader(), valid_loader())
    return {"order": note.seen, "weights": subject.weights(), "steps": subject.trainer.global_step}


@situation
def stages_of_setup(player: Player) -> dict[str, Any]:
    """`setup` and `teardown` name the stage; the state names the function."""
    note = recorder(
        lambda hook, trainer, module, rest: (hook, *rest, str(trainer.state.fn)), ["setup", "teardown", "on_fit_start"]
    )
    subject = player.make(callbacks=[note])
    subject.fit(1, train_loader(), valid_loader())
    return {"seen": note.seen}


@situation
def indices_in_batch_hooks(player: Player) -> dict[str, Any]:
    """Batch hooks are given Lightning's indices, and the trainer counts as it does."""

    def look(hook: str, trainer: L.Trainer, module: Any, rest: tuple[Any, ...]) -> Any:
        numbers = [value for value in rest if type(value) is int]
        return hook, numbers, trainer.global_step, trainer.current_epoch, trainer.is_last_batch

    hooks = ["on_train_batch_start", "on_train_batch_end", "on_validation_batch_start", "on_validation_batch_end"]
    note = recorder(look, hooks)
    player.make(callbacks=[note]).fit(2, train_loader(), valid_loader())
    return {"seen": note.seen}


@situation
def counts_in_epoch_hooks(player: Player) -> dict[str, Any]:
    """Steps, epochs and stage at each epoch's hooks are Lightning's."""

    def look(hook: str, trainer: L.Trainer, module: Any, rest: tuple[Any, ...]) -> Any:
        return hook, trainer.global_step, trainer.current_epoch, str(trainer.state.stage), module.global_step

    hooks = ["on_train_start", "on_train_epoch_start", "on_validation_start", "on_validation_epoch_end"]
    note = recorder(look, [*hooks, "on_train_epoch_end", "on_validation_end", "on_train_end"])
    player.make(callbacks=[note]).fit(2, train_loader(), valid_loader())
    return {"seen": note.seen}


@situation(ways=("own_trainer",))
def validate_test_predict(player: Player) -> dict[str, Any]:
    """Hooks of `validate`, `test` and `predict` come in Lightning's order."""
    found = {}
    for name in ("validate", "test", "predict"):
        note = recorder()
        player.make(callbacks=[note]).call(name, valid_loader())
        found[name] = note.seen
    return found


@situation
def callbacks_of_one_hook(player: Player) -> dict[str, Any]:
    """Callbacks are called in their order, checkpoint callbacks last."""
    seen: list[str] = []

    class Saves(C.Checkpoint):
        def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
            seen.append("checkpoint")

    parts = [Saves(), *(on("on_train_epoch_end", lambda *_, name=name: seen.append(name)) for name in ("a", "b"))]
    subject = player.make(callbacks=parts)
    subject.fit(1, train_loader())
    return {"seen": seen}
