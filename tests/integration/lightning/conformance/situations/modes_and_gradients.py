"""Modes, gradients and batches: what a callback sets holds, and what it sees is Lightning's."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as L
import torch
from lightning.pytorch import callbacks as C
from torch import nn

from ..observing import on, recorder
from ..players import Player
from ..problem import Values, WithNorm, dataset, train_loader, train_values, valid_loader
from . import situation


def norm_of(module: Any) -> nn.BatchNorm1d:
    return module.model.backbone[1]


def trained_with(player: Player, callbacks: list[Any], n_epoch: int = 2, **options: Any) -> dict[str, Any]:
    subject = player.make(model=options.pop("model", WithNorm), callbacks=callbacks, **options)
    subject.fit(n_epoch, train_loader(), valid_loader())
    return {"weights": subject.weights(), "results": subject.results()}


@situation
def frozen_batch_norm(player: Player) -> dict[str, Any]:
    """Batch norm that a callback sets to eval at the start of an epoch stays so: its statistics do not move."""
    return trained_with(player, [on("on_train_epoch_start", lambda trainer, module: norm_of(module).eval())])


@situation
def batch_norm_frozen_once(player: Player) -> dict[str, Any]:
    """Batch norm that a callback sets to eval at the start of the fit stays so, through validations."""
    return trained_with(player, [on("on_train_start", lambda trainer, module: norm_of(module).eval())])


@situation
def batch_norm_frozen_before_the_fit(player: Player) -> dict[str, Any]:
    """Batch norm that the user has set to eval before the fit stays so where a callback is in play."""

    def model() -> nn.Module:
        made = WithNorm()
        made.backbone[1].eval()
        return made

    return trained_with(player, [C.Callback()], model=model)


@situation
def whole_model_in_eval(player: Player) -> dict[str, Any]:
    """A model that a callback sets to eval stays so."""
    return trained_with(player, [on("on_train_start", lambda trainer, module: module.eval())])


@situation
def backbone_finetuning(player: Player) -> dict[str, Any]:
    """`BackboneFinetuning` freezes batch norm too, then trains."""

    def made(model: nn.Module) -> list[Any]:
        return [C.BackboneFinetuning(unfreeze_backbone_at_epoch=2, train_bn=False, verbose=False)]

    subject = player.make(
        model=WithNorm,
        optimizer=lambda parameters: torch.optim.SGD([p for p in parameters if p.shape[0] == 2], lr=0.1),
        callbacks=made,
    )
    if player.is_reference:
        subject.module.backbone = subject.model.backbone
    subject.fit(4, train_loader(), valid_loader())
    return {"weights": subject.weights(), "rates": subject.rates()}


@situation
def modes_at_every_hook(player: Player) -> dict[str, Any]:
    """Module and model are in the modes that Lightning has them in at every hook."""
    note = recorder(lambda hook, trainer, module, rest: (hook, module.training, module.model.training))
    trained_with(player, [note], n_epoch=1)
    return {"seen": note.seen}


@situation
def gradients_enabled_at_every_hook(player: Player) -> dict[str, Any]:
    """Gradients are on or off at every hook as in Lightning."""
    note = recorder(lambda hook, trainer, module, rest: (hook, torch.is_grad_enabled()))
    trained_with(player, [note], n_epoch=1)
    return {"seen": note.seen}


def size_of_gradients(module: Any) -> float | None:
    gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
    return float(sum(gradient.norm() for gradient in gradients)) if gradients else None


@situation
def gradients_at_the_hooks_of_a_step(player: Player) -> dict[str, Any]:
    """Gradients at the hooks of a step are what they are in Lightning."""
    hooks = ["on_before_backward", "on_after_backward", "on_before_optimizer_step", "on_train_batch_end"]
    note = recorder(lambda hook, trainer, module, rest: (hook, size_of_gradients(module)), hooks)
    trained_with(player, [note], n_epoch=1)
    return {"seen": note.seen}


@situation
def gradients_before_they_are_cleared(player: Player) -> dict[str, Any]:
    """`on_before_zero_grad` sees the gradients of the step before, once a step."""
    note = recorder(
        lambda hook, trainer, module, rest: (trainer.global_step, size_of_gradients(module)), ["on_before_zero_grad"]
    )
    trained_with(player, [note])
    return {"seen": note.seen}


@situation
def gradients_before_clipping(player: Player) -> dict[str, Any]:
    """`on_before_optimizer_step` sees gradients that are not clipped yet; the step is."""
    note = recorder(lambda hook, trainer, module, rest: size_of_gradients(module), ["on_before_optimizer_step"])
    found = trained_with(player, [note], arguments={"gradient_clip_val": 0.01})
    return {"seen": note.seen, **found}


@situation
def gradients_at_validation(player: Player) -> dict[str, Any]:
    """Gradients at the start of a validation and behind it are what they are in Lightning."""
    hooks = ["on_validation_start", "on_validation_batch_start", "on_validation_end", "on_train_epoch_start"]
    note = recorder(lambda hook, trainer, module, rest: (hook, size_of_gradients(module)), hooks)
    trained_with(player, [note])
    return {"seen": note.seen}


@situation
def clearing_by_hand(player: Player) -> dict[str, Any]:
    """`module.zero_grad()` in a callback clears the gradients."""

    def clear(trainer: Any, module: Any, *_: Any) -> None:
        module.zero_grad()
        seen.append(size_of_gradients(module))

    seen: list[Any] = []
    found = trained_with(player, [on("on_train_batch_end", clear)])
    return {"seen": seen, **found}


@situation
def clearing_within_accumulation(player: Player) -> dict[str, Any]:
    """`module.zero_grad()` in the middle of an accumulation drops what was accumulated."""

    def clear(trainer: Any, module: Any, outputs: Any, batch: Any, index: int) -> None:
        if index == 0:
            module.zero_grad()

    return trained_with(
        player, [on("on_train_batch_end", clear)], arguments={"accumulate_grad_batches": 3}, model=WithNorm
    )


@situation
def gradients_changed_by_a_callback(player: Player) -> dict[str, Any]:
    """Noise that a callback adds to gradients after backward is trained with."""

    def shift(trainer: Any, module: Any) -> None:
        for parameter in module.parameters():
            parameter.grad += 0.01

    return trained_with(player, [on("on_after_backward", shift)])


@situation
def loss_before_backward(player: Player) -> dict[str, Any]:
    """`on_before_backward` is given the loss, divided where gradients accumulate."""
    note = recorder(lambda hook, trainer, module, rest: float(rest[0].detach()), ["on_before_backward"])
    found = trained_with(player, [note], arguments={"accumulate_grad_batches": 2})
    return {"seen": note.seen, **found}


@situation
def outputs_of_training(player: Player) -> dict[str, Any]:
    """`on_train_batch_end` is given the step's values, the loss detached."""

    def look(hook: str, trainer: L.Trainer, module: Any, rest: Any) -> Any:
        outputs = rest[0]
        return sorted(outputs), float(outputs["loss"]), outputs["loss"].requires_grad

    note = recorder(look, ["on_train_batch_end"])
    trained_with(player, [note], arguments={"accumulate_grad_batches": 2})
    return {"seen": note.seen}


