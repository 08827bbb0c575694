"""Signals: power, errors, and ratios in decibels of signals."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch.nn import functional as F
from torchmetrics.functional import mean_squared_error

from .._errors import ContractError
from . import _inputs
from ._inputs import Values

EPS = torch.finfo(torch.float32).eps  # keeps ratios finite if the denominator is 0, as in 0.7.6


def rms(signal: Values) -> float:
    """Return the root mean square of a signal.

    Parameters
    ----------
    signal : torch.Tensor or array-like
        The signal, of any shape, in any unit. The precision is that of a tensor or of a float32 array, else float64.

    Returns
    -------
    float
        The root mean square, in the unit of the signal.

    Raises
    ------
    ValueError
        If the signal is empty.

    Examples
    --------
    >>> from zae_engine.metrics import rms
    >>> round(rms([1, 2, 3, 4, 5]), 4)
    3.3166
    """
    if isinstance(signal, torch.Tensor):
        tensor = _inputs.numbers(signal, "signal")
    else:
        array = np.asarray(signal)
        tensor = torch.from_numpy(array.astype(array.dtype if array.dtype == np.float32 else np.float64))
    _inputs.not_empty(tensor, "signal")
    return tensor.square().mean().sqrt().item()


def mse(signal1: Values, signal2: Values) -> float:
    """Return the mean squared error between two signals.

    Parameters
    ----------
    signal1 : torch.Tensor or array-like
        A signal of any shape.
    signal2 : torch.Tensor or array-like
        A signal of the same shape.

    Returns
    -------
    float
        The mean squared error, in the squared unit of the signals. It has no gradient, as in 0.7.6; for training, use
        `torch.nn.functional.mse_loss`.

    Raises
    ------
    ValueError
        If the shapes differ or the signals are empty.

    Examples
    --------
    >>> import torch
    >>> from zae_engine.metrics import mse
    >>> round(mse(torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]), torch.tensor([1.0, 2.0, 3.0, 4.0, 6.0])), 4)
    0.2
    """
    first, second = _inputs.numbers(signal1, "signal1"), _inputs.numbers(signal2, "signal2")
    _inputs.same_shape(first, second, ("signal1", "signal2"))
    _inputs.not_empty(first, "signal1")
    return mean_squared_error(first.detach().reshape(-1), second.detach().reshape(-1)).item()


def signal_to_noise(signal: Values, noise: Values) -> float:
    """Return the signal-to-noise ratio in decibels.

    Parameters
    ----------
    signal : torch.Tensor or array-like
        The signal, of any shape, without the noise.
    noise : torch.Tensor or array-like
        The noise, of any shape, in the same unit.

    Returns
    -------
    float
        ``20 log10(rms(signal) / rms(noise))``, in dB; large, but finite, for noise of zero.

    Raises
    ------
    ValueError
        If an argument is empty, or the signal is zero everywhere.

    Examples
    --------
    >>> from zae_engine.metrics import signal_to_noise
    >>> round(signal_to_noise([1, 2, 3, 4, 5], [0.1, 0.2, 0.3, 0.4, 0.5]), 3)
    20.0
    """
    # torchmetrics' ratio takes the noisy signal, and differs where the noise is weak.
    power = rms(_inputs.numbers(signal, "signal"))
    silence = rms(_inputs.numbers(noise, "noise"))
    if power == 0:
        raise ContractError("signal is zero throughout: the ratio in decibels is minus infinity.")
    return 20 * math.log10(power / (silence + EPS))


def peak_signal_to_noise(signal: Values, noise: Values, peak: bool | float = False) -> float:
    """Return the peak signal-to-noise ratio in decibels.

    Parameters
    ----------
    signal : torch.Tensor or array-like
        The signal, of any shape.
    noise : torch.Tensor or array-like
        The noisy signal, of the same shape.
    peak : float, optional
        The peak, in the unit of the signals; by default, or if 0, the highest value of ``signal``.

    Returns
    -------
    float
        ``20 log10(peak / sqrt(mse))``, in dB; large, but finite, for equal signals.

    Raises
    ------
    ValueError
        If the shapes differ, the signals are empty, or the peak is not above zero.

    Examples
    --------
    >>> from zae_engine.metrics import peak_signal_to_noise
    >>> round(peak_signal_to_noise([1, 2, 3, 4, 5], [1, 2, 3, 4, 6]), 3)
    20.969
    """
    first, second = _inputs.numbers(signal, "signal"), _inputs.numbers(noise, "noise")
    error = mse(first, second)
    height = float(peak) if peak else first.max().item()
    if not height > 0:
        raise ContractError(f"the peak is {height}: it must be above zero. Pass peak=, the range of the signal, say.")
    # torchmetrics' ratio of equal signals is infinite.
    return 20 * math.log10(height / math.sqrt(error + EPS))


def qilv(signal1: Values, signal2: Values, window: Values) -> float:
    """Return the quality index based on local variance of two signals.

    Parameters
    ----------
    signal1 : torch.Tensor or array-like
        A signal of shape (L,).
    signal2 : torch.Tensor or array-like
        A signal of the same shape.
    window : torch.Tensor or array-like
        Weights of shape (W,), ``W <= L``, of the local means and variances.

    Returns
    -------
    float
        The index, from 0 to 1.

    Raises
    ------
    ValueError
        If a shape is none of these, or the sum of the weights is zero.

    References
    ----------
    .. [1] S. Aja-Fernández et al., "Image quality assessment based on local variance", EMBC 2006.

    Examples
    --------
    >>> from zae_engine.metrics.signals import qilv
    >>> round(qilv([1, 2, 4, 8, 5], [1, 2, 4, 8, 6], [1, 1, 1]), 3)
    0.998
    """
    first, second = _inputs.numbers(signal1, "signal1"), _inputs.numbers(signal2, "signal2")
    weights = _inputs.numbers(window, "window").to(first)
    _inputs.same_shape(first, second, ("signal1", "signal2"))
    if first.ndim != 1 or weights.ndim != 1 or not 1 <= len(weights) <= len(first):
        raise ContractError(
            f"signal1 has the shape {tuple(first.shape)} and window {tuple(weights.shape)}: (L,) and (W,), W from 1 to "
            f"L, are expected."
        )
    if weights.sum() == 0:
        raise ContractError("window adds up to zero: it cannot be normalized.")
    weights = (weights / weights.sum()).flip(0)  # 0.7.6 convolves, while conv1d correlates
    both = torch.stack([first, second]).double()[:, None]
    kernel = weights.double()[None, None]
    variances = F.conv1d(both.square(), kernel) - F.conv1d(both, kernel).square()
    means = variances.mean(2).flatten().tolist()
    deviations = variances.std(2, correction=0).flatten().tolist()
    covariance = (variances - variances.mean(2, keepdim=True)).prod(0).mean().item()
    index = 2 * means[0] * means[1] / (means[0] ** 2 + means[1] ** 2 + EPS)
    index *= 2 * deviations[0] * deviations[1] / (deviations[0] ** 2 + deviations[1] ** 2 + EPS)
    index *= covariance / (deviations[0] * deviations[1] + EPS)
    return float(max(0.0, min(1.0, index)))
