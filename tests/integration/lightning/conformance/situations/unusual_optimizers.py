"""Unusual optimizers: those that need a closure, that have modes, and those that a `run_batch` steps by other means."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import callbacks as C

from ..observing import files, recorder
from ..players import Player
from ..problem import Classifier, HandWrittenModule, Values, train_loader, train_values, valid_loader
from . import situation


class SAM(torch.optim.Optimizer):
    """Sharpness-aware minimization: ``step`` needs a closure, although its default is None."""

    def __init__(self, params: Any, lr: float = 0.1, rho: float = 0.05) -> None:
        super().__init__(params, {"lr": lr, "rho": rho})

    def _gradients(self) -> list[tuple[Any, Any]]:
        return [(group, p) for group in self.param_groups for p in group["params"] if p.grad is not None]

    @torch.no_grad()
    def first_step(self, zero_grad: bool = False) -> None:
        norm = torch.stack([p.grad.norm() for _, p in self._gradients()]).norm()
        for group, p in self._gradients():
            self.state[p]["old"] = p.detach().clone()
            p.add_(p.grad * group["rho"] / (norm + 1e-12))
        if zero_grad:
            self.zero_grad()

    @torch.no_grad()
    def second_step(self, zero_grad: bool = False) -> None:
        for group, p in self._gradients():
            p.copy_(self.state[p]["old"]).sub_(p.grad, alpha=group["lr"])
        if zero_grad:
            self.zero_grad()

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        assert closure is not None, "sharpness-aware minimization needs a closure"
        with torch.enable_grad():
            loss = closure()
        self.first_step()
        with torch.enable_grad():
            closure()
        self.second_step()
        return loss


class ScheduleFree(torch.optim.SGD):
    """An optimizer with modes, as the schedule-free ones: averages for evaluation, another point for training."""

    def __init__(self, params: Any, lr: float = 0.1) -> None:
        super().__init__(params, lr)
        self.is_training, self.n = True, 0

    @torch.no_grad()
    def _swap(self) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                if "average" in self.state[p]:
                    kept = p.detach().clone()
                    p.copy_(self.state[p]["average"])
                    self.state[p]["average"] = kept

    def train(self) -> None:
        if not self.is_training:
            self._swap()
            self.is_training = True

    def eval(self) -> None:
        if self.is_training:
            self._swap()
            self.is_training = False

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        if not self.is_training:
            raise RuntimeError("the optimizer is not in train mode")
        loss = super().step(closure)
        self.n += 1
        for group in self.param_groups:
            for p in group["params"]:
                average = self.state[p].setdefault("average", p.detach().clone())
                average.lerp_(p, 1 / self.n)
        return loss


class SwitchesModes(HandWrittenModule):
    """The hand-written module of a user who switches a schedule-free optimizer by hand."""

    def on_train_epoch_start(self) -> None:
        self.optimizer.train()

    def on_validation_start(self) -> None:
        self.optimizer.eval()

    def on_validation_end(self) -> None:
        self.optimizer.train()

    def on_train_end(self) -> None:
        self.optimizer.eval()


class TwoStepsByHand(HandWrittenModule):
    """The hand-written module that takes SAM's two steps with manual optimization."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> Values:
        optimizer = self.optimizers()
        values = self.train_function(self.model, batch)
        optimizer.zero_grad()
        self.manual_backward(values["loss"])
        self.optimizer.first_step(zero_grad=True)
        self.manual_backward(self.train_function(self.model, batch)["loss"])
        second = self.optimizer.second_step
        self.optimizer.step, step = lambda closure=None: second(), self.optimizer.step
        optimizer.step()
        self.optimizer.step = step
        self.log_training(values)
        return values


