"""Optimizers and schedulers: what steps when, and which optimizer is cleared and stepped."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import callbacks as C
from lightning.pytorch.loggers import CSVLogger
from torch import nn

from ..observing import on, outcome, recorder, rows
from ..players import Player
from ..problem import WithNorm, train_loader, valid_loader
from . import situation


def steps(optimizer: Any) -> Any:
    return torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)


def rates_at(hook: str = "on_train_batch_start") -> Any:
    return recorder(lambda name, trainer, module, rest: trainer.optimizers[0].param_groups[0]["lr"], [hook])


def rates(player: Player, n_epoch: int = 2, hook: str = "on_train_batch_start", **options: Any) -> dict[str, Any]:
    """Return the learning rates at a hook, and where training ends."""
    note = rates_at(hook)
    callbacks = [*options.pop("callbacks", ()), note]
    subject = player.make(callbacks=callbacks, **options)
    subject.fit(n_epoch, train_loader(batch_size=4), valid_loader())
    return {"rates": note.seen, "weights": subject.weights(), "end": subject.rates()}


@situation
def scheduler_per_epoch(player: Player) -> dict[str, Any]:
    """A scheduler steps once an epoch."""
    return rates(player, scheduler=steps)


@situation
def scheduler_per_step(player: Player) -> dict[str, Any]:
    """A scheduler per batch steps with every optimizer step."""
    return rates(player, scheduler=steps, per_batch=True)


@situation
def scheduler_per_step_with_accumulation(player: Player) -> dict[str, Any]:
    """A scheduler per batch steps once an optimizer step where gradients accumulate."""
    return rates(player, scheduler=steps, per_batch=True, arguments={"accumulate_grad_batches": 2})


@situation
def scheduler_per_step_with_a_rest(player: Player) -> dict[str, Any]:
    """The last, incomplete accumulation of an epoch steps optimizer and scheduler."""
    return rates(player, scheduler=steps, per_batch=True, arguments={"accumulate_grad_batches": 4})


@situation
def scheduler_per_step_with_a_schedule_of_accumulation(player: Player) -> dict[str, Any]:
    """A scheduler per batch follows `GradientAccumulationScheduler`."""
    schedule = C.GradientAccumulationScheduler({0: 1, 1: 3})
    return rates(player, scheduler=steps, per_batch=True, callbacks=[schedule])


@situation
def scheduler_per_epoch_with_accumulation(player: Player) -> dict[str, Any]:
    """A scheduler per epoch does not notice that gradients accumulate."""
    return rates(player, scheduler=steps, arguments={"accumulate_grad_batches": 2})


@situation
def one_cycle_of_all_updates(player: Player) -> dict[str, Any]:
    """A one-cycle policy over all updates runs to its end where gradients accumulate."""
    cycle = lambda optimizer: torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.5, total_steps=6)  # noqa: E731
    return rates(player, scheduler=cycle, per_batch=True, arguments={"accumulate_grad_batches": 2})


_HOOKS_AND_RATES = [
    (hook, 0.1 * 0.5**epoch)
    for epoch in range(2)
    for hook in ("on_train_epoch_start", "on_validation_start", "on_validation_end", "on_train_epoch_end")
]


@situation(expected={"seen": _HOOKS_AND_RATES})
def rates_at_the_hooks_of_epochs(player: Player) -> dict[str, Any]:
    """A known difference: a scheduler per epoch steps at the epoch's end as in 0.7.6, Lightning's before validation."""
    hooks = ["on_train_epoch_start", "on_validation_start", "on_validation_end", "on_train_epoch_end"]
    note = recorder(lambda hook, trainer, m, rest: (hook, trainer.optimizers[0].param_groups[0]["lr"]), hooks)
    player.make(callbacks=[note], scheduler=steps).fit(2, train_loader(), valid_loader())
    return {"seen": note.seen}


@situation
def scheduler_resumed_from_a_validation(player: Player) -> dict[str, Any]:
    """A checkpoint that is written at a validation continues with the rates that Lightning continues with."""

    def train(folder: str, epochs: int, **options: Any) -> tuple[Any, Any, Any]:
        save = C.ModelCheckpoint(player.folder / folder, "last", save_on_train_epoch_end=False)
        note = rates_at()
        subject = player.make(callbacks=[save, note], scheduler=steps)
        subject.fit(epochs, train_loader(), valid_loader(), **options)
        return subject, save, note

    _, save, _ = train("a", 2)
    subject, _, note = train("b", 2, ckpt_path=save.best_model_path, after=2)
    return {"rates": note.seen, "weights": subject.weights(), "end": subject.rates()}


@situation
def plateau(player: Player) -> dict[str, Any]:
    """`ReduceLROnPlateau` is given the validation loss of each epoch."""
    plateaus = lambda o: torch.optim.lr_scheduler.ReduceLROnPlateau(o, patience=0, threshold=0.5)  # noqa: E731
    return rates(player, n_epoch=4, hook="on_train_epoch_start", scheduler=plateaus)


@situation
def plateau_every_other_epoch(player: Player) -> dict[str, Any]:
    """`ReduceLROnPlateau` with `check_val_every_n_epoch=2` keeps to the epochs that were validated."""
    plateaus = lambda o: torch.optim.lr_scheduler.ReduceLROnPlateau(o, patience=0, threshold=0.5)  # noqa: E731
    note = rates_at("on_train_epoch_start")
    subject = player.make(callbacks=[note], scheduler=plateaus, arguments={"check_val_every_n_epoch": 2})
    subject.fit(5, train_loader(), valid_loader())
    return {"bad_epochs": subject.scheduler.num_bad_epochs, "best": float(subject.scheduler.best)}


@situation(ways=("run",), expected={"loss is refused or not used": True})
def plateau_of_a_maximum(player: Player) -> dict[str, Any]:
    """`ReduceLROnPlateau(mode="max")` is not given the loss: it gets a named quantity, or an error says so."""
    given: list[float] = []

    class Plateau(torch.optim.lr_scheduler.ReduceLROnPlateau):
        def step(self, metrics: Any, epoch: Any = None) -> None:
            given.append(float(metrics))
            super().step(metrics)

    subject = player.make(scheduler=lambda optimizer: Plateau(optimizer, mode="max"))
    raised = outcome(subject.fit, 1, train_loader(), valid_loader())
    losses = [float(loss) for loss in subject.facade.log_test["loss"]]
    mean = sum(losses) / max(len(losses), 1)
    return {"loss is refused or not used": raised != "passes" or all(abs(value - mean) > 1e-6 for value in given)}


@situation
def averaging_takes_the_schedulers_place(player: Player) -> dict[str, Any]:
    """Stochastic weight averaging takes the place of a scheduler per epoch."""
    averaging = C.StochasticWeightAveraging(0.05, swa_epoch_start=1, annealing_epochs=2)
    return rates(player, n_epoch=5, callbacks=[averaging], scheduler=steps)


@situation
def averaging_takes_the_place_of_a_scheduler_per_step(player: Player) -> dict[str, Any]:
    """Stochastic weight averaging takes the place of a scheduler per batch."""
    averaging = C.StochasticWeightAveraging(0.05, swa_epoch_start=1, annealing_epochs=2)
    return rates(player, n_epoch=5, callbacks=[averaging], scheduler=steps, per_batch=True)


@situation
def averaging_with_batch_norm(player: Player) -> dict[str, Any]:
    """Stochastic weight averaging updates batch norm at the end."""
    averaging = C.StochasticWeightAveraging(0.05, swa_epoch_start=1, annealing_epochs=1)
    return rates(player, n_epoch=4, callbacks=[averaging], model=WithNorm)


@situation
def optimizer_put_in_place(player: Player) -> dict[str, Any]:
    """An optimizer that a callback puts into `trainer.optimizers` is the one that is cleared and stepped."""
    made: list[Any] = []

    def replace(trainer: Any, module: Any) -> None:
        made.append(torch.optim.Adam(module.parameters(), lr=0.05))
        trainer.optimizers = made

    found = rates(player, callbacks=[on("on_train_start", replace)])
    return {**found, "steps": [float(state["step"]) for state in made[0].state.values()]}


@situation
def optimizer_replaced_in_the_middle(player: Player) -> dict[str, Any]:
    """An optimizer that a callback puts in place at the second epoch is the one that steps from there on."""

    def replace(trainer: Any, module: Any) -> None:
        if trainer.current_epoch == 1:
            trainer.optimizers = [torch.optim.Adam(module.parameters(), lr=0.05)]

    return rates(player, n_epoch=3, callbacks=[on("on_train_epoch_start", replace)])


@situation
def optimizer_of_more_parameters(player: Player) -> dict[str, Any]:
    """An optimizer with more parameters that a callback puts in place is the one that is cleared and stepped."""
    head = lambda parameters: torch.optim.SGD(list(parameters)[-2:], lr=0.1)  # noqa: E731

    def replace(trainer: Any, module: Any) -> None:
        trainer.optimizers = [torch.optim.SGD(module.parameters(), lr=0.05)]

    return rates(player, callbacks=[on("on_train_start", replace)], model=WithNorm, optimizer=head)


@situation
def unused_parameters(player: Player) -> dict[str, Any]:
    """Gradients of parameters that the optimizer does not have are what they are in Lightning."""
    head = lambda parameters: torch.optim.SGD(list(parameters)[-2:], lr=0.1)  # noqa: E731
    note = recorder(
        lambda hook, trainer, module, rest: float(module.model.backbone[0].weight.grad.norm()), ["on_train_batch_end"]
    )
    found = rates(player, callbacks=[note], model=WithNorm, optimizer=head)
    return {**found, "gradients": note.seen}


@situation
def group_added(player: Player) -> dict[str, Any]:
    """Parameters that a callback adds to the optimizer are trained and cleared."""
    head = lambda parameters: torch.optim.SGD(list(parameters)[-2:], lr=0.1, momentum=0.5)  # noqa: E731

    def add(trainer: Any, module: Any) -> None:
        if trainer.current_epoch == 1:
            trainer.optimizers[0].add_param_group({"params": module.model.backbone.parameters(), "lr": 0.01})

    callbacks = [on("on_train_epoch_start", add)]
    return rates(player, n_epoch=3, callbacks=callbacks, model=WithNorm, optimizer=head)


@situation
def optimizers_set_up_again(player: Player) -> dict[str, Any]:
    """`trainer.strategy.setup_optimizers` in a callback gives an optimizer that trains on."""

    def again(trainer: Any, module: Any) -> None:
        trainer.strategy.setup_optimizers(trainer)

    return rates(player, callbacks=[on("on_train_epoch_start", again)], scheduler=steps)


@situation
def rate_set_by_a_callback(player: Player) -> dict[str, Any]:
    """A learning rate that a callback sets in `trainer.optimizers` holds."""

    def warm_up(trainer: Any, module: Any, batch: Any, index: int) -> None:
        trainer.optimizers[0].param_groups[0]["lr"] = 0.01 * (trainer.global_step + 1)

    return rates(player, callbacks=[on("on_train_batch_start", warm_up)])


@situation
def state_of_the_optimizer_reset(player: Player) -> dict[str, Any]:
    """A callback that clears the optimizer's state starts its moments anew."""

    def reset(trainer: Any, module: Any) -> None:
        trainer.optimizers[0].state.clear()

    return rates(player, callbacks=[on("on_train_epoch_start", reset)], optimizer=torch.optim.Adam)


