"""Lightning rules: modes, gradients, optimizers and schedulers, where a Lightning part is in play.

A callback sets modes, sees and clears gradients, and puts optimizers and schedulers in place. What it does holds, as
with a hand-written LightningModule. A trainer without such parts follows zae-engine 0.7.6; these hooks then do nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from .base_module import BaseModule
from .gradient_clearing import KeptGradients, sees_gradients


class LightningRules(BaseModule):
    """The part of the generated module that follows Lightning."""

    _keeps_gradients = False
    _shows_gradients = False
    _cleared: Sequence[tuple[torch.Tensor, torch.Tensor]] = ()
    _of_lightning: Any = None
    optimizer_zero_grad: Any = None  # `call_train_step` clears the gradients, since train_step may call backward itself
    _optimizer: Any
    _schedulers: list[Any]

    # Modes

    def on_validation_model_eval(self) -> None:
        """Switch to eval mode."""
        self.hooks.enter_evaluation(self)

    def on_validation_model_train(self) -> None:
        """Restore the modes; after a sanity check in any case, since Lightning warns of a model in eval mode."""
        self.hooks.leave_evaluation()
        if self.trainer.sanity_checking and not self.hooks.follows_lightning:
            self.model.train()

    def on_test_model_eval(self) -> None:
        """Run `on_validation_model_eval`."""
        self.hooks.enter_evaluation(self)

    def on_test_model_train(self) -> None:
        """Run `on_validation_model_train`."""
        self.hooks.leave_evaluation()

    def on_validation_end(self) -> None:
        """Switch an optimizer with modes to training again: checkpoints of this validation have been written."""
        if self.trainer.state.fn == "fit":
            self.hooks.end_validation()

    # Gradients

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the gradients, except at the start of a run: zae-engine clears the optimizer's before each batch."""
        if not self._keeps_gradients:
            super().zero_grad(set_to_none)

    def clear_before_validation(self) -> None:
        """Clear the gradients before a validation.

        They stay where the trainer clips: it does so by the norm of all gradients, also of those outside the optimizer.
        """
        if self.hooks.follows_lightning and self.automatic_optimization and not self.hooks.clips_gradients:
            self._cleared = [(p, p.grad) for p in self.parameters() if p.grad is not None]
            self.zero_grad()

    def restore_gradients(self) -> None:
        """Put back the gradients of the last batch at the end of a run, as 0.7.6 leaves them."""
        for parameter, gradient in self._cleared:
            if parameter.grad is None:
                parameter.grad = gradient
        self._cleared = ()

    def call_train_step(self, batch: Any, zero_grad: bool) -> Mapping[str, Any]:
        """Run ``train_step``; afterwards the gradients of the previous step are there again, for callbacks."""
        if self._cleared:
            self._cleared = ()
        if not (self._shows_gradients and zero_grad):
            return self.hooks.call_train_step(batch, zero_grad)
        kept = KeptGradients(self._optimizer)
        output = self.hooks.call_train_step(batch, zero_grad)
        self.optimizer_zero_grad = kept.show()
        return output

    def see_callbacks(self) -> None:
        """Note which callbacks see gradients before they are cleared."""
        self._keeps_gradients = False
        self._shows_gradients = self.hooks.follows_lightning and sees_gradients(self.trainer.callbacks)

    # Optimizers and schedulers

    def note_optimizer(self) -> None:
        """Note the optimizer that Lightning has made of the user's, before callbacks can replace it."""
        self._of_lightning = next(iter(self.trainer.optimizers), None)

    def adopt_optimizer(self) -> None:
        """Use an optimizer that a callback has put into ``trainer.optimizers`` as the trainer's."""
        current = next(iter(self.trainer.optimizers), None) if self.hooks.follows_lightning else self._of_lightning
        if current is not self._of_lightning and isinstance(current, torch.optim.Optimizer):
            self._of_lightning = self._optimizer = self.hooks.torch_optimizer = current

    def see_schedulers(self) -> None:
        """Note whether a callback has taken the user's scheduler out, as stochastic weight averaging does."""
        if self._schedulers and self.hooks.follows_lightning:
            active = [config.scheduler for config in self.trainer.lr_scheduler_configs]
            own = {id(scheduler) for scheduler in self._schedulers}
            self.hooks.scheduler_is_replaced = not any(id(scheduler) in own for scheduler in active)
