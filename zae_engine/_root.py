"""The names that zae-engine 0.7.6 has at its root, each imported when somebody asks for it (PEP 562)."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

from .legacy import hints, places

OWN_PACKAGES = ("legacy", "metrics", "schedulers", "trainer")

_OWN = {
    "trainer": ("ProgressChecker", "T", "Trainer"),
    "metrics": (
        *("BijectiveMetrix", "accuracy", "confusion_matrix", "f_beta", "f_beta_from_mat", "giou", "miou", "mse"),
        *("peak_signal_to_noise", "print_confusion_matrix", "rms", "signal_to_noise"),
        *("bijective", "confusion", "count", "iou", "signals"),
    ),
}
_LEGACY = {
    "models": (
        *("AutoEncoder", "BertBase", "CNNBase", "DecoderBase", "DummyModel", "EncoderBase", "NestedUNet"),
        *("TransformerBase", "VAE", "autoencoder", "builds", "cnn", "converter", "initializer", "nested_autoencoder"),
        *("transformer", "utility"),
    ),
    "nn_night": (
        *("BasicBlock", "Bottleneck", "CBAM1d", "ClippedReLU", "DynOPool", "GumbelSoftMax", "Inv1d", "Residual"),
        *("SE1d", "SKConv1D", "blocks", "layers"),
    ),
    "loss": (*("ArcFaceLoss", "GIoU", "IoU", "angular", "compute_gram_matrix", "cross_entropy", "mIoU", "norm"),),
    "operation": ("MorphologicalLayer", "Run", "RunLengthCodec", "RunList", "arg_nearest", "run_length"),
    "examples": ("classification1D", "classification_1dim", "segmentation1D", "segmentation_1dim"),
}
_SUBMODULES = {  # names of modules that lie deeper than in the package they are found through
    "autoencoder": "models.builds.autoencoder",
    "cnn": "models.builds.cnn",
    "nested_autoencoder": "models.builds.nested_autoencoder",
    "transformer": "models.builds.transformer",
}


def _home(name: str) -> str | None:
    """Return the package that a name comes from, without ``zae_engine.``; None if 0.7.6 has no such name."""
    if name in OWN_PACKAGES or name in places.PARTS:
        return name
    return next((package for table in (_OWN, _LEGACY) for package, names in table.items() if name in names), None)


def get(root: ModuleType, name: str) -> Any:
    """Return what `name` stands for at the root of the package.

    Parameters
    ----------
    root : module
        ``zae_engine`` itself.
    name : str
        The name that was asked for.

    Raises
    ------
    AttributeError
        If there is no such name, or it needs something that is not there; the message names the command that brings it.
    ModuleNotFoundError
        In the latter case, if it was asked for by ``from zae_engine import <name>``.
    """
    if name == "__all__":  # for ``from zae_engine import *``
        return available()
    home = _home(name)
    if home is None:
        raise AttributeError(f"module {root.__name__!r} has no attribute {name!r}", name=name, obj=root)
    try:
        package = importlib.import_module(f"{root.__name__}.{home}")
        if name == home:
            return package
        try:
            return getattr(package, name)
        except AttributeError:
            return importlib.import_module(f"{root.__name__}.{_SUBMODULES.get(name, f'{home}.{name}')}")
    except ModuleNotFoundError as error:
        # ``hasattr`` and ``pickle`` look names up and expect an AttributeError, an import statement the other.
        if hints.from_import():
            raise
        raise AttributeError(str(error), name=name, obj=root) from error


def available() -> list[str]:
    """Return the names that `get` knows, those from a copy of 0.7.6 only if there is one."""
    names = [*OWN_PACKAGES, *(name for names in _OWN.values() for name in names)]
    if places.find() is not None:
        names += [*places.PARTS, *(name for names in _LEGACY.values() for name in names)]
    return sorted(names)