@situation
def outputs_of_validation(player: Player) -> dict[str, Any]:
    """`on_validation_batch_end` is given what the step returned."""
    note = recorder(lambda hook, t, m, rest: (sorted(rest[0]), rest[0]["output"].clone()), ["on_validation_batch_end"])
    trained_with(player, [note])
    return {"seen": note.seen}


@situation
def element_of_the_batch_replaced(player: Player) -> dict[str, Any]:
    """A callback replaces an element of the batch, as mixup does: `batch[0] = …`."""

    def mix(trainer: Any, module: Any, batch: Any, index: int) -> None:
        batch[0] = batch[0].flip(0) * 0.5 + batch[0] * 0.5

    return trained_with(player, [on("on_train_batch_start", mix)])


@situation
def tensor_of_the_batch_changed(player: Player) -> dict[str, Any]:
    """A callback changes a tensor of the batch in place."""
    return trained_with(player, [on("on_train_batch_start", lambda t, m, batch, index: batch[0].mul_(0.5))])


@situation
def dictionary_batches(player: Player) -> dict[str, Any]:
    """A callback adds an entry to a batch that is a dict, and the step finds it."""

    def collate(samples: Any) -> dict[str, torch.Tensor]:
        x, y = zip(*samples, strict=True)
        return {"x": torch.stack(x), "y": torch.stack(y)}

    def train(model: Any, batch: Any) -> Values:
        return train_values(model, (batch["x"] * batch["weight"], batch["y"]))

    weigh = on("on_train_batch_start", lambda t, m, batch, index: batch.update(weight=0.5 + index))
    subject = player.make(callbacks=[weigh], train=train)
    return {"weights": subject.fit(2, train_loader(data=dataset(), collate_fn=collate)).weights()}


@situation
def validation_batch_replaced(player: Player) -> dict[str, Any]:
    """A callback replaces an element of a validation batch."""

    def scale(trainer: Any, module: Any, batch: Any, index: int, loader: int = 0) -> None:
        batch[0] = batch[0] * 2

    return trained_with(player, [on("on_validation_batch_start", scale)])


@situation
def batches_at_hooks(player: Player) -> dict[str, Any]:
    """Hooks are given the batch of their step, of the loader's type."""
    hooks = ["on_train_batch_start", "on_train_batch_end", "on_validation_batch_start", "on_validation_batch_end"]

    def look(hook: str, trainer: Any, module: Any, rest: Any) -> Any:
        batch = next(value for value in rest if isinstance(value, (list, tuple)))
        return hook, type(batch).__name__, float(batch[0].sum())

    note = recorder(look, hooks)
    trained_with(player, [note], n_epoch=1)
    return {"seen": note.seen}


@situation
def parameters_frozen_in_the_middle(player: Player) -> dict[str, Any]:
    """Parameters that a callback freezes in the second epoch stay where they are."""

    def freeze(trainer: Any, module: Any) -> None:
        module.model.head.requires_grad_(trainer.current_epoch != 1)

    return trained_with(player, [on("on_train_epoch_start", freeze)], n_epoch=3, optimizer=torch.optim.Adam)


@situation
def step_in_eval_mode_of_a_submodule(player: Player) -> dict[str, Any]:
    """Dropout that a callback switches off at every batch is off."""
    model = lambda: nn.Sequential(nn.Linear(10, 8), nn.Dropout(0.5), nn.Linear(8, 2))  # noqa: E731
    off = on("on_train_batch_start", lambda trainer, module, *_: module.model[1].eval())
    return trained_with(player, [off], model=model)
