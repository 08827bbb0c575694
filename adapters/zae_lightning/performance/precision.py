"""Full and mixed precision, with the optimizer's step after the closure instead of around it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import lightning.pytorch as L
from lightning.pytorch.plugins.precision import MixedPrecision, Precision

_NOTHING: AbstractContextManager[Any] = nullcontext()


class PlainPrecision(Precision):
    """Run forward and backward first, then call ``optimizer.step()`` without a closure, as a hand-written loop does.

    Lightning passes them as a closure to ``optimizer.step``. The numbers are the same, but an optimizer whose ``step``
    takes no closure fails then, and its step hooks run before there are gradients. Optimizers that cannot do without a
    closure, such as LBFGS, still get it.
    """

    def forward_context(self) -> AbstractContextManager[Any]:
        """Return a context that does nothing, without building a generator for it."""
        return _NOTHING

    def train_step_context(self) -> AbstractContextManager[Any]:  # type: ignore[override]
        """Return the context of a step; mixed precision has one of its own."""
        return self.forward_context()

    def optimizer_step(  # type: ignore[override]
        self, optimizer: Any, model: L.LightningModule, closure: Callable[[], Any], **kwargs: Any
    ) -> Any:
        """Train one batch."""
        if _requires_closure(optimizer):
            return super().optimizer_step(optimizer, model, closure, **kwargs)
        # Private to Lightning, but what its own Precision classes are made of; tests/zae_lightning/test_precision.py
        # fails if it changes.
        result = self._wrap_closure(model, optimizer, closure)
        if result is not None or not model.automatic_optimization:  # None: there was nothing to learn from
            optimizer.step(**kwargs)
        return result


class PlainMixedPrecision(MixedPrecision, PlainPrecision):
    """Lightning's mixed precision, stepping as `PlainPrecision` does where there is no scaler."""


def precision_for(autocast: Any) -> Precision:
    """Return the plugin for a trainer's precision.

    Parameters
    ----------
    autocast : object
        With ``name`` ("fp32", "fp16" or "bf16"), ``device_type`` and ``scaler``.

    Returns
    -------
    lightning.pytorch.plugins.precision.Precision
        The plugin; it shares the scaler.
    """
    if autocast.name == "fp32":
        return PlainPrecision()
    mixed: Literal["16-mixed", "bf16-mixed"] = "16-mixed" if autocast.name == "fp16" else "bf16-mixed"
    return PlainMixedPrecision(mixed, device=autocast.device_type, scaler=autocast.scaler)


def _requires_closure(optimizer: Any) -> bool:
    return _has_required_closure(type(optimizer).step)


@functools.lru_cache(maxsize=128)
def _has_required_closure(step: Callable[..., Any]) -> bool:
    parameter = inspect.signature(step).parameters.get("closure")
    return parameter is not None and parameter.default is inspect.Parameter.empty