@situation
def groups_with_rates(player: Player) -> dict[str, Any]:
    """A monitor logs the rate of every group."""

    def groups(parameters: Any) -> Any:
        weight, bias = parameters
        return torch.optim.SGD([{"params": [weight], "lr": 0.1}, {"params": [bias], "lr": 0.01}])

    logger = CSVLogger(player.folder, "logs")
    monitor = C.LearningRateMonitor("epoch")
    found = rates(player, callbacks=[monitor], optimizer=groups, scheduler=steps, loggers=[logger])
    logged = {name: [value for _, value in found_rows] for name, found_rows in rows(logger).items()}
    return {**found, "rows": [logged.get(f"lr-SGD/pg{group}") for group in (1, 2)]}


@situation
def needs_a_closure(player: Player) -> dict[str, Any]:
    """LBFGS gets its closure."""
    return rates(player, optimizer=lambda parameters: torch.optim.LBFGS(parameters, lr=0.1, max_iter=3))


@situation
def step_hooks_of_the_optimizer(player: Player) -> dict[str, Any]:
    """Hooks that a callback registers on the optimizer see every step."""
    seen: list[str] = []

    def register(trainer: Any, module: Any) -> None:
        trainer.optimizers[0].register_step_pre_hook(lambda *_: seen.append("before"))
        trainer.optimizers[0].register_step_post_hook(lambda *_: seen.append("after"))

    found = rates(player, callbacks=[on("on_train_start", register)], arguments={"accumulate_grad_batches": 2})
    return {**found, "seen": seen}


@situation
def clipping_by_value(player: Player) -> dict[str, Any]:
    """`gradient_clip_val` with accumulation clips what was accumulated."""
    arguments = {"gradient_clip_val": 0.05, "gradient_clip_algorithm": "value", "accumulate_grad_batches": 2}
    return rates(player, arguments=arguments)


@situation
def averaged_weights_with_adam(player: Player) -> dict[str, Any]:
    """Averaged weights are validated with; the fit ends with them."""
    model = lambda: nn.Sequential(nn.Linear(10, 4), nn.Tanh(), nn.Linear(4, 2))  # noqa: E731
    subject = player.make(model=model, optimizer=torch.optim.Adam, callbacks=[C.EMAWeightAveraging(decay=0.5)])
    subject.fit(3, train_loader(), valid_loader())
    return {"weights": subject.weights(), "results": subject.results(), **subject.counts()}
