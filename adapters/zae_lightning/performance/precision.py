"""Precision: full and mixed precision, with the optimizer's step after the closure instead of around it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import lightning.pytorch as L
from lightning.pytorch.plugins.precision import MixedPrecision, Precision

from ..closures import requires_closure
from ..protocol import PrecisionConfig

_NULL_CONTEXT: AbstractContextManager[Any] = nullcontext()


class PlainPrecision(Precision):
    """Full precision: runs forward and backward first, then ``optimizer.step()`` without a closure, as plain loops do.

    Lightning passes forward and backward as a closure to ``optimizer.step``. The numbers are the same, but an optimizer
    whose ``step`` takes no closure then fails, and step hooks run before the gradients exist. Optimizers that require
    a closure, such as LBFGS, receive it; see `requires_closure`.
    """

    def forward_context(self) -> AbstractContextManager[Any]:
        """Return a shared context that does nothing; Lightning builds a generator for each call."""
        return _NULL_CONTEXT

    def train_step_context(self) -> AbstractContextManager[Any]:  # type: ignore[override]
        """Return the context of a training step, which mixed precision overrides by `forward_context`."""
        return self.forward_context()

    def optimizer_step(  # type: ignore[override]
        self, optimizer: Any, model: L.LightningModule, closure: Callable[[], Any], **kwargs: Any
    ) -> Any:
        """Run forward and backward, then the optimizer's step."""
        if requires_closure(optimizer):
            return super().optimizer_step(optimizer, model, closure, **kwargs)
        # Lightning's Precision classes use this method. It is private to Lightning;
        # tests/unit/zae_lightning/performance/test_precision.py fails if it changes.
        result = self._wrap_closure(model, optimizer, closure)
        if result is not None or not model.automatic_optimization:  # None: the batch has no loss
            optimizer.step(**kwargs)
        return result


class PlainMixedPrecision(MixedPrecision, PlainPrecision):
    """Mixed precision: Lightning's, with the step of `PlainPrecision` if it has no scaler."""


def precision_for(config: PrecisionConfig) -> Precision:
    """Return the plugin for a trainer's precision.

    Parameters
    ----------
    config : PrecisionConfig
        The precision: ``name`` is "fp32", "fp16" or "bf16".

    Returns
    -------
    lightning.pytorch.plugins.precision.Precision
        The plugin; it shares the scaler.
    """
    if config.name == "fp32":
        return PlainPrecision()
    mixed: Literal["16-mixed", "bf16-mixed"] = "16-mixed" if config.name == "fp16" else "bf16-mixed"
    return PlainMixedPrecision(mixed, device=config.device_type, scaler=config.scaler)
