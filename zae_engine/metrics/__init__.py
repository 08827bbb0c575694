"""Metrics: the functions of zae-engine 0.7.6, based on torchmetrics, and classes of them for `Trainer`.

>>> import torch
>>> from zae_engine import metrics
>>> metrics.accuracy(torch.tensor([0, 1, 1]), torch.tensor([0, 1, 0]))  # in a step
tensor(0.6667)

The functions take tensors, arrays or lists, compute on the device of the tensors, and return what 0.7.6 returned. The
classes accumulate batches: ``Trainer(..., metrics={"accuracy": metrics.Accuracy()})``.
"""

from .bijective import BijectiveMetrix
from .confusion import confusion_matrix, print_confusion_matrix
from .count import accuracy, f_beta, f_beta_from_mat
from .iou import giou, miou
from .modular import Accuracy, Bijective, ConfusionMatrix, FBeta, GIoU, MIoU
from .modular_signals import MSE, RMS, PeakSignalToNoise, SignalToNoise
from .signals import mse, peak_signal_to_noise, rms, signal_to_noise

__all__ = [
    "MSE",
    "RMS",
    "Accuracy",
    "Bijective",
    "BijectiveMetrix",
    "ConfusionMatrix",
    "FBeta",
    "GIoU",
    "MIoU",
    "PeakSignalToNoise",
    "SignalToNoise",
    "accuracy",
    "confusion_matrix",
    "f_beta",
    "f_beta_from_mat",
    "giou",
    "miou",
    "mse",
    "peak_signal_to_noise",
    "print_confusion_matrix",
    "rms",
    "signal_to_noise",
]
