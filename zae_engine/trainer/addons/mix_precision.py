"""PrecisionMixerAddon: mixed precision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch

from .._state import TrainerState
from ..precision import Autocast
from .compose import with_mixin
from .core import AddOnBase, T

Name = Literal["fp32", "fp16", "bf16"]
NAMES: tuple[Name, ...] = ("fp32", "fp16", "bf16")
_AS_IN_0_7_6 = "PrecisionMixerAddon requires at least one GPU device to function."


class PrecisionMixerAddon(AddOnBase):
    """Train in mixed precision, through Lightning's precision plugins.

    The trainer takes one more keyword, ``precision``, by default "auto":

    - "auto": the best precision of the GPU, bfloat16 from the Ampere generation on, float16 before;
    - "fp32": full precision;
    - "fp16": float16, with the loss scaled so that small gradients do not vanish (GPU only);
    - "bf16": bfloat16, on the CPU too;
    - a list of priorities: the trainer uses the first that the device supports.

    Forward passes run under `torch.autocast`; weights, gradients and the optimizer stay in full precision, and
    ``gradient_clip`` acts on unscaled gradients. ``trainer.precision`` is the list of priorities, ``trainer.scaler``
    the gradient scaler or None.

    Raises
    ------
    ValueError
        On construction of the trainer: for "auto", and for "fp16" without an alternative, if all devices are CPUs; for
        any other value.

    Examples
    --------
    >>> from zae_engine.trainer import Trainer
    >>> from zae_engine.trainer.addons import PrecisionMixerAddon
    >>> MyTrainer = Trainer.add_on(PrecisionMixerAddon)
    >>> trainer = MyTrainer(
    ...     model=my_model,
    ...     device='cuda',
    ...     optimizer=my_optimizer,
    ...     scheduler=my_scheduler,
    ...     precision=["bf16", "fp16"]
    ... )  # doctest: +SKIP
    """

    @classmethod
    def apply(cls, base_cls: type[T]) -> type[T]:
        """Return ``base_cls`` with mixed precision."""
        return with_mixin(base_cls, PrecisionMixerMixin, "PrecisionTrainer")


class PrecisionMixerMixin:
    """The part of a trainer that `PrecisionMixerAddon` adds."""

    _zae_add_on = "PrecisionMixerAddon"
    device: list[torch.device]
    primary_device_index: int
    _zae_state: TrainerState

    def __init__(self, *args: Any, precision: Literal["auto"] | Name | Sequence[Name] = "auto", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        device = self.device[self.primary_device_index]
        self.precision: list[str] = self._determine_precision(precision)
        self._zae_state.config.precision = Autocast(_first_possible(self.precision, device), device)
        self.scaler = self._zae_state.config.precision.scaler

    def _determine_precision(self, precision: str | Sequence[str]) -> list[str]:
        if precision == "auto":
            return _best(self.device[self.primary_device_index])
        priorities = [precision] if isinstance(precision, str) else precision
        if not isinstance(priorities, (list, tuple)) or not priorities or not set(priorities) <= set(NAMES):
            raise ValueError(
                f'precision={precision!r} is not known: accepted are "auto", "fp32", "fp16", "bf16", or a list of the '
                f"latter three in order of priority."
            )
        return list(priorities)


def _best(device: torch.device) -> list[str]:
    if device.type == "cpu":
        raise ValueError(
            f'{_AS_IN_0_7_6} precision="auto" needs a GPU, but the trainer runs on the CPU. '
            'Give a GPU as the device, or precision="bf16" or "fp32".'
        )
    if device.type != "cuda":
        return ["fp32"]
    return ["bf16", "fp16"] if torch.cuda.get_device_capability(device)[0] >= 8 else ["fp16"]


def _first_possible(priorities: list[str], device: torch.device) -> str:
    for name in priorities:
        if name != "fp16" or device.type != "cpu":
            return name
    raise ValueError(
        f"{_AS_IN_0_7_6} precision={priorities} needs a GPU: float16 is not trained with on the CPU. "
        f'Give a GPU as the device, or add "bf16" or "fp32" to the list.'
    )
