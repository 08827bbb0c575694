"""Modular signals: metrics of signals as torchmetrics' `Metric`; see `zae_engine.metrics.modular`."""

from __future__ import annotations

import math
from typing import Any

import torch
from torchmetrics import MeanSquaredError, Metric

from . import _inputs
from .signals import EPS


class MSE(MeanSquaredError):
    """The mean squared error over all batches: torchmetrics' class, under a name that matches `mse`.

    Examples
    --------
    >>> import torch
    >>> from zae_engine.metrics import MSE
    >>> MSE()(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0]))
    tensor(2.)
    """


class RMS(Metric):
    """The root mean square of a signal, over all batches; see `zae_engine.metrics.rms`.

    ``update(preds)`` takes a signal of any shape, and ignores a second argument.

    Examples
    --------
    >>> import torch
    >>> from zae_engine.metrics import RMS
    >>> RMS()(torch.tensor([3.0, 3.0, 3.0]))
    tensor(3.)
    """

    full_state_update = False
    squares: torch.Tensor
    total: torch.Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("squares", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("total", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, preds: torch.Tensor, target: Any = None) -> None:
        """Add a batch."""
        self.squares += preds.detach().float().square().sum()
        self.total += preds.numel()

    def compute(self) -> torch.Tensor:
        """Return a scalar, in the unit of the signal."""
        return (self.squares / self.total).sqrt()


class SignalToNoise(Metric):
    """The signal-to-noise ratio over all batches, in decibels; see `zae_engine.metrics.signal_to_noise`.

    ``update(preds, target)`` takes the signal and the noise.

    Examples
    --------
    >>> import torch
    >>> from zae_engine.metrics import SignalToNoise
    >>> SignalToNoise()(torch.tensor([1.0, 2.0]), torch.tensor([0.1, 0.2])).round(decimals=3)
    tensor(20.)
    """

    full_state_update = False
    higher_is_better = True

    signal: torch.Tensor
    noise: torch.Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("signal", torch.zeros(2), dist_reduce_fx="sum")  # the sum of squares, and the count
        self.add_state("noise", torch.zeros(2), dist_reduce_fx="sum")

    def update(self, preds: torch.Tensor, target: torch.Tensor) -> None:
        """Add a batch."""
        for state, values in ((self.signal, preds), (self.noise, target)):
            state[0] += values.detach().float().square().sum()
            state[1] += values.numel()

    def compute(self) -> torch.Tensor:
        """Return a scalar, in dB."""
        signal, noise = ((state[0] / state[1]).sqrt() for state in (self.signal, self.noise))
        return 20 * torch.log10(signal / (noise + EPS))


class PeakSignalToNoise(Metric):
    """The peak signal-to-noise ratio over all batches, in decibels; see `zae_engine.metrics.peak_signal_to_noise`.

    Parameters
    ----------
    peak : float, optional
        The peak, in the unit of the signals; by default the highest value of all ``preds``. ``update(preds, target)``
        takes the signal and the noisy signal, of the same shape.
    **kwargs
        Arguments of torchmetrics' class.

    Examples
    --------
    >>> import torch
    >>> from zae_engine.metrics import PeakSignalToNoise
    >>> PeakSignalToNoise()(torch.tensor([1.0, 10.0]), torch.tensor([2.0, 9.0])).round(decimals=3)
    tensor(20.)
    """

    full_state_update = False
    higher_is_better = True
    squares: torch.Tensor
    total: torch.Tensor
    highest: torch.Tensor

    def __init__(self, peak: float | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.peak = peak
        self.add_state("squares", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("total", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("highest", torch.tensor(-math.inf), dist_reduce_fx="max")

    def update(self, preds: torch.Tensor, target: torch.Tensor) -> None:
        """Add a batch."""
        _inputs.same_shape(preds, target, ("preds", "target"))
        preds, target = preds.detach().float(), target.detach().float()
        self.squares += (preds - target).square().sum()
        self.total += preds.numel()
        self.highest = torch.maximum(self.highest, preds.max())

    def compute(self) -> torch.Tensor:
        """Return a scalar, in dB."""
        peak = self.highest if self.peak is None else torch.as_tensor(float(self.peak), device=self.highest.device)
        return 20 * torch.log10(peak / (self.squares / self.total + EPS).sqrt())