class TwoSteps(Classifier):
    """A trainer that takes SAM's two steps in `run_batch`."""

    def run_batch(self, batch: Any, **kwargs: Any) -> None:
        if self.mode == "test":
            return super().run_batch(batch, **kwargs)
        batch = self._to_device(*batch)
        self.model.train()
        self.optimizer.zero_grad()
        values = self.train_step(batch)
        values["loss"].backward()
        self.optimizer.first_step(zero_grad=True)
        self.train_step(batch)["loss"].backward()
        self.optimizer.second_step()
        self.logging(values)
        self.progress_checker.update_step()
        return None


@situation
def closure_that_defaults_to_none(player: Player) -> dict[str, Any]:
    """SAM, whose `step(closure=None)` needs a closure, gets one, and trains as by hand."""
    subject = player.make(optimizer=SAM).fit(2, train_loader(), valid_loader())
    return {"weights": subject.weights(), "val_loss": subject.results()["val_loss"], **subject.counts()}


@situation(ways=("run",))
def closure_equals_a_loop(player: Player) -> dict[str, Any]:
    """SAM with a closure equals SAM in a hand-written loop of torch."""
    if not player.is_reference:
        return {"weights": player.make(optimizer=SAM).fit(2, train_loader()).weights()}
    subject = player.make(optimizer=SAM)
    for _ in range(2):
        for batch in train_loader():

            def closure(batch: Any = batch) -> Any:
                subject.optimizer.zero_grad()
                loss = train_values(subject.model, batch)["loss"]
                loss.backward()
                return loss

            subject.optimizer.step(closure)
    return {"weights": subject.weights()}


@situation
def two_steps_in_run_batch(player: Player) -> dict[str, Any]:
    """A `run_batch` with `first_step` and `second_step` trains as by hand, and counts its steps."""
    note = recorder(lambda hook, trainer, module, rest: trainer.global_step, ["on_train_batch_end"])
    options = {"optimizer": SAM, "module_class": TwoStepsByHand, "trainer_class": TwoSteps}
    subject = player.make(callbacks=[note], **options).fit(2, train_loader(), valid_loader())
    return {"steps": note.seen, "weights": subject.weights(), **subject.counts()}


@situation
def checkpoints_of_two_steps(player: Player) -> dict[str, Any]:
    """`every_n_train_steps` fires where a `run_batch` steps by other means."""
    save = C.ModelCheckpoint(player.folder / "saved", "{step}", every_n_train_steps=2, save_top_k=-1)
    options = {"optimizer": SAM, "module_class": TwoStepsByHand, "trainer_class": TwoSteps}
    player.make(callbacks=[save], **options).fit(2, train_loader())
    return {"files": files("saved")}


@situation
def max_steps_of_two_steps(player: Player) -> dict[str, Any]:
    """`max_steps` ends a run whose `run_batch` steps by other means."""
    options = {"optimizer": SAM, "module_class": TwoStepsByHand, "trainer_class": TwoSteps}
    subject = player.make(callbacks=[C.Callback()], arguments={"max_steps": 4}, **options).fit(3, train_loader())
    return {"weights": subject.weights(), "steps": subject.trainer.global_step}


@situation
def modes_of_an_optimizer(player: Player) -> dict[str, Any]:
    """An optimizer with `train()` and `eval()` is switched with the phases."""
    options = {"optimizer": ScheduleFree, "module_class": SwitchesModes}
    subject = player.make(**options).fit(3, train_loader(), valid_loader())
    return {"results": subject.results(), "weights": subject.weights(), "is_training": subject.optimizer.is_training}


@situation
def modes_and_checkpoints(player: Player) -> dict[str, Any]:
    """A checkpoint at the end of a validation is written with the optimizer in train mode again."""
    note = recorder(
        lambda hook, trainer, module, rest: (hook, trainer.optimizers[0].is_training),
        ["on_train_batch_start", "on_validation_batch_start", "on_train_epoch_end"],
    )
    options = {"optimizer": ScheduleFree, "module_class": SwitchesModes, "callbacks": [note]}
    player.make(**options).fit(2, train_loader(), valid_loader())
    return {"seen": note.seen}
